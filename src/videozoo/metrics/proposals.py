"""Recall of proposals: AR@AN and the area under it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videozoo.metrics._localisation import (
    ACTIVITYNET_TIOUS,
    COVERAGES,
    LENGTHS_SECONDS,
    Results,
    Truth,
    checked_tious,
)
from videozoo.metrics._localisation import Bucket as Bucket

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

_COLUMNS = 100
"""Number of points of the curve."""
_BLOCK = 1 << 18
"""Overlaps computed together; they fit into a CPU's cache."""


class ProposalCounter:
    """Collects proposals video by video, and scores how well they cover the truth.

    As in ActivityNet's evaluation code: AN is an average over videos. To reach it, the same share
    of the best proposals is taken from every video. Proposals of videos outside the truth count in
    the average.

    Source:
        eval_proposal.py of the ActivityNet challenge. Reference behaviour: PaddlePaddle/models
        release/1.8, metrics/bmn_metrics.

    >>> counter = ProposalCounter({"a": [[0, 10], [20, 30]]})
    >>> counter.update("a", [[0, 10], [21, 30], [50, 60]], [0.9, 0.8, 0.7])
    >>> result = counter.result()
    >>> round(result.average_recall_at(100), 3), round(result.average_recall_at(1), 3)
    (0.95, 0.5)
    """

    def __init__(
        self,
        truth: Mapping[str, ArrayLike],
        *,
        durations_seconds: Mapping[str, float] | None = None,
        tious: Sequence[float] = ACTIVITYNET_TIOUS,
    ) -> None:
        """Start without proposals.

        Args:
            truth: Video to (G, 2) annotated starts and ends in seconds. Videos without segments are
                ignored.
            durations_seconds: Video to its length; only needed for `by_coverage`.
            tious: tIoU thresholds from which a segment is found; recall is averaged over them.

        Raises:
            ValueError: A shape or a threshold is wrong, or a duration is missing.
        """
        self.tious = checked_tious(tious)
        self._truth = Truth(truth, durations_seconds=durations_seconds)
        self._results = Results(with_labels=False)

    def update(self, video: str, segments: ArrayLike, scores: ArrayLike) -> None:
        """Add the proposals of one video.

        Args:
            video: Its name; the truth need not hold it.
            segments: (P, 2) in seconds.
            scores: (P,), larger is better; of equal scores the earlier is better.

        Raises:
            ValueError: Shapes do not fit, or the video was added before. Nothing is added then.
        """
        self._results.add(video, segments, scores)

    def merge(self, other: ProposalCounter) -> None:
        """Add the proposals of another counter of the same truth; each video counts once."""
        self._results.merge(other._results)

    def tied(self) -> int:
        """Number of proposals with the score of another proposal of their video.

        Between equal scores the order of adding decides; see `backwards`.
        """
        counts = self._results.counts
        return self._results.tied(np.repeat(np.arange(len(counts)), counts))

    def backwards(self) -> ProposalCounter:
        """The same proposals in reverse order: the result shows how much equal scores matter."""
        turned = copy(self)
        turned._results = self._results.backwards()
        return turned

    def result(self, max_average: float | None = 100) -> ProposalResult:
        """Recall along the curve.

        Args:
            max_average: AN at the end of the curve. None: all proposals.
        """
        truth, results = self._truth, self._results
        numbers, counts = results.videos(truth), results.counts
        total, videos = int(counts.sum()), len(truth)
        if max_average is None:
            max_average = total / videos if videos else 0.0
        available = np.zeros(videos, np.int64)
        available[numbers[numbers >= 0]] = counts[numbers >= 0]

        # in the official order of operations: the cut depends on the last bit
        ratio = max_average * float(videos) / total if total else 0.0
        kept = np.minimum((available * ratio).astype(np.int64), available)
        used = int(kept.sum())
        shares = np.arange(1, _COLUMNS + 1) / 100.0
        proposals_per_video = shares * max_average
        first_columns = np.full((len(self.tious), len(truth.segments)), _COLUMNS)
        if used:
            shares = shares * (max_average * float(videos) / used)
            proposals_per_video = shares * (float(used) / videos)
            ranks = self._ranks(numbers, counts)
            first_columns = _first_columns(ranks, kept, truth.videos, shares)
        return ProposalResult(
            tious=self.tious,
            recall=_recall(first_columns),
            proposals_per_video=proposals_per_video,
            truth_recall=(first_columns < _COLUMNS).mean(axis=0),
            proposals=total,
            videos=videos,
            empty_videos=int((available == 0).sum()),
            videos_without_truth=int((numbers < 0).sum()),
            _truth=truth,
        )

    def _ranks(self, numbers: IntArray, counts: IntArray) -> IntArray:
        """(thresholds, G): number of proposals before the first one that finds the segment."""
        truth, results = self._truth, self._results
        segments, scores = results.segments, results.scores
        starts_seconds, ends_seconds = np.ascontiguousarray(segments.T)
        starts = np.cumsum(counts) - counts
        place = np.full(len(truth), -1)
        place[numbers[numbers >= 0]] = np.flatnonzero(numbers >= 0)
        is_listed = np.ones(len(scores), np.bool_)
        is_listed[1:] = scores[1:] <= scores[:-1]
        is_listed[starts[counts > 0]] = True
        is_sorted = bool(is_listed.all())

        ranks = np.full((len(self.tious), len(truth.segments)), int(counts.max()))
        found = place[truth.videos]
        rows = np.flatnonzero(found >= 0)
        rows = rows[counts[found[rows]] > 0]
        # videos with similar numbers of proposals go together, which needs little padding
        rows = rows[np.argsort(counts[found[rows]], kind="stable")]
        while len(rows):
            longest = int(counts[found[rows[-1]]])
            block, rows = np.split(rows, [-max(1, _BLOCK // longest)])[::-1]
            lists, inverse = np.unique(found[block], return_inverse=True)
            columns = np.arange(longest)
            entries = np.minimum(starts[lists][:, None] + columns, len(scores) - 1)
            # shorter lists are padded with entries of other videos, behind their own: no cut of
            # the list reaches them
            if not is_sorted:
                is_filling = columns >= counts[lists][:, None]
                keys = np.where(is_filling, np.inf, -scores[entries])
                # a score of minus infinity equals the padding, but must come before it
                order = np.argsort(keys, axis=1, kind="stable")
                entries = np.take_along_axis(entries, order, axis=1)
            overlaps = _overlaps(
                truth.segments[block], starts_seconds[entries], ends_seconds[entries], inverse
            )
            best = np.maximum.accumulate(overlaps, axis=0)
            for threshold, row in zip(self.tious.tolist(), ranks, strict=True):
                row[block] = (best < threshold).sum(axis=0)
        return ranks


@dataclass(frozen=True, kw_only=True)
class ProposalResult:
    """Results of proposals. Recall is in [0, 1]."""

    tious: FloatArray
    """(K,), the thresholds."""
    recall: FloatArray
    """(K, 100): recall at each threshold along the curve."""
    proposals_per_video: FloatArray
    """(100,): the average number of proposals (AN) along the curve."""
    truth_recall: FloatArray
    """(G,): number of thresholds at which each annotated segment is found, at the curve's end."""
    proposals: int
    """Number of proposals."""
    videos: int
    """Videos with annotated segments."""
    empty_videos: int
    """Number of these videos without a proposal."""
    videos_without_truth: int
    """Videos that were added but have no annotated segments."""
    _truth: Truth

    @property
    def average_recall(self) -> FloatArray:
        """(100,): the mean over the thresholds, along the curve."""
        return self.recall.mean(axis=0)

    def average_recall_at(self, average: float) -> float:
        """AR@AN: average recall with `average` proposals per video.

        Interpolated between the points of the curve.

        Raises:
            ValueError: The curve ends before `average`.
        """
        most = float(self.proposals_per_video[-1])
        if not 0 <= average <= most + 1e-9:
            raise ValueError(
                f"AR@{average:g}: the curve ends at {most:g} proposals per video; "
                "ask for result(max_average=...)"
            )
        xs, ys = self.proposals_per_video, self.average_recall
        return float(np.interp(average, np.append(0.0, xs), np.append(0.0, ys)))

    @property
    def auc(self) -> float:
        """Area under average recall by AN, as a share of the largest AN, by the official rule.

        The part before the curve's first point counts as 0, so it never reaches 1.
        """
        xs, ys = self.proposals_per_video, self.average_recall
        if not xs[-1]:
            return 0.0
        return float((np.diff(xs) * (ys[1:] + ys[:-1]) / 2.0).sum()) / float(xs[-1])

    def by_length(self, edges_seconds: Sequence[float] = LENGTHS_SECONDS) -> list[Bucket]:
        """Average recall at the curve's end by the length of the annotated segments."""
        return self._truth.by_length(self.truth_recall, edges_seconds)

    def by_coverage(self, edges: Sequence[float] = COVERAGES) -> list[Bucket]:
        """Average recall at the curve's end by the segments' share of the video.

        Raises:
            ValueError: The counter was made without durations.
        """
        return self._truth.by_coverage(self.truth_recall, edges)

    def summary(self) -> dict[str, float]:
        """`ar@1`, `ar@5`, `ar@10`, `ar@100` as far as the curve reaches, and `auc`; in [0, 1]."""
        most = float(self.proposals_per_video[-1]) + 1e-9
        found = {f"ar@{n}": self.average_recall_at(n) for n in (1, 5, 10, 100) if n <= most}
        return {**found, "auc": self.auc}


def _overlaps(
    truth: FloatArray, starts: FloatArray, ends: FloatArray, lists: IntArray
) -> FloatArray:
    """tIoU (P, G) of segments (G, 2) with the proposals (V, P) of their own video."""
    starts, ends = starts.T[:, lists], ends.T[:, lists]
    low, high = truth[:, 0], truth[:, 1]
    union = ends - starts
    union += high - low
    np.minimum(ends, high, out=ends)
    np.maximum(starts, low, out=starts)
    shared = np.subtract(ends, starts, out=ends)
    np.maximum(shared, 0.0, out=shared)
    union -= shared
    union[union <= 0] = 1.0  # the intersection is 0 there
    return np.divide(shared, union, out=shared)


def _first_columns(
    ranks: IntArray, kept: IntArray, videos: IntArray, shares: FloatArray
) -> IntArray:
    """First point of the curve at which each segment is found; the number of points if never."""
    sizes, inverse = np.unique(kept, return_inverse=True)
    cuts = np.minimum((sizes[:, None] * shares).astype(np.int64), sizes[:, None])
    # one search for all: numbers of one size lie between those of its neighbours
    width = int(max(ranks.max(initial=0), sizes.max(initial=0))) + 1
    bounds = (cuts + width * np.arange(len(sizes))[:, None]).ravel()
    own = inverse[videos]
    return np.searchsorted(bounds, ranks + width * own, side="right") - _COLUMNS * own


def _recall(first_columns: IntArray) -> FloatArray:
    if not first_columns.size:
        return np.zeros((len(first_columns), _COLUMNS))
    found = [np.bincount(row, minlength=_COLUMNS + 1)[:_COLUMNS] for row in first_columns]
    return np.cumsum(found, axis=1) / first_columns.shape[1]
