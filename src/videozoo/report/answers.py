"""Answers of models about videos as flat rows, for pages, subtitles, tables and annotated films."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from videozoo.data.frames.video import open_video
from videozoo.data.frames.windows import FrameTimes
from videozoo.data.video_names import names_apart, video_name
from videozoo.errors import UsageError, VideoError
from videozoo.results import Result, VideoCaptions, VideoLabels, VideoMoments, VideoSegments

Kind = Literal["label", "segment", "caption", "moment"]
Unit = Literal["seconds", "share", "frames"]

_MOST_CURVES = 4  # classes of a model with their scores over time
_MOST_STRETCHES = 600  # of a curve
HALF = 0.5
"""Segments whose score is below this share of the best one's are too unsure for subtitles and
films."""


@dataclass(frozen=True, kw_only=True)
class VideoAnswer:
    """What one model says of one video, and where that video is."""

    result: Result
    path: Path | None = None
    """The video file; None where only features are known."""
    duration_seconds: float | None = None
    """Length of the video; None where it is not known."""
    part_seconds: tuple[float, float] | None = None
    """The part of the video that classes are about; None: all of it."""
    truths: Sequence[tuple[float, float]] = ()
    """For moments: the true ones, as people say, in the unit of the result."""


@dataclass(frozen=True, kw_only=True)
class ModelAnswers:
    """What one model says of all videos."""

    title: str
    """Of the model, as readers see it."""
    videos: Sequence[VideoAnswer]
    """A video may be there several times: a moment model has one result per sentence."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One answer: a class, a segment, a sentence, a moment."""

    video: str
    """Name of the video as its result gives it."""
    model: str
    kind: Kind
    name: str
    """The class or the sentence; empty for segments of any class, and for sentences that were
    given as vectors."""
    score: float
    rank: int
    """From 1: among the answers to the same question. For captions, among the sentences for one
    event."""
    start: float | None = None
    """In `unit`; None: the whole video."""
    end: float | None = None
    unit: Unit = "seconds"
    is_likely: bool = True
    """False: the model itself says that this is probably not to be seen in the video."""
    is_one_of_several: bool = False
    """A class of a video that may have several: it holds whether or not better ones do."""
    truths: Sequence[tuple[float, float]] = ()
    """For moments: the true ones, in `unit`."""

    @property
    def seconds(self) -> tuple[float, float] | None:
        """Start and end in seconds; None for whole videos, and where the times are not seconds."""
        if self.start is None or self.end is None or self.unit != "seconds":
            return None
        return self.start, self.end


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The scores of one class along a video."""

    model: str
    name: str
    """Of the class."""
    ends: NDArray[np.float64]
    """Where each stretch of the video ends, in seconds; the first starts at 0."""
    scores: NDArray[np.float64]
    """The highest score in each stretch."""


def rows_of(models: Sequence[ModelAnswers]) -> list[Row]:
    """All answers of all models, model by model, in the order of their results.

    Times that are shares of a video become seconds where the length of the video is known.

    >>> from videozoo.results import Segment
    >>> one = VideoSegments(video="v", duration_seconds=None, segments=(Segment(0.5, 1, 0.9),))
    >>> [row.seconds for row in rows_of([ModelAnswers(title="BMN", videos=[
    ...     VideoAnswer(result=one), VideoAnswer(result=one, duration_seconds=20.0)])])]
    [None, (10.0, 20.0)]
    """
    return [
        replace(row, video=answer.result.video, model=model.title)
        for model in models
        for answer in model.videos
        for row in rows_of_one(answer)
    ]


def rows_of_one(answer: VideoAnswer) -> Iterator[Row]:
    """The answers of one result; `model` is left empty."""
    result = answer.result
    if isinstance(result, VideoLabels):
        for rank, label in enumerate(result.labels, 1):
            times = answer.part_seconds or (None, None)
            row = _row(result, "label", label.name, label.score, rank, times)
            several = result.least_score is not None
            likely = result.least_score is None or label.score >= result.least_score
            yield replace(row, is_likely=likely, is_one_of_several=several)
    elif isinstance(result, VideoSegments):
        length = result.duration_seconds or answer.duration_seconds
        is_share = result.duration_seconds is None
        scale = length if is_share and length else 1.0
        unit: Unit = "share" if is_share and not length else "seconds"
        for rank, one in enumerate(result.segments, 1):
            times = (one.start * scale, one.end * scale)
            yield _row(result, "segment", one.name or "", one.score, rank, times, unit)
    elif isinstance(result, VideoCaptions):
        for caption in result.captions:
            for rank, each in enumerate((caption, *caption.others), 1):
                times = (each.start, each.end)
                yield _row(result, "caption", each.text, each.score, rank, times)
    elif isinstance(result, VideoMoments):
        for rank, moment in enumerate(result.moments, 1):
            times = (moment.start, moment.end)
            likely = result.least_score is None or moment.score >= result.least_score
            row = _row(result, "moment", result.sentence, moment.score, rank, times, result.unit)
            yield replace(row, is_likely=likely, truths=answer.truths)


def _row(
    result: Result,
    kind: Kind,
    name: str,
    score: float,
    rank: int,
    times: tuple[float, float] | tuple[None, None] = (None, None),
    unit: Unit = "seconds",
) -> Row:
    return Row(
        video=result.video, model="", kind=kind, name=name, score=float(score), rank=rank,
        start=times[0], end=times[1], unit=unit,
    )  # fmt: skip


def told_over_time(rows: Sequence[Row]) -> list[Row]:
    """The answers worth showing while a video plays.

    These are the best sentence for every event; the best moment of every sentence, unless it is
    probably not there; the best class of a part of a video, or its several classes that are
    probably there; and the segments with at least half the score of the best one of the same model
    and video, unless one before them has the same name and overlaps them. Answers whose times are
    not seconds are left out, and so are classes of whole videos.

    >>> def segment(score, start):
    ...     return Row(video="v", model="m", kind="segment", name="run", score=score, rank=1,
    ...                start=start, end=start + 2)
    >>> rows = [segment(0.8, 0), segment(0.7, 1), segment(0.41, 5), segment(0.39, 8)]
    >>> [row.score for row in told_over_time(rows)]
    [0.8, 0.41]
    """
    best: dict[tuple[str, str], float] = {}
    for row in rows:
        if row.kind == "segment" and not math.isnan(row.score):
            key = row.model, row.video
            best[key] = max(best.get(key, row.score), row.score)
    taken: dict[tuple[str, str, str], list[tuple[float, float]]] = {}

    def is_told(row: Row) -> bool:
        if row.seconds is None or not row.is_likely:
            return False
        if row.kind != "segment":
            return row.rank == 1 or row.is_one_of_several
        if not row.score >= HALF * best.get((row.model, row.video), math.inf):
            return False
        start, end = row.seconds
        others = taken.setdefault((row.model, row.video, row.name), [])
        if any(start < other_end and other_start < end for other_start, other_end in others):
            return False
        others.append(row.seconds)
        return True

    return [row for row in rows if is_told(row)]


def curves_of(result: Result, model: str) -> list[Curve]:
    """The scores along a video of the classes that score highest, the highest first.

    They are of a few hundred stretches at most, whatever the length of the video; none for results
    without scores along the time.
    """
    windows = result.windows if isinstance(result, VideoSegments) else None
    if windows is None or not len(windows.scores):
        return []
    scores = np.asarray(windows.scores, np.float64)
    peaks = scores.max(axis=0)
    found = {each.name for each in result.segments}  # pyright: ignore[reportAttributeAccessIssue]
    order: list[int] = np.argsort(-peaks, kind="stable").tolist()
    named = [number for number in order if windows.class_names[number] in found]
    shown = list(dict.fromkeys((*named, *order)))[:_MOST_CURVES]
    firsts = np.unique(np.linspace(0, len(scores), min(len(scores), _MOST_STRETCHES) + 1)[:-1]
                       .astype(np.int64))  # fmt: skip
    lasts = np.append(firsts[1:], len(scores)) - 1
    highest = np.maximum.reduceat(scores, firsts, axis=0)
    return [
        Curve(
            model=model,
            name=windows.class_names[number],
            ends=windows.times[lasts, 1],
            scores=highest[:, number],
        )
        for number in shown
    ]


# --- videos of several models --------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class VideoRows:
    """All that is said of one video."""

    name: str
    """For people: the name of the file, with its folder where two files share it."""
    path: Path | None
    duration_seconds: float | None
    rows: Sequence[Row]
    """`Row.video` is `name`."""
    notes: Sequence[str] = ()
    """Where lengths and times do not agree, and which models found nothing."""
    curves: Sequence[Curve] = ()
    """Scores of classes along the time."""


def by_video(models: Sequence[ModelAnswers]) -> list[VideoRows]:
    """Put together what all models say of each video, in the order of the first model.

    Videos are the same if their files are; those without a file, if their names are.

    >>> from videozoo.results import Label
    >>> def said(name, path):
    ...     result = VideoLabels(video=name, labels=(Label("run", 0.9, 0),))
    ...     return VideoAnswer(result=result, path=path)
    >>> found = by_video([
    ...     ModelAnswers(title="TSM", videos=[said("clips/a.mp4", Path("clips/a.mp4"))]),
    ...     ModelAnswers(title="BMN", videos=[said("a", Path("clips/a.mp4")), said("b", None)]),
    ... ])
    >>> [(each.name, [row.model for row in each.rows]) for each in found]
    [('a.mp4', ['TSM', 'BMN']), ('b', ['BMN'])]
    """
    groups: dict[Path | str, list[tuple[str, VideoAnswer]]] = {}
    for model in models:
        for answer in model.videos:
            path = answer.path
            key = answer.result.video if path is None else path.absolute()
            groups.setdefault(key, []).append((model.title, answer))
    names = _names(list(groups), groups)
    found: list[VideoRows] = []
    for name, said in zip(names, groups.values(), strict=True):
        known = [
            length
            for _, each in said
            for length in (each.duration_seconds, getattr(each.result, "duration_seconds", None))
            if length
        ]
        length = known[0] if known else None
        notes = [_lengths_differ(known)] if known and max(known) > _about(min(known)) else []
        rows = [
            replace(row, video=name, model=title)
            for title, each in said
            for row in rows_of_one(replace(each, duration_seconds=length))
        ]
        last = max((each.seconds[1] for each in rows if each.seconds is not None), default=0.0)
        if length and last > _about(length):
            notes.append(
                f"some times lie after the end of the video: {last:.1f} s, and it lasts "
                f"{length:.1f} s; they may be of another video"
            )
        curves = [curve for title, each in said for curve in curves_of(each.result, title)]
        drawn = {curve.model for curve in curves}
        silent = {title for title, _ in said} - {row.model for row in rows}
        notes += [
            f"{title} found nothing in it"
            + (" that it is sure of; its scores are drawn below" if title in drawn else "")
            for title in sorted(silent)
        ]
        path = said[0][1].path
        found.append(
            VideoRows(
                name=name,
                path=path,
                duration_seconds=length,
                rows=rows,
                notes=notes,
                curves=curves,
            )
        )
    return found


def _about(seconds: float) -> float:
    """The longest length that may be the same: windows of features are half a second and more."""
    return 1.02 * seconds + 1.0


def _lengths_differ(known: Sequence[float]) -> str:
    return (
        f"lengths of the video do not agree: {min(known):.1f} s and {max(known):.1f} s; "
        f"{known[0]:.1f} s is taken"
    )


def _names(
    keys: Sequence[Path | str], groups: Mapping[Path | str, Sequence[tuple[str, VideoAnswer]]]
) -> list[str]:
    """Names for people: short, and different for every video."""
    short = [key.name if isinstance(key, Path) else key for key in keys]
    often = Counter(short)
    names = [
        f"{key.parent.name}/{name}" if often[name] > 1 and isinstance(key, Path) else name
        for key, name in zip(keys, short, strict=True)
    ]
    often = Counter(names)
    return [
        str(groups[key][0][1].path) if often[name] > 1 and isinstance(key, Path) else name
        for key, name in zip(keys, names, strict=True)
    ]


# --- results of Python programs ------------------------------------------------------------------

Results = Sequence[Result] | Mapping[str, Sequence[Result]]
"""Results of one model, or title of the model -> its results."""


Videos = Mapping[str, str | Path] | Sequence[str | Path]
"""Files of videos: by the name of the video in the results, or a list, whose names are those of the
files without ending."""


def answers_of(
    results: Results,
    *,
    videos: Videos | None = None,
    measured: Callable[[Path], float | None] | None = None,
) -> list[ModelAnswers]:
    """Results as `.predict` returns them, with the files that they are about.

    Args:
        results: Of one model, or by title of the model.
        videos: Their files; those of one name are told apart by their folders, as features are
            (`names_apart`). Where a video is not among them, its name is taken as a path if there
            is such a file.
        measured: Tells the length of a file in seconds; by default `video_seconds`.

    Raises:
        UsageError: There is no result, or something else among them.
    """
    by_title = results if isinstance(results, Mapping) else {"": results}
    length_of = measured or video_seconds
    files = _files(videos or {})
    lengths: dict[Path, float | None] = {}
    models: list[ModelAnswers] = []
    for title, each in by_title.items():
        found: list[VideoAnswer] = []
        for result in each:
            if not isinstance(result, Result):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise UsageError(
                    f"results: a {type(result).__name__}, expected what .predict returned, or a "
                    "dict from the title of a model to that"
                )
            path = files.get(result.video)
            if path is None:
                _check_told_apart(result.video, files.values())
            if path is None and os.path.exists(result.video):  # noqa: PTH110 - any text may be there
                path = Path(result.video)
            if path is not None and path not in lengths:
                lengths[path] = length_of(path)
            length = None if path is None else lengths[path]
            found.append(VideoAnswer(result=result, path=path, duration_seconds=length))
        models.append(ModelAnswers(title=title or _title_of(found), videos=found))
    if not any(model.videos for model in models):
        raise UsageError("results: there are none; pass what .predict returned")
    return models


def _check_told_apart(video: str, files: Iterable[Path]) -> None:
    """Refuse a result that may be about any of several files."""
    alike = [path for path in files if video_name(path) == video]
    if len(alike) > 1:
        raise UsageError(
            f"videos: {alike[0]} and {alike[1]} are both called {video!r}, and a result is of one "
            "of them; pass a dict from the name of each video in the results to its file"
        )


def _title_of(answers: Sequence[VideoAnswer]) -> str:
    """What stands for a model whose title is not known."""
    titles: dict[type[Result], str] = {
        VideoSegments: "segments",
        VideoCaptions: "captions",
        VideoMoments: "moments",
    }
    kinds = {titles.get(type(each.result), "classes") for each in answers}
    return kinds.pop() if len(kinds) == 1 else "answers"


def _files(videos: Videos) -> dict[str, Path]:
    if isinstance(videos, Mapping):
        return {name: Path(path) for name, path in videos.items()}
    paths = [Path(video) for video in ([videos] if isinstance(videos, str) else videos)]
    return dict(zip(names_apart(paths), paths, strict=True))


def video_seconds(path: Path) -> float | None:
    """The length of a video; None where the file cannot be read or does not tell."""
    try:
        with open_video(path) as reader:
            return FrameTimes.of(reader, str(path)).duration_seconds or None
    except VideoError:
        return None
