"""Windows over a long sequence: where they lie, and one answer out of the answers of all of them.

A sequence of steps is cut into windows of one length, which overlap. A network sees one window at
a time. What it finds there, as fractions of the window, becomes fractions of the whole sequence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.candidates import Candidates

FloatArray = NDArray[np.float64]

MOST_PER_WINDOW = 1000
"""Candidates of a window that take part in the merging, the best first. It bounds the memory for a
video of hours, and is far above what is kept per video."""
_ROUNDING = 1e-6


@dataclass(frozen=True)
class Window:
    """A stretch of a sequence."""

    first: int
    """Number of its first step."""
    length: int
    """Steps; a window longer than the sequence reaches beyond its end."""
    total: int
    """Steps of the whole sequence."""
    place: int = 0
    """Its place among the windows of the sequence, from 0."""
    count: int = 1
    """How many windows the sequence has."""
    shared_before: int = 0
    """Steps that it shares with the window before; 0 if there is none."""
    shared_after: int = 0
    """The same for the window after."""

    def inside(self, shares: FloatArray) -> FloatArray:
        """Segments (G, 2) of the sequence as fractions of the window, neither cut nor left out."""
        return (shares * self.total - self.first) / self.length

    def outside(self, segments: FloatArray) -> tuple[FloatArray, NDArray[np.int64]]:
        """Turn segments of the window into segments of the sequence.

        A segment is cut at the ends of the window. It is left out if nothing of it is in the
        sequence, and if the neighbouring window sees more of it: that is where it touches a border
        that another window sees across, and lies whole in what the two share. There, a border of
        the window would pass for a border of an action.

        Args:
            segments: (P, 2), fractions of the window.

        Returns:
            (K, 2), fractions of the sequence, and the places (K,) of those that are kept.

        >>> Window(first=2, length=4, total=8, shared_before=2).outside(
        ...     np.array([[0.0, 0.25], [0.0, 1.0], [0.25, 1.5]])
        ... )[0].tolist()
        [[0.25, 0.75], [0.375, 0.75]]
        """
        cut = np.clip(segments, 0.0, 1.0)
        steps = (cut[:, 1] - cut[:, 0]) * self.length + _ROUNDING  # not as long as what is shared
        seen_before = (cut[:, 0] < _ROUNDING) & (steps < self.shared_before)
        seen_after = (cut[:, 1] > 1 - _ROUNDING) & (steps < self.shared_after)
        whole = np.minimum((self.first + cut * self.length) / self.total, 1.0)
        is_there = whole[:, 1] > whole[:, 0]
        kept = np.flatnonzero(is_there & ~seen_before & ~seen_after)
        return whole[kept], kept


def windows_over(total: int, *, length: int, stride: int) -> tuple[Window, ...]:
    """Windows over a sequence: one every `stride` steps, and the last ends where the sequence ends.

    Args:
        total: Steps of the sequence, at least 1.
        length: Steps of a window, at least 1.
        stride: Steps from one window to the next, in 1 to `length`.

    Returns:
        The windows in order. A sequence that is not longer than a window has one.

    >>> [(each.first, each.shared_after) for each in windows_over(11, length=4, stride=2)]
    [(0, 2), (2, 2), (4, 2), (6, 3), (7, 0)]
    """
    firsts = [0] if total <= length else [*range(0, total - length, stride), total - length]
    shared = [one + length - other for one, other in pairwise(firsts)]
    return tuple(
        Window(first, length, total, place, len(firsts), *ends)
        for place, (first, ends) in enumerate(
            zip(firsts, zip([0, *shared], [*shared, 0], strict=True), strict=True)
        )
    )


def windows_of_seconds(
    total: int, duration_seconds: float, *, window_seconds: float, stride_seconds: float | None
) -> tuple[Window, ...]:
    """Windows of so many seconds over the feature vectors of a video.

    Args:
        total: Vectors of the video, at least 1.
        duration_seconds: Of the video.
        window_seconds: Of a window, at least as long as one vector.
        stride_seconds: From one window to the next; None: half a window.

    >>> [each.first for each in windows_of_seconds(8, 4, window_seconds=2, stride_seconds=None)]
    [0, 2, 4]
    """
    per_second = total / duration_seconds
    length = max(1, round(window_seconds * per_second))
    stride = max(1, round((stride_seconds or window_seconds / 2) * per_second))
    return windows_over(total, length=length, stride=min(length, stride))


def inside_window(features: NDArray[np.float32], window: Window) -> NDArray[np.float32]:
    """The vectors (length, C) of a window; beyond the end of the video they are 0."""
    inside = features[window.first : window.first + window.length]
    if len(inside) == window.length:
        return inside
    padded = np.zeros((window.length, features.shape[1]), np.float32)
    padded[: len(inside)] = inside
    return padded


def merged_candidates(parts: Sequence[tuple[Window, Candidates]]) -> Candidates:
    """The candidates of all windows of a sequence as candidates of the sequence.

    Args:
        parts: The windows, with the candidates of each; at least one. See `Window.outside` for
            those that are left out, and `MOST_PER_WINDOW`.

    Returns:
        Window by window; segments are fractions of the sequence. The same segment may be there
        from several windows: duplicates are removed later.
    """
    segments: list[FloatArray] = []
    scores: list[FloatArray] = []
    labels: list[NDArray[np.int64]] = []
    for window, candidates in parts:
        found, kept = window.outside(candidates.segments)
        best = np.sort(np.argsort(-candidates.scores[kept], kind="stable")[:MOST_PER_WINDOW])
        kept = kept[best]
        segments.append(found[best])
        scores.append(candidates.scores[kept])
        if candidates.labels is not None:
            labels.append(candidates.labels[kept])
    return Candidates(
        np.concatenate(segments),
        np.concatenate(scores),
        np.concatenate(labels) if labels else None,
    )


def merged_curves(
    parts: Sequence[tuple[Window, Mapping[str, NDArray[Any]]]],
) -> dict[str, NDArray[np.float32]]:
    """Scores of the steps of all windows of a sequence, as scores along the sequence.

    Args:
        parts: The windows, each with curves (T,) over it, by name; at least one.

    Returns:
        Curves over the sequence with steps as long as those of the windows. Where windows overlap,
        the mean of what they say.

    >>> first, second = windows_over(3, length=2, stride=1)
    >>> parts = [(first, {"start": np.array([1, 3])}), (second, {"start": np.array([5, 7])})]
    >>> merged_curves(parts)["start"].tolist()
    [1.0, 4.0, 7.0]
    """
    window, curves = parts[0]
    merged: dict[str, NDArray[np.float32]] = {}
    for name, curve in curves.items():
        num_steps = len(curve)
        num_cells = max(1, round(window.total / window.length * num_steps))
        centres = (np.arange(num_cells) + 0.5) / num_cells * window.total
        sums, counts = np.zeros(num_cells), np.zeros(num_cells)
        for each, its_curves in parts:
            places = np.floor((centres - each.first) / each.length * num_steps).astype(np.int64)
            covered = np.flatnonzero((places >= 0) & (places < num_steps))
            sums[covered] += its_curves[name][places[covered]]
            counts[covered] += 1
        merged[name] = (sums / np.maximum(counts, 1)).astype(np.float32)
    return merged


def merged_tables(
    parts: Sequence[tuple[Window, Mapping[str, NDArray[Any]]]],
) -> dict[str, NDArray[Any]]:
    """Tables of all windows of a sequence as one table.

    Args:
        parts: The windows, each with columns of equal length by name; at least one. Tables of
            segments have the columns `xmin` and `xmax`; others have one row per step.

    Returns:
        The same columns. Of segments: window by window, as `merged_candidates` merges them, but
        all of them; of steps: see `merged_curves`.
    """
    if "xmin" not in parts[0][1]:
        return dict(merged_curves(parts))
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in parts[0][1]}
    for window, table in parts:
        ends = np.stack([table["xmin"], table["xmax"]], axis=1).astype(np.float64)
        found, kept = window.outside(ends)
        for name, column in table.items():
            columns[name].append(column[kept])
        for name, values in (("xmin", found[:, 0]), ("xmax", found[:, 1])):
            columns[name][-1] = values.astype(table[name].dtype)
    return {name: np.concatenate(arrays) for name, arrays in columns.items()}


def neighbours(is_there: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """The places that hold, (N,), grouped into runs without a gap.

    >>> [run.tolist() for run in neighbours(np.array([True, True, False, True]))]
    [[0, 1], [3]]
    """
    places = np.flatnonzero(is_there)
    return np.split(places, np.flatnonzero(np.diff(places) > 1) + 1) if len(places) else []
