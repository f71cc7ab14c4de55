"""Segments in tables with a heading, one segment per row."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass

from videozoo.data.annotations.segment_types import (
    RawInstance,
    RawVideo,
    SegmentFile,
    clock_seconds,
    video_at,
)
from videozoo.data.formats import TextFile
from videozoo.data.text import Table, finite_number, integer, unused_times
from videozoo.errors import DataError, few

_VIDEO = ("video", "video_id", "video_name", "name", "file", "filename", "path")
_LABEL = ("label", "class", "action", "type", "category")
_SENTENCES = frozenset(("sentence", "caption", "description", "query", "text"))
_TIMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "seconds": (
        ("start", "start_seconds", "start_time", "t_start", "begin", "start_sec", "start_s"),
        ("end", "end_seconds", "end_time", "t_end", "stop", "end_sec", "end_s"),
    ),
    "milliseconds": (("start_ms", "begin_ms"), ("end_ms", "stop_ms")),
    "frames": (
        ("start_frame", "first_frame", "begin_frame", "frame_start"),
        ("end_frame", "last_frame", "stop_frame", "frame_end"),
    ),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "duration": ("duration", "duration_seconds", "length", "video_duration"),
    "subset": ("subset", "split", "part"),
    "score": ("score", "confidence", "probability"),
}
"""Names of the columns of a table, in lower case."""


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table of segments."""

    video: str
    start: str
    end: str
    unit: str
    """What start and end count: seconds, milliseconds or frames."""
    label: str | None
    others: tuple[str, ...]
    """Columns of no known name."""
    duration: str | None
    subset: str | None
    score: str | None
    delimiter: str


def table_columns(heading: str) -> TableColumns | None:
    """The columns of a table with commas, semicolons or tabs; None if it is not one of segments.

    >>> found = table_columns("Video,start,end,Label")
    >>> found.video, found.label, found.unit
    ('Video', 'Label', 'seconds')
    >>> table_columns("file;start_frame;end_frame;class").unit
    'frames'
    >>> table_columns("a,b,c")
    """
    for delimiter in ",;\t":
        try:
            cells = next(csv.reader([heading], delimiter=delimiter), [])
        except csv.Error:  # too long for a heading
            return None
        found = _columns([name.strip() for name in cells], delimiter)
        if found is not None:
            return found
    return None


def known_headings() -> str:
    """The names of columns by which a table of segments is known, for messages."""
    starts, ends = _TIMES["seconds"]
    named = {"video": _VIDEO, "start": starts, "end": ends, "class": _LABEL}
    return "; ".join(f"{what}: {few(names, len(names))}" for what, names in named.items())


def _columns(names: list[str], delimiter: str) -> TableColumns | None:
    plain: dict[str, str] = {}
    for name in names:
        plain.setdefault(name.lower().replace("-", "_").replace(" ", "_"), name)

    def named(known: tuple[str, ...]) -> str | None:
        return next((plain[one] for one in known if one in plain), None)

    video = named(_VIDEO)
    times = [(unit, named(start), named(end)) for unit, (start, end) in _TIMES.items()]
    unit, start, end = next(((u, s, e) for u, s, e in times if s and e), ("", None, None))
    if video is None or start is None or end is None:
        return None
    optional = {what: named(known) for what, known in _OPTIONAL.items()}
    label = named(_LABEL)
    ends = {one for _, *pair in times for one in pair}
    used = {video, label, *ends, *optional.values()}
    others = tuple(name for name in names if name and name not in used)
    return TableColumns(video, start, end, unit, label, others, delimiter=delimiter, **optional)


def is_segment_table(file: TextFile) -> bool:
    """Whether this is a table of segments; one with sentences in place of classes is not."""
    columns = table_columns(file.heading)
    if columns is None:
        return False
    has_sentences = any(name.lower() in _SENTENCES for name in columns.others)
    return columns.label is not None or not has_sentences


def table_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """The segments of a table, one per row; start and end may be empty for a video without any.

    Times are seconds, `mm:ss` or `hh:mm:ss`; in columns named so, milliseconds or frames. Frames
    are the first and the last of the segment. They count from 0 if any is 0, otherwise from 1, and
    a note says which.
    """
    path, columns = file.path, table_columns(file.heading)
    assert columns is not None
    label = _label_column(file, columns)
    in_frames = columns.unit == "frames"
    videos: dict[str, RawVideo] = {}
    rows = Table(path, file.text, delimiter=columns.delimiter)
    if rows.fieldnames is not None:
        rows.fieldnames = [name.strip() for name in rows.fieldnames]
    unused = [name for name in columns.others if name != label]
    file.notes += unused_times(path, unused, f"{columns.start} and {columns.end}")
    from_zero = False
    lines, line, addresses = file.text.splitlines(), 1, set[str]()
    for row in rows:
        where = f"{path}:{rows.line_num}"
        if None in row:
            raise DataError(
                f"{where}: more cells than the heading has; put text with {columns.delimiter!r} "
                "into double quotes"
            )
        if any(skipped.strip() for skipped in lines[line : rows.line_num - 1]):
            raise DataError(f"{where}: a text in quotes that goes over several lines")
        line = rows.line_num
        video_name, start, end = (
            _cell(row, n) for n in (columns.video, columns.start, columns.end)
        )
        if not video_name:
            raise DataError(f"{where}: a row without a video")
        is_new = video_name not in addresses
        addresses.add(video_name)
        video = video_at(videos, path, video_name)
        duration = clock_seconds(text) if (text := _cell(row, columns.duration)) else None
        if text and duration is None:
            raise DataError(f"{where}: duration {text!r}, expected seconds or mm:ss")
        facts = duration, _cell(row, columns.subset) or None
        if is_new:
            video.duration, video.subset = facts
        if facts != (video.duration, video.subset):
            raise DataError(
                f"{where}: {video.name} has duration {facts[0]!r} and subset {facts[1]!r} here, "
                f"but {video.duration!r} and {video.subset!r} before"
            )
        name = _cell(row, label) or None
        if not start and not end and name is None:
            continue  # a video without segments
        times = [_time(where, text, columns) for text in (start, end)]
        from_zero |= in_frames and 0 in times
        score = _cell(row, columns.score) or None
        video.instances.append(RawInstance(where, times[0], times[1], name, in_frames, score))
    if in_frames:
        for video in videos.values():
            video.counted_by = f"column {columns.start}"
            if from_zero:
                video.instances = [_from_one(one) for one in video.instances]
        file.notes.append(
            f"{path}: {columns.start} and {columns.end} are taken as the first and last frame of a "
            f"segment, numbered from {0 if from_zero else 1}"
        )
    return videos.values()


def _label_column(file: SegmentFile, columns: TableColumns) -> str | None:
    """The column of the class; None if the table has only videos and times."""
    known = [*([columns.label] if columns.label else []), *columns.others]
    if not known and file.label_from is None:
        return None
    return file.label_of("columns", known, default=columns.label) or None


def _cell(row: dict[str, str | None], name: str | None) -> str:
    return "" if name is None else (row[name] or "").strip()


def _time(where: str, text: str, columns: TableColumns) -> float:
    """One time, in seconds or frames."""
    if columns.delimiter != ",":
        text = text.replace(",", ".")  # decimals of many languages
    if columns.unit == "frames":
        number = integer(text.removesuffix(".0"))
        if number is None:
            raise DataError(f"{where}: frame {text!r}, expected a whole number")
        return number
    value = clock_seconds(text) if columns.unit == "seconds" else finite_number(text)
    if value is None:
        raise DataError(
            f"{where}: time {text!r}, expected two numbers: the {columns.unit} of start and end"
            + (", or mm:ss, hh:mm:ss or hh:mm:ss.ms" if columns.unit == "seconds" else "")
        )
    return value if columns.unit == "seconds" else value / 1000


def _from_one(one: RawInstance) -> RawInstance:
    assert isinstance(one.start, float | int)
    assert isinstance(one.end, float | int)
    return RawInstance(one.where, one.start + 1, one.end + 1, one.label, True, one.score)
