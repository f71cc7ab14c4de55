"""What trained models say of videos: one shape for all tasks.

A result has `.video`, the name of the video, and one list, the best first:

* `VideoLabels.labels`: what a video shows or is about;
* `VideoSegments.segments`: what happens when;
* `VideoCaptions.captions`: sentences about its events, in the order of the events;
* `VideoMoments.moments`: where a sentence is to be seen.

Times are seconds. `.to_dict()` gives plain values that JSON can hold, without arrays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import counted


class _Plain:
    """Gives dataclasses `to_dict`; fields with `repr=False`, which hold arrays, are left out."""

    def to_dict(self) -> dict[str, Any]:
        """As plain values: strings, numbers, None, lists and dicts."""
        return {
            each.name: _plain(getattr(self, each.name))
            for each in fields(cast(Any, self))
            if each.repr
        }


def _plain(value: Any) -> Any:
    if isinstance(value, _Plain):
        return value.to_dict()
    if isinstance(value, tuple):
        return [_plain(each) for each in cast("tuple[Any, ...]", value)]
    return None if isinstance(value, float) and math.isnan(value) else value


# --- one answer ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Label(_Plain):
    """A class, and how sure the model is of it.

    >>> Label("moves left", 0.97312, 0)
    Label('moves left', 0.973)
    """

    name: str
    score: float
    """In [0, 1]."""
    number: int
    """Of the class, from 0."""

    def __repr__(self) -> str:
        return f"Label({self.name!r}, {self.score:.3f})"


@dataclass(frozen=True, slots=True)
class Segment(_Plain):
    """A stretch of a video in which something happens.

    >>> Segment(3.14159, 7.5, 0.9, "run")
    Segment(3.1 to 7.5 s, 'run', 0.900)
    """

    start: float
    """In seconds; a share of the video where its length is not known, as its result says."""
    end: float
    score: float
    """Higher is better; in [0, 1] for the models here."""
    name: str | None = None
    """Of the class; None where the model finds segments of any class."""

    def __repr__(self) -> str:
        named = "" if self.name is None else f"{self.name!r}, "
        return f"Segment({_span(self.start, self.end)}, {named}{self.score:.3f})"


@dataclass(frozen=True, slots=True)
class Caption(_Plain):
    """A sentence about an event.

    >>> Caption(0.0, 4.25, "a man runs", -1.5)
    Caption(0.0 to 4.2 s, 'a man runs', -1.500)
    """

    start: float
    """Of the event, in seconds."""
    end: float
    text: str
    score: float
    """Logarithm of the probability of the whole sentence."""
    words: tuple[str, ...] = field(default=(), repr=False)
    """The end of the sentence among them, as `<e>`."""
    attention: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    """(words, T): where in the event the model looked at each word; rows sum to 1."""
    others: tuple[Caption, ...] = ()
    """Other sentences for the event, the best first."""

    def __repr__(self) -> str:
        return f"Caption({_span(self.start, self.end)}, {self.text!r}, {self.score:.3f})"


@dataclass(frozen=True, slots=True)
class Moment(_Plain):
    """A stretch of a video that a sentence may mean.

    >>> Moment(2.0, 6.0, 1.25)
    Moment(2.0 to 6.0, 1.250)
    """

    start: float
    """In the unit that its result tells."""
    end: float
    score: float
    """How well the sentence fits; has no bounds, higher is better."""

    def __repr__(self) -> str:
        return f"Moment({_span(self.start, self.end, '')}, {self.score:.3f})"


def _span(start: float, end: float, unit: str = " s") -> str:
    return f"{start:.1f} to {end:.1f}{unit}"


# --- results -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Result(_Plain):
    """What a model says of one video."""

    video: str
    """Its name: the path as it was given, the name that features go by, or `video 0`, `video 1`,
    ... for arrays."""

    @property
    def name(self) -> str:
        """The same as `video`."""
        return self.video


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoLabels(Result):
    """Classes of a video.

    >>> VideoLabels(video="a.mp4", labels=(Label("run", 0.75, 1), Label("jump", 0.25, 0)))
    VideoLabels('a.mp4': 2 labels, best 'run' 0.750)
    """

    labels: tuple[Label, ...]
    """The best first: all classes, or for models that tag videos the best `predict.top_k`."""
    scores: NDArray[np.floating[Any]] | None = field(default=None, repr=False, compare=False)
    """(num_classes,), by number of the class; None for models that tag videos."""
    least_score: float | None = None
    """Where a video may have several classes: those with this score or more are said to be there.
    None: the scores sum to 1, and the best class is the answer."""

    @property
    def there(self) -> tuple[Label, ...]:
        """The classes that the video is said to have: those from `least_score`, or the best one."""
        if self.least_score is None:
            return self.labels[:1]
        return tuple(label for label in self.labels if label.score >= self.least_score)

    def top(self, k: int) -> list[tuple[int, float]]:
        """Numbers and scores of the k best classes."""
        return [(label.number, label.score) for label in self.labels[:k]]

    def __repr__(self) -> str:
        best = [f"best {label.name!r} {label.score:.3f}" for label in self.labels[:1]]
        return _line(self, _count(self.labels, "label"), *best)


@dataclass(frozen=True, slots=True)
class WindowScores:
    """Scores of all classes along a video."""

    times: NDArray[np.float64]
    """(N, 2): start and end of each window's share of the video, in seconds, without gaps."""
    scores: NDArray[np.floating[Any]]
    """(N, num_classes); each row sums to 1, unless a video may have several classes."""
    class_names: tuple[str, ...]
    """By number of the class."""


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoSegments(Result):
    """What happens when in a video.

    >>> VideoSegments(video="v1", duration_seconds=20.0, segments=(Segment(3, 7, 0.9, "run"),))
    VideoSegments('v1': 20.0 s, 1 segment, best 3.0 to 7.0 s 'run' 0.900)
    """

    duration_seconds: float | None
    """Of the video. None: not known; times are then shares of the video."""
    segments: tuple[Segment, ...]
    """The best first, near copies removed."""
    windows: WindowScores | None = field(default=None, repr=False, compare=False)
    """What the segments were made of, where a clip model looked along the video."""

    def __repr__(self) -> str:
        known = self.duration_seconds is not None
        length = f"{self.duration_seconds:.1f} s" if known else "of unknown length"
        best = [
            f"best {_span(each.start, each.end, ' s') if known else _share(each)}"
            f"{'' if each.name is None else f' {each.name!r}'} {each.score:.3f}"
            for each in self.segments[:1]
        ]
        return _line(self, length, _count(self.segments, "segment"), *best)


def _share(segment: Segment) -> str:
    return f"{segment.start:.0%} to {segment.end:.0%}"


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoCaptions(Result):
    """Sentences about a video.

    >>> VideoCaptions(video="v1", captions=(Caption(0, 4, "a man runs", -1.5),))
    VideoCaptions('v1': 1 caption, first 0.0 to 4.0 s 'a man runs')
    """

    captions: tuple[Caption, ...]
    """One per event, in the order of the events."""

    def __repr__(self) -> str:
        first = [f"first {_span(one.start, one.end)} {one.text!r}" for one in self.captions[:1]]
        return _line(self, _count(self.captions, "caption"), *first)


@dataclass(frozen=True, kw_only=True, repr=False)
class VideoMoments(Result):
    """Where a sentence is to be seen in a video.

    >>> VideoMoments(video="v1", sentence="a man runs", moments=(Moment(2, 6, 1.25),))
    VideoMoments('v1', 'a man runs': 1 moment, best 2.0 to 6.0 s 1.250)
    """

    sentence: str
    """What was looked for; empty where it came as a vector."""
    moments: tuple[Moment, ...]
    """The best `predict.top_k`, without those that overlap a better one too much."""
    unit: Literal["seconds", "frames"] = "seconds"
    """Of times; frames for folders of clips."""
    least_score: float | None = None
    """What the best moment of a sentence scores at least, where it is in the video; None: unknown.
    """

    @property
    def is_likely(self) -> bool | None:
        """Whether the sentence is probably to be seen in the video; None: unknown."""
        if self.least_score is None:
            return None
        return bool(self.moments) and self.moments[0].score >= self.least_score

    def __repr__(self) -> str:
        unit = " s" if self.unit == "seconds" else " frames"
        best = [f"best {_span(one.start, one.end, unit)} {one.score:.3f}" for one in self.moments]
        return _line(self, _count(self.moments, "moment"), *best[:1], more=f", {self.sentence!r}")


# --- over many videos ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FoundMoment(_Plain):
    """A moment, and the video it is in.

    >>> FoundMoment("v1", 2.0, 6.0, 1.25)
    FoundMoment('v1', 2.0 to 6.0, 1.250)
    """

    video: str
    start: float
    end: float
    score: float
    """As in `Moment`."""
    is_likely: bool | None = None
    """Whether it scores as what is there does; None: unknown."""

    def __repr__(self) -> str:
        return f"FoundMoment({self.video!r}, {_span(self.start, self.end, '')}, {self.score:.3f})"


@dataclass(frozen=True, kw_only=True)
class RankedMoments(_Plain):
    """Where a sentence is to be seen in many videos: in which of them, and when."""

    sentence: str
    moments: tuple[FoundMoment, ...]
    """Of all videos, the best first."""
    unit: Literal["seconds", "frames"] = "seconds"
    least_score: float | None = None
    """What a moment scores at least that is there; None: unknown."""


def ranked_moments(results: Sequence[VideoMoments]) -> list[RankedMoments]:
    """One list per sentence over all videos, in the order of the sentences.

    Args:
        results: The same sentences in the same order for each video, video by video.

    >>> found = [VideoMoments(video=v, sentence="a", moments=(Moment(0, 2, s),)) for v, s in
    ...          (("v1", 0.5), ("v2", 0.9))]
    >>> ranked_moments(found)[0].moments
    (FoundMoment('v2', 0.0 to 2.0, 0.900), FoundMoment('v1', 0.0 to 2.0, 0.500))
    """
    groups: dict[int, list[VideoMoments]] = {}
    place, before = 0, None
    for one in results:
        place = place + 1 if one.video == before else 0
        before = one.video
        groups.setdefault(place, []).append(one)
    return [_ranked(group) for group in groups.values()]


def _ranked(group: Sequence[VideoMoments]) -> RankedMoments:
    first = group[0]
    found = [
        FoundMoment(
            one.video,
            each.start,
            each.end,
            each.score,
            None if one.least_score is None else each.score >= one.least_score,
        )
        for one in group
        for each in one.moments
    ]
    return RankedMoments(
        sentence=first.sentence,
        moments=tuple(sorted(found, key=lambda each: -each.score)),
        unit=first.unit,
        least_score=first.least_score,
    )


def _line(result: Result, *parts: str, more: str = "") -> str:
    return f"{type(result).__name__}({result.video!r}{more}: {', '.join(parts)})"


def _count(items: Sequence[object], name: str) -> str:
    return counted(len(items), name)
