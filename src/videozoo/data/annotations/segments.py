"""Segments of videos: read annotations of any format and check them.

`segment_formats.FORMATS` is the table of known formats.
"""

from __future__ import annotations

import logging
import math
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segment_formats import raw_videos
from videozoo.data.annotations.segment_types import (
    FrameTimes,
    FrameTimesOf,
    RawInstance,
    RawVideo,
    Reading,
    clock_seconds,
    frame_times_of,
    name_in,
    names_among,
)
from videozoo.data.lengths import Measured, Stretch, check_ends
from videozoo.data.text import (
    MOST_CLASSES,
    finite_number,
    integer,
    json_of,
    kind_of,
    lines_of,
    object_of,
    of_video,
    text_of,
)
from videozoo.errors import DataError, counted, few
from videozoo.settings.segments import BadSegments

AMBIGUOUS = "Ambiguous"
"""Label of THUMOS14 for segments that count neither as right nor as wrong."""

_PARTS = {
    "train": "training",
    "val": "validation",
    "valid": "validation",
    "test": "testing",
}
_CUT = (
    "Times must be in seconds; segments are cut at the end of their video, unless "
    "data.bad_segments says otherwise."
)
_NO_LABELS = Reading(needs_labels=False, may_be_names=True)
_RATES_APART = 0.001  # share by which two frame rates may differ
LABEL_STUDIO = "Label Studio"
_CODE = re.compile(r"c\d+", re.ASCII)
_log = logging.getLogger(__name__)


# --- what an annotation is -------------------------------------------------------------------


@dataclass(frozen=True)
class Instance:
    """One annotated segment."""

    start_seconds: float
    end_seconds: float
    label: str
    frames: tuple[float, float] | None = None
    """Start and end in frames, if the file counts in frames (lists of C-TCN)."""


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """The annotated segments of one video."""

    video: str
    """Name as the file writes it, with or without `v_` in front."""
    duration_seconds: float
    subset: str | None = None
    """None if the file has no subsets."""
    instances: tuple[Instance, ...] = ()
    """As annotated, in the order of the file; an end may lie a little beyond the video."""
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Other entries of a JSON file: `resolution`, `url`, `duration_frame`, `feature_frame`, ..."""
    address: str = ""
    """Path of the video in an export of a tool or in a table; empty elsewhere."""

    def shares(self) -> NDArray[np.float64]:
        """Segments (G, 2) as fractions of the length of the video, clipped to 0 to 1."""
        seconds = [(one.start_seconds, one.end_seconds) for one in self.instances]
        table = np.array(seconds, np.float64).reshape(-1, 2)
        return np.clip(table / self.duration_seconds, 0.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """The videos of one file, sorted by name, and their classes."""

    path: Path
    videos: tuple[Annotation, ...]
    class_names: tuple[str, ...]
    """The class of number i: given, or all labels of the file, sorted."""
    left_out: tuple[str, ...] = ()
    """Segments that could not be used, and why."""

    def __len__(self) -> int:
        return len(self.videos)

    def labels(self, annotation: Annotation) -> NDArray[np.int64]:
        """Numbers of the classes of a video's instances, (G,)."""
        numbers = {name: number for number, name in enumerate(self.class_names)}
        return np.array([numbers[one.label] for one in annotation.instances], np.int64)

    def of_subset(self, wanted: str | None) -> Annotations:
        """Return the videos of one subset; all videos for None, or if the file has no subsets.

        `train` and `training`, `val` and `validation`, `test` and `testing` mean the same.
        `train_val` means training and validation. A part of the name of a subset is enough.

        Raises:
            DataError: No video is of this subset.
        """
        found = {one.subset for one in self.videos}
        if wanted is None or found == {None}:
            return self
        chosen = tuple(one for one in self.videos if is_of_subset(one.subset, wanted))
        if not chosen:
            held = ", ".join(sorted(repr(name) for name in found))
            raise DataError(
                f"{self.path}: no video is of subset {wanted!r}; its subsets are: {held}"
            )
        return replace(self, videos=chosen)


def is_of_subset(subset: str | None, wanted: str) -> bool:
    """Whether a subset is the wanted one; see `Annotations.of_subset` for their names.

    >>> [is_of_subset("training", wanted) for wanted in ("train", "validation", "train_val")]
    [True, False, True]
    """
    if subset is None:
        return False
    one, other = subset.lower(), wanted.lower()
    if other == "train_val":
        return is_of_subset(one, "train") or is_of_subset(one, "val")
    return other in one or _PARTS.get(one, one) == _PARTS.get(other, other)


# --- reading ---------------------------------------------------------------------------------


def read_annotations(
    path: Path,
    *,
    bad_segments: BadSegments = "clip",
    durations: Mapping[str, float] | None = None,
    measured: Measured | None = None,
    class_names: Sequence[str] | None = None,
    ignored_classes: Sequence[str] = (),
    frames_per_second: float | None = None,
    frame_times: FrameTimesOf | None = None,
    reading: Reading | None = None,
    quiet: bool = False,
) -> Annotations:
    """Read annotations of any of `segment_formats.FORMATS`.

    Args:
        path: The file; for THUMOS14 also the official folder of text files.
        bad_segments: What to do with segments that end before they start, or reach beyond the
            video. `clip` cuts segments at the ends of the video (in `Annotation.shares`;
            `instances` stay as annotated) and leaves out a segment if nothing remains. `drop`
            leaves out all bad segments. `refuse` raises. Segments that are left out are named in
            a warning and in `left_out`.
        durations: Seconds of videos, if the file has no durations; see `read_durations`.
        measured: Lengths by the features. They are compared with the file, and used before it.
        class_names: The classes; any other label is an error.
        ignored_classes: Segments with these labels are left out, such as `AMBIGUOUS`.
        frames_per_second: Frame rate of the videos, for files that count frames.
        frame_times: Where videos are at hand: when their frames are shown, for such files.
        reading: What the user says about a file that leaves something open.
        quiet: Log no warnings, because the file was read before.

    Raises:
        DataError: The file is missing, empty, of no known kind or damaged; a video has no
            duration; a label is missing or unknown; most lengths are far from those measured, or
            most segments lie far beyond their videos. The first few problems are named.
    """
    notes: list[str] = []
    videos = raw_videos(path, reading, notes=notes)
    if not videos:
        raise DataError("\n".join([f"{path}: holds no video", *notes]))
    times = clocks(videos, frames_per_second, frame_times, notes=notes)
    problems: list[str] = []
    left_out: list[str] = []
    lengths: dict[str, float] = {}
    stretches: list[Stretch] = []
    classes = _Classes(class_names, ignored_classes)
    warn = _ignore if quiet else _log.warning
    for note in notes:
        warn(note)
    _check_labels(path, videos)
    found: dict[str, Annotation] = {}
    for video in videos:
        if video.name in found:
            problems.append(f"{video.where}: is there twice")
            continue
        annotated = _duration_of(video, durations or {})
        name = video.name if measured is None else name_in(measured, video.name, video.address)
        duration = annotated if measured is None else measured.length(name, annotated)
        if annotated is not None and annotated != video.num_frames:  # else it is no time in seconds
            lengths[name] = annotated
        if duration is None:
            got = "" if video.duration is None else f", got {video.duration!r}"
            hint = "" if video.duration is not None else "; name a file of durations"
            problems.append(f"{video.where}: has no duration, expected seconds above 0{got}{hint}")
            continue
        instances: list[Instance] = []
        for raw in video.instances:
            instance = _instance_of(raw, video, duration, classes, times.get(video.name))
            if isinstance(instance, str):
                problems.append(instance)
            elif instance.label not in ignored_classes:
                ends = instance.start_seconds, instance.end_seconds
                stretches.append(Stretch(raw.where, *ends, duration))
                bad, is_lost = _fault(instance, duration)
                if bad and bad_segments == "refuse":
                    problems.append(f"{raw.where}: {bad}")
                elif bad and (is_lost or bad_segments == "drop"):
                    left_out.append(f"{raw.where}: {bad}")
                else:
                    instances.append(instance)
        found[video.name] = Annotation(
            video=video.name,
            duration_seconds=duration,
            subset=video.subset,
            instances=tuple(instances),
            extras=video.extras,
            address=video.address,
        )
    _raise_all(path, problems)
    names = _names_of(videos, classes) if class_names is None else class_names
    if measured is not None:
        measured.check(lengths, source=path, warn=warn)
    if bad_segments == "clip":
        check_ends(stretches, source=path, advice=_CUT, warn=warn)
    for oddity in _oddities(found.values(), names):
        warn(f"{path}: {oddity}")
    if left_out:
        total = len(stretches)
        shown = few((text.removeprefix(f"{path}: ") for text in left_out), 3, between="; ")
        warn(f"{path}: {len(left_out):,} of {counted(total, 'segment')} are left out: {shown}")
    ordered = tuple(found[name] for name in sorted(found))
    return Annotations(
        path=path, videos=ordered, class_names=tuple(names), left_out=tuple(left_out)
    )


def by_any_name(video: RawVideo, look_up: FrameTimesOf | None) -> FrameTimesOf | None:
    """The same, asked by each name that a video may have among others, the longest first."""
    if look_up is None:
        return None
    names = [*names_among(video.name, video.address)][::-1]

    def found(_name: str) -> FrameTimes | None:
        return next((times for each in names if (times := look_up(each)) is not None), None)

    return found


def clocks(
    videos: Sequence[RawVideo],
    frames_per_second: float | None,
    look_up: FrameTimesOf | None,
    *,
    notes: list[str],
) -> dict[str, FrameTimes]:
    """How to turn frames into seconds, for each video whose segments are in frames.

    Args:
        videos: The videos of one file.
        frames_per_second: The rate that the user gives.
        look_up: Where videos are at hand: when their frames are shown.
        notes: Takes what the user should know.

    Raises:
        DataError: A rate is not known.
    """
    found: dict[str, FrameTimes] = {}
    measured: set[float] = set()
    other: set[float] = set()
    for video in videos:
        first = next((one for one in video.instances if one.in_frames), None)
        if first is None:
            continue
        times = frame_times_of(video, frames_per_second, by_any_name(video, look_up))
        if times is None:
            raise DataError(
                f"{first.where}: {video.counted_by or 'the file'} counts in frames ({first.start} "
                f"to {first.end}); set the frames per second of the videos: --set "
                "data.frames_per_second=25"
            )
        found[video.name] = times
        own = video.frames_per_second
        if frames_per_second and own and abs(own - frames_per_second) > _RATES_APART * own:
            other.add(round(own, 3))
        is_measured = not frames_per_second and video.frames_per_second is None
        if is_measured and video.counted_by == LABEL_STUDIO:
            measured.add(round(times.frames_per_second, 3))
    if other:
        rates = few([f"{rate:g}" for rate in sorted(other)])
        notes.append(
            f"the file itself says that it counts {rates} frames per second; {frames_per_second:g} "
            "is used, as given"
        )
    if measured:
        rates = few([f"{rate:g}" for rate in sorted(measured)])
        notes.append(
            "Label Studio counts frames by the frameRate of its labelling setup (24, if that names "
            f"none); taken are the frame rates of the videos: {rates}; if the setup named another, "
            "set data.frames_per_second"
        )
    return found


def _check_labels(path: Path, videos: Sequence[RawVideo]) -> None:
    """Raise DataError for labels that are no names, and if only some segments have a label."""
    segments = [one for video in videos for one in video.instances]
    unnamed = [one for one in segments if _is_unnamed(one.label)]
    problems = [f"{one.where}: has no label, unlike others" for one in unnamed]
    if len(unnamed) == len(segments):  # no classes at all: enough to train proposals
        problems = []
    problems += [
        f"{one.where}: label is {kind_of(one.label)}, expected the name of a class"
        for one in segments
        if one.label is not None
        and (isinstance(one.label, bool) or not isinstance(one.label, str | int))
    ]
    _raise_all(path, problems)


def _is_unnamed(label: object) -> bool:
    return label is None or (isinstance(label, str) and not label.strip())


def _oddities(videos: Iterable[Annotation], names: Sequence[str]) -> Iterator[str]:
    """Warnings about what is allowed but is probably a mistake."""
    videos = list(videos)
    no_subset = [one.video for one in videos if one.subset is None]
    if no_subset and len(no_subset) < len(videos):
        yield (
            f"{len(no_subset):,} of {counted(len(videos), 'video')} have no subset, unlike the "
            f"others, and are in no part: {few(no_subset)}"
        )
    spelt = Counter(name.casefold() for name in names)
    alike = [name for name in names if spelt[name.casefold()] > 1]
    if alike:
        yield f"classes that differ in upper and lower case only: {few(alike)}"
    doubtful = [name for name in names if name.casefold() == AMBIGUOUS.casefold()]
    used = sum(one.label in doubtful for video in videos for one in video.instances)
    if used:
        yield (
            f"segments labelled {doubtful[0]!r}, {used} of them, count as a class; if it means "
            "an unknown class, as in THUMOS14, leave them out: --set "
            f"'data.ignored_classes=[{doubtful[0]}]'"
        )


def _ignore(_text: str) -> None:
    """Drop a warning that was logged before."""


def annotated_classes(
    path: Path, *, ignored_classes: Sequence[str] = (), reading: Reading | None = None
) -> list[str]:
    """All labels of a file of annotations, sorted; the rest of the file is not checked.

    Raises:
        DataError: The file is missing, empty or of no known kind.
    """
    return _names_of(raw_videos(path, reading), _Classes(None, ignored_classes))


def annotated_durations(path: Path) -> dict[str, float]:
    """Durations in a file of annotations, in seconds; videos without one are left out.

    Raises:
        DataError: The file is missing, empty or of no known kind.
    """
    lengths = {one.name: _duration_of(one, {}) for one in raw_videos(path, _NO_LABELS)}
    return {name: seconds for name, seconds in lengths.items() if seconds is not None}


def annotated_videos(path: Path, *, subset: str | None = None) -> list[str]:
    """Names of the videos of one subset; the rest of the file is not checked.

    Raises:
        DataError: The file is missing, empty or of no known kind.
    """
    videos = raw_videos(path, _NO_LABELS)
    if subset is None or all(one.subset is None for one in videos):
        return [one.name for one in videos]
    return [one.name for one in videos if is_of_subset(one.subset, subset)]


def possible_names(path: Path) -> set[str]:
    """Names that the videos of a file may have among others: see `video_names.longer_names`.

    Raises:
        DataError: The file is missing, empty or of no known kind.
    """
    return {
        name for one in raw_videos(path, _NO_LABELS) for name in names_among(one.name, one.address)
    }


def name_among(video: Annotation, known: Container[str]) -> str:
    """The name of a video among those that are known: its own, or a longer one by its path."""
    return name_in(known, video.video, video.address)


def video_lengths(path: Path) -> dict[str, float | None]:
    """Durations of all videos of a file of annotations, in seconds; None if the file has none.

    Raises:
        DataError: The file is missing, empty or of no known kind.
    """
    return {one.name: _duration_of(one, {}) for one in raw_videos(path, _NO_LABELS)}


def _names_of(videos: Iterable[RawVideo], classes: _Classes) -> list[str]:
    used = {classes.name_of(label_of(one)) for video in videos for one in video.instances}
    return sorted(
        (name for name in used if name is not None and name not in classes.ignored), key=_by_number
    )


def _raise_all(path: Path, problems: Sequence[str]) -> None:
    """If there are problems, raise one DataError that names the first few."""
    if problems:
        shown = few(problems, 3, between="; ")
        raise DataError(shown if str(path) in problems[0] else f"{path}: {shown}")


class _Classes:
    """The classes, found by name, by number, or by the codes of Charades."""

    def __init__(self, names: Sequence[str] | None, ignored: Sequence[str]) -> None:
        self.names = names
        self.ignored = ignored
        self._known = {name: name for name in names or ()}
        coded = {name.split(None, 1)[0]: name for name in names or () if name.strip()}
        if all(_CODE.fullmatch(code) for code in coded):
            self._known = coded | self._known

    def name_of(self, label: str | int) -> str | None:
        """Name of a class; None if the class is not known."""
        text = label if isinstance(label, str) else AMBIGUOUS if label == -1 else str(label)
        if self.names is None or text in self.ignored:
            return text
        if isinstance(label, str) or text in self._known:
            return self._known.get(text)
        return self.names[label] if 0 <= label < len(self.names) else None


def _by_number(label: str) -> tuple[int, str]:
    number = integer(label)
    return (-1 if number is None else number, label)


def _duration_of(video: RawVideo, durations: Mapping[str, float]) -> float | None:
    seconds = clock_seconds(video.duration)
    if video.duration is None:
        seconds = of_video(video.name, durations)
    return seconds if seconds is not None and seconds > 0 else None


def _instance_of(
    raw: RawInstance,
    video: RawVideo,
    duration: float,
    classes: _Classes,
    times: FrameTimes | None,
) -> Instance | str:
    """Check one segment. A returned text says what is wrong with it."""
    ends = ends_of(raw, times)
    if isinstance(ends, str):
        return ends
    start, end = ends
    label = label_of(raw)
    if isinstance(label, int) and label >= MOST_CLASSES:
        return f"{raw.where}: a class number of {label:,}, expected less than {MOST_CLASSES:,}"
    name = classes.name_of(label)
    if name is None:
        known = classes.names or ()
        label = AMBIGUOUS if label == -1 else label
        return (
            f"{raw.where}: unknown class {label!r}, expected one of {len(known)}: "
            f"{few(map(repr, known))}; or leave it out (ignored_classes)"
        )
    if video.num_frames is None:
        return Instance(start, end, name)
    shares = [frame / video.num_frames * duration for frame in (start, end)]
    return Instance(shares[0], shares[1], name, (start, end))


def ends_of(raw: RawInstance, times: FrameTimes | None) -> tuple[float, float] | str:
    """Start and end as the file counts, frames turned into seconds; a text says what is wrong."""
    start, end = finite_number(raw.start), finite_number(raw.end)
    if start is None or end is None:
        return f"{raw.where}: segment [{raw.start!r}, {raw.end!r}], expected two numbers"
    return times.span(start, end) if raw.in_frames and times is not None else (start, end)


def label_of(raw: RawInstance) -> str | int:
    """Name of the class without blanks around it, or its number from 0."""
    if isinstance(raw.label, int):
        return raw.label
    return "" if raw.label is None else str(raw.label).strip()


def _fault(instance: Instance, duration: float) -> tuple[str, bool]:
    """What is wrong with a segment (or nothing), and whether no part of it can be used."""
    start, end = instance.start_seconds, instance.end_seconds
    shown = f"segment [{start:g}, {end:g}]"
    if end <= start:
        return f"{shown} ends before it starts", True
    if start >= duration or end <= 0:
        return f"{shown} lies outside the video of {duration:g} seconds", True
    shares = [value / duration for value in (max(start, 0), min(end, duration))]
    if math.isfinite(duration) and shares[1] <= shares[0]:  # too small to divide
        return f"{shown} has no length", True
    if start < 0 or end > duration:
        return f"{shown} reaches beyond the video of {duration:g} seconds", False
    return "", False


def read_durations(path: Path) -> dict[str, float]:
    """Read durations of videos in seconds, for annotations without them.

    Known are lines `NAME ... SECONDS` as in the 2019 library, a JSON object from name to seconds,
    and any file of annotations with durations.

    Raises:
        DataError: The file is missing, empty, or a line has no number above 0.
    """
    text = text_of(path)
    if text.lstrip()[:1] == "{":
        content = object_of(json_of(path, text), path)
        pairs = [(path.name, *pair) for pair in content.items()]
        if any(not isinstance(value, int | float) for _, _, value in pairs):
            pairs = [
                (path.name, video.name, video.duration) for video in raw_videos(path, _NO_LABELS)
            ]
    elif "video-duration" in text.split("\n", 1)[0]:
        pairs = [(path.name, video.name, video.duration) for video in raw_videos(path, _NO_LABELS)]
    else:
        lines = [(number, line.split()) for number, line in lines_of(path)]
        pairs = [(f"{path.name}:{number}", line[0], line[-1]) for number, line in lines]
    durations: dict[str, float] = {}
    for where, name, value in pairs:
        seconds = finite_number(value)
        if seconds is None or seconds <= 0:
            raise DataError(f"{path.parent / where}: {name} lasts {value!r}, expected seconds")
        durations[name] = seconds
    return durations
