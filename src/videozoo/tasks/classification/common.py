"""Clip shape and class names, for training, evaluation and prediction of clip models."""

from __future__ import annotations

from videozoo.config import RunConfig
from videozoo.errors import ConfigError
from videozoo.types import Classification, ClipShape


def clip_shape(config: RunConfig) -> ClipShape:
    """The shape of the clips that the configured model takes."""
    task = config.spec.task
    if not isinstance(task, Classification):
        raise ConfigError(f"model {config.name!r} does not take video clips")
    return task.clip_shape(config.model)
