"""Scores of many videos: every view of every video through a model, shared by all processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.annotations.videos import (
    ClipEntry,
    videos_of,
    views_by_video,
)
from videozoo.data.clips import EvalBatches
from videozoo.data.frames.views import eval_plan
from videozoo.engine.devices import use_channels_last
from videozoo.errors import ConfigError
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.metrics.multicrop import VideoScores
from videozoo.ops.folding import fold_batch_norms
from videozoo.ops.pixels import normalize
from videozoo.settings.clips import ClipData, ClipPredict, ClipViews
from videozoo.tasks.classification.common import clip_shape
from videozoo.tasks.common import progress_bar, speaker
from videozoo.tasks.exporting import refuse_drop
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.requests import Device, EvalRequest, PredictRequest
from videozoo.tasks.results import say_damaged
from videozoo.weights.exported import ExportedClips, ExportedSpec, exported_kind, open_exported

Scores = NDArray[np.floating[Any]]
ClipScorer = Callable[[Tensor], Scores]
"""From views, uint8 (V, T, C, H, W), to scores (V, num_classes)."""


@dataclass(frozen=True)
class VideoResult:
    """What a model says of one video."""

    name: str
    path: str
    label: int | None
    """The true class, where known."""
    scores: Scores
    """(num_classes,), summing to 1: the mean over the views."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k best classes with their scores, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(int(number), float(self.scores[number])) for number in order]


@dataclass
class Scored:
    """Scores of many videos, over all processes."""

    counter: AccuracyCounter
    """Of videos: their views averaged."""
    num_views: int
    """Of all videos together."""
    results: dict[int, VideoResult]
    """By place in the list; empty unless asked for."""
    skipped: dict[int, str]
    """Videos that could not be read: place in the list, and why."""
    damaged: dict[int, str] = field(default_factory=dict[int, str])
    """Videos with a result that do not decode in full: place in the list, and what failed."""


def score_videos(
    score: ClipScorer,
    config: RunConfig,
    entries: Sequence[ClipEntry],
    *,
    accelerator: Accelerator,
    views: ClipViews,
    skip_bad: bool = False,
    keep: bool = False,
    on_video: Callable[[int], None] | None = None,
) -> Scored:
    """Run a model over every view of every video, the work shared by all processes.

    Memory is bounded by `views.batch_size` views at a time; only one running sum a video is kept
    until its last view has come.

    Args:
        score: The model: a `ModuleScorer`, or from `scorer_of`.
        config: Says how videos are cut.
        entries: The whole list.
        accelerator: The processes.
        views: How many looks at each video.
        skip_bad: Go on without videos that cannot be read.
        keep: Also return the scores of each video.
        on_video: Called with the number of videos done by this process.

    Raises:
        VideoError: A video cannot be read, and `skip_bad` is not set.
    """
    classes = config.model.num_classes
    mine = Scored(AccuracyCounter(classes), 0, {}, {})
    videos = videos_of(entries)
    batches = EvalBatches(
        entries,
        clip_shape(config),
        config.data,
        views,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        skip_bad=skip_bad,
        num_classes=classes,
    )
    collector = VideoScores(_views_per_video(entries, batches))
    done = 0
    for video, label, row in _scored_views(score, batches, views.batch_size):
        mine.num_views += 1
        scores = collector.add(video, row)
        if scores is None:
            continue
        done += 1
        loss = -np.log(max(scores[label], 1e-30)) if label >= 0 else 0.0
        mine.counter.update(scores[None], [label], loss=[loss])
        if keep:
            known = label if label >= 0 else None
            entry = videos[video]
            mine.results[video] = VideoResult(entry.name, str(entry.path), known, scores)
        if on_video is not None:
            on_video(done)
    mine.skipped.update(batches.skipped)
    mine.damaged.update({v: why for v, why in batches.damaged.items() if v not in mine.skipped})
    return _merged(mine, accelerator)


def _scored_views(
    score: ClipScorer, batches: EvalBatches, most_views: int
) -> Iterator[tuple[int, int, Scores]]:
    """Yield (video, label, scores) view by view; at most `most_views` are computed at a time."""
    for batch in batches:
        parts = [
            score(batch.clips[start : start + most_views])
            for start in range(0, len(batch), most_views)
        ]
        yield from zip(
            batch.videos.tolist(), batch.labels.tolist(), np.concatenate(parts), strict=True
        )


def _views_per_video(entries: Sequence[ClipEntry], batches: EvalBatches) -> Callable[[int], int]:
    """How many views of a video come: as planned, or as many as a 2019 test list has lines."""
    planned = batches.plan.num_clips * batches.plan.num_crops
    groups = views_by_video(entries)
    return lambda video: planned if groups[video][0].crop_index is None else len(groups[video])


def _merged(mine: Scored, accelerator: Accelerator) -> Scored:
    """Add up what the processes have found; results come back in the order of the list."""
    if accelerator.num_processes > 1:
        parts: list[Scored] = gather_object([mine])
        mine = parts[0]
        for part in parts[1:]:
            mine.counter.merge(part.counter)
            mine.num_views += part.num_views
            mine.results |= part.results
            mine.skipped |= part.skipped
            mine.damaged |= part.damaged
    mine.results = dict(sorted(mine.results.items()))
    return mine


def run_views(
    trained: Trained,
    config: RunConfig,
    views: ClipViews,
    entries: Sequence[ClipEntry],
    request: EvalRequest | PredictRequest,
    accelerator: Accelerator,
) -> tuple[Scored, RunConfig]:
    """Build the model for these views and score the videos, in sight of the user."""
    config = with_views(config, views)
    score = scorer_of(trained, config, accelerator, drop=request.drop, device=request.device)
    count = len(videos_of(entries))
    say = speaker(Console(stderr=True), accelerator)
    say(_views_line(config, count, views))
    with progress_bar(count, accelerator) as advance:
        scored = score_videos(
            score,
            config,
            entries,
            accelerator=accelerator,
            views=views,
            skip_bad=not request.strict,
            keep=True,
            on_video=advance,
        )
    say_damaged(say, list(scored.damaged.values()))
    return scored, config


def with_views(config: RunConfig, views: ClipViews) -> RunConfig:
    """Build the model for another number of segments where the views ask for it.

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
    """Make sure that these views are cut to the clips that an exported graph takes."""
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


def scorer_of(
    trained: Trained,
    config: RunConfig,
    accelerator: Accelerator,
    *,
    drop: Sequence[str] = (),
    device: Device = "auto",
) -> ClipScorer:
    """Load the weights, or the exported graph, ready to score.

    Args:
        trained: What the user named.
        config: For the views that will come.
        accelerator: From `accelerator_for`.
        drop: Leading parts of parameter names that keep their fresh values.
        device: For ONNX files: `cuda` asks onnxruntime for its CUDA provider.

    Raises:
        WeightsError: They do not fit; every mismatch is listed. Or the graph is damaged.
        RunError: onnxruntime is missing, or has no support for the device.
    """
    kind = exported_kind(trained.path)
    if kind is not None:
        refuse_drop(trained, drop)
        on_gpu = accelerator.device.type == "cuda" or (kind == "onnx" and device == "cuda")
        return open_exported(
            trained.path,
            device="cuda" if on_gpu else "cpu",
            device_index=accelerator.local_process_index,
        )
    module = build_trained(trained, config, drop=drop)
    module.to(accelerator.device).eval()
    fold_batch_norms(module)  # its weights are not saved from here
    use_channels_last(module)
    return ModuleScorer(module, config.data, accelerator)


@dataclass(frozen=True)
class ModuleScorer:
    """Scores views with a module: from normalised clips (N, T, C, H, W) to logits."""

    module: nn.Module
    """In evaluation mode, on the accelerator's device."""
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
    line = f"{config.spec.title}: {num_videos} videos"
    if looks > 1:
        line += (
            f", {views.num_clips} clips x {views.num_crops} crops = {looks} views each, "
            f"{views.batch_size} at a time"
        )
    return line
