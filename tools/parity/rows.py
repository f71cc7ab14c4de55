"""One line of a parity report."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Row:
    """How far one quantity is from the recorded one."""

    quantity: str
    error: float
    """Largest error, in the sense the quantity's name says (relative to the largest value...)."""
    tolerance: float
    note: str = ""

    @property
    def ok(self) -> bool:
        """True when the error is a number within the tolerance."""
        return math.isfinite(self.error) and self.error <= self.tolerance


def of_size(ours: ArrayLike, theirs: ArrayLike) -> float:
    """Largest difference: relative where a number is larger than 1, else absolute.

    Infinite where the shapes differ.
    """
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape:
        return math.inf
    return float((np.abs(a - b) / np.maximum(1, np.abs(b))).max(initial=0))
