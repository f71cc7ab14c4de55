"""Segments as published data sets come."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.segment_types import RawInstance, RawVideo
from videozoo.data.formats import TextFile
from videozoo.data.text import Table, integer, kind_of, lines_of
from videozoo.errors import DataError, brief

_DURATIONS = ("duration", "duration_second")
_THUMOS_FILE = re.compile(r"(\w+)_(val|test)\.txt", re.ASCII)


def is_by_video(file: TextFile) -> bool:
    """Whether videos are at the top level: `activity_net_1_3_new.json` of the 2019 library."""
    if not isinstance(file.content, dict):
        return False
    entries = cast("dict[str, Any]", file.content).values()
    known = {"annotations", *_DURATIONS}
    return any(isinstance(one, dict) and not known.isdisjoint(one) for one in entries)


def json_videos(file: TextFile) -> Iterator[RawVideo]:
    """Videos by name, each with its annotations: ActivityNet and the many files of that form."""
    path, content = file.path, cast("dict[str, Any]", file.content)
    database: Any = content.get("database", content)
    if not isinstance(database, dict):
        raise DataError(f"{path}: database is {kind_of(database)}, expected an object of videos")
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
        for number, one in enumerate(cast("list[Any]", listed)):
            video.instances.append(_json_instance(f"{where}: annotation {number}", one))
        yield video


def _json_instance(where: str, one: Any) -> RawInstance:
    if not isinstance(one, dict):
        raise DataError(f"{where} is {kind_of(one)}, expected an object with segment and label")
    facts = cast("dict[str, Any]", one)
    segment = facts.get("segment")
    if not isinstance(segment, list) or len(cast("list[Any]", segment)) != 2:
        raise DataError(f"{where}: segment is {segment!r}, expected [start, end] in seconds")
    start, end = cast("list[Any]", segment)
    label = facts.get("label")
    # a number is the name of a class here
    return RawInstance(where, start, end, str(label) if type(label) in (int, float) else label)


def thumos_rows(file: TextFile) -> Iterable[RawVideo]:
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
        label = row["type"] if is_of_names else integer(str(row["label-idx"]).strip())
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


def thumos_folder(file: TextFile) -> Iterable[RawVideo]:
    """One file per class, one segment per line."""
    videos: dict[str, RawVideo] = {}
    for path, label in thumos_files(file.path):
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


def charades_rows(file: TextFile) -> Iterator[RawVideo]:
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
    labels = [integer(text) for text in fields[2::3]]
    if not num_frames or count is None or len(fields) != 2 + 3 * count:
        return None
    video.num_frames = num_frames
    for label, start, end in zip(labels, fields[3::3], fields[4::3], strict=True):
        if label is None or label <= 0:
            return None
        video.instances.append(RawInstance(where, start, end, label - 1))
    return video


def is_ctcn(file: TextFile) -> bool:
    """Whether this is a list of C-TCN: `NAME FRAMES COUNT (CLASS START END)...`."""
    line = file.first_line
    return bool(line) and not (file.is_json or "," in line) and _ctcn_video("", line) is not None


def ctcn_lines(file: TextFile) -> Iterator[RawVideo]:
    """C-TCN of the 2019 library: one video per line, times in frames."""
    for number, line in file.lines:
        where = f"{file.path}:{number}"
        video = _ctcn_video(where, line)
        if video is None:
            raise DataError(
                f"{where}: expected 'NAME FRAMES COUNT (CLASS START END)...', got {brief(line)}"
            )
        yield video
