"""Detection of actions: mean average precision, and kinds of errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videozoo.metrics._localisation import (
    ACTIVITYNET_TIOUS,
    COVERAGES,
    INSTANCES,
    LENGTHS_SECONDS,
    THUMOS_TIOUS,
    Results,
    Truth,
    buckets,
    checked_tious,
)
from videozoo.metrics._localisation import Bucket as Bucket

__all__ = [
    "ACTIVITYNET_TIOUS",
    "ERRORS",
    "THUMOS_TIOUS",
    "Bucket",
    "DetectionCounter",
    "DetectionResult",
    "FalsePositives",
    "MissedTruth",
]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

ERRORS = ("double detection", "wrong label", "localisation", "confusion", "background")
"""Kinds of false positives, the mildest first; see `FalsePositives`."""

_BACKGROUND = 0.1
"""tIoU below which a detection and a segment count as unrelated."""


class DetectionCounter:
    """Collects detections video by video, and scores them.

    As in ActivityNet's evaluation code: the detections of a class, over all videos, are taken from
    the highest score down. Each takes the free segment of its video and class with the highest
    tIoU, and is right if that tIoU reaches the threshold. Detections in videos without truth are
    wrong. Precision is made monotonic in recall before it is averaged.

    Source: eval_detection.py of the ActivityNet challenge; THUMOS14 with its thresholds.

    >>> counter = DetectionCounter({"a": [[0, 10], [20, 30]]}, {"a": [3, 3]}, tious=[0.5])
    >>> counter.update("a", [[0, 9], [50, 60], [22, 30]], [0.9, 0.8, 0.7], [3, 3, 3])
    >>> round(counter.result().mean_ap, 4)
    0.8333
    """

    def __init__(
        self,
        truth: Mapping[str, ArrayLike],
        labels: Mapping[str, ArrayLike],
        *,
        durations_seconds: Mapping[str, float] | None = None,
        tious: Sequence[float] = ACTIVITYNET_TIOUS,
    ) -> None:
        """Start without detections.

        Args:
            truth: Video to (G, 2) annotated starts and ends in seconds. Videos without segments are
                ignored.
            labels: Video to (G,) class numbers.
            durations_seconds: Video to its length; only needed for `missed` by coverage.
            tious: From which overlap on a detection may be right.

        Raises:
            ValueError: A shape or a threshold is wrong, or a duration is missing.
        """
        self.tious = checked_tious(tious)
        self._truth = Truth(truth, labels=labels, durations_seconds=durations_seconds)
        self._results = Results(with_labels=True)

    def update(self, video: str, segments: ArrayLike, scores: ArrayLike, labels: ArrayLike) -> None:
        """Add the detections of one video.

        Args:
            video: Its name; the truth need not hold it.
            segments: (P, 2) in seconds.
            scores: (P,), larger is better; of equal scores the earlier is better.
            labels: (P,) class numbers. Classes outside the truth are ignored.

        Raises:
            ValueError: Shapes do not fit, or the video was added before. Nothing is added then.
        """
        self._results.add(video, segments, scores, labels)

    def merge(self, other: DetectionCounter) -> None:
        """Add the detections of another counter of the same truth; each video counts once."""
        self._results.merge(other._results)

    def tied(self) -> int:
        """Number of detections with the score of another detection of their class.

        Between equal scores the order of adding decides; see `backwards`.
        """
        labels = self._results.labels
        assert self._truth.labels is not None
        own = labels.max(initial=0) + 1 + np.arange(len(labels))  # groups of one, for other classes
        return self._results.tied(np.where(np.isin(labels, self._truth.labels), labels, own))

    def backwards(self) -> DetectionCounter:
        """The same detections in reverse order: the result shows how much equal scores matter.

        >>> counter = DetectionCounter({"a": [[0, 10]]}, {"a": [3]}, tious=[0.5])
        >>> counter.update("a", [[0, 9], [50, 60]], [1, 1], [3, 3])
        >>> counter.tied(), counter.result().mean_ap, counter.backwards().result().mean_ap
        (2, 1.0, 0.5)
        """
        turned = copy(self)
        turned._results = self._results.backwards()
        return turned

    def result(self) -> DetectionResult:
        """Average precision of all classes and thresholds."""
        found = self._found()
        right = found.matched(self.tious) >= 0
        numbers, counts = self._results.videos(self._truth), self._results.counts
        return DetectionResult(
            tious=self.tious,
            classes=found.classes,
            ap=found.ap(right),
            detections=int(counts.sum()),
            videos=len(self._truth),
            empty_videos=len(self._truth) - int(((numbers >= 0) & (counts > 0)).sum()),
            videos_without_truth=int((numbers < 0).sum()),
        )

    def false_positives(self, tiou: float = 0.5, *, times: int = 10) -> FalsePositives:
        """Kinds of errors among the best detections.

        Args:
            tiou: From which overlap on a detection may be right.
            times: Detections per class that are analysed, as a multiple of its annotated segments.

        Source: Alwassel et al., ECCV 2018 (DETAD).
        """
        found = self._found()
        right = found.matched(checked_tious([tiou]))[0] >= 0
        kind = np.where(right, 0, found.errors(tiou))
        depth = found.ranks // np.maximum(found.class_counts[found.label_places], 1)
        counts = np.zeros((times, len(ERRORS) + 1), np.int64)
        inside = depth < times
        np.add.at(counts, (depth[inside], kind[inside]), 1)
        before = float(found.ap(right[None]).mean()) if len(found.classes) else 0.0
        gains: dict[str, float] = {}
        for number, name in enumerate(ERRORS, start=1):
            stays = kind != number
            ap = found.ap(right[None], stays)
            gains[name] = float(ap.mean()) - before if len(found.classes) else 0.0
        return FalsePositives(tiou=tiou, counts=np.cumsum(counts, axis=0), gains=gains)

    def missed(self, tiou: float = 0.5) -> MissedTruth:
        """Annotated segments that no detection finds, at any score.

        Source: Alwassel et al., ECCV 2018 (DETAD).
        """
        truth = self._truth
        matched = self._found().matched(checked_tious([tiou]))[0]
        is_missed = np.ones(len(truth.segments))
        is_missed[matched[matched >= 0]] = 0.0
        return MissedTruth(tiou=tiou, is_missed=is_missed > 0, _truth=truth)

    def _found(self) -> _Found:
        results = self._results
        videos = np.repeat(results.videos(self._truth), results.counts)
        return _Found(self._truth, results.segments, results.scores, results.labels, videos)


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """Results of detection. Precision is in [0, 1]."""

    tious: FloatArray
    """(K,), the thresholds."""
    classes: IntArray
    """(C,): classes with annotated segments, ascending."""
    ap: FloatArray
    """(K, C): average precision; 0 for a class without detections."""
    detections: int
    """Number of detections."""
    videos: int
    """Videos with annotated segments."""
    empty_videos: int
    """Number of these videos without a detection."""
    videos_without_truth: int
    """Videos that were added but have no annotated segments."""

    @property
    def map_at(self) -> FloatArray:
        """(K,): mean over the classes; 0 without any."""
        return self.ap.mean(axis=1) if len(self.classes) else np.zeros(len(self.tious))

    @property
    def mean_ap(self) -> float:
        """Mean of `map_at` over the thresholds: ActivityNet's average mAP."""
        return float(self.map_at.mean())

    def summary(self) -> dict[str, float]:
        """`map@0.5` and so on for each threshold, and `map`, their mean; in [0, 1]."""
        pairs = zip(self.tious.tolist(), self.map_at.tolist(), strict=True)
        return {**{f"map@{tiou:.4g}": value for tiou, value in pairs}, "map": self.mean_ap}


@dataclass(frozen=True, kw_only=True)
class FalsePositives:
    """Detections by the mildest kind of error that fits.

    - double detection: it would be right if a better one had not taken the segment;
    - wrong label: it reaches the threshold with a segment of another class;
    - localisation: right class, but an overlap between 0.1 and the threshold;
    - confusion: both, another class and such an overlap;
    - background: it overlaps nothing by 0.1.
    """

    tiou: float
    """The threshold."""
    counts: IntArray
    """(times, 6): number of right ones, and of each of `ERRORS`, among the best detections of each
    class: in row k, (k + 1) times as many as it has annotated segments."""
    gains: Mapping[str, float]
    """Kind of error to the rise of mAP without these errors."""

    @property
    def shares(self) -> FloatArray:
        """(times, 6), each row of `counts` as shares of its sum; 0 in empty rows."""
        return self.counts / np.maximum(self.counts.sum(axis=1, keepdims=True), 1)


@dataclass(frozen=True, kw_only=True)
class MissedTruth:
    """Annotated segments that no detection finds. The share of a bucket is the missed share."""

    tiou: float
    """The threshold."""
    is_missed: BoolArray
    """(G,)."""
    _truth: Truth

    @property
    def share(self) -> float:
        """Missed share of all segments; 0 without segments."""
        return float(self.is_missed.mean()) if len(self.is_missed) else 0.0

    def by_length(self, edges_seconds: Sequence[float] = LENGTHS_SECONDS) -> list[Bucket]:
        """By the length of the segments."""
        return self._truth.by_length(self.is_missed.astype(np.float64), edges_seconds)

    def by_coverage(self, edges: Sequence[float] = COVERAGES) -> list[Bucket]:
        """By the segments' share of the video.

        Raises:
            ValueError: The counter was made without durations.
        """
        return self._truth.by_coverage(self.is_missed.astype(np.float64), edges)

    def by_instances(self, edges: Sequence[float] = INSTANCES) -> list[Bucket]:
        """By the number of segments of the same class in the video."""
        assert self._truth.labels is not None
        pairs = np.stack((self._truth.videos, self._truth.labels), axis=1)
        _, inverse, counts = np.unique(pairs, axis=0, return_inverse=True, return_counts=True)
        instances = counts[inverse.reshape(-1)].astype(np.float64)
        return buckets(instances, self.is_missed.astype(np.float64), edges)


class _Found:
    """Detections of the classes in the truth, class by class, best first."""

    def __init__(
        self,
        truth: Truth,
        segments: FloatArray,
        scores: FloatArray,
        labels: IntArray,
        videos: IntArray,
    ) -> None:
        assert truth.labels is not None
        self.truth, self.truth_labels = truth, truth.labels
        self.classes, truth_places, self.class_counts = np.unique(
            truth.labels, return_inverse=True, return_counts=True
        )
        self._truth_places = truth_places.reshape(-1)
        known = np.flatnonzero(np.isin(labels, self.classes))
        order = known[np.argsort(-scores[known], kind="stable")]
        places = np.searchsorted(self.classes, labels[order])
        small = places.astype(np.uint16) if len(self.classes) < 1 << 16 else places  # sorts fast
        by_class = np.argsort(small, kind="stable")
        order = order[by_class]
        self.segments, self.videos = segments[order], videos[order]
        self.label_places: IntArray = places[by_class]
        """(N,): index of each detection's class in `classes`."""
        self.class_starts = np.searchsorted(self.label_places, np.arange(len(self.classes) + 1))
        self.ranks: IntArray = np.arange(len(order)) - self.class_starts[self.label_places]
        """(N,): rank of each detection in its class."""

    def matched(self, tious: FloatArray) -> IntArray:
        """(K, N): the segment each detection finds, -1 for none."""
        width = max(1, len(self.classes))
        pairs = _paired(
            self.truth.videos * width + self._truth_places,
            np.where(self.videos >= 0, self.videos * width + self.label_places, -1),
        )
        overlaps = pairs.overlaps(self.truth.segments, self.segments)
        near = np.flatnonzero(overlaps >= tious.min())
        detections, truths, overlaps = pairs.detections[near], pairs.truths[near], overlaps[near]

        # If all detections that reach a segment reach no other one, the first of them finds it.
        # Only the rest needs a loop over detections.
        is_choosy = np.bincount(detections)[detections] > 1
        is_disputed = np.zeros(len(self.truth.segments), np.bool_)
        is_disputed[truths[is_choosy]] = True
        settled = np.flatnonzero(~is_disputed[truths])[::-1]
        rest = np.flatnonzero(is_disputed[truths])
        # of equal overlaps the official code takes the later segment
        rest = rest[np.lexsort((-truths[rest], -overlaps[rest], detections[rest]))]

        matched = np.full((len(tious), len(self.videos)), -1)
        for tiou, row in zip(tious.tolist(), matched, strict=True):
            reaching = settled[overlaps[settled] >= tiou]
            finder = np.full(len(self.truth.segments), -1)
            finder[truths[reaching]] = detections[reaching]  # the last one stays: the best
            found = np.flatnonzero(finder >= 0)
            row[finder[found]] = found

            reaching = rest[overlaps[rest] >= tiou]
            winners: dict[int, int] = {}
            taken: set[int] = set()
            listed = (detections[reaching].tolist(), truths[reaching].tolist())
            for detection, truth in zip(*listed, strict=True):
                if detection not in winners and truth not in taken:
                    winners[detection] = truth
                    taken.add(truth)
            row[list(winners)] = list(winners.values())
        return matched

    def ap(self, right: BoolArray, stays: BoolArray | None = None) -> FloatArray:
        """(K, C) average precision from (K, N), with only the detections that stay."""
        ap = np.zeros((len(right), len(self.classes)))
        for place, positives in enumerate(self.class_counts.tolist()):
            own = slice(self.class_starts[place], self.class_starts[place + 1])
            hits = right[:, own] if stays is None else right[:, own][:, stays[own]]
            # precision is largest at right detections, so the other ranks can be left out
            ranks = np.flatnonzero(hits.any(axis=0))
            hits = hits[:, ranks]
            precision = np.cumsum(hits, axis=1) / (ranks + 1)
            falling = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
            ap[:, place] = (falling * hits).sum(axis=1) / positives
        return ap

    def errors(self, tiou: float) -> IntArray:
        """(N,): 1 + index in `ERRORS` of each detection, if it is wrong."""
        pairs = _paired(self.truth.videos, self.videos)
        overlaps = pairs.overlaps(self.truth.segments, self.segments)
        is_same = self._truth_places[pairs.truths] == self.label_places[pairs.detections]
        same, other = np.zeros(len(self.videos)), np.zeros(len(self.videos))
        np.maximum.at(same, pairs.detections[is_same], overlaps[is_same])
        np.maximum.at(other, pairs.detections[~is_same], overlaps[~is_same])
        conditions = (same >= tiou, other >= tiou, same >= _BACKGROUND, other >= _BACKGROUND)
        return np.select(conditions, (1, 2, 3, 4), 5)


@dataclass(frozen=True)
class _Pairs:
    """Pairs of detections and segments, ordered by detection."""

    detections: IntArray
    truths: IntArray

    def overlaps(self, truth: FloatArray, segments: FloatArray) -> FloatArray:
        """tIoU of each pair."""
        a, b = segments[self.detections], truth[self.truths]
        shared = np.minimum(a[:, 1], b[:, 1]) - np.maximum(a[:, 0], b[:, 0])
        shared = np.maximum(shared, 0.0)
        union = (b[:, 1] - b[:, 0]) + (a[:, 1] - a[:, 0]) - shared
        return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def _paired(truth_groups: IntArray, groups: IntArray) -> _Pairs:
    """Every detection with all segments of its group; -1 is a group without segments."""
    by_group = np.argsort(truth_groups, kind="stable")
    counts = np.bincount(truth_groups, minlength=int(groups.max(initial=0)) + 1)
    firsts = np.cumsum(counts) - counts
    sizes = np.where(groups >= 0, counts[groups], 0)
    detections = np.repeat(np.arange(len(groups)), sizes)
    before = np.cumsum(sizes) - sizes
    places = np.arange(len(detections)) + np.repeat(firsts[groups] - before, sizes)
    return _Pairs(detections, by_group[places])
