"""Show the formats of files that can be read and written: `videozoo formats`, `docs/formats.md`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from videozoo.data.format_groups import GROUPS, FormatGroup, groups_named
from videozoo.data.formats import Format
from videozoo.errors import UsageError

_WIDTH = 100
_INTRODUCTION = """\
# Formats of files

The format of a file is found by what is in it, not by its name. `videozoo formats GROUP` prints
the same as this page; `videozoo check-data FILE` says what is in a file and what is wrong with it.
Each example is complete, and is read by a test.

A video has the name of its file, without the ending: `clips/a b.mp4`, `a b.MP4` and `v_a b` are
the video `a b`. Where folders have files of one name, the folder comes before it: `x__a`, `y__a`.

<!-- made by: python tools/formats_page.py -->
"""


def chosen_groups(word: str | None) -> Sequence[FormatGroup]:
    """The groups that a word of the user names; all without a word.

    Raises:
        UsageError: There is no such group.
    """
    if word is None:
        return GROUPS
    found = groups_named(word.lower())
    if not found:
        known = dict.fromkeys(name for one in GROUPS for name in (one.name, *one.aliases))
        raise UsageError(f"unknown group of formats {word!r}; expected one of: {', '.join(known)}")
    return found


def listing(groups: Sequence[FormatGroup]) -> Iterator[str]:
    """The names of the formats of each group, for the terminal."""
    for group in groups:
        yield f"{group.name}: {group.title}"
        yield from _wrapped(f"for {group.used_by.replace('`', '')}", 2)
        width = max(len(one.name) for one in group.formats)
        for one in group.formats:
            marks = "read, written" if one.written else "read"
            yield f"  {one.name:<{width}}  {marks}"
        yield ""


def details(group: FormatGroup) -> Iterator[str]:
    """Everything about the formats of a group, for the terminal."""
    yield f"{group.name}: {group.title}"
    yield from _wrapped(f"read: {group.reads}", 2)
    yield from _wrapped(f"for {group.used_by.replace('`', '')}", 2)
    for one in group.formats:
        yield ""
        yield one.name
        for line in (one.about, one.written and f"written by: {one.written}"):
            yield from _wrapped(line.replace("`", ""), 2)
        if one.source:
            yield f"  source: {one.source}"
        yield f"  {one.file}"
        yield from (f"    {line}" for line in one.example.splitlines())


def as_json(groups: Sequence[FormatGroup]) -> list[dict[str, Any]]:
    """The same as data."""
    return [
        {
            "group": group.name,
            "format": one.name,
            "about": one.about,
            "source": one.source,
            "reads": group.reads,
            "written_by": one.written or None,
            "file": one.file,
            "example": one.example,
        }
        for group in groups
        for one in group.formats
    ]


def markdown() -> str:
    """The page `docs/formats.md`."""
    parts = [_INTRODUCTION]
    for group in GROUPS:
        parts.append(f"## {group.title}\n\n{_filled(f'Read: {group.reads}.')}\n")
        parts.append(f"{_filled(f'For {group.used_by}.')}\n")
        parts += [_section(one) for one in group.formats]
    return "\n".join(parts)


def _section(one: Format[Any, Any]) -> str:
    written = one.written if "`" in one.written else f"`{one.written}`"
    facts = [one.about and f"{one.about.rstrip('.')}.", one.written and f"Written by {written}."]
    if one.source:
        facts.append(f"Source: {one.source}" if "://" not in one.source else f"<{one.source}>")
    text = "".join(f"{_filled(fact)}\n\n" for fact in facts if fact)
    example = one.example.rstrip("\n")
    return f"### {one.name}\n\n{text}`{one.file}`\n\n```\n{example}\n```\n"


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_long_words=False, break_on_hyphens=False)


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + 2),
        break_long_words=False,
        break_on_hyphens=False,
    )
