"""Segments that a localiser proposes, before and after NMS; needs numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Candidates:
    """Segments of one video that may hold an action, before NMS."""

    segments: NDArray[np.float64]
    """(P, 2): start and end as fractions of the time that the features cover, the whole video or a
    window of it; may be outside [0, 1]."""
    scores: NDArray[np.float64]
    """(P,), higher is better."""
    labels: NDArray[np.int64] | None = None
    """(P,): classes from 0, for detectors."""
