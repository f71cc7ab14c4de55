"""Moments found for a sentence: R@n at a tIoU threshold, and mean tIoU.

A moment is a (start, end); all moments of a call are in one unit, seconds or frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Moments = NDArray[np.float64]


def tiou(moments: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Temporal IoU of moments with the true one.

    Args:
        moments: (..., 2), start and end. A moment that ends before it starts is empty.
        truth: (2,), or one per moment.

    Returns:
        (...), in [0, 1].

    >>> tiou([[0, 10], [8, 12], [20, 30]], [5, 15]).round(3).tolist()
    [0.333, 0.4, 0.0]
    """
    ours, true = np.asarray(moments, np.float64), np.asarray(truth, np.float64)
    overlap = np.minimum(ours[..., 1], true[..., 1]) - np.maximum(ours[..., 0], true[..., 0])
    overlap = np.maximum(overlap, 0)
    lengths = np.maximum(np.diff(ours)[..., 0], 0) + np.maximum(np.diff(true)[..., 0], 0)
    covered = lengths - overlap
    return np.divide(overlap, covered, out=np.zeros_like(covered), where=covered > 0)


def tiou_2019(moments: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """As `tiou`, but below 0 for moments that are apart or reversed.

    Source: PaddlePaddle/models release/1.8, metrics/tall. Shared part over hull.

    >>> tiou_2019([[0, 10], [20, 30], [30, 10]], [5, 15]).round(3).tolist()
    [0.333, -0.2, -2.0]
    """
    ours, true = np.asarray(moments, np.float64), np.asarray(truth, np.float64)
    shared = np.minimum(ours[..., 1], true[..., 1]) - np.maximum(ours[..., 0], true[..., 0])
    hull = np.maximum(ours[..., 1], true[..., 1]) - np.minimum(ours[..., 0], true[..., 0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return shared / hull


def distinct(moments: ArrayLike, scores: ArrayLike, *, limit: float) -> NDArray[np.int64]:
    """Non-maximum suppression: the best moments that do not repeat a better one.

    Args:
        moments: (P, 2); may be reversed, as outputs of a network often are.
        scores: (P,), larger is better. Of equal scores the last is best, as in the 2019 library.
        limit: A moment is removed if its overlap with a chosen one is above this.

    Returns:
        Indices of the remaining moments, best first.

    Source: PaddlePaddle/models release/1.8, metrics/tall. Overlap over the sum of lengths without
    it; a length may be negative.

    >>> distinct([[0, 10], [1, 10], [20, 30]], [0.9, 0.8, 0.3], limit=0.5).tolist()
    [0, 2]
    """
    table = np.asarray(moments, np.float64).reshape(-1, 2)
    starts, ends = table.T
    lengths = ends - starts
    left = np.argsort(_comparable(scores), kind="stable")[::-1]
    chosen: list[int] = []
    while len(left):
        best, left = left[0], left[1:]
        chosen.append(int(best))
        shared = np.minimum(ends[left], ends[best]) - np.maximum(starts[left], starts[best])
        shared = np.maximum(shared, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            overlap = shared / (lengths[left] + lengths[best] - shared)
        left = left[overlap <= limit]
    return np.array(chosen, np.int64)


@dataclass(frozen=True)
class Search:
    """One sentence, the moments that were proposed for it, and the true one."""

    moments: NDArray[np.floating]
    """(P, 2), in any order."""
    scores: NDArray[np.floating]
    """(P,), larger is better."""
    truth: NDArray[np.floating]
    """(2,)."""

    def ranked(self, *, limit: float | None = None) -> Moments:
        """Moments best first, (K, 2); with a limit, only those that `distinct` leaves."""
        table = np.asarray(self.moments, np.float64)
        if limit is not None:
            return table[distinct(table, self.scores, limit=limit)]
        return table[np.argsort(-_comparable(self.scores), kind="stable")]


def recall_2019(searches: Sequence[Search], *, n: int, threshold: float) -> float:
    """R@n at a tIoU as the 2019 library computes it, with an NMS that depends on the tIoU.

    Moments that overlap a better one by more than `threshold` - 0.05 are removed first. So with a
    lower threshold the first n cover more of the video.

    Args:
        searches: One a sentence.
        n: How many moments of each count.
        threshold: One of them must overlap the truth by this, by `tiou_2019`.

    Returns:
        Share of sentences in [0, 1]; nan without any.

    Source: PaddlePaddle/models release/1.8, metrics/tall.

    >>> search = Search(np.array([[0, 10], [5, 15]]), np.array([0.9, 0.1]), np.array([6, 16]))
    >>> [recall_2019([search], n=n, threshold=0.5) for n in (1, 2)]
    [0.0, 1.0]
    """
    return _share(
        [
            tiou_2019(search.ranked(limit=threshold - 0.05)[:n], search.truth) >= threshold
            for search in searches
        ]
    )


def recall(
    searches: Sequence[Search], *, n: int, threshold: float, limit: float | None = None
) -> float:
    """R@n at a tIoU: share of sentences with a good moment among their first n.

    Args:
        searches: One a sentence.
        n: How many moments of each count.
        threshold: One of them must overlap the truth by this.
        limit: Remove moments that overlap a better one by more than this; None: keep all.

    Returns:
        Share of sentences in [0, 1]; nan without any.

    Source: Gao et al., arXiv:1705.02101, section 5.1.

    >>> search = Search(np.array([[0, 10], [5, 15]]), np.array([0.9, 0.1]), np.array([6, 16]))
    >>> [recall([search], n=n, threshold=0.5) for n in (1, 2)]
    [0.0, 1.0]
    """
    return _share(
        [tiou(search.ranked(limit=limit)[:n], search.truth) >= threshold for search in searches]
    )


def mean_tiou(searches: Sequence[Search]) -> float:
    """Mean over sentences of the best moment's tIoU; 0 for a sentence without moments.

    >>> search = Search(np.array([[0, 10], [5, 15]]), np.array([0.9, 0.1]), np.array([0, 5]))
    >>> mean_tiou([search])
    0.5
    """
    best = [tiou(search.ranked()[:1], search.truth).max(initial=0) for search in searches]
    return float(np.mean(best)) if best else float("nan")


@dataclass(frozen=True)
class Cut:
    """A score that parts what is there from what is not."""

    least: float
    """What is there scores this much or more."""
    accuracy: float
    """Balanced: mean of the share of what is there that is found, and the share of what is not that
    is turned down; 0.5 is a guess."""


def best_cut(present: ArrayLike, absent: ArrayLike) -> Cut:
    """The score with the highest balanced accuracy; in the middle between two scores.

    Args:
        present: (N,), scores of what is there, at least one.
        absent: (M,), scores of what is not, at least one.

    >>> best_cut([3.0, 2.0], [0.0, 1.0, -1.0])
    Cut(least=1.5, accuracy=1.0)
    """
    there, not_there = np.sort(_comparable(present)), np.sort(_comparable(absent))
    scores = np.unique(np.concatenate((there, not_there)))
    scores = scores[np.isfinite(scores)]
    cuts = np.concatenate((scores[:1], (scores[:-1] + scores[1:]) / 2))
    found = 1 - np.searchsorted(there, cuts, side="left") / len(there)
    refused = np.searchsorted(not_there, cuts, side="left") / len(not_there)
    accuracies = (found + refused) / 2
    best = int(accuracies.argmax())
    return Cut(float(cuts[best]), float(accuracies[best]))


def _comparable(scores: ArrayLike) -> NDArray[np.float64]:
    """Scores with nan as the worst."""
    table = np.asarray(scores, np.float64)
    return np.where(np.isnan(table), -np.inf, table)


def _share(hits: Sequence[NDArray[np.bool_]]) -> float:
    return float(np.mean([found.any() for found in hits])) if hits else float("nan")
