"""Non-maximum suppression: lower the scores of near-duplicates, or remove them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from videozoo.candidates import Candidates

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

MOST_IN_2019 = 101

_TOGETHER = 20
"""Candidates compared with all others in one step."""
_MOST_HELD = 2**24
"""Most factors in memory: those of likely next candidates are forgotten before there are more."""
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
    """Soft-NMS: take the best candidate repeatedly, and lower the scores of those that overlap it.

    BSN uses 0.75, 0.65 and 0.9 for alpha and the thresholds; BMN 0.4, 0.55 and 0.9. Labels are
    kept; candidates of different classes compete.

    Args:
        candidates: Scores of 0 or more; segments as fractions of the video.
        alpha: Width of the Gaussian penalty exp(-tIoU^2 / alpha); larger is gentler.
        low_threshold: tIoU above which another candidate is a duplicate of a very short one.
        high_threshold: The same for one as long as the video; between the two it grows with the
            length.
        max_out: Most candidates to return.
        as_in_2019: As the 2019 library did: never take the last candidate unless it is the only
            one, and at most 101, whatever `max_out` is.

    Returns:
        Best first, with lowered scores. Of equal scores the earlier comes first.

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
        if best not in factors:  # computed together with the likely next ones, in few large steps
            if (len(factors) + _TOGETHER) * count > _MOST_HELD:
                factors.clear()
            most = max(1, min(_TOGETHER, count, _MOST_HELD // count))
            rows = np.argpartition(-scores, most - 1)[:most] if most < count else np.arange(count)
            if best not in rows:  # it is one of several equal ones
                rows[0] = best
            lowered = _lowered(starts, ends, rows, thresholds[rows], alpha)
            factors.update(zip(rows.tolist(), lowered, strict=True))
        taken[place], kept[place] = best, scores[best]
        scores *= factors.pop(best)
        scores[best] = -np.inf
    return _picked(candidates, order[taken], kept)


def _lowered(
    starts: FloatArray, ends: FloatArray, rows: IntArray, thresholds: FloatArray, alpha: float
) -> FloatArray:
    """(R, P): the factor by which the candidates `rows` lower each candidate's score."""
    start, end = starts[rows, None], ends[rows, None]
    shared = np.minimum(ends, end) - np.maximum(starts, start)  # below 0 where they are apart
    union = (ends - starts) - shared
    union += end
    union -= start
    with np.errstate(invalid="ignore"):  # nan for two segments without length: above nothing
        overlaps = np.divide(shared, union, out=shared)
    repeats = np.flatnonzero(overlaps > thresholds[:, None])
    factors = np.ones(overlaps.size)
    # never exactly 0, because taken ones must stay at minus infinity
    lower = np.exp(-np.square(overlaps.ravel()[repeats]) / alpha)
    factors[repeats] = np.maximum(lower, _LEAST_FACTOR)
    return factors.reshape(overlaps.shape)


def suppress_by_class(
    candidates: Candidates, *, nms_threshold: float, sigma: float, least_score: float
) -> Candidates:
    """NMS per class (C-TCN): removes near copies, then lowers the scores of the others.

    Args:
        candidates: With labels.
        nms_threshold: Of two with a higher tIoU, the worse one is removed.
        sigma: Width of the Gaussian penalty exp(-tIoU^2 / sigma) on the others of the class.
        least_score: What falls below is dropped.

    Returns:
        Classes ascending; within a class best first. May be empty.

    Raises:
        ValueError: The candidates have no labels.

    Source:
        Bodla et al., arXiv:1704.04503. Reference behaviour: PaddlePaddle/models release/1.8,
        which returns an invented segment if nothing was found.

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
    """Remove segments whose tIoU with a better one is above `threshold`.

    Args:
        segments: (N, 2).
        scores: (N,); of equal ones the earlier is the better.
        threshold: In [0, 1].

    Returns:
        Indices of the kept segments, best first.

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
    """Take the best segment repeatedly, and lower the scores of the others by their tIoU.

    Args:
        segments: (N, 2).
        scores: (N,).
        weight_of: From tIoUs to factors in [0, 1].
        least_score: Scores below are removed; the best segment always stays.

    Returns:
        Indices of the kept segments in the order taken, and their lowered scores.

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
