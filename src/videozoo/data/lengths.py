"""Compare times of annotations with the lengths of videos.

Annotations give the length of a video and the times of its segments. Features often give a length
too, and then the two are compared. Without this check, times in frames instead of seconds, or
features of other videos, would train and evaluate without an error, but with wrong results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videozoo.data.text import of_video
from videozoo.errors import DataError, counted

TOLERANCE = 0.05
"""Relative difference between two lengths that gives no warning."""
MEASURED_COUNTS = "Times must be in seconds; if the features give a length, it is used."
"""Advice: which of two lengths is used."""
_CORRECT = "Correct them before going on."
_FAR = 1.5  # a longer/shorter ratio this high is no matter of rounding
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """Lengths of videos by their features."""

    path: Path
    """Path of the features, for messages."""
    seconds: Mapping[str, float]
    """Exact lengths, stored with the features when they were extracted."""
    estimates: Mapping[str, float]
    """Lengths of the other videos: number of vectors divided by their rate."""
    slack_seconds: float = 0.0
    """By how much an estimate may be wrong."""

    def __contains__(self, video: object) -> bool:
        """Whether a length of this video is known."""
        return isinstance(video, str) and any(
            of_video(video, known) is not None for known in (self.seconds, self.estimates)
        )

    def length(self, video: str, annotated: float | None) -> float | None:
        """The length of a video to use, in seconds; None if none is known."""
        return of_video(video, self.seconds) or annotated or of_video(video, self.estimates)

    def check(
        self,
        annotated: Mapping[str, float],
        *,
        source: Path,
        warn: Callable[[str], object] = _log.warning,
    ) -> None:
        """Compare with the annotated lengths, read from `source`; see `check_lengths`.

        Raises:
            DataError: Most lengths are far apart.
        """
        for known, slack, advice in (
            (self.seconds, 0.0, MEASURED_COUNTS),
            (self.estimates, self.slack_seconds, ""),
        ):
            lengths = {
                video: (seconds, other)
                for video, seconds in annotated.items()
                if (other := of_video(video, known)) is not None
            }
            check_lengths(
                lengths,
                source=source,
                features=self.path,
                slack_seconds=slack,
                advice=advice,
                warn=warn,
            )


def check_lengths(
    lengths: Mapping[str, tuple[float, float]],
    *,
    source: Path,
    features: Path,
    slack_seconds: float = 0.0,
    advice: str = "",
    may_refuse: bool = True,
    measured_by: str = "by their features",
    warn: Callable[[str], object] = _log.warning,
) -> None:
    """Compare the lengths of videos by their annotations and by their features.

    Differences of more than a few percent give one warning, which names the worst.

    Args:
        lengths: For each video, its annotated length and its length by features; seconds, above 0.
        source: File of the annotations, for messages.
        features: Path of the features, for messages.
        slack_seconds: By how much a length by features may be wrong. If it is a number of vectors
            divided by their rate: the seconds of one vector.
        advice: What to know or do about a difference, if it is known.
        may_refuse: If not, only warn, because the annotations may be of other videos.
        measured_by: What gave the other length, for messages; `features` is then its path.
        warn: Function that logs a warning.

    Raises:
        DataError: For more than half of the videos one length is half as long again as the other,
            or more.
    """
    apart = {
        video: max(pair) / min(pair)
        for video, pair in lengths.items()
        if abs(pair[0] - pair[1]) > slack_seconds + TOLERANCE * max(pair)
    }
    if not apart:
        return
    worst = max(apart, key=lambda video: apart[video])
    annotated, measured = lengths[worst]
    own = measured_by.replace("their", "its")
    text = (
        f"{source}: {len(apart):,} of {counted(len(lengths), 'video')} are longer or shorter there "
        f"than {measured_by} in {features}; worst is {worst}: {annotated:g} s annotated, "
        f"{measured:g} s {own}, {apart[worst]:.3g} times; are the annotations in frames, or of "
        "other videos?"
    )
    if may_refuse and 2 * sum(ratio >= _FAR for ratio in apart.values()) > len(lengths):
        raise DataError(f"{text} {advice or _CORRECT}")
    warn(f"{text} {advice}".strip())


@dataclass(frozen=True)
class Stretch:
    """A stretch of a video, as annotated."""

    where: str
    """File and place, for messages."""
    start_seconds: float
    end_seconds: float
    video_seconds: float
    """Length of the video, above 0."""


def check_ends(
    stretches: Sequence[Stretch],
    *,
    source: Path,
    what: str = "segments",
    advice: str = "",
    warn: Callable[[str], object] = _log.warning,
) -> None:
    """Look for stretches that end after the end of their video.

    If stretches end later by more than a few percent of the video, one warning counts them and
    names the worst.

    Args:
        stretches: All stretches of a file.
        source: The file, for messages.
        what: What the stretches are, in the plural.
        advice: What to know or do about it, if it is known.
        warn: Function that logs a warning.

    Raises:
        DataError: More than half of them end later than 1.5 times the length of the video.
    """
    beyond = [one for one in stretches if _times(one) > 1 + TOLERANCE]
    if not beyond:
        return
    worst = max(beyond, key=_times)
    place = worst.where.removeprefix(f"{source}: ")
    text = (
        f"{source}: {len(beyond):,} of {len(stretches):,} {what} reach beyond their video; worst "
        f"is {place}: {worst.start_seconds:g} to {worst.end_seconds:g} in a video of "
        f"{worst.video_seconds:g} s; are they in frames?"
    )
    if 2 * sum(_times(one) >= _FAR for one in beyond) > len(stretches):
        raise DataError(f"{text} {advice or _CORRECT}")
    warn(f"{text} {advice}".strip())


def _times(one: Stretch) -> float:
    """The end as a multiple of the video's length."""
    return one.end_seconds / one.video_seconds
