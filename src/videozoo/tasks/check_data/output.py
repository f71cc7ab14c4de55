"""Write the result of a check: as a summary, as JSON, and as a list of usable videos."""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from videozoo import __version__
from videozoo.data.files import absolute, is_pickle
from videozoo.data.frames.check import FileReport
from videozoo.errors import RunError, counted
from videozoo.report.tables import check_counts_table, check_parts_table, check_spread_table, plain
from videozoo.safe_write import written_aside
from videozoo.tasks.check_data.parts import CheckRequest, Part, VideoToCheck
from videozoo.tasks.check_data.result import (
    CheckResult,
    all_labels,
    class_counts,
    class_name,
    labels_of,
)

_MOST_SHOWN = 5


def say(out: Console, text: str, *, style: str = "") -> None:
    """Print a line; names from users' files in it are not read as markup."""
    out.print(plain(text), style=style, highlight=False, soft_wrap=True)


def show(result: CheckResult, request: CheckRequest, out: Console) -> None:
    """Print a summary of about forty lines at most, for data sets of any size."""
    counts = result.counts
    how = "every frame decoded" if request.deep else "three frames of each decoded (--deep: all)"
    cached = f", {counts['from_cache']:,} from cache" if counts["from_cache"] else ""
    say(out, f"{request.path or request.source.path}", style="bold")
    say(out, f"{counted(len(result.reports), 'file')}{cached}, {result.seconds:.1f} s; {how}")
    out.print(check_counts_table(counts))
    readable = [report for report in result.reports.values() if report.is_readable]
    if readable:
        out.print(check_spread_table(_spreads(readable)))
        for line in _kinds(readable):
            say(out, f"  {line}")
    labelled = [part for part in result.parts if part.is_labelled]
    if labelled:
        out.print(check_parts_table([_part_row(part, result) for part in labelled]))
    base = request.path if request.path and request.path.is_dir() else None
    places = {
        absolute(item.file.path): f"{item.where}: {item.name}"
        for part in result.parts
        for item in part.items
        if item.where
    }
    bad = [f"{places.get(absolute(r.path)) or _short(r.path, base)}: {_why(r)}" for r in result.bad]
    damaged = [f"{_short(r.path, base)}: {r.damage}" for r in readable if r.damage]
    _show_list(out, "Cannot be used", bad)
    _show_list(out, "Wrong in the lists", result.problems)
    _show_list(out, "Damaged, but usable", damaged, most=2)
    _show_list(out, "Good to know", result.notes, most=6)


def _why(report: FileReport) -> str:
    if report.status == "unreadable":
        return report.reason
    if report.status == "missing" and re.search(r",\s*\d+$", report.path.name):
        return "missing; put a blank, not a comma, before the label"
    return f"{report.status}, {report.reason}" if report.reason else report.status


def _short(path: Path, base: Path | None) -> Path:
    return path.relative_to(base) if base and path.is_relative_to(base) else path


def _show_list(out: Console, title: str, lines: Sequence[str], *, most: int = _MOST_SHOWN) -> None:
    if not lines:
        return
    say(out, title, style="bold")
    for line in (part for each in lines[:most] for part in each.splitlines()):
        text = line if len(line) <= out.width - 2 else _middle_cut(line, out.width - 2)
        say(out, f"  {text}")
    if len(lines) > most:
        say(out, f"  and {len(lines) - most:,} more")


def _middle_cut(text: str, width: int) -> str:
    """Shorten a line at its front, where the paths of a data set are alike.

    >>> _middle_cut("/a/very/long/way/to/some/a.mp4: empty", 30)
    '\u2026/long/way/to/some/a.mp4: empty'
    """
    if len(text) <= width:
        return text
    front, colon, reason = text.partition(": ")
    keep = max(24, width - len(colon) - len(reason))
    if colon and len(front) > keep:
        text = f"\N{HORIZONTAL ELLIPSIS}{front[-keep + 1 :]}{colon}{reason}"
    return text if len(text) <= 3 * width else f"{text[: 3 * width]}\N{HORIZONTAL ELLIPSIS}"


def _spreads(readable: Sequence[FileReport]) -> dict[str, tuple[float, float, float]]:
    columns: dict[str, list[float]] = {
        "frames": [report.num_frames or 0 for report in readable],
        "seconds": [report.seconds for report in readable if report.seconds is not None],
        "frames per second": [
            report.frames_per_second for report in readable if report.frames_per_second
        ],
        "short side": [min(report.height or 0, report.width or 0) for report in readable],
        "megabytes": [(report.num_bytes or 0) / 1e6 for report in readable],
    }
    return {
        name: (min(values), statistics.median(values), max(values))
        for name, values in columns.items()
        if values
    }


def _kinds(readable: Sequence[FileReport]) -> Iterator[str]:
    """The most frequent frame sizes and codecs."""
    for name, counts in (
        ("sizes", Counter(f"{report.width}x{report.height}" for report in readable)),
        ("codecs", Counter(str(report.codec) for report in readable)),
    ):
        most = ", ".join(f"{kind} ({count:,})" for kind, count in counts.most_common(3))
        yield f"{name}: {most}" + (f", {len(counts) - 3} more" if len(counts) > 3 else "")


def _part_row(part: Part, result: CheckResult) -> dict[str, Any]:
    counts = class_counts(part, result)
    labels = all_labels(part, result)
    ordered = sorted(labels, key=lambda label: counts[label])
    return {
        "part": part.name,
        "videos": sum(
            result.report_of(item).is_readable and labels_of(item, result) is not None
            for item in part.items
        ),
        "classes": len(labels),
        "least": (class_name(part, ordered[0]), counts[ordered[0]]) if ordered else None,
        "median": statistics.median(counts[label] for label in labels) if labels else 0,
        "most": (class_name(part, ordered[-1]), counts[ordered[-1]]) if ordered else None,
    }


def verdict(
    result: CheckResult, request: CheckRequest, num_bad: int, problems: Sequence[str]
) -> str:
    """One error message: what is wrong, how many, what to do next."""
    said: list[str] = []
    if num_bad:
        total = sum(1 for report in result.reports.values() if report.status != "not a video")
        said.append(f"{num_bad:,} of {counted(total, 'video')} cannot be used")
    if problems:
        said.append(f"{counted(len(problems), 'problem')} in the lists")
    advice: list[str] = []
    if num_bad and request.write_good is None:
        advice.append("--write-good FILE.list writes a list without them")
    if num_bad:
        advice.append("`eval` and `predict` go on without them")
    if request.json_path is None:
        advice.append("--json FILE names all")
    return f"{' and '.join(said)}\n  " + "\n  ".join(advice)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file; a write that fails leaves no half file.

    Raises:
        RunError: The disk refuses.
    """
    try:
        with written_aside(path) as aside, aside.open("w", encoding="utf-8", newline="\n") as file:
            _write_lines(file, lines)
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None


def _write_lines(file: IO[str], lines: Iterable[str]) -> None:
    for line in lines:
        file.write(f"{line}\n")


def json_lines(result: CheckResult, request: CheckRequest) -> Iterator[str]:
    """The JSON object, line by line: a large result is never in memory as one string."""
    asked = {
        "path": str(request.path) if request.path else None,
        "config": str(request.source.path) if request.source.path else None,
        "deep": request.deep,
    }
    head = {
        "videozoo": __version__,
        "kind": "check-data",
        "format": 1,
        "asked": asked,
        "counts": dict(result.counts),
        "parts": [_part_json(part, result) for part in result.parts],
        "notes": result.notes,
        "repeats": [
            {
                "part": part,
                "path": str(same[0].file.path),
                "lines": [item.line for item in same],
                "labels": [
                    item.label if item.labels is None else list(item.labels) for item in same
                ],
            }
            for part, same in result.repeats
        ],
    }
    yield json.dumps(head)[:-1] + ","
    yield from _json_array("copies", map(_copy_json, result.copies))
    yield ","
    yield from _json_array("files", map(_file_json, result.reports.values()))
    yield "}"


def _json_array(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield f'"{name}": ['
    before = ""
    for row in rows:
        yield before + json.dumps(row)
        before = ","
    yield "]"


def _part_json(part: Part, result: CheckResult) -> dict[str, Any]:
    counts = class_counts(part, result)
    return {
        "name": part.name,
        "source": str(part.source),
        "videos": len(part.items),
        "problems": part.problems,
        "classes": [
            {"label": label, "name": class_name(part, label), "videos": counts[label]}
            for label in (all_labels(part, result) if part.is_labelled else ())
        ],
    }


def _copy_json(group: Sequence[tuple[str, VideoToCheck, str]]) -> dict[str, Any]:
    return {
        "sha256": group[0][2] or None,
        "across_parts": len({part for part, _, _ in group}) > 1,
        "files": [
            {"part": part, "path": str(item.file.path), "label": item.label}
            | ({} if item.labels is None else {"labels": list(item.labels)})
            for part, item, _ in group
        ],
    }


def _file_json(report: FileReport) -> dict[str, Any]:
    return asdict(report) | {"path": str(report.path)}


def write_good(path: Path, result: CheckResult) -> tuple[int, list[str]]:
    """Write `PATH LABEL` lines for the usable videos; return the number of lines, and remarks.

    Where videos have several classes, `PATH LABEL LABEL ...` under a heading; parts of videos are
    `PATH OFFSET FRAMES LABEL`, under a heading too.
    """
    folder = Path(absolute(path)).parent
    lines: list[str] = []
    remarks: list[str] = []
    num_unwritable = num_bare = 0
    items = [item for part in result.parts for item in part.items]
    has_several = any(item.labels is not None for item in items)
    are_parts = any(item.frame_span is not None for item in items)
    for part in result.parts:
        for item in part.items:
            labels = item.labels or (() if item.label is None else (item.label,))
            in_range = part.num_classes is None or max(labels, default=0) < part.num_classes
            if not result.report_of(item).is_readable or not in_range:
                continue
            if part.is_folder and not item.file.is_expected and not is_pickle(item.file.path):
                continue
            if (has_several or are_parts) and not labels:
                num_bare += 1
                continue
            # as the list had them
            written = [label + part.first_label for label in labels]
            if are_parts:
                first, last = item.frame_span or (0, result.report_of(item).num_frames or 0)
                written = [first, last - first, *written]
            line = _list_line(Path(absolute(item.file.path)), folder, written)
            if line is None:
                num_unwritable += 1
            else:
                lines.append(line)
    if num_unwritable:
        remarks.append(
            f"{counted(num_unwritable, 'name')} left out: a list cannot hold line breaks"
        )
    if num_bare:
        remarks.append(
            f"{counted(num_bare, 'video')} without a class left out: such a list cannot say so"
        )
    if len(result.parts) > 1:
        remarks.append("it holds all parts together; for one of them, check that one alone")
    if any(part.is_folder and part.class_names for part in result.parts):
        remarks.append("classes are numbered in the order of their folders' names")
    heading = "path labels" if has_several else ""
    if are_parts:
        heading = "path offset frames label"
    _write_bytes(path, [heading, *lines] if heading else lines)
    return len(lines), remarks


def _list_line(path: Path, folder: Path, labels: Sequence[int]) -> str | None:
    """The line for `path` in a list in that folder; None if no list can hold the name."""
    name = str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)
    if "\n" in name or "\r" in name or name != name.strip():
        return None
    if not labels and name.rpartition(" ")[2].lstrip("-").isdigit():
        labels = (-1,)  # without a label the end of the name would be read as one
    return " ".join([name, *map(str, labels)])


def _write_bytes(path: Path, lines: Sequence[str]) -> None:
    """Encode text; names that are not UTF-8 keep their bytes on the disk."""
    try:
        with written_aside(path) as aside:
            text = "".join(f"{line}\n" for line in lines)
            aside.write_bytes(text.encode("utf-8", "surrogateescape"))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None


class progress:  # noqa: N801 - used like a function
    """A progress bar in a terminal; elsewhere nothing."""

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what = total, what
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
            transient=True,
        )

    def __enter__(self) -> Callable[[], None]:
        self._bar.start()
        task = self._bar.add_task(self._what, total=self._total)
        return lambda: self._bar.advance(task)

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
