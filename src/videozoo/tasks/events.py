"""Events to describe in videos that have none: from a file, or found by a localiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from videozoo.data.annotations.segment_results import read_results
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.text import of_video
from videozoo.errors import DataError
from videozoo.ops.tiou import tiou
from videozoo.results import VideoSegments

Spans = list[tuple[float, float]]
_MOST_EVENTS = 10
_MOST_OVERLAP = 0.5  # tIoU of two events


def events_in_file(path: Path, videos: Sequence[str], *, least_seconds: float) -> dict[str, Spans]:
    """The events that a file names in some videos.

    Args:
        path: Sentences with times (the text is not read), or segments as `videozoo predict` writes
            them (`results.json`), of which the best are taken: see `chosen`.
        videos: Names of the videos.
        least_seconds: Shorter segments are left out.

    Raises:
        DataError: The file is of another kind, or names none of the videos.
    """
    found: dict[str, Spans] = {}
    try:
        listed = read_results(path)
        for name, segments in listed.items():
            rows = [(each.start_seconds, each.end_seconds, each.score) for each in segments]
            found[name] = chosen(rows, least_seconds=least_seconds)
    except DataError as no_results:
        try:
            for one in read_timed_sentences(path, need_text=False).sentences:
                found.setdefault(one.video, []).append((one.start_seconds, one.end_seconds))
        except DataError as error:
            raise DataError(f"{error}\n  nor are they segments: {no_results}") from None
    spans = {name: of_video(name, found) for name in videos}
    known: dict[str, Spans] = {name: each for name, each in spans.items() if each}
    if not known:
        raise DataError(
            f"{path}: has events of {len(found)} videos, none of which is {', '.join(videos[:3])}"
        )
    return known


def events_found(results: Mapping[str, VideoSegments], *, least_seconds: float) -> dict[str, Spans]:
    """The events that a localiser found, by name of the video.

    Args:
        results: By name of the video.
        least_seconds: Shorter events are left out.

    Raises:
        DataError: A video has no length in seconds.
    """
    found: dict[str, Spans] = {}
    for name, result in results.items():
        if result.duration_seconds is None:
            raise DataError(f"{name}: its length is not known, so its events have no seconds")
        rows = [(each.start, each.end, each.score) for each in result.segments]
        found[name] = chosen(rows, least_seconds=least_seconds)
    return found


def chosen(rows: Sequence[tuple[float, float, float]], *, least_seconds: float = 0.0) -> Spans:
    """The best segments, at most ten, of which no two overlap by a tIoU above 0.5; by time.

    Args:
        rows: Start, end and score of each.
        least_seconds: Shorter ones are left out.

    >>> chosen([(0, 4, 0.9), (0, 5, 0.8), (6, 8, 0.1)])
    [(0, 4), (6, 8)]
    """
    kept: Spans = []
    for start, end, _ in sorted(rows, key=lambda row: -row[2]):
        if len(kept) == _MOST_EVENTS:
            break
        near = tiou(np.array([[start, end]]), np.array(kept)).max() if kept else 0.0
        if end > start and end - start >= least_seconds and near <= _MOST_OVERLAP:
            kept.append((start, end))
    return sorted(kept)
