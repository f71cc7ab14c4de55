"""Run a captioning model over events, from features of their videos."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor

from videozoo.config import RunConfig
from videozoo.data.annotations.sentences import TimedSentence, TimedSentences
from videozoo.data.captions import (
    RATE_2019,
    CaptionBatch,
    CaptionDataset,
    CaptionEvents,
    Vocabulary,
    build_vocabulary,
    read_part,
    read_vocabulary,
    whole_seconds,
    with_features,
)
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.loader import EvalLoader
from videozoo.errors import ConfigError, DataError, counted
from videozoo.ops.beam_search import Hypothesis
from videozoo.ops.sentences import Caption, sentence_of
from videozoo.settings.captions import CaptionViews
from videozoo.tasks.captioning.exported import ExportedCaptioner
from videozoo.tasks.common import write_json
from videozoo.tasks.exporting import load_model
from videozoo.tasks.features import check_features, check_rate
from videozoo.tasks.inference import InferenceResults, eval_loader, run
from videozoo.tasks.jobs import Job, ResultFile, Shortfall
from videozoo.tasks.loading import Trained
from videozoo.weights.exported import ExportedSpec, second_file


class CaptionModel(Protocol):
    """The method that a network, or exported graphs, must have."""

    def caption(
        self, features: Tensor, lengths: Tensor, *, beam_size: int, max_length: int
    ) -> Sequence[Sequence[Hypothesis]]:
        """Describe videos.

        Args:
            features: (N, T, feature_dim), padded at the end.
            lengths: int64 (N,), frames per video, at least 1.
            beam_size: Sentences to keep per video; 1 decodes greedily.
            max_length: The most words of a sentence, with the end sign.

        Returns:
            Up to `beam_size` captions per video, the best first.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """One sentence for an event."""

    text: str
    words: tuple[str, ...]
    """The words, with the end sign `<e>`."""
    log_prob: float
    """Score of the whole sentence."""
    attention: NDArray[np.float32]
    """(words, T): attention of each word over the frames; rows sum to 1. Empty if the model gives
    none."""


@dataclass(frozen=True, kw_only=True)
class EventCaptions:
    """The sentences of a model for one event."""

    event: TimedSentence
    sentences: tuple[Sentence, ...]
    """The sentences, the best first."""

    @property
    def sentence(self) -> str:
        """The best sentence."""
        return self.sentences[0].text


CaptionResults = InferenceResults[EventCaptions, None]
"""Number of the event -> its sentences."""


@dataclass
class CaptionInference:
    """A captioning model and the events to run it over."""

    model: CaptionModel
    """From `caption_model`."""
    batches: EvalLoader[CaptionBatch]
    accelerator: Accelerator
    events: CaptionEvents
    """All events."""
    vocabulary: Vocabulary
    """The vocabulary of the model."""
    settings: CaptionViews
    """Says beam size and length of sentences."""
    counter: None = None

    def forward(self, batch: CaptionBatch) -> Sequence[Sequence[Hypothesis]]:
        """The best sentences of each event."""
        on_device = batch.to(self.accelerator.device)
        return self.model.caption(
            on_device.features,
            on_device.lengths,
            beam_size=self.settings.beam_size,
            max_length=self.settings.max_length,
        )

    def results(
        self, batch: CaptionBatch, outputs: Sequence[Sequence[Hypothesis]]
    ) -> Mapping[int, EventCaptions]:
        """The sentence in words."""
        rows = zip(batch.events.tolist(), batch.lengths.tolist(), outputs, strict=True)
        return {
            number: EventCaptions(
                event=self._event(number, length),
                sentences=tuple(_sentence(each, self.vocabulary, self.settings) for each in found),
            )
            for number, length, found in rows
        }

    def _event(self, number: int, length: int) -> TimedSentence:
        """An event; of a whole video with its end, which only the features tell."""
        event = self.events.events[number]
        if not event.is_whole:
            return event
        return replace(event, end_seconds=self.events.seconds(event.video, length))


def describe(
    model: CaptionModel,
    config: RunConfig,
    views: CaptionViews,
    events: CaptionEvents,
    vocabulary: Vocabulary,
    accelerator: Accelerator,
    *,
    skip_bad: bool = False,
    show: bool = False,
) -> CaptionResults:
    """Run a model over events as `views` say; `show`: with a progress bar."""
    batches = eval_loader(
        CaptionDataset(events, vocabulary, config.data, feature_dim=config.model.feature_dim),
        config.data,
        accelerator,
        batch_size=views.batch_size,
        skip_bad=skip_bad,
    )
    return run(
        CaptionInference(model, batches, accelerator, events, vocabulary, views),
        accelerator,
        progress=(len(events), "events") if show else None,
    )


def _sentence(caption: Hypothesis, vocabulary: Vocabulary, settings: CaptionViews) -> Sentence:
    attention = caption.attention if isinstance(caption, Caption) else torch.zeros(0, 0)
    return Sentence(
        text=sentence_of(
            caption.tokens,
            vocabulary.words,
            drop_last_word_as_in_2019=settings.drop_last_word_as_in_2019,
        ),
        words=tuple(vocabulary.words[token] for token in caption.tokens[1:]),
        log_prob=caption.scores[-1],
        attention=attention.float().cpu().numpy(),
    )


def shortfall(described: CaptionResults, events: CaptionEvents) -> Shortfall:
    """The events without a sentence; `data.outside` leaves some out."""
    without = [f"{video}: no features in {events.features.path}" for video in events.missing]
    outside = [
        event
        for number, event in enumerate(events.events)
        if number not in described.by_number and number not in described.skipped
    ]
    return Shortfall(
        failed=[*without, *events.damaged, *described.skipped.values()],
        left_out=[f"{event} shows nothing of its video" for event in outside],
        num_failed=events.num_missing + len(events.damaged) + len(described.skipped),
        total=len(events) + events.num_missing + len(events.damaged),
        items="events",
    )


def results_file(job: Job[Any], name: str, described: CaptionResults) -> ResultFile:
    """Sentences in the format of the ActivityNet challenge, as in the 2019 library."""
    results: dict[str, list[dict[str, Any]]] = {}
    for one in described.by_number.values():
        event = one.event
        results.setdefault(event.video, []).append(
            {"timestamp": [event.start_seconds, event.end_seconds], "sentence": one.sentence}
        )
    facts = {"version": "VERSION 1.0", "results": results, "external_data": {}}
    return ResultFile(job.files_folder / name, lambda path: write_json(path, facts))


def check_events(events: CaptionEvents, job: Job[Any]) -> None:
    """Note what is odd about events, and compare their features with the training features.

    Raises:
        DataError: The features are of another kind, or have another rate.
    """
    job.note(events.notes)
    check_features(events.features.extractor, job.trained, job.say)
    check_rate(events.rate, events.features.extractor, job.trained.features, job.trained)


# ---- vocabulary ---------------------------------------------------------------------------------


def trained_vocabulary(trained: Trained) -> Vocabulary:
    """The words of a trained model: stored with the weights, else in `data.vocabulary`.

    Raises:
        DataError: There are none, they cannot be used, or the command line names other words.
    """
    path = trained.config.data.vocabulary
    if trained.vocabulary:
        learnt = Vocabulary(trained.vocabulary, source=str(trained.path))
        asked = trained.config.origins.get("data.vocabulary", "").startswith("--")
        if asked and path is not None and read_vocabulary(path).words != learnt.words:
            raise DataError(
                f"{path}: not the {counted(len(learnt), 'word')} that {trained.path} was trained "
                "with; leave data.vocabulary out: the weights hold their words"
            )
        return learnt
    if path is None:
        raise DataError(
            f"{trained.path}: holds no vocabulary, so its word numbers cannot become words; "
            "--set data.vocabulary=FILE"
        )
    return read_vocabulary(path)


def with_words(trained: Trained) -> RunConfig:
    """The configuration of a trained model, with the size of its vocabulary.

    Raises:
        DataError: See `trained_vocabulary`.
        ConfigError: See `sized`.
    """
    source = str(trained.config.data.vocabulary or trained.path)
    return sized(trained.config, trained_vocabulary(trained), source)


def vocabulary_to_learn(config: RunConfig) -> Vocabulary:
    """Words for a new model: those of `data.vocabulary`, else collected from `data.train`.

    Raises:
        DataError: Neither can be used.
    """
    data = config.data
    if data.vocabulary is not None:
        return read_vocabulary(data.vocabulary)
    sentences = read_part(data, "train").sentences
    return build_vocabulary(sentences, min_count=data.min_word_count)


def sized(config: RunConfig, vocabulary: Vocabulary, source: str) -> RunConfig:
    """Set `model.vocabulary_size` to the size of the vocabulary.

    Raises:
        ConfigError: The configuration sets another number.
    """
    asked = "model.vocabulary_size" in config.origins
    size = config.model.vocabulary_size
    if asked and size != len(vocabulary):
        raise ConfigError(
            f"{source}: {counted(len(vocabulary), 'word')}, but model.vocabulary_size is {size}; "
            f"make them agree (--set model.vocabulary_size={len(vocabulary)}), or leave the key out"
        )
    changed = config.replace(source, {"model.vocabulary_size": len(vocabulary)})
    return replace(changed, origins=config.origins)  # the user did not set it


# ---- models -------------------------------------------------------------------------------------


def caption_model(
    trained: Trained, config: RunConfig, accelerator: Accelerator, **options: Any
) -> CaptionModel:
    """Load a model that describes, for a configuration from `sized`.

    `options` are those of `load_model`.
    """

    def exported(path: Path, device: str, index: int) -> ExportedCaptioner:
        about = cast(ExportedSpec, config.spec).description
        return ExportedCaptioner(path, second_file(path, "step", about.step_sha256), device, index)

    return cast(CaptionModel, load_model(trained, config, accelerator, exported, **options))


def events_in(
    config: RunConfig,
    files: FeatureFiles,
    names: Sequence[str],
    spans: Mapping[str, Sequence[tuple[float, float]]] | None,
) -> CaptionEvents:
    """The events to describe in some videos.

    Args:
        config: The configuration of the run.
        files: Features of the videos.
        names: Names of the videos, in order.
        spans: Start and end of the events of each video, in seconds; None: videos as a whole.

    Raises:
        DataError: An event does not fit its video, or features cannot be read.
    """
    data, dim = config.data, config.model.feature_dim
    rate = files.rate(data.rate, RATE_2019)
    listed: list[TimedSentence] = []
    for name in names:
        length = whole_seconds(files, name, len(files.read(name, feature_dim=dim)), rate)
        if spans is None:
            listed.append(replace(_event(name, (0.0, length), 0), is_whole=True))
        else:
            listed += [_event(name, span, number) for number, span in enumerate(spans[name])]
    sentences = TimedSentences(files.path, tuple(listed), {})
    return with_features(sentences, files, data, feature_dim=dim)


def _event(video: str, span: tuple[float, float], number: int) -> TimedSentence:
    start, end = span
    if not 0 <= start < end < math.inf:
        raise DataError(
            f"{video}: event {number} from {start:g} to {end:g} s; expected (start, end) in "
            "seconds, the end after the start"
        )
    return TimedSentence(
        video=video,
        start_seconds=start,
        end_seconds=end,
        sentence="",
        where=f"event {number}",
    )
