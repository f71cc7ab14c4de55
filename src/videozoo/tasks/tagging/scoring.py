"""Scores of many videos: features through a model, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.tags import EvalFeatures, FeatureBatch, class_names
from videozoo.errors import ConfigError
from videozoo.metrics.tagging import TaggingCounter, hit_at_one_2019
from videozoo.ops import dequantize
from videozoo.ops.frames import multi_label_loss
from videozoo.tasks.common import agreeing_names
from videozoo.tasks.loading import Trained
from videozoo.types import FeatureShape, Stream

Scores = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class VideoTags:
    """What a model says of one video."""

    name: str
    tags: tuple[tuple[int, float], ...]
    """The best classes with their scores in [0, 1], best first."""
    attention: tuple[NDArray[np.float32], ...] = ()
    """A stream: how much each frame that was read weighs, (T,), summing to 1. Empty unless asked
    for."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k best classes with their scores; no more than `predict.top_k` are kept."""
        return list(self.tags[:k])


@dataclass
class Scored:
    """Scores of many videos, over all processes."""

    counter: TaggingCounter
    hits_2019: float = 0.0
    """Sum over labelled videos of what 2019 took for Hit@1."""
    results: dict[int, VideoTags] = field(default_factory=dict[int, VideoTags])
    """By number of the video; empty unless asked for."""
    skipped: dict[int, str] = field(default_factory=dict[int, str])
    """Videos that could not be used: number, and why."""


def feature_shape(config: RunConfig) -> FeatureShape:
    """Features that the configured model takes in."""
    shape_of = config.spec.feature_shape
    if shape_of is None:
        raise ConfigError(f"model {config.name!r} does not take features")
    return shape_of(config.model)


def model_inputs(batch: FeatureBatch, streams: Sequence[Stream]) -> tuple[list[Tensor], Tensor]:
    """Turn a batch, on its device, into what a model takes: streams and lengths."""
    features = [
        dequantize(frames, half_step=stream.half_step)
        for frames, stream in zip(batch.streams, streams, strict=True)
    ]
    return features, batch.lengths


def score_videos(
    module: nn.Module,
    batches: EvalFeatures,
    streams: Sequence[Stream],
    *,
    accelerator: Accelerator,
    num_classes: int,
    top_k: int,
    keep: int = 0,
    attention: bool = False,
    on_video: Callable[[int], None] | None = None,
) -> Scored:
    """Run a model over every video.

    Args:
        module: In evaluation mode, on the accelerator's device.
        batches: This process's share of the videos.
        streams: Those of the model.
        accelerator: The processes.
        num_classes: Of the model.
        top_k: Tags of a video that count in GAP.
        keep: Return so many tags of each video.
        attention: Return what each frame weighs too.
        on_video: Called with the number of videos done by this process.

    Raises:
        DataError: A video cannot be used.
    """
    mine = Scored(TaggingCounter(num_classes, top_k))
    done = 0
    for batch in batches:
        on_device = batch.to(accelerator.device)
        weights: list[Tensor] = []
        with torch.inference_mode(), accelerator.autocast():
            inputs = model_inputs(on_device, streams)
            logits = module(*inputs).float()
            if attention:
                weights = cast(Any, module).frame_weights(*inputs)
        scores = logits.sigmoid().cpu().numpy()
        if on_device.labels is not None:
            losses = multi_label_loss(logits, on_device.labels).cpu().numpy()
            assert batch.labels is not None
            labels = batch.labels.numpy()
            mine.counter.update(scores, labels, loss=losses)
            mine.hits_2019 += hit_at_one_2019(scores, labels) * len(labels)
        if keep:
            for place, number in enumerate(batch.videos.tolist()):
                length = int(batch.lengths[place])
                mine.results[number] = VideoTags(
                    batch.names[place],
                    _best(scores[place], keep),
                    tuple(each[place, :length].float().cpu().numpy() for each in weights),
                )
        done += len(batch)
        if on_video is not None:
            on_video(done)
    mine.skipped.update(batches.skipped)
    return _merged(mine, accelerator)


def names_of_classes(trained: Trained, config: RunConfig) -> list[str]:
    """Class names: stored with the weights, else configured, else the bare numbers."""
    found = trained.class_names or configured_class_names(config)
    return list(found) if found else [str(number) for number in range(config.model.num_classes)]


def configured_class_names(config: RunConfig) -> list[str] | None:
    """Names of the classes, where anything tells them."""
    return agreeing_names(class_names(config.data), config)


def _best(scores: Scores, k: int) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-scores, kind="stable")[:k]
    return tuple((int(number), float(scores[number])) for number in order)


def _merged(mine: Scored, accelerator: Accelerator) -> Scored:
    """Add up what the processes have found; results come back in the order of the records."""
    if accelerator.num_processes > 1:
        parts: list[Scored] = gather_object([mine])
        mine = parts[0]
        for part in parts[1:]:
            mine.counter.merge(part.counter)
            mine.results |= part.results
            mine.skipped |= part.skipped
    mine.results = dict(sorted(mine.results.items()))
    return mine
