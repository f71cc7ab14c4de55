"""Compare times of annotations with the lengths of videos.

Annotations say how long a video is and when something happens in it. Where features say how long
it is too, the two are compared: seconds taken for frames, or features of other videos, would train
and be measured without an error, and be wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from videozoo.data.text import of_video
from videozoo.errors import DataError

TOLERANCE = 0.05
"""Share by which lengths may differ before something is said."""
MEASURED_COUNTS = "Times are to be in seconds; where features tell a length, that one counts."
"""Advice: which of two lengths is used."""
_CORRECT = "Correct them before going on."
_FAR = 1.5  # so many times as long is no longer another way of measuring
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """How long videos are by their features."""

    path: Path
    """Of the features, for messages."""
    seconds: Mapping[str, float]
    """What features were made of says so."""
    estimates: Mapping[str, float]
    """Number of vectors divided by their rate, for other videos."""
    slack_seconds: float = 0.0
    """How far off an estimate may be."""

    def length(self, video: str, annotated: float | None) -> float | None:
        """Which length of a video counts; None where none is known."""
        return of_video(video, self.seconds) or annotated or of_video(video, self.estimates)

    def check(
        self,
        annotated: Mapping[str, float],
        *,
        source: Path,
        warn: Callable[[str], object] = _log.warning,
    ) -> None:
        """Compare with lengths as annotated, in the file `source`; see `check_lengths`.

        Raises:
            DataError: Most are far apart.
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
    warn: Callable[[str], object] = _log.warning,
) -> None:
    """Compare how long videos are by their annotations and by their features.

    Videos that differ by more than a few percent are counted in a warning, which names the worst.

    Args:
        lengths: Seconds of each video as annotated, and by its features; above 0.
        source: The file that the first come from.
        features: Where the second come from.
        slack_seconds: How far off the second may be by nature: for a count of vectors divided by
            their rate, the seconds of one vector.
        advice: What to know or to do about it, where more can be said.
        may_refuse: Without it a warning is all there is: the annotations may be of others.
        warn: What takes a warning.

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
    text = (
        f"{source}: {len(apart)} of {len(lengths)} videos are longer or shorter there than by "
        f"their features in {features}; worst is {worst}: {annotated:g} s annotated, "
        f"{measured:g} s by its features, {apart[worst]:.3g} times; are the annotations in frames, "
        "or of other videos?"
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
    """How long the video is; above 0."""


def check_ends(
    stretches: Sequence[Stretch],
    *,
    source: Path,
    what: str = "segments",
    advice: str = "",
    warn: Callable[[str], object] = _log.warning,
) -> None:
    """Look for stretches that end after their video does.

    Those that are more than a few percent of the video too long are counted in a warning, which
    names the worst.

    Args:
        stretches: All of a file.
        source: The file.
        what: They are, in the plural.
        advice: What to know or to do about it, where more can be said.
        warn: What takes a warning.

    Raises:
        DataError: More than half of them end later than one and a half times the video's length.
    """
    beyond = [one for one in stretches if _times(one) > 1 + TOLERANCE]
    if not beyond:
        return
    worst = max(beyond, key=_times)
    place = worst.where.removeprefix(f"{source}: ")
    text = (
        f"{source}: {len(beyond)} of {len(stretches)} {what} reach beyond their video; worst is "
        f"{place}: {worst.start_seconds:g} to {worst.end_seconds:g} in a video of "
        f"{worst.video_seconds:g} s; are they in frames?"
    )
    if 2 * sum(_times(one) >= _FAR for one in beyond) > len(stretches):
        raise DataError(f"{text} {advice or _CORRECT}")
    warn(f"{text} {advice}".strip())


def _times(one: Stretch) -> float:
    """The end as a multiple of the video's length."""
    return one.end_seconds / one.video_seconds
