"""Segments in ELAN's tab-delimited text: any of its time formats, with or without a heading."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from videozoo.data.annotations.segment_types import (
    RawInstance,
    RawVideo,
    SegmentFile,
    clock_seconds,
    file_at,
    is_video_address,
    video_at,
)
from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number
from videozoo.errors import DataError, brief, few

_HEADING = re.compile(r"(begin|end) time - (.*)", re.IGNORECASE)
_CLOCK = re.compile(r"\d+:\d\d:\d\d\.\d{1,3}", re.ASCII)
_SECONDS = re.compile(r"\d+\.\d{1,3}", re.ASCII)
_MILLISECONDS = re.compile(r"\d+", re.ASCII)
_TIMECODE = re.compile(r"(\d+):(\d\d):(\d\d)[:;](\d\d)", re.ASCII)
_CODES = {"pal-50fps": 50, "pal": 25, "ntsc": 30}  # names of ELAN for hh:mm:ss:ff: frames counted
_NTSC_RATE = 29.97
_FORMS = ("ss.msec", "hh:mm:ss.ms", "msec", *_CODES)
_DURATION = re.compile(r"duration:\s*\S+\s*/\s*\S+\s*/\s*(\d+)", re.ASCII)  # milliseconds
_OFFSET = re.compile(r"offset:?\s*(-?\d+)", re.IGNORECASE | re.ASCII)
_MEDIA = re.compile(r"#?\"?#?(.*?)\"?(?:\s+--.*)?$")
_FILES = ("file", "file name", "file path", "filename")
_OTHERS = ("participant", "annotator", "language", "type", "linguistic type")
_SLACK = 0.0015  # seconds: times are rounded to milliseconds
TIER = "tier"
"""What `label_from` says if the name of the tier is the class."""


@dataclass
class _Row:
    line: int
    start: float
    end: float
    tier: str
    text: str
    file: str = ""


def is_elan(file: TextFile) -> bool:
    """Whether a text has ELAN's columns of times, or tabs and times of ELAN in its first row."""
    rows = _rows(file)
    if not rows:
        return False
    cells = rows[0][1]
    has_ends = sum(_HEADING.fullmatch(cell) is not None for cell in cells) >= 2
    is_table = len(cells) >= 3 and not is_video_address(cells[0])
    has_codes = sum(_TIMECODE.fullmatch(cell) is not None for cell in cells) >= 2
    return has_ends or (is_table and (has_codes or _times(cells) != ([], "")))


def elan_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """Annotations of one tier, or the names of tiers (`label_from: tier`).

    Times are taken from the column in seconds where there is one, then `hh:mm:ss.ms`, then
    milliseconds, then `hh:mm:ss:ff`. The heading of the last says PAL, PAL-50fps or NTSC: ELAN then
    counts whole frames of 25, 50 or 29.97 per second, whatever the rate of the video. Without a
    heading the columns are told apart by how they are written; begin, end and duration must then
    agree in every row. Lines before the table that begin with # name the media files.

    Source: ELAN's manual, "Tab-delimited text file", exports in public repositories, and ELAN's own
    `TimeFormatter` for time codes.
    """
    rows = _rows(file)
    cells = rows[0][1]
    is_headed = any(_HEADING.fullmatch(cell) for cell in cells)
    found = _with_heading(file, rows) if is_headed else _without_heading(file, rows)
    tiers = list(dict.fromkeys(row.tier for row in found))
    is_by_text = any(row.text for row in found)
    default = TIER if not is_by_text else tiers[0] if len(tiers) == 1 else None
    chosen = file.label_of("tiers", [*tiers, TIER], default=default)
    has_files = all(row.file for row in found)
    media, seconds = ("", None) if has_files else _media(file)
    videos: dict[str, RawVideo] = {}
    for row in found:
        if chosen not in ("", TIER, row.tier):
            continue
        address = row.file or media
        if address.endswith(".eaf"):
            address = address.removesuffix(".eaf")
        video = video_at(videos, file.path, address)
        video.duration = None if row.file else seconds
        label = row.tier if chosen == TIER else row.text
        where = f"{file.path}:{row.line}"
        video.instances.append(RawInstance(where, row.start, row.end, label or None))
    return videos.values()


def _rows(file: TextFile) -> list[tuple[int, list[str]]]:
    """Cells of the lines after those that begin with #."""
    if file.is_folder or file.is_json or file.first_line.startswith("<"):
        return []
    lines = [
        (number, line)
        for number, line in enumerate(file.text.splitlines(), 1)
        if line.strip() and not line.lstrip('"').startswith("#")
    ]
    if not lines:
        return []
    delimiter = "\t" if "\t" in lines[0][1] else ","
    if delimiter == "," and "egin " not in lines[0][1]:
        return []
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    try:
        cells = list(csv.reader([line for _, line in lines], delimiter=delimiter, quoting=quoting))
    except csv.Error:
        return []
    if len(cells) != len(lines):
        return []
    return [
        (number, [cell.strip() for cell in row])
        for (number, _), row in zip(lines, cells, strict=True)
    ]


def _with_heading(file: SegmentFile, rows: Sequence[tuple[int, list[str]]]) -> list[_Row]:
    """Rows under names of columns; each column of no known name is a tier."""
    names = rows[0][1]
    lower = [name.lower() for name in names]
    places: dict[str, dict[str, int]] = {"begin": {}, "end": {}}
    for place, name in enumerate(names):
        if found := _HEADING.fullmatch(name):
            places[found[1].lower()][found[2].lower()] = place
    form = next((one for one in _FORMS if all(one in ends for ends in places.values())), None)
    if form is None:
        raise DataError(
            f"{file.path}:{rows[0][0]}: columns of times {few(map(repr, names))}; expected begin "
            "time and end time in one of ss.msec, hh:mm:ss.ms, msec, PAL, PAL-50fps, NTSC; export "
            "it from ELAN with these"
        )
    if form in _CODES:
        file.notes.append(
            f"{file.path}: times are whole frames of {form.upper().replace('FPS', 'fps')}, so they "
            "may be early by one frame; ELAN's ss.msec is exact"
        )
    tier_at = lower.index("tier") if "tier" in lower else None
    file_at_ = next((lower.index(name) for name in _FILES if name in lower), None)
    known = {place for group in places.values() for place in group.values()}
    known |= {place for place, name in enumerate(lower) if name.startswith("duration - ")}
    known |= {place for place in (tier_at, file_at_) if place is not None}
    rest = [
        place
        for place, name in enumerate(lower)
        if place not in known and name and name not in (*_FILES, *_OTHERS)
    ]
    found_rows: list[_Row] = []
    for line, cells in rows[1:]:
        where = f"{file.path}:{line}"
        cells = [*cells, *[""] * (len(names) - len(cells))]
        start, end = (_seconds(cells[places[side][form]], form) for side in ("begin", "end"))
        if start is None or end is None:
            raise DataError(
                f"{where}: no begin and end time in the form {_written(form)}: "
                f"{brief(' | '.join(cells))}"
            )
        name = cells[file_at_] if file_at_ is not None else ""
        if tier_at is not None:
            text = cells[rest[0]] if rest else ""
            found_rows.append(_Row(line, start, end, cells[tier_at], text, name))
            continue
        found_rows += [
            _Row(line, start, end, names[place], cells[place], name)
            for place in rest
            if cells[place]
        ]
    return found_rows


def _without_heading(file: SegmentFile, rows: Sequence[tuple[int, list[str]]]) -> list[_Row]:
    """Rows of tier, participant, times and text: ELAN's table without names of columns."""
    places, form = _times(rows[0][1])
    if not places:
        raise DataError(
            f"{file.path}:{rows[0][0]}: times hh:mm:ss:ff without names of columns do not tell how "
            "many frames a second has; export it from ELAN with names of columns, or with ss.msec"
        )
    kinds = [_form_of(cell) for cell in rows[0][1]]
    num_forms = sum(kinds.count(kind) >= len(places) for kind in set(kinds) - {""})
    first = next(place for place, kind in enumerate(kinds) if kind)
    after = first + num_forms * len(places)  # begin, end and duration, each in these forms
    found: list[_Row] = []
    for line, cells in rows:
        where = f"{file.path}:{line}"
        times = [_seconds(cells[at], form) if at < len(cells) else None for at in places]
        if any(time is None for time in times):
            raise DataError(f"{where}: {brief(' | '.join(cells))}, expected times in {form}")
        start, end, *rest = (time or 0.0 for time in times)
        if end < start or (rest and abs(end - start - rest[0]) > _SLACK):
            raise DataError(
                f"{where}: begin {start:g}, end {end:g}{f', duration {rest[0]:g}' if rest else ''} "
                "do not agree; export it from ELAN with names of columns"
            )
        tier = cells[0] if first > 0 else ""
        found.append(_Row(line, start, end, tier, " ".join(filter(None, cells[after:]))))
    return found


def _times(cells: Sequence[str]) -> tuple[list[int], str]:
    """Places of begin and end, and where there is one of the duration; and how they are written."""
    for form in ("ss.msec", "hh:mm:ss.ms", "msec"):
        places = [place for place, cell in enumerate(cells) if _form_of(cell) == form]
        if len(places) in (2, 3):
            return places, form
    return [], ""


def _form_of(cell: str) -> str:
    forms = (
        ("hh:mm:ss.ms", _CLOCK),
        ("ss.msec", _SECONDS),
        ("msec", _MILLISECONDS),
        ("hh:mm:ss:ff", _TIMECODE),
    )
    return next((form for form, pattern in forms if pattern.fullmatch(cell)), "")


def _written(form: str) -> str:
    """A form of times as messages show it."""
    per_second = _CODES.get(form)
    return form if per_second is None else f"hh:mm:ss:ff with frames below {per_second}"


def _seconds(cell: str, form: str) -> float | None:
    if form in _CODES:
        return _code_seconds(cell, form)
    if form == "msec":
        number = finite_number(cell)
        return None if number is None else number / 1000
    return clock_seconds(cell)


def _code_seconds(cell: str, form: str) -> float | None:
    """Seconds of a time code; NTSC leaves out two numbers per minute, but not in each tenth.

    >>> [_code_seconds("00:01:00:12", form) for form in ("pal", "pal-50fps")]
    [60.48, 60.24]
    >>> round(_code_seconds("00:10:00:00", "ntsc"), 3)
    600.0
    """
    found, per_second = _TIMECODE.fullmatch(cell), _CODES[form]
    if found is None:
        return None
    hours, minutes, seconds, frames = map(int, found.groups())
    if frames >= per_second or minutes >= 60 or seconds >= 60:
        return None
    minutes += 60 * hours
    if form != "ntsc":
        return 60 * minutes + seconds + frames / per_second
    left_out = 2 * (minutes - minutes // 10)
    return ((60 * minutes + seconds) * per_second + frames - left_out) / _NTSC_RATE


def _media(file: SegmentFile) -> tuple[str, float | None]:
    """Address of the video and its seconds: from the lines before the table, or the file's name."""
    heads = [line for _, line in file.lines if line.lstrip('"').startswith("#")]
    named: list[tuple[str, float | None]] = []
    for line in heads:
        found, length = _MEDIA.match(line), _DURATION.search(line)
        address = found[1] if found else ""
        if is_video_address(address):
            named.append((address, None if length is None else int(length[1]) / 1000))
        if (offset := _OFFSET.search(line)) and int(offset[1]):
            file.notes.append(
                f"{file.path}: a media file has an offset of {offset[1]} ms; times are taken "
                "as they are written"
            )
    if len(named) > 1:
        file.notes.append(
            f"{file.path}: annotates {len(named)} media files; the times are used for "
            f"{file_at(named[0][0]).name}"
        )
    if not named:
        file.notes.append(
            f"{file.path}: names no video; it is taken to be of the video {file.path.stem!r}"
        )
    return named[0] if named else (file.path.stem, None)
