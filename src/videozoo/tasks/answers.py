"""Write answers in the forms that people look at: page, subtitles, table, annotated films."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from videozoo.commands import flag
from videozoo.data.annotations.videos import find_videos
from videozoo.data.frames.video import open_video
from videozoo.errors import DataError, RunError, UsageError, counted
from videozoo.report.annotate import Answer, Timed, annotate_video, picture_names
from videozoo.report.answer_page import write_answer_page
from videozoo.report.answer_table import write_csv
from videozoo.report.answers import (
    ModelAnswers,
    VideoAnswer,
    VideoRows,
    by_video,
    rows_of,
    told_over_time,
    video_seconds,
)
from videozoo.report.subtitles import write_subtitles
from videozoo.tasks.requests import PredictRequest

PAGE, TABLE = "page.html", "predictions.csv"
_MOST_CLASSES = 3  # of a whole video, on a film that also shows other answers


def write_answers(
    models: Sequence[ModelAnswers],
    request: PredictRequest,
    folder: Path,
    say: Callable[[str], None],
) -> list[Path]:
    """Write the page, the subtitles and the table that a request asks for.

    Args:
        models: What each model says.
        request: Says what to write.
        folder: Where to.
        say: Told what could not be written, and why.

    Returns:
        The files.

    Raises:
        RunError: A file cannot be written.
    """
    if not request.shows_answers:
        return []
    models = measured(models)
    written: list[Path] = []
    if request.page or request.embed_frames:
        written.append(
            write_answer_page(
                folder / PAGE,
                models,
                media="frames" if request.embed_frames else "video",
                made=f"{time.strftime('%Y-%m-%d %H:%M')}, videozoo predict",
            )
        )
    if request.csv:
        rows = rows_of(models)
        written.append(write_csv(folder / TABLE, rows))
        untimed = sum(row.start is not None and row.seconds is None for row in rows)
        if untimed:
            say(
                f"note: {TABLE}: times that are not seconds are left out ({untimed} of "
                f"{counted(len(rows), 'answer')})"
            )
    if request.subtitles:
        written += _subtitles(by_video(models), folder, say)
    return written


def with_paths(
    answers: Sequence[VideoAnswer], videos: Mapping[str, Path], folder: Path | None = None
) -> list[VideoAnswer]:
    """Answers with the videos that their features were made of.

    Args:
        answers: About features, whose names are those of their files.
        videos: Files of features to the videos they were made of.
        folder: Where the other videos are, if the user says so.

    Where two files have one name, their answers are left without a video.
    """
    inside = [] if folder is None else [entry.path for entry in find_videos(folder)]
    pairs = [(Path(features).stem, video) for features, video in videos.items()]
    pairs += [(path.stem, path) for path in inside]
    often = Counter(name for name, _ in pairs)
    known = {name: video for name, video in pairs if often[name] == 1}
    return [
        each if each.path is not None else replace(each, path=known.get(each.result.video))
        for each in answers
    ]


def measured(models: Sequence[ModelAnswers]) -> list[ModelAnswers]:
    """The same with the lengths of the videos whose files are known; each file is opened once."""
    lengths: dict[Path, float | None] = {}

    def with_length(answer: VideoAnswer) -> VideoAnswer:
        path = answer.path
        if path is None or answer.duration_seconds is not None:
            return answer
        if path not in lengths:
            lengths[path] = video_seconds(path)
        return replace(answer, duration_seconds=lengths[path])

    return [replace(each, videos=list(map(with_length, each.videos))) for each in models]


def _subtitles(videos: Sequence[VideoRows], folder: Path, say: Callable[[str], None]) -> list[Path]:
    written: list[Path] = []
    silent: list[str] = []
    for video, name in zip(videos, file_names(videos), strict=True):
        files = write_subtitles(folder, name, video.rows)
        written += files
        if not files:
            silent.append(video.name)
    if silent:
        shown = ", ".join(silent[:5]) + (", ..." if len(silent) > 5 else "")
        say(
            f"note: no subtitles for {len(silent):,} of {counted(len(videos), 'video')}, of which "
            f"nothing with words and seconds is said: {shown}"
        )
    return written


def file_names(videos: Sequence[VideoRows]) -> list[str]:
    """A file name for each video, without ending."""
    return picture_names([Path(each.name) if each.path is None else each.path for each in videos])


def write_films(
    models: Sequence[ModelAnswers],
    folder: Path,
    say: Callable[[str], None],
    *,
    strict: bool = False,
) -> tuple[list[Path], list[str]]:
    """Write each video with what holds at each second drawn on it, as `NAME_annotated.mp4`.

    Returns:
        The films, and a line per video that could not be read again.

    Raises:
        UsageError: No video file is known.
        RunError: A film cannot be written, or would replace a video.
        DataError: With `strict`, a video cannot be read.
    """
    videos = [each for each in by_video(models) if each.path is not None]
    if not videos:
        raise UsageError("--annotate needs a model that sees the videos themselves")
    names = file_names(videos)
    paths = {each.path.resolve() for each in videos if each.path is not None}
    films = [folder / f"{name}_annotated.mp4" for name in names]
    taken = next((film for film in films if film.resolve() in paths), None)
    if taken is not None:
        raise RunError(
            f"{taken}: is itself one of the videos to predict on, and would be written over; pass "
            f"another {flag('--save-dir')}"
        )
    written: list[Path] = []
    failed: list[str] = []
    for video, film in zip(videos, films, strict=True):
        assert video.path is not None
        try:
            with open_video(video.path) as reader:
                annotate_video(reader, film, answer_on_film(video), say=say)
            written.append(film)
        except DataError as error:
            if strict:
                raise
            failed.append(f"not drawn: {error}")
    return written, failed


def answer_on_film(video: VideoRows) -> Answer:
    """What a film shows of a video: its best classes, and what holds at each second."""
    timed = [
        Timed(
            start_seconds=row.seconds[0],
            end_seconds=row.seconds[1],
            text=row.name or "segment",
            score=row.score if row.kind in ("segment", "label") and 0 <= row.score <= 1 else None,
        )
        for row in told_over_time(video.rows)
        if row.seconds is not None
    ]
    whole = [row for row in video.rows if row.kind == "label" and row.start is None]
    top = [(row.name, row.score) for row in whole if row.rank <= _MOST_CLASSES]
    return Answer(name=video.name, top=top, timed=timed)
