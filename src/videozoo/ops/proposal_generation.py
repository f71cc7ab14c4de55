"""Proposals from boundary scores (BSN, BMN), their features, and entries of result files.

A video is cut into T equal cells. A proposal begins where a cell begins and ends where one ends;
times are fractions of the video's length.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from videozoo.candidates import Candidates
from videozoo.ops.tiou import as_segments, covered, tiou

FloatArray = NDArray[np.float64]


class ProposalRules(Protocol):
    """Which pairs become proposals, and what describes them; see `types.ProposalGeneration`."""

    @property
    def threshold(self) -> float:
        """As in `boundary_mask`."""
        ...

    @property
    def most(self) -> int:
        """Best proposals kept per video."""
        ...

    @property
    def num_action(self) -> int:
        """As in `proposal_features`, like the others below."""
        ...

    @property
    def num_start(self) -> int:
        """See `num_action`."""
        ...

    @property
    def num_end(self) -> int:
        """See `num_action`."""
        ...

    @property
    def samples_per_bin(self) -> int:
        """See `num_action`."""
        ...

    @property
    def boundary_ratio(self) -> float:
        """See `num_action`."""
        ...


@dataclass(frozen=True)
class BoundaryProposals:
    """Pairs of a likely start and a likely end, best first."""

    segments: FloatArray
    """(P, 2), fractions of the video."""
    start_scores: FloatArray
    """(P,)."""
    end_scores: FloatArray
    """(P,)."""

    @property
    def scores(self) -> FloatArray:
        """(P,), the product of both."""
        return self.start_scores * self.end_scores


def boundary_mask(scores: ArrayLike, threshold: float = 0.5) -> NDArray[np.bool_]:
    """Choose the cells that may be a boundary.

    A cell is chosen if its score is above `threshold` times the largest one, or above both
    neighbours; beyond the ends there is 0.

    Args:
        scores: (T,), not negative.
        threshold: In [0, 1].

    Source: Lin et al., arXiv:1806.02964. Reference behaviour: PaddlePaddle/models release/1.8.

    >>> boundary_mask([0.1, 0.3, 0.1, 0.6, 0.9]).tolist()
    [False, True, False, True, True]
    """
    values = np.asarray(scores, np.float64)
    is_high = values > values.max(initial=0.0) * threshold
    padded = np.pad(values, 1)
    return is_high | ((values > padded[:-2]) & (values > padded[2:]))


def generate_proposals(
    start: ArrayLike,
    end: ArrayLike,
    *,
    threshold: float = 0.5,
    top_k: int,
    rng: random.Random | None = None,
) -> BoundaryProposals:
    """Pair every likely start with every likely end behind it, and keep the best pairs (BSN).

    The first cell always counts as a start and the last one as an end.

    Args:
        start: (T,) scores of the cells as starts, in [0, 1].
        end: (T,) as ends.
        threshold: As in `boundary_mask`.
        top_k: Most pairs to keep.
        rng: Fills up to `top_k` pairs with pairs at random places, for batches of a fixed size.
            None: no filling.

    Returns:
        Best first; of equal scores the shorter first, then the earlier.

    Source: Lin et al., arXiv:1806.02964. Reference behaviour: PaddlePaddle/models release/1.8.

    >>> found = generate_proposals([0.9, 0.1, 0.2], [0.1, 0.2, 0.8], top_k=2)
    >>> found.segments.round(2).tolist(), found.scores.round(2).tolist()
    ([[0.0, 1.0], [0.67, 1.0]], [0.72, 0.16])
    """
    starts, ends = np.asarray(start, np.float64), np.asarray(end, np.float64)
    num_steps = len(starts)
    first, last = _pairs(starts, ends, threshold, num_durations=num_steps)
    if rng is not None and len(first) < top_k:
        drawn = np.array([_drawn(rng, num_steps) for _ in range(top_k - len(first))])
        first, last = np.append(first, drawn[:, 0]), np.append(last, drawn[:, 1])
    order = np.argsort(-(starts[first] * ends[last]), kind="stable")[:top_k]
    first, last = first[order], last[order]
    return BoundaryProposals(_segments(first, last, num_steps), starts[first], ends[last])


def _drawn(rng: random.Random, num_steps: int) -> tuple[int, int]:
    first = rng.randint(0, num_steps - 1)
    return first, rng.randint(first, num_steps - 1)


def _pairs(
    starts: FloatArray, ends: FloatArray, threshold: float, *, num_durations: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last cells of all pairs at most `num_durations` cells long, shortest first."""
    is_start, is_end = boundary_mask(starts, threshold), boundary_mask(ends, threshold)
    is_start[:1] = is_end[-1:] = True
    first, last = (
        cells.ravel()
        for cells in np.meshgrid(np.flatnonzero(is_start), np.flatnonzero(is_end), indexing="ij")
    )
    duration = last - first
    fits = (duration >= 0) & (duration < num_durations)
    first, last = first[fits], last[fits]
    order = np.lexsort((first, last - first))
    return first[order], last[order]


def _segments(first: NDArray[np.int64], last: NDArray[np.int64], num_steps: int) -> FloatArray:
    gap = 1.0 / num_steps
    return np.stack((gap * first, gap * (last + 1)), axis=1, dtype=np.float64)


def decode_boundary_maps(
    maps: NDArray[np.floating[Any]],
    start: NDArray[np.floating[Any]],
    end: NDArray[np.floating[Any]],
    *,
    threshold: float = 0.5,
) -> Candidates:
    """Proposals from BMN's outputs for one video: its starts, ends and map of windows.

    Args:
        maps: (2, D, T) in [0, 1]: two estimates of the overlap of the window of d + 1 cells from
            cell t on; their product counts.
        start: (T,) scores of the cells as starts, in [0, 1].
        end: (T,) as ends.
        threshold: As in `boundary_mask`. The first cell always counts as a start and the last
            one as an end.

    Returns:
        All pairs, shortest first; the score is the product of all four. Computed in the arrays'
        own precision.

    Raises:
        ValueError: Shapes do not fit together.

    Source: Lin et al., arXiv:1907.09702. Reference behaviour: PaddlePaddle/models release/1.8.

    >>> confidence = np.full((2, 2, 2), 0.5)
    >>> found = decode_boundary_maps(confidence, np.array([0.8, 0.1]), np.array([0.1, 0.5]))
    >>> found.segments.tolist(), found.scores.round(3).tolist()
    ([[0.0, 1.0]], [0.1])
    """
    num_steps = len(start)
    if maps.ndim != 3 or maps.shape[::2] != (2, num_steps) or len(end) != num_steps:
        raise ValueError(
            f"decode_boundary_maps: maps of shape {maps.shape}, {num_steps} starts and {len(end)} "
            "ends; expected (2, D, T), T and T"
        )
    wide = np.asarray(start, np.float64), np.asarray(end, np.float64)
    first, last = _pairs(*wide, threshold, num_durations=maps.shape[1])
    windows = last - first, first
    scores = start[first] * end[last] * (maps[0][windows] * maps[1][windows])
    return Candidates(_segments(first, last, num_steps), scores.astype(np.float64))


def best_overlaps(segments: ArrayLike, truth: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Compare each proposal with the best-fitting annotated segment.

    Args:
        segments: (P, 2).
        truth: (G, 2), in the same unit; not cut off at the video's ends.

    Returns:
        The largest tIoU (P,), and the largest share of the proposal inside one segment (P,).
        0 without segments.

    >>> [each.tolist() for each in best_overlaps([[0, 4]], [[2, 8], [0, 1]])]
    [[0.25], [0.5]]
    """
    return (
        tiou(segments, truth).max(axis=1, initial=0.0),
        covered(segments, truth).max(axis=1, initial=0.0),
    )


def proposal_features(
    action: ArrayLike,
    segments: ArrayLike,
    *,
    num_action: int = 16,
    num_start: int = 8,
    num_end: int = 8,
    samples_per_bin: int = 3,
    boundary_ratio: float = 0.2,
) -> FloatArray:
    """Describe proposals by the action scores in and around them (BSN's BSP).

    The score is a line through the middles of the cells and falls to 0 outside the video.

    Args:
        action: (T,) scores of the cells.
        segments: (P, 2); may lie beyond the video by a quarter of its length.
        num_action: Values spread over the proposal.
        num_start: Values spread over a window around its start; at least 2, as the others.
        num_end: Around its end.
        samples_per_bin: A value is the mean of this many samples plus one, which it shares with the
            next value.
        boundary_ratio: Half the width of the windows around start and end, as a fraction of the
            proposal.

    Returns:
        (P, num_action + num_start + num_end).

    Source: Lin et al., arXiv:1806.02964. Reference behaviour: PaddlePaddle/models release/1.8.

    >>> proposal_features(np.ones(4), [[0.25, 0.75]], num_action=2, num_start=2, num_end=2).shape
    (1, 6)
    """
    scores, proposals = np.asarray(action, np.float64), as_segments(segments)
    gap = 1.0 / len(scores)
    beyond = len(scores) // 4 + 10
    centres = gap / 2 + gap * np.arange(-beyond, len(scores) + beyond, dtype=np.float64)
    padded = np.pad(scores, beyond)

    low, high = proposals[:, 0], proposals[:, 1]
    reach = (high - low) * boundary_ratio
    parts = [
        _means(centres, padded, *window, bins=bins, samples_per_bin=samples_per_bin)
        for bins, window in (
            (num_action, (low, high)),
            (num_start, (low - reach, low + reach)),
            (num_end, (high - reach, high + reach)),
        )
    ]
    return np.concatenate(parts, axis=1)


def _means(
    xs: FloatArray,
    ys: FloatArray,
    low: FloatArray,
    high: FloatArray,
    *,
    bins: int,
    samples_per_bin: int,
) -> FloatArray:
    """Means of a line over equal bins; the outer bins have their middles at `low` and `high`."""
    width = (high - low) / (bins - 1)
    samples = np.arange(bins * samples_per_bin + 1)
    places = (low - width / 2)[:, None] + (width / samples_per_bin)[:, None] * samples
    values = np.interp(places, xs, ys)
    inside = np.arange(bins)[:, None] * samples_per_bin + np.arange(samples_per_bin + 1)
    return values[:, inside].mean(axis=2)


def result_entries(
    candidates: Candidates,
    duration_seconds: float,
    *,
    classes: Sequence[str] | None = None,
    most: int | None = None,
) -> list[dict[str, Any]]:
    """The entries of one video in ActivityNet's result files.

    Args:
        candidates: In the order wanted.
        duration_seconds: Length of the video; segments are clipped to it.
        classes: Class names, for candidates with labels.
        most: Largest number of entries. None: all.

    Returns:
        One dictionary per candidate: `score`, `segment` in seconds, and with `classes` `label`.

    Source: Reference behaviour: PaddlePaddle/models release/1.8.

    >>> found = Candidates(np.array([[-0.1, 0.5]]), np.array([0.75]))
    >>> result_entries(found, 20.0)
    [{'score': 0.75, 'segment': [0.0, 10.0]}]
    """
    seconds = np.clip(candidates.segments[:most], 0.0, 1.0) * duration_seconds
    columns: dict[str, list[Any]] = {"score": candidates.scores[:most].tolist()}
    if classes is not None and candidates.labels is not None:
        columns["label"] = [classes[label] for label in candidates.labels[:most].tolist()]
    columns["segment"] = seconds.tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def described_proposals(
    start: NDArray[np.float32],
    end: NDArray[np.float32],
    action: NDArray[np.float32],
    *,
    options: ProposalRules,
    most: int,
) -> tuple[BoundaryProposals, NDArray[np.float64]]:
    """Proposals of one video and their features: the step between the stages of BSN.

    Args:
        start: (T,) scores of the steps as starts.
        end: (T,) as ends.
        action: (T,) as parts of an action.
        options: How.
        most: Proposals to keep, the best first.

    Returns:
        The proposals, and (K, options.feature_dim) numbers that describe them.
    """
    proposals = generate_proposals(start, end, threshold=options.threshold, top_k=most)
    numbers = proposal_features(
        action,
        proposals.segments,
        num_action=options.num_action,
        num_start=options.num_start,
        num_end=options.num_end,
        samples_per_bin=options.samples_per_bin,
        boundary_ratio=options.boundary_ratio,
    )
    return proposals, numbers
