"""How long the clips were that a clip model learnt from, and what is far longer than they were.

A clip model sees a few frames of a video, spread over all of it. Trained on clips of seconds, it
says little of an hour: these functions find such videos, so that the user is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from videozoo.data.annotations.videos import ClipEntry
from videozoo.data.frames.video import header_seconds
from videozoo.errors import few
from videozoo.tasks.measured import Lengths, length, spread

CLIPS = "clips"
"""The key of the lengths in `Trained.measured`."""
LONG_SECONDS = 120.0
"""A video of this length is said to be long where nothing is known of the training."""


def clip_lengths(entries: Sequence[ClipEntry]) -> Lengths | None:
    """Measure the videos of a list, or some of a long one; None if no header tells a length."""
    return Lengths.of([seconds for entry in spread(entries) if (seconds := seconds_of(entry))])


def seconds_of(entry: ClipEntry) -> float | None:
    """Length of what an entry is about: its video, or a part of it; None if no header tells."""
    start = entry.start_seconds or 0.0
    if entry.end_seconds is not None:
        return entry.end_seconds - start
    whole = header_seconds(entry.path)
    return None if whole is None else whole - start


def too_long(entries: Sequence[ClipEntry], known: Lengths | None, num_frames: int) -> Iterator[str]:
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
