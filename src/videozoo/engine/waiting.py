"""Whether the data keep up with the trainer."""

from __future__ import annotations

_MOST = 0.3
_STEPS = 20  # fewer say little: workers need a while to get ahead


class DataWait:
    """Sums up where the time of steps went, and complains once.

    The first step of an epoch does not count: it waits for workers that have just started.
    """

    def __init__(self) -> None:
        self._data = self._all = 0.0
        self._steps = 0
        self._has_told = False

    def add(self, data: float, compute: float) -> None:
        """Count one step: seconds it waited for its data, and seconds it took after."""
        self._data += data
        self._all += data + compute
        self._steps += 1

    def complaint(self, advice: str) -> str | None:
        """Return a line when a large share of the time goes into waiting, once in a run.

        Args:
            advice: What to do about it.
        """
        if self._has_told or self._steps < _STEPS or self._data <= _MOST * self._all:
            return None
        self._has_told = True
        share = 100 * self._data / self._all
        line = f"training waits for its data {share:.0f} % of the time"
        return f"{line}; {advice}" if advice else line
