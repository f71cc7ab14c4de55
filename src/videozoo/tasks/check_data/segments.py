"""Check annotations of segments, and with a configuration all that a localiser reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError
from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.annotations.segment_formats import FORMATS, raw_videos
from videozoo.data.annotations.segment_types import RawVideo, Reading, SegmentFile
from videozoo.data.annotations.segments import (
    AMBIGUOUS,
    Annotations,
    read_annotations,
    read_durations,
)
from videozoo.data.coverage import has_one_annotations_file, load_annotations, reading_of
from videozoo.data.formats import format_of
from videozoo.data.proposals import load_proposals
from videozoo.data.segment_windows import SequenceWindows, WindowDataset, find_windows
from videozoo.data.segments import SequenceVideos
from videozoo.data.text import finite_number, of_video
from videozoo.errors import DataError, UsageError, counted, few
from videozoo.safe_yaml import parse_yaml
from videozoo.settings.segments import AnnotatedData, SequenceData
from videozoo.settings.shared import Part
from videozoo.tasks.check_data.beside import Beside, look_beside, run_beside
from videozoo.tasks.check_data.findings import Findings, shared_notes
from videozoo.tasks.check_data.parts import CheckRequest
from videozoo.tasks.check_data.timed import (
    Entry,
    TimedFile,
    add_classes,
    add_repeats,
    add_strangest,
    add_times,
    words_of_subsets,
)
from videozoo.tasks.localisation.lengths import (
    check_windows_to_learn,
    step_notes,
    window_notes,
)
from videozoo.tasks.localisation.sources import find_videos, sequence_shape
from videozoo.types import Localisation


def run_segments(request: CheckRequest, config: RunConfig | None, out: Console) -> None:
    """Check a file of annotations, or all that the configuration of a localiser names.

    Raises:
        DataError: Something cannot be used.
        VideozooError: There is nothing to check, or the result cannot be written.
    """

    def checked(path: Path, beside: Beside) -> tuple[Findings, dict[str, float]]:
        return annotation_findings(path, beside, data=_asked(request))

    run_beside(
        *(request, config, out),
        kind="segments",
        holds="annotations",
        checked=checked,
        configured=_configured,
    )


def _asked(request: CheckRequest) -> AnnotatedData:
    """How to read a file, as `--set data.label_from=...` and the like say.

    Raises:
        UsageError: A key is none of how annotations are read.
    """
    section: dict[str, Any] = {}
    for text in request.source.overrides:
        key, _, value = text.partition("=")
        name = key.removeprefix("data.")
        if name == key or name not in AnnotatedData.model_fields:
            raise UsageError(
                f"--set {text}: without --config only keys of how annotations are read"
            )
        try:
            section[name] = parse_yaml(value)
            AnnotatedData(**section)
        except ValueError as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
            raise UsageError(f"--set {text}: {said}") from None
    return AnnotatedData(**section)


# --- a file of annotations -------------------------------------------------------------------


def annotation_findings(
    path: Path, beside: Beside, *, data: AnnotatedData | None = None
) -> tuple[Findings, dict[str, float]]:
    """Check a file of annotations.

    Args:
        path: The file.
        beside: Videos and features to compare it with.
        data: The `data:` section that names it, if one does.

    Returns:
        What was found, and the lengths of videos in the file, in seconds.
    """
    found = Findings(kind="segments", name=str(path))
    try:
        form = format_of(SegmentFile(path), FORMATS)
        videos, reading = _read(path, data, found)
    except DataError as error:
        found.problems.append(str(error))
        return found, {}
    annotated = _annotated_lengths(videos)
    if data is not None and data.durations is not None and data.durations.is_file():
        annotated = read_durations(data.durations) | annotated
    file = _timed(path, videos, beside, annotated, data, found)
    shown = words_of_subsets([one.subset for one in videos])
    segments = counted(sum(len(one.instances) for one in videos), "segment")
    found.lines.insert(
        0,
        f"{'' if form is None else f'{form.name}: '}{counted(len(videos), 'video')}{shown}, "
        f"{segments}",
    )
    found.facts |= {
        "format": None if form is None else form.name,
        "videos": len(videos),
        "segments": sum(len(one.instances) for one in videos),
    }
    if any(one.text.casefold() == AMBIGUOUS.casefold() for one in file.entries):
        found.notes.append(
            f"segments labelled {AMBIGUOUS!r} count as a class; if it means an unknown class, as "
            f"in THUMOS14, leave them out: --set 'data.ignored_classes=[{AMBIGUOUS}]'"
        )
    apart = [one.name for one in videos if one.subset is None]
    if len(apart) < len(videos) and apart:
        found.notes.append(
            f"{counted(len(apart), 'video')} without a subset, unlike the others, and in no part: "
            f"{few(apart)}"
        )
    without = [one.name for one in videos if not one.instances]
    if without:
        found.notes.append(f"no segment in {counted(len(without), 'video')}: {few(without)}")
    add_times(found, file)
    add_repeats(found, file, overlaps=True)
    add_classes(found, file)
    add_strangest(found, file)
    beside.compare(found, path, file.videos, annotated)
    if not found.problems:
        found.problems += _other_problems(path, file, data, reading)
    return found, annotated


def _read(
    path: Path, data: AnnotatedData | None, found: Findings
) -> tuple[list[RawVideo], Reading]:
    """Read a file; what the user still has to say about it is a note."""
    reading = Reading() if data is None else reading_of(data)
    notes: list[str] = []
    try:
        videos = raw_videos(path, reading, notes=notes)
    except DataError as error:
        spots = reading.spot_seconds or 1.0
        reading = Reading(reading.label_from, spots, needs_labels=False)
        try:
            videos = raw_videos(path, reading, notes=notes)
        except DataError:
            raise error from None
        found.notes.append(str(error))
    found.notes += notes
    return videos, reading


def _annotated_lengths(videos: Sequence[RawVideo]) -> dict[str, float]:
    known = {one.name: finite_number(one.duration) for one in videos if one.num_frames is None}
    return {name: seconds for name, seconds in known.items() if seconds is not None and seconds > 0}


def _timed(
    path: Path,
    videos: Sequence[RawVideo],
    beside: Beside,
    annotated: Mapping[str, float],
    data: AnnotatedData | None,
    found: Findings,
) -> TimedFile:
    """The segments in seconds; in frames, where nothing tells the rates of the videos.

    If all segments of a file are in frames, and one rate is not known, all stay in frames. If some
    are in seconds, only those whose rate is not known stay in frames.
    """
    rates = {} if beside.videos is None else beside.videos.rates
    fixed = None if data is None else data.frames_per_second
    lengths = beside.lengths(annotated)
    per_second = {
        one.name: rate
        for one in videos
        if (rate := _rate_of(one, lengths, fixed or of_video(one.name, rates))) is not None
    }
    counting = [one for one in videos if _counts_frames(one)]
    unrated = [one for one in counting if one.name not in per_second]
    is_mixed = any(
        one.num_frames is None and not raw.in_frames for one in videos for raw in one.instances
    )
    in_frames = bool(unrated) and not is_mixed
    if unrated:
        found.notes.append(
            f"{'some ' if is_mixed else ''}times are in frames, and nothing tells the frame rate "
            f"of {counted(len(unrated), 'video')}: name the videos, --videos DIR"
        )
    if in_frames:
        lengths = {one.name: float(one.num_frames) for one in videos if one.num_frames}
    file = TimedFile(
        path=path,
        noun="segment",
        unit="frames" if in_frames else "s",
        videos={},
        seconds=lengths,
    )
    unnamed: list[str] = []
    for video in videos:
        if video.name in file.videos:
            found.problems.append(f"{video.where}: is there twice")
        file.videos[video.name] = video.subset
        rate = None if in_frames else per_second.get(video.name)
        for raw in video.instances:
            if _is_unnamed(raw.label):
                unnamed.append(raw.where)
            start, end = finite_number(raw.start), finite_number(raw.end)
            if start is None or end is None:
                found.problems.append(
                    f"{raw.where}: segment [{raw.start!r}, {raw.end!r}], expected two numbers"
                )
                continue
            counts = raw.in_frames or video.num_frames is not None
            unit = "frames" if counts and rate is None else "s"
            if rate is not None and raw.in_frames:
                start, end = (start - 1) / rate, end / rate
            elif rate is not None and video.num_frames is not None:
                start, end = start / rate, end / rate
            label = "" if _is_unnamed(raw.label) else str(raw.label).strip()
            where = raw.where.removeprefix(f"{path}: ").removeprefix(f"{path}:")
            where = f"line {where}" if where.isdigit() else where
            file.entries.append(Entry(video.name, start, end, label, where, unit))
    total = sum(len(video.instances) for video in videos)
    if unnamed and len(unnamed) < total:
        found.problems += [f"{where}: has no label, unlike others" for where in unnamed]
    elif unnamed:
        found.notes.append("no segment has a label: enough for proposals, not for classes")
    return file


def _counts_frames(video: RawVideo) -> bool:
    return video.num_frames is not None or any(one.in_frames for one in video.instances)


def _rate_of(
    video: RawVideo, lengths: Mapping[str, float], frames_per_second: float | None
) -> float | None:
    """Frames per second of a video, where its times are in frames and this is known."""
    if not _counts_frames(video):
        return None
    length = of_video(video.name, lengths)
    if video.num_frames and length:
        return video.num_frames / length
    return frames_per_second or video.frames_per_second


def _is_unnamed(label: object) -> bool:
    return label is None or (isinstance(label, str) and not label.strip())


def _other_problems(
    path: Path, file: TimedFile, data: AnnotatedData | None, reading: Reading
) -> list[str]:
    """What a run would refuse and was not found here."""
    ends: dict[str, float] = {}
    for one in file.entries:
        ends[one.video] = max(ends.get(one.video, 1.0), one.end)
    lengths = dict.fromkeys(file.videos, 1.0) | ends | file.seconds
    for one in file.entries:
        if one.unit != file.unit:  # not to be compared with the length of its video
            lengths[one.video] = max(lengths[one.video], one.end)
    rate = None if data is None else data.frames_per_second
    try:
        read_annotations(
            path,
            durations=lengths,
            ignored_classes=() if data is None else data.ignored_classes,
            frames_per_second=rate or 1.0,
            reading=reading,
            quiet=True,
        )
    except DataError as error:
        return [str(error)]
    return []


# --- a configuration -------------------------------------------------------------------------


def _configured(request: CheckRequest, config: RunConfig) -> list[Findings]:
    if request.path is not None:
        raise UsageError(
            f"{config.spec.title} reads features and annotations, which its configuration names; "
            "leave out the path and --write-good"
        )
    data = config.data
    beside = _beside(request, config)
    parts: dict[str, Sequence[str]] = {}
    found: list[Findings] = []
    for part in _parts(data):
        one, names = _checked(config, part, beside)
        found.append(one)
        parts[part] = names
    found[-1].notes += shared_notes(parts)
    said = [problem for one in found for problem in one.problems]
    annotated: dict[str, float] = {}
    for path in _files(data):
        one, lengths = annotation_findings(path, beside, data=data)
        one.is_beside = True
        annotated |= lengths
        if any(str(path) in problem for problem in said):  # the part has said what is wrong
            one.problems.clear()
        found.append(one)
    return [*found, *beside.findings(annotated, said=said)]


def _beside(request: CheckRequest, config: RunConfig) -> Beside:
    """The features and videos of a configuration; features that cannot be opened are left out."""
    data = config.data
    videos = request.videos or getattr(data, "videos", None)
    features = request.features or getattr(data, "features", None)
    if features is not None and not isinstance(config.spec.task, Localisation):
        features = None
    try:
        return look_beside(
            request,
            videos=videos,
            features=features,
            streams=getattr(data, "streams", ()),
            feature_dim=None if features is None else sequence_shape(config).feature_dim,
            rate=getattr(data, "rate", None),
        )
    except DataError:  # each part says why
        return Beside()


def _parts(data: Any) -> list[Part]:
    """The parts of the section that differ."""
    parts: list[Part] = ["train"]
    if not has_one_annotations_file(data) or data.val_subset != data.train_subset:
        parts.append("val")
    if data.test_annotations is not None or data.test_subset != data.val_subset:
        parts.append("test")
    return parts


def _files(data: AnnotatedData) -> list[Path]:
    named = (data.annotations, data.val_annotations, data.test_annotations)
    return list(dict.fromkeys(path for path in named if path is not None))


def _checked(config: RunConfig, part: Part, beside: Beside) -> tuple[Findings, Sequence[str]]:
    """Check one part; returns also the names of its videos."""
    found = Findings(kind="segments", name=part)
    names: Sequence[str] = ()
    data = config.data
    try:
        if not isinstance(config.spec.task, Localisation):
            names = _check_proposals(config, part, found)
        elif isinstance(data, SequenceData) and data.features is None and data.videos is not None:
            names = _check_raw(data, part, beside, found)
        else:
            videos = find_videos(config, part, quiet=part != "train")
            names = [one.video for one in videos.annotations.videos]
            _check_features(videos, beside, found)
            _check_lengths(config, part, videos, found)
    except DataError as error:
        found.problems.append(str(error))
    return found, names


def _check_features(videos: SequenceVideos, beside: Beside, found: Findings) -> None:
    """Say which videos of a part have features that can be used."""
    unusable = {} if beside.features is None else beside.features.unusable
    reasons = [of_video(one.video, unusable) for one in videos.present]
    found.problems += [reason for reason in reasons if reason is not None]
    _count(found, videos.annotations, videos.missing, reasons.count(None))
    if videos.missing:
        found.notes.append(
            f"no features of {len(videos.missing):,} of {len(videos.annotations):,} videos: "
            f"{few(videos.missing)}"
        )


def _count(found: Findings, annotations: Annotations, missing: Sequence[str], usable: int) -> None:
    lost = set(missing)
    segments = sum(len(one.instances) for one in annotations.videos if one.video not in lost)
    found.facts |= {
        "videos": len(annotations),
        "missing": list(missing),
        "readable": usable,
        "segments": segments,
    }
    found.lines.append(
        f"{counted(len(annotations), 'annotated video')}, {usable:,} with features that can be "
        f"used; {counted(segments, 'segment')}"
    )


def _check_raw(data: SequenceData, part: Part, beside: Beside, found: Findings) -> Sequence[str]:
    """Compare the annotations of a part with videos whose features are not made yet."""
    assert beside.videos is not None or data.videos is not None
    seconds = {} if beside.videos is None else beside.videos.seconds
    annotations = load_annotations(data, part, durations=seconds, quiet=part != "train")
    missing = [one.video for one in annotations.videos if of_video(one.video, seconds) is None]
    usable = len(annotations) - len(missing)
    segments = sum(len(one.instances) for one in annotations.videos)
    found.facts |= {
        "videos": len(annotations),
        "missing": missing,
        "readable": usable,
        "segments": segments,
    }
    found.lines.append(
        f"{counted(len(annotations), 'annotated video')}, {usable:,} that can be read; "
        f"{counted(segments, 'segment')}"
    )
    if missing and not usable:
        found.problems.append(
            f"{data.videos}: none of the {counted(len(missing), 'annotated video')} is there: "
            f"{few(missing)}"
        )
    elif missing:
        found.notes.append(
            f"no readable video for {len(missing):,} of {len(annotations):,}: {few(missing)}"
        )
    return [one.video for one in annotations.videos]


def _check_proposals(config: RunConfig, part: Part, found: Findings) -> Sequence[str]:
    """Compare the annotations of a part with the proposals of BSN's first stage."""
    videos = load_proposals(config.data, part, quiet=part != "train")
    found.facts |= {
        "videos": len(videos.annotations),
        "missing": list(videos.missing),
        "readable": len(videos.present),
        "segments": sum(len(one.instances) for one in videos.present),
    }
    found.lines.append(
        f"{counted(len(videos.annotations), 'annotated video')}, {len(videos.present):,} with "
        "proposals and their features"
    )
    if videos.missing:
        found.notes.append(
            f"no proposals with features of {len(videos.missing):,} of {len(videos.annotations):,} "
            f"videos: {few(videos.missing)}"
        )
    return [one.video for one in videos.annotations.videos]


def _check_lengths(config: RunConfig, part: Part, videos: SequenceVideos, found: Findings) -> None:
    """Compare the lengths of videos, actions, windows and steps."""
    seconds = [one.duration_seconds for one in videos.present]
    found.facts["median_seconds"] = float(np.median(seconds))
    shape, windows = sequence_shape(config), None
    if config.data.window_seconds is not None:
        windows = find_windows(videos, config.data)
        found.facts["windows"] = _window_facts(windows)
        if part == "train":
            check_windows_to_learn(windows)
            learnt = WindowDataset(windows, shape, training=True)
            found.notes += window_notes(learnt, shape.num_steps)
    if part == "train":
        found.notes += step_notes(videos, shape.num_steps, windows)


def _window_facts(windows: SequenceWindows) -> dict[str, Any]:
    lost, _ = windows.num_actions
    return {
        "seconds": windows.window_seconds,
        "stride_seconds": windows.stride_seconds,
        "count": len(windows),
        "with_actions": len(windows.with_actions),
        "actions_in_none": lost,
    }
