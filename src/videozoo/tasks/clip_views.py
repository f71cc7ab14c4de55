"""The clips and the views that a configured clip model takes."""

from __future__ import annotations

from videozoo.config import RunConfig
from videozoo.data.frames.views import eval_plan
from videozoo.errors import ConfigError
from videozoo.settings.clips import ClipPredict, ClipViews
from videozoo.types import Classification, ClipShape
from videozoo.weights.exported import ExportedClips, ExportedSpec


def clip_shape(config: RunConfig) -> ClipShape:
    """The shape of the clips that the configured model takes."""
    task = config.spec.task
    if not isinstance(task, Classification):
        raise ConfigError(f"model {config.name!r} does not take video clips")
    return task.clip_shape(config.model)


def has_several_classes(config: RunConfig) -> bool:
    """Whether a video may have several classes: a score per class in place of scores that sum to 1.

    Weights of earlier versions do not say it; their videos have one class.
    """
    return config.train.loss == "sigmoid"  # pyright: ignore[reportAttributeAccessIssue]


def with_views(config: RunConfig, views: ClipViews) -> RunConfig:
    """Change the number of segments of the model if the views ask for it.

    Raises:
        ConfigError: The model has no segments, or is an exported graph for other clips.
    """
    if isinstance(config.spec, ExportedSpec):
        clips = config.spec.description.clips
        assert clips is not None
        _fit_exported(clips, config, views)
        return config
    if views.num_segments is None:
        return config
    if "num_segments" not in type(config.model).model_fields:
        raise ConfigError(f"num_segments has no effect on {config.name}; leave it out")
    return config.replace("views", {"model.num_segments": views.num_segments})


def _fit_exported(clips: ExportedClips, config: RunConfig, views: ClipViews) -> None:
    """Check that the clips of these views have the shape that an exported graph takes."""
    section = "predict" if isinstance(views, ClipPredict) else "eval"
    plan = eval_plan(clip_shape(config), config.data, views)
    for key, asked, fixed in (
        ("num_segments", plan.num_steps, clips.num_steps),
        ("crop_size", plan.crop_size, clips.crop_size),
    ):
        if asked != fixed:
            raise ConfigError(
                f"{section}.{key} is {asked}, but this graph was exported for {fixed}; "
                f"pass --set {section}.{key}={fixed}, or export again with "
                f"--set predict.{key}={asked}"
            )
