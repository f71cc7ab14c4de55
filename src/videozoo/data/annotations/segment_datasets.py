"""Segments as published data sets come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.segment_types import (
    RawInstance,
    RawVideo,
    SegmentFile,
    clock_seconds,
    dicts,
    mapping,
)
from videozoo.data.formats import TextFile
from videozoo.data.text import Table, class_number, finite_number, integer, kind_of, lines_of
from videozoo.errors import DataError, brief, counted, few

_DURATIONS = ("duration", "duration_second")
_FRAMES_APART = 2.0  # frames by which seconds and frames of a segment may differ
_THUMOS_FILE = re.compile(r"(\w+)_(val|test)\.txt", re.ASCII)


def is_by_video(file: TextFile) -> bool:
    """Whether videos are at the top level: `activity_net_1_3_new.json` of the 2019 library."""
    if not isinstance(file.content, dict):
        return False
    entries = cast("dict[str, Any]", file.content).values()
    known = {"annotations", *_DURATIONS}
    return any(isinstance(one, dict) and not known.isdisjoint(one) for one in entries)


def json_videos(file: SegmentFile) -> Iterator[RawVideo]:
    """Videos by name, each with its annotations: ActivityNet and the many files of that form.

    HACS Segments, FineAction, MMAction2, OpenTAD and ActionFormer use it. Their `fps`, `frame` and
    `segment(frames)` are compared with the seconds, and `label_id` with the labels; a note counts
    what does not agree. `label_from` names another key than `label`, such as OpenTAD's
    `verb_label` of EPIC-Kitchens.

    Source: the READMEs of ActivityNet and HACS, and the readers of OpenTAD (`datasets/thumos.py`)
    and ActionFormer (`libs/datasets`).
    """
    path, content = file.path, cast("dict[str, Any]", file.content)
    database: Any = content.get("database", content)
    if not isinstance(database, dict):
        raise DataError(f"{path}: database is {kind_of(database)}, expected an object of videos")
    key = _label_key(file, cast("dict[str, Any]", database))
    check = _Agreement(path)
    for name, entry in cast("dict[str, Any]", database).items():
        where = f"{path}: {name}"
        if not isinstance(entry, dict):
            raise DataError(
                f"{where} is {kind_of(entry)}, expected an object with duration, subset and "
                "annotations; are these annotations of ActivityNet?"
            )
        facts = dict(cast("dict[str, Any]", entry))
        subset, listed = facts.pop("subset", None), facts.pop("annotations", [])
        duration = next((facts.pop(key) for key in _DURATIONS if key in facts), None)
        if not isinstance(listed, list):
            raise DataError(f"{where}: annotations are {kind_of(listed)}, expected a list")
        video = RawVideo(
            name, where, duration, None if subset is None else str(subset), extras=facts
        )
        rate = finite_number(facts.get("fps"))
        video.frames_per_second = rate if rate is not None and rate > 0 else None
        for number, one in enumerate(cast("list[Any]", listed)):
            place = f"{where}: annotation {number}"
            video.instances.append(_json_instance(place, one, key))
            check.add(place, cast("dict[str, Any]", one), video.frames_per_second)
        yield video
    file.notes += check.notes()


def _label_key(file: SegmentFile, database: Mapping[str, Any]) -> str:
    """The key of an annotation that holds its class."""
    annotations = (
        one for entry in database.values() for one in dicts(mapping(entry).get("annotations"))
    )
    first = next(annotations, None)
    if first is None:
        return "label"
    known = [
        key for key, value in first.items() if isinstance(value, str | int) and "segment" not in key
    ]
    if file.label_from is None and ("label" in first or not any("label" in key for key in known)):
        return "label"
    return file.label_of("keys", [key for key in known if key != "score"])


class _Agreement:
    """Whether what a file says twice agrees: seconds and frames, labels and their numbers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._apart: list[str] = []
        self._num_pairs = 0
        self._numbers: dict[str, set[str]] = {}
        self._labels: dict[str, set[str]] = {}

    def add(self, where: str, facts: Mapping[str, Any], rate: float | None) -> None:
        """Compare one annotation."""
        frames, seconds = facts.get("segment(frames)"), facts.get("segment")
        if rate is not None and isinstance(frames, list) and isinstance(seconds, list):
            pairs = zip(
                map(finite_number, cast("list[Any]", seconds)),
                map(finite_number, cast("list[Any]", frames)),
                strict=False,
            )
            self._num_pairs += 1
            if any(a is None or b is None or abs(a * rate - b) > _FRAMES_APART for a, b in pairs):
                self._apart.append(f"{where}: {seconds} s and frames {frames} at {rate:g} per s")
        label, number = facts.get("label"), facts.get("label_id")
        if isinstance(label, str) and number is not None:
            self._numbers.setdefault(label, set()).add(str(number))
            self._labels.setdefault(str(number), set()).add(label)

    def notes(self) -> Iterator[str]:
        """What does not agree."""
        if self._apart:
            first = self._apart[0].removeprefix(f"{self._path}: ")
            yield (
                f"{self._path}: segment and segment(frames) do not agree in {len(self._apart):,} "
                f"of {counted(self._num_pairs, 'segment')}; the seconds are used; first is {first}"
            )
        for one, several, what in (
            ("label", self._numbers, "label_id"),
            ("label_id", self._labels, "label"),
        ):
            odd = [
                f"{name} has {few(sorted(held))}" for name, held in several.items() if len(held) > 1
            ]
            if odd:
                yield f"{self._path}: one {one} with several {what}: {few(odd)}; labels are used"


def _json_instance(where: str, one: Any, key: str) -> RawInstance:
    if not isinstance(one, dict):
        raise DataError(f"{where} is {kind_of(one)}, expected an object with segment and label")
    facts = cast("dict[str, Any]", one)
    segment = facts.get("segment")
    if not isinstance(segment, list) or len(cast("list[Any]", segment)) != 2:
        raise DataError(f"{where}: segment is {segment!r}, expected [start, end] in seconds")
    start, end = cast("list[Any]", segment)
    label = facts.get(key or "label")
    # a number is the name of a class here
    name = str(label) if type(label) in (int, float) else label
    return RawInstance(where, start, end, name, score=facts.get("score"))


def thumos_rows(file: SegmentFile) -> Iterable[RawVideo]:
    """THUMOS14 as a table: one segment per row."""
    path, videos = file.path, dict[str, RawVideo]()
    is_of_names = "type" in file.columns
    name, start, end = (
        ("video", "start", "end") if is_of_names else ("video-name", "t-init", "t-end")
    )
    rows = Table(path, file.text)
    for row in rows:
        where = f"{path}:{rows.line_num}"
        video = (row[name] or "").strip()
        label = row["type"] if is_of_names else class_number(str(row["label-idx"]).strip())
        if not video or label is None:
            raise DataError(f"{where}: a row without video or class")
        entry = videos.setdefault(
            video, RawVideo(video, f"{path}: {video}", row.get("video-duration"), _subset_of(video))
        )
        entry.instances.append(RawInstance(where, row[start], row[end], label))
    return videos.values()


def _subset_of(video: str) -> str | None:
    """Subset of a THUMOS14 video, which is part of its name: video_validation_0000051."""
    parts = video.split("_")
    return parts[1] if len(parts) == 3 and parts[0] == "video" else None


def thumos_files(folder: Path) -> list[tuple[Path, str]]:
    """Files of a THUMOS14 folder, each with its class."""
    found = ((path, _THUMOS_FILE.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [(path, named[1]) for path, named in found if named is not None]


def is_thumos(file: TextFile) -> bool:
    """Whether this is a folder of files CLASS_val.txt or CLASS_test.txt, or one of these files.

    The first line of a file alone has to name a video of THUMOS14, as other lists have such names.
    """
    if file.is_folder:
        return bool(thumos_files(file.path))
    if _THUMOS_FILE.fullmatch(file.path.name) is None:
        return False
    fields = file.first_line.split()
    return (
        len(fields) == 3
        and _subset_of(fields[0]) is not None
        and all(finite_number(one) is not None for one in fields[1:])
    )


def thumos_folder(file: SegmentFile) -> Iterable[RawVideo]:
    """One file per class, one segment per line.

    One file is of one class only. So a file stands for all files of its part beside it.
    """
    if file.is_folder:
        return _by_class(thumos_files(file.path))
    part = file.path.stem.rpartition("_")[2]
    beside = [
        one for one in thumos_files(file.path.parent) if one[0].stem.rpartition("_")[2] == part
    ]
    others = [path.name for path, _ in beside if path.name != file.path.name]
    one = brief(next(label for path, label in beside if path.name == file.path.name))
    file.notes.append(
        f"{file.path}: stands for all files of its part, one per class; beside it "
        f"{'is' if len(others) == 1 else 'are'} {few(others)}"
        if others
        else f"{file.path}: holds the class {one} only, by its name; no other class is beside it"
    )
    return _by_class(beside)


def _by_class(files: Iterable[tuple[Path, str]]) -> Iterable[RawVideo]:
    """Lines `VIDEO START END` of files that have one class each."""
    videos: dict[str, RawVideo] = {}
    for path, label in files:
        for number, line in lines_of(path):
            where, fields = f"{path}:{number}", line.split()
            if len(fields) != 3:
                raise DataError(f"{where}: expected 'VIDEO START END', got {brief(line)}")
            video, start, end = fields
            entry = videos.setdefault(
                video, RawVideo(video, f"{path}: {video}", None, _subset_of(video))
            )
            entry.instances.append(RawInstance(where, start, end, label))
    return videos.values()


def _class_files(folder: Path) -> list[Path]:
    """Files CLASS.txt of a folder whose first line is `VIDEO START END`."""
    found: list[Path] = []
    for path in sorted(folder.glob("*.txt")):
        first = next((line for _, line in lines_of(path)), "") if path.stat().st_size else ""
        fields = first.split()
        if len(fields) == 3 and all(finite_number(each) is not None for each in fields[1:]):
            found.append(path)
    return found


def is_class_folder(file: TextFile) -> bool:
    """Whether this is a folder of files CLASS.txt, as MultiTHUMOS has them."""
    return file.is_folder and bool(_class_files(file.path))


def class_folder(file: SegmentFile) -> Iterable[RawVideo]:
    """MultiTHUMOS: one file per class, one segment per line; classes overlap.

    Source: MultiTHUMOS (Yeung et al. 2018), folder `annotations`.
    """
    files = _class_files(file.path)
    others = [path.name for path in sorted(file.path.glob("*.txt")) if path not in files]
    if others:
        file.notes.append(f"{file.path}: not read, because they hold no segments: {few(others)}")
    return _by_class((path, path.stem) for path in files)


def epic_rows(file: SegmentFile) -> Iterable[RawVideo]:
    """EPIC-Kitchens-100: one action per row; `label_from` says what of it is the class.

    `verb` and `noun` are the names as narrated, `verb_class` and `noun_class` the numbers of the
    classes, on which the challenge is scored; `action` is the pair of these numbers. Times are the
    `timestamp` columns; the frames say the same at the rate of the video, rounded.

    Source: README of epic-kitchens-100-annotations.
    """
    videos: dict[str, RawVideo] = {}
    rows = Table(file.path, file.text)
    names = [name.strip() for name in rows.fieldnames or ()]
    has_labels = "verb_class" in names and "noun_class" in names
    choices = ["verb_class", "noun_class", "action", "verb", "noun"]
    chosen = file.label_of("columns", choices) if has_labels else ""
    for row in rows:
        where = f"{file.path}:{rows.line_num}"
        name = (row["video_id"] or "").strip()
        if not name:
            raise DataError(f"{where}: a row without video_id")
        times = [clock_seconds(row[f"{side}_timestamp"] or "") for side in ("start", "stop")]
        if None in times:
            raise DataError(f"{where}: expected start_timestamp and stop_timestamp hh:mm:ss.ms")
        if chosen == "action":
            label = f"verb {row['verb_class']}, noun {row['noun_class']}"
        else:
            label = (row.get(chosen) or "").strip() if chosen else None
        video = videos.setdefault(name, RawVideo(name, f"{file.path}: {name}"))
        video.instances.append(RawInstance(where, times[0], times[1], label))
    return videos.values()


def charades_rows(file: SegmentFile) -> Iterator[RawVideo]:
    """Charades: one video per row, with all its actions."""
    rows = Table(file.path, file.text, skip_blanks=False)
    for row in rows:
        where = f"{file.path}:{rows.line_num}"
        video = RawVideo((row["id"] or "").strip(), where, row["length"])
        for action in filter(None, (row["actions"] or "").split(";")):
            fields = action.split()
            if len(fields) != 3:
                raise DataError(f"{where}: action {action!r}, expected 'CLASS START END'")
            video.instances.append(RawInstance(where, fields[1], fields[2], fields[0]))
        yield video


def _ctcn_video(where: str, line: str) -> RawVideo | None:
    """Read one line; None if it is malformed.

    Classes start at 1, because 0 is the background. Lines for prediction hold a name only.
    """
    name, *fields = line.split()
    video = RawVideo(name, f"{where}: {name}")
    if not fields:
        return video
    num_frames, count = [*map(integer, fields[:2]), None][:2]
    labels = [class_number(text) for text in fields[2::3]]
    if not num_frames or count is None or len(fields) != 2 + 3 * count:
        return None
    video.num_frames = num_frames
    for label, start, end in zip(labels, fields[3::3], fields[4::3], strict=True):
        if label is None or label <= 0:
            return None
        video.instances.append(RawInstance(where, start, end, label - 1))
    return video


def is_ctcn(file: TextFile) -> bool:
    """Whether this is a list of C-TCN: `NAME FRAMES COUNT (CLASS START END)...`.

    A list of names alone, as for prediction, is one only for readers that need no segments.
    """
    line = file.first_line
    if len(line.split()) == 1 and not (isinstance(file, SegmentFile) and file.may_be_names):
        return False
    return bool(line) and not (file.is_json or "," in line) and _ctcn_video("", line) is not None


def ctcn_lines(file: SegmentFile) -> Iterator[RawVideo]:
    """C-TCN of the 2019 library: one video per line, times in frames."""
    for number, line in file.lines:
        where = f"{file.path}:{number}"
        video = _ctcn_video(where, line)
        if video is None:
            raise DataError(
                f"{where}: expected 'NAME FRAMES COUNT (CLASS START END)...', got {brief(line)}"
            )
        yield video
