"""Lengths that a training measures and stores with its weights, to tell what is far longer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

T = TypeVar("T")
MOST_OPENED = 200
"""Videos of a list whose headers are read; these are spread evenly over it."""
_TIMES_THE_MEDIAN = 4.0


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Lengths of training clips or videos, in seconds."""

    median_seconds: float
    max_seconds: float
    """Of those that were measured."""
    measured: int
    """How many were."""

    @classmethod
    def of(cls, seconds: Sequence[float]) -> Lengths | None:
        """Summarise lengths; None if there are none."""
        if not seconds:
            return None
        median = round(statistics.median(seconds), 3)
        return cls(median_seconds=median, max_seconds=round(max(seconds), 3), measured=len(seconds))

    @classmethod
    def stored(cls, measured: Mapping[str, Any], key: str) -> Lengths | None:
        """From `Trained.measured`; None where it holds none under this key, or no lengths."""
        held: Any = measured.get(key)
        if not isinstance(held, dict):
            return None
        facts = cast("dict[str, Any]", held)
        numbers = [facts.get(name) for name in ("median_seconds", "max_seconds", "measured")]
        if not all(map(_is_length, numbers)):
            return None
        median, longest, count = (float(number) for number in numbers if number is not None)
        return cls(median_seconds=median, max_seconds=longest, measured=int(count))

    @property
    def facts(self) -> dict[str, Any]:
        """As plain data, to be stored with weights."""
        return asdict(self)

    def is_far_exceeded(self, seconds: float) -> bool:
        """Whether a video is longer than all of these, and more than four times the median.

        >>> clips = Lengths(median_seconds=2.5, max_seconds=12.0, measured=40)
        >>> [clips.is_far_exceeded(seconds) for seconds in (9.0, 11.0, 13.0)]
        [False, False, True]
        """
        return seconds > self.max_seconds and seconds > _TIMES_THE_MEDIAN * self.median_seconds


def _is_length(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value > 0
    )


def spread(items: Sequence[T], most: int = MOST_OPENED) -> list[T]:
    """Up to `most` of the items, evenly spread, the first and the last among them.

    >>> spread(range(10), 4)
    [0, 3, 6, 9]
    """
    if len(items) <= most:
        return list(items)
    return [items[round(place * (len(items) - 1) / (most - 1))] for place in range(most)]


def length(seconds: float) -> str:
    """A length as people say it.

    >>> length(2.5), length(90), length(7260)
    ('2.5 s', '1:30 min', '2:01 h')
    """
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d} h"
