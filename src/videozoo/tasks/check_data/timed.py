"""Look at stretches of videos, segments or sentences: overlaps, classes, lengths, the strangest."""

from __future__ import annotations

import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from videozoo.data.lengths import Stretch, check_ends
from videozoo.data.text import of_video
from videozoo.errors import DataError, counted, few
from videozoo.tasks.check_data.findings import MOST_STRANGE, STRANGE, Findings, spread_of

T = TypeVar("T")

_RARE = 2
"""A class with so few segments is rare, if the usual class has many times as many."""
_OFTEN = 5
_BETWEEN = re.compile(r"(?<=\w)[\s_-]+(?=\w)")
_BEYOND = 0.05  # seconds after the end of a video that are rounding


@dataclass(frozen=True, slots=True)
class Entry:
    """A stretch of a video with its class or sentence."""

    video: str
    start: float
    end: float
    text: str
    where: str
    """Its place in the file."""
    unit: str = "s"
    """Of its times; `frames` where the rate of the video is not known."""

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.end - self.start

    def __str__(self) -> str:
        text = f" {self.text[:60]!r}" if self.text else ""
        return f"{self.where}:{text}, {self.start:g} to {self.end:g} {self.unit}"


@dataclass(kw_only=True)
class TimedFile:
    """The stretches of a file of annotations."""

    path: Path
    noun: str
    """What an entry is: `segment` or `sentence`."""
    unit: str = "s"
    """Of the lengths; `frames` where all times are in frames, whose rates are not known."""
    videos: dict[str, str | None]
    """Names of all videos, and their subsets."""
    seconds: dict[str, float]
    """Lengths of the videos, as far as they are known, in `unit`."""
    entries: list[Entry] = field(default_factory=list[Entry])

    def length(self, video: str) -> float | None:
        """Length of a video; None if it is not known."""
        return of_video(video, self.seconds)

    def length_beside(self, entry: Entry) -> float | None:
        """Length of the video of an entry; None if it is not known in the unit of the entry."""
        return self.length(entry.video) if entry.unit == self.unit else None

    @property
    def by_unit(self) -> Iterator[tuple[str, list[Entry]]]:
        """Entries whose times can be compared with one another."""
        for unit, entries in _by(self.entries, lambda one: one.unit).items():
            yield str(unit), entries


def add_times(found: Findings, file: TimedFile) -> None:
    """Add what can be said of times: their spread, and those outside the videos."""
    lengths = [seconds for video in file.videos if (seconds := file.length(video)) is not None]
    if lengths:
        found.lines.append(f"lengths of videos: {spread_of(lengths, file.unit)}")
    if len(lengths) < len(file.videos):
        found.notes.append(
            f"no length is known of {len(file.videos) - len(lengths):,} of "
            f"{counted(len(file.videos), 'video')}; --videos DIR or --features DIR tells it"
        )
    for unit, entries in file.by_unit:
        if stays := [one.seconds for one in entries if one.seconds > 0]:
            what = "moments" if file.noun == "sentence" else f"{file.noun}s"
            found.lines.append(f"lengths of {what}: {spread_of(stays, unit)}")
    backwards = [one for one in file.entries if one.end <= one.start]
    if backwards:
        found.notes.append(
            f"{counted(len(backwards), file.noun)} that "
            f"{'ends' if len(backwards) == 1 else 'end'} before or where "
            f"{'it starts' if len(backwards) == 1 else 'they start'}, e.g. {backwards[0]}"
        )
    stretches = [
        Stretch(one.where, one.start, one.end, length)
        for one in file.entries
        if (length := file.length_beside(one))
    ]
    what = f"{file.noun}s"
    if len(stretches) < len(file.entries):
        what += " in videos of known length"
    try:
        check_ends(stretches, source=file.path, what=what, warn=found.notes.append)
    except DataError as error:
        found.problems.append(str(error))


def add_repeats(found: Findings, file: TimedFile, *, overlaps: bool) -> None:
    """Add notes on entries that are there twice and, if asked for, on those that overlap."""
    twice: list[tuple[Entry, Entry]] = []
    overlapping: list[tuple[Entry, Entry]] = []
    for same in _by(file.entries, lambda one: (one.video, one.text, one.unit)).values():
        reaching: Entry | None = None  # of those before, the one that ends last
        seen: dict[tuple[float, float], Entry] = {}
        for one in sorted(same, key=lambda one: (one.start, one.end)):
            before = seen.setdefault((one.start, one.end), one)
            if before is not one:
                twice.append((before, one))
            elif reaching is not None and one.start < reaching.end:
                overlapping.append((reaching, one))
            if reaching is None or one.end > reaching.end:
                reaching = one
    found.facts["duplicates"] = len(twice)
    if twice:
        first, second = twice[0]
        found.notes.append(
            f"{counted(len(twice), file.noun)} more than once: {first}; and again {second.where}"
        )
    if not overlaps:
        return
    found.facts["overlaps"] = len(overlapping)
    if overlapping:
        first, second = overlapping[0]
        found.notes.append(
            f"{counted(len(overlapping), file.noun)} that "
            f"{'overlaps' if len(overlapping) == 1 else 'overlap'} another of the same class: "
            f"{first}; and {second.where}, {second.start:g} to {second.end:g} {second.unit}"
        )


def add_classes(found: Findings, file: TimedFile) -> None:
    """Add notes on classes: rare ones, spellings of one name, those in one subset only."""
    counts = Counter(one.text for one in file.entries if one.text)
    if not counts:
        return
    found.facts["classes"] = dict(sorted(counts.items()))
    found.lines.append(
        f"{counted(len(counts), 'class')}; {file.noun}s of each: {spread_of(list(counts.values()))}"
    )
    found.notes += _spellings(counts)
    usual = statistics.median(counts.values())
    rare = [name for name, count in counts.items() if count <= _RARE and _OFTEN * count <= usual]
    if rare:
        found.notes.append(
            f"rare: {counted(len(rare), 'class')} with {_RARE} {file.noun}s at most, where the "
            f"usual has {usual:g}: {few(map(repr, sorted(rare)))}"
        )
    found.notes += _one_subset_only(file, counts)


def _spellings(counts: Mapping[str, int]) -> Iterator[str]:
    """Names that are one but for case, blanks, hyphens and underscores."""
    alike = _by(counts, lambda name: _BETWEEN.sub("", name).casefold())
    for names in alike.values():
        if len(names) > 1:
            shown = ", ".join(f"{name!r} ({counts[name]:,})" for name in names)
            yield f"probably one class: {shown}"


def _one_subset_only(file: TimedFile, counts: Mapping[str, int]) -> Iterator[str]:
    subsets: dict[str, set[str]] = defaultdict(set)
    for one in file.entries:
        if one.text and (subset := file.videos.get(one.video)) is not None:
            subsets[subset].add(one.text)
    if len(subsets) < 2:
        return
    for subset, names in subsets.items():
        elsewhere = set[str]().union(*(held for other, held in subsets.items() if other != subset))
        only = sorted(names - elsewhere)
        if only:
            yield (
                f"{counted(len(only), 'class')} of {len(counts):,} in subset {subset!r} only: "
                f"{few(map(repr, only))}"
            )


def add_strangest(found: Findings, file: TimedFile) -> None:
    """Add the entries and videos that are most unlike the others."""
    if len(file.entries) < 2:
        return
    shown: dict[object, str] = {}
    for key, line in _strange(file):
        shown.setdefault(key, line)
    found.strangest += list(shown.values())[:MOST_STRANGE]


def _strange(file: TimedFile) -> Iterator[tuple[object, str]]:
    """Each with what it is about, the strangest first."""
    entries = file.entries
    beyond = [
        (one.end - length, one, length)
        for one in entries
        if (length := file.length_beside(one)) is not None and one.end - length > _BEYOND
    ]
    if beyond:
        late, one, length = max(beyond, key=lambda each: each[0])
        yield one, f"{late:.3g} {file.unit} beyond its video ({length:g}): {one}"
    first = min(entries, key=lambda one: one.start)
    if first.start < 0:
        yield first, f"before the start: {first}"
    backwards = min(entries, key=lambda one: one.seconds)
    if backwards.seconds <= 0:
        yield backwards, f"ends where it starts, or before: {backwards}"
    for _, same in file.by_unit:
        forwards = [one for one in same if one.seconds > 0]
        if not forwards:
            continue
        median = statistics.median(one.seconds for one in forwards)
        longest = max(forwards, key=lambda one: one.seconds)
        shortest = min(forwards, key=lambda one: one.seconds)
        if longest.seconds > STRANGE * median:
            times = longest.seconds / median
            yield longest, f"longest, {times:.3g} times the median: {longest}"
        if median > STRANGE * shortest.seconds:
            times = median / shortest.seconds
            yield shortest, f"shortest, the median is {times:.3g} times as long: {shortest}"
    per_video = Counter(one.video for one in entries)
    video, count = per_video.most_common(1)[0]
    if len(per_video) > 1 and count > STRANGE * statistics.median(per_video.values()):
        usual = statistics.median(per_video.values())
        yield video, f"most {file.noun}s: {video}, {count:,}, where the usual video has {usual:g}"
    known = {name: length for name in file.videos if (length := file.length(name)) is not None}
    usual = statistics.median(known.values()) if known else 0.0
    for word, pick in (("longest", max), ("shortest", min)):
        name = pick(known, key=lambda name: known[name], default="")
        if name and max(known[name], usual) > STRANGE * min(known[name], usual):
            text = f"{name}, {known[name]:g} {file.unit}, where the median is {usual:g}"
            yield name, f"{word} video: {text}"


def _by(items: Iterable[T], key: Callable[[T], object]) -> dict[object, list[T]]:
    groups: dict[object, list[T]] = defaultdict(list)
    for one in items:
        groups[key(one)].append(one)
    return groups


def words_of_subsets(subsets: Sequence[str | None]) -> str:
    """How many videos each subset has.

    >>> words_of_subsets(["training", "training", None])
    ' (2 training, 1 without a subset)'
    >>> words_of_subsets([None])
    ''
    """
    counts = Counter(subsets)
    if set(counts) == {None}:
        return ""
    shown = ", ".join(f"{count:,} {name or 'without a subset'}" for name, count in counts.items())
    return f" ({shown})"
