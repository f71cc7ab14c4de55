"""Parse untrusted YAML: plain values, bounded in depth, size and digits, one kind of error.

YAML 1.1 turns plain text into other values: `2020-01-01` into a date, `59:59` into a number of base
60. Here they stay text. A repeated key is refused; YAML would silently keep the last one.
"""

from __future__ import annotations

from typing import Any, cast

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

MOST_DEPTH = 32
"""Levels of lists and mappings."""
MOST_VALUES = 10_000
"""Values of one text; values that aliases repeat count each time."""
MOST_CHARACTERS = 200_000
"""Characters of one text. A configuration needs thousands."""
_MOST_BITS = 63
_MOST_SHOWN = 40

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_MEANT = {"int": "a whole number of 64 bits", "float": "a number", "bool": "true or false"}
_BOOL = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_DEEP = f"nested too deep; expected at most {MOST_DEPTH} lists and mappings in one another"
_MANY = f"more than {MOST_VALUES:,} values; do aliases repeat one another?"


def parse_yaml(text: str) -> Any:
    """Return the value that a YAML text describes: text, numbers, lists, and mappings from text.

    Raises:
        ValueError: The text is not YAML; holds tags that make objects, keys that are not text or
            are there twice, lists or mappings that contain themselves, whole numbers of more than
            64 bits; or is larger than the bounds above. The line is named.

    >>> parse_yaml("{since: 2020-01-01, sizes: [1, 2.5]}")
    {'since': '2020-01-01', 'sizes': [1, 2.5]}
    >>> parse_yaml("epochs: 1\\nepochs: 2")
    Traceback (most recent call last):
    ValueError: line 2: the key 'epochs' is there twice
    """
    if len(text) > MOST_CHARACTERS:
        raise ValueError(f"{len(text):,} characters, expected at most {MOST_CHARACTERS:,}")
    try:
        loader = _Composer(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        problem = f"{error.problem} ({error.context})" if error.context else str(error.problem)
        raise _refused(error.problem_mark or error.context_mark, problem) from None
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from None
    return None if node is None else _Reader().value(node, ())


class _Composer(yaml.SafeLoader):
    """Makes the node tree of a text; `_Reader`, not PyYAML, gives the values."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._count = 0

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        """Stop early if the text is larger than allowed."""
        self._depth += 1
        self._count += 1
        if self._depth > MOST_DEPTH + 1:
            raise _refused(self.peek_event().start_mark, _DEEP)
        if self._count > MOST_VALUES:
            raise _refused(self.peek_event().start_mark, _MANY)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Reader:
    """Turns the tree of one text into values."""

    def __init__(self) -> None:
        self._count = 0

    def value(self, node: Node, around: tuple[Node, ...]) -> Any:
        """The value of a node inside `around`; aliases may lead back to one of them."""
        self._count += 1
        if node in around:
            raise _refused(node.start_mark, "a list or mapping that contains itself")
        if len(around) > MOST_DEPTH:
            raise _refused(node.start_mark, _DEEP)
        if self._count > MOST_VALUES:
            raise _refused(node.start_mark, _MANY)
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, ScalarNode):
            return _scalar(node, kind)
        inside = (*around, node)
        if isinstance(node, SequenceNode) and kind == "seq":
            return [self.value(child, inside) for child in node.value]
        if isinstance(node, MappingNode) and kind == "map":
            return self._mapping(node, inside)
        raise _unknown_tag(node)

    def _mapping(self, node: MappingNode, inside: tuple[Node, ...]) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        seen: set[str] = set()
        for key_node, value_node in cast("list[tuple[Node, Node]]", node.value):
            key = _key(key_node)
            if key in seen:
                raise _refused(key_node.start_mark, f"the key {_shown(key)} is there twice")
            seen.add(key)
            value = self.value(value_node, inside)
            if key_node.tag == _MERGE:
                several = value if isinstance(value, list) else [value]
                for one in reversed(several):
                    if not isinstance(one, dict):
                        raise _refused(value_node.start_mark, "<< takes mappings only")
                    merged |= cast("dict[str, Any]", one)
            else:
                own[key] = value
        return merged | own


def _key(node: Node) -> str:
    if not isinstance(node, ScalarNode):
        raise _refused(node.start_mark, "a key that is a list or a mapping, expected text")
    if node.tag not in (f"{_TAG}str", _MERGE):
        raise _refused(node.start_mark, f"the key {_shown(node.value)} is not text; quote it")
    return node.value


def _scalar(node: ScalarNode, kind: str) -> Any:
    text: str = node.value
    plain = text.replace("_", "").lower()
    if kind in ("str", "timestamp", "value") or (kind in ("int", "float") and ":" in text):
        return text
    try:
        if kind == "int":
            return _whole(plain)
        if kind == "float":
            return float(plain.replace(".inf", "inf").replace(".nan", "nan"))
        if kind == "bool":
            return _BOOL[text.lower()]
    except (ValueError, KeyError):
        raise _refused(node.start_mark, f"{_shown(text)} is not {_MEANT[kind]}") from None
    if kind == "null":
        return None
    raise _unknown_tag(node)


def _whole(text: str) -> int:
    digits = text.lstrip("+-")
    base = {"0b": 2, "0x": 16}.get(digits[:2], 8 if digits.startswith("0") else 10)
    if len(digits) > _MOST_BITS + 2 or abs(number := int(text, base)).bit_length() > _MOST_BITS:
        raise ValueError("more than 64 bits")
    return number


def _unknown_tag(node: Node) -> ValueError:
    name = node.tag.replace(_TAG, "!!")
    return _refused(node.start_mark, f"the tag {_shown(name)}, expected plain values without tags")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}...")


def _refused(mark: yaml.Mark | None, problem: str) -> ValueError:
    return ValueError(problem if mark is None else f"line {mark.line + 1}: {problem}")
