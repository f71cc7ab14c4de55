"""Whether training waits for its data."""

from __future__ import annotations

_MOST = 0.3
_STEPS = 20  # workers need some steps to get ahead


class DataWait:
    """Sums up the time that steps wait and compute, and complains once.

    The first step of an epoch is ignored: it waits for workers that have just started.
    """

    def __init__(self) -> None:
        self._data = self._all = 0.0
        self._steps = 0
        self._has_told = False

    def add(self, data: float, compute: float) -> None:
        """Count one step: seconds of waiting for its data, and seconds of computing."""
        self._data += data
        self._all += data + compute
        self._steps += 1

    def complaint(self, advice: str) -> str | None:
        """A line if a large share of the time goes into waiting; once per run, else None.

        Args:
            advice: What to do about it.
        """
        if self._has_told or self._steps < _STEPS or self._data <= _MOST * self._all:
            return None
        self._has_told = True
        share = 100 * self._data / self._all
        line = f"training waits for its data {share:.0f} % of the time"
        return f"{line}; {advice}" if advice else line
