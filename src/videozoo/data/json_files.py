"""JSON files of data sets: no key of an object twice, and errors that show the place."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from videozoo.errors import DataError
from videozoo.safe_json import parse_json

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
