"""Files of class names, in the order of the class numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from videozoo.data.text import Table, integer, json_of, text_of
from videozoo.errors import DataError, counted


def read_class_names(path: Path) -> list[str]:
    """Read class names in order of their numbers.

    These files are known:

    - a JSON list of names, or a JSON object from number to name or from name to number, as the
      labels of Something-Something v2;
    - the vocabulary of Diving48, a JSON list with the four parts of each name, joined by blanks;
    - the vocabulary CSV of YouTube-8M;
    - text with one name per line. A number may stand before or after the name: `NAME NUMBER` as the
      tool `generate_label.py` of the 2019 library writes it, `1 ApplyEyeMakeup` as in UCF101, or
      `clapping,0`. If the first line of a .csv file is `action` (MMAction2), it is a heading.

    Numbers start at 0 or 1.

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
    elif (rows := _vocabulary_rows(path, text)) is not None:
        names, first = _names_of_vocabulary(path, rows), 0
    else:
        lines = [line for line in map(str.strip, text.splitlines()) if line]
        if lines[:1] == ["action"] and path.suffix.lower() == ".csv":
            lines = lines[1:]
        names, first = _names_in_lines(path, lines)
    if not names:
        raise DataError(f"{path}: no class names in this file")
    return names, first


def _names_from_json(path: Path, text: str) -> tuple[list[str], int | None]:
    content = json_of(path, text)
    if isinstance(content, list):
        items = cast(list[Any], content)
        if all(isinstance(item, str | int) and not isinstance(item, bool) for item in items):
            return _names_in_lines(path, [str(item).strip() for item in items])
        joined = [_joined(item) for item in items]
        if all(joined):
            return joined, None
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


def _joined(parts: Any) -> str:
    """A name from its parts; empty if these are not several texts."""
    listed = cast("list[Any]", parts) if isinstance(parts, list) else []
    if len(listed) < 2 or not all(isinstance(part, str) for part in listed):
        return ""
    return " ".join(filter(None, listed))


def _names_in_lines(path: Path, lines: Sequence[str]) -> tuple[list[str], int | None]:
    """Names, and the number of the first name if every line has a number."""
    if all(re.fullmatch(r'".*",?', line) for line in lines):
        lines = [line.rstrip(",")[1:-1] for line in lines]
    for some in (lines, lines[1:]):  # the first line may be a heading
        for numbered in (_number_first, _number_last):
            pairs = [pair for line in some if (pair := numbered(line)) is not None]
            # if the names differ in their numbers only, these numbers are part of the names
            if len(pairs) < max(2, len(some)) or len({name for _, name in pairs}) < len(pairs):
                continue
            found = _in_order(pairs)
            if found is not None:
                return found
            highest = max(number for number, _ in pairs)
            if some is lines and highest < 2 * len(pairs):
                raise DataError(
                    f"{path}: {counted(len(pairs), 'class')} are numbered up to {highest}; "
                    "expected the numbers 0, 1, 2, ... without gaps, or names alone"
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
    """Number and name of a class; None unless a blank, comma, semicolon or colon parts them."""
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


def _vocabulary_rows(path: Path, text: str) -> Table | None:
    """Rows of the vocabulary CSV of YouTube-8M; None for any other file."""
    columns = text.partition("\n")[0].strip().replace('"', "").split(",")
    return Table(path, text, skip_blanks=False) if {"Index", "Name"} <= set(columns) else None


def _names_of_vocabulary(path: Path, rows: Table) -> list[str]:
    """Names by `Index`; a class without a name gets its knowledge graph id, or its number."""
    named: dict[int, str] = {}
    for row in cast("Iterable[Mapping[str, str | None]]", rows):
        index = integer((row["Index"] or "").strip())
        if index is None or index in named:
            raise DataError(
                f"{path}:{rows.line_num}: Index {row['Index']!r}, expected a new number in each row"
            )
        name = (row["Name"] or "").strip() or (row.get("KnowledgeGraphId") or "").strip()
        named[index] = name or f"class {index}"
    if not named or sorted(named) != list(range(len(named))):
        raise DataError(f"{path}: the column Index must hold 0, 1, 2, ... without gaps")
    return [named[index] for index in range(len(named))]
