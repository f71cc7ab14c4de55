"""Segments of videos in seconds, read from any file for writing in another form."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from videozoo.data.annotations.result_formats import SegmentResults, read_any_results
from videozoo.data.annotations.segment_formats import raw_videos
from videozoo.data.annotations.segment_types import (
    FrameTimes,
    FrameTimesOf,
    RawVideo,
    Reading,
    clock_seconds,
    video_of,
)
from videozoo.data.annotations.segments import by_any_name, clocks, ends_of, label_of
from videozoo.data.lengths import TOLERANCE
from videozoo.data.text import finite_number
from videozoo.errors import DataError, counted, few


@dataclass(frozen=True)
class TimedSegment:
    """One segment."""

    start_seconds: float
    end_seconds: float
    label: str | None
    """None for a proposal."""
    score: float | None = None
    """None for an annotation."""


@dataclass(frozen=True)
class TimedVideo:
    """One video and its segments."""

    name: str
    segments: tuple[TimedSegment, ...]
    address: str = ""
    """Its file, as the source or the folder of videos names it; empty if unknown."""
    duration_seconds: float | None = None
    subset: str | None = None
    times: FrameTimes | None = None
    """When its frames are shown; None if unknown."""


def timed_annotations(
    path: Path,
    reading: Reading,
    *,
    frames_per_second: float | None,
    look_up: FrameTimesOf | None,
    notes: list[str],
) -> list[TimedVideo]:
    """Read annotations of any of `segment_formats.FORMATS`, as they are written there.

    Args:
        path: The file, or the folder.
        reading: What the user says about it.
        frames_per_second: The rate by which it counts frames, if the user says so.
        look_up: Where videos are at hand: when their frames are shown.
        notes: Takes what the user should know, and what is left out.

    Raises:
        DataError: The file cannot be read, counts frames by an unknown rate, names a video twice,
            or holds no segment that can be used.
    """
    videos = raw_videos(path, reading, notes=notes)
    times = clocks(videos, frames_per_second, look_up, notes=notes)
    bad: list[str] = []
    found: dict[str, TimedVideo] = {}
    apart: list[str] = []
    for video in videos:
        if video.name in found:
            raise DataError(f"{video.where}: is there twice")
        asked = by_any_name(video, look_up)
        measured = None if asked is None else asked(video.name)
        duration = clock_seconds(video.duration)
        seconds = None if measured is None else measured.duration_seconds
        if duration is None:
            duration = seconds
        elif seconds is not None and abs(duration - seconds) > TOLERANCE * max(duration, seconds):
            apart.append(f"{video.name} lasts {duration:g} s there and {seconds:g} s in its file")
        if duration is None and video.num_frames is not None and frames_per_second:
            duration = video.num_frames / frames_per_second
        segments = _segments(video, times.get(video.name), frames_per_second, measured, bad)
        clock = measured or times.get(video.name)
        found[video.name] = TimedVideo(
            name=video.name,
            segments=tuple(segments),
            address=video.address,
            duration_seconds=duration,
            subset=video.subset,
            times=FrameTimes(frames_per_second) if frames_per_second else clock,
        )
    total = sum(len(one.segments) for one in found.values())
    if bad:
        shown = few((text.removeprefix(f"{path}:").strip() for text in bad), 3, between="; ")
        text = (
            f"{path}: {len(bad):,} of {counted(total + len(bad), 'segment')} are left out: {shown}"
        )
        if not total:
            raise DataError(text)
        notes.append(text)
    if apart:
        notes.append(
            f"{path}: lengths of {counted(len(apart), 'video')} differ from their files: "
            f"{few(apart, 3, between='; ')}; those of {path.name} are written"
        )
    notes += _oddities(list(found.values()))
    return list(found.values())


def _oddities(videos: Sequence[TimedVideo]) -> Iterator[str]:
    """What is converted as it is, but is probably a mistake."""
    unnamed = [video.name for video in videos for one in video.segments if one.label is None]
    total = sum(len(video.segments) for video in videos)
    if 0 < len(unnamed) < total:
        yield (
            f"{len(unnamed):,} of {counted(total, 'segment')} have no label, unlike the others: in "
            f"{few(dict.fromkeys(unnamed))}"
        )
    beyond = [
        f"{video.name}: {one.start_seconds:g} to {one.end_seconds:g} "
        f"in {video.duration_seconds:g} s"
        for video in videos
        for one in video.segments
        if video.duration_seconds and one.end_seconds > (1 + TOLERANCE) * video.duration_seconds
    ]
    if beyond:
        yield (
            f"{len(beyond):,} of {counted(total, 'segment')} reach beyond their video, and are "
            f"kept as they are: {few(beyond, 3, between='; ')}; are they in frames?"
        )


def _segments(
    video: RawVideo,
    times: FrameTimes | None,
    frames_per_second: float | None,
    measured: FrameTimes | None,
    bad: list[str],
) -> list[TimedSegment]:
    """The segments of a video; `bad` takes a line for each that cannot be used."""
    segments: list[TimedSegment] = []
    for raw in video.instances:
        ends = ends_of(raw, times)
        if isinstance(ends, str):
            bad.append(ends)
            continue
        if video.num_frames is not None:  # a list of C-TCN, in frames from 0
            rate = frames_per_second or (measured.frames_per_second if measured else None)
            if rate is None:
                raise DataError(
                    f"{raw.where}: counts in frames ({raw.start} to {raw.end}); say the frames "
                    "per second (--frames-per-second), or name the folder of the videos (--videos)"
                )
            ends = ends[0] / rate, ends[1] / rate
        start, end = ends
        if end <= start:
            bad.append(f"{raw.where}: segment [{start:g}, {end:g}] ends before it starts")
            continue
        label = label_of(raw)
        name = (str(label) if isinstance(label, int) else label) or None
        segments.append(TimedSegment(start, end, name, finite_number(raw.score)))
    return segments


def timed_results(
    path: Path, *, look_up: FrameTimesOf | None, frames_per_second: float | None
) -> list[TimedVideo]:
    """Read segments that a model found, with their scores.

    Args:
        path: A file of results, or a folder that `videozoo predict` wrote.
        look_up: Where videos are at hand: when their frames are shown.
        frames_per_second: The rate that the user gives for the frames to write.

    Raises:
        DataError: It holds no results, or results of another kind.
    """
    name, found = read_any_results(path)
    if not isinstance(found, SegmentResults):
        raise DataError(f"{path}: {name}: sentences, and only segments can be converted")
    videos: list[TimedVideo] = []
    for video, listed in found.by_video.items():
        name = video_of(video)
        measured = None if look_up is None else look_up(name)
        segments = tuple(
            TimedSegment(one.start_seconds, one.end_seconds, one.label, one.score) for one in listed
        )
        times = FrameTimes(frames_per_second) if frames_per_second else measured
        seconds = None if measured is None else measured.duration_seconds
        videos.append(TimedVideo(name, segments, duration_seconds=seconds, times=times))
    return videos


def best(
    videos: Sequence[TimedVideo], *, least_score: float | None, most: int | None, notes: list[str]
) -> list[TimedVideo]:
    """Only the best segments of each video; a note counts the others.

    Args:
        videos: The videos; segments without a score are kept.
        least_score: Leave out what scores less.
        most: Keep so many per video.
        notes: Takes the count.
    """
    kept: list[TimedVideo] = []
    num_left = 0
    for video in videos:
        order = sorted(video.segments, key=lambda one: -(one.score if one.score is not None else 1))
        chosen = {
            id(one)
            for one in order[:most]
            if one.score is None or least_score is None or one.score >= least_score
        }
        segments = tuple(one for one in video.segments if id(one) in chosen)
        num_left += len(video.segments) - len(segments)
        kept.append(
            TimedVideo(
                video.name,
                segments,
                video.address,
                video.duration_seconds,
                video.subset,
                video.times,
            )
        )
    if num_left:
        notes.append(f"{counted(num_left, 'segment')} left out, as asked: lower scores")
    return kept
