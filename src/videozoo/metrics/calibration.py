"""Calibration, Guo et al., ICML 2017, arXiv:1706.04599: is the model right as often as it says?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class ConfidenceBin:
    """Examples whose best score lies in (low, high]; 0 belongs to the first bin."""

    low: float
    high: float
    total: int
    confidence: float
    """Mean of their best scores; nan without examples."""
    accuracy: float
    """Share of right examples; nan without examples."""


def confidence_bins(
    confidences: ArrayLike, right: ArrayLike, *, num_bins: int = 10
) -> list[ConfidenceBin]:
    """Sort examples by their best score into bins of equal width.

    Args:
        confidences: (N,) in [0, 1], the best score of each example.
        right: (N,) whether the class with that score is the true one.
        num_bins: Bins between 0 and 1.

    Raises:
        ValueError: Shapes differ, or a confidence is outside [0, 1].

    >>> [(bin.total, bin.accuracy) for bin in confidence_bins([0.2, 0.9, 1], [1, 0, 1], num_bins=2)]
    [(1, 1.0), (2, 0.5)]
    """
    scores = np.asarray(confidences, np.float64)
    hits = np.asarray(right, np.bool_)
    if scores.ndim != 1 or scores.shape != hits.shape:
        raise ValueError(f"confidences of shape {scores.shape} for {hits.shape} answers")
    scores = np.where(np.abs(scores - 1) < 1e-4, 1.0, scores)  # a softmax may round above 1
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("confidences: expected numbers from 0 to 1")
    places = np.clip(np.ceil(scores * num_bins).astype(int) - 1, 0, num_bins - 1)
    bins: list[ConfidenceBin] = []
    for place in range(num_bins):
        inside = places == place
        total = int(inside.sum())
        means = [float(each[inside].mean()) if total else float("nan") for each in (scores, hits)]
        bins.append(ConfidenceBin(place / num_bins, (place + 1) / num_bins, total, *means))
    return bins


def expected_calibration_error(bins: Sequence[ConfidenceBin]) -> float:
    """Mean gap between confidence and accuracy, in [0, 1]; nan without examples.

    >>> expected_calibration_error(confidence_bins([0.9, 0.9], [True, False]))
    0.4
    """
    total = sum(each.total for each in bins)
    gaps = sum(each.total * abs(each.accuracy - each.confidence) for each in bins if each.total)
    return gaps / total if total else float("nan")
