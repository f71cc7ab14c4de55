"""The result of a check: reports of all files, comparisons, and notes in words."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from videozoo.data.files import absolute, is_pickle
from videozoo.data.frames.check import FileReport
from videozoo.errors import counted, few
from videozoo.tasks.check_data.parts import Part, VideoToCheck
from videozoo.tasks.classification.lengths import LONG_SECONDS
from videozoo.tasks.measured import length

_TIMES_MEDIAN = 10
"""Videos so many times as long as usual are named."""


@dataclass(kw_only=True)
class CheckResult:
    """The result of `check`."""

    parts: list[Part]
    reports: dict[str, FileReport]
    """Absolute path -> report."""
    copies: list[list[tuple[str, VideoToCheck, str]]] = field(default_factory=list[Any])
    """Files with the same content: (part, item, sha256)."""
    repeats: list[tuple[str, list[VideoToCheck]]] = field(default_factory=list[Any])
    notes: list[str] = field(default_factory=list[str])
    seconds: float = 0.0

    def report_of(self, item: VideoToCheck) -> FileReport:
        """The report on the file of an item."""
        return self.reports[absolute(item.file.path)]

    @property
    def counts(self) -> Counter[str]:
        """Number of files by status; `damaged` files also count as readable."""
        counts: Counter[str] = Counter(report.status for report in self.reports.values())
        counts["damaged"] = sum(bool(report.damage) for report in self.reports.values())
        counts["from_cache"] = sum(report.from_cache for report in self.reports.values())
        counts["bad"] = len(self.bad)
        return counts

    @property
    def bad(self) -> list[FileReport]:
        """Files that should be videos and cannot be used."""
        excused = {
            absolute(item.file.path)
            for part in self.parts
            for item in part.items
            if item.may_be_absent
        }
        return [
            report
            for key, report in self.reports.items()
            if report.is_bad and not (report.status == "missing" and key in excused)
        ]

    @property
    def problems(self) -> list[str]:
        """Problems of the lists themselves."""
        return [problem for part in self.parts for problem in part.problems]


def compare(result: CheckResult, hashes: Mapping[Path, str]) -> None:
    """Find paths named twice, and files with the same content."""
    by_hash: dict[object, list[tuple[str, VideoToCheck, str]]] = defaultdict(list)
    for part in result.parts:
        by_path: dict[object, list[VideoToCheck]] = defaultdict(list)
        for item in part.items:
            by_path[absolute(item.file.path), item.frame_span].append(item)
        result.repeats += [(part.name, same) for same in by_path.values() if len(same) > 1]
        for same in by_path.values():
            digest = hashes.get(result.report_of(same[0]).path)
            # a path in two parts is a copy too, even if no other file has its size
            key = digest or f"path {absolute(same[0].file.path)}", same[0].frame_span
            if result.report_of(same[0]).is_readable:
                by_hash[key].append((part.name, same[0], digest or ""))
    result.copies = [group for group in by_hash.values() if len(group) > 1]


def check_labels(part: Part, result: CheckResult) -> None:
    """Report labels out of range, and guess the reason."""
    count = part.num_classes
    if part.class_names is not None and not part.is_folder:
        count = min(count or len(part.class_names), len(part.class_names))
    labelled = [(label, item) for item in part.items for label in labels_of(item, result) or ()]
    if not labelled or count is None:
        return
    wrong = [(label, item) for label, item in labelled if not 0 <= label < count]
    if not wrong:
        return
    label, item = wrong[0]
    where = item.where or str(item.file.path)
    low, high = min(label for label, _ in labelled), max(label for label, _ in labelled)
    first = part.first_label  # say numbers as the list does
    problem = f"{where}: label {label + first}, expected {first} to {first + count - 1}"
    if len(wrong) > 1:
        problem += (
            f" ({counted(len(wrong), 'video')}; labels run from {low + first} to {high + first})"
        )
    if (first, low, high) == (0, 1, count):
        problem += "; labels start at 0: subtract 1 from all"
    elif part.num_classes is not None and high >= part.num_classes:
        problem += f"; or set model.num_classes={high + 1}"
        if (first, low) == (0, 1) and not part.is_folder:
            problem += f" (={high} if 1 is the first class: data.first_label=1)"
    part.problems.append(problem)


def check_spans(part: Part, result: CheckResult) -> None:
    """Report parts of videos that begin after the last frame, or go on after it."""
    beyond = [
        (item, report.num_frames)
        for item in part.items
        if item.frame_span is not None and (report := result.report_of(item)).is_readable
        if report.num_frames and item.frame_span[1] > report.num_frames
    ]
    outside = [(item, count) for item, count in beyond if (item.frame_span or (0,))[0] >= count]
    for found, what, says in (
        (outside, "begin after the end of their videos", part.problems.append),
        (beyond if not outside else [], "go on after the end of their videos", part.remarks.append),
    ):
        if found:
            item, count = found[0]
            says(
                f"{part.source}: {len(found):,} of {counted(len(part.items), 'part')} {what}, "
                f"e.g. {item.name} (line {item.line}), where the video has "
                f"{counted(count, 'frame')}"
            )


def labels_of(item: VideoToCheck, result: CheckResult) -> tuple[int, ...] | None:
    """The classes of a video: from its list, or from inside a pickle of the 2019 library."""
    if item.labels is not None:
        return item.labels
    label = item.label if item.label is not None else result.report_of(item).label
    return None if label is None else (label,)


def class_counts(part: Part, result: CheckResult) -> Counter[int]:
    """Number of readable videos by label."""
    return Counter(
        label
        for item in part.items
        if result.report_of(item).is_readable
        for label in labels_of(item, result) or ()
    )


def all_labels(part: Part, result: CheckResult) -> list[int]:
    """Every class that there should be."""
    counts = class_counts(part, result)
    names = range(len(part.class_names)) if part.class_names is not None else ()
    known = range(part.num_classes) if part.num_classes is not None and not part.is_folder else ()
    return sorted({*counts, *names, *known})


def class_name(part: Part, label: int) -> str:
    """The name of a class in a part; its number if it has no name."""
    names = part.class_names
    return names[label] if names is not None and 0 <= label < len(names) else str(label)


def find_notes(result: CheckResult, frames_needed: int) -> list[str]:
    """Notes for the user about things that may be wrong, the most important first.

    Args:
        result: The result, with `copies` and `repeats` already filled in.
        frames_needed: Frames per clip; 0: unknown.
    """
    notes = [
        *_copy_notes(result),
        *_class_notes(result),
        *_ending_notes(result),
        *_length_notes(result),
    ]
    readable = [report for report in result.reports.values() if report.is_readable]
    if frames_needed:
        short = [report for report in readable if (report.num_frames or 0) < frames_needed]
        if short:
            notes.append(
                f"{counted(len(short), 'video')} shorter than a clip "
                f"({counted(frames_needed, 'frame')}); "
                f"frames are repeated: {few((report.path.name for report in short), 2)}"
            )
    absent = sum(
        item.may_be_absent and result.report_of(item).status == "missing"
        for part in result.parts
        for item in part.items
    )
    if absent:
        total = sum(len(part.items) for part in result.parts)
        notes.append(f"{absent} of {total} videos of the CSV are not there; runs leave them out")
    return notes


def _copy_notes(result: CheckResult) -> Iterator[str]:
    leaks: Counter[tuple[str, str]] = Counter()
    examples: dict[tuple[str, str], str] = {}
    within, conflicts = list[str](), list[str]()
    for group in result.copies:
        parts = list(dict.fromkeys(part for part, _, _ in group))
        first = {part: item for part, item, _ in reversed(group)}
        for pair in combinations(parts, 2):
            leaks[pair] += 1
            examples.setdefault(pair, " = ".join(first[part].name for part in pair))
        if len(group) > len(parts):
            same = [item for part in parts for name, item, _ in group if name == part]
            within.append(" = ".join(item.name for item in same[:2]))
        if len({labels_of(item, result) for _, item, _ in group} - {None}) > 1:
            conflicts.append(" = ".join(item.name for _, item, _ in group[:2]))
    for (one, other), count in leaks.items():
        yield (
            f"leak: {counted(count, 'video')} in both {one} and {other}, "
            f"e.g. {examples[one, other]}"
        )
    if within:
        yield f"copies: {counted(len(within), 'video')} under several names, e.g. {within[0]}"
    repeated = [(part, same) for part, same in result.repeats]
    if repeated:
        part, same = repeated[0]
        yield (
            f"repeats: {counted(len(repeated), 'path')} more than once in a list, "
            f"e.g. {same[0].name} ({part}, {_lines(same[:2], ' and ')})"
        )
        conflicts += [
            f"{same[0].name} ({_lines(same[:3], ', ')})"
            for _, same in repeated
            if len({labels_of(item, result) for item in same} - {None}) > 1
        ]
    if conflicts:
        yield f"{counted(len(conflicts), 'video')} with two different classes, e.g. {conflicts[0]}"


def _lines(items: Sequence[VideoToCheck], between: str) -> str:
    """The lines of some items, with their files where these differ."""
    if len({item.where.rpartition(":")[0] for item in items}) > 1:
        return between.join(item.where for item in items)
    return f"lines {between.join(str(item.line) for item in items)}"


def _class_notes(result: CheckResult) -> Iterator[str]:
    trained: set[int] | None = None
    for part in result.parts:
        if not part.is_labelled:
            holds_own = any(is_pickle(item.file.path) for item in part.items)
            if part.items and not holds_own and not part.is_folder and part.name != "file":
                yield f"{part.source}: names no classes: something to predict on, not to train with"
            continue
        counts = class_counts(part, result)
        if part.name == "train":
            trained = set(counts)
        empty = [class_name(part, label) for label in all_labels(part, result) if not counts[label]]
        if empty and not any("no videos in class" in problem for problem in part.problems):
            classes = f"{len(empty)} classes have" if len(empty) > 1 else "1 class has"
            yield f"{part.name}: {classes} no usable video: {few(empty)}"
        if trained is not None and part.name in ("val", "test"):
            new = sorted(set(counts) - trained)
            if new:
                names = ", ".join(class_name(part, label) for label in new[:3])
                yield f"{part.name}: classes that train has no video of: {names}"
        starts_at_1 = counts and min(counts) == 1 and part.class_names is None
        if starts_at_1 and part.num_classes is None:
            yield (
                f"{part.name}: labels run from 1 to {max(counts)}: a training of as many classes "
                "takes them to start at 1; for another, set data.first_label to 0 or 1"
            )


def _ending_notes(result: CheckResult) -> Iterator[str]:
    """Videos that a run over the folder ignores because of their file ending."""
    hidden = [
        report.path
        for part in result.parts
        if part.is_folder
        for item in part.items
        if not item.file.is_expected and (report := result.report_of(item)).is_readable
        if not is_pickle(report.path)
    ]
    if hidden:
        endings = ", ".join(sorted({path.suffix or "none" for path in hidden})[:5])
        yield (
            f"{counted(len(hidden), 'video')} with an ending that runs over folders pass by "
            f"({endings}): {few((path.name for path in hidden), 2)}"
        )


def _length_notes(result: CheckResult) -> Iterator[str]:
    """Videos far longer than those that a clip model learns from, or than most."""
    train = [part for part in result.parts if part.name == "train"]
    usual = _lengths(train or result.parts, result)
    if not usual:
        return
    median = statistics.median(usual.values())
    every = _lengths(result.parts, result)
    long = {name: seconds for name, seconds in every.items() if seconds > _TIMES_MEDIAN * median}
    if long:
        named = few((f"{name} ({length(seconds)})" for name, seconds in long.items()), 2)
        yield (
            f"{counted(len(long), 'video')} over {_TIMES_MEDIAN} times as long as "
            f"{'those to learn from' if train else 'most'} (median {length(median)}), e.g. {named}:"
            " a clip model answers from a few frames of each; `predict --every SECONDS` answers "
            "along a video"
        )
    elif median > LONG_SECONDS:
        yield (
            f"videos are long (median {length(median)}): a clip model learns and answers from a "
            "few frames of each; cut them to what their class means, or take a model that finds "
            "segments"
        )


def _lengths(parts: Iterable[Part], result: CheckResult) -> dict[str, float]:
    """Seconds of the readable videos of some parts."""
    reports = ((item, result.report_of(item)) for part in parts for item in part.items)
    return {
        item.name: report.seconds
        for item, report in reports
        if report.is_readable and report.seconds
    }
