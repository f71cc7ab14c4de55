"""What a bundle says of itself, `bundle.json`: read value by value, each within its bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from videozoo.errors import WeightsError, brief

NAME = "bundle.json"
FORMAT = "videozoo-bundle"
VERSION = 1
MOST_BYTES = 1 << 26
"""Of the file; words and class names need thousands."""
MOST = 2**31 - 1
_MOST_AT_ONCE = 1 << 31
"""Bytes of the frames that are computed with at once; usual models need a hundredth."""


class Section:
    """Keys and values, checked as they are read."""

    def __init__(self, values: Any, where: str) -> None:
        """Take a part of the file; `where` names it in errors.

        Raises:
            WeightsError: It holds no keys and values.
        """
        if not isinstance(values, dict):
            raise WeightsError(f"{where}: holds {brief(values)}, expected keys and values")
        self._values = cast("dict[str, Any]", values)
        self._where = where

    def _refused(self, key: str, expected: str) -> WeightsError:
        found = brief(self._values[key]) if key in self._values else "not there"
        return WeightsError(
            f"{self._where}: {key} is {found}, expected {expected}; export it again"
        )

    def __str__(self) -> str:
        return self._where

    def has(self, key: str) -> bool:
        """Whether a key has a value other than null."""
        return self._values.get(key) is not None

    def text(self, key: str) -> str:
        """A text."""
        value = self._values.get(key)
        if not isinstance(value, str):
            raise self._refused(key, "text")
        return value

    def choice(self, key: str, *known: str) -> Any:
        """One of some words."""
        if self._values.get(key) not in known:
            raise self._refused(key, " or ".join(known))
        return self._values[key]

    def flag(self, key: str) -> bool:
        """True or false."""
        value = self._values.get(key)
        if not isinstance(value, bool):
            raise self._refused(key, "true or false")
        return value

    def whole(self, key: str, low: int = 0, high: int = MOST) -> int:
        """A whole number within bounds."""
        value = self._values.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self._refused(key, f"a whole number from {low} to {high}")
        return value

    def number(self, key: str, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number within bounds."""
        value: Any = self._values.get(key)
        is_one = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_one or not math.isfinite(value) or not low <= value <= high:
            raise self._refused(key, f"a number from {low:g} to {high:g}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._values.get(key)
        if not isinstance(value, list) or not all(
            isinstance(one, str) for one in cast("list[Any]", value)
        ):
            raise self._refused(key, "a list of texts")
        return tuple(cast("list[str]", value))

    def wholes(self, key: str, count: int | None, low: int = 1, high: int = MOST) -> list[int]:
        """A list of whole numbers within bounds; None: of any length up to 32."""
        value = self._values.get(key)
        fits = isinstance(value, list) and all(
            isinstance(one, int) and not isinstance(one, bool) and low <= one <= high
            for one in cast("list[Any]", value)
        )
        length = len(cast("list[int]", value)) if fits else -1
        if not fits or (length != count if count is not None else length > 32):
            raise self._refused(key, f"{count or 'up to 32'} whole numbers from {low} to {high}")
        return cast("list[int]", value)

    def numbers(self, key: str, count: int) -> list[float]:
        """A list of so many finite numbers."""
        value = self._values.get(key)
        if (
            not isinstance(value, list)
            or len(cast("list[Any]", value)) != count
            or not all(
                isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
                for one in cast("list[Any]", value)
            )
        ):
            raise self._refused(key, f"{count} numbers")
        return cast("list[float]", value)

    def positive_numbers(self, key: str, most: int = 64) -> list[float]:
        """A list of up to so many finite numbers above 0, at least one."""
        value = self._values.get(key)
        count = len(cast("list[Any]", value)) if isinstance(value, list) else 0
        if not 1 <= count <= most or min(self.numbers(key, count)) <= 0:
            raise self._refused(key, f"1 to {most} numbers above 0")
        return self.numbers(key, count)

    def refuse_huge(self, *sizes: int) -> None:
        """Refuse a batch of frames of these sizes, in bytes, that no machine should be asked for.

        Raises:
            WeightsError: It is one.
        """
        if math.prod(sizes) > _MOST_AT_ONCE:
            raise WeightsError(
                f"{self._where}: asks for {' x '.join(map(str, sizes))} bytes of frames at once; "
                "export it again with a smaller batch_size"
            )

    def section(self, key: str) -> Section:
        """Keys and values below a key."""
        return Section(self._values.get(key), f"{self._where}: {key}")

    def sections(self, key: str, most: int = 64) -> Sequence[Section]:
        """A list of them, at least one."""
        value = self._values.get(key)
        if not isinstance(value, list) or not 1 <= len(cast("list[Any]", value)) <= most:
            raise self._refused(key, f"a list of 1 to {most} entries")
        items = cast("list[Any]", value)
        return [Section(one, f"{self._where}: {key} {n}") for n, one in enumerate(items)]
