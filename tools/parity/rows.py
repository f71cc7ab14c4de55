"""One line of a parity report."""

import math
from dataclasses import dataclass


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
