"""Parse untrusted JSON: bounded in depth and digits, with one kind of error."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, cast

MOST_DEPTH = 64
"""Levels of lists and objects. No real file needs as many."""
_MOST_DIGITS = 19  # integers of 64 bits have no more
_LONG_NUMBER = re.compile(r"[0-9]{20}")


def parse_json(
    text: str | bytes, *, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None
) -> Any:
    """Return the value that a JSON text describes.

    Args:
        text: Bytes are UTF-8.
        pairs_hook: From the (key, value) pairs of an object, in order, to its value; by default
            `dict`.

    Raises:
        ValueError: The text is not JSON, is nested too deep, or holds a whole number of more than
            64 bits.

    >>> parse_json('{"frames": [1, 2]}')
    {'frames': [1, 2]}
    >>> parse_json("[" * 100_000)
    Traceback (most recent call last):
    ValueError: nested too deep; expected at most 64 lists and objects in one another
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8")
    whole = _whole if _LONG_NUMBER.search(text) else None  # a call per number takes time
    try:
        content = json.loads(text, parse_int=whole, object_pairs_hook=pairs_hook)
    except (RecursionError, MemoryError):
        raise ValueError(_too_deep()) from None
    if text.count("[") + text.count("{") > MOST_DEPTH and _is_deep(content):
        raise ValueError(_too_deep())
    return content


def _whole(digits: str) -> int:
    if len(digits.lstrip("-")) > _MOST_DIGITS:
        raise ValueError(f"{digits[:12]}...: a number of {len(digits)} digits")
    return int(digits)


def _is_deep(content: Any) -> bool:
    level = [content]
    for _ in range(MOST_DEPTH):
        level = [
            inner for outer in level for inner in _inside(outer) if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True


def _inside(outer: Any) -> Any:
    return cast(dict[str, Any], outer).values() if isinstance(outer, dict) else outer


def _too_deep() -> str:
    return f"nested too deep; expected at most {MOST_DEPTH} lists and objects in one another"
