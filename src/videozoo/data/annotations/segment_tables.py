"""Segments in tables with a heading, one segment per row."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass, replace

from videozoo.data.annotations.column_names import (
    DURATIONS,
    LABELS,
    SCORES,
    SENTENCES,
    SUBSETS,
    UNITS,
    VIDEOS,
    Unit,
    column_of,
    time_columns,
    time_meaning,
)
from videozoo.data.annotations.segment_types import (
    RawInstance,
    RawVideo,
    SegmentFile,
    table_seconds,
    video_at,
)
from videozoo.data.formats import TextFile
from videozoo.data.text import Table, delimiter_of, integer, table_number, unused_times
from videozoo.errors import DataError

_ROUNDING = 0.011  # seconds


@dataclass(frozen=True)
class TableColumns:
    """The columns of a table of segments."""

    video: str
    start: str
    end: str
    unit: Unit
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
    delimiter = delimiter_of(heading)
    try:
        cells = next(csv.reader([heading], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # too long for a heading
        return None
    names = [name.strip() for name in cells]
    video, times = column_of(names, VIDEOS), time_columns(names)
    if video is None or times is None:
        return None
    unit, start, end = times
    label, duration, subset, score = (
        column_of(names, known) for known in (LABELS, DURATIONS, SUBSETS, SCORES)
    )
    others_of_time = {
        column
        for other in UNITS
        for side in ("start", "end")
        if other != unit
        and (column := next((one for one in names if time_meaning(one) == (other, side)), None))
    }
    used = {video, label, start, end, duration, subset, score, *others_of_time}
    others = tuple(name for name in names if name and name not in used)
    return TableColumns(
        video, start, end, unit, label, others, duration, subset, score, delimiter=delimiter
    )


def is_segment_table(file: TextFile) -> bool:
    """Whether this is a table of segments; one with sentences in place of classes is not."""
    columns = table_columns(file.heading)
    if columns is None:
        return False
    has_sentences = column_of(columns.others, (*SENTENCES, "query")) is not None
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
    if columns.duration is not None and _are_of_segments(file, columns):
        file.notes.append(
            f"{path}: {columns.duration} is the length of each segment, not of its video; not used"
        )
        columns = replace(columns, duration=None)
    in_frames = columns.unit == "frames"
    videos: dict[str, RawVideo] = {}
    rows = Table(path, file.text)
    unused = [name for name in columns.others if name != label]
    file.notes += unused_times(path, unused, f"{columns.start} and {columns.end}")
    from_zero = False
    lines, line, addresses = file.text.split("\n"), rows.line_num, set[str]()
    for row in rows:
        where = f"{path}:{rows.line_num}"
        if None in row:
            raise DataError(
                f"{where}: more cells than the heading has; put text with {columns.delimiter!r} "
                "into double quotes"
            )
        if any(one.strip() and one[0] != "#" for one in lines[line : rows.line_num - 1]):
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
        text = _cell(row, columns.duration)
        duration = table_seconds(text, "seconds", columns.delimiter != ",") if text else None
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
        text = _cell(row, columns.score)
        number = table_number(text, columns.delimiter)
        score = (text or None) if number is None else number
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


def _are_of_segments(file: SegmentFile, columns: TableColumns) -> bool:
    """Whether the durations of all rows are those between their starts and ends."""
    begins_later = False
    for row in Table(file.path, file.text):
        cells = [_cell(row, name) for name in (columns.start, columns.end, columns.duration)]
        if not any(cells[:2]):
            continue
        with_commas = columns.delimiter != ","
        start, end, length = (table_seconds(cell, "seconds", with_commas) for cell in cells)
        if start is None or end is None or length is None or abs(end - start - length) > _ROUNDING:
            return False
        begins_later |= start > _ROUNDING
    return begins_later


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
    if columns.unit == "frames":
        number = integer(text.removesuffix(".0"))
        if number is None:
            raise DataError(f"{where}: frame {text!r}, expected a whole number")
        return number
    value = table_seconds(text, columns.unit, with_commas=columns.delimiter != ",")
    if value is None:
        raise DataError(
            f"{where}: time {text!r}, expected two numbers: the {columns.unit} of start and end"
            + (", or mm:ss, hh:mm:ss or hh:mm:ss.ms" if columns.unit == "seconds" else "")
        )
    return value


def _from_one(one: RawInstance) -> RawInstance:
    assert isinstance(one.start, float | int)
    assert isinstance(one.end, float | int)
    return RawInstance(one.where, one.start + 1, one.end + 1, one.label, True, one.score)
