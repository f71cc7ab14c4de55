"""Which columns a list of videos has: told from its text, and from which paths exist.

Between path and class stands a blank, a tab, a comma or a semicolon; there may be a header, and a
column with the number of frames; paths may hold blanks and commas themselves. One form is chosen
for the whole file, the one that makes most of its lines a path that exists and a class.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from videozoo.data.files import PICKLE_SUFFIXES, VIDEO_SUFFIXES
from videozoo.data.text import integer

_PATH_COLUMNS = (
    *("path", "video_path", "clip_path", "file_path", "filepath", "video", "file", "filename"),
    *("file_name", "video_name", "clip_name", "clip"),
)
_LABEL_COLUMNS = ("label", "class", "class_name", "label_name", "category", "action", "tag")
_NUMBER_COLUMNS = ("label_id", "class_id", "class_index", "label_index", "category_id", "target")
_FRAME_COLUMNS = ("frames", "num_frames", "n_frames", "total_frames", "frame_count")
_LONGEST_NAME = 200  # characters of a class
_MOST_TRIED = 16  # lines that decide between forms

Exists = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a list, its columns as they are written."""

    number: int
    """Of the line, from 1."""
    text: str
    """The whole line."""
    path: str
    """Empty where the line has too few columns."""
    label: str = ""
    """Empty: there is none."""
    frames: int | None = None


@dataclass(frozen=True, slots=True)
class Columns:
    """What a header says of the columns."""

    delimiter: str
    path: int
    label: int | None
    frames: int | None


def column_rows(lines: Sequence[tuple[int, str]], exists: Exists) -> Iterator[Row]:
    """Cut the lines of a list into path, class and frames; the header and comments are left out.

    The first is out as soon as the form of the list is known.

    Args:
        lines: Numbers and texts of the lines, none of them empty.
        exists: Whether there is a video of that name.
    """
    lines = [line for line in lines if not _is_comment(line[1], exists)]
    if not lines:
        return
    columns = header_of(lines[0][1])
    if columns is not None and not exists(lines[0][1]):
        lines = lines[1:]
        if columns.delimiter != " ":
            yield from (_by_header(number, text, columns) for number, text in lines)
            return
    form = _best_form([text for _, text in lines], exists)
    yield from (_by_form(number, text, form) for number, text in lines)


def header_of(line: str) -> Columns | None:
    """What the columns are, where a line names them; None for any other line.

    >>> header_of("Path, Label")
    Columns(delimiter=',', path=0, label=1, frames=None)
    >>> header_of("run/a.mp4 3")
    """
    for delimiter in ("\t", ",", ";", " "):
        cells = [_bare(cell).lower() for cell in line.split(delimiter)]
        path = _place(cells, _PATH_COLUMNS)
        label = _place(cells, (*_LABEL_COLUMNS, *_NUMBER_COLUMNS))
        if path is not None and (label is not None or len(cells) == 1):
            return Columns(delimiter, path, label, _place(cells, _FRAME_COLUMNS))
    return None


def _place(cells: Sequence[str], names: Sequence[str]) -> int | None:
    return next((cells.index(name) for name in names if name in cells), None)


def _by_header(number: int, text: str, columns: Columns) -> Row:
    try:
        cells = next(csv.reader([text], delimiter=columns.delimiter, skipinitialspace=True), [])
    except csv.Error:  # no column is that long
        return Row(number, text, "")
    cells = [cell.strip() for cell in cells]
    if len(cells) <= max(columns.path, columns.label or 0):
        return Row(number, text, "")
    return Row(
        number,
        text,
        cells[columns.path],
        "" if columns.label is None else cells[columns.label],
        None
        if columns.frames is None or len(cells) <= columns.frames
        else integer(cells[columns.frames]),
    )


@dataclass(frozen=True, slots=True)
class _Form:
    """A way to cut a line: at its last delimiters, since paths may hold some."""

    delimiter: str
    """Empty: the line is a path. A blank: any blanks and tabs."""
    with_frames: bool = False

    def cut(self, text: str) -> tuple[str, str, int | None] | None:
        """Path, label, frames; None where the line has not that many columns."""
        if not self.delimiter:
            return text, "", None
        cells = text.rsplit(
            None if self.delimiter == " " else self.delimiter, 2 if self.with_frames else 1
        )
        cells = [_bare(cell) for cell in cells]
        frames = integer(cells[1]) if self.with_frames and len(cells) == 3 else None
        if len(cells) != (3 if self.with_frames else 2) or not cells[0] or not cells[-1]:
            return None
        return None if self.with_frames and frames is None else (cells[0], cells[-1], frames)


_FORMS = (
    *(_Form(delimiter) for delimiter in (" ", "\t", ",", ";")),
    *(_Form(delimiter, with_frames=True) for delimiter in (" ", "\t", ",", ";")),
    _Form(""),
)
"""Of equally good ones the first is taken."""


def _best_form(texts: Sequence[str], exists: Exists) -> _Form:
    tried = texts[:: -(-len(texts) // _MOST_TRIED)]
    is_there = cache(exists)

    def points(form: _Form) -> int:
        return sum(_points(form.cut(text), is_there) for text in tried)

    return max(_FORMS, key=points)


def _points(cut: tuple[str, str, int | None] | None, exists: Exists) -> int:
    """How much a line looks right when it is cut like this."""
    if cut is None:
        return 0
    path, label, _ = cut
    if not label:
        return 5 if exists(path) else 0
    is_number = integer(label) is not None
    if not is_number and not may_be_name(label):
        return 0
    if exists(path):
        return 8 if is_number else 6
    return (2 if is_number else 0) + (Path(path).suffix.lower() in VIDEO_SUFFIXES)


def may_be_name(label: str) -> bool:
    """Whether this may name a class, and is not the end of a path.

    >>> may_be_name("long jump"), may_be_name("clip.mp4")
    (True, False)
    """
    if len(label) > _LONGEST_NAME:
        return False
    is_file = Path(label).suffix.lower() in VIDEO_SUFFIXES | PICKLE_SUFFIXES
    return not is_file and "/" not in label and "\\" not in label


def has_more_columns(path: str) -> bool:
    """Whether what should be a path goes on after the ending of a video.

    >>> has_more_columns("a.mp4 60 0"), has_more_columns("my.mp4s/b 1.mkv")
    (True, False)
    """
    return _MORE.search(path) is not None


_ENDINGS = "|".join(suffix[1:] for suffix in sorted(VIDEO_SUFFIXES))
_MORE = re.compile(rf"\.({_ENDINGS}|pkl)[\s,;][-\d\s.,;]*$", re.IGNORECASE)


def _by_form(number: int, text: str, form: _Form) -> Row:
    cut = form.cut(text)
    return Row(number, text, text) if cut is None else Row(number, text, *cut)


def _is_comment(line: str, exists: Exists) -> bool:
    if not line.startswith("#") or exists(line):
        return False
    cuts = [form.cut(line) for form in _FORMS]
    return not any(exists(cut[0]) for cut in cuts if cut is not None)


def _bare(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell
