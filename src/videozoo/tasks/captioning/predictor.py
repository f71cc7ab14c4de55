"""A trained captioning model for Python programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoo.data.annotations.sentences import TimedSentence, TimedSentences
from videozoo.data.captions import RATE_2019, CaptionEvents, with_features
from videozoo.data.features.by_name import FeatureFiles
from videozoo.errors import DataError, UsageError
from videozoo.results import Caption, VideoCaptions
from videozoo.tasks.captioning.prediction import events_of
from videozoo.tasks.captioning.scoring import (
    EventCaptions,
    Sentence,
    caption_model,
    describe,
    shortfall,
    trained_vocabulary,
    with_words,
)
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.predictors import (
    Features,
    Predictor,
    are_paths,
    as_records,
    grouped,
    names_of,
    without_workers,
)
from videozoo.tasks.requests import Device
from videozoo.tasks.results import warn_of

Events = Sequence[tuple[float, float]] | Mapping[str, Sequence[tuple[float, float]]]
"""Starts and ends of events in seconds: the same for every video, or by name of the video."""


class Captioner(Predictor):
    """A trained captioning model: describes events of videos. Made by `videozoo.load`.

    Attributes:
        words: The vocabulary, in the order of the word numbers.
    """

    def __init__(self, trained: Trained, *, device: Device = "auto") -> None:
        self._vocabulary = trained_vocabulary(trained)
        self.config = with_words(trained)
        self._accelerator = accelerator_for(trained, device)
        self.words = self._vocabulary.words
        super().__init__(
            trained, caption_model(trained, self.config, self._accelerator, device=device)
        )

    def predict(
        self,
        *videos: Features | Sequence[Features],
        events: Events | None = None,
        strict: bool = True,
    ) -> list[VideoCaptions]:
        """Describe events; `.captions` has one per event, in their order.

        Args:
            videos: Files of events, whose features are in `data.features`; one file or folder of
                features; features (T, dim) as arrays or tensors, called `video 0`, `video 1`, ...
                by their place; a dict of videos by name; or lists of these. Arrays are taken to be
                by the extractor that the model learnt from, whose rate tells their times.
            events: The events to describe. None: each video as a whole.
            strict: Raise if any input cannot be used. Otherwise it has no result, and a warning
                names it.

        Raises:
            DataError: An input does not exist or does not fit the model.
        """
        found: dict[str, list[Caption]] = {}
        failed: list[str] = []
        place = 0
        for group in grouped(videos):
            config = self.config
            if are_paths(group) and events is None:
                asked = events_of(group, config, strict=strict)
            else:
                config = without_workers(config)
                asked = self._asked(group, place, events)
            described = describe(
                self._network,
                config,
                config.predict,
                asked,
                self._vocabulary,
                self._accelerator,
                skip_bad=not strict,
            )
            failed += shortfall(described, asked).failed
            for one in described.by_number.values():
                found.setdefault(one.event.video, []).append(_caption(one))
            place += len(group)
        warn_of(failed)
        return [VideoCaptions(video=name, captions=tuple(each)) for name, each in found.items()]

    def _asked(self, group: Sequence[Any], first: int, events: Events | None) -> CaptionEvents:
        """The events to describe, if features or events are given in memory."""
        data, dim = self.config.data, self.config.model.feature_dim
        if are_paths(group):
            if len(group) != 1:
                raise UsageError(f"{len(group)} paths; with events name one file or folder")
            files = FeatureFiles(Path(group[0]), streams=data.streams)
            names = list(files)
        else:
            extractor = self._trained.features
            records = as_records(group, streams=data.streams, first=first, extractor=extractor)
            files = FeatureFiles(records, streams=data.streams)
            names = names_of(records)
        rate = files.rate(data.rate, RATE_2019)
        listed: list[TimedSentence] = []
        for name in names:
            whole = [(0.0, len(files.read(name, feature_dim=dim)) / rate)]
            spans = events.get(name, ()) if isinstance(events, Mapping) else events or whole
            listed += [_event(name, span, number) for number, span in enumerate(spans)]
        sentences = TimedSentences(files.path, tuple(listed), {})
        return with_features(sentences, files, data, feature_dim=dim)


def _event(video: str, span: tuple[float, float], number: int) -> TimedSentence:
    start, end = (float(each) for each in span)
    if not 0 <= start < end:
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


def load(trained: Trained, *, device: Device = "auto") -> Captioner:
    """Make the Python object for `videozoo.load`."""
    return Captioner(trained, device=device)
