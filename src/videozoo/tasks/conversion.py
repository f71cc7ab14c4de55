"""Convert files of annotations, and of results, between the forms of data sets and tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from videozoo.commands import reading_as_flags
from videozoo.data.annotations.result_formats import FORMATS as RESULT_FORMATS
from videozoo.data.annotations.segment_formats import FORMATS as SEGMENT_FORMATS
from videozoo.data.annotations.segment_types import Reading
from videozoo.data.annotations.segment_writers import WRITERS, write_segments
from videozoo.data.annotations.timed_segments import (
    TimedVideo,
    best,
    timed_annotations,
    timed_results,
)
from videozoo.data.formats import TextFile, format_of, unknown
from videozoo.data.video_times import VideoTimes
from videozoo.errors import DataError, RunError, UsageError, counted, few

_PREDICTIONS = "predictions.json"


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """What to convert, and what the user says about it."""

    source: Path
    target: Path
    """The file to write; in a folder that exists, a file with the usual name of the form."""
    form: str
    """One of the forms of `KINDS`."""
    videos: Path | None = None
    """Folder of the videos, for their frame rates, lengths and paths."""
    frames_per_second: float | None = None
    """Frame rate of the videos, where `videos` is not given or the source counts differently."""
    label_from: str | None = None
    spot_seconds: float | None = None
    address: str | None = None
    """What stands before the names of the files where the tool looks for videos."""
    least_score: float | None = None
    """Leave out predicted segments that score less."""
    most: int | None = None
    """Keep so many segments per video: those that score best."""
    overwrite: bool = False


@dataclass(frozen=True)
class Converted:
    """What was written."""

    path: Path
    line: str
    """What was converted, in one line."""
    notes: Sequence[str]
    """What could not be carried over, what was taken, and how the file is opened."""


@dataclass(frozen=True)
class Kind:
    """One kind of files that are converted into one another. A new kind is one row in `KINDS`."""

    name: str
    forms: Mapping[str, str]
    """Name of a form -> what it is."""
    usual_file: Callable[[str], str]
    """Form -> the usual name of its file."""
    format_of: Callable[[Path], str | None]
    """Name of the format of a source; None if it is of another kind."""
    write: Callable[[ConvertRequest, Path, list[str]], str]
    """Reads the source, writes the path, and returns how much that was; the list takes notes."""


def convert(request: ConvertRequest) -> Converted:
    """Convert one file.

    Raises:
        UsageError: The form is not known, or not one for this source.
        DataError: The source cannot be read, or leaves open what the user has to say.
        RunError: The target exists, or cannot be written.
    """
    known = {form: about for kind in KINDS for form, about in kind.forms.items()}
    if request.form not in known:
        width = max(map(len, known))
        listed = "".join(f"\n  {form:<{width}}  {about}" for form, about in known.items())
        raise UsageError(f"--to {request.form}: no such format; there are:{listed}")
    if not request.source.exists():
        raise DataError(f"{request.source}: no such file")
    kind, name = _kind_of(request.source)
    if request.form not in kind.forms:
        raise UsageError(
            f"--to {request.form}: {request.source} holds {kind.name} ({name}), which are written "
            f"as {' | '.join(kind.forms)}"
        )
    target = request.target
    if target.is_dir():
        target = target / kind.usual_file(request.form)
    if target.exists() and target.samefile(request.source):
        raise RunError(f"{target}: is the source itself; name another file")
    if target.exists() and not request.overwrite:
        raise RunError(f"{target}: exists; pass --overwrite to replace it, or name another file")
    notes: list[str] = []
    try:
        amount = kind.write(request, target, notes)
    except DataError as error:
        text = reading_as_flags(str(error))
        if "--frames-per-second 25" in text and request.videos is None:
            text += ", or name their folder: --videos DIR"
        raise type(error)(text) from None
    except OSError as error:
        raise RunError(f"{target}: cannot be written: {error.strerror}") from None
    return Converted(
        target,
        f"{amount}: {request.source} ({name}) -> {target} ({request.form})",
        [reading_as_flags(note) for note in notes],
    )


def _kind_of(source: Path) -> tuple[Kind, str]:
    for kind in KINDS:
        name = kind.format_of(source)
        if name is not None:
            return kind, name
    file = TextFile(source)
    tables = (*SEGMENT_FORMATS, *RESULT_FORMATS)
    raise unknown(f"{source}: not a file that can be converted: {file.seen}", tables, path=source)


# --- segments ----------------------------------------------------------------------------------


def _segment_format(source: Path) -> str | None:
    found = format_of(TextFile(source), SEGMENT_FORMATS)
    return None if found is None else found.name


def _result_format(source: Path) -> str | None:
    path = source / _PREDICTIONS if source.is_dir() else source
    if not path.is_file():
        return None
    found = format_of(TextFile(path), RESULT_FORMATS)
    return None if found is None else found.name


def _write_annotations(request: ConvertRequest, target: Path, notes: list[str]) -> str:
    times = None if request.videos is None else VideoTimes.under(request.videos)
    videos = timed_annotations(
        request.source,
        Reading(request.label_from, request.spot_seconds),
        frames_per_second=request.frames_per_second,
        look_up=times,
        notes=notes,
    )
    return _write(request, target, videos, times, notes)


def _write_results(request: ConvertRequest, target: Path, notes: list[str]) -> str:
    for value, flag in ((request.label_from, "label-from"), (request.spot_seconds, "spot-seconds")):
        if value is not None:
            raise UsageError(f"--{flag} is for annotations, and {request.source} holds results")
    times = None if request.videos is None else VideoTimes.under(request.videos)
    videos = timed_results(
        request.source, look_up=times, frames_per_second=request.frames_per_second
    )
    return _write(request, target, videos, times, notes)


def _write(
    request: ConvertRequest,
    target: Path,
    videos: Sequence[TimedVideo],
    times: VideoTimes | None,
    notes: list[str],
) -> str:
    if not videos:
        raise DataError(f"{request.source}: holds no video")
    videos = best(videos, least_score=request.least_score, most=request.most, notes=notes)
    videos = _located(videos, request, times, notes)
    write_segments(target, videos, request.form, notes=notes)
    count = sum(len(video.segments) for video in videos)
    return f"{counted(count, 'segment')} of {counted(len(videos), 'video')}"


def _located(
    videos: Sequence[TimedVideo],
    request: ConvertRequest,
    times: VideoTimes | None,
    notes: list[str],
) -> list[TimedVideo]:
    """The same videos with the addresses of their files, as the tool shall find them."""
    found: list[TimedVideo] = []
    lost: list[str] = []
    for video in videos:
        path = None if times is None else times.path(video.name)
        address = video.address
        if path is not None and request.videos is not None:
            address = path.relative_to(request.videos).as_posix()
        elif times is not None:
            lost.append(video.name)
        if request.address is not None:
            address = f"{request.address}{address or video.name}"
        found.append(replace(video, address=address))
    if lost and len(lost) == len(videos):
        raise DataError(f"{request.videos}: holds none of the videos: {few(lost)}")
    if lost:
        notes.append(
            f"{len(lost):,} of {counted(len(videos), 'video')} are not in {request.videos}: "
            f"{few(lost)}"
        )
    if times is not None and times.unreadable:
        notes.append(f"could not be read: {few(times.unreadable, between='; ')}")
    return found


def _forms() -> dict[str, str]:
    return {form: writer.about for form, writer in WRITERS.items()}


def _usual_file(form: str) -> str:
    return WRITERS[form].file


KINDS: tuple[Kind, ...] = (
    Kind("segments", _forms(), _usual_file, _segment_format, _write_annotations),
    Kind("results", _forms(), _usual_file, _result_format, _write_results),
)
"""Kinds of files; the first whose format a source has is used."""
