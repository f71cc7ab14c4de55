"""Describe events of videos, from their features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from videozoo.config import RunConfig
from videozoo.data.captions import CaptionEvents, input_events
from videozoo.data.features.by_name import FeatureFiles
from videozoo.errors import DataError, few
from videozoo.report.annotate import picture_names, write_picture
from videozoo.report.answers import VideoAnswer
from videozoo.report.tables import caption_table
from videozoo.report.timeline import HeatRow, Timeline, timeline_picture
from videozoo.results import Caption, VideoCaptions
from videozoo.runtime.rows import row_of_caption
from videozoo.tasks.captioning.scoring import (
    EventCaptions,
    Sentence,
    caption_model,
    check_events,
    describe,
    events_in,
    results_file,
    shortfall,
    trained_vocabulary,
    with_words,
)
from videozoo.tasks.predict import Predicted, Prediction, PredictJob, picture_per_row


def _predicted(job: PredictJob) -> Predicted[EventCaptions]:
    config, request = job.config, job.request
    vocabulary = trained_vocabulary(job.trained)
    events = _events(job)
    check_events(events, job)
    described = describe(
        job.model(caption_model),
        config,
        config.predict,
        events,
        vocabulary,
        job.accelerator,
        skip_bad=job.skip_bad,
        show=True,
    )
    results = list(described.by_number.values())
    rows = [
        row_of_caption(
            one.event.video, _caption(one), config.predict.top_k, truth=one.event.sentence or None
        )
        for one in results
    ]
    short = shortfall(described, events)
    return Predicted(
        results=results,
        facts={"predictions": rows, "skipped": [*short.failed, *short.left_out]},
        shortfall=short,
        table=lambda: caption_table(rows),
        file=results_file(job, config.predict.results_name, described),
        draw=(
            lambda folder: picture_per_row(
                rows, _draw(results, folder), folder, "pictures of attention"
            )
        )
        if request.explain
        else None,
        answers=lambda: [VideoAnswer(result=each) for each in captions_of(results)],
    )


predict = Prediction(run=_predicted, configured=with_words)


def _events(job: PredictJob) -> CaptionEvents:
    config, request = job.config, job.request
    if request.spans is None:
        return events_of(request.inputs, config, strict=request.strict)
    files = FeatureFiles([Path(path) for path in request.inputs], streams=config.data.streams)
    names = [name for name in files if request.spans.get(name)]
    without = [name for name in files if name not in names]
    if without:
        job.note([f"{request.events}: no events in {few(without)}"])
    if not names:
        raise DataError(f"{request.events}: no events in {few(without)}; nothing to describe")
    return events_in(config, files, names, request.spans)


def events_of(inputs: Sequence[str], config: RunConfig, *, strict: bool = True) -> CaptionEvents:
    """Events to describe; without inputs, from `predict.inputs` of the configuration."""
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError(
                "no events: name a file of events, or features to describe whole, or set "
                "predict.inputs"
            )
        inputs = (str(listed),)
    return input_events(tuple(inputs), config.data, config.model.feature_dim, strict=strict)


def captions_of(found: Sequence[EventCaptions]) -> list[VideoCaptions]:
    """The captions of each video, in the order of the videos and their events."""
    captions: dict[str, list[Caption]] = {}
    for each in found:
        captions.setdefault(each.event.video, []).append(_caption(each))
    return [VideoCaptions(video=name, captions=tuple(own)) for name, own in captions.items()]


def _caption(found: EventCaptions) -> Caption:
    best, *others = (_of_sentence(found, each) for each in found.sentences)
    return Caption(
        best.start, best.end, best.text, best.score, best.words, best.attention, tuple(others)
    )


def _of_sentence(found: EventCaptions, one: Sentence) -> Caption:
    event = found.event
    return Caption(
        event.start_seconds, event.end_seconds, one.text, one.log_prob, one.words, one.attention
    )


def _draw(results: Sequence[EventCaptions], folder: Path) -> list[Path]:
    """Draw a picture per event: the sentence, and per word a strip with its attention."""
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
