"""Check feature files of tagging models: every record, and its labels."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo import __version__
from videozoo.data.features.record_formats import find_records, holds_records
from videozoo.data.features.records import RecordSet
from videozoo.data.record_survey import SEGMENTS_IGNORED, Survey, survey
from videozoo.data.tags import load_records
from videozoo.errors import DataError, RunError, UsageError, counted
from videozoo.safe_write import written_aside
from videozoo.tasks.check_data.output import say
from videozoo.tasks.check_data.parts import CheckRequest
from videozoo.types import FeatureShape, Tagging

_MOST_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class _Needs:
    """What a model requires of records."""

    num_classes: int | None = None
    shape: FeatureShape | None = None


def run_records(request: CheckRequest, *, console: Console | None = None) -> bool:
    """Read every record of the request, print a summary, write the requested file.

    Returns:
        False if the request names no feature files; then it is about videos.

    Raises:
        DataError: Some record cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """
    found = _parts(request)
    if found is None:
        return False
    if request.write_good is not None:
        raise UsageError("--write-good is for videos; runs leave out records that are damaged")
    parts, needs = found
    out = console or Console()
    facts: list[dict[str, Any]] = []
    wrong = 0
    before: dict[str, set[str]] = {}
    for name, records in parts:
        seen = survey(records, num_classes=needs.num_classes, shape=needs.shape, most=None)
        problems = [*seen.problems.values(), *_wrong_labels(seen, needs)]
        notes = [*_notes(seen, needs), *_shared(seen, before)]
        before[name] = set(seen.names)
        wrong += len(problems)
        _show(out, name, records, seen, problems, notes)
        facts.append(_facts(name, records, seen, problems, notes))
    if request.json_path is not None:
        _write(request.json_path, facts)
        say(out, f"everything, record by record: {request.json_path}")
    if wrong:
        raise DataError(f"{counted(wrong, 'problem')} in the records")
    return True


def _parts(request: CheckRequest) -> tuple[list[tuple[str, RecordSet]], _Needs] | None:
    path = request.path
    if request.source.path is None:
        if path is None or not os.path.lexists(path) or not holds_records(path):
            return None
        return [(str(path), find_records(path))], _Needs()
    config = request.source.load()
    task = config.spec.task
    if not isinstance(task, Tagging):
        return None
    needs = _Needs(num_classes=config.model.num_classes, shape=task.feature_shape(config.model))
    data = config.data
    if path is not None:
        return [(str(path), find_records(path, root=data.root, kind=data.format))], needs
    parts = [
        (f"data.{part}", load_records(data, part))
        for part in ("train", "val", "test")
        if getattr(data, part) is not None
    ]
    if not parts:
        raise DataError(
            "this configuration names no features; name a file or folder of them, or "
            "--set data.train=PATH"
        )
    return parts, needs


def _wrong_labels(seen: Survey, needs: _Needs) -> list[str]:
    if seen.too_large is None:
        return []
    where, label = seen.too_large
    most = "a class" if needs.num_classes is None else f"0 to {needs.num_classes - 1}"
    return [f"{where}: label {label}, expected {most}; the largest is {max(seen.counts)}"]


def _notes(seen: Survey, needs: _Needs) -> list[str]:
    notes: list[str] = []
    if seen.segment_rated:
        notes.append(f"{seen.segment_rated:,} of {seen.looked_at:,} records: {SEGMENTS_IGNORED}")
    unlabelled = seen.looked_at - seen.labelled
    if unlabelled:
        notes.append(f"{unlabelled:,} of {counted(seen.looked_at, 'record')} have no label")
    never = sum(not seen.counts[label] for label in range(needs.num_classes or 0))
    if never and seen.labelled:
        notes.append(f"{never:,} of {counted(needs.num_classes or 0, 'class')} are on no record")
    if len(seen.counts) == 1:
        notes.append(f"all labels are of one class, {next(iter(seen.counts))}")
    if len(seen.streams) > 1 and any(n != seen.looked_at for n in seen.streams.values()):
        notes.append("not all records have the same streams")
    return notes


def _shared(seen: Survey, before: Mapping[str, set[str]]) -> list[str]:
    """Notes about videos that stand twice in a part, or also in another part."""
    lines: list[str] = []
    if repeated := [name for name, count in seen.names.items() if count > 1]:
        lines.append(f"{counted(len(repeated), 'name')} more than once, e.g. {repeated[0]}")
    for other, names in before.items():
        if shared := [name for name in seen.names if name in names]:
            lines.append(f"leak: {counted(len(shared), 'name')} also in {other}, e.g. {shared[0]}")
    return lines


def _show(
    out: Console,
    name: str,
    records: RecordSet,
    seen: Survey,
    problems: Sequence[str],
    notes: Sequence[str],
) -> None:
    say(out, name, style="bold")
    files = counted(len(records.files), "file")
    say(out, f"  {counted(len(records), 'record')} in {files}; {seen.looked_at:,} can be used")
    streams = ", ".join(f"{stream} ({n:,})" for stream, n in seen.streams.items())
    if streams:
        say(out, f"  streams, values per frame, numbers (records): {streams}")
    if seen.counts:
        low, high = min(seen.counts), max(seen.counts)
        say(out, f"  labels: {len(seen.counts):,} different ones from {low} to {high}")
    for title, lines in (("Cannot be used", problems), ("Good to know", notes)):
        if lines:
            say(out, f"  {title}")
            more = len(lines) - _MOST_SHOWN
            for line in [*lines[:_MOST_SHOWN], *([f"and {more:,} more"] if more > 0 else [])]:
                say(out, f"    {line}")


def _facts(
    name: str, records: RecordSet, seen: Survey, problems: Sequence[str], notes: Sequence[str]
) -> dict[str, Any]:
    return {
        "name": name,
        "files": [str(file.path) for file in records.files],
        "records": len(records),
        "usable": seen.looked_at,
        "labelled": seen.labelled,
        "segment_rated": seen.segment_rated,
        "streams": {str(stream): n for stream, n in seen.streams.items()},
        "classes": {str(label): n for label, n in sorted(seen.counts.items())},
        "problems": list(problems),
        "notes": list(notes),
    }


def _write(path: Path, parts: list[dict[str, Any]]) -> None:
    facts = {"videozoo": __version__, "kind": "check-records", "format": 1, "parts": parts}
    try:
        with written_aside(path) as aside:
            aside.write_text(json.dumps(facts, indent=1), encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
