"""Score a trained captioning model against sentences of people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from rich.table import Table

from videozoo.config import RunConfig
from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    read_timed_sentences,
)
from videozoo.data.captions import (
    CaptionEvents,
    count_unknown,
    load_events,
    read_part,
)
from videozoo.errors import DataError, RunError, counted
from videozoo.metrics.captions import (
    Meteor,
    TimedCaption,
    dense_caption_scores,
    event_scores,
    has_java,
)
from videozoo.report.tables import caption_table, summary_table
from videozoo.tasks.captioning.scoring import (
    CaptionResults,
    EventCaptions,
    caption_model,
    check_events,
    describe,
    results_file,
    shortfall,
    trained_vocabulary,
    with_words,
)
from videozoo.tasks.evaluate import EvalJob, Evaluated, Evaluation

_MOST_SHOWN = 5  # sentences shown beside those of people


def _evaluated(job: EvalJob) -> Evaluated:
    config = job.config
    vocabulary = trained_vocabulary(job.trained)
    events = load_events(config.data, "test", feature_dim=config.model.feature_dim, together=True)
    check_events(events, job)
    _refuse_other_videos(events, config)
    unknown = count_unknown(
        (replace(one, sentence=text) for one in events.events for text in one.all_texts), vocabulary
    )
    model = job.model(caption_model)
    job.say(f"{config.spec.title}: {counted(len(events), 'event')} of {events.path}")
    started = time.monotonic()
    described = describe(
        model,
        config,
        config.eval,
        events,
        vocabulary,
        job.accelerator,
        skip_bad=job.skip_bad,
        show=True,
    )
    short, results = shortfall(described, events), list(described.by_number.values())
    references = _texts_of(results, config)

    def measure() -> dict[str, Any]:
        metrics, notes = _scores(described, references, config, job.say)
        return {
            "events": len(results),
            "references": sum(len(texts) for texts in references),
            "seconds": round(time.monotonic() - started, 3),
            "unknown_words": {"unknown": unknown.unknown, "total": unknown.total},
            **metrics,
            "notes": notes,
            "skipped": [*short.failed, *short.left_out],
            "config": config.as_dict(),
        }

    def tables(facts: Mapping[str, Any]) -> Iterator[Table]:
        yield summary_table(
            facts["metrics"],
            title="Each event against its own sentence"
            if facts["references"] == facts["events"]
            else "Each event against all that people say of it",
            used=len(results),
            total=short.total,
            what="events",
        )
        if facts["dense"]:
            title = "Dense captioning: mean over tIoU 0.3 to 0.9"
            yield summary_table(facts["dense"], title=title)
        yield caption_table([_row(one.event, one.sentence) for one in results[:_MOST_SHOWN]])

    return Evaluated(
        measure=measure,
        shortfall=short,
        tables=tables,
        file=results_file(job, config.eval.results_name, described),
        notes=lambda facts: filter(None, [unknown.note, *facts["notes"]]),
    )


evaluate = Evaluation(run=_evaluated, configured=with_words)


def _row(event: TimedSentence, sentence: str) -> dict[str, Any]:
    return {
        "video": event.video,
        "start_seconds": event.start_seconds,
        "end_seconds": event.end_seconds,
        "sentence": sentence,
        "truth": event.sentence,
    }


def _scores(
    described: CaptionResults,
    references: Sequence[Sequence[str]],
    config: RunConfig,
    say: Callable[[str], None],
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Scores of each event against its own sentences, those of dense captioning, and notes.

    Dense captioning is about finding events: whole videos take no part in it.
    """
    results = list(described.by_number.values())
    meteor = config.eval.meteor and has_java()
    notes: list[str] = []
    if config.eval.meteor and not meteor:
        notes.append("no METEOR: it needs Java (Debian, Ubuntu: default-jre-headless)")
    found: dict[str, dict[str, float]] = {"metrics": {}, "dense": {}}
    if not results:
        return found, notes
    if meteor:
        say("scoring; METEOR starts Java, which takes ten seconds")
    try:
        with ExitStack() as stack:
            scorer = stack.enter_context(Meteor()) if meteor else None
            scores = event_scores([one.sentence for one in results], references, meteor=scorer)
        found["metrics"] = dict(scores.scores.corpus)
        said = [scores.note]
        if not all(one.event.is_whole for one in results):
            dense = dense_caption_scores(_predicted(described), _truths(config), meteor=meteor)
            found["dense"] = dense.average
            said.append(dense.note)
        notes += [line for line in dict.fromkeys(said) if line]
    except RunError as error:  # the sentences are written; only a tool for scores is missing
        notes.append(f"no scores: {error}")
    return found, notes


def _texts_of(results: Sequence[EventCaptions], config: RunConfig) -> list[list[str]]:
    """What people say of each event; of whole videos also in `data.references`."""
    others: dict[str, list[str]] = {}
    if any(one.event.is_whole for one in results) and config.data.references:
        for file in _references(config):
            for one in file.sentences:
                if one.is_whole:
                    others.setdefault(one.video, []).append(one.sentence)
    return [
        list(
            dict.fromkeys(
                (
                    *one.event.all_texts,
                    *(others.get(one.event.video, ()) if one.event.is_whole else ()),
                )
            )
        )
        for one in results
    ]


def _timed(events: Sequence[tuple[TimedSentence, str]]) -> Mapping[str, list[TimedCaption]]:
    found: dict[str, list[TimedCaption]] = {}
    for event, sentence in events:
        caption = TimedCaption(event.start_seconds, event.end_seconds, sentence)
        found.setdefault(event.video, []).append(caption)
    return found


def _predicted(described: CaptionResults) -> Mapping[str, list[TimedCaption]]:
    found = [(one.event, one.sentence) for one in described.by_number.values()]
    return _timed([(event, text) for event, text in found if not event.is_whole])


def _references(config: RunConfig) -> list[TimedSentences]:
    if config.data.references:
        paths = config.data.references
        return [read_timed_sentences(path, whole_videos=True) for path in paths]
    return [read_part(config.data, "test")]


def _refuse_other_videos(events: CaptionEvents, config: RunConfig) -> None:
    """Refuse references of other videos: no sentence could match them."""
    described = {one.video for one in events.events}
    for file in _references(config):
        if not described & set(file.videos):
            raise DataError(
                f"{file.path}: says nothing of the {counted(len(described), 'video')} of "
                f"{events.path}; it has {', '.join(file.videos[:_MOST_SHOWN])}; name what people "
                "say of the same videos (data.references)"
            )


def _truths(config: RunConfig) -> list[Mapping[str, list[TimedCaption]]]:
    return [
        _timed([(one, one.sentence) for one in file.sentences if not one.is_whole])
        for file in _references(config)
    ]
