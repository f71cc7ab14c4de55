"""Segments and points in time in JSON: VIA, Label Studio, FiftyOne, OSL, SoccerNet, E2E-Spot."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.segment_types import (
    RawInstance,
    RawVideo,
    SegmentFile,
    clock_seconds,
    dicts,
    is_video_address,
    mapping,
    video_at,
)
from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number
from videozoo.errors import DataError, brief, counted, few

_CHECKBOX = 2  # VIA's number of this type of attribute


class _LeftOut:
    """What of a file is no segment, by kind, to say so."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, list[str]] = {}

    def add(self, kind: str, place: str) -> None:
        """Count one entry; its kind is a noun with its first word in the singular."""
        self._places.setdefault(kind, []).append(place)

    def notes(self, reason: str) -> Iterator[str]:
        """One note per kind."""
        for kind, places in self._places.items():
            noun, blank, rest = kind.partition(" ")
            yield (
                f"{self._path}: {counted(len(places), noun)}{blank}{rest} "
                f"{'is' if len(places) == 1 else 'are'} left out: {few(places)}; {reason}"
            )


# --- VIA -------------------------------------------------------------------------------------


def is_via(content: object) -> bool:
    """Whether this is a project of VIA 3, a tool to annotate videos."""
    return isinstance(content, dict) and {"project", "file", "metadata", "view"} <= set(
        cast("dict[str, Any]", content)
    )


def via_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """The segments of a VIA project, in seconds."""
    path, content = file.path, file.content
    files, views, metadata, attributes = (
        _objects(path, content, key) for key in ("file", "view", "metadata", "attribute")
    )
    videos: dict[str, RawVideo] = {}
    by_key = {
        key: video_at(videos, path, str(one.get("fname") or one.get("src") or key))
        for key, one in files.items()
    }
    found: list[tuple[str, RawVideo, list[Any], dict[str, Any]]] = []
    others = _LeftOut(path)
    for key, one in metadata.items():
        where, times = f"{path}: metadata {key}", one.get("z")
        is_point = _is_via_point(one) and file.has_spot_seconds
        if not is_point and (not isinstance(times, list) or len(cast("list[Any]", times)) != 2):
            others.add(_via_kind(one), f"metadata {key}{_via_time(times)}")
            continue
        listed = views.get(str(one.get("vid")), {}).get("fid_list")
        shown = str(cast("list[Any]", listed)[0]) if isinstance(listed, list) and listed else ""
        if shown not in by_key:
            raise DataError(f"{where}: its view {one.get('vid')!r} shows no known file")
        values = {k: v for k, v in mapping(one.get("av")).items() if v not in (None, "")}
        found.append((key, by_key[shown], cast("list[Any]", times), values))
    names = {
        key: str(attributes.get(key, {}).get("aname", key)) for _, _, _, av in found for key in av
    }
    chosen = _via_attribute(file, names)
    for key, video, times, values in found:
        value, attribute = values.get(chosen), attributes.get(chosen, {})
        where = f"{video.where}: metadata {key}"
        video.instances += [
            RawInstance(where, times[0], times[1], label)
            if len(times) > 1
            else _spot(file, where, finite_number(times[0]), label, None)
            for label in _via_labels(value, attribute)
        ]
    file.notes += others.notes(
        "only marks with a start and an end are segments; data.spot_seconds makes points segments"
    )
    return videos.values()


def _is_via_point(mark: Mapping[str, Any]) -> bool:
    """Whether a mark is about one time of the video, and no shape in a frame."""
    times = mark.get("z")
    return isinstance(times, list) and len(cast("list[Any]", times)) == 1 and not mark.get("xy")


def _via_kind(mark: Mapping[str, Any]) -> str:
    """What a mark that is no segment is about: `z` holds its times, `xy` its shape in a frame.

    Source: VIA 3's project file: no time means the whole file, one time a frame of it.
    """
    times, shape = mark.get("z"), mark.get("xy")
    num_times = len(cast("list[Any]", times)) if isinstance(times, list) else None
    if num_times == 1:
        return "shape on a single frame" if shape else "mark at a point in time"
    if num_times == 0 or times is None:
        return "shape without a time" if shape else "mark of a whole video"
    return "mark without a start and an end"


def _via_time(times: object) -> str:
    held = cast("list[Any]", times) if isinstance(times, list) else []
    return f", {brief(held[0])} s" if len(held) == 1 else ""


def _via_attribute(file: SegmentFile, names: Mapping[str, str]) -> str:
    """Key of the attribute that holds the class."""
    if not names:
        return ""
    keys = {name: key for key, name in names.items()}
    default = next(iter(keys)) if len(names) == 1 else None
    if default is None and file.label_from is None:
        shown = ", ".join(map(repr, names.values()))
        raise DataError(
            f"{file.path}: a VIA project whose segments have several attributes ({shown}); say "
            "which one is the class (--set data.label_from=NAME), or keep only that one"
        )
    return keys[file.label_of("attributes", list(keys), default=default)]


def _via_labels(value: Any, attribute: Mapping[str, Any]) -> list[Any]:
    """Names of the classes; VIA stores the numbers of the options."""
    options = mapping(attribute.get("options"))
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


_TURN = {"from", "value"}


def is_label_studio(content: object) -> bool:
    """Whether this is a list of Label Studio tasks: an export, JSON-MIN, or tasks to import."""
    if not isinstance(content, list) or not content:
        return False
    first = cast("list[Any]", content)[0]
    if not isinstance(first, dict) or not _task_video(cast("dict[str, Any]", first)):
        return False
    task = cast("dict[str, Any]", first)
    if any(one.keys() >= _TURN for held in task.values() for one in dicts(held)):
        return False  # dialogues about videos, to teach language models
    return not {"id", "annotations", "predictions"}.isdisjoint(task)


def label_studio_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """Timeline labels are in frames from 1, the last included; those of audio are in seconds.

    Label Studio counts frames as time by `frameRate` of its `Video` tag: 24, unless the labelling
    setup says otherwise. The rate is taken from the task where it says so: a field `fps`, or
    `framesCount` and `duration` of a region of the same video.

    Predictions count only where no task at all was annotated. A task that nobody annotated is left
    out: it says nothing about its video.

    Source: Label Studio's documentation of `TimelineLabels` and `Video`, and its example back end
    for timelines, which reads frames `start - 1` to `end`.
    """
    path, tasks = file.path, cast("list[Any]", file.content)
    for number, task in enumerate(tasks):
        if not isinstance(task, dict) or not _task_video(cast("Any", task)):
            raise DataError(f"{path}: task {number} names no video")
    known = cast("list[dict[str, Any]]", tasks)
    done = [task for task in known if _is_done(task)]
    if not done and any(dicts(task.get("predictions")) for task in known):
        file.notes.append(
            f"{path}: nobody has annotated these tasks of Label Studio; their predictions are used"
        )
        regions = [(task, _predicted_regions(task)) for task in known]
    else:
        left = [_task_video(task) or "" for task in known if not _is_done(task)]
        if left:
            file.notes.append(
                f"{path}: {len(left):,} of {counted(len(known), 'task')} have no annotation in "
                f"Label Studio and are left out: {few(left)}"
            )
        several = sum(len(_done(task.get("annotations"))) > 1 for task in done)
        if several:
            file.notes.append(
                f"{path}: {counted(several, 'task')} with several annotations; all are used"
            )
        regions = [(task, _annotated_regions(task)) for task in done]
    videos: dict[str, RawVideo] = {}
    others = _LeftOut(path)
    for task, found in regions:
        video = video_at(videos, path, _task_video(task) or "")
        video.counted_by, video.frames_are_time = "Label Studio", True
        video.frames_per_second = _task_rate(task, found)
        video.duration, video.subset = _task_facts(task)
        for place, region in enumerate(found):
            where = f"{video.where}: region {place}"
            if not _add_region(video, where, region):
                others.add(_region_kind(region), where.removeprefix(f"{path}: "))
    file.notes += others.notes("only labels of a timeline, or of audio, are segments")
    return videos.values()


def _region_kind(region: Mapping[str, Any]) -> str:
    kind = region.get("type")
    return f"region of type {brief(kind)}" if isinstance(kind, str) else "region without times"


def _add_region(video: RawVideo, where: str, region: Mapping[str, Any]) -> bool:
    """Add the segments of one region; whether it is of a kind that has any."""
    value, score = mapping(region.get("value")), region.get("score")
    if "timelinelabels" in value:
        labels = _texts(value["timelinelabels"]) or [None]
        for ends in dicts(value.get("ranges")):
            start, end = ends.get("start"), ends.get("end")
            video.instances += [
                RawInstance(where, start, end, label, True, score) for label in labels
            ]
    elif "labels" in value and "start" in value:
        video.instances += [
            RawInstance(where, value["start"], value.get("end"), label, False, score)
            for label in _texts(value["labels"]) or [None]
        ]
    else:
        return False
    return True


def _texts(held: object) -> list[Any]:
    return list(cast("list[Any]", held)) if isinstance(held, list) else []


def _task_video(task: Mapping[str, Any]) -> str | None:
    """Address of the video of a task; the field may have any name."""
    data = task.get("data")
    fields = cast("Mapping[str, Any]", data) if isinstance(data, dict) else task
    texts = [one for one in fields.values() if isinstance(one, str)]
    return next((text for text in texts if is_video_address(text)), None)


def _task_rate(task: Mapping[str, Any], regions: Iterable[Mapping[str, Any]]) -> float | None:
    """Frame rate by which Label Studio counted in a task; None if it does not say."""
    data = task.get("data")
    fields = cast("Mapping[str, Any]", data) if isinstance(data, dict) else task
    rates = [finite_number(fields.get("fps"))]
    for value in (mapping(region.get("value")) for region in regions):
        frames, seconds = (finite_number(value.get(key)) for key in ("framesCount", "duration"))
        rates.append(frames / seconds if frames and seconds and seconds > 0 else None)
    return next((rate for rate in rates if rate is not None and rate > 0), None)


def _task_facts(task: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """Seconds and subset of the video, in fields of the data that we write."""
    data = task.get("data")
    fields = cast("Mapping[str, Any]", data) if isinstance(data, dict) else task
    subset = fields.get("subset")
    return finite_number(fields.get("duration")), subset if isinstance(subset, str) else None


def _is_done(task: Mapping[str, Any]) -> bool:
    """Whether somebody annotated a task; JSON-MIN lists only such tasks."""
    if "annotations" in task:
        return bool(_done(task["annotations"]))
    return "predictions" not in task


def _done(held: object) -> list[dict[str, Any]]:
    """The annotations that somebody finished."""
    return [one for one in dicts(held) if not one.get("was_cancelled")]


def _annotated_regions(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The regions of a task; JSON-MIN has a list of values for each control, beside the data."""
    if "annotations" in task:
        return [one for each in _done(task["annotations"]) for one in dicts(each.get("result"))]
    return [{"value": one} for held in task.values() for one in dicts(held)]


def _predicted_regions(task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [one for each in dicts(task.get("predictions")) for one in dicts(each.get("result"))]


# --- FiftyOne --------------------------------------------------------------------------------


def is_fiftyone(file: TextFile) -> bool:
    """Whether this is `labels.json` of a FiftyOneTemporalDetectionDataset."""
    content = mapping(file.content)
    labels = content.get("labels")
    if "classes" not in content or not isinstance(labels, dict):
        return False
    listed = cast("dict[str, Any]", labels).values()
    found = [one for held in listed for one in dicts(held)]
    return all(held is None or isinstance(held, list) for held in listed) and all(
        "support" in one or "timestamps" in one for one in found
    )


def fiftyone_videos(file: SegmentFile) -> Iterator[RawVideo]:
    """Detections by name of the file: `support` in frames from 1, or `timestamps` in seconds.

    A label may be a number: its place in `classes`.

    Source: FiftyOne's user guide, `FiftyOneTemporalDetectionDataset`.
    """
    content = cast("dict[str, Any]", file.content)
    classes = content.get("classes")
    names = cast("list[Any]", classes) if isinstance(classes, list) else []
    held = cast("dict[str, Any]", content["labels"])
    if empty := [name for name, listed in held.items() if listed is None]:
        file.notes.append(
            f"{file.path}: {len(empty):,} of {counted(len(held), 'video')} have no labels in "
            f"FiftyOne and are left out: {few(empty)}"
        )
    for name, listed in held.items():
        if listed is None:
            continue
        found = dict[str, RawVideo]()  # a name with folders is a path without its ending
        video = video_at(found, file.path, name) if "/" in name else RawVideo(name, "")
        where = video.where = f"{file.path}: {name}"
        video.counted_by, video.frames_are_time = "FiftyOne", True
        for number, one in enumerate(dicts(listed)):
            place, label = f"{where}: detection {number}", one.get("label")
            if isinstance(label, int) and not isinstance(label, bool) and names:
                if not 0 <= label < len(names):
                    raise DataError(
                        f"{place}: label {label}, expected a number below {len(names)}, the number "
                        "of its classes"
                    )
                label = names[label]
            in_frames = "support" in one
            ends: Any = one["support" if in_frames else "timestamps"]
            if not isinstance(ends, list) or len(cast("list[Any]", ends)) != 2:
                raise DataError(f"{place}: {brief(str(ends))}, expected [START, END]")
            start, end = cast("list[Any]", ends)
            if not in_frames:
                start, end = (clock_seconds(each) for each in (start, end))
            video.instances.append(
                RawInstance(place, start, end, label, in_frames, one.get("confidence"))
            )
        yield video


# --- OSL, SoccerNet and E2E-Spot: points in time -----------------------------------------------


def is_soccernet(file: TextFile) -> bool:
    """Whether this is `Labels-v2.json` of one game of SoccerNet."""
    content = mapping(file.content)
    return any("gameTime" in one for one in dicts(content.get("annotations")))


def is_osl(file: TextFile) -> bool:
    """Whether this is a JSON of OSL-ActionSpotting (`videos`), or OSL 2.0 (`data`)."""
    content = mapping(file.content)
    by_video = any("annotations" in one for one in dicts(content.get("videos")))
    return by_video or any("inputs" in one for one in dicts(content.get("data")))


def soccernet_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """Spots of a game by half: `gameTime` is "HALF - mm:ss", `position` milliseconds of the half.

    Source: SoccerNet's `Labels-v2.json`, and the readers of OSL-ActionSpotting.
    """
    videos: dict[str, RawVideo] = {}
    for number, one in enumerate(dicts(mapping(file.content).get("annotations"))):
        half, _, clock = str(one.get("gameTime", "")).partition(" - ")
        where = f"{file.path}: annotation {number}"
        if half.strip() not in ("1", "2"):
            raise DataError(f"{where}: gameTime {one.get('gameTime')!r}, expected '1 - mm:ss'")
        video = videos.setdefault(half.strip(), RawVideo(half.strip(), f"{file.path}: half {half}"))
        seconds = _milliseconds(one.get("position"))
        seconds = clock_seconds(clock) if seconds is None else seconds
        video.instances.append(_spot(file, where, seconds, one.get("label"), one.get("confidence")))
    file.notes.append(f"{file.path}: its videos are named by the halves of the game: 1 and 2")
    return videos.values()


def osl_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """Spots by video: `position` or `position_ms` are milliseconds.

    Where events have several heads, `label_from` says which one is meant.

    Source: documentation "OSL JSON format" of OpenSportsLab's video annotation tool, and
    `datasets/json.py` of OSL-ActionSpotting.
    """
    content = mapping(file.content)
    videos: dict[str, RawVideo] = {}
    if "videos" in content:
        for number, one in enumerate(dicts(content["videos"])):
            keys = ("path", "path_video", "path_features")
            address = next((str(one[key]) for key in keys if one.get(key)), "")
            if not address:
                raise DataError(f"{file.path}: video {number} has no path")
            address = address.removesuffix(".npy")
            video = video_at(videos, file.path, address)
            for place, each in enumerate(dicts(one.get("annotations"))):
                where = f"{video.where}: annotation {place}"
                seconds = _milliseconds(each.get("position"))
                if seconds is None:
                    seconds = clock_seconds(str(each.get("gameTime", "")).rpartition(" - ")[2])
                spot = _spot(file, where, seconds, each.get("label"), each.get("confidence"))
                video.instances.append(spot)
        return videos.values()
    samples = dicts(content.get("data"))
    heads = Counter(str(each.get("head")) for one in samples for each in dicts(one.get("events")))
    default = next(iter(heads)) if len(heads) == 1 else None
    head = file.label_of("heads of events", list(heads), default=default) if heads else ""
    several = 0
    for number, one in enumerate(samples):
        inputs = [each for each in dicts(one.get("inputs")) if each.get("path")]
        if not inputs:
            raise DataError(f"{file.path}: sample {one.get('id', number)} has no input with a path")
        several += len(inputs) > 1
        video = video_at(videos, file.path, str(inputs[0]["path"]))
        video.frames_per_second = finite_number(inputs[0].get("fps"))
        for place, each in enumerate(dicts(one.get("events"))):
            if head and str(each.get("head")) != head:
                continue
            where, seconds = f"{video.where}: event {place}", _milliseconds(each.get("position_ms"))
            score = each.get("confidence_score")
            video.instances.append(_spot(file, where, seconds, each.get("label"), score))
    if several:
        file.notes.append(
            f"{file.path}: {counted(several, 'sample')} show several views; the first is used"
        )
    return videos.values()


def is_spot(file: TextFile) -> bool:
    """Whether this is a list of E2E-Spot; its predictions, without `num_frames`, are none."""
    first = next(iter(dicts(file.content)), {})
    return {"video", "num_frames", "events"} <= set(first)


def spot_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """Events by video: `frame` is numbered from 0, and `fps` is the rate of the video.

    Source: README of E2E-Spot (Hong et al. 2022), "Using your own data".
    """
    videos: dict[str, RawVideo] = {}
    for number, one in enumerate(cast("list[Any]", file.content)):
        facts = mapping(one)
        name, frames, rate = facts.get("video"), facts.get("num_frames"), facts.get("fps")
        count, per_second = finite_number(frames), finite_number(rate)
        if not isinstance(name, str) or not name or not isinstance(facts.get("events"), list):
            raise DataError(f"{file.path}: entry {number} has no video or no list of events")
        if not per_second or per_second <= 0 or count is None or count <= 0:
            raise DataError(
                f"{file.path}: {name}: num_frames {brief(frames)} and fps {brief(rate)}, expected "
                "two numbers above 0"
            )
        known = len(videos)
        video = video_at(videos, file.path, name)
        if len(videos) == known:
            raise DataError(f"{video.where}: is there twice")
        video.duration = count / per_second
        for place, event in enumerate(dicts(facts["events"])):
            where, frame = f"{video.where}: event {place}", finite_number(event.get("frame"))
            if frame is None or not 0 <= frame < count:
                raise DataError(
                    f"{where}: frame {brief(event.get('frame'))}, expected a number from 0 to "
                    f"{count - 1:g}"
                )
            label = event.get("label")
            video.instances.append(_spot(file, where, frame / per_second, label, None))
    return videos.values()


def _milliseconds(value: object) -> float | None:
    number = finite_number(value)
    return None if number is None else number / 1000


def _spot(
    file: SegmentFile, where: str, seconds: float | None, label: object, score: object
) -> RawInstance:
    """A point in time, as a segment of the length that the user chose.

    Raises:
        DataError: The user did not choose, or the point has no time.
    """
    width = file.spot_seconds
    if width is None:
        raise DataError(
            f"{where}: {label!r} is a point in time, and has no start and end; say how long the "
            "segments around such points are: --set data.spot_seconds=2"
        )
    if seconds is None:
        raise DataError(f"{where}: has no position in milliseconds")
    return RawInstance(
        where, max(0.0, seconds - width / 2), seconds + width / 2, label, score=score
    )
