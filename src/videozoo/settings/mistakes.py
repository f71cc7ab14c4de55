"""What is wrong with the values of settings, in plain words: the key, what was expected and got."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from videozoo.errors import brief, few

_UNKNOWN = ("extra_forbidden", "invalid_key")
_OWN_WORDS = ("value_error", "assertion_error")
"""Errors that a validator of a settings class words itself."""
_NOUNS = {
    bool: ("true or false", "values that are true or false"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("text", "text values"),
    Path: ("one path", "paths"),
}
"""How one value of a type is called, and several."""


@dataclass(frozen=True)
class Mistake:
    """One wrong value."""

    key: str
    """Dotted, as in the YAML file: `data.augment.resize`."""
    text: str
    """What was expected, and what was got."""


def mistakes_of(settings: type[BaseModel], error: ValidationError, at: str = "") -> list[Mistake]:
    """What pydantic found, in our words; mistakes of one value are told once.

    Args:
        settings: The class whose check failed.
        error: What it raised.
        at: Dotted key of the section, before all keys.

    >>> from videozoo.settings.clips import ClipData
    >>> try:
    ...     ClipData.model_validate({"train": ["a", "b"], "flip": 2})
    ... except ValidationError as error:
    ...     for mistake in mistakes_of(ClipData, error, "data"):
    ...         print(f"{mistake.key}: {mistake.text}")
    data.train: expected one path or null, got ['a', 'b']
    data.flip: expected a number from 0 to 1, got 2
    """
    details = error.errors()
    found = [_mistake(settings, detail, at) for detail in details if not _follows(detail, details)]
    return list(dict.fromkeys(found))


def nearest(word: str, known: Iterable[str], where: str = "") -> str:
    """The known word that was probably meant, else all of them.

    Args:
        word: What was written.
        known: What could have been meant.
        where: What the words belong to; empty where that is clear.

    >>> nearest("epoch", ["epochs", "seed"]), nearest("x", ["epochs", "seed"], "train")
    ("did you mean 'epochs'?", 'known in train: epochs, seed')
    """
    words = list(known)
    close = get_close_matches(word, words, n=1)
    place = f" in {where}" if where else ""
    return f"did you mean {close[0]!r}?" if close else f"known{place}: {', '.join(words)}"


@dataclass(frozen=True)
class _Place:
    """Where a mistake is: its key, and the type of the value there."""

    key: str
    of: Any
    limits: Mapping[str, Any]
    section: type[BaseModel]
    """The innermost settings on the way."""
    section_key: str


def _mistake(settings: type[BaseModel], detail: ErrorDetails, at: str) -> Mistake:
    kind, loc = detail["type"], detail["loc"]
    if kind in _UNKNOWN:
        place = _place(settings, loc[:-1], at)
        hint = nearest(str(loc[-1]), place.section.model_fields, place.section_key)
        return Mistake(_joined(place.key, loc[-1]), f"unknown key; {hint}")
    place = _place(settings, loc, at)
    if kind == "missing" and isinstance(loc[-1], str):
        return Mistake(place.key, "required")
    if kind in _OWN_WORDS:
        text = detail["msg"].partition(", ")[2]
        return Mistake(
            place.key, text if _is_section(place.of) else f"{text}, got {_shown(detail['input'])}"
        )
    if kind in ("missing", "too_long", "too_short"):  # the length of a list, told of the whole
        place = _place(settings, loc[:-1] if kind == "missing" else loc, at)
    words = _expected(place.of, place.limits)
    if kind == "finite_number":
        words = words.replace("a number", "a finite number", 1)
    words = words or detail["msg"].removeprefix("Input should be ").removeprefix("Input ")
    got = detail["input"]
    hint = (
        f"; one value is written as [{got}]"
        if kind == "tuple_type" and _may_be_one(place.of, got)
        else ""
    )
    return Mistake(place.key, f"expected {words}, got {_shown(got)}{hint}")


def _follows(detail: ErrorDetails, others: Iterable[ErrorDetails]) -> bool:
    """Whether a list is too short only because its items are wrong, which is told anyway."""
    loc, length = detail["loc"], len(detail["loc"])
    is_short = detail["type"] == "too_short"
    return is_short and any(len(o["loc"]) > length and o["loc"][:length] == loc for o in others)


def _place(settings: type[BaseModel], loc: Iterable[int | str], at: str) -> _Place:
    """Follow a location through settings, lists and mappings.

    Pydantic also names the member of a union that it tried, which is no part of the key.
    """
    of: Any = settings
    key, limits, section, section_key = at, dict[str, Any](), settings, at
    for part in loc:
        of, limits = _inside(of, limits)
        if _is_section(of) and part in of.model_fields:
            of, limits = _of_field(of.model_fields[str(part)])
        elif get_origin(of) is tuple and isinstance(part, int):
            items = get_args(of)
            of = items[0] if len(items) == 2 and items[1] is Ellipsis else items[part]
            limits = {}
        elif get_origin(of) in (list, dict):
            of, limits = get_args(of)[-1], {}
        else:
            continue
        key = _joined(key, part)
        inner, _ = _inside(of, {})
        if _is_section(inner):
            section, section_key = inner, key
    of, limits = _plain(of, limits)
    return _Place(key, of, limits, section, section_key)


def _of_field(field: FieldInfo) -> tuple[Any, dict[str, Any]]:
    return field.annotation, _limits(field.metadata)


def _limits(metadata: Iterable[Any]) -> dict[str, Any]:
    """Ranges and lengths among what stands beside a type."""
    names = ("ge", "gt", "le", "lt", "min_length", "max_length")
    found: dict[str, Any] = {}
    for each in metadata:
        if isinstance(each, FieldInfo):
            found |= _limits(each.metadata)
        values = {name: getattr(each, name, None) for name in names}
        found |= {name: value for name, value in values.items() if value is not None}
    return found


def _plain(of: Any, limits: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """A type without `Annotated`, whose limits are added."""
    known = dict(limits)
    while get_origin(of) is Annotated:
        of, *metadata = get_args(of)
        known = _limits(metadata) | known
    return of, known


def _inside(of: Any, limits: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The type that a location goes into: without None, if only one type is left then."""
    of, known = _plain(of, limits)
    members = [member for member in _members(of) if member is not type(None)]
    return (members[0] if len(members) == 1 else of), known


def _is_section(of: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(of, type) and issubclass(of, BaseModel)


def _may_be_one(of: Any, value: Any) -> bool:
    """Whether a value without its list is meant as a list of one."""
    any_length = any(Ellipsis in get_args(member) for member in _members(of))
    return any_length and isinstance(value, str | int | float) and not isinstance(value, bool)


def _members(of: Any) -> list[Any]:
    """The types of a union; one type alone is its own."""
    of, _ = _plain(of, {})
    if get_origin(of) in (Union, types.UnionType):
        return [member for each in get_args(of) for member in _members(each)]
    return [of]


def _expected(of: Any, limits: Mapping[str, Any]) -> str:
    """What a value of this type is called; empty for types that no setting of ours has."""
    members = _members(of)
    null = " or null" if type(None) in members else ""
    members = [member for member in members if member is not type(None)]
    choices = [value for each in members if get_origin(each) is Literal for value in get_args(each)]
    members = [member for member in members if get_origin(member) is not Literal]
    texts = [*([_one_of(choices)] if choices else []), *(_noun(each, limits) for each in members)]
    return "" if "" in texts else " or ".join(texts) + null


def _noun(of: Any, limits: Mapping[str, Any]) -> str:
    if of in _NOUNS:
        return _NOUNS[of][0] + _range(limits)
    if _is_section(of):
        return f"keys and values ({few(of.model_fields, 8)})"
    if get_origin(of) is dict or of is dict:
        return "keys and values"
    if get_origin(of) in (tuple, list):
        items = [item for item in get_args(of) if item is not Ellipsis]
        count = len(items) if Ellipsis not in get_args(of) and get_origin(of) is tuple else 0
        return f"a list of {_several(items, count)}{_length(limits)}"
    return ""


def _several(items: list[Any], count: int) -> str:
    """Items of a list by their plural; `count` of them if above 0."""
    of, limits = _plain(items[0], {}) if items else (Any, {})
    number = f"{count} " if count else ""
    if any(_plain(item, {})[0] != of for item in items):
        return f"{count}: {', '.join(_expected(item, {}) or 'a value' for item in items)}"
    if of in _NOUNS:
        return f"{number}{_NOUNS[of][1]}{_range(limits)}"
    if get_origin(of) is Literal:
        return f"{number or 'any of '}{', '.join(map(_shown, get_args(of)))}"
    if _is_section(of):
        return f"{number}entries with keys ({few(of.model_fields, 8)})"
    return f"{number}values"


def _range(limits: Mapping[str, Any]) -> str:
    """A range in words.

    >>> _range({"ge": 1}), _range({"ge": 0.0, "le": 1}), _range({"gt": 0}), _range({})
    (' of at least 1', ' from 0 to 1', ' above 0', '')
    """
    low, above, high, below = (limits.get(name) for name in ("ge", "gt", "le", "lt"))
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}"
    lower = f" of at least {low:g}" if low is not None else ""
    lower = f" above {above:g}" if above is not None else lower
    upper = f" of at most {high:g}" if high is not None else ""
    upper = f" below {below:g}" if below is not None else upper
    return " and".join(filter(None, (lower, upper)))


def _length(limits: Mapping[str, Any]) -> str:
    least, most = limits.get("min_length"), limits.get("max_length")
    texts = [f"at least {least}" * (least is not None), f"at most {most}" * (most is not None)]
    said = " and ".join(filter(None, texts))
    return f", {said}" if said else ""


def _one_of(values: Iterable[Any]) -> str:
    *others, last = map(_shown, values)
    return f"{', '.join(others)} or {last}" if others else last


def _shown(value: Any) -> str:
    """A value as a YAML file has it."""
    if value is None or isinstance(value, bool):
        return {None: "nothing", True: "true", False: "false"}[value]
    return brief(value)


def _joined(key: str, part: int | str) -> str:
    return f"{key}.{part}" if key else str(part)
