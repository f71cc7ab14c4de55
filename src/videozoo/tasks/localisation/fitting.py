"""What the training of localisers shares, whatever they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from accelerate import Accelerator
from torch import Generator, Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.engine.loop import Best
from videozoo.errors import ConfigError, DataError, few
from videozoo.tasks.inference import run
from videozoo.tasks.localisation.measures import validation_metrics
from videozoo.tasks.localisation.scoring import LocalisationInference, VideoSource, generator_of

LossOf = Callable[[nn.Module, Any, Generator], Mapping[str, Tensor]]
"""From the model, a batch on its device and random numbers to `loss` and its parts."""

DECIDES: dict[str, tuple[Best, str]] = {
    "auc": (Best(name="auc"), "AUC"),
    "map": (Best(name="map"), "average mAP"),
    "loss": (Best(name="loss", direction="min"), "validation loss"),
}
"""What decides between epochs, and what people call it."""


def loss_function(
    config: RunConfig, loss_of: LossOf, accelerator: Accelerator
) -> Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor | float]]]:
    """Make what `engine.loop.fit` calls: going on after a stop draws what staying would have."""
    seed, rank = config.train.seed, accelerator.process_index

    def losses(model: nn.Module, batch: Any) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
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


def validation(
    source: VideoSource | None, accelerator: Accelerator, decides: str
) -> Callable[[nn.Module], Mapping[str, float]]:
    """Make what checks a model; videos that cannot be read do not count."""

    def validate(module: nn.Module) -> Mapping[str, float]:
        if source is None:
            return {}
        inference = LocalisationInference(module, source, accelerator, skip_bad=True)
        return validation_metrics(source, run(inference, accelerator), decides)

    return validate


def refuse_settings(config: RunConfig) -> None:
    """Raise ConfigError for settings of training that mean nothing here."""
    for key in ("mixup_alpha", "label_smoothing"):
        if getattr(config.train, key):
            raise ConfigError(f"train.{key}: is for models that classify clips; leave it at 0")


def refuse_unannotated(
    annotations: Annotations, present: Sequence[Annotation], purpose: str
) -> None:
    """Raise where nothing happens in any of some videos, before hours are spent on them.

    Raises:
        DataError: None has a segment.
    """
    if not any(one.instances for one in present):
        left_out = annotations.left_out
        first = left_out[0].removeprefix(f"{annotations.path}: ") if left_out else ""
        why = f"; {len(left_out)} were left out: {first}" if left_out else ""
        raise DataError(
            f"{annotations.path}: none of the {len(present)} videos {purpose} has an annotated "
            f"segment{why}"
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


def say_missing(
    say: Callable[[str], None], what: str, num_present: int, missing: tuple[str, ...]
) -> None:
    """Say on how many videos something is done, where some have no features."""
    if missing:
        total = num_present + len(missing)
        say(f"note: {what} on {num_present} of {total} videos; no features of {few(missing)}")
