"""The process that holds the models and looks at videos; `python -m videozoo.serve.worker`.

It reads one line of JSON per task from its input and writes lines of JSON: `ready`, `progress`,
`done`, `failed` (with `is_last` where it takes no more). It ends when its input ends, so it never
outlives the server. What it finds lies in the folder of the job:

::

    answers.json     what each model says, for programs
    rows.json        the same as rows, from which page and table are made anew after a search
    page.html answers.csv answers.vtt answers.srt annotated.mp4
    features/        of the video, so that a search needs no decoding
"""

from __future__ import annotations

import json
import math
import os
import queue
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np

from videozoo.data.frames.video import open_video
from videozoo.data.frames.windows import FrameTimes
from videozoo.errors import (
    ConfigError,
    DataError,
    UsageError,
    VideoError,
    VideozooError,
    is_out_of_memory,
)
from videozoo.report import subtitles
from videozoo.report.annotate import annotate_video
from videozoo.report.answer_page import Served, answer_page, clock
from videozoo.report.answer_table import csv_text
from videozoo.report.answers import (
    Curve,
    ModelAnswers,
    Row,
    VideoAnswer,
    VideoRows,
    by_video,
)
from videozoo.report.files import write_text
from videozoo.results import Result, VideoLabels, VideoSegments
from videozoo.serve.pages import above_answers
from videozoo.tasks.answers import answer_on_film
from videozoo.tasks.classification import Classifier
from videozoo.tasks.encoding import features_kept_in
from videozoo.tasks.events import events_found
from videozoo.tasks.kept_encoder import DEFAULT_RATE
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.predictors import Predictor, without_workers
from videozoo.tasks.requests import ConfigSource
from videozoo.tasks.run import task_module
from videozoo.types import Captioning, Classification, Localisation, MomentRetrieval

ANSWERS, ROWS, FILM = "answers.json", "rows.json", "annotated.mp4"
_MOST_LABELS = 100
"""Classes of a whole video that are told."""
_PLAYED = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".ogv")
"""Endings of files that browsers play, mostly; of others, the page has pictures."""


@dataclass(frozen=True)
class Model:
    """A loaded model, and what readers call it."""

    title: str
    predictor: Predictor
    rate: float
    """Vectors per second of its features."""
    names: Classifier | None = None
    """What names its segments, where it does not itself."""

    @property
    def task(self) -> Any:
        """What it does."""
        return self.predictor.config.spec.task


@dataclass(frozen=True, kw_only=True)
class Task:
    """What the server asks for."""

    id: str
    name: str
    video: Path
    folder: Path
    work: str
    sentences: tuple[str, ...]
    every_seconds: float | None
    annotate: bool
    seconds_limit: float
    megapixels_limit: float

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Task:
        """From a line of the server."""
        changed: dict[str, Any] = {key: Path(told[key]) for key in ("video", "folder")}
        changed["sentences"] = tuple(told["sentences"])
        return cls(**{**told, **changed})


# --- models --------------------------------------------------------------------------------------


def load_models(weights: Sequence[str], device: str, labels: str | None = None) -> list[Model]:
    """Load all models of a server.

    Args:
        weights: Runs, or files of weights.
        device: Where they compute.
        labels: A run of a clip model, which names the segments of localisers that give none.

    Raises:
        UsageError: `labels` cannot name segments, or there are none to name.
        VideozooError: Weights cannot be loaded.
    """
    loaded = {name: load_model(name, device) for name in dict.fromkeys(weights)}
    names = None
    if labels is not None:
        names = loaded.get(labels) or load_model(labels, device)
        if not isinstance(names, Classifier):
            raise UsageError(
                f"--labels {labels}: {names.config.spec.title} does not classify clips of videos; "
                "name a run of a model that does (tsn, tsm, stnet, nonlocal)"
            )
        if not any(map(_needs_names, loaded.values())):
            raise UsageError(
                f"--labels {labels}: none of the models finds segments without names; leave it out"
            )
    return [
        Model(
            title,
            predictor,
            predictor.vectors_per_second or DEFAULT_RATE,
            names if _needs_names(predictor) else None,
        )
        for title, predictor in zip(_titles(loaded), loaded.values(), strict=True)
    ]


def load_model(name: str, device: Any) -> Any:
    """A model that decodes in this process: it is the one whose memory is limited.

    Raises:
        VideozooError: Weights cannot be loaded; in the words of the command.
    """
    try:
        trained = config_for_weights(ConfigSource(), name)
    except ConfigError as error:
        if "--config" not in str(error):
            raise
        raise ConfigError(
            f"{error}, to `videozoo export`; serve takes the file that this writes"
        ) from None
    predictor = task_module(trained.config.spec.task.name).load(trained, device=device)
    predictor.config = without_workers(predictor.config)
    return predictor


def _titles(loaded: Mapping[str, Predictor]) -> list[str]:
    """What readers call the models: two of a kind by as much of their paths as tells them apart."""
    found: list[str] = []
    for name, predictor in loaded.items():
        title = predictor.config.spec.title
        others = [
            Path(other).absolute().parts
            for other, each in loaded.items()
            if other != name and each.config.spec.title == title
        ]
        parts = Path(name).absolute().parts
        most = range(1, len(parts) + 1)
        tail = next((n for n in most if all(parts[-n:] != each[-n:] for each in others)), 1)
        found.append(f"{title}, {'/'.join(parts[-tail:])}" if others else title)
    return found


def _needs_names(predictor: Predictor) -> bool:
    return isinstance(predictor.config.spec.task, Localisation) and not predictor.class_names


def described(models: Sequence[Model]) -> list[dict[str, Any]]:
    """What the server tells of its models."""
    return [
        {
            "title": each.title,
            "task": each.task.name,
            "classes": len(each.predictor.class_names),
            "takes_sentences": isinstance(each.task, MomentRetrieval),
            "takes_every_seconds": isinstance(each.task, Classification),
            "named_by": None if each.names is None else each.names.config.spec.title,
        }
        for each in models
    ]


# --- one job -------------------------------------------------------------------------------------


def check_video(task: Task) -> float | None:
    """Look at a video before a model does; returns its length in seconds.

    Raises:
        VideoError: It cannot be read, is too long, or its frames are too large.
    """
    with open_video(task.video) as reader:
        pixels = reader.info.width * reader.info.height
        if pixels > task.megapixels_limit * 1e6:
            raise VideoError(
                f"frames of {reader.info.width} x {reader.info.height}; this server takes up to "
                f"{task.megapixels_limit:g} million pixels per frame"
            )
        length = FrameTimes.of(reader, task.name).duration_seconds or None
    if length is not None and length > task.seconds_limit:
        raise VideoError(
            f"lasts {clock(length)}; this server takes videos up to {clock(task.seconds_limit)}"
        )
    return length


def answer(models: Sequence[Model], task: Task) -> Iterator[dict[str, Any]]:
    """Do a task; gives its progress.

    Raises:
        VideozooError: The video cannot be used.
    """
    asked = [each for each in models if _is_asked(each, task)]
    steps = ["reading the video", *(each.title for each in asked), "writing the answers"]
    if task.annotate and task.work == "answer":
        steps.append("drawing on the video")

    def at(number: int) -> dict[str, Any]:
        return {"done": number, "of": len(steps), "what": steps[number]}

    yield at(0)
    length = check_video(task)
    found: dict[str, list[Result]] = {}
    notes: list[str] = []
    errors: list[VideozooError] = []
    with features_kept_in(task.folder / "features"):
        for number, model in enumerate(asked, 1):
            yield at(number)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", UserWarning)
                try:
                    found[model.title] = _predicted(model, task, models, found)
                except VideozooError as error:  # the others may have an answer
                    errors.append(error)
                    notes.append(f"{model.title} says nothing: {_reason(error, task)}")
            notes += [_for_people(str(each.message), task) for each in caught]
    if errors and not found:
        raise errors[0]
    yield at(len(asked) + 1)
    kept = Kept.read(task.folder) if task.work == "search" else Kept.empty(length)
    kept = kept.with_found(found, task, length, notes)
    kept.write(task.folder)
    rows = kept.video_rows(task)
    write_files(
        rows, task, has_search=any(isinstance(each.task, MomentRetrieval) for each in models)
    )
    if steps[-1].startswith("drawing"):
        yield at(len(steps) - 1)
        _annotate(rows, task)


def _is_asked(model: Model, task: Task) -> bool:
    if isinstance(model.task, MomentRetrieval):
        return bool(task.sentences)
    return task.work == "answer"


def _predicted(
    model: Model, task: Task, models: Sequence[Model], found: Mapping[str, Sequence[Result]]
) -> list[Result]:
    predictor: Any = model.predictor
    path = str(task.video)
    if isinstance(model.task, MomentRetrieval):
        return predictor.predict(path, *task.sentences)
    if isinstance(model.task, Classification) and task.every_seconds is not None:
        return predictor.predict(path, every=task.every_seconds)
    if isinstance(model.task, Captioning):
        events = _events(models, found, model)
        return predictor.predict(path, **({} if events is None else {"events": events}))
    if model.names is not None:
        return predictor.predict(path, labels=model.names)
    return predictor.predict(path)


def _events(
    models: Sequence[Model], found: Mapping[str, Sequence[Result]], captioner: Model
) -> list[tuple[float, float]] | None:
    """The events that a localiser beside a captioner found; None: the video is one event."""
    for model in models:
        results = found.get(model.title, ())
        if isinstance(model.task, Localisation) and results:
            result = results[0]
            assert isinstance(result, VideoSegments)
            with suppress(DataError):
                spans = events_found({"": result}, least_seconds=1 / captioner.rate)[""]
                return spans or None
    return None


def _for_people(text: str, task: Task) -> str:
    """A message without places of files on the server, and with the words of the page."""
    for path in (str(task.video.absolute()), str(task.video)):
        text = text.replace(path, task.name)
    text = _FOLDERS.sub("", text.replace(str(task.folder), "..."))
    for words, of_page in _OF_PAGE.items():
        text = text.replace(words, of_page)
    return text


_FOLDERS = re.compile(r"""(?<![^\s"'(=])/(?:[^\s/:;,()"']+/)+""")
"""Folders of a path from the root, as messages name it."""
_OF_PAGE = {
    "predict(..., every=SECONDS) answers along it": (
        'to have answers along it, send it again with "An answer every so many seconds" filled in '
        "(every_seconds in the API)"
    ),
}
"""Words for Python programs, and what those who see the page can do."""


# --- what is kept of a job -----------------------------------------------------------------------


@dataclass(frozen=True)
class Kept:
    """All that was said of a video, in a form that a later search adds to."""

    length: float | None
    models: Mapping[str, Mapping[str, Any]]
    """By title: `rows`, `curves` and `results`, as plain values."""
    notes: tuple[str, ...] = ()

    @classmethod
    def empty(cls, length: float | None) -> Kept:
        """Of a video of which nothing is said yet."""
        return cls(length, {})

    @classmethod
    def read(cls, folder: Path) -> Kept:
        """What the last task of a job left."""
        held = json.loads((folder / ROWS).read_text("utf-8"))
        return cls(held["length"], held["models"], tuple(held["notes"]))

    def with_found(
        self,
        found: Mapping[str, Sequence[Result]],
        task: Task,
        length: float | None,
        notes: Sequence[str],
    ) -> Kept:
        """With what models have said now, in place of what they said before."""
        models = dict(self.models)
        said = list(notes)
        for title, results in found.items():
            answers = [
                VideoAnswer(result=replace(each, video=task.name), path=task.video,
                            duration_seconds=length)
                for each in results
            ]  # fmt: skip
            if not answers:
                continue
            video = by_video([ModelAnswers(title=title, videos=answers)])[0]
            said += video.notes
            models[title] = {
                "rows": [asdict(replace(row, video=task.name)) for row in _best(video.rows)],
                "curves": [
                    {**asdict(each), "ends": each.ends.tolist(), "scores": each.scores.tolist()}
                    for each in video.curves
                ],
                "results": [_plain(each.result) for each in answers],
            }
        return Kept(length, models, tuple(dict.fromkeys([*self.notes, *said])))

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        held = {"length": self.length, "models": self.models, "notes": self.notes}
        write_text(folder / ROWS, json.dumps(_finite(held)))

    def video_rows(self, task: Task) -> VideoRows:
        """The same for pages and tables."""
        rows = [Row(**_row(each)) for model in self.models.values() for each in model["rows"]]
        curves = [
            Curve(
                model=each["model"],
                name=each["name"],
                ends=np.array(each["ends"]),
                scores=np.array(each["scores"]),
            )
            for model in self.models.values()
            for each in model["curves"]
        ]
        return VideoRows(
            name=task.name,
            path=task.video,
            duration_seconds=self.length,
            rows=rows,
            notes=self.notes,
            curves=curves,
        )

    def for_programs(self, task: Task) -> dict[str, Any]:
        """The content of `answers.json`."""
        return {
            "video": task.name,
            "duration_seconds": self.length,
            "notes": list(self.notes),
            "models": [
                {"title": title, "results": model["results"]}
                for title, model in self.models.items()
            ],
        }


def _best(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.kind != "label" or row.rank <= _MOST_LABELS]


def _plain(result: Result) -> dict[str, Any]:
    if isinstance(result, VideoLabels):
        result = replace(result, labels=result.labels[:_MOST_LABELS])
    return result.to_dict()


def _row(held: Mapping[str, Any]) -> dict[str, Any]:
    score = math.nan if held["score"] is None else held["score"]
    truths = tuple(map(tuple, held["truths"]))
    return {**held, "score": score, "truths": truths}


def _finite(value: Any) -> Any:
    """The same without numbers that JSON does not have."""
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value


# --- files ---------------------------------------------------------------------------------------


def write_files(video: VideoRows, task: Task, *, has_search: bool) -> None:
    """Write page, table, subtitles, and at last the answers for programs."""
    served = Served(
        above=above_answers(task.id, task.sentences, has_search=has_search),
        style="/static/serve.css",
        script="/static/serve.js",
        video="video",
    )
    media = "video" if task.video.suffix.lower() in _PLAYED else "frames"
    page = answer_page([video], folder=task.folder, media=media, title=task.name, served=served)
    write_text(task.folder / "page.html", page)
    write_text(task.folder / "answers.csv", csv_text(video.rows))
    for suffix in (".vtt", ".srt"):
        (task.folder / f"answers{suffix}").unlink(missing_ok=True)
    subtitles.write_subtitles(task.folder, "answers", video.rows)
    answers = Kept.read(task.folder).for_programs(task)
    write_text(task.folder / ANSWERS, json.dumps(answers, ensure_ascii=False, indent=1))


def _annotate(video: VideoRows, task: Task) -> None:
    with open_video(task.video) as reader:
        annotate_video(reader, task.folder / FILM, answer_on_film(video))


# --- the process ---------------------------------------------------------------------------------


def main() -> None:
    """Take tasks until the server ends.

    The first line holds `weights`, `labels`, `device` and `memory_mb`.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    source = os.fdopen(os.dup(0), "rb", buffering=0)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    lines = _lines(source)
    start = json.loads(next(lines))
    try:
        models = load_models(start["weights"], start["device"], start["labels"])
    except VideozooError as error:
        _say(out, event="refused", why=str(error))
        return
    _limit_memory(start["memory_mb"])
    _say(out, event="ready", models=described(models))
    for line in lines:
        task = Task.of(json.loads(line))
        try:
            for progress in answer(models, task):
                _say(out, event="progress", id=task.id, **progress)
        except VideozooError as error:
            _say(out, event="failed", id=task.id, why=_reason(error, task))
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            most = f"{start['memory_mb']:g} MB of memory"
            why = f"needs more than {most}, which is all that this server gives to one video"
            if "CUDA" in str(error):
                why = "needs more memory than the GPU has left"
            _say(out, event="failed", id=task.id, why=why, is_last=True)
            return  # the process may hold on to what it has
        else:
            _say(out, event="done", id=task.id)


def _reason(error: VideozooError, task: Task) -> str:
    text = _for_people(str(error), task)
    return text.removeprefix(f"{task.name}: ")


def _say(out: IO[str], **told: Any) -> None:
    try:
        out.write(f"{json.dumps(told)}\n")
        out.flush()
    except BrokenPipeError:  # the server has gone
        os._exit(0)


def _lines(source: IO[bytes]) -> Iterator[bytes]:
    """Lines of the server. When it has gone, so does this process, whatever it does.

    A thread waits for them; `sys.stdin` must not be what it reads, since the workers of a data
    loader close that, and would wait
    for the lock that the thread has.
    """
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def read() -> None:
        rest = b""
        while data := source.read(2**16):
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                waiting.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield waiting.get()


def _limit_memory(megabytes: float) -> None:
    """Let this process take so much more than it has now."""
    try:
        import resource

        status = Path("/proc/self/status").read_text("ascii")
        held = next(line for line in status.splitlines() if line.startswith("VmData:"))
        most = int(held.split()[1]) * 1024 + int(megabytes * 1e6)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    except (ImportError, OSError, StopIteration, ValueError):
        print("memory of jobs is not limited: this system cannot do it", file=sys.stderr)


if __name__ == "__main__":
    main()
