"""Score a trained captioning model against what people say."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.data.annotations.sentences import (
    TimedSentence,
    TimedSentences,
    read_timed_sentences,
)
from videozoo.data.captions import CaptionDataset, CaptionEvents, count_unknown, load_events
from videozoo.errors import DataError, RunError, UsageError
from videozoo.metrics.captions import (
    Meteor,
    TimedCaption,
    caption_scores,
    dense_caption_scores,
    has_java,
    tokenized,
)
from videozoo.report.tables import caption_table, summary_table
from videozoo.tasks.captioning.scoring import (
    CaptionInference,
    Described,
    caption_model,
    shortfall,
    sized,
    trained_vocabulary,
    write_results,
)
from videozoo.tasks.common import (
    say_if_learnt_from,
    speaker,
    with_test_data,
)
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.features import check_features, check_rate
from videozoo.tasks.inference import eval_loader, run
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import EvalRequest
from videozoo.tasks.results import ResultFolder, conclude

_MOST_SHOWN = 5  # sentences beside those of people


def evaluate(
    trained: Trained, request: EvalRequest, *, console: Console | None = None
) -> dict[str, Any]:
    """Describe events, compare with what people say, print tables, write `eval.json`.

    Returns:
        What the JSON file holds.

    Raises:
        VideozooError: The data, the weights or the machine do not fit.
    """
    if request.report:
        raise UsageError("--report is for models that classify clips; eval.json has the numbers")
    out = console or Console()
    vocabulary = trained_vocabulary(trained)
    config = sized(trained.config, vocabulary, str(trained.config.data.vocabulary or trained.path))
    config = with_test_data(config, request.data)
    accelerator = accelerator_for(trained, request.device)
    say = speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    say_if_learnt_from(say, config.data, "test")
    folder = ResultFolder.choose(trained, request, accelerator, say)
    events = load_events(config.data, "test", feature_dim=config.model.feature_dim)
    for note in events.notes:
        say(f"note: {note}")
    batches = eval_loader(
        CaptionDataset(events, vocabulary, config.data, feature_dim=config.model.feature_dim),
        config.data,
        accelerator,
        batch_size=config.eval.batch_size,
        skip_bad=not request.strict,
    )
    check_features(events.features.extractor, trained, say)
    check_rate(events.rate, events.features.extractor, trained.features, trained)
    _refuse_other_videos(events, config)
    unknown = count_unknown(events.events, vocabulary)
    model = caption_model(trained, config, accelerator, drop=request.drop, device=request.device)
    say(f"{config.spec.title}: {len(events)} events of {events.path}")
    started = time.monotonic()
    described = run(
        CaptionInference(model, batches, accelerator, events, vocabulary, config.eval),
        accelerator,
        progress=(len(events), "events"),
    )
    short = shortfall(described, events)
    facts: dict[str, Any] = {}
    if accelerator.is_main_process:
        path = (request.files_dir or folder.path) / config.eval.results_name
        folder.make_room(say, path)
        write_results(path, described)
        metrics, notes = _scores(described, config, say)
        facts = {
            **folder.facts,
            "events": len(described.by_number),
            "seconds": round(time.monotonic() - started, 3),
            "unknown_words": {"unknown": unknown.unknown, "total": unknown.total},
            **metrics,
            "notes": notes,
            "skipped": short.lines,
            "config": config.as_dict(),
        }
        written = folder.write(facts, [path])
        out.print(
            summary_table(
                metrics["metrics"],
                title="Each event against its own sentence",
                used=len(described.by_number),
                total=short.total,
                what="events",
            )
        )
        if metrics["dense"]:
            title = "Dense captioning: mean over tIoU 0.3 to 0.9"
            out.print(summary_table(metrics["dense"], title=title))
        shown = list(described.by_number.values())[:_MOST_SHOWN]
        out.print(caption_table([_row(one.event, one.sentence) for one in shown]))
        for line in (unknown.note, *notes):
            if line:
                say(f"note: {line}")
        for line in short.outside:
            say(f"left out: {line}")
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
    return facts


def _row(event: TimedSentence, sentence: str) -> dict[str, Any]:
    return {
        "video": event.video,
        "start_seconds": event.start_seconds,
        "end_seconds": event.end_seconds,
        "sentence": sentence,
        "truth": event.sentence,
    }


def _scores(
    described: Described, config: RunConfig, say: Callable[[str], None]
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Scores of each event against its own sentence, those of dense captioning, and notes."""
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
            texts = [text for one in results for text in (one.sentence, one.event.sentence)]
            words, note = tokenized(texts)
            scores = caption_scores([[truth] for truth in words[1::2]], words[::2], meteor=scorer)
        found["metrics"] = dict(scores.corpus)
        dense = dense_caption_scores(_predicted(described), _truths(config), meteor=meteor)
        found["dense"] = dense.average
        notes += [line for line in dict.fromkeys((note, dense.note)) if line]
    except RunError as error:  # the sentences are written; only scores lack a tool
        notes.append(f"no scores: {error}")
    return found, notes


def _timed(events: Sequence[tuple[TimedSentence, str]]) -> Mapping[str, list[TimedCaption]]:
    found: dict[str, list[TimedCaption]] = {}
    for event, sentence in events:
        caption = TimedCaption(event.start_seconds, event.end_seconds, sentence)
        found.setdefault(event.video, []).append(caption)
    return found


def _predicted(described: Described) -> Mapping[str, list[TimedCaption]]:
    return _timed([(one.event, one.sentence) for one in described.by_number.values()])


def _references(config: RunConfig) -> list[TimedSentences]:
    data = config.data
    return [read_timed_sentences(path) for path in data.references or (data.test or data.val,)]


def _refuse_other_videos(events: CaptionEvents, config: RunConfig) -> None:
    """Refuse references of other videos, with which everything said would be wrong."""
    described = {one.video for one in events.events}
    for file in _references(config):
        if not described & set(file.videos):
            raise DataError(
                f"{file.path}: says nothing of the {len(described)} videos of {events.path}; it "
                f"has {', '.join(file.videos[:_MOST_SHOWN])}; name what people say of the same "
                "videos (data.references)"
            )


def _truths(config: RunConfig) -> list[Mapping[str, list[TimedCaption]]]:
    return [_timed([(one, one.sentence) for one in file.sentences]) for file in _references(config)]
