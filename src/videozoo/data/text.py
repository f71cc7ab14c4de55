"""Text of data sets: lines, JSON, tables, names of classes and videos; errors show the place."""

from __future__ import annotations

import csv
import json
import math
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from videozoo.data.files import VIDEO_SUFFIXES, not_read, refuse_pipe
from videozoo.errors import DataError, counted, few
from videozoo.safe_json import parse_json
from videozoo.safe_text import marked_encoding, read_text

_SUFFIXES = tuple(spelt for suffix in sorted(VIDEO_SUFFIXES) for spelt in (suffix, suffix.upper()))
_SHOWN = 40  # characters of a damaged file


def json_of(path: Path, text: str, *, line: int | None = None) -> Any:
    """Return what a JSON file describes.

    Args:
        path: The file, for messages.
        text: What it holds.
        line: Number of the line, if `text` is one line of JSON Lines.

    Raises:
        DataError: It is not JSON, or an object has a key twice, so that one value would be lost.
    """
    place = f"{path}" if line is None else f"{path}: line {line}"
    twice: list[tuple[dict[str, Any], str]] = []

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            twice.append((found, next(name for name, count in counts.items() if count > 1)))
        return found

    try:
        content: Any = parse_json(text, pairs_hook=made)
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: not valid JSON: {_explained(error)}") from None
    except ValueError as error:
        raise DataError(f"{place}: not valid JSON: {error}") from None
    if twice:
        holder, name = twice[-1]  # the outermost: inner objects may be lost with it
        keys = next((keys for keys, one in _objects(content) if one is holder), ())
        raise DataError(
            f"{': '.join([place, *keys])}: the key {name!r} is there twice, and only the last "
            "would count; join them, or remove one"
        )
    return content


def _explained(error: json.JSONDecodeError) -> str:
    if error.msg == "Extra data" and error.doc.lstrip()[:1] == "{":
        return f"it goes on after the first object, in line {error.lineno}; is it JSON Lines?"
    near = error.doc[max(0, error.pos - _SHOWN) : error.pos + 1]
    found = next((advice for start, advice in _NOT_JSON if start.match(error.doc, error.pos)), "")
    is_last = error.doc[: error.pos].rstrip()[-1:] == "," and near[-1:] in ("}", "]")
    if is_last or "trailing comma" in error.msg:
        found = "; remove the comma before the closing bracket"
    return f"{error}, after {near!r}{found}" if near else str(error)


_NOT_JSON = (
    (re.compile(r"//|/\*|#"), "; JSON has no comments: remove it"),
    (re.compile(r"'"), "; JSON has double quotation marks: is it Python's? json.dump writes JSON"),
    (re.compile(r"None|True|False|nan|inf"), "; JSON has null, true, false and numbers"),
)
"""What others write and JSON does not have, and what to do about it."""


def _objects(content: Any, *keys: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All objects in a value, each with the keys and list indices that lead to it."""
    if isinstance(content, dict):
        held = cast("dict[str, Any]", content)
        yield keys, held
        for key, inner in held.items():
            yield from _objects(inner, *keys, key)
    elif isinstance(content, list):
        for number, inner in enumerate(cast("list[Any]", content)):
            yield from _objects(inner, *keys, str(number))


MOST_CLASSES = 2**31
"""A larger number of a class is a mistake: no network has as many outputs."""
_MOST_DIGITS = 18  # of a whole number, so that it fits in 64 bits
_STARTS = ("start", "starts", "begin", "begins", "from", "onset", "t0", "tstart", "starttime")
_ENDS = ("end", "ends", "stop", "finish", "to", "offset", "t1", "tend", "endtime")
_TIME_WORDS = frozenset((*_STARTS, *_ENDS, "time", "times", "timestamp", "timestamps"))
_MOST_LINES = 10  # problems shown in one error


def text_of(path: Path) -> str:
    """The text of a file; DataError if it cannot be read."""
    refuse_pipe(path)
    try:
        # surrogates keep file names that are not UTF-8
        return read_text(path, encoding="utf-8-sig", errors="surrogateescape")
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a file") from None
    except OSError as error:
        reason = not_read(path) or f"{path}: cannot be read: {error.strerror}"
        raise DataError(reason) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: its first bytes say {error.encoding[:6].upper()}, but it is not "
            f"({error.reason} at byte {error.start:,}); save it as UTF-8"
        ) from None


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    lines = [(n, line.strip()) for n, line in enumerate(text_of(path).split("\n"), start=1)]
    lines = [(n, line) for n, line in lines if line]
    if not lines:
        raise DataError(f"{path}: empty; expected one video per line")
    if any("\0" in line for _, line in lines[:3]):
        half = [set(lines[0][1][start::2]) for start in (0, 1)]
        advice = "; is it UTF-16? save it as UTF-8" if {"\0"} in half else ""
        raise DataError(f"{path}: not a text file; expected a list with one video per line{advice}")
    return lines


def integer(text: str) -> int | None:
    """Read a whole number of at most 18 digits; None for anything else."""
    digits = text[1:] if text[:1] == "-" else text
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
    return int(text) if is_number else None


def class_number(text: str) -> int | None:
    """Read the number of a class; None for anything else, which may be a name.

    A number of more than 18 digits is one, too, though no class has it: the largest of 18 stands
    for it.
    """
    digits = text[1:] if text[:1] == "-" else text
    if len(digits) > _MOST_DIGITS and digits.isascii() and digits.isdigit():
        return 10**_MOST_DIGITS - 1 if digits is text else 1 - 10**_MOST_DIGITS
    return integer(text)


def is_text(path: Path) -> bool:
    """Whether a file that is there is text: its first bytes have no zero.

    Raises:
        OSError: It cannot be read.
        DataError: It is a pipe.
    """
    refuse_pipe(path)
    with path.open("rb") as file:
        head = file.read(4096)
    return b"\0" not in head or marked_encoding(head) is not None


def as_text(value: object) -> str:
    """A value as text; Python 2 pickled text as bytes."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)


def finite_number(value: object) -> float | None:
    """A finite number, or the text of one; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def table_number(text: object, delimiter: str) -> float | None:
    """A finite number of a table, which may have a decimal comma where columns have other marks.

    >>> table_number("0,5", ";"), table_number("0.5", ","), table_number("0,5", ",")
    (0.5, 0.5, None)
    """
    if isinstance(text, str) and delimiter != ",":
        text = text.replace(",", ".")
    return finite_number(text)


def raise_all(path: Path, problems: Sequence[str]) -> None:
    """Raise one DataError that names the first few problems, if there are any."""
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        shown = few(problems, _MOST_LINES, between="\n  ")
        raise DataError(f"{path}: {counted(len(problems), 'line')} cannot be used:\n  {shown}")


T = TypeVar("T")


def spellings(video: str) -> tuple[str, str]:
    """The two names of a video of ActivityNet: as given, and with `v_` added or removed.

    >>> spellings("v_ab"), spellings("ab")
    (('v_ab', 'ab'), ('ab', 'v_ab'))
    """
    return video, video[2:] if video.startswith("v_") else f"v_{video}"


def spelt_in(video: str, known: Container[object]) -> str | None:
    """The name by which others know a video; None if they do not know it.

    Names meet with and without `v_` in front, and where one of them has the ending of a video and
    the other has none. `a` may be `a.mp4` or `a.avi` only where there is one of the two.

    >>> spelt_in("v_ab", {"ab"}), spelt_in("ab", {"v_ab.MP4"}), spelt_in("ab.mp4", {"ab"})
    ('ab', 'v_ab.MP4', 'ab')
    >>> spelt_in("ab", {"ab.mp4", "ab.avi"})
    """
    found = next((name for name in spellings(video) if name in known), None)
    if found is not None:
        return found
    stem, dot, ending = video.rpartition(".")
    if dot and f".{ending.lower()}" in VIDEO_SUFFIXES:
        return next((name for name in spellings(stem) if name in known), None)
    alike = [
        name
        for spelt in spellings(video)
        for suffix in _SUFFIXES
        if (name := spelt + suffix) in known
    ]
    return alike[0] if len(alike) == 1 else None


def of_video(video: str, known: Mapping[str, T]) -> T | None:
    """Look up a video under any of its names, as `spelt_in`; None if it is not there.

    >>> of_video("v_ab", {"ab": 2.5}), of_video("ab", {})
    (2.5, None)
    """
    name = spelt_in(video, known)
    return None if name is None else known[name]


def object_of(content: Any, path: Path) -> dict[str, Any]:
    """Check that a value is a JSON object, and return it.

    Raises:
        DataError: It is something else.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path}: holds {kind_of(content)}, expected a JSON object")
    return cast("dict[str, Any]", content)


def kind_of(value: object) -> str:
    """Type of a value, for messages.

    >>> kind_of([1])
    'a list'
    """
    return f"a {type(value).__name__}"


if TYPE_CHECKING:
    _Rows = csv.DictReader[str]
else:
    _Rows = csv.DictReader


class _Row(dict[str | Any, str | Any]):
    """A row; DataError for a column that the heading, as CSV is read, does not have."""

    def __init__(self, path: Path, cells: Mapping[str | Any, str | Any]) -> None:
        super().__init__(cells)
        self._path = path

    def __missing__(self, name: str) -> str:
        held = few([repr(one) for one in self if one is not None])
        raise DataError(f"{self._path}: has no column {name!r}; its columns are: {held}")


class Table(_Rows):
    """The rows of a CSV file; `table_heading` says which of its lines is the heading.

    Blanks around names of columns do not count, nor do empty cells after the last column, nor lines
    that begin with # and have too few cells.

    Raises:
        DataError: A column is there twice, or the end of a row cannot be found; the line is named.
    """

    def __init__(
        self, path: Path, text: str, *, delimiter: str | None = None, skip_blanks: bool = True
    ) -> None:
        """Read the names of the columns.

        Args:
            path: The file, for messages.
            text: Its text.
            delimiter: Character between columns; by default what the heading shows.
            skip_blanks: Ignore blanks after a delimiter.
        """
        place, heading = table_heading(text)
        lines = [*[""] * place, heading, *text.split("\n")[place + 1 :]]
        delimiter = delimiter or delimiter_of(heading)
        super().__init__(lines, delimiter=delimiter, skipinitialspace=skip_blanks)
        self._path = path
        try:
            for _ in range(place):
                next(self.reader)
            names = [name.strip() for name in self.fieldnames or ()]
        except csv.Error as error:
            raise self._damaged(error) from None
        self.fieldnames = names
        twice = next((one for one, count in Counter(names).items() if one and count > 1), None)
        if twice is not None:
            raise DataError(
                f"{path}:{place + 1}: two columns are called {twice!r}; rename or remove one"
            )

    def __next__(self) -> dict[str | Any, str | Any]:
        """The next row; None for columns without a value."""
        try:
            row = _Row(self._path, super().__next__())
            while str(next(iter(row.values()), "")).startswith("#") and None in row.values():
                row = _Row(self._path, super().__next__())  # a remark among the rows
        except csv.Error as error:
            raise self._damaged(error) from None
        if None in row and not any(map(str.strip, row[None])):
            del row[None]
        return row

    def _damaged(self, error: csv.Error) -> DataError:
        where = f"{self._path}:{self.line_num + 1}"
        return DataError(f"{where}: not a row of a table ({error}); is a quotation mark open?")


def delimiter_of(heading: str) -> str:
    """What stands between the columns of a table: the first of tab, semicolon, bar and comma.

    A bar counts where it is more frequent than the comma.

    >>> delimiter_of("video;start;label, short"), delimiter_of("video|label"), delimiter_of("a,b|c")
    (';', '|', ',')
    """
    marks = "\t;|" if heading.count("|") > heading.count(",") else "\t;"
    return next((mark for mark in marks if mark in heading), ",")


def table_heading(text: str) -> tuple[int, str]:
    """The line with the names of the columns of a table: how many lines are before it, and itself.

    Before it may be empty lines, `sep=;` of spreadsheets, and lines that begin with #. A heading
    may begin with # itself, as numpy writes it: it has as many columns as the row after it.

    >>> table_heading("sep=;\\n# by hand\\nvideo;start\\na;1")
    (2, 'video;start')
    >>> table_heading("# video,start\\na,1\\n")
    (0, 'video,start')
    """
    remark = None
    for place, line in enumerate(text.split("\n")):
        line = line.strip("\r \ufeff")
        if not line or _SEPARATOR.fullmatch(line):
            continue
        if not line.startswith("#"):
            marks = [one.count(delimiter_of(line)) for one in (line, remark[1] if remark else "")]
            is_row = any(_VALUE.fullmatch(cell.strip()) for cell in _DELIMITER.split(line))
            return remark if remark and is_row and marks[0] == marks[1] > 0 else (place, line)
        remark = place, line.lstrip("# ")
    return remark or (0, "")


_SEPARATOR = re.compile(r"\"?sep=.\"?", re.IGNORECASE)
_DELIMITER = re.compile(r"[\t;|,]")
_VALUE = re.compile(r"\"?[-+]?[\d:.]*\d[\d:.]*\"?", re.ASCII)


def unused_times(path: Path, names: Iterable[str], read_from: str) -> list[str]:
    """A note on columns that sound like times in a video and are not read; else nothing.

    Args:
        path: The table.
        names: The columns that are not read.
        read_from: The columns of which times are read.

    >>> unused_times(Path("a.csv"), ["tStart", "to", "label", "attendance"], "start and end")
    ["a.csv: columns 'tStart', 'to' are not used; times are read from start and end"]
    """
    found = [repr(name) for name in names if _sounds_like_time(name)]
    what = f"column {found[0]} is" if len(found) == 1 else f"columns {few(found)} are"
    return [f"{path}: {what} not used; times are read from {read_from}"] if found else []


def _sounds_like_time(name: str) -> bool:
    words = re.findall(r"[a-z]+[0-9]*", re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower())
    return any(word in _TIME_WORDS for word in words)


def natural_key(name: str) -> tuple[list[tuple[int, int, str]], str]:
    """A key to sort names by: digits compare as numbers, the rest as text without case.

    >>> sorted(["f10.jpg", "f9.jpg", "F1.jpg"], key=natural_key)
    ['F1.jpg', 'f9.jpg', 'f10.jpg']
    """
    parts = re.findall(r"([0-9]+)|([^0-9]+)", name.casefold())
    return [(0, int(digits), "") if digits else (1, 0, text) for digits, text in parts], name
