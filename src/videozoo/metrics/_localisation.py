"""Shared by the metrics of proposals and detections: truth, results, breakdowns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videozoo.ops.tiou import as_segments

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

ACTIVITYNET_TIOUS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""0.5, 0.55, ... 0.95: equal to those of ActivityNet's evaluation code, to the last bit."""
THUMOS_TIOUS = tuple(np.linspace(0.3, 0.7, 5).tolist())
"""0.3, 0.4, ... 0.7."""

LENGTHS_SECONDS = (30.0, 60.0, 120.0, 180.0)
"""DETAD's edges for the lengths of ActivityNet's actions."""
COVERAGES = (0.2, 0.4, 0.6, 0.8)
"""DETAD's edges for the share of the video that an action takes."""
INSTANCES = (1.0, 4.0, 8.0)
"""DETAD's edges for the number of actions of one class in a video."""


@dataclass(frozen=True)
class Bucket:
    """A group of annotated segments, and their result."""

    above: float
    """The quantity is larger than this..."""
    up_to: float
    """...and at most this; may be infinity."""
    truths: int
    """Number of segments."""
    share: float | None
    """Mean over the segments, in [0, 1]; None without segments."""


class Truth:
    """Annotated segments of all videos, side by side."""

    def __init__(
        self,
        segments: Mapping[str, ArrayLike],
        *,
        labels: Mapping[str, ArrayLike] | None = None,
        durations_seconds: Mapping[str, float] | None = None,
    ) -> None:
        """Check and join the segments of all videos. Videos without segments are ignored."""
        found = {name: as_segments(each) for name, each in segments.items()}
        found = {name: each for name, each in found.items() if len(each)}
        self.numbers = {name: number for number, name in enumerate(found)}
        """Number of each video, by name."""
        counts = [len(each) for each in found.values()]
        self.segments: FloatArray = np.concatenate([np.zeros((0, 2)), *found.values()])
        self.videos: IntArray = np.repeat(np.arange(len(found)), counts)
        """(G,): number of the video of each segment."""
        self.labels = _labels(found, labels or {}) if labels is not None else None
        """(G,)."""
        self.durations = _durations(found, durations_seconds) if durations_seconds else None
        """(G,): seconds of the video of each segment."""

    def __len__(self) -> int:
        """Number of videos with a segment."""
        return len(self.numbers)

    @property
    def lengths(self) -> FloatArray:
        """(G,), seconds."""
        return self.segments[:, 1] - self.segments[:, 0]

    def by_length(self, values: FloatArray, edges: Sequence[float]) -> list[Bucket]:
        """Mean of (G,) values by length in seconds."""
        return buckets(self.lengths, values, edges)

    def by_coverage(self, values: FloatArray, edges: Sequence[float]) -> list[Bucket]:
        """Mean of (G,) values by the segment's share of the video."""
        if self.durations is None:
            raise ValueError("by_coverage: the counter was made without durations_seconds")
        return buckets(self.lengths / self.durations, values, edges)


class Results:
    """Results of all videos."""

    def __init__(self, *, with_labels: bool) -> None:
        self.names: dict[str, int] = {}
        """Number of entries by video, in the order they came."""
        self._with_labels = with_labels
        self._segments = [np.zeros((0, 2))]
        self._scores = [np.zeros(0)]
        self._labels = [np.zeros(0, np.int64)]

    def add(
        self, video: str, segments: ArrayLike, scores: ArrayLike, labels: ArrayLike = ()
    ) -> None:
        """Add the results of one video; nothing is added if they are invalid."""
        if video in self.names:
            raise ValueError(f"results of video {video!r} came twice")
        pairs, values = as_segments(segments), np.asarray(scores, np.float64)
        numbers = np.asarray(labels, np.int64) if self._with_labels else None
        if values.shape != pairs.shape[:1] or (
            numbers is not None and numbers.shape != values.shape
        ):
            raise ValueError(
                f"video {video!r}: {len(pairs)} segments, scores of shape {values.shape}"
                + (f", labels of {numbers.shape}" if numbers is not None else "")
            )
        self.names[video] = len(pairs)
        self._segments.append(pairs)
        self._scores.append(values)
        if numbers is not None:
            self._labels.append(numbers)

    def merge(self, other: Results) -> None:
        """Add the results of another object; a video in both counts once."""
        parts = [other._segments[1:], other._scores[1:]]
        parts += [other._labels[1:]] * self._with_labels
        for video, *part in zip(other.names, *parts, strict=True):
            if video not in self.names:
                self.add(video, *part)

    def backwards(self) -> Results:
        """The same in reverse order: of equal scores the later then counts as better."""
        turned = Results(with_labels=self._with_labels)
        turned.names = dict(reversed(self.names.items()))
        turned._segments = [each[::-1] for each in reversed(self._segments)]
        turned._scores = [each[::-1] for each in reversed(self._scores)]
        turned._labels = [each[::-1] for each in reversed(self._labels)]
        return turned

    def tied(self, groups: IntArray) -> int:
        """Count the entries with the score of another entry of their group; `groups` is (N,)."""
        pairs = np.stack((groups.astype(np.float64), self.scores), axis=1)
        _, counts = np.unique(pairs, axis=0, return_counts=True)
        return int(counts[counts > 1].sum())

    @property
    def counts(self) -> IntArray:
        """(V,), entries of each video."""
        return np.array(list(self.names.values()), np.int64)

    def videos(self, truth: Truth) -> IntArray:
        """(V,), the number of each video in the truth, -1 for videos without truth."""
        return np.array([truth.numbers.get(name, -1) for name in self.names], np.int64)

    @property
    def segments(self) -> FloatArray:
        """(N, 2)."""
        return np.concatenate(self._segments)

    @property
    def scores(self) -> FloatArray:
        """(N,); nan counts as minus infinity."""
        scores = np.concatenate(self._scores)
        scores[np.isnan(scores)] = -np.inf
        return scores

    @property
    def labels(self) -> IntArray:
        """(N,)."""
        return np.concatenate(self._labels)


def checked_tious(tious: Sequence[float]) -> FloatArray:
    """Thresholds as an array.

    Raises:
        ValueError: There are none, or one is not in (0, 1].
    """
    values = np.asarray(tious, np.float64)
    if not len(values) or not np.all((values > 0) & (values <= 1)):
        raise ValueError(f"tIoU thresholds {list(tious)}, expected at least one, in (0, 1]")
    return values


def buckets(quantity: FloatArray, values: FloatArray, edges: Sequence[float]) -> list[Bucket]:
    """Means of `values` by ranges of `quantity`, between the edges, 0 and infinity."""
    # a segment without length belongs to the first bucket
    place = np.searchsorted(np.asarray(edges, np.float64), quantity, side="left")
    counts = np.bincount(place, minlength=len(edges) + 1).tolist()
    sums = np.bincount(place, values, minlength=len(edges) + 1).tolist()
    return [
        Bucket(above, up_to, count, total / count if count else None)
        for above, up_to, count, total in zip(
            (0.0, *edges), (*edges, float("inf")), counts, sums, strict=True
        )
    ]


def _labels(videos: Mapping[str, FloatArray], labels: Mapping[str, ArrayLike]) -> IntArray:
    found = [np.zeros(0, np.int64)]
    for name, segments in videos.items():
        numbers = np.asarray(labels.get(name, ()), np.int64).reshape(-1)
        if len(numbers) != len(segments):
            raise ValueError(
                f"truth of video {name!r}: {len(segments)} segments, {len(numbers)} labels"
            )
        found.append(numbers)
    return np.concatenate(found)


def _durations(videos: Mapping[str, FloatArray], durations: Mapping[str, float]) -> FloatArray:
    missing = [name for name in videos if not durations.get(name, 0) > 0]
    if missing:
        raise ValueError(f"truth of video {missing[0]!r}: no duration above 0")
    found = [durations[name] for name in videos]
    return np.repeat(np.array(found, np.float64), [len(each) for each in videos.values()])
