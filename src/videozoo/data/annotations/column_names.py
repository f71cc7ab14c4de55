"""Names by which tables call their columns: one set for lists, segments, captions and results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from videozoo.errors import few

_FILES = (
    *("path", "video_path", "clip_path", "file_path", "filepath", "file", "filename", "file_name"),
    *("video_file", "media", "media_file", "media_file_name"),
)
_NAMES = (
    *("video", "video_id", "videoid", "video_name", "videoname", "name"),
    *("clip", "clip_id", "clip_name", "clipname", "vid", "vid_id", "vid_name"),
)
PATHS = (*_FILES[:5], "video", *_FILES[5:], *_NAMES[1:], "id")
"""The video of a list, its path before its name."""
VIDEOS = (*_NAMES, *_FILES)
"""The video beside times, sentences or scores, its name before its path."""
LABELS = (
    *("label", "class", "class_name", "label_name", "action", "type", "category", "tag"),
    *("behavior", "behaviour", "activity"),
)
SENTENCES = ("caption", "sentence", "description", "text")
SUBSETS = ("subset", "split", "part", "set")
DURATIONS = ("duration", "duration_seconds", "duration_s", "length", "video_duration")
SCORES = ("score", "confidence", "probability")

Unit = Literal["seconds", "milliseconds", "frames"]
UNITS: tuple[Unit, ...] = ("seconds", "milliseconds", "frames")
"""Units of times; of a table with several the first is read."""
_STARTS, _ENDS = ("start", "begin"), ("end", "stop")
_UNIT_WORDS: dict[str, Unit] = {
    **dict.fromkeys(("seconds", "second", "secs", "sec", "s"), "seconds"),
    **dict.fromkeys(("milliseconds", "millisecond", "msec", "ms"), "milliseconds"),
    **dict.fromkeys(("frames", "frame"), "frames"),
}
_FIRST = {"first_frame": "start", "last_frame": "end"}
_MOST_SHOWN = 7
_FILLERS = frozenset(("t", "time", "in"))


def plain_name(name: str) -> str:
    """A name of a column as names are compared.

    >>> plain_name("Start Time (s)"), plain_name("videoName"), plain_name("start [%]")
    ('start_time_s', 'video_name', 'start_percent')
    """
    apart = re.sub(r"([a-z])([A-Z])", r"\1_\2", name).replace("%", " percent")
    return re.sub(r"[\W_]+", "_", apart).strip("_").lower()


def column_of(names: Iterable[str], known: Sequence[str]) -> str | None:
    """The first of some columns that the table has, as it writes it; None if it has none.

    >>> column_of(["Class", "Video ID"], VIDEOS)
    'Video ID'
    """
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(plain_name(name), name)
    return next((plain[one] for one in known if one in plain), None)


def time_columns(names: Sequence[str]) -> tuple[Unit, str, str] | None:
    """The unit and the columns of start and end; None without both in one unit.

    >>> time_columns(["clip", "Start (s)", "Stop (s)"])
    ('seconds', 'Start (s)', 'Stop (s)')
    >>> time_columns(["video", "first frame", "last frame", "start", "end"])
    ('seconds', 'start', 'end')
    >>> time_columns(["video", "start", "end_frame"])
    """
    found: dict[tuple[Unit, str], str] = {}
    for name in sorted(names, key=lambda name: len(plain_name(name))):
        if (meaning := time_meaning(name)) is not None:
            found.setdefault(meaning, name)
    for unit in UNITS:
        if (unit, "start") in found and (unit, "end") in found:
            return unit, found[unit, "start"], found[unit, "end"]
    return None


def time_meaning(name: str) -> tuple[Unit, str] | None:
    """What a column of times counts, and whether it is the `start` or the `end`; None: no time.

    >>> time_meaning("start_frame"), time_meaning("t-end"), time_meaning("end of tape")
    (('frames', 'start'), ('seconds', 'end'), None)
    """
    plain = plain_name(name)
    if plain in _FIRST:
        return "frames", _FIRST[plain]
    words = plain.split("_")
    ends = [
        which
        for which, known in (("start", _STARTS), ("end", _ENDS))
        for word in words
        if word in known
    ]
    units: list[Unit] = [_UNIT_WORDS[word] for word in words if word in _UNIT_WORDS]
    others = set(words) - _FILLERS - _UNIT_WORDS.keys() - {*_STARTS, *_ENDS}
    if len(ends) != 1 or len(units) > 1 or others:
        return None
    return (units[0], ends[0]) if units else ("seconds", ends[0])


def known_names() -> str:
    """The names of columns by which a table of segments is known, for messages."""
    named: Mapping[str, Sequence[str]] = {
        "video": VIDEOS,
        "start": ("start", "start_time", "t_start", "begin", "start_s", "start_ms", "start_frame"),
        "end": ("end", "end_time", "t_end", "stop", "end_s", "end_ms", "end_frame"),
        "class": LABELS,
    }
    return "; ".join(f"{what}: {few(names, _MOST_SHOWN)}" for what, names in named.items())
