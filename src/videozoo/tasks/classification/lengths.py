"""How long the clips were that a clip model learnt from, and what is far longer than they were.

A clip model sees a few frames of a video, spread over all of it. Trained on clips of seconds, it
says little of an hour: these functions find such videos, so that the user is told.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.frames.video import header_seconds
from videozoo.errors import few

T = TypeVar("T")
CLIPS = "clips"
"""The key of the lengths in `Trained.measured`."""
MOST_OPENED = 200
"""Videos of a list whose headers are read; these are spread evenly over it."""
_TIMES_THE_MEDIAN = 4.0
LONG_SECONDS = 120.0
"""A video of this length is said to be long where nothing is known of the training."""


@dataclass(frozen=True, kw_only=True)
class ClipLengths:
    """Lengths of training clips, in seconds."""

    median_seconds: float
    max_seconds: float
    """Of those that were measured."""
    measured: int
    """How many were."""

    @classmethod
    def of(cls, entries: Sequence[ClipEntry]) -> ClipLengths | None:
        """Measure the videos of a list, or some of a long one; None if no header tells a length."""
        found = [seconds for entry in spread(entries) if (seconds := seconds_of(entry))]
        if not found:
            return None
        median = round(statistics.median(found), 3)
        return cls(median_seconds=median, max_seconds=round(max(found), 3), measured=len(found))

    @classmethod
    def stored(cls, measured: Mapping[str, Any]) -> ClipLengths | None:
        """From `Trained.measured`; None where it holds none, or no lengths."""
        held: Any = measured.get(CLIPS)
        if not isinstance(held, dict):
            return None
        facts = cast("dict[str, Any]", held)
        numbers = [facts.get(key) for key in ("median_seconds", "max_seconds", "measured")]
        if not all(map(_is_length, numbers)):
            return None
        median, longest, count = (float(number) for number in numbers if number is not None)
        return cls(median_seconds=median, max_seconds=longest, measured=int(count))

    @property
    def facts(self) -> dict[str, Any]:
        """As plain data, to be stored with weights."""
        return {
            "median_seconds": self.median_seconds,
            "max_seconds": self.max_seconds,
            "measured": self.measured,
        }

    def is_far_exceeded(self, seconds: float) -> bool:
        """Whether a video is longer than all these clips, and more than four times the median.

        >>> clips = ClipLengths(median_seconds=2.5, max_seconds=12.0, measured=40)
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


def seconds_of(entry: ClipEntry) -> float | None:
    """Length of what an entry is about: its video, or a part of it; None if no header tells."""
    start = entry.start_seconds or 0.0
    if entry.end_seconds is not None:
        return entry.end_seconds - start
    whole = header_seconds(entry.path)
    return None if whole is None else whole - start


def too_long(
    entries: Sequence[ClipEntry], known: ClipLengths | None, num_frames: int
) -> Iterator[str]:
    """Say which videos are far longer than the training clips: one line, or none.

    Args:
        entries: One per video.
        known: Of the training; None: nothing is known, and only videos of minutes are named.
        num_frames: Frames of a video that its answer comes from.
    """
    measured = [(entry, seconds) for entry in spread(entries) if (seconds := seconds_of(entry))]
    if known is None:
        long = [(entry, seconds) for entry, seconds in measured if seconds > LONG_SECONDS]
        learnt = "the weights do not say how long the clips were that they learnt from"
    else:
        long = [(entry, seconds) for entry, seconds in measured if known.is_far_exceeded(seconds)]
        learnt = f"the training clips were {length(known.median_seconds)} long (median), "
        learnt += f"{length(known.max_seconds)} at most"
    if not long:
        return
    named = few(f"{entry.name} ({length(seconds)})" for entry, seconds in long)
    some = " at least" if len(measured) < len(entries) else ""
    are = "1 video is" if len(long) == 1 else f"{len(long)} videos are"
    yield (
        f"{are}{some} far longer than a clip: {named}; {learnt}. The answer for a video comes from "
        f"{num_frames} of its frames; `videozoo predict --every SECONDS` answers along it"
    )


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
