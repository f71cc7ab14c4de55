"""Windows over a video that may show a sentence, what a model reads of them, and what it finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Table = NDArray[np.float64]


class WindowRules(Protocol):
    """Which windows are cut; see `settings.moments.WindowSettings`."""

    @property
    def seconds(self) -> Sequence[float]:
        """Lengths of the windows."""
        ...

    @property
    def overlap(self) -> float:
        """Share of a window that the next window of the same length repeats."""
        ...


def sliding_windows(vectors: int, rate: float, settings: WindowRules) -> Table:
    """Windows over a video, in seconds, sorted by start and end.

    Args:
        vectors: Number of vectors of the video, at least 1.
        rate: Vectors per second.
        settings: Lengths and overlap.

    Returns:
        (W, 2). The last window of each length ends at the end of the video.

    >>> from videozoo.settings.moments import WindowSettings
    >>> sliding_windows(10, 1, WindowSettings(seconds=(4, 20), overlap=0.5)).tolist()
    [[0.0, 4.0], [0.0, 10.0], [2.0, 6.0], [4.0, 8.0], [6.0, 10.0]]
    """
    found: set[tuple[int, int]] = set()
    for seconds in settings.seconds:
        size = max(1, round(seconds * rate))
        if size >= vectors:
            found.add((0, vectors))
            continue
        step = max(1, round(size * (1 - settings.overlap)))
        starts = {*range(0, vectors - size + 1, step), vectors - size}
        found |= {(start, start + size) for start in starts}
    return np.array(sorted(found), np.float64).reshape(-1, 2) / rate


def vectors_in_context(
    features: NDArray[np.float32], windows: Table, rate: float, *, context_seconds: float
) -> NDArray[np.float32]:
    """Mean features before, in and after each window.

    Args:
        features: (T, C), of the whole video.
        windows: (W, 2), in seconds.
        rate: Vectors per second.
        context_seconds: How far before and after.

    Returns:
        (W, 3 * C). Where there is nothing before or after, the window itself stands in.
    """
    beside = max(1, round(context_seconds * rate))
    rows: list[NDArray[np.float32]] = []
    for first, last in np.rint(windows * rate).astype(int).tolist():
        clip = features[first:last].mean(axis=0)
        before = features[max(0, first - beside) : first]
        after = features[last : last + beside]
        sides = [side.mean(axis=0) if len(side) else clip for side in (before, after)]
        rows.append(np.concatenate((sides[0], clip, sides[1])))
    return np.stack(rows).astype(np.float32, copy=False)


def refined(windows: Table, grid: NDArray[np.float32], length: float | None) -> tuple[Table, Table]:
    """What a model finds for S sentences in W windows.

    Args:
        windows: (W, 2), start and end.
        grid: (3, S, W): score, and offsets of start and end.
        length: Of the video; moments are clipped to it. None: they are not.

    Returns:
        Scores (S, W) and moments (S, W, 2).
    """
    scores, offsets = grid[0].astype(np.float64), grid[1:].astype(np.float64).transpose(1, 2, 0)
    moments = windows + offsets
    return scores, moments if length is None else moments.clip(0, length)
