"""Text of data sets: lines, JSON, tables, names of classes and videos; errors show the place."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from videozoo.data.files import (
    not_read,
)
from videozoo.errors import DataError
from videozoo.safe_json import parse_json
from videozoo.safe_text import read_text

_SHOWN = 40  # characters of a damaged file


def json_of(path: Path, text: str, *, line: int | None = None) -> Any:
    """Return what a JSON file describes.

    Args:
        path: The file, for messages.
        text: What it holds.
        line: `text` is this line of it, a value of its own.

    Raises:
        DataError: It is not JSON, or an object has a key twice, the first of which would be lost.
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
        holder, name = twice[-1]  # the outermost: others may be in what is lost
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
    return f"{error}, after {near!r}" if near else str(error)


def _objects(content: Any, *keys: str) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    """All objects in a value, with the keys and numbers that lead to them."""
    if isinstance(content, dict):
        held = cast("dict[str, Any]", content)
        yield keys, held
        for key, inner in held.items():
            yield from _objects(inner, *keys, key)
    elif isinstance(content, list):
        for number, inner in enumerate(cast("list[Any]", content)):
            yield from _objects(inner, *keys, str(number))


_MOST_DIGITS = 18  # of a whole number; 64 bits hold them


_MOST_LINES = 10  # problems shown in one error


def read_class_names(path: Path) -> list[str]:
    """Read class names in order of their numbers.

    Knows a JSON list of names; a JSON object from number to name or from name to number; text with
    one name a line, its number before or after it or not at all: `NAME NUMBER` as the 2019 tool
    `generate_label.py` wrote, `1 ApplyEyeMakeup` as in UCF101, `clapping,0`. Numbers count from 0
    or from 1.

    Raises:
        DataError: The file is missing or empty, or the numbers have gaps.
    """
    return _numbered_names(path)[0]


def first_class_number(path: Path) -> int | None:
    """The number that a file of class names gives to the first class; None if it has no numbers.

    Raises:
        DataError: As `read_class_names`.
    """
    return _numbered_names(path)[1]


def _numbered_names(path: Path) -> tuple[list[str], int | None]:
    text = text_of(path)
    if path.suffix.lower() == ".json" or text.lstrip()[:1] in ("[", "{"):
        names, first = _names_from_json(path, text) if text.strip() else ([], None)
    else:
        lines = [line.strip() for line in text.splitlines()]
        names, first = _names_in_lines(path, [line for line in lines if line])
    if not names:
        raise DataError(f"{path}: no class names in this file")
    return names, first


def _names_from_json(path: Path, text: str) -> tuple[list[str], int | None]:
    content = json_of(path, text)
    if isinstance(content, list):
        items = cast(list[Any], content)
        if all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
            return _names_in_lines(path, [str(item).strip() for item in items])
    found: tuple[list[str], int] | None = None
    if isinstance(content, dict):
        pairs = [(str(k), v) for k, v in cast(dict[Any, Any], content).items()]
        if all(integer(str(value)) is not None for _, value in pairs):
            found = _in_order([(int(value), key.strip('"')) for key, value in pairs])
        elif all(integer(key) is not None for key, _ in pairs):
            found = _in_order([(int(key), str(value)) for key, value in pairs])
    if found is None:
        raise DataError(
            f"{path}: expected a JSON list of names, or an object from number to name "
            "or from name to number, the numbers 0, 1, 2, ... without gaps"
        )
    return found


def _names_in_lines(path: Path, lines: Sequence[str]) -> tuple[list[str], int | None]:
    """Names, and the number of the first where every line has a number."""
    if all(re.fullmatch(r'".*",?', line) for line in lines):
        lines = [line.rstrip(",")[1:-1] for line in lines]
    for some in (lines, lines[1:]):  # the first may be a heading
        for numbered in (_number_first, _number_last):
            pairs = [pair for line in some if (pair := numbered(line)) is not None]
            # names that differ in their numbers only are names
            if len(pairs) < max(2, len(some)) or len({name for _, name in pairs}) < len(pairs):
                continue
            found = _in_order(pairs)
            if found is not None:
                return found
            highest = max(number for number, _ in pairs)
            if some is lines and highest < 2 * len(pairs):
                raise DataError(
                    f"{path}: {len(pairs)} classes are numbered up to {highest}; expected the "
                    "numbers 0, 1, 2, ... without gaps, or names alone"
                )
    return list(lines), None


def _number_first(line: str) -> tuple[int, str] | None:
    name = line.lstrip("0123456789")
    digits = line[: len(line) - len(name)]
    return _number_and_name(digits, name[:1], name)


def _number_last(line: str) -> tuple[int, str] | None:
    name = line.rstrip("0123456789")
    return _number_and_name(line[len(name) :], name[-1:], name)


def _number_and_name(digits: str, between: str, name: str) -> tuple[int, str] | None:
    """A class as its number and name, where a blank, comma, semicolon or colon parts them."""
    name = name.strip(" \t,;:").strip('"')
    is_pair = 0 < len(digits) < 10 and between in tuple(" \t,;:") and name
    return (int(digits), name) if is_pair else None


def _in_order(pairs: Sequence[tuple[int, str]]) -> tuple[list[str], int] | None:
    """Names by number, and the first number: 0 or 1; None where numbers are missing."""
    ordered = sorted(pairs)
    first = ordered[0][0] if ordered else -1
    if first not in (0, 1):
        return None
    if [number for number, _ in ordered] != list(range(first, first + len(ordered))):
        return None
    return [name for _, name in ordered], first


def text_of(path: Path) -> str:
    """The text of a list; a DataError where it cannot be read."""
    try:
        # surrogates carry file names that are not UTF-8
        return read_text(path, encoding="utf-8-sig", errors="surrogateescape")
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder, expected a file") from None
    except OSError as error:
        said = not_read(path) or f"{path}: cannot be read: {error.strerror}"
        raise DataError(said) from None


def lines_of(path: Path) -> list[tuple[int, str]]:
    """Lines that are not empty, with their numbers from 1."""
    lines = [(n, line.strip()) for n, line in enumerate(text_of(path).split("\n"), start=1)]
    lines = [(n, line) for n, line in lines if line]
    if not lines:
        raise DataError(f"{path}: empty; expected one video a line")
    if any("\0" in line for _, line in lines[:3]):
        raise DataError(f"{path}: not a text file; expected a list with one video a line")
    return lines


def integer(text: str) -> int | None:
    """Read a whole number of at most 18 digits; None for anything else."""
    digits = text[1:] if text[:1] == "-" else text
    is_number = digits.isascii() and digits.isdigit() and len(digits) <= _MOST_DIGITS
    return int(text) if is_number else None


def raise_all(path: Path, problems: Sequence[str]) -> None:
    """Raise one DataError that names the first few problems, if there are any."""
    if len(problems) == 1:
        raise DataError(problems[0])
    if problems:
        shown = [*problems[:_MOST_LINES]]
        if len(problems) > _MOST_LINES:
            shown.append(f"and {len(problems) - _MOST_LINES} more")
        raise DataError("\n  ".join([f"{path}: {len(problems)} lines cannot be used:", *shown]))


T = TypeVar("T")


def spellings(video: str) -> tuple[str, str]:
    """The two names a video of ActivityNet goes by: as given, and with or without `v_`.

    >>> spellings("v_ab"), spellings("ab")
    (('v_ab', 'ab'), ('ab', 'v_ab'))
    """
    return video, video[2:] if video.startswith("v_") else f"v_{video}"


def of_video(video: str, known: Mapping[str, T]) -> T | None:
    """What is known of a video, under either of its names.

    >>> of_video("v_ab", {"ab": 2.5}), of_video("ab", {})
    (2.5, None)
    """
    return next((known[name] for name in spellings(video) if name in known), None)


def object_of(content: Any, path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        DataError: It is something else.
    """
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected a JSON object with a video a key")
    return cast("dict[str, Any]", content)


if TYPE_CHECKING:
    _Rows = csv.DictReader[str]
else:
    _Rows = csv.DictReader


class Table(_Rows):
    """The rows of a CSV file.

    Raises:
        DataError: A row cannot be told from the next; the line is named.
    """

    def __init__(
        self, path: Path, text: str, *, delimiter: str = ",", skip_blanks: bool = True
    ) -> None:
        """Read the names of the columns.

        Args:
            path: For messages.
            text: Of the file.
            delimiter: Between columns.
            skip_blanks: Blanks after a delimiter do not count.
        """
        super().__init__(text.splitlines(), delimiter=delimiter, skipinitialspace=skip_blanks)
        self._path = path
        try:
            _ = self.fieldnames
        except csv.Error as error:
            raise self._damaged(error) from None

    def __next__(self) -> dict[str | Any, str | Any]:
        """The next row; columns that it has no value for hold None."""
        try:
            return super().__next__()
        except csv.Error as error:
            raise self._damaged(error) from None

    def _damaged(self, error: csv.Error) -> DataError:
        where = f"{self._path}:{self.line_num + 1}"
        return DataError(f"{where}: not a row of a table ({error}); is a quotation mark open?")
