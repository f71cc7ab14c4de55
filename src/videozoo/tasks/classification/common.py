"""What training, evaluation and prediction of clip models share."""

from __future__ import annotations

from videozoo.config import RunConfig
from videozoo.data.clips import (
    ClipData,
    class_names,
)
from videozoo.errors import ConfigError
from videozoo.tasks.loading import Trained
from videozoo.types import ClipShape


def clip_shape(config: RunConfig) -> ClipShape:
    """Frames that the configured model takes in at once."""
    shape_of = config.spec.clip_shape
    if shape_of is None:
        raise ConfigError(f"model {config.name!r} does not take video clips")
    return shape_of(config.model)


def configured_class_names(config: RunConfig) -> list[str] | None:
    """Names of the classes, where anything tells them."""
    data: ClipData = config.data
    names = class_names(data)
    if names is not None and len(names) != config.model.num_classes:
        where = data.class_names or data.train
        raise ConfigError(
            f"{where}: names {len(names)} classes, but model.num_classes is "
            f"{config.model.num_classes}; make them agree (--set model.num_classes={len(names)})"
        )
    return names


def names_of_classes(trained: Trained, config: RunConfig) -> list[str]:
    """Class names: stored with the weights, else configured, else the bare numbers."""
    found = trained.class_names or configured_class_names(config)
    return list(found) if found else [str(number) for number in range(config.model.num_classes)]
