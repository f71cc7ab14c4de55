"""Scale images of bytes as PyTorch's `interpolate` does, in numpy: the same bytes, without torch.

Weights are whole numbers, and each of the two passes, along rows and then along columns, rounds to
bytes. So results are equal in every bit on every machine; PyTorch itself is several times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Filter = Literal["bilinear", "bicubic"]

_MOST_PRECISION = 22  # bits behind the point of a weight
_WEIGHT_LIMIT = 1 << 15
_CUBIC, _CUBIC_ANTIALIAS = -0.75, -0.5


def resize_bytes(
    frames: Bytes, height: int, width: int, *, interpolation: Filter, antialias: bool
) -> Bytes:
    """Scale frames.

    Args:
        frames: uint8 (T, H, W, C).
        height: Of the result.
        width: Of the result.
        interpolation: Filter.
        antialias: Widen the filter when shrinking, so that all pixels count.

    Returns:
        uint8 (T, height, width, C), contiguous.

    Source: `interpolate(..., align_corners=False)` of PyTorch 2.9 to 2.13 on bytes in the order of
    channels-last, on a CPU.

    >>> row = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1)
    >>> resize_bytes(row, 1, 4, interpolation="bilinear", antialias=True)[0, 0, :, 0].tolist()
    [0, 25, 75, 100]
    """
    across = _taps(frames.shape[2], width, interpolation, antialias=antialias)
    down = _taps(frames.shape[1], height, interpolation, antialias=antialias)
    scaled = np.empty((len(frames), height, width, frames.shape[3]), np.uint8)
    for place, frame in enumerate(frames):
        columns = _filtered(np.ascontiguousarray(frame.transpose(1, 0, 2)), *across)
        scaled[place] = _filtered(np.ascontiguousarray(columns.transpose(1, 0, 2)), *down)
    return scaled


def _filtered(
    lines: Bytes, places: NDArray[np.int64], weights: NDArray[np.int32], bits: int
) -> Bytes:
    """Weighted sums of lines, (N, ...) -> (M, ...); places and weights are (M, taps)."""
    if not bits:  # nothing to scale along this side
        return lines
    wide = lines.reshape(len(lines), -1).astype(np.int32)
    sums = np.full((len(places), wide.shape[1]), 1 << (bits - 1), np.int32)
    for tap in np.flatnonzero(weights.any(axis=0)).tolist():
        part = wide[places[:, tap]]
        part *= weights[:, tap, None]
        sums += part
    sums >>= bits
    np.clip(sums, 0, 255, out=sums)
    return sums.astype(np.uint8).reshape(len(places), *lines.shape[1:])


def _taps(
    size: int, new: int, interpolation: Filter, *, antialias: bool
) -> tuple[NDArray[np.int64], NDArray[np.int32], int]:
    """The pixels of each new pixel, their weights as whole numbers, and the bits behind the point.

    Zero bits: the size stays.
    """
    if size == new:
        return np.zeros((0, 0), np.int64), np.zeros((0, 0), np.int32), 0
    places, weights = (_widened if antialias else _nearest)(size, new, interpolation)
    largest, bits = max(0.0, float(weights.max())), 0
    while bits < _MOST_PRECISION and int(0.5 + largest * (1 << (bits + 1))) < _WEIGHT_LIMIT:
        bits += 1
    scaled = weights * (1 << bits)
    whole = np.where(scaled < 0, scaled - 0.5, scaled + 0.5).astype(np.int32)  # cuts, as C does
    return np.clip(places, 0, size - 1), whole, bits


def _widened(
    size: int, new: int, interpolation: Filter
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Taps of a filter that is as wide as what becomes one pixel."""
    scale = size / new
    support = (1.0 if interpolation == "bilinear" else 2.0) * max(scale, 1.0)
    taps = math.ceil(support) * 2 + 1
    centres = scale * (np.arange(new) + 0.5)
    first = np.maximum((centres - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + support + 0.5).astype(np.int64), size)
    places = first[:, None] + np.arange(taps)
    inside = places < last[:, None]
    distances = (places - centres[:, None] + 0.5) * (1.0 / scale if scale >= 1 else 1.0)
    weights = np.where(inside, _FILTERS[interpolation](distances, _CUBIC_ANTIALIAS), 0.0)
    total = np.zeros(new)
    for tap in range(taps):  # in this order, as there
        total += weights[:, tap]
    return places, weights / np.where(total == 0, 1.0, total)[:, None]


def _nearest(
    size: int, new: int, interpolation: Filter
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Taps of the 2 or 4 nearest pixels; beyond the ends the last pixel repeats."""
    taps = 2 if interpolation == "bilinear" else 4
    wanted = size / new * (np.arange(new) + 0.5) - 0.5
    if interpolation == "bilinear":
        wanted = np.maximum(wanted, 0.0)
    left = np.minimum(np.floor(wanted).astype(np.int64), size - 1)
    share = np.clip(wanted - left, 0.0, 1.0)
    offsets = np.arange(taps) + 1 - taps // 2
    weights = _FILTERS[interpolation](offsets - share[:, None], _CUBIC)
    places = np.clip(left[:, None] + offsets, 0, size - 1)
    first = np.maximum(left + offsets[0], 0)
    gathered = np.zeros((new, taps))
    rows = np.repeat(np.arange(new), taps)
    np.add.at(gathered, (rows, (places - first[:, None]).ravel()), weights.ravel())
    return first[:, None] + np.arange(taps), gathered


def _triangle(distances: NDArray[np.float64], _sharpness: float) -> NDArray[np.float64]:
    return np.maximum(1.0 - np.abs(distances), 0.0)


def _cubic(distances: NDArray[np.float64], sharpness: float) -> NDArray[np.float64]:
    x, a = np.abs(distances), sharpness
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


_FILTERS: dict[Filter, Callable[[NDArray[np.float64], float], NDArray[np.float64]]] = {
    "bilinear": _triangle,
    "bicubic": _cubic,
}
