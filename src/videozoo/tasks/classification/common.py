"""Clip shape and class names, for training, evaluation and prediction of clip models."""

from __future__ import annotations

from videozoo.config import RunConfig
from videozoo.data.clips import (
    class_names,
)
from videozoo.errors import ConfigError
from videozoo.tasks.common import agreeing_names
from videozoo.tasks.loading import Trained
from videozoo.types import Classification, ClipShape


def clip_shape(config: RunConfig) -> ClipShape:
    """The shape of the clips that the configured model takes."""
    task = config.spec.task
    if not isinstance(task, Classification):
        raise ConfigError(f"model {config.name!r} does not take video clips")
    return task.clip_shape(config.model)


def configured_class_names(config: RunConfig) -> list[str] | None:
    """Class names, if the weights or the configuration hold them."""
    return agreeing_names(class_names(config.data), config)


def names_of_classes(trained: Trained, config: RunConfig) -> list[str]:
    """Class names: stored with the weights, else configured, else the class numbers."""
    found = trained.class_names or configured_class_names(config)
    return list(found) if found else [str(number) for number in range(config.model.num_classes)]
