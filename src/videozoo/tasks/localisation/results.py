"""The segments found in each video, and the result file in the format of ActivityNet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.segment_results import write_results
from videozoo.data.annotations.segment_types import video_of
from videozoo.data.annotations.segment_writers import WRITERS, write_segments
from videozoo.data.annotations.timed_segments import TimedSegment, TimedVideo
from videozoo.data.features.by_name import VideoFact
from videozoo.data.video_times import VideoTimes
from videozoo.errors import DataError, RunError, few
from videozoo.ops.proposal_generation import result_entries
from videozoo.settings.segments import SequenceViews
from videozoo.tasks.jobs import ResultFile
from videozoo.types import Candidates


@dataclass(frozen=True)
class VideoProposals:
    """The segments found in one video: proposals, or detections if they have classes."""

    video: str
    duration_seconds: float
    """Length of the video; nan if unknown."""
    found: Candidates
    """Segments as shares of the video, best first, duplicates removed."""
    curves: Mapping[str, NDArray[np.float32]]
    """Name -> scores of the steps; empty unless requested."""

    @property
    def seconds(self) -> float:
        """The length of the video; 1 if unknown, so that times are shares of the video."""
        return self.duration_seconds if self.duration_seconds > 0 else 1.0


def files_of(stored: Iterable[Mapping[str, VideoFact]]) -> dict[str, Path]:
    """Names of videos -> their files, as far as their features tell and the files are there."""
    facts = {name: fact for each in stored for name, fact in each.items()}
    return {name: fact.path for name, fact in facts.items() if fact.path.exists()}


def _silent(_text: str) -> None:
    """Say nothing."""


def result_file(
    views: SequenceViews,
    videos: Sequence[VideoProposals],
    classes: Sequence[str] | None,
    folder: Path,
    *,
    files: Mapping[str, Path] = MappingProxyType({}),
    say: Callable[[str], object] = _silent,
) -> ResultFile:
    """The file with the segments of all videos, in the format of ActivityNet.

    Times in a video of unknown length are shares of the video.

    Args:
        views: Says the format and the file; a bare file name is one in `folder`.
        videos: The segments of each video.
        classes: Class names, for segments with classes.
        folder: The folder of the results.
        files: Names of videos -> their files, where these are known: for frame rates.
        say: Told what `result_forms` could not hold.
    """

    def write(path: Path) -> None:
        results = {
            each.video: result_entries(each.found, each.seconds, classes=classes) for each in videos
        }
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_results(path, results, form=views.result_form)
        except OSError as error:
            raise RunError(f"{path}: cannot be written: {error.strerror}") from None
        for form in views.result_forms:
            _write_form(form, path, videos, results, files, say)

    path = views.result_file
    return ResultFile(folder / path if path.parent == Path() else path, write)


def _write_form(
    form: str,
    beside: Path,
    videos: Sequence[VideoProposals],
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    files: Mapping[str, Path],
    say: Callable[[str], object],
) -> None:
    """Write the segments in the form of a tool; what is missing for it is said, and no fault."""
    path = beside.with_name(f"{beside.stem}_{WRITERS[form].file}")
    times = VideoTimes(files)
    unknown = [each.video for each in videos if not each.duration_seconds > 0]
    if unknown:
        say(
            f"note: {path.name} is not written: the lengths of videos are not known: {few(unknown)}"
        )
        return
    found = [
        TimedVideo(
            name=video_of(each.video),
            segments=tuple(
                TimedSegment(one["segment"][0], one["segment"][1], one.get("label"), one["score"])
                for one in results[each.video]
            ),
            address=str(file) if (file := times.path(each.video)) is not None else "",
            duration_seconds=each.duration_seconds,
            times=times(each.video),
        )
        for each in videos
    ]
    notes: list[str] = []
    try:
        write_segments(path, found, form, notes=notes)
    except DataError as error:
        say(f"note: {path.name} is not written: {error}; or later: videozoo convert {beside}")
        return
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    for note in notes:
        say(f"note: {path.name}: {note}")
    say(f"written: {path}")
