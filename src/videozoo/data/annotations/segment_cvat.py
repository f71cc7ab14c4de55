"""Segments in CVAT's XML 1.1: tracks of a video, and tags of its frames."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError, TreeBuilder, XMLParser

from videozoo.data.annotations.segment_types import RawInstance, RawVideo, SegmentFile, video_at
from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number, integer
from videozoo.errors import DataError, brief, counted, few

_DEEPEST = 20  # elements inside one another; CVAT needs 8
_SHAPES = frozenset(
    ("box", "polygon", "polyline", "points", "cuboid", "ellipse", "mask", "skeleton")
)
State = str | None
"""The class at a frame; None where there is none."""


def is_cvat(file: TextFile) -> bool:
    """Whether this is XML with the element `annotations` at the top."""
    head = file.text[:2000].lstrip("\ufeff \t\r\n")
    return head.startswith("<") and "<annotations>" in head


def cvat_videos(file: SegmentFile) -> Iterable[RawVideo]:
    """Segments of the videos of a task or a project.

    "CVAT for video": a segment is where a track is not `outside`; its class is the track's label,
    or the value of the attribute that `label_from` names. A track that only lists key frames, and
    does not go outside, lasts to the last frame of its task, as when CVAT reads it. "CVAT for
    images" of a video: a segment is a run of frames with the same tag.

    Frames are those of the video file, numbered from 0.

    Source: CVAT's documentation "XML annotation format", and its exporter, which writes absolute
    frames: start frame + frame of the task x step.
    """
    root = _parsed(file.path, file.text)
    tasks = _tasks(root, file.path)
    _check_attributes(root, file)
    videos: dict[str, RawVideo] = {}
    for task in tasks.values():
        video = video_at(videos, file.path, task.video)
        video.counted_by = "CVAT"
    for track in root.findall("track"):
        task = _task_of(track, tasks, file.path)
        video = video_at(videos, file.path, task.video)
        where = f"{video.where}: track {track.get('id', '?')}"
        states = list(_track_states(track, where, task, file.label_from))
        _add_runs(video, where, states)
    _add_tags(root, tasks, videos, file)
    return videos.values()


def _check_attributes(root: Element, file: SegmentFile) -> None:
    """Say which attributes could be the class in place of the label.

    Raises:
        DataError: The user chose an attribute that no track and no tag has.
    """
    labels: dict[str, None] = {}
    values: dict[str, dict[str, None]] = {}
    without = dict[str, list[str]](track=[], tag=[])
    for one in [*root.iterfind("track"), *root.iterfind("image/tag")]:
        label = one.get("label", "").strip()
        labels[label] = None
        names: set[str] = set()
        for attribute in one.iter("attribute"):
            name, value = attribute.get("name", ""), (attribute.text or "").strip()
            values.setdefault(name, {})[value] = None
            names |= {name} if value else set()
        if file.label_from not in names:
            without[one.tag].append(label)
    if not labels:
        return
    if file.label_from is not None:
        file.label_of("attributes", list(values))
        file.notes += [
            f"{file.path}: {counted(len(several), kind)} without the attribute "
            f"{file.label_from!r} {'is' if len(several) == 1 else 'are'} left out, labelled "
            f"{few(map(brief, dict.fromkeys(several)))}"
            for kind, several in without.items()
            if several
        ]
        return
    could_be = {name: held for name, held in values.items() if _could_be_classes(held)}
    if could_be:
        name, held = next(iter(could_be.items()))
        others = "" if len(could_be) == 1 else f"; so could {few(map(repr, list(could_be)[1:]))}"
        file.notes.append(
            f"{file.path}: the class is the label ({few(map(brief, labels))}); the attribute "
            f"{name!r} ({few(map(brief, filter(None, held)))}) could be the class: "
            f"--set data.label_from={shlex.quote(name)}{others}"
        )


def _could_be_classes(values: Iterable[str]) -> bool:
    """Whether the values of an attribute are names, not numbers or a box that is ticked or not."""
    names = {one for one in values if one and finite_number(one) is None}
    return bool(names - {"true", "false"})


class _Task:
    """A task of CVAT: one video, and which of its frames were annotated."""

    def __init__(self, meta: Element, path: Path) -> None:
        def text(name: str) -> str:
            return (meta.findtext(name) or "").strip()

        self.video = text("source") or text("name")
        if not self.video:
            raise DataError(f"{path}: a task of CVAT without source and name")
        self.step = 1
        words = text("frame_filter").replace(" ", "").partition("step=")
        if words[1]:
            self.step = max(1, integer(words[2]) or 1)
        start, stop, size = (integer(text(n)) for n in ("start_frame", "stop_frame", "size"))
        if stop is None and size is not None:
            stop = (start or 0) + (size - 1) * self.step
        self.last_frame = stop
        """The last frame that was annotated, from 0; None if unknown."""


def _parsed(path: Path, text: str) -> Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DataError(f"{path}: declares its own XML entities, which CVAT never does; not read")
    parser = XMLParser(target=_Shallow(path))
    try:
        parser.feed(text)
        root: Element = parser.close()
    except ParseError as error:
        raise DataError(f"{path}: not valid XML: {error}") from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8; store the file as UTF-8") from None
    return root


class _Shallow(TreeBuilder):
    """Builds elements, and refuses deep nesting."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._depth = 0

    def start(self, tag: Any, attrs: Any, /) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._depth += 1
        if self._depth > _DEEPEST:
            raise DataError(f"{self._path}: XML nested deeper than {_DEEPEST}; is it of CVAT?")
        return super().start(tag, attrs)

    def end(self, tag: Any, /) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._depth -= 1
        return super().end(tag)


def _tasks(root: Element, path: Path) -> dict[str, _Task]:
    """The tasks by their numbers; a file of one task or job has one."""
    meta = root.find("meta")
    if meta is None:
        raise DataError(f"{path}: has no meta; export it from CVAT as 'CVAT for video 1.1'")
    found = [*meta.findall("project/tasks/task"), *meta.findall("task"), *meta.findall("job")]
    if not found:
        raise DataError(f"{path}: names no task; export it from CVAT as 'CVAT for video 1.1'")
    outer = meta.find("source")
    if len(found) == 1 and outer is not None and found[0].find("source") is None:
        found[0].append(outer)  # older versions name the video beside the task
    return {(one.findtext("id") or "").strip(): _Task(one, path) for one in found}


def _task_of(element: Element, tasks: Mapping[str, _Task], path: Path) -> _Task:
    if len(tasks) == 1:
        return next(iter(tasks.values()))
    key = element.get("task_id", "")
    if key not in tasks:
        raise DataError(f"{path}: <{element.tag} id={element.get('id')!r}> is of no known task")
    return tasks[key]


def _track_states(
    track: Element, where: str, task: _Task, attribute: str | None
) -> Iterator[tuple[int, State]]:
    """The class of a track from each listed frame on; the last frame ends it."""
    label = track.get("label", "").strip()
    shapes = [shape for shape in track if shape.tag in _SHAPES]
    listed: list[tuple[int, bool, State]] = []
    held: State = None
    for shape in shapes:
        frame = integer(shape.get("frame", ""))
        if frame is None or frame < 0:
            raise DataError(f"{where}: frame {shape.get('frame')!r}, expected a number from 0")
        if attribute is not None:
            texts = {one.get("name"): (one.text or "").strip() for one in shape.iter("attribute")}
            held = texts.get(attribute, held)
        state = label if attribute is None else held
        is_outside = shape.get("outside", "0") == "1"
        listed.append((frame, shape.get("keyframe", "1") == "1", None if is_outside else state))
    listed.sort(key=lambda one: one[0])
    for frame, _, state in listed:
        yield frame, state
    if listed and listed[-1][2] is not None:
        frame, is_key, _ = listed[-1]
        lists_all = len(listed) > 1 and listed[-1][0] - listed[-2][0] <= task.step
        end = frame + task.step
        if task.last_frame is not None and is_key and not lists_all:
            end = max(end, task.last_frame + 1)
        yield end, None


def _add_runs(video: RawVideo, where: str, states: Iterable[tuple[int, State]]) -> None:
    """Add a segment for each stretch of frames, from 0, with one class."""
    begun, held = 0, None
    for frame, state in states:
        if state == held:
            continue
        if held is not None and frame > begun:
            video.instances.append(RawInstance(where, begun + 1, frame, held, in_frames=True))
        begun, held = frame, state


def _add_tags(
    root: Element, tasks: Mapping[str, _Task], videos: dict[str, RawVideo], file: SegmentFile
) -> None:
    """Add the runs of frames with the same tag."""
    runs: dict[tuple[str, str], list[int]] = {}
    steps: dict[str, int] = {}
    num_shapes = 0
    for image in root.findall("image"):
        task = _task_of(image, tasks, file.path)
        frame = integer(image.get("id", ""))
        if frame is None or frame < 0:
            raise DataError(f"{file.path}: image {image.get('id')!r}, expected a number from 0")
        steps[task.video] = task.step
        num_shapes += sum(shape.tag in _SHAPES for shape in image)
        for tag in image.findall("tag"):
            label: State = tag.get("label", "").strip()
            if file.label_from is not None:
                texts = {one.get("name"): (one.text or "").strip() for one in tag.iter("attribute")}
                label = texts.get(file.label_from)
            if label:
                runs.setdefault((task.video, label), []).append(frame)
    for (name, label), frames in runs.items():
        video = video_at(videos, file.path, name)
        for first, last in _stretches(sorted(set(frames)), steps[name]):
            where = f"{video.where}: tag {label} of frame {first}"
            last_frame = last + steps[name]  # from 1
            video.instances.append(RawInstance(where, first + 1, last_frame, label, in_frames=True))
    if num_shapes:
        file.notes.append(
            f"{file.path}: {counted(num_shapes, 'shape')} on single images are left out; "
            "only tags and tracks are segments"
        )


def _stretches(frames: list[int], step: int) -> Iterator[tuple[int, int]]:
    """First and last of each run of frames that follow one another.

    >>> list(_stretches([1, 2, 3, 7], 1))
    [(1, 3), (7, 7)]
    """
    first = last = frames[0]
    for frame in frames[1:]:
        if frame - last > step:
            yield first, last
            first = frame
        last = frame
    yield first, last
