"""Describe events of videos, from their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.captions import CaptionDataset, CaptionEvents, Vocabulary, input_events
from videozoo.errors import DataError, UsageError
from videozoo.report.annotate import picture_names, write_picture
from videozoo.report.tables import caption_table
from videozoo.report.timeline import HeatRow, Timeline, timeline_picture
from videozoo.tasks.captioning.scoring import (
    CaptionInference,
    CaptionModel,
    Described,
    EventCaptions,
    caption_model,
    shortfall,
    sized,
    trained_vocabulary,
    write_results,
)
from videozoo.tasks.common import speaker
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.features import check_features, check_rate
from videozoo.tasks.inference import eval_loader, run
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import Device, PredictRequest
from videozoo.tasks.results import ResultFolder, conclude, warn_of


def predict(
    trained: Trained, request: PredictRequest, *, console: Console | None = None
) -> list[EventCaptions]:
    """Describe events; print a table, write `predictions.json` and the file of the challenge.

    Returns:
        One result an event, in the order of the inputs.

    Raises:
        VideozooError: The features, the weights or the machine do not fit.
    """
    if request.annotate:
        raise UsageError("--annotate needs a model that sees the videos themselves")
    out = console or Console()
    vocabulary = trained_vocabulary(trained)
    config = sized(trained.config, vocabulary, str(trained.config.data.vocabulary or trained.path))
    accelerator = accelerator_for(trained, request.device)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    folder = ResultFolder.choose(trained, request, accelerator, say)
    events = _events(request.inputs, config, strict=request.strict)
    for note in events.notes:
        say(f"note: {note}")
    check_features(events.features.extractor, trained, say)
    check_rate(events.rate, events.features.extractor, trained.features, trained)
    model = caption_model(trained, config, accelerator, drop=request.drop, device=request.device)
    described = _described(
        model,
        config,
        events,
        vocabulary,
        accelerator,
        skip_bad=not request.strict,
        show=True,
    )
    found = [_prediction(one, config.predict.top_k) for one in described.by_number.values()]
    short = shortfall(described, events)
    if accelerator.is_main_process:
        path = (request.files_dir or folder.path) / config.predict.results_name
        folder.make_room(say, path)
        write_results(path, described)
        facts = {"predictions": found, "skipped": short.lines}
        folder.write(facts, [path])
        pictures: list[Path] = []
        if request.explain:
            pictures = _draw(list(described.by_number.values()), folder.path)
            for one, picture in zip(found, pictures, strict=True):
                one["explained"] = picture.name
        written = folder.write(facts, [path, *pictures])
        out.print(caption_table(found))
        for line in short.outside:
            say(f"left out: {line}")
        if pictures:
            say(f"written: {len(pictures)} pictures of attention in {folder.path}")
        say(f"written: {written}, {path}")
    conclude(
        accelerator,
        request,
        short.failed,
        say,
        total=short.total,
        num_failed=short.num_failed,
        what="events",
    )
    return list(described.by_number.values())


def _events(inputs: Sequence[str], config: RunConfig, *, strict: bool = True) -> CaptionEvents:
    """Events to describe; without inputs, those of `predict.inputs` in the configuration."""
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError(
                "no events: name a file of events, or features to describe whole, or set "
                "predict.inputs"
            )
        inputs = (str(listed),)
    return input_events(tuple(inputs), config.data, config.model.feature_dim, strict=strict)


def _described(
    module: CaptionModel,
    config: RunConfig,
    events: CaptionEvents,
    vocabulary: Vocabulary,
    accelerator: Accelerator,
    *,
    skip_bad: bool = False,
    show: bool = False,
) -> Described:
    batches = eval_loader(
        CaptionDataset(events, vocabulary, config.data, feature_dim=config.model.feature_dim),
        config.data,
        accelerator,
        batch_size=config.predict.batch_size,
        skip_bad=skip_bad,
    )
    return run(
        CaptionInference(module, batches, accelerator, events, vocabulary, config.predict),
        accelerator,
        progress=(len(events), "events") if show else None,
    )


def _prediction(one: EventCaptions, top_k: int) -> dict[str, Any]:
    return {
        "video": one.event.video,
        "start_seconds": one.event.start_seconds,
        "end_seconds": one.event.end_seconds,
        "sentence": one.sentence,
        "truth": one.event.sentence or None,
        "top": [
            {"sentence": sentence.text, "log_prob": round(sentence.log_prob, 6)}
            for sentence in one.sentences[:top_k]
        ],
    }


def _draw(results: Sequence[EventCaptions], folder: Path) -> list[Path]:
    """A picture an event: the sentence, and a strip for each word that shows where it looked."""
    names = [f"{one.event.video}_{one.event.start_seconds:g}" for one in results]
    files = picture_names([Path(name.replace(".", "-")) for name in names])
    written: list[Path] = []
    for one, name in zip(results, files, strict=True):
        best, event = one.sentences[0], one.event
        timeline = Timeline(
            title=f"{event.video}, {event.start_seconds:g} to {event.end_seconds:g} s: {best.text}",
            length=max(event.end_seconds - event.start_seconds, 1e-3),
            rows=[
                HeatRow(name=word, values=weights)
                for word, weights in zip(best.words, best.attention, strict=True)
            ],
        )
        written.append(write_picture(folder / f"{name}_attention.png", timeline_picture(timeline)))
    return written


class Captioner:
    """A trained captioning model. Made by `videozoo.load`."""

    def __init__(self, trained: Trained, *, device: Device = "auto") -> None:
        self._vocabulary = trained_vocabulary(trained)
        source = str(trained.config.data.vocabulary or trained.path)
        self.config = sized(trained.config, self._vocabulary, source)
        self._accelerator = accelerator_for(trained, device)
        self.words = self._vocabulary.words
        self.module = caption_model(trained, self.config, self._accelerator, device=device)

    def predict(self, *paths: str | Path, strict: bool = True) -> list[EventCaptions]:
        """Describe events.

        Args:
            paths: Files of events, whose features are in `data.features`; or one file or folder of
                features, whose videos are described as a whole.
            strict: One of many that cannot be used ends it. Otherwise it has no result, and a
                warning names it.

        Raises:
            DataError: Something named is not there or does not fit the model.
        """
        events = _events([str(path) for path in paths], self.config, strict=strict)
        found = _described(
            self.module,
            self.config,
            events,
            self._vocabulary,
            self._accelerator,
            skip_bad=not strict,
        )
        warn_of(shortfall(found, events).failed)
        return list(found.by_number.values())


def load(trained: Trained, *, device: Device = "auto") -> Captioner:
    """Make the Python object for `videozoo.load`."""
    return Captioner(trained, device=device)
