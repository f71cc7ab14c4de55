"""Formats of segment annotations: what a file says, not yet checked.

`FORMATS`, at the end, is the table of known formats: published data sets, exports of annotation
tools, and tables with a heading. `segments` checks what is read here.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, cast

from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.data.formats import Format, TextFile, format_of, unknown
from videozoo.data.text import Table, integer, kind_of, lines_of
from videozoo.errors import DataError, brief

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
"""Names of the columns of a table, in lower case."""
_UPLOAD = re.compile(r"[0-9a-f]{8}-", re.ASCII)  # Label Studio's prefix of uploaded files
_DURATIONS = ("duration", "duration_second")
_THUMOS_FILE = re.compile(r"(\w+)_(val|test)\.txt", re.ASCII)
_CHECKBOX = 2  # VIA's number of this type of attribute


@dataclass
class RawVideo:
    """One video as the file describes it, not yet checked."""

    name: str
    where: str
    duration: object = None
    subset: str | None = None
    instances: list[RawInstance] = field(default_factory=lambda: list[RawInstance]())
    num_frames: int | None = None
    """Number of frames of the video, if its instances are in frames."""
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    address: str = ""
    """Path or address of the video in an export of a tool."""


@dataclass(frozen=True)
class RawInstance:
    """One segment as the file describes it, not yet checked."""

    where: str
    start: object
    end: object
    label: object
    """Name of a class, or its number from 0."""
    in_frames: bool = False
    """Start and end are the first and the last frame, numbered from 1."""


def video_of(path: str) -> str:
    """Name of the video at a path, which may be of another machine or on the web.

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
    """The video with this address; added to `videos` if its name is new."""
    name = video_of(address)
    video = videos.setdefault(name, RawVideo(name, f"{path}: {name}", address=address))
    if video.address != address:
        raise DataError(
            f"{path}: {video.address} and {address} are both called {name!r}, so their features "
            "cannot be told apart; rename one of the files"
        )
    return video


# --- VIA -------------------------------------------------------------------------------------


def _is_via(content: object) -> bool:
    """Whether this is a project of VIA 3, a tool to annotate videos."""
    return isinstance(content, dict) and {"project", "file", "metadata", "view"} <= set(
        cast("dict[str, Any]", content)
    )


def _via_videos(file: TextFile) -> Iterable[RawVideo]:
    """The segments of a VIA project."""
    path, content = file.path, file.content
    files, views, metadata, attributes = (
        _objects(path, content, key) for key in ("file", "view", "metadata", "attribute")
    )
    videos: dict[str, RawVideo] = {}
    by_key = {
        key: _video_at(videos, path, str(one.get("fname") or one.get("src") or key))
        for key, one in files.items()
    }
    used: set[str] = set()
    for key, one in metadata.items():
        where, times = f"{path}: metadata {key}", one.get("z")
        if not isinstance(times, list) or len(cast("list[Any]", times)) != 2:
            continue  # about one frame, or about the whole video
        listed = views.get(str(one.get("vid")), {}).get("fid_list")
        shown = str(cast("list[Any]", listed)[0]) if isinstance(listed, list) and listed else ""
        if shown not in by_key:
            raise DataError(f"{where}: its view {one.get('vid')!r} shows no known file")
        given = one.get("av")
        values = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
        values = {name: value for name, value in values.items() if value not in (None, "")}
        used |= set(values)
        attribute, value = next(iter(values.items()), ("", None))
        start, end = cast("list[Any]", times)
        video = by_key[shown]
        video.instances += [
            RawInstance(f"{video.where}: metadata {key}", start, end, label)
            for label in _via_labels(value, attributes.get(attribute, {}))
        ]
    if len(used) > 1:
        names = ", ".join(repr(str(attributes.get(key, {}).get("aname", key))) for key in used)
        raise DataError(
            f"{path}: a VIA project whose segments have several attributes ({names}); keep only "
            "the attribute with the class, and export again"
        )
    return videos.values()


def _via_labels(value: Any, attribute: Mapping[str, Any]) -> list[Any]:
    """Names of the classes; VIA stores the numbers of the options."""
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


def _is_label_studio(content: object) -> bool:
    """Whether this is a list of Label Studio tasks, exported as JSON or JSON-MIN."""
    if not isinstance(content, list) or not content:
        return False
    first = cast("list[Any]", content)[0]
    return isinstance(first, dict) and "id" in first and bool(_task_video(first))


def _label_studio_videos(file: TextFile) -> Iterable[RawVideo]:
    """Timeline labels are in frames from 1; labels of an audio track are in seconds."""
    path, tasks = file.path, cast("list[Any]", file.content)
    videos: dict[str, RawVideo] = {}
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or not (address := _task_video(cast("Any", task))):
            raise DataError(f"{path}: task {number} names no video")
        video = _video_at(videos, path, address)
        for place, (ends, labels) in enumerate(_regions(cast("dict[str, Any]", task))):
            where = f"{video.where}: region {place}"
            start, end, in_frames = ends.get("start"), ends.get("end"), "timelinelabels" in ends
            video.instances += [
                RawInstance(where, start, end, label, in_frames) for label in labels or [None]
            ]
    return videos.values()


def _task_video(task: Mapping[str, Any]) -> str | None:
    """Address of the video of a task; the field may have any name."""
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


# --- tables ----------------------------------------------------------------------------------


def table_columns(heading: str) -> dict[str, str] | None:
    """Names of the columns of a CSV of segments, by what they hold; None if it is no such table.

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


def _table_videos(file: TextFile) -> Iterable[RawVideo]:
    path, columns = file.path, table_columns(file.heading) or {}
    videos: dict[str, RawVideo] = {}
    rows = Table(path, file.text)
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


# --- data sets ---------------------------------------------------------------------------------


def _is_by_video(file: TextFile) -> bool:
    """Whether videos are at the top level: `activity_net_1_3_new.json` of the 2019 library."""
    if not isinstance(file.content, dict):
        return False
    entries = cast("dict[str, Any]", file.content).values()
    known = {"annotations", *_DURATIONS}
    return any(isinstance(one, dict) and not known.isdisjoint(one) for one in entries)


def _json_videos(file: TextFile) -> Iterator[RawVideo]:
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


def _thumos_rows(file: TextFile) -> Iterable[RawVideo]:
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


def _thumos_files(folder: Path) -> list[tuple[Path, str]]:
    """Files of a THUMOS14 folder, each with its class."""
    found = ((path, _THUMOS_FILE.fullmatch(path.name)) for path in sorted(folder.iterdir()))
    return [(path, named[1]) for path, named in found if named is not None]


def _thumos_folder(file: TextFile) -> Iterable[RawVideo]:
    """One file per class, one segment per line."""
    videos: dict[str, RawVideo] = {}
    for path, label in _thumos_files(file.path):
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


def _charades_rows(file: TextFile) -> Iterator[RawVideo]:
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


def _is_ctcn(file: TextFile) -> bool:
    line = file.first_line
    return bool(line) and not (file.is_json or "," in line) and _ctcn_video("", line) is not None


def _ctcn_lines(file: TextFile) -> Iterator[RawVideo]:
    for number, line in file.lines:
        where = f"{file.path}:{number}"
        video = _ctcn_video(where, line)
        if video is None:
            raise DataError(
                f"{where}: expected 'NAME FRAMES COUNT (CLASS START END)...', got {brief(line)}"
            )
        yield video


# --- which file is of which format -----------------------------------------------------------


def _has_columns(*names: str) -> Callable[[TextFile], bool]:
    return lambda file: file.columns >= set(names)


FORMATS: tuple[Format[TextFile, Callable[[TextFile], Iterable[RawVideo]]], ...] = (
    Format(
        "THUMOS14, a folder of CLASS_val.txt",
        lambda file: file.is_folder and bool(_thumos_files(file.path)),
        _thumos_folder,
        "video_validation_0000051 1.0 2.5\n",
        "annotation/run_val.txt",
    ),
    Format(
        "VIA 3 project",
        lambda file: _is_via(file.content),
        _via_videos,
        '{"project": {}, "file": {"1": {"fname": "a.mp4"}}, "view": {"1": {"fid_list": ["1"]}}, '
        '"attribute": {"1": {"aname": "action", "type": 4, "options": {"0": "run"}}}, '
        '"metadata": {"1_x": {"vid": "1", "z": [1.0, 2.5], "av": {"1": "0"}}}}',
        "project.json",
    ),
    Format(
        "Label Studio",
        lambda file: _is_label_studio(file.content),
        _label_studio_videos,
        '[{"id": 1, "data": {"video": "a.mp4"}, "annotations": [{"result": [{"value": '
        '{"ranges": [{"start": 11, "end": 25}], "timelinelabels": ["run"]}}]}]}]',
        "export.json",
    ),
    Format(
        "ActivityNet",
        lambda file: isinstance(file.content, dict) and "database" in file.content,
        _json_videos,
        '{"database": {"a": {"duration": 9, "subset": "training", '
        '"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}}',
        "activity_net.v1-3.min.json",
    ),
    Format(
        "ActivityNet as in the 2019 library",
        _is_by_video,
        _json_videos,
        '{"a": {"duration_second": 9, "subset": "training", '
        '"annotations": [{"segment": [1.0, 2.5], "label": "run"}]}}',
        "activity_net_1_3_new.json",
    ),
    Format(
        "THUMOS14 with names of classes",
        _has_columns("video", "type", "start", "end"),
        _thumos_rows,
        "video,type,start,end\nvideo_validation_0000051,run,1.0,2.5\n",
        "val_Annotation.csv",
    ),
    Format(
        "THUMOS14 with numbers of classes",
        _has_columns("video-name", "t-init", "t-end", "label-idx"),
        _thumos_rows,
        "video-name,t-init,t-end,label-idx,video-duration\nvideo_validation_0000051,1.0,2.5,0,9\n",
        "thumos14.csv",
    ),
    Format(
        "Charades",
        _has_columns("id", "actions", "length"),
        _charades_rows,
        "id,actions,length\na,c000 1.0 2.5;c001 3.0 4.0,9\n",
        "Charades_v1_train.csv",
    ),
    Format(
        "CSV with one segment per row",
        lambda file: table_columns(file.heading) is not None,
        _table_videos,
        "video,start,end,label\na.mp4,1.0,2.5,run\n",
        "segments.csv",
    ),
    Format(
        "C-TCN list of the 2019 library, in frames",
        _is_ctcn,
        _ctcn_lines,
        "a 90 1 1 10 25\n",
        "train.list",
    ),
)
"""Formats of segment annotations."""


def raw_videos(path: Path) -> Iterable[RawVideo]:
    """Read the videos of a file in any of `FORMATS`.

    Raises:
        DataError: The file is missing, damaged or of no known format.
    """
    file = TextFile(path)
    found = format_of(file, FORMATS)
    if found is not None:
        return found.read(file)
    if file.is_folder:
        raise unknown(f"{path}: no annotations in this folder", FORMATS)
    is_result = isinstance(file.content, dict) and "results" in file.content
    seen = "these are results, expected annotations" if is_result else file.seen
    raise unknown(f"{path}: not annotations of a known kind: {seen}", FORMATS)
