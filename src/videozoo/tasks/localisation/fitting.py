"""What the training of localisers shares, whatever they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Generator, Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation
from videozoo.data.loader import TrainLoader
from videozoo.data.proposals import ProposalVideos
from videozoo.data.segments import SequenceVideos
from videozoo.engine.loop import Best
from videozoo.errors import ConfigError, DataError, counted, few
from videozoo.tasks.common import say_not_checked
from videozoo.tasks.fitting import TrainingPlan, TrainJob
from videozoo.tasks.inference import run
from videozoo.tasks.localisation.measures import validation_metrics
from videozoo.tasks.localisation.scoring import LocalisationInference, VideoSource, generator_of

Videos = SequenceVideos | ProposalVideos
LossOf = Callable[[nn.Module, Any, Generator], Mapping[str, Tensor]]
"""From the model, a batch on its device and random numbers to `loss` and its parts."""

FEATURES = "features: --set data.features=DIR --set data.annotations=FILE"
"""What localisers learn from, see `tasks.train.Training`."""
DECIDES: dict[str, tuple[Best, str]] = {
    "auc": (Best(name="auc"), "AUC"),
    "map": (Best(name="map"), "average mAP"),
    "loss": (Best(name="loss", direction="min"), "validation loss"),
}
"""What decides between epochs, and what people call it."""


def training_plan(
    job: TrainJob,
    batches: TrainLoader[Any],
    source: VideoSource | None,
    *,
    num_train: int,
    loss_of: LossOf,
    decides: str,
    **more: Any,
) -> TrainingPlan:
    """Say what a localiser learns.

    Args:
        job: The training.
        batches: Of the videos to learn from.
        source: The videos to check with; None: no validation.
        num_train: Videos to learn from.
        loss_of: The model's losses.
        decides: A key of `DECIDES`.
        more: Other fields of the plan.
    """
    best, title = DECIDES[decides]
    return TrainingPlan(
        batches=batches,
        num_train=num_train,
        num_held_out=None if source is None else len(source.present),
        loss_of=_loss_function(job, loss_of),
        validate=_validation(source, job, decides),
        best=best,
        metric_title=title,
        **more,
    )


def _loss_function(
    job: TrainJob, loss_of: LossOf
) -> Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor | float]]]:
    """Make what `engine.loop.fit` calls: going on after a stop draws what staying would have."""
    seed, rank = job.config.train.seed, job.accelerator.process_index

    def losses(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(job.accelerator.device)
        generator = generator_of(seed, batch.epoch, batch.place, rank)
        parts = loss_of(model, batch, generator)
        total = float(len(batch))
        counts = {
            f"{name}_loss": value.detach() * total
            for name, value in parts.items()
            if name != "loss"
        }
        return parts["loss"], {"total": total, **counts}

    return losses


def _validation(
    source: VideoSource | None, job: TrainJob, decides: str
) -> Callable[[nn.Module], Mapping[str, float]]:
    """Make what checks a model; videos that cannot be read do not count, and are told."""

    def validate(module: nn.Module) -> Mapping[str, float]:
        if source is None:
            return {}
        inference = LocalisationInference(module, source, job.accelerator, skip_bad=True)
        found = run(inference, job.accelerator)
        say_not_checked(job.say, found.skipped.values())
        return validation_metrics(source, found, decides)

    return validate


def refuse_settings(config: RunConfig) -> None:
    """Raise ConfigError for settings of training that mean nothing here."""
    for key in ("mixup_alpha", "label_smoothing"):
        if getattr(config.train, key):
            raise ConfigError(f"train.{key}: is for models that classify clips; leave it at 0")


def refuse_unannotated(videos: Videos, purpose: str) -> None:
    """Raise where nothing happens in any of some videos, before hours are spent on them.

    Raises:
        DataError: None has a segment.
    """
    annotations, present = videos.annotations, videos.present
    if not any(one.instances for one in present):
        left_out = annotations.left_out
        first = left_out[0].removeprefix(f"{annotations.path}: ") if left_out else ""
        why = f"; {len(left_out)} were left out: {first}" if left_out else ""
        raise DataError(
            f"{annotations.path}: none of the {counted(len(present), 'video')} {purpose} has an "
            f"annotated segment{why}"
        )


def seen_in_training(videos: Sequence[Annotation], learnt: Iterable[str]) -> int:
    """Count the videos that are also among those learnt from."""
    known = {name.removeprefix("v_") for name in learnt}
    return sum(one.video.removeprefix("v_") in known for one in videos)


def say_seen(say: Callable[[str], None], what: str, num_seen: int, total: int, key: str) -> None:
    """Say loudly that a model is measured on what it learns from."""
    if num_seen:
        say(
            f"WARNING: {what} is on videos to learn from: {num_seen} of {total}; its numbers say "
            f"little about other videos; choose a part of its own: --set data.{key}=NAME"
        )


def say_missing(say: Callable[[str], None], what: str, videos: Videos) -> None:
    """Say on how many videos something is done, where some have no features."""
    if videos.missing:
        present = len(videos.present)
        total = present + len(videos.missing)
        say(f"note: {what} on {present} of {total} videos; no features of {few(videos.missing)}")


def check_held_out(videos: Videos, learnt: Videos, say: Callable[[str], None]) -> None:
    """Say which videos to check with are missing, and how many are also learnt from.

    Raises:
        DataError: None has a segment.
    """
    say_missing(say, "validation", videos)
    refuse_unannotated(videos, "to check with")
    num_seen = seen_in_training(videos.present, (one.video for one in learnt.annotations.videos))
    say_seen(say, "validation", num_seen, len(videos.present), "val_subset")
