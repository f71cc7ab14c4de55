"""Segments as annotation tools export them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, cast

from videozoo.data.annotations.segment_types import RawInstance, RawVideo, video_at
from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.data.formats import TextFile
from videozoo.errors import DataError

_CHECKBOX = 2  # VIA's number of this type of attribute

# --- VIA -------------------------------------------------------------------------------------


def is_via(content: object) -> bool:
    """Whether this is a project of VIA 3, a tool to annotate videos."""
    return isinstance(content, dict) and {"project", "file", "metadata", "view"} <= set(
        cast("dict[str, Any]", content)
    )


def via_videos(file: TextFile) -> Iterable[RawVideo]:
    """The segments of a VIA project."""
    path, content = file.path, file.content
    files, views, metadata, attributes = (
        _objects(path, content, key) for key in ("file", "view", "metadata", "attribute")
    )
    videos: dict[str, RawVideo] = {}
    by_key = {
        key: video_at(videos, path, str(one.get("fname") or one.get("src") or key))
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


def is_label_studio(content: object) -> bool:
    """Whether this is a list of Label Studio tasks, exported as JSON or JSON-MIN."""
    if not isinstance(content, list) or not content:
        return False
    first = cast("list[Any]", content)[0]
    return isinstance(first, dict) and "id" in first and bool(_task_video(first))


def label_studio_videos(file: TextFile) -> Iterable[RawVideo]:
    """Timeline labels are in frames from 1; labels of an audio track are in seconds."""
    path, tasks = file.path, cast("list[Any]", file.content)
    videos: dict[str, RawVideo] = {}
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or not (address := _task_video(cast("Any", task))):
            raise DataError(f"{path}: task {number} names no video")
        video = video_at(videos, path, address)
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
