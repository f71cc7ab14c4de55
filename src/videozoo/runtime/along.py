"""A clip model along whole videos: scores of windows, and the segments that they make.

::

    video    |--------|--------|--------|--------|---     a window's share is `every_seconds`
    window      [--o-----o-----o--]                       frames spread over `window_seconds`,
                         [--o-----o-----o--]              centred on its share; windows may overlap
    segment           [=================]                 neighbours of one class

Scores are averaged over `smooth_windows` neighbours (fewer at the ends of the video). A window
belongs to its best class, if that then scores `least_score` or more; where a video may have several
classes, to every class that does. Neighbouring windows of one class are a segment, from the start
of the first share to the end of the last; its score is the mean of the averaged scores of its
class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames.video import VideoReader
from videozoo.data.frames.windows import (
    FrameTimes,
    WindowPlan,
    read_windows,
    retried,
    window_frames,
)
from videozoo.ops.windows import neighbours
from videozoo.results import Segment, VideoSegments, WindowScores

Scores = NDArray[np.floating[Any]]
WindowScorer = Callable[[NDArray[np.uint8]], Scores]
"""From windows, uint8 (N, T, H, W, C), to scores (N, num_classes)."""


@dataclass(frozen=True)
class Along:
    """What a clip model says along one video."""

    video: str
    path: str
    duration_seconds: float
    times: NDArray[np.float64]
    """(N, 2): start and end of each window's share, in seconds."""
    scores: Scores
    """(N, num_classes)."""
    damage: str = ""
    """What is wrong with the video, if it could be read all the same."""


def score_along(
    reader: VideoReader,
    name: str,
    plan: WindowPlan,
    score: WindowScorer,
    *,
    every_seconds: float,
    batch_size: int,
    on_windows: Callable[[float], None] | None = None,
) -> Along:
    """Score a video from its start to its end; it is decoded once, in order.

    Only the memory for the scores grows with its length.

    Args:
        reader: The video.
        name: How results and errors call it.
        plan: The windows, from `clip_windows`.
        score: The model.
        every_seconds: Seconds from one window to the next.
        batch_size: Windows at a time.
        on_windows: Called with the share that is done after each batch.

    Raises:
        VideoError: It cannot be read, or does not tell its frame rate.
    """
    times = FrameTimes.of(reader, name)
    numbers = window_frames(times, plan, name=name)

    def scored() -> Scores:
        rows: list[Scores] = []
        done = 0
        for _, windows in read_windows(reader, [(numbers, plan)], batch_size=batch_size, name=name):
            found = score(windows)
            rows.append(found.astype(np.float32, copy=False))
            done += len(found)
            if on_windows is not None:
                on_windows(done / len(numbers))
        return np.concatenate(rows)

    scores = retried(scored)
    starts = np.arange(len(numbers), dtype=np.float64) * every_seconds
    ends = np.append(starts[1:], times.duration_seconds)
    return Along(
        name,
        str(getattr(reader, "path", name)),
        round(times.duration_seconds, 6),
        np.stack((starts, ends), axis=1),
        scores,
        str(getattr(reader, "damage", "")),
    )


def smoothed(scores: NDArray[np.floating[Any]], size: int) -> NDArray[np.float64]:
    """Mean over `size` neighbouring rows; over those that there are at both ends.

    >>> smoothed(np.array([[0.0], [3.0], [6.0]]), 3)[:, 0].tolist()
    [1.5, 3.0, 4.5]
    """
    sums = np.concatenate((np.zeros((1, scores.shape[1])), np.cumsum(scores, 0, np.float64)))
    places = np.arange(len(scores))
    low = np.maximum(places - size // 2, 0)
    high = np.minimum(places + size // 2 + 1, len(scores))
    return (sums[high] - sums[low]) / (high - low)[:, None]


def segments_along(
    found: Along,
    names: Sequence[str],
    *,
    smooth_windows: int,
    least_score: float,
    several: bool = False,
) -> tuple[Segment, ...]:
    """Join neighbouring windows of one class, as the head of this file says; the best first.

    >>> scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.45, 0.55], [0.1, 0.9]])
    >>> times = np.array([[0, 2], [2, 4], [4, 6], [6, 7]])
    >>> video = Along("v", "v", 7.0, times, scores)
    >>> segments_along(video, ["run", "jump"], smooth_windows=1, least_score=0.6)
    (Segment(6.0 to 7.0 s, 'jump', 0.900), Segment(0.0 to 4.0 s, 'run', 0.850))
    >>> options = {"smooth_windows": 1, "least_score": 0.45, "several": True}
    >>> segments_along(video, ["run", "jump"], **options)
    (Segment(4.0 to 7.0 s, 'jump', 0.725), Segment(0.0 to 6.0 s, 'run', 0.717))
    """
    means = smoothed(found.scores, smooth_windows)
    is_there = means >= least_score
    if not several:
        is_there &= np.arange(means.shape[1]) == means.argmax(axis=1)[:, None]
    segments: list[Segment] = []
    for label in np.flatnonzero(is_there.any(axis=0)).tolist():
        for run in neighbours(is_there[:, label]):
            start, end = float(found.times[run[0], 0]), float(found.times[run[-1], 1])
            segments.append(Segment(start, end, float(means[run, label].mean()), names[label]))
    segments.sort(key=lambda each: each.start)
    return tuple(sorted(segments, key=lambda each: -each.score))


def segments_of(
    found: Along,
    names: Sequence[str],
    *,
    smooth_windows: int,
    least_score: float,
    several: bool = False,
) -> VideoSegments:
    """The segments of a video, as `segments_along` makes them, with the scores of its windows."""
    segments = segments_along(
        found, names, smooth_windows=smooth_windows, least_score=least_score, several=several
    )
    return VideoSegments(
        video=found.video,
        duration_seconds=found.duration_seconds,
        segments=segments,
        windows=WindowScores(found.times, found.scores, tuple(names)),
    )
