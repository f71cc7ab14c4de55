"""Tables of file formats: how a file is recognised, how it is read, and what it looks like.

Each module that reads files of other tools has one table, its `FORMATS`. A new format is one
function and one row. Put it before any row that would also take its files. The example of a row is
its documentation, is shown in errors, and is its test (`tests/data/test_formats.py`).
`videozoo formats` and `docs/formats.md` show all tables; `tasks/formats.py` lists them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

from videozoo.data.format_traits import absent_columns, nearest, traits_of, traits_of_example
from videozoo.data.text import delimiter_of, json_of, table_heading, text_of
from videozoo.errors import DataError, brief, few
from videozoo.safe_json import parse_json

_MOST_LINES = 2  # of an example, in errors
_LONGEST = 100  # characters of a line
_LINE = re.compile(r"\S[^\n]*")  # a line that is not empty

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Format(Generic[S, F]):
    """One row of a table of formats."""

    name: str
    """Name of the format, for messages."""
    looks_like: Callable[[S], bool]
    """Whether a file has this format. The first row that returns true is used."""
    read: F
    """Function that reads the file."""
    example: str
    """A complete tiny file; if files are not text, a description of what they hold."""
    file: str = "example.txt"
    """Name of the example file. With `FOLDER/NAME` the folder is what has the format."""
    about: str = ""
    """One line: what it is, and which data set or tool it is of. `videozoo formats` shows it."""
    source: str = ""
    """Where the format is described: an address, a paper, or a file of the tool."""
    written: str = ""
    """The command that writes such files; empty if they are only read."""

    def __str__(self) -> str:
        """Name and example, as errors show them."""
        lines = self.example.splitlines()[:_MOST_LINES]
        shown = [one if len(one) <= _LONGEST else f"{one[:_LONGEST]}..." for one in lines]
        return "\n      ".join([self.name, *shown])


def format_of(source: S, formats: Iterable[Format[S, F]]) -> Format[S, F] | None:
    """The first format that a file looks like; None if it looks like none of them."""
    return next((one for one in formats if one.looks_like(source)), None)


def unknown(
    problem: str,
    formats: Sequence[Format[Any, Any]],
    advice: str = "",
    *,
    path: Path | None = None,
    kind: type[DataError] = DataError,
) -> DataError:
    """The error for a file of no known format: it names all, and shows the nearest.

    Args:
        problem: The file, and what was found there.
        formats: The table.
        advice: What to do next.
        path: The file or folder, to find the format that is nearest to it.
        kind: What to make.
    """
    names = "; ".join(dict.fromkeys(one.name for one in formats))
    lines = [f"{problem}; not one of: {names}"]
    if path is not None:
        lines += _nearest_lines(path, formats)
    lines.append("`videozoo formats` shows an example of each")
    return kind("\n".join([*lines, advice] if advice else lines))


def _nearest_lines(path: Path, formats: Sequence[Format[Any, Any]]) -> list[str]:
    found = traits_of(path)
    examples = [traits_of_example(one.file, one.example) for one in formats]
    place = nearest(found, examples)
    if place is None:
        return []
    lacks = few(map(repr, absent_columns(found, examples[place])))
    return [f"  nearest: {formats[place]}", *([f"      not in this file: {lacks}"] * bool(lacks))]


class TextFile:
    """A text file, or a folder of text files, whose format is not yet known; it is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def is_folder(self) -> bool:
        """Whether this is a folder; its text is then empty."""
        return os.path.isdir(self.path)  # noqa: PTH112 - False for names that no file can have

    @cached_property
    def text(self) -> str:
        """The whole text; DataError if it cannot be read."""
        return "" if self.is_folder else text_of(self.path)

    @cached_property
    def lines(self) -> list[tuple[int, str]]:
        """Lines that are not empty, without blanks around them, and their numbers from 1."""
        lines = [(number, line.strip()) for number, line in enumerate(self.text.split("\n"), 1)]
        return [(number, line) for number, line in lines if line]

    @cached_property
    def first_line(self) -> str:
        """The first of `lines`; empty if there is none."""
        found = _LINE.search(self.text)
        return "" if found is None else found[0].strip()

    @cached_property
    def heading(self) -> str:
        """The line in which a table names its columns; see `text.table_heading`."""
        return table_heading(self.text)[1]

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns, if this is a table with tabs, semicolons or commas."""
        names = self.heading.split(delimiter_of(self.heading))
        return frozenset(name.strip().strip('"').strip() for name in names)

    @cached_property
    def content(self) -> Any:
        """The value of a JSON file; None for any other, JSON lines included.

        Raises:
            DataError: It is not JSON, though it should be.
        """
        if not self.is_json or self._is_json_lines:
            return None
        return json_of(self.path, self.text)

    @cached_property
    def records(self) -> list[tuple[str, Any]]:
        """Values of JSON lines or of a JSON list, each with its place; empty for any other file.

        Raises:
            DataError: It is not JSON, though it should be.
        """
        if self._is_json_lines:
            return [(f"line {n}", json_of(self.path, line, line=n)) for n, line in self.lines]
        listed = cast("list[Any]", self.content) if isinstance(self.content, list) else []
        return [(f"entry {number}", one) for number, one in enumerate(listed)]

    @property
    def is_json(self) -> bool:
        """Whether the file ends in .json, or begins like JSON."""
        is_called = self.path.suffix.lower() == ".json" and not self.is_folder
        return is_called or self.first_line[:1] in ("{", "[")

    @cached_property
    def _is_json_lines(self) -> bool:
        first = _LINE.search(self.text)
        if not self.is_json or first is None or _LINE.search(self.text, first.end()) is None:
            return False
        try:
            parse_json(first[0])
        except ValueError:
            return False
        return True

    @property
    def seen(self) -> str:
        """What is in the file, in a few words, for messages."""
        if self.is_folder:
            return "a folder"
        if not self.first_line:
            return "empty"
        if not self.is_json:
            return f"its first line is {brief(self.first_line)}"
        what = "JSON Lines" if self._is_json_lines else "JSON"
        one = self.records[0][1] if self.records else self.content
        if isinstance(one, dict):
            keys = few(map(repr, cast("dict[str, Any]", one)), 3)
            return f"{what}, {'objects' if self.records else 'an object'} with {keys or 'no key'}"
        return f"{what}, {brief(one)}"
