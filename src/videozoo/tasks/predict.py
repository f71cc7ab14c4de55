"""The steps of every prediction; a task supplies what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console, RenderableType

from videozoo.config import RunConfig
from videozoo.errors import DataError, UsageError, few
from videozoo.report.answers import ModelAnswers, VideoAnswer
from videozoo.tasks.answers import with_paths, write_answers, write_films
from videozoo.tasks.jobs import Job, ResultFile, Shortfall, usual_config
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import PredictRequest

R = TypeVar("R")
PredictJob = Job[PredictRequest]


@dataclass(frozen=True)
class Pictures:
    """The pictures that were drawn."""

    files: Sequence[Path]
    line: str
    """A line that says what the pictures are, and where."""
    notes: Sequence[str] = ()
    """What the user should know about them."""


@dataclass(frozen=True, kw_only=True)
class Predicted(Generic[R]):
    """The predictions of a model, with the functions that show them."""

    results: list[R]
    """The results for callers from Python."""
    facts: Mapping[str, Any]
    """The content of `predictions.json`; its `predictions` holds one row per result."""
    shortfall: Shortfall
    table: Callable[[], RenderableType]
    """Table for the terminal."""
    file: ResultFile | None = None
    """Another result file to write."""
    submission: ResultFile | None = None
    """And one in the form that a data set's own evaluation reads."""
    notes: Sequence[str] = ()
    """Notes for the user."""
    draw: Callable[[Path], Pictures] | None = None
    """Draws into a folder, after the results are written; may add to `facts`."""
    all_draw: bool = False
    """All processes share the drawing; otherwise only the main process draws."""
    draws_films: bool = False
    """`draw` also writes the annotated videos."""
    answers: Callable[[], Sequence[VideoAnswer]]
    """The same results for readers: for pages, subtitles, tables and films."""


@dataclass(frozen=True, kw_only=True)
class Prediction(Generic[R]):
    """How a task predicts; call the object to predict."""

    run: Callable[[PredictJob], Predicted[R]]
    """Finds the inputs, checks that they fit the model, and runs the model over them."""
    configured: Callable[[Trained], RunConfig] = usual_config
    """Returns the configuration for the prediction."""
    can_annotate: bool = False
    """Whether the model reads videos, so that its prediction can be drawn on them."""

    def __call__(
        self, trained: Trained, request: PredictRequest, *, console: Console | None = None
    ) -> list[R]:
        """Run a trained model on the inputs; print a table, write `predictions.json`.

        Args:
            trained: The model.
            request: The options of the command.
            console: For the table; standard output when None.

        Returns:
            The results of all processes, in the order of the inputs.

        Raises:
            VideozooError: The inputs, the weights or the machine do not fit.
        """
        config = self.configured(trained)
        is_seen = self.can_annotate or request.videos or _folder_of_videos(config)
        if request.annotate and not is_seen:
            raise UsageError("--annotate needs a model that sees the videos themselves")
        job = Job.open(trained, request, config, console)
        try:
            found = _told_of_videos(self.run(job), request)
        except DataError as error:
            raise type(error)(_of_videos(str(error), request)) from None
        folder, say = job.folder, job.say
        files: list[Path] = []
        if job.is_main:
            files = job.write(found.file, found.submission)
            folder.write(found.facts, files)
        pictures = None
        if found.draw is not None:
            job.accelerator.wait_for_everyone()
            if job.is_main or found.all_draw:
                pictures = found.draw(folder.path)
        shortfall = found.shortfall
        if job.is_main and (request.shows_answers or request.annotate or request.gather):
            videos = with_paths(found.answers(), request.videos, _folder_of_videos(job.config))
            answers = ModelAnswers(title=trained.config.spec.title, videos=videos)
            if request.gather is not None:
                request.gather(answers, folder.path)
            else:
                files += write_answers([answers], request, folder.path, say)
            if request.annotate and not found.draws_films:
                films, failed = write_films([answers], folder.path, say, strict=request.strict)
                files += films
                shortfall = replace(shortfall, failed=[*shortfall.failed, *failed])
        if job.is_main:
            drawn = [] if pictures is None else pictures.files
            written = folder.write(found.facts, [*files, *drawn])
            job.console.print(found.table())
            for line in found.shortfall.left_out:
                say(f"left out: {line}")
            if pictures is not None and drawn:
                say(f"written: {pictures.line}")
                job.note(pictures.notes)
            job.note(found.notes)
            say(f"written: {', '.join(map(str, [written, *files]))}")
        job.close(shortfall)
        return found.results


def _told_of_videos(found: Predicted[R], request: PredictRequest) -> Predicted[R]:
    """The same, told of the videos that features were made of, with those without features."""
    short = found.shortfall
    failed = [_of_videos(line, request) for line in short.failed]
    if failed == list(short.failed) and not request.failed:
        return found
    shortfall = replace(
        _with_videos(short, request),
        failed=[*request.failed, *failed],
        left_out=[_of_videos(line, request) for line in short.left_out],
    )
    skipped = [*request.failed, *(_of_videos(line, request) for line in found.facts["skipped"])]
    notes = list(found.notes)
    folders = {Path(path).parent for path in request.videos}
    if failed != list(short.failed):
        notes.append(
            f"features of videos are kept in {few(sorted(folders))}; without that they are made "
            "again"
        )
    facts = {**found.facts, "skipped": skipped}
    return replace(found, shortfall=shortfall, facts=facts, notes=notes)


def _with_videos(short: Shortfall, request: PredictRequest) -> Shortfall:
    """The counts of a task, which may be of parts of videos, with the videos without features."""
    without, ours = len(request.failed), short.num_failed
    if not without:
        return short
    if short.items == "videos" or short.failed:
        items = "videos" if short.items == "videos" else f"videos and {short.items}"
        num_failed = None if ours is None else ours + without
        return replace(short, items=items, total=short.total + without, num_failed=num_failed)
    total = len(request.inputs) + without
    return replace(short, items="videos", total=total, num_failed=without)


def _of_videos(text: str, request: PredictRequest) -> str:
    """A message with the videos in place of the features that were made of them."""
    for features, video in request.videos.items():
        text = text.replace(features, str(video))
    return text


def _folder_of_videos(config: RunConfig) -> Path | None:
    """The folder of --videos; None if it was not named, or the model has no such setting."""
    return getattr(config.predict, "videos", None)


def picture_per_row(
    rows: Sequence[dict[str, Any]], pictures: Sequence[Path], folder: Path, what: str = "pictures"
) -> Pictures:
    """Add to each row of `predictions.json` the name of its picture; rows may share a picture."""
    for row, picture in zip(rows, pictures, strict=True):
        row["explained"] = picture.name
    files = list(dict.fromkeys(pictures))
    return Pictures(files, f"{len(files)} {what} in {folder}")
