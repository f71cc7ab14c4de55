"""Lists of data sets: Kinetics, HMDB51, Something-Something v2, Diving48, Moments in Time."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.list_files import ListPart, Row, VideoList, with_parts
from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.data.text import Table, integer, lines_of
from videozoo.errors import brief

_MOST_TRIED = 16  # lines that tell whether a file is of Moments in Time


# --- the official CSV of Kinetics ------------------------------------------------------------


def kinetics_delimiter(file: VideoList) -> str | None:
    """The delimiter between columns; None if this is not the header of the Kinetics CSV."""
    wanted = {"youtube_id", "time_start", "time_end"}
    for delimiter in (",", ";", "\t"):
        if wanted <= {column.strip().strip('"') for column in file.first_line.split(delimiter)}:
            return delimiter
    return None


def kinetics_rows(file: VideoList) -> Iterator[Row]:
    """Rows of Kinetics-400, -600 and -700: `label,youtube_id,time_start,time_end,split`."""
    yield from with_parts(list(_rows_of_kinetics(file)))


def _rows_of_kinetics(file: VideoList) -> Iterator[tuple[Row, str]]:
    table = Table(file.path, file.text, delimiter=kinetics_delimiter(file) or ",")
    for row in table:
        text = ",".join(str(value) for value in row.values() if value is not None)
        label = (row.get("label") or "").strip()
        try:
            start, end = (int(float(row[key])) for key in ("time_start", "time_end"))
            identifier = row["youtube_id"].strip()
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            problem = f"expected 'label,youtube_id,time_start,time_end,...', got {brief(text)}"
            yield Row(table.line_num, text, "", label, is_name=True, problem=problem), ""
            continue
        stem = f"{identifier}_{start:06d}_{end:06d}"
        names = stem, identifier
        found = Row(table.line_num, text, f"{stem}.mp4", label, search=names, is_name=True)
        yield found, (row.get("split") or "")


# --- HMDB51 ------------------------------------------------------------------------------------


def hmdb_files(path: Path) -> list[tuple[Path, str, int]]:
    """Split files of HMDB51, each with its class and number of split.

    One file is of one class only. So a file stands for all files of its split beside it.
    """
    if path.is_dir():
        inside, only = path.iterdir(), None
    else:
        named = _HMDB_FILE.fullmatch(path.name)
        if named is None or not path.is_file():
            return []
        inside, only = path.parent.iterdir(), named[2]
    found = ((one, _HMDB_FILE.fullmatch(one.name)) for one in sorted(inside))
    return [(one, m[1], int(m[2])) for one, m in found if m is not None and only in (None, m[2])]


def hmdb_rows(file: VideoList) -> Iterator[Row]:
    """Lines `VIDEO CODE` of a file per class and split; the videos lie in folders of their class.

    Names may begin with # and are no comments.

    Source:
        The note that comes with the split files: 1 is for training, 2 for testing, 0 for neither.
    """
    codes: dict[str, ListPart] = {"0": "unused", "1": "train", "2": "test"}
    for path, label, split in hmdb_files(file.path):
        for number, text in lines_of(path):
            name, _, code = text.rpartition(" ")
            problem = ""
            if code not in codes or not name.strip():
                problem = f"expected 'VIDEO CODE' with a code of 0, 1 or 2, got {brief(text)}"
            yield Row(
                number,
                text,
                f"{label}/{name.strip()}",
                label,
                is_name=True,
                part=codes.get(code, ""),
                split=split,
                where=f"{path}:{number}",
                problem=problem,
            )


_HMDB_FILE = re.compile(r"(.+)_test_split([1-9])\.txt")


# --- JSON of data sets ---------------------------------------------------------------------------


def _first_record(file: VideoList) -> dict[str, Any]:
    """The first object of a JSON list; empty for any other file."""
    if file.is_folder or not file.is_json or not isinstance(file.content, list):
        return {}
    first = file.records[0][1] if file.records else None
    return cast("dict[str, Any]", first) if isinstance(first, dict) else {}


def is_something(file: VideoList) -> bool:
    """Whether this is the JSON of Something-Something v2."""
    first = _first_record(file)
    is_test = set(first) == {"id"}
    return isinstance(first.get("id"), str) and (is_test or isinstance(first.get("template"), str))


def something_rows(file: VideoList) -> Iterator[Row]:
    """Objects with `id` and `template`; the class is the template without brackets.

    The test list has an `id` only. Videos are called `ID.webm`.

    Source:
        SlowFast, `datasets/ssv2.py`; MMAction2, `parse_sthv2_splits`.
    """
    for place, one in file.records:
        where = f"{file.path}: {place}"
        facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        name, template = facts.get("id"), facts.get("template", "")
        if not isinstance(name, str) or not name or not isinstance(template, str):
            problem = f"expected an object with 'id' and 'template', got {brief(one)}"
            yield Row(0, brief(one), "", where=where, problem=problem)
            continue
        label = template.replace("[", "").replace("]", "").strip()
        yield Row(
            *(0, brief(one), f"{name}.webm", label),
            search=(name,),
            is_name=bool(label),
            where=where,
        )


def is_diving(file: VideoList) -> bool:
    """Whether this is the JSON of Diving48."""
    return {"vid_name", "label"} <= set(_first_record(file))


def diving_rows(file: VideoList) -> Iterator[Row]:
    """Objects with `vid_name`, `label` (from 0), `start_frame` and `end_frame`.

    Videos are called `VID_NAME.mp4`, and every entry is a whole video.

    Source:
        Files of Diving48 (V1 and V2); MMAction2, `parse_diving48_splits`.
    """
    for place, one in file.records:
        where = f"{file.path}: {place}"
        facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
        name, label, start = facts.get("vid_name"), facts.get("label"), facts.get("start_frame", 0)
        problem = ""
        if not isinstance(name, str) or not name or type(label) is not int:
            problem = f"expected an object with 'vid_name' and 'label', got {brief(one)}"
        elif start not in (0, 1):
            problem = f"{name!r} starts at frame {start}; only whole videos are read"
        if problem:
            yield Row(0, brief(one), "", where=where, problem=problem)
            continue
        yield Row(0, brief(one), f"{name}.mp4", str(label), search=(str(name),), where=where)


# --- Moments in Time -----------------------------------------------------------------------------


def _moments_cells(text: str) -> tuple[str, str] | None:
    """Path and class of a line of Moments in Time; None if it is no such line.

    >>> _moments_cells("run/a.mp4,run,3,0")
    ('run/a.mp4', 'run')
    """
    try:
        cells = [cell.strip() for cell in next(csv.reader([text]), [])]
    except csv.Error:
        return None
    if len(cells) != 4 or any(integer(cell) is None for cell in cells[2:]):
        return None
    is_video = Path(cells[0]).suffix.lower() in VIDEO_SUFFIXES
    is_name = bool(cells[1]) and integer(cells[1]) is None
    return (cells[0], cells[1]) if is_video and is_name else None


def is_moments(file: VideoList) -> bool:
    """Whether this is the CSV of Moments in Time, which has no heading."""
    return bool(file.lines) and all(_moments_cells(line) for _, line in file.lines[:_MOST_TRIED])


def moments_rows(file: VideoList) -> Iterator[Row]:
    """Lines `PATH,CLASS,YES,NO` without a heading; YES and NO count people and are not used.

    Paths are those below the folders `training` and `validation` of the data set.

    Source:
        The note that comes with the data set; MMAction2, `parse_mit_splits`.
    """
    first = next(iter(cells[0] for _, line in file.lines if (cells := _moments_cells(line))))
    folders = ("", "training/", "validation/")
    base = next((folder for folder in folders if file.exists(folder + first)), "")
    for number, text in file.lines:
        cells = _moments_cells(text)
        if cells is None:
            problem = f"expected 'PATH,CLASS,YES,NO', got {brief(text)}"
            yield Row(number, text, "", is_name=True, problem=problem)
        else:
            yield Row(number, text, base + cells[0], cells[1], is_name=True)
