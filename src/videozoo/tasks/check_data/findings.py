"""What the checks of annotations, sentences, features and records find; shown, and as JSON.

With `--json FILE` these checks write one object: `videozoo`, `kind` (such as "check-segments"),
`format` (1), `parts` (what was asked for: files, or parts of a configuration) and `beside` (what
these were compared with). Each of these has `name`, `kind`, its counts, and lists of lines:
`problems` (cannot be used), `notes`, `strangest` (entries to look at, with their places).
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo import __version__
from videozoo.errors import DataError, RunError, UsageError, counted, few
from videozoo.safe_write import written_aside
from videozoo.tasks.check_data.output import say
from videozoo.tasks.check_data.parts import CheckRequest

MOST_STRANGE = 5
"""Strange entries that are shown of a file."""
STRANGE = 1.5
"""A value so many times the median, or the median so many times it, is worth a look."""
_MOST_SHOWN = 8


@dataclass(kw_only=True)
class Findings:
    """What was found in one file, folder or part."""

    kind: str
    """`segments`, `sentences`, `features`, `records` or `videos`."""
    name: str
    lines: list[str] = field(default_factory=list[str])
    """What is there."""
    problems: list[str] = field(default_factory=list[str])
    """What cannot be used."""
    notes: list[str] = field(default_factory=list[str])
    """What may be a mistake."""
    strangest: list[str] = field(default_factory=list[str])
    """Entries to look at, each with its place."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """Counts, as plain data."""
    is_beside: bool = False
    """It was not asked for itself; others are compared with it."""

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            **self.facts,
            "problems": self.problems,
            "notes": self.notes,
            "strangest": self.strangest,
        }


def refuse_write_good(request: CheckRequest) -> None:
    """Raise UsageError for --write-good."""
    if request.write_good is not None:
        raise UsageError("--write-good is for videos; runs leave out what is damaged")


def report(
    found: Sequence[Findings], request: CheckRequest, out: Console, *, kind: str, what: str
) -> None:
    """Show everything, and write the requested file.

    Raises:
        DataError: Something cannot be used.
        RunError: The file cannot be written.
    """
    for one in found:
        _show(out, one)
    if request.json_path is not None:
        _write(request.json_path, kind, found)
        say(out, f"everything, entry by entry: {request.json_path}")
    wrong = sum(len(one.problems) for one in found)
    if wrong:
        raise DataError(f"{counted(wrong, 'problem')} in {what}")


def _show(out: Console, one: Findings) -> None:
    say(out, one.name, style="bold")
    for line in one.lines:
        say(out, f"  {line}")
    for title, lines in (
        ("Cannot be used", one.problems),
        ("Good to know", one.notes),
        ("The strangest", one.strangest),
    ):
        if lines:
            say(out, f"  {title}")
            more = len(lines) - _MOST_SHOWN
            for line in [*lines[:_MOST_SHOWN], *([f"and {more:,} more"] if more > 0 else [])]:
                first, *rest = line.removeprefix(f"{one.name}: ").splitlines()
                say(out, f"    {first}")
                for more_of_it in rest:  # an example of a format
                    say(out, f"      {more_of_it}")


def _write(path: Path, kind: str, found: Iterable[Findings]) -> None:
    listed = list(found)
    content = {
        "videozoo": __version__,
        "kind": f"check-{kind}",
        "format": 1,
        "parts": [one.as_json() for one in listed if not one.is_beside],
        "beside": [one.as_json() for one in listed if one.is_beside],
    }
    try:
        with written_aside(path) as aside:
            aside.write_text(json.dumps(content, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None


# --- words that the checks share -------------------------------------------------------------


def spread_of(values: Collection[float], unit: str = "") -> str:
    """Smallest, median and largest of some values.

    >>> spread_of([1, 2.5, 10], "s"), spread_of([3])
    ('1 to 10 s, median 2.5', '3')
    """
    if not values:
        return "none"
    low, high = (f"{value:.4g}" for value in (min(values), max(values)))
    end = f" {unit}" if unit else ""
    if low == high:
        return f"{low}{end}"
    return f"{low} to {high}{end}, median {statistics.median(values):.4g}"


def missing_notes(
    wanted: Collection[str], there: Collection[str], *, what: str, of: str, place: Path | str
) -> list[str]:
    """Notes on names that are on one side only.

    Args:
        wanted: Names in the annotations.
        there: Names beside them, as the annotations spell them where both have them.
        what: What lies beside them, such as `video` or `features`.
        of: What names the others, such as `annotations`.
        place: Where the one side lies.
    """
    known, named = set(there), set(wanted)
    absent = [name for name in wanted if name not in known]
    unused = [name for name in there if name not in named]
    notes: list[str] = []
    if absent:
        notes.append(
            f"{place}: no {what} of {len(absent):,} of {counted(len(named), 'video')} of {of}: "
            f"{few(absent)}"
        )
    if unused:
        notes.append(
            f"{place}: {what} of {counted(len(unused), 'video')} that {of} does not name: "
            f"{few(unused)}"
        )
    return notes


def shared_notes(parts: Mapping[str, Collection[str]]) -> list[str]:
    """Notes on videos that are in several parts."""
    notes: list[str] = []
    before: dict[str, set[str]] = {}
    for name, videos in parts.items():
        for other, others in before.items():
            if shared := [video for video in videos if video in others]:
                notes.append(
                    f"leak: {counted(len(shared), 'video')} in both {other} and {name}, "
                    f"e.g. {shared[0]}"
                )
        before[name] = set(videos)
    return notes
