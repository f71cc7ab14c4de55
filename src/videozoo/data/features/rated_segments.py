"""Segments of videos that people rated for classes, as in YouTube-8M of 2019.

A rating says of one class whether it is to be seen in a segment. Of all other classes nothing is
known there.
"""

from __future__ import annotations

from dataclasses import dataclass

from videozoo.data.features.records import FeatureRecord
from videozoo.errors import DataError


@dataclass(frozen=True, slots=True)
class RatedSegment:
    """A segment, and what people said of it."""

    start: int
    """First frame, from 0."""
    end: int
    """The frame after the last."""
    labels: tuple[int, ...]
    """The rated classes, ascending."""
    present: tuple[bool, ...]
    """Whether each of them is to be seen."""


def segment_name(video: str, start: int) -> str:
    """What the challenge of 2019 calls a segment.

    Args:
        video: Name of the video.
        start: First frame, with one frame per second: the start in seconds.

    >>> segment_name("abcd", 15)
    'abcd:15'
    """
    return f"{video}:{start}"


def rated_segments(record: FeatureRecord, where: str) -> list[RatedSegment]:
    """The rated segments of a video, by their starts; none if it has no ratings.

    Args:
        record: The video.
        where: Its place, for errors.

    Raises:
        DataError: The lists of ratings do not fit one another, or two ratings contradict.

    Source: google/youtube-8m, readers.py: ratings of one start are of one segment.
    """
    if not record.has_segment_labels:
        return []
    if record.ratings is None:
        raise DataError(
            f"{where}: segment_start_times, segment_end_times, segment_labels and segment_scores "
            "do not fit one another: expected four lists of one length, times from 0, ends after "
            "starts"
        )
    ends: dict[int, int] = {}
    said: dict[int, dict[int, bool]] = {}
    for one in record.ratings:
        if ends.setdefault(one.start, one.end) != one.end:
            raise DataError(
                f"{where}: two segments start at frame {one.start}, and end at frames "
                f"{ends[one.start]} and {one.end}"
            )
        if said.setdefault(one.start, {}).setdefault(one.label, one.is_present) != one.is_present:
            raise DataError(
                f"{where}: class {one.label} is rated present and absent in the segment from "
                f"frame {one.start}"
            )
    return [
        RatedSegment(
            start, ends[start], tuple(sorted(own)), tuple(own[label] for label in sorted(own))
        )
        for start, own in sorted(said.items())
    ]
