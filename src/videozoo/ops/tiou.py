"""Overlap of segments of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


def tiou(segments: ArrayLike, others: ArrayLike) -> FloatArray:
    """Temporal IoU of every pair: the time in both, divided by the time in either.

    Args:
        segments: (N, 2): start and end, in any unit.
        others: (M, 2), in the same unit.

    Returns:
        (N, M) in [0, 1]. 0 if both have no length, even at the same place.

    Raises:
        ValueError: An array is not of shape (..., 2).

    Source: as the evaluation code of ActivityNet computes it, to the last bit.

    >>> tiou([[0, 4], [8, 9]], [[2, 4]]).tolist()
    [[0.5], [0.0]]
    """
    a, b = as_segments(segments), as_segments(others)
    shared = shared_time(a, b)
    together = (a[:, 1] - a[:, 0])[:, None] + (b[:, 1] - b[:, 0]) - shared
    return ratio(shared, together)


def covered(segments: ArrayLike, others: ArrayLike) -> FloatArray:
    """Share of each segment that lies within each of the others (BSN calls it ioa).

    Args:
        segments: (N, 2): start and end, in any unit.
        others: (M, 2), in the same unit.

    Returns:
        (N, M) in [0, 1]. 0 if the segment has no length.

    Raises:
        ValueError: An array is not of shape (..., 2).

    >>> covered([[0, 4], [8, 9]], [[3, 9]]).tolist()
    [[0.25], [1.0]]
    """
    a, b = as_segments(segments), as_segments(others)
    shared = shared_time(a, b)
    return ratio(shared, np.broadcast_to((a[:, 1] - a[:, 0])[:, None], shared.shape))


def shared_time(segments: FloatArray, others: FloatArray) -> FloatArray:
    """Time (N, M) that is in both of (N, 2) and (M, 2) segments, in their unit."""
    starts = np.maximum(segments[:, :1], others[:, 0])
    ends = np.minimum(segments[:, 1:], others[:, 1])
    return np.maximum(ends - starts, 0.0)


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide; 0 if the divisor is not above 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def as_segments(values: ArrayLike) -> FloatArray:
    """Segments (N, 2) as float64; an empty list gives (0, 2).

    Raises:
        ValueError: Another shape.
    """
    array = np.asarray(values, np.float64)
    if array.ndim == 2 and array.shape[1] == 2:
        return array
    if array.size:
        raise ValueError(f"segments of shape {array.shape}, expected (N, 2): start and end of each")
    return array.reshape(0, 2)
