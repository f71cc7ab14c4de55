"""Segments as annotation tools export them: VIA 3, Label Studio, and tables with a heading.

None of these tells how long a video is, or which part it belongs to; a table may.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.data.text import Table
from videozoo.errors import DataError

_COLUMNS: dict[str, tuple[str, ...]] = {
    "video": ("video", "video_id", "video_name", "name", "file", "filename", "path"),
    "label": ("label", "class", "action", "type", "category"),
    "start": ("start", "start_seconds", "start_time", "t_start", "begin"),
    "end": ("end", "end_seconds", "end_time", "t_end", "stop"),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "duration": ("duration", "duration_seconds", "length", "video_duration"),
    "subset": ("subset", "split", "part"),
}
"""What columns of tables are called, in lower case."""
_UPLOAD = re.compile(r"[0-9a-f]{8}-", re.ASCII)  # Label Studio puts it before names of uploads
_CHECKBOX = 2  # VIA's number of this type of attribute


@dataclass
class RawVideo:
    """One video as a file has it, not yet checked."""

    name: str
    where: str
    duration: object = None
    subset: str | None = None
    instances: list[RawInstance] = field(default_factory=lambda: list[RawInstance]())
    num_frames: int | None = None
    """Instances are in frames, and the video has so many."""
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    address: str = ""
    """How an export names the file of the video."""


@dataclass(frozen=True)
class RawInstance:
    """One segment as a file has it, not yet checked."""

    where: str
    start: object
    end: object
    label: object
    """A class, or its number from 0."""


def video_of(path: str) -> str:
    """What a video is called whose file has this path, perhaps on another machine or the web.

    >>> video_of("/data/upload/1/3f2a9c01-a.mp4"), video_of("C:\\\\clips\\\\b.avi"), video_of("c.d")
    ('a', 'b', 'c.d')
    """
    found = PurePosixPath(path.strip().replace("\\", "/").partition("?")[0])
    name = found.name
    if "upload" in found.parts:
        name = _UPLOAD.sub("", name, count=1)
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in VIDEO_SUFFIXES else name


def _video_at(videos: dict[str, RawVideo], path: Path, address: str) -> RawVideo:
    """The video with this address, which is new where no other has its name."""
    name = video_of(address)
    video = videos.setdefault(name, RawVideo(name, f"{path}: {name}", address=address))
    if video.address != address:
        raise DataError(
            f"{path}: {video.address} and {address} are both called {name!r}, so features cannot "
            "be told apart; rename one of the files"
        )
    return video


# --- VIA -------------------------------------------------------------------------------------


def is_via(content: object) -> bool:
    """Tell a project of VIA 3, the annotator of videos."""
    return isinstance(content, dict) and {"project", "file", "metadata", "view"} <= set(
        cast("dict[str, Any]", content)
    )


def via_videos(path: Path, content: Mapping[str, Any]) -> Iterable[RawVideo]:
    """Read the temporal segments of a project of VIA 3.

    Raises:
        DataError: The project is damaged, or several attributes could be the class.
    """
    files, views, metadata, attributes = (
        _objects(path, content, key) for key in ("file", "view", "metadata", "attribute")
    )
    videos: dict[str, RawVideo] = {}
    by_key = {
        key: _video_at(videos, path, str(file.get("fname") or file.get("src") or key))
        for key, file in files.items()
    }
    used: set[str] = set()
    for key, one in metadata.items():
        where, times = f"{path}: metadata {key}", one.get("z")
        if not isinstance(times, list) or len(cast("list[Any]", times)) != 2:
            continue  # a still, or of the whole video
        listed = views.get(str(one.get("vid")), {}).get("fid_list")
        file = str(cast("list[Any]", listed)[0]) if isinstance(listed, list) and listed else ""
        if file not in by_key:
            raise DataError(f"{where}: is of view {one.get('vid')!r}, which shows no known file")
        given = one.get("av")
        said = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        said = {name: value for name, value in said.items() if value not in (None, "")}
        used |= set(said)
        attribute, value = next(iter(said.items()), ("", None))
        start, end = cast("list[Any]", times)
        video = by_key[file]
        video.instances += [
            RawInstance(f"{video.where}: metadata {key}", start, end, label)
            for label in _via_labels(value, attributes.get(attribute, {}))
        ]
    if len(used) > 1:
        names = ", ".join(repr(str(attributes.get(key, {}).get("aname", key))) for key in used)
        raise DataError(
            f"{path}: a VIA project whose segments have several attributes ({names}); keep the one "
            "that tells the class, and export again"
        )
    return videos.values()


def _via_labels(value: Any, attribute: Mapping[str, Any]) -> list[Any]:
    """Classes as VIA shows them: it stores numbers of options."""
    given = attribute.get("options")
    options = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    if attribute.get("type") == _CHECKBOX and isinstance(value, str):
        return [options.get(one, one) for one in value.split(",") if one]
    return [options.get(value, value) if isinstance(value, str) else value]


def _objects(path: Path, content: Mapping[str, Any], key: str) -> dict[str, dict[str, Any]]:
    held: Any = content.get(key, {})
    if not isinstance(held, dict) or not all(
        isinstance(one, dict) for one in cast("dict[str, Any]", held).values()
    ):
        raise DataError(f"{path}: a VIA project whose {key!r} holds no objects; export it again")
    return cast("dict[str, dict[str, Any]]", held)


# --- Label Studio ----------------------------------------------------------------------------


def is_label_studio(content: object) -> bool:
    """Tell a list of Label Studio's tasks, exported as JSON or JSON-MIN."""
    if not isinstance(content, list) or not content:
        return False
    first = cast("list[Any]", content)[0]
    return isinstance(first, dict) and "id" in first and bool(_task_video(first))


def label_studio_videos(
    path: Path, tasks: Sequence[Any], frames_per_second: float | None
) -> Iterable[RawVideo]:
    """Read the timeline labels of Label Studio's tasks, which count frames from 1.

    Args:
        path: The file.
        tasks: What it holds.
        frames_per_second: Of the videos. Labels of an audio track are in seconds and need none.

    Raises:
        DataError: Frames cannot be told in seconds, or the tasks are damaged.
    """
    videos: dict[str, RawVideo] = {}
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or not (address := _task_video(cast("Any", task))):
            raise DataError(f"{path}: task {number} names no video")
        video = _video_at(videos, path, address)
        for place, (ends, labels) in enumerate(_regions(cast("dict[str, Any]", task))):
            where = f"{video.where}: region {place}"
            start, end = ends.get("start"), ends.get("end")
            if "timelinelabels" in ends:
                start, end = _seconds_of(where, start, end, frames_per_second)
            video.instances += [RawInstance(where, start, end, label) for label in labels or [None]]
    return videos.values()


def _task_video(task: Mapping[str, Any]) -> str | None:
    """Address of the video of a task, whatever its field is called."""
    data = task.get("data")
    fields = cast("dict[str, Any]", data) if isinstance(data, dict) else task
    texts = [one for one in fields.values() if isinstance(one, str)]
    for text in texts:
        ending = PurePosixPath(text.partition("?")[0]).suffix.lower()
        if ending in VIDEO_SUFFIXES:
            return text
    return None


def _regions(task: Mapping[str, Any]) -> Iterable[tuple[dict[str, Any], list[Any]]]:
    """Start, end and classes of each labelled stretch of a task."""
    values: list[Any] = []
    for annotation in _dicts(task.get("annotations")):
        if not annotation.get("was_cancelled"):
            values += [one.get("value") for one in _dicts(annotation.get("result"))]
    if "annotations" not in task:  # JSON-MIN: a list for each control, beside the data
        values += [one for held in task.values() for one in _dicts(held)]
    for value in _dicts(values):
        if "timelinelabels" in value:
            labels = list(value["timelinelabels"] or [])
            for ends in _dicts(value.get("ranges")):
                yield {**ends, "timelinelabels": True}, labels
        elif "labels" in value and "start" in value:
            yield value, list(value["labels"] or [])


def _dicts(held: object) -> list[dict[str, Any]]:
    listed = cast("list[Any]", held) if isinstance(held, list) else []
    return [one for one in listed if isinstance(one, dict)]


def _seconds_of(where: str, start: Any, end: Any, rate: float | None) -> tuple[object, object]:
    if rate is None:
        raise DataError(
            f"{where}: Label Studio counts in frames ({start} to {end}); say how many frames a "
            "second the videos have: --set data.frames_per_second=25"
        )
    if not isinstance(start, int) or not isinstance(end, int):
        return start, end  # refused where all are checked
    return (start - 1) / rate, end / rate


# --- tables ----------------------------------------------------------------------------------


def table_columns(heading: str) -> dict[str, str] | None:
    """Columns of a CSV of segments by what they hold; None where it is no such table.

    >>> table_columns("Video,start,end,Label")
    {'video': 'Video', 'label': 'Label', 'start': 'start', 'end': 'end'}
    >>> table_columns("a,b,c")
    """
    try:
        names = [name.strip() for name in next(csv.reader([heading]), [])]
    except csv.Error:  # too long for a heading
        return None
    plain = {name.lower().replace("-", "_").replace(" ", "_"): name for name in names}
    found = {
        what: next((plain[one] for one in known if one in plain), None)
        for what, known in (_COLUMNS | _OPTIONAL).items()
    }
    if any(found[what] is None for what in _COLUMNS):
        return None
    return {what: name for what, name in found.items() if name is not None}


def table_videos(path: Path, text: str, columns: Mapping[str, str]) -> Iterable[RawVideo]:
    """Read a CSV with a segment a row; `columns` as `table_columns` tells them.

    Raises:
        DataError: A row names no video, or two rows tell another length or part of one.
    """
    videos: dict[str, RawVideo] = {}
    rows = Table(path, text)
    if rows.fieldnames is not None:
        rows.fieldnames = [name.strip() for name in rows.fieldnames]
    for row in rows:
        where = f"{path}:{rows.line_num}"
        held = {what: (row[name] or "").strip() for what, name in columns.items()}
        if not held["video"]:
            raise DataError(f"{where}: a row without a video")
        video = _video_at(videos, path, held["video"])
        facts = held.get("duration") or None, held.get("subset") or None
        if not video.instances:
            video.duration, video.subset = facts
        if facts != (video.duration, video.subset):
            raise DataError(
                f"{where}: {video.name} has duration {facts[0]!r} and subset {facts[1]!r} here, "
                f"but {video.duration!r} and {video.subset!r} before"
            )
        video.instances.append(
            RawInstance(where, held["start"], held["end"], held["label"] or None)
        )
    return videos.values()
