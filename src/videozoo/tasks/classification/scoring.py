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
from videozoo.metrics.tagging import TaggingCounter
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipData, ClipViews
from videozoo.tasks.clip_views import clip_shape, has_several_classes, with_views
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
    """(num_classes,), the mean over the views. They sum to 1, unless a video may have several
    classes."""
    labels: tuple[int, ...] | None = None
    """All true classes, where a video may have several; None if unknown."""

    @property
    def truth(self) -> tuple[int, ...] | None:
        """The true classes, one or several; None if unknown."""
        if self.labels is not None:
            return self.labels
        return None if self.label is None else (self.label,)

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k best classes with their scores, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(int(number), float(self.scores[number])) for number in order]


def truth_of(
    truth: Sequence[int] | None, top: Sequence[tuple[int, float]], names: Sequence[str]
) -> str | None:
    """The true class in words: of several, the predicted one where it is among them, else all.

    >>> truth_of((0, 2), [(2, 0.9)], "abc"), truth_of((0, 2), [(1, 0.9)], "abc")
    ('c', 'a, c')
    """
    if truth is None:
        return None
    best = top[0][0]
    return names[best] if best in truth else ", ".join(names[each] for each in truth) or "none"


@dataclass
class ClipCounts:
    """Metrics, counted over all videos."""

    accuracy: AccuracyCounter
    """Metrics of videos of one class, with averaged views."""
    num_views: int = 0
    tags: TaggingCounter | None = None
    """The same where a video may have several classes; `accuracy` is empty then."""

    @property
    def total(self) -> int:
        """Videos whose classes are known."""
        return self.accuracy.total if self.tags is None else self.tags.videos

    def summary(self) -> dict[str, float]:
        """Metrics by name. Of several classes per video: `map`, `hit_at_one` and `loss`.

        `map` is the mean over the classes of their average precision: the mean of the precision at
        the rank of each video of the class, among all videos, without interpolation. So do the
        evaluation script of Charades and MMAction2. Classes that no video has are left out. Of
        equal scores, videos without the class come first (MMAction2: as one step). A video without
        any class counts as one that does not have the class, as in MMAction2 (the script of
        Charades puts it last).
        """
        if self.tags is None:
            return self.accuracy.summary()
        found = self.tags.summary()
        return {key: found[key] for key in ("map", "hit_at_one", "loss") if key in found}

    def merge(self, other: ClipCounts) -> None:
        """Add the counts of another process."""
        self.accuracy.merge(other.accuracy)
        self.num_views += other.num_views
        if self.tags is not None and other.tags is not None:
            self.tags.merge(other.tags)


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
        self._several = has_several_classes(config)
        dataset = ViewDataset(
            *(entries, clip_shape(config), config.data, views),
            num_classes=classes,
            several=self._several,
        )
        self.batches = eval_loader(
            dataset, config.data, accelerator, batch_size=views.batch_size, skip_bad=skip_bad
        )
        tags = TaggingCounter(classes, classes) if self._several else None  # all ranks count
        self.counter = ClipCounts(AccuracyCounter(classes), tags=tags)
        self._score, self._most_views = score, views.batch_size
        self._repeats = dataset.repeats
        self._videos = videos_of(entries)
        self._pooled = VideoScores(_views_per_video(entries, dataset.plan))

    def forward(self, batch: ClipBatch) -> Scores:
        """Scores of the views, (V, num_classes)."""
        return np.concatenate([self._score(clips) for clips in batch.clips.split(self._most_views)])

    def results(self, batch: ClipBatch, outputs: Scores) -> Mapping[int, VideoResult]:
        """Return mean scores of the videos whose last view is in the batch.

        A video that the list names again has a result, and counts, each time.
        """
        found: dict[int, VideoResult] = {}
        rows = zip(batch.videos.tolist(), batch.labels.tolist(), outputs, strict=True)
        for video, label, row in rows:
            places = (video, *self._repeats.get(video, ()))
            self.counter.num_views += len(places)
            scores = self._pooled.add(video, row)
            if scores is None:
                continue
            result = self._with_several if self._several else self._with_one
            for place in places:
                found[place] = result(place, label, scores)
        return found

    def with_repeats(self, scored: ClipResults) -> ClipResults:
        """The same results; what is said of a video is said of its later lines, too."""
        for said in (scored.skipped, scored.damaged):
            for video, later in self._repeats.items():
                if video in said:
                    said |= dict.fromkeys(later, said[video])
        return scored

    def _with_one(self, video: int, label: int, scores: Scores) -> VideoResult:
        loss = float(-np.log(max(scores[label], 1e-30))) if label >= 0 else 0.0
        self.counter.accuracy.update(scores[None], [label], loss=[loss])
        known = label if label >= 0 else None
        entry = self._videos[video]
        return VideoResult(entry.name, str(entry.path), known, scores)

    def _with_several(self, video: int, row: Sequence[float], scores: Scores) -> VideoResult:
        entry = self._videos[video]
        if row[0] < 0:  # unknown
            return VideoResult(entry.name, str(entry.path), None, scores)
        there = np.array(row) > 0
        assert self.counter.tags is not None
        sure = np.where(there, scores, 1 - scores.astype(np.float64))
        loss = float(-np.log(np.maximum(sure, 1e-30)).sum())
        self.counter.tags.update(scores[None], there[None].astype(np.int64), loss=[loss])
        labels = tuple(np.flatnonzero(there).tolist())
        return VideoResult(entry.name, str(entry.path), None, scores, labels)


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
    scored = inference.with_repeats(job.run(inference, count))
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
    return ModuleScorer(model, config.data, accelerator, has_several_classes(config))


def class_scores(logits: Tensor, *, several: bool) -> Tensor:
    """Scores (N, num_classes) in [0, 1]: sigmoids where a video may have several classes."""
    return torch.sigmoid(logits) if several else torch.softmax(logits, dim=1)


@dataclass(frozen=True)
class ModuleScorer:
    """Scores views with a module that turns normalised clips (N, T, C, H, W) into logits."""

    module: nn.Module
    """The module in evaluation mode, on the device of the accelerator."""
    data: ClipData
    accelerator: Accelerator
    several: bool = False
    """A video may have several classes: a score per class."""

    def __call__(self, views: Tensor) -> Scores:
        """uint8 (V, T, C, H, W) -> (V, num_classes); each row sums to 1, unless `several`."""
        clips = views.to(self.accelerator.device, non_blocking=True)
        with torch.inference_mode(), self.accelerator.autocast():
            logits = self.module(normalize(clips, self.data.mean, self.data.std))
        return class_scores(logits.float(), several=self.several).cpu().numpy()


def _views_line(config: RunConfig, num_videos: int, views: ClipViews) -> str:
    looks = views.num_clips * views.num_crops
    line = f"{config.spec.title}: {counted(num_videos, 'video')}"
    if looks > 1:
        line += (
            f", {counted(views.num_clips, 'clip')} x {counted(views.num_crops, 'crop')} = {looks} "
            f"views each, {views.batch_size} at a time"
        )
    return line
