"""Which known format an unknown file is nearest to: by kind of file, keys or columns, and ending.

The rule, in points: up to 4 for keys or names of columns that both have, 2 for the same kind of
file, 1 for the same number of columns, 1 for the same ending. Without two points nothing is near.
Folders and files that are not text have only their endings.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

from videozoo.safe_json import parse_json
from videozoo.safe_text import marked_encoding

_MOST_BYTES = 1 << 20  # of a file; its beginning tells what it is
_MOST_FILES = 200  # of a folder
_MOST_INSIDE = 5  # values of a JSON object or list that are looked at
_MOST_KEYS = 40  # an object with more is a table of videos: its keys are names
_NEAR = 2.0  # points
_BINARY = frozenset(
    (".npy", ".npz", ".h5", ".hdf5", ".pkl", ".pickle", ".pt", ".pth", ".tfrecord", ".tfrecords")
)
_KEY = re.compile(r'"([^"\\\n]{1,60})"\s*:')
_TAG = re.compile(r"<([A-Za-z_][\w.:-]*)((?:\s+[\w.:-]+\s*=\s*(?:\"[^\"]*\"|'[^']*'))*)")
_ATTRIBUTE = re.compile(r"([\w.:-]+)\s*=")
_DELIMITERS = ("\t", ";", ",", "|")
_NUMBER = re.compile(r"[-+]?[\d.:]+(e[-+]?\d+)?", re.IGNORECASE)


@dataclass(frozen=True)
class Traits:
    """What can be said of a file without knowing its format."""

    kind: str
    """Such as `JSON object`, `XML`, `text with ','`, `binary`, `folder`."""
    endings: frozenset[str] = frozenset()
    """Ending of the file, in lower case; of a folder, the endings inside it."""
    keys: frozenset[str] = frozenset()
    """Keys of JSON, tags of XML, names of columns, in lower case."""
    columns: int = 0
    """Columns of the first line."""
    is_headed: bool = False
    """The first line names the columns."""


def traits_of(path: Path) -> Traits:
    """Look at a file or folder; one that cannot be read has the kind `unknown`."""
    try:
        if path.is_dir():
            inside = islice((one for one in path.rglob("*") if one.is_file()), _MOST_FILES)
            return Traits("folder", frozenset(_ending(one) for one in inside))
        with path.open("rb") as file:
            head = file.read(_MOST_BYTES)
    except OSError:
        return Traits("unknown")
    encoding = marked_encoding(head)
    if b"\0" in head and encoding is None:
        return Traits("binary", frozenset({_ending(path)}))
    return _traits(head.decode(encoding or "utf-8", "replace"), _ending(path))


def traits_of_example(name: str, text: str) -> Traits:
    """The traits of the example of a format.

    Args:
        name: Name of the example file; with `FOLDER/NAME` the folder has the format.
        text: What it holds.

    >>> traits_of_example("a.csv", "video,start\\na,1.0").keys == {"video", "start"}
    True
    """
    ending = _ending(Path(name))
    if "/" in name:
        return Traits("folder", frozenset({ending}))
    if ending in _BINARY:
        return Traits("binary", frozenset({ending}))
    return _traits(text, ending)


def nearest(found: Traits, examples: Sequence[Traits]) -> int | None:
    """Number of the example that is nearest; None if none is near. The first of equals counts."""
    points = [_points(found, one) for one in examples]
    best = max(points, default=0.0)
    return points.index(best) if best >= _NEAR else None


def absent_columns(found: Traits, example: Traits) -> list[str]:
    """Columns of the example that a table lacks, if both tables have some in common."""
    if not (found.is_headed and example.is_headed and found.keys & example.keys):
        return []
    return sorted(example.keys - found.keys)


def _points(found: Traits, example: Traits) -> float:
    has_ending = bool((found.endings & example.endings) - {""})
    if found.kind in ("folder", "binary"):  # nothing but the endings tells such apart
        return 3.0 * (has_ending and found.kind == example.kind)
    points = float(has_ending)
    if found.keys and example.keys:
        shared = len(found.keys & example.keys)
        points += 4 * 2 * shared / (len(found.keys) + len(example.keys))
    if found.kind == example.kind:
        points += 2
        points += found.columns == example.columns > 1
        points += found.is_headed == example.is_headed > 0
    return points


def _ending(path: Path) -> str:
    return path.suffix.lower()


def _traits(text: str, ending: str) -> Traits:
    endings, start = frozenset({ending}), text.lstrip("\ufeff \t\r\n")
    first = start.partition("\n")[0].strip()
    if start[:1] in ("{", "["):
        return Traits(_json_kind(start, first), endings, _json_keys(start, first))
    if start[:1] == "<":
        return Traits("XML", endings, frozenset(_xml_words(start)))
    delimiter = next((one for one in _DELIMITERS if one in first), " ")
    cells = _cells(first, delimiter)
    is_headed = delimiter != " " and len(cells) > 1 and not any(map(_is_value, cells))
    keys = frozenset(cell.lower() for cell in cells) if is_headed else frozenset[str]()
    kind = f"text with {delimiter!r}" if first else "empty"
    return Traits(kind, endings, keys, len(cells), is_headed)


def _cells(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter), [])]
    except csv.Error:  # no column is that long
        return []


def _is_value(cell: str) -> bool:
    """Whether a cell is a number or a file, so that the line is no heading."""
    return not cell or bool(_NUMBER.fullmatch(cell) or re.search(r"[./\\#]", cell))


def _json_kind(text: str, first: str) -> str:
    if text[0] == "[":
        return "JSON list"
    rest = text.partition("\n")[2].strip()
    return "JSON Lines" if rest[:1] == "{" and _parsed(first) is not None else "JSON object"


def _json_keys(text: str, first: str) -> frozenset[str]:
    """Keys of the first values; of JSON that is cut or damaged, whatever looks like a key."""
    content = _parsed(text)
    if content is None:
        content = _parsed(first)
    if content is None:
        return frozenset(key.lower() for key in islice(_KEY.findall(text), 4 * _MOST_KEYS))
    return frozenset(key.lower() for key in _keys(content))


def _parsed(text: str) -> Any:
    try:
        return parse_json(text)
    except (ValueError, RecursionError):
        return None


def _keys(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        held = cast("dict[str, Any]", content)
        if len(held) <= _MOST_KEYS:
            yield from held
        for inner in islice(held.values(), _MOST_INSIDE if len(held) > _MOST_KEYS else None):
            yield from _keys(inner)
    elif isinstance(content, list):
        for inner in islice(cast("list[Any]", content), _MOST_INSIDE):
            yield from _keys(inner)


def _xml_words(text: str) -> Iterator[str]:
    for tag, attributes in islice(_TAG.findall(text), 4 * _MOST_KEYS):
        yield tag.lower()
        yield from (name.lower() for name in _ATTRIBUTE.findall(attributes))
