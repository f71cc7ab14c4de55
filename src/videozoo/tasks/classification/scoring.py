"""Score videos with a clip model, averaged over their views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.videos import (
    ClipEntry,
    videos_of,
    views_by_video,
)
from videozoo.data.clips import ClipBatch, ViewDataset
from videozoo.data.frames.views import ViewPlan
from videozoo.engine.devices import use_channels_last
from videozoo.errors import counted
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.metrics.multicrop import VideoScores
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.tasks.clip_views import clip_shape, with_views
from videozoo.tasks.exporting import load_model
from videozoo.tasks.inference import InferenceResults, eval_loader
from videozoo.tasks.jobs import Job
from videozoo.tasks.loading import Trained
from videozoo.tasks.results import say_damaged
from videozoo.weights.exported import exported_kind, open_exported

Scores = NDArray[np.floating[Any]]
ClipScorer = Callable[[Tensor], Scores]
"""Views, uint8 (V, T, C, H, W) -> scores (V, num_classes)."""


@dataclass(frozen=True)
class VideoResult:
    """The scores of one video."""

    name: str
    path: str
    label: int | None
    """The true class; None if unknown."""
    scores: Scores
    """(num_classes,), summing to 1: the mean over the views."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k best classes with their scores, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(int(number), float(self.scores[number])) for number in order]


@dataclass
class ClipCounts:
    """Metrics, counted over all videos."""

    accuracy: AccuracyCounter
    """Metrics of videos, with averaged views."""
    num_views: int = 0

    def merge(self, other: ClipCounts) -> None:
        """Add the counts of another process."""
        self.accuracy.merge(other.accuracy)
        self.num_views += other.num_views


ClipResults = InferenceResults[VideoResult, ClipCounts]
"""Place of the video in the list -> its result."""


class ClipInference:
    """A clip model and the videos to run it over, with all their views.

    Memory is bounded by `views.batch_size` views at a time; only one running sum per video is kept
    until its last view has come.
    """

    def __init__(
        self,
        score: ClipScorer,
        config: RunConfig,
        entries: Sequence[ClipEntry],
        accelerator: Accelerator,
        *,
        views: ClipViews,
        skip_bad: bool = False,
    ) -> None:
        """Prepare the run.

        Args:
            score: The model: a `ModuleScorer`, or from `scorer_of`.
            config: Says how clips are cut from videos.
            entries: The whole list of videos.
            accelerator: The processes.
            views: Says the number of views per video.
            skip_bad: Continue without videos that cannot be read.
        """
        classes = config.model.num_classes
        dataset = ViewDataset(entries, clip_shape(config), config.data, views, num_classes=classes)
        self.batches = eval_loader(
            dataset, config.data, accelerator, batch_size=views.batch_size, skip_bad=skip_bad
        )
        self.counter = ClipCounts(AccuracyCounter(classes))
        self._score, self._most_views = score, views.batch_size
        self._videos = videos_of(entries)
        self._pooled = VideoScores(_views_per_video(entries, dataset.plan))

    def forward(self, batch: ClipBatch) -> Scores:
        """Scores of the views, (V, num_classes)."""
        return np.concatenate([self._score(clips) for clips in batch.clips.split(self._most_views)])

    def results(self, batch: ClipBatch, outputs: Scores) -> Mapping[int, VideoResult]:
        """Return mean scores of the videos whose last view is in the batch."""
        found: dict[int, VideoResult] = {}
        rows = zip(batch.videos.tolist(), batch.labels.tolist(), outputs, strict=True)
        for video, label, row in rows:
            self.counter.num_views += 1
            scores = self._pooled.add(video, row)
            if scores is None:
                continue
            loss = float(-np.log(max(scores[label], 1e-30))) if label >= 0 else 0.0
            self.counter.accuracy.update(scores[None], [label], loss=[loss])
            known = label if label >= 0 else None
            entry = self._videos[video]
            found[video] = VideoResult(entry.name, str(entry.path), known, scores)
        return found


def _views_per_video(entries: Sequence[ClipEntry], plan: ViewPlan) -> Callable[[int], int]:
    """Views of a video: as planned, or as many as its lines in a test list of the 2019 library."""
    planned = plan.num_clips * plan.num_crops
    groups = views_by_video(entries)
    return lambda video: planned if groups[video][0].crop_index is None else len(groups[video])


def run_views(
    job: Job[Any], views: ClipViews, entries: Sequence[ClipEntry]
) -> tuple[ClipResults, RunConfig]:
    """Build the model for these views and score the videos, with a progress bar."""
    config, accelerator = with_views(job.config, views), job.accelerator
    score = replace(job, config=config).model(scorer_of)
    count = len(videos_of(entries))
    job.say(_views_line(config, count, views))
    inference = ClipInference(
        score, config, entries, accelerator, views=views, skip_bad=job.skip_bad
    )
    scored = job.run(inference, count)
    say_damaged(job.say, list(scored.damaged.values()))
    return scored, config


def scorer_of(
    trained: Trained, config: RunConfig, accelerator: Accelerator, **options: Any
) -> ClipScorer:
    """Load a model that scores views, for a configuration that has the views to come.

    `options` are those of `load_model`.
    """

    def exported(path: Path, device: str, index: int) -> ClipScorer:
        asks_gpu = exported_kind(path) == "onnx" and device == "cuda"
        on_gpu = asks_gpu or accelerator.device.type == "cuda"
        return open_exported(path, device="cuda" if on_gpu else "cpu", device_index=index)

    model = load_model(trained, config, accelerator, exported, **options)
    if not isinstance(model, nn.Module):
        return model
    fold_batch_norms(model)  # its weights are not saved from here
    use_channels_last(model)
    return ModuleScorer(model, config.data, accelerator)


@dataclass(frozen=True)
class ModuleScorer:
    """Scores views with a module that turns normalised clips (N, T, C, H, W) into logits."""

    module: nn.Module
    """The module in evaluation mode, on the device of the accelerator."""
    data: ClipData
    accelerator: Accelerator

    def __call__(self, views: Tensor) -> Scores:
        """uint8 (V, T, C, H, W) -> (V, num_classes), each row summing to 1."""
        clips = views.to(self.accelerator.device, non_blocking=True)
        with torch.inference_mode(), self.accelerator.autocast():
            logits = self.module(normalize(clips, self.data.mean, self.data.std))
        return torch.softmax(logits.float(), 1).cpu().numpy()


def _views_line(config: RunConfig, num_videos: int, views: ClipViews) -> str:
    looks = views.num_clips * views.num_crops
    line = f"{config.spec.title}: {counted(num_videos, 'video')}"
    if looks > 1:
        line += (
            f", {counted(views.num_clips, 'clip')} x {counted(views.num_crops, 'crop')} = {looks} "
            f"views each, {views.batch_size} at a time"
        )
    return line
