"""Near-duplicates among candidates: lower their scores, or drop them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from videozoo.types import Candidates

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_IN_2019 = 101

_TOGETHER = 20
"""Candidates compared with all others in one step."""
_LEAST_FACTOR = float(np.finfo(np.float64).tiny)


def soft_nms(
    candidates: Candidates,
    *,
    alpha: float,
    low_threshold: float,
    high_threshold: float,
    max_out: int = 100,
    as_in_2019: bool = False,
) -> Candidates:
    """Take the best candidate again and again, and lower the scores of those that overlap it.

    BSN uses 0.75, 0.65 and 0.9 for alpha and the thresholds; BMN 0.4, 0.55 and 0.9. Labels are
    carried along, candidates of different classes compete.

    Args:
        candidates: Scores not negative; segments as shares of the video.
        alpha: Width of the Gaussian penalty exp(-tIoU^2 / alpha); larger is gentler.
        low_threshold: tIoU above which something is a duplicate of a very short candidate.
        high_threshold: The same of one as long as the video; in between it grows with the length.
        max_out: Most candidates to return.
        as_in_2019: The last one left is never taken unless it is the only one there was, and no
            more than 101 are, whatever `max_out`.

    Returns:
        Best first, scores lowered. Of equal ones the earlier comes first.

    Source:
        Bodla et al., arXiv:1704.04503; thresholds from Lin et al., arXiv:1806.02964. Reference
        behaviour: PaddlePaddle/models release/1.8.

    >>> found = Candidates(np.array([[0, 0.5], [0, 0.45], [0.6, 1]]), np.array([0.9, 0.8, 0.7]))
    >>> kept = soft_nms(found, alpha=0.4, low_threshold=0.5, high_threshold=0.9)
    >>> kept.segments[:, 0].tolist(), kept.scores.round(2).tolist()
    ([0.0, 0.6, 0.0], [0.9, 0.7, 0.11])
    """
    count = len(candidates.scores)
    wanted = min(count, max_out)
    if as_in_2019 and count > 1:
        wanted = min(wanted, count - 1, MOST_IN_2019)
    order = np.argsort(-candidates.scores, kind="stable")
    starts, ends = np.ascontiguousarray(candidates.segments[order].T)
    scores = candidates.scores[order]
    thresholds = low_threshold + (high_threshold - low_threshold) * (ends - starts)
    taken, kept = np.zeros(wanted, np.int64), np.zeros(wanted)
    factors: dict[int, FloatArray] = {}
    for place in range(wanted):
        best = int(scores.argmax())
        if best not in factors:  # those that are likely next come with it: few large steps
            most = min(_TOGETHER, count)
            rows = np.argpartition(-scores, most - 1)[:most] if most < count else np.arange(count)
            lowered = _lowered(starts, ends, rows, thresholds[rows], alpha)
            factors.update(zip(rows.tolist(), lowered, strict=True))
        taken[place], kept[place] = best, scores[best]
        scores *= factors[best]
        scores[best] = -np.inf
    return _picked(candidates, order[taken], kept)


def _lowered(
    starts: FloatArray, ends: FloatArray, rows: IntArray, thresholds: FloatArray, alpha: float
) -> FloatArray:
    """(R, P): by which factor the candidates `rows` lower the score of each candidate."""
    start, end = starts[rows, None], ends[rows, None]
    shared = np.minimum(ends, end) - np.maximum(starts, start)  # below 0 where they are apart
    union = (ends - starts) - shared
    union += end
    union -= start
    with np.errstate(invalid="ignore"):  # two without length: not a number, so above nothing
        overlaps = np.divide(shared, union, out=shared)
    repeats = np.flatnonzero(overlaps > thresholds[:, None])
    factors = np.ones(overlaps.size)
    # never quite 0: what has been taken must stay minus infinity
    lower = np.exp(-np.square(overlaps.ravel()[repeats]) / alpha)
    factors[repeats] = np.maximum(lower, _LEAST_FACTOR)
    return factors.reshape(overlaps.shape)


def suppress_by_class(
    candidates: Candidates, *, nms_threshold: float, sigma: float, least_score: float
) -> Candidates:
    """Remove duplicates class by class, first the near copies, then by lowering scores (C-TCN).

    Args:
        candidates: With labels.
        nms_threshold: Of two that overlap by more, the worse one is dropped.
        sigma: Width of the Gaussian penalty exp(-tIoU^2 / sigma) that all the others of the class
            then get.
        least_score: What falls below is dropped.

    Returns:
        Classes ascending; within a class best first. Empty where there was nothing.

    Raises:
        ValueError: The candidates have no labels.

    Source:
        Bodla et al., arXiv:1704.04503. Reference behaviour: PaddlePaddle/models release/1.8,
        which puts a made-up segment where nothing was found.

    >>> segments, labels = np.array([[0, 0.5], [0, 0.45], [0.6, 1]]), np.array([1, 1, 0])
    >>> found = Candidates(segments, np.array([0.9, 0.8, 0.7]), labels)
    >>> kept = suppress_by_class(found, nms_threshold=0.8, sigma=0.9, least_score=0.01)
    >>> kept.labels.tolist(), kept.scores.tolist()
    ([0, 1], [0.7, 0.9])
    """
    if candidates.labels is None:
        raise ValueError("suppress_by_class: the candidates have no labels")
    chosen = [np.zeros(0, np.int64)]
    scores = [np.zeros(0)]
    for label in np.unique(candidates.labels).tolist():
        own = np.flatnonzero(candidates.labels == label)
        own = own[nms(candidates.segments[own], candidates.scores[own], threshold=nms_threshold)]
        order, lowered = lowering_nms(
            candidates.segments[own],
            candidates.scores[own],
            weight_of=lambda overlaps: np.exp(-np.square(overlaps) / sigma),
            least_score=least_score,
        )
        chosen.append(own[order])
        scores.append(lowered)
    return _picked(candidates, np.concatenate(chosen), np.concatenate(scores))


def nms(segments: FloatArray, scores: FloatArray, *, threshold: float) -> IntArray:
    """Drop what overlaps something better by more than `threshold` (tIoU).

    Args:
        segments: (N, 2).
        scores: (N,); of equal ones the earlier is the better.
        threshold: In [0, 1].

    Returns:
        Places of the kept ones, best first.

    Source: Reference behaviour: PaddlePaddle/models release/1.8.

    >>> nms(np.array([[0, 4], [1, 4], [5, 6.0]]), np.array([0.5, 0.9, 0.1]), threshold=0.5).tolist()
    [1, 2]
    """
    order = np.argsort(-scores, kind="stable")
    starts, ends = np.ascontiguousarray(segments[order].T)
    kept: list[int] = []
    while len(order):
        kept.append(int(order[0]))
        shared = np.maximum(np.minimum(ends[1:], ends[0]) - np.maximum(starts[1:], starts[0]), 0.0)
        union = (ends[0] - starts[0]) + (ends[1:] - starts[1:]) - shared
        # without a division by 0 for segments without length
        rest = np.flatnonzero(np.divide(shared, union, out=shared, where=union > 0) <= threshold)
        order, starts, ends = order[1:][rest], starts[1:][rest], ends[1:][rest]
    return np.array(kept, np.int64)


def lowering_nms(
    segments: FloatArray,
    scores: FloatArray,
    *,
    weight_of: Callable[[FloatArray], FloatArray],
    least_score: float,
) -> tuple[IntArray, FloatArray]:
    """Take the best again and again, weighting down all others by their overlap with it.

    Args:
        segments: (N, 2).
        scores: (N,).
        weight_of: From tIoUs to factors in [0, 1].
        least_score: What falls below is dropped; the very best stays whatever its score.

    Returns:
        Places of the kept ones in the order taken, and their lowered scores.

    Source:
        Bodla et al., arXiv:1704.04503. Reference behaviour: PaddlePaddle/models release/1.8.
    """
    starts, ends = np.ascontiguousarray(segments.T)
    left, scores = np.arange(len(scores)), scores.astype(np.float64)
    taken: list[int] = []
    kept: list[float] = []
    while len(left):
        best = int(scores.argmax())
        taken.append(int(left[best]))
        kept.append(float(scores[best]))
        start, end = starts[best], ends[best]
        shared = np.maximum(np.minimum(ends, end) - np.maximum(starts, start), 0.0)
        union = ends - starts + end - start - shared
        scores *= weight_of(np.divide(shared, union, out=shared, where=union > 0))
        stays = scores >= least_score
        stays[best] = False
        left, scores, starts, ends = left[stays], scores[stays], starts[stays], ends[stays]
    return np.array(taken, np.int64), np.array(kept)


def _picked(candidates: Candidates, places: IntArray, scores: FloatArray) -> Candidates:
    labels = None if candidates.labels is None else candidates.labels[places]
    return Candidates(candidates.segments[places], scores, labels)
