"""Tables of file formats: how a file is recognised, how it is read, and what one looks like.

Each room that reads files of others keeps one table. A new format is one function and one row; its
example is its documentation, the line that errors show, and its test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from videozoo.data.text import json_of, text_of
from videozoo.errors import DataError

_MOST_LINES = 2  # of an example
_LONGEST_LINE = 100

S = TypeVar("S")
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Format(Generic[S, F]):
    """One row of a table of formats."""

    name: str
    """For people."""
    looks_like: Callable[[S], bool]
    """Whether a file is of this format; the first row that says so is taken."""
    read: F
    """What reads it."""
    example: str
    """A whole tiny file; of files that are not text, what is in one."""
    file: str = "example.txt"
    """What the file of the example is called. `FOLDER/NAME`: the format is the folder."""

    def __str__(self) -> str:
        """Name and example, as errors show them."""
        lines = [line[:_LONGEST_LINE] for line in self.example.splitlines()[:_MOST_LINES]]
        return f"{self.name}: " + f"\n    {' ' * len(self.name)}".join(lines)


def format_of(source: S, formats: Iterable[Format[S, F]]) -> Format[S, F] | None:
    """The first format that a file looks like; None where it looks like none of them."""
    return next((one for one in formats if one.looks_like(source)), None)


def unknown(problem: str, formats: Sequence[Format[Any, Any]], advice: str = "") -> DataError:
    """The error for a file of no known format, which lists those that are known.

    Args:
        problem: The file, and what was found there.
        formats: All of a table.
        advice: What to do next.
    """
    known = "".join(f"\n  {one}" for one in formats)
    return DataError(f"{problem}; known are:{known}" + (f"\n{advice}" if advice else ""))


class TextFile:
    """A file of text, or a folder of such files, whose format is to be found; it is read once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def is_folder(self) -> bool:
        """Whether this is a folder; its text is then empty."""
        return self.path.is_dir()

    @cached_property
    def text(self) -> str:
        """All of it; a DataError where it cannot be read."""
        return "" if self.is_folder else text_of(self.path)

    @cached_property
    def first_line(self) -> str:
        """The first line that is not empty, without blanks around it."""
        return self.text.lstrip().partition("\n")[0].strip()

    @cached_property
    def columns(self) -> frozenset[str]:
        """Names of the columns, where this is a CSV with commas."""
        return frozenset(column.strip().strip('"') for column in self.first_line.split(","))

    @cached_property
    def is_json(self) -> bool:
        """Whether it is called JSON, or begins as JSON does."""
        is_called = self.path.suffix.lower() == ".json" and not self.is_folder
        return is_called or self.text.lstrip()[:1] in ("{", "[")

    @cached_property
    def content(self) -> Any:
        """The value of a JSON file; None for any other.

        Raises:
            DataError: It is not JSON, though it should be.
        """
        return json_of(self.path, self.text) if self.is_json else None
