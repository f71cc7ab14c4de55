"""Run a tagging model over features of videos."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from videozoo.config import RunConfig
from videozoo.data.features.records import RecordSet
from videozoo.data.loader import EvalLoader
from videozoo.data.tag_parts import PartsDataset, in_parts
from videozoo.data.tags import FeatureBatch, FeatureDataset
from videozoo.errors import ConfigError
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.metrics.tagging import TaggingCounter, hit_at_one_2019
from videozoo.ops import dequantize
from videozoo.ops.frames import multi_label_loss
from videozoo.runtime.tags import LEAST_SCORE
from videozoo.settings.tags import FeatureEval, FeaturePredict
from videozoo.tasks.exporting import load_model
from videozoo.tasks.inference import InferenceResults, eval_loader, run
from videozoo.tasks.loading import Trained
from videozoo.tasks.tagging.exported import ExportedTagger
from videozoo.types import FeatureShape, Stream, Tagging
from videozoo.weights.exported import read_description

Scores = NDArray[np.floating[Any]]
TaggingModel = Callable[[Sequence[Tensor], Tensor], Tensor]
"""From streams and lengths to logits, see `Tagging`: a module, or an exported graph. One that
explains also has `frame_weights`."""


@dataclass(frozen=True)
class VideoTags:
    """The tags of one video."""

    name: str
    tags: tuple[tuple[int, float], ...]
    """The best classes with their scores in [0, 1], best first."""
    attention: tuple[NDArray[np.float32], ...] = ()
    """Stream -> weight of each frame that was read, (T,), summing to 1. Empty unless requested."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k best classes with their scores; no more than `predict.top_k` are kept."""
        return list(self.tags[:k])


@dataclass
class TagCounts:
    """Metrics, counted over labelled videos."""

    metrics: TaggingCounter
    accuracy: AccuracyCounter | None = None
    """Where each video is of one class."""
    hits_2019: float = 0.0
    """Sum over the videos of Hit@1 as computed in the 2019 library."""

    def merge(self, other: TagCounts) -> None:
        """Add the counts of another process."""
        self.metrics.merge(other.metrics)
        if self.accuracy is not None and other.accuracy is not None:
            self.accuracy.merge(other.accuracy)
        self.hits_2019 += other.hits_2019

    def summary(self, *, with_2019: bool = False) -> dict[str, float]:
        """Metrics; `with_2019`: also Hit@1 as computed in the 2019 library."""
        metrics = self.metrics.summary()
        if self.accuracy is not None and self.accuracy.total:
            top1, mean = self.accuracy.top1, self.accuracy.mean_class
            metrics = {"top1": top1, "mean_class": mean, **metrics}
            del metrics["hit_at_one"]  # the same as top-1
        if with_2019 and self.metrics.videos:
            metrics["hit_at_one_2019"] = self.hits_2019 / self.metrics.videos
        return metrics


def tagging_of(config: RunConfig) -> Tagging:
    """The description of how the configured model tags."""
    if not isinstance(config.spec.task, Tagging):
        raise ConfigError(f"model {config.name!r} does not take features")
    return config.spec.task


def feature_shape(config: RunConfig) -> FeatureShape:
    """Shape of the features that the configured model takes."""
    return tagging_of(config).feature_shape(config.model)


def one_class_each(config: RunConfig) -> bool:
    """Whether the classes exclude one another, so that scores of a video sum to 1."""
    return config.train.loss == "softmax"  # pyright: ignore[reportAttributeAccessIssue]


def label_loss(
    logits: Tensor,
    labels: Tensor,
    *,
    one_class: bool,
    rated: Tensor | None = None,
    class_weights: Tensor | None = None,
) -> Tensor:
    """The loss of each video or segment: (N, C), (N, C) -> (N,).

    Args:
        logits: (N, C).
        labels: (N, C), in [0, 1].
        one_class: The classes exclude one another.
        rated: (N, C), 0 for classes of which nothing is known; None: all are.
        class_weights: (C,), factors on the terms of each class.
    """
    if one_class:
        return functional.cross_entropy(logits, labels, weight=class_weights, reduction="none")
    weights = rated
    if class_weights is not None:
        weights = class_weights if rated is None else rated * class_weights
    return multi_label_loss(logits, labels, weights)


def model_inputs(batch: FeatureBatch, streams: Sequence[Stream]) -> tuple[list[Tensor], Tensor]:
    """The inputs of a model for a batch on its device: streams and lengths."""
    features = [
        dequantize(frames, half_step=stream.half_step)
        for frames, stream in zip(batch.streams, streams, strict=True)
    ]
    return features, batch.lengths


@dataclass
class TaggingInference:
    """A tagging model and the features to run it over."""

    module: TaggingModel
    """The network in evaluation mode, on the device of the accelerator, or an exported graph."""
    batches: EvalLoader[FeatureBatch]
    accelerator: Accelerator
    streams: Sequence[Stream]
    """The feature streams of the model."""
    counter: TagCounts
    one_class: bool = False
    """Each video is of one class: scores are softmax."""
    num_tags: int = 0
    """Tags to return per video."""
    attention: bool = False
    """Also return the weight of each frame."""

    def forward(self, batch: FeatureBatch) -> tuple[Tensor, list[Tensor]]:
        """Logits (N, C); if requested, also the weights of frames, (N, T) per stream."""
        inputs = model_inputs(batch.to(self.accelerator.device), self.streams)
        logits = self.module(*inputs).float()
        return logits, cast(Any, self.module).frame_weights(*inputs) if self.attention else []

    def results(
        self, batch: FeatureBatch, outputs: tuple[Tensor, list[Tensor]]
    ) -> Mapping[int, VideoTags]:
        """Return the best tags of each video."""
        logits, weights = outputs
        if batch.labels is not None:
            self.count(logits, batch.labels)
        scores = self.scores(logits)
        return {
            number: self.tags(batch.names[place], scores[place], frames_of(batch, place, weights))
            for place, number in enumerate(batch.videos.tolist())
        }

    def scores(self, logits: Tensor) -> Scores:
        """Logits (N, C) to scores in [0, 1]."""
        return (logits.softmax(dim=1) if self.one_class else logits.sigmoid()).cpu().numpy()

    def count(self, logits: Tensor, wanted: Tensor) -> None:
        """Measure logits (N, C) against labels (N, C)."""
        scores, labels = self.scores(logits), wanted.numpy()
        losses = label_loss(logits, wanted.to(logits.device), one_class=self.one_class)
        if self.counter.accuracy is not None:
            self.counter.accuracy.update(scores, labels.argmax(axis=1))
        self.counter.metrics.update(scores, labels, loss=losses.cpu().numpy())
        self.counter.hits_2019 += hit_at_one_2019(scores, labels) * len(labels)

    def tags(
        self, name: str, scores: Scores, attention: tuple[NDArray[np.float32], ...]
    ) -> VideoTags:
        """The result of a video with scores (C,)."""
        best = _best(scores, self.num_tags) if self.num_tags else ()
        return VideoTags(name, best, attention)


def frames_of(
    batch: FeatureBatch, place: int, weights: Sequence[Tensor]
) -> tuple[NDArray[np.float32], ...]:
    """What each frame of a row weighs: (T,) per stream."""
    length = int(batch.lengths[place])
    return tuple(each[place, :length].float().cpu().numpy() for each in weights)


@dataclass
class PartsInference(TaggingInference):
    """The same over parts of long videos: scores of a video are the mean over its frames."""

    parts: Mapping[int, int] = field(default_factory=dict[int, int])
    """Number of the video -> how many parts it has."""
    _begun: dict[int, list[_PartScores]] = field(default_factory=dict[int, "list[_PartScores]"])

    def results(
        self, batch: FeatureBatch, outputs: tuple[Tensor, list[Tensor]]
    ) -> Mapping[int, VideoTags]:
        """Return the best tags of each video whose last part this is."""
        logits, weights = outputs
        found: dict[int, VideoTags] = {}
        for place, number in enumerate(batch.videos.tolist()):
            row = slice(place, place + 1)
            labels = None if batch.labels is None else batch.labels[row]
            own = self._begun.setdefault(number, [])
            frames = int(batch.lengths[place])
            own.append(_PartScores(frames, logits[row], labels, frames_of(batch, place, weights)))
            if len(own) == self.parts[number]:
                found[number] = self._of_video(batch.names[place], self._begun.pop(number))
        return found

    def _of_video(self, name: str, parts: Sequence[_PartScores]) -> VideoTags:
        total = sum(part.frames for part in parts)
        logits = parts[0].logits
        if len(parts) > 1:
            shares = torch.tensor([part.frames / total for part in parts], device=logits.device)
            every = torch.cat([part.logits for part in parts])
            if self.one_class:  # scores of these logits are the mean of the scores
                logits = (every.log_softmax(1) + shares.log()[:, None]).logsumexp(0, keepdim=True)
            else:
                logits = (every.sigmoid() * shares[:, None]).sum(0, keepdim=True).logit(LEAST_SCORE)
        if parts[0].labels is not None:
            self.count(logits, parts[0].labels)
        attention = tuple(
            np.concatenate(
                [own * (part.frames / total) for own, part in zip(each, parts, strict=True)]
            )
            for each in zip(*(part.attention for part in parts), strict=True)
        )
        return self.tags(name, self.scores(logits)[0], attention)


@dataclass(frozen=True)
class _PartScores:
    """What a model says of a part of a video."""

    frames: int
    logits: Tensor
    """(1, C)."""
    labels: Tensor | None
    """(1, C)."""
    attention: tuple[NDArray[np.float32], ...]


def score_records(
    module: TaggingModel,
    config: RunConfig,
    views: FeatureEval | FeaturePredict,
    records: RecordSet,
    accelerator: Accelerator,
    *,
    labelled: bool = False,
    skip_bad: bool = False,
    attention: bool = False,
    show: bool = False,
) -> InferenceResults[VideoTags, TagCounts]:
    """Run a model over records.

    Args:
        module: In evaluation mode, on the accelerator's device.
        config: Of the model and its data.
        views: How many records at once, how many tags of each.
        records: All of them.
        accelerator: The processes.
        labelled: Measure against the labels, and return no tags.
        skip_bad: Go on without records that cannot be read.
        attention: Return what each frame weighs too.
        show: Show how far it is.
    """
    shape, classes = feature_shape(config), config.model.num_classes
    parts = in_parts(records, shape, config.data.max_frames)
    known = classes if labelled else None
    dataset = (
        FeatureDataset(records, shape, config.data, num_classes=known)
        if parts is None
        else PartsDataset(parts, shape, config.data, num_classes=known)
    )
    counts = Counter(part.record for part in parts.parts) if parts else None
    inference = (TaggingInference if counts is None else partial(PartsInference, parts=counts))(
        module,
        eval_loader(
            dataset,
            config.data,
            accelerator,
            batch_size=views.batch_size,
            skip_bad=skip_bad,
        ),
        accelerator,
        shape.streams,
        TagCounts(
            TaggingCounter(classes, views.top_k),
            AccuracyCounter(classes) if one_class_each(config) else None,
        ),
        one_class=one_class_each(config),
        num_tags=0 if labelled else views.top_k,
        attention=attention,
    )
    progress = (len(records), "videos") if show else None
    return run(inference, accelerator, keep=not labelled, progress=progress)


def _best(scores: Scores, k: int) -> tuple[tuple[int, float], ...]:
    order = np.argsort(-scores, kind="stable")[:k]
    return tuple((int(number), float(scores[number])) for number in order)


def tagging_model(
    trained: Trained, config: RunConfig, accelerator: Accelerator, **options: Any
) -> TaggingModel:
    """Load a model that tags; `options` are those of `load_model`."""

    def exported(path: Path, device: str, index: int) -> ExportedTagger:
        tags = read_description(path).tags
        assert tags is not None
        return ExportedTagger(path, tags, device, index)

    return load_model(trained, config, accelerator, exported, **options)
