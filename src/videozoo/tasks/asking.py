"""Ask trained models about videos: what each needs is made first, answers are put together."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import DataError, IncompleteError, NoFeaturesError, UsageError, few
from videozoo.tasks.requests import ConfigSource, PredictRequest, Unread
from videozoo.tasks.run import task_module
from videozoo.types import (
    Captioning,
    Classification,
    Localisation,
    MomentRetrieval,
    ProposalScoring,
)

if TYPE_CHECKING:
    from videozoo.report.answers import ModelAnswers
    from videozoo.tasks.loading import Trained


def predict(request: PredictRequest) -> Any:
    """Run a trained model on new data.

    Returns:
        The results of the task, in the order of the inputs.

    Raises:
        VideozooError: As `train`.
    """
    return predict_with([request])[0]


def predict_with(requests: Sequence[PredictRequest]) -> list[Any]:
    """Run several trained models on the same inputs, one after the other.

    Models whose features are made alike share them: they are made once. Sentences go to the models
    that look for them. All weights are found before the first model runs.

    Returns:
        The results of each.

    Raises:
        UsageError: No model can use an option.
        IncompleteError: Some inputs could not be used; raised when all models have run.
        VideozooError: As `train`.
    """
    several = len(requests) > 1
    loaded = [_loaded(each, several=several) for each in requests]
    if several:
        _refuse_unknown(requests, loaded)
    results: list[Any] = []
    incomplete: list[IncompleteError] = []
    unread = Unread()
    jobs = [
        _suited(trained, replace(request, unread=unread), several=several)
        for trained, request in zip(loaded, requests, strict=True)
    ]
    for option in ("sentences", "explain", "events"):
        is_asked = any(getattr(each, option) for each in requests)
        if is_asked and not any(getattr(each, option) for each in jobs):
            raise UsageError(
                f"--{option.replace('sentences', 'sentence')}: none of the models can use it"
            )
    together = _Together(requests) if several else None
    for trained, request in zip(loaded, jobs, strict=True):
        if together is not None:
            request = together.part(trained, request)
        try:
            results.append(_predicted(trained, request))
        except IncompleteError as error:
            if not several:
                raise
            incomplete.append(error)
    if together is not None:
        together.write()
    if incomplete:
        raise IncompleteError("\n".join(dict.fromkeys(map(str, incomplete))))
    return results


class _Together:
    """Page, subtitles, table and films of several models, written when all have run."""

    def __init__(self, requests: Sequence[PredictRequest]) -> None:
        self._request = requests[0]
        self._models: list[tuple[ModelAnswers, str, Path]] = []

    def part(self, trained: Trained, request: PredictRequest) -> PredictRequest:
        """The request of one model, which hands its answers over."""

        def gather(answers: ModelAnswers, folder: Path) -> None:
            run = trained.path.parent if trained.path.is_file() else trained.path
            self._models.append((answers, run.name, folder))

        return replace(request, gather=gather, annotate=False)

    def write(self) -> None:
        """Write what was asked for: into the folder named, else to the first model's results.

        Raises:
            UsageError: Videos are to be annotated, and no video file is known.
            RunError: A file cannot be written.
        """
        from rich.console import Console

        from videozoo.tasks.answers import write_answers, write_films

        if not self._models:  # another process writes
            return
        request, console = self._request, Console(stderr=True)

        def say(text: str) -> None:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

        titles = [answers.title for answers, _, _ in self._models]
        models = [
            replace(answers, title=f"{answers.title}, {run}")
            if titles.count(answers.title) > 1
            else answers
            for answers, run, _ in self._models
        ]
        first = self._models[0][2]
        folder = first if request.save_dir is None else first.parent
        files = write_answers(models, request, folder, say)
        failed: list[str] = []
        if request.annotate:
            films, failed = write_films(models, folder, say, strict=request.strict)
            files += films
        if files:
            say(f"written: {', '.join(map(str, files))}")
        if failed:
            raise IncompleteError("\n".join(failed))


def _loaded(request: PredictRequest, *, several: bool) -> Trained:
    """Find the weights; of several models, each takes the flags that it knows."""
    from videozoo.tasks.loading import config_for_weights

    source = request.source
    given = {flag for flag, value in source.flags.values() if value is not None}
    if not given or source.path is not None:
        return config_for_weights(source, request.weights)
    bare = config_for_weights(replace(source, flags={}), request.weights)
    known = bare.config.as_dict()
    flags = {
        key: flag
        for key, flag in source.flags.items()
        if key.split(".")[-1] in known[key.split(".")[0]]
    }
    others = given - {flag for flag, _ in flags.values()}
    if others and not several:
        raise UsageError(
            f"{', '.join(sorted(others))}: not for {bare.config.spec.title}; leave it out "
            "(`videozoo predict --help` says which models it is for)"
        )
    return config_for_weights(replace(source, flags=flags), request.weights)


def _refuse_unknown(requests: Sequence[PredictRequest], loaded: Sequence[Trained]) -> None:
    """Raise UsageError for a flag that none of several models knows."""
    sections = [trained.config.as_dict() for trained in loaded]
    for key, (flag, value) in requests[0].source.flags.items():
        section, name = key.split(".")[0], key.split(".")[-1]
        if value is not None and not any(name in known[section] for known in sections):
            raise UsageError(
                f"{flag}: for none of these models; leave it out (`videozoo predict --help` says "
                "which models it is for)"
            )


def _suited(trained: Trained, request: PredictRequest, *, several: bool) -> PredictRequest:
    """The request without options that this model cannot use, if there are other models."""
    spec = trained.config.spec
    if request.sentences and not isinstance(spec.task, MomentRetrieval):
        if not several:
            raise UsageError(f"--sentence is for models that find moments; {spec.title} does not")
        request = replace(request, sentences=())
    draws_times = getattr(trained.config.predict, "every_seconds", None) is not None
    can_explain = spec.task.explains or spec is trained.config.exported or draws_times
    if request.explain and not can_explain:
        if not several:
            raise UsageError(
                f"--explain: {spec.title} does not tell where it looked (its model file says "
                "nothing of `explains`); leave it out"
            )
        request = replace(request, explain=False)
    if request.events is not None and not isinstance(spec.task, Captioning):
        if not several:
            raise UsageError(f"--events is for models that write captions; {spec.title} does not")
        request = replace(request, events=None)
    if request.encoders and isinstance(spec.task, Classification):
        if not several:
            raise UsageError(f"--encoder: {spec.title} looks at videos itself; leave it out")
        request = replace(request, encoders=())
    return request


def _predicted(trained: Trained, request: PredictRequest) -> Any:
    from videozoo.tasks.paths import paths_explained

    task = trained.config.spec.task
    with paths_explained(trained.config):
        if isinstance(task, Classification | ProposalScoring):
            return task_module(task.name).predict(trained, request)
        return _predict_from_features(trained, request)


def _predict_from_features(trained: Trained, request: PredictRequest) -> Any:
    """Predict with a model that reads features, which are made of the videos among the inputs."""
    from rich.console import Console

    from videozoo.engine.devices import make_accelerator
    from videozoo.tasks.common import speaker
    from videozoo.tasks.encoding import as_features, holds_videos

    task = trained.config.spec.task
    asks_nothing = isinstance(task, MomentRetrieval) and not request.sentences
    if asks_nothing and holds_videos(request.inputs):
        raise UsageError("what is to be found in the videos? --sentence TEXT, once or more")
    accelerator = make_accelerator(device=request.device)
    say = speaker(Console(stderr=True), accelerator)
    made = as_features(
        request.inputs,
        trained,
        request.choice,
        accelerator,
        strict=request.strict,
        say=say,
        unread=request.unread,
    )
    request = replace(
        request,
        inputs=made.inputs,
        videos=made.videos,
        asked=request.inputs,
        failed=made.failed,
    )
    if request.events is not None:
        request = replace(request, spans=_spans(trained, request))
    elif made.videos and isinstance(trained.config.spec.task, Captioning):
        say("note: each video is described as one event; to name events: --events FILE|RUN")
    with _neither_told(trained, request):
        return task_module(trained.config.spec.task.name).predict(trained, request)


@contextmanager
def _neither_told(trained: Trained, request: PredictRequest) -> Generator[None]:
    """A context in which the error about an input without features says that it is no video."""
    from videozoo.data.files import known_suffixes

    try:
        yield
    except NoFeaturesError as error:
        said, inputs = str(error), set(request.inputs) - request.videos.keys()
        text = next((one for one in inputs if said.startswith(f"{one}: ")), None)
        if text is None:
            raise
        if not Path(text).is_dir():
            raise DataError(said.replace(f"{text}: ", f"{text}: not a video, and ", 1)) from None
        raise DataError(
            f"{text}: no videos in this folder (known: {known_suffixes()}), and no features that "
            f"{trained.config.spec.title} reads (`videozoo formats features` shows those)"
        ) from None


def _spans(captioner: Trained, request: PredictRequest) -> dict[str, list[tuple[float, float]]]:
    """The events to describe, by name of the video."""
    from videozoo.tasks.events import events_found, events_in_file
    from videozoo.tasks.kept_encoder import DEFAULT_RATE
    from videozoo.tasks.loading import config_for_weights

    assert request.events is not None
    least_seconds = 1 / ((captioner.features or {}).get("rate") or DEFAULT_RATE)  # one vector
    others = [path for path in request.inputs if path not in request.videos]
    if others or not request.videos:
        raise UsageError(
            f"--events is for videos; {few(others) or 'nothing'} is not one. Files of events can "
            "be named as inputs themselves"
        )
    names = {path: Path(path).stem for path in request.videos}
    path = Path(request.events)
    if path.is_file() and path.suffix != ".safetensors":
        return events_in_file(path, list(names.values()), least_seconds=least_seconds)
    trained = config_for_weights(ConfigSource(), request.events)
    task = trained.config.spec.task
    if not isinstance(task, Localisation):
        raise UsageError(
            f"--events {request.events}: {trained.config.spec.title} finds no segments; expected a "
            "file of events, or a run of BMN, BSN or C-TCN"
        )
    localiser = task_module(task.name).load(trained, device=request.device)
    found = {
        names[features]: localiser.predict(str(video), strict=False)
        for features, video in request.videos.items()
    }
    best = {name: results[0] for name, results in found.items() if results}
    return events_found(best, least_seconds=least_seconds)
