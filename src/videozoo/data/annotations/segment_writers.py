"""Write segments in the forms of data sets and annotation tools; the table of writers.

What is written is read by `segment_formats` again: to the same times, or to the same frames where
a form counts frames.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.data.annotations.segment_types import FrameTimes, is_video_address
from videozoo.data.annotations.timed_segments import TimedSegment, TimedVideo
from videozoo.errors import DataError, counted, few
from videozoo.safe_write import written_aside

UNNAMED = "segment"
"""Label of segments without one, in forms that need one."""
_FROM, _TO = "timelineLabels", "video"  # names of the tags in Label Studio's own example
_MODEL = "videozoo"


@dataclass(frozen=True)
class Writer:
    """One row of the table of writers."""

    text: Callable[[Sequence[TimedVideo], list[str]], str]
    """The whole file; the list takes what could not be carried over, and how to open it."""
    about: str
    """One line: what it is, and what opens it."""
    file: str
    """A usual name of the file."""


def write_segments(
    path: Path, videos: Sequence[TimedVideo], form: str, *, notes: list[str]
) -> None:
    """Write segments in one of the forms of `WRITERS`.

    Args:
        path: The file.
        videos: The videos.
        form: A key of `WRITERS`.
        notes: Takes what could not be carried over, and how the file is opened.

    Raises:
        DataError: A label goes over several lines, a name is no text, or the form needs what is
            not known.
        OSError: The file cannot be written.
    """
    for video in videos:
        for one in video.segments:
            if one.label is not None and len(one.label.splitlines()) > 1:
                raise DataError(f"{video.name}: label {one.label!r} goes over several lines")
    text = WRITERS[form].text(videos, notes)
    try:
        content = text.encode()
    except UnicodeEncodeError as error:  # names of files may be any bytes; these files are UTF-8
        near = text[max(0, error.start - 20) : error.end]
        raise DataError(
            f"{path}: cannot be written: {near!r} is not UTF-8; rename the video or the label"
        ) from None
    with written_aside(path) as aside:
        aside.write_bytes(content)


# --- in seconds --------------------------------------------------------------------------------


def _activitynet(videos: Sequence[TimedVideo], notes: list[str]) -> str:
    database: dict[str, Any] = {}
    for video in videos:
        annotations = [
            {
                "segment": [one.start_seconds, one.end_seconds],
                **({} if one.label is None else {"label": one.label}),
                **({} if one.score is None else {"score": one.score}),
            }
            for one in video.segments
        ]
        database[video.name] = {
            **({} if video.subset is None else {"subset": video.subset}),
            **({} if video.duration_seconds is None else {"duration": video.duration_seconds}),
            "annotations": annotations,
        }
    unknown = [video.name for video in videos if video.duration_seconds is None]
    if unknown:
        notes.append(
            f"the lengths of {len(unknown):,} of {counted(len(videos), 'video')} are not known, "
            f"and other readers of this form need them: {few(unknown)}"
        )
    return json.dumps({"version": "VERSION 1.3", "database": database}, ensure_ascii=False) + "\n"


def _csv(videos: Sequence[TimedVideo], notes: list[str]) -> str:
    columns: list[tuple[str, Callable[[TimedVideo, TimedSegment], object]]] = [
        ("video", lambda video, _: video.address or video.name),
        ("start", lambda _, one: one.start_seconds),
        ("end", lambda _, one: one.end_seconds),
        ("label", lambda _, one: one.label),
    ]
    if any(one.score is not None for video in videos for one in video.segments):
        columns.append(("score", lambda _, one: one.score))
    if any(video.duration_seconds is not None for video in videos):
        columns.append(("duration", lambda video, _: video.duration_seconds))
    if any(video.subset is not None for video in videos):
        columns.append(("subset", lambda video, _: video.subset))
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    rows.writerow([name for name, _ in columns])
    about_video = ("video", "duration", "subset")
    for video in videos:
        for one in video.segments:
            rows.writerow([value(video, one) for _, value in columns])
        if not video.segments:
            none = TimedSegment(0, 0, None)
            cells = [value(video, none) if name in about_video else "" for name, value in columns]
            rows.writerow(cells)
    empty = sum(not video.segments for video in videos)
    if empty:
        notes.append(
            f"{counted(empty, 'video')} without segments: a row with empty start, end and label"
        )
    return out.getvalue()


# --- in frames ---------------------------------------------------------------------------------


class _Frames:
    """Turns segments into frames, and counts what changes by it."""

    def __init__(self) -> None:
        self._short = self._beyond = 0
        self._largest = 0.0

    def of(self, one: TimedSegment, times: FrameTimes) -> tuple[int, int]:
        first, last = times.frames(one.start_seconds, one.end_seconds)
        self._short += one.end_seconds - one.start_seconds < 0.5 / times.frames_per_second
        length = times.duration_seconds
        slack = 1 / times.frames_per_second
        if length is not None and one.end_seconds > length + slack:
            self._beyond += 1
        else:
            start, end = times.span(first, last)
            apart = max(abs(start - one.start_seconds), abs(end - one.end_seconds))
            if apart > 1e-6 and one.end_seconds - one.start_seconds >= slack:
                self._largest = max(self._largest, apart)
        return first, last

    def notes(self, notes: list[str]) -> None:
        if self._largest:
            notes.append(
                f"this form counts frames: times are moved to the nearest one, by up to "
                f"{self._largest:.3g} s"
            )
        if self._short:
            notes.append(f"{counted(self._short, 'segment')} shorter than half a frame: one frame")
        if self._beyond:
            notes.append(
                f"{counted(self._beyond, 'segment')} beyond the end of the video: cut there"
            )


def _label(one: TimedSegment) -> str:
    return one.label if one.label is not None else UNNAMED


def _note_unnamed(videos: Sequence[TimedVideo], notes: list[str]) -> None:
    unnamed = sum(one.label is None for video in videos for one in video.segments)
    if unnamed:
        notes.append(
            f"{counted(unnamed, 'segment')} without a label: written as {UNNAMED!r}, because this "
            "form needs one"
        )


def _label_studio(videos: Sequence[TimedVideo], notes: list[str]) -> str:
    """Tasks with predictions, as Label Studio's guide "Import pre-annotated data" describes them.

    The frame rate of each video is in its task as `fps`, from where the labelling setup takes it.
    """
    frames = _Frames()
    tasks: list[dict[str, Any]] = []
    for number, video in enumerate(videos):
        if video.times is None:
            raise DataError(
                f"{video.name}: Label Studio counts frames, and its frame rate is not known; name "
                "the folder of the videos (--videos DIR), or --frames-per-second"
            )
        if not is_video_address(video.address):
            raise DataError(
                f"{video.name}: Label Studio needs the file of the video, with its ending; name "
                "the folder of the videos: --videos DIR"
            )
        times = video.times.steady()  # Label Studio multiplies time by the rate
        result: list[dict[str, Any]] = []
        for place, one in enumerate(video.segments):
            first, last = frames.of(one, times)
            result.append(
                {
                    "id": f"{number}_{place}",
                    "type": "timelinelabels",
                    "from_name": _FROM,
                    "to_name": _TO,
                    "origin": "prediction",
                    "value": {
                        "ranges": [{"start": first, "end": last}],
                        "timelinelabels": [_label(one)],
                    },
                    **({} if one.score is None else {"score": one.score}),
                }
            )
        scores = [one.score for one in video.segments if one.score is not None]
        prediction = {
            "model_version": _MODEL,
            **({"score": sum(scores) / len(scores)} if scores else {}),
            "result": result,
        }
        data: dict[str, Any] = {"video": video.address, "fps": times.frames_per_second}
        if video.subset is not None:
            data["subset"] = video.subset
        if video.duration_seconds is not None:
            data["duration"] = video.duration_seconds
        tasks.append({"data": data, "predictions": [prediction]})
    frames.notes(notes)
    _note_unnamed(videos, notes)
    notes.append(f"the labelling setup of Label Studio must be:\n{_setup(videos)}")
    return json.dumps(tasks, ensure_ascii=False, indent=1) + "\n"


def _setup(videos: Sequence[TimedVideo]) -> str:
    """The labelling setup that fits the tasks."""
    labels = sorted({_label(one) for video in videos for one in video.segments})
    table = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"})
    rows = [f'    <Label value="{label.translate(table)}"/>' for label in labels]
    return "\n".join(
        [
            "<View>",
            f'  <Video name="{_TO}" value="$video" frameRate="$fps"/>',
            f'  <TimelineLabels name="{_FROM}" toName="{_TO}">',
            *rows,
            "  </TimelineLabels>",
            "</View>",
        ]
    )


def _fiftyone(videos: Sequence[TimedVideo], notes: list[str]) -> str:
    """`labels.json` of a FiftyOneTemporalDetectionDataset: by name of the file, without ending."""
    frames = _Frames()
    labels: dict[str, Any] = {}
    for video in videos:
        rows: list[dict[str, Any]] = []
        for one in video.segments:
            if video.times is None:
                when: dict[str, Any] = {"timestamps": [one.start_seconds, one.end_seconds]}
            else:
                when = {"support": list(frames.of(one, video.times.steady()))}
            scored = {} if one.score is None else {"confidence": one.score}
            rows.append({"label": _label(one), **when, **scored})
        labels[_fiftyone_name(video)] = rows
    frames.notes(notes)
    _note_unnamed(videos, notes)
    unknown = sum(video.times is None for video in videos)
    if unknown:
        notes.append(
            f"the frame rates of {counted(unknown, 'video')} are not known: times are written as "
            "`timestamps`, which FiftyOne turns into frames; --videos DIR makes them exact"
        )
    lost = [
        what
        for what, held in (
            ("subsets", any(video.subset is not None for video in videos)),
            ("lengths of videos", any(video.duration_seconds is not None for video in videos)),
        )
        if held
    ]
    if lost:
        notes.append(f"this form has no place for {' and '.join(lost)}")
    notes.append(
        "open it in FiftyOne: fo.Dataset.from_dir(data_path=VIDEOS, labels_path=THIS_FILE, "
        "dataset_type=fo.types.FiftyOneTemporalDetectionDataset)"
    )
    classes = sorted({_label(one) for video in videos for one in video.segments})
    return json.dumps({"classes": classes, "labels": labels}, ensure_ascii=False, indent=1) + "\n"


def _fiftyone_name(video: TimedVideo) -> str:
    """Name of a video for FiftyOne: its path in the folder of videos, without the ending.

    A whole path keeps its ending: FiftyOne then takes the file itself.

    Source: FiftyOne 1.22, `FiftyOneTemporalDetectionDatasetImporter`.
    """
    path = video.address
    if "/" not in path or not is_video_address(path) or "?" in path or "://" in path:
        return video.name
    return path if path.startswith("/") else path.rpartition(".")[0]


WRITERS: dict[str, Writer] = {
    "activitynet": Writer(
        _activitynet, "JSON of ActivityNet, which OpenTAD and others read", "annotations.json"
    ),
    "csv": Writer(_csv, "a plain table: video, start, end, label", "segments.csv"),
    "labelstudio": Writer(
        _label_studio, "pre-annotations to import into Label Studio, to correct", "tasks.json"
    ),
    "fiftyone": Writer(
        _fiftyone, "labels.json of a FiftyOneTemporalDetectionDataset", "labels.json"
    ),
}
"""Forms that segments are written in, by the name that `--to` takes."""
