"""A trained captioning model for Python programs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data.features.by_name import FeatureFiles
from videozoo.errors import DataError, few
from videozoo.results import VideoCaptions
from videozoo.tasks.captioning.prediction import captions_of, events_of
from videozoo.tasks.captioning.scoring import (
    caption_model,
    describe,
    events_in,
    shortfall,
    trained_vocabulary,
    with_words,
)
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.predictors import (
    Features,
    Predictor,
    answers,
    are_paths,
    as_records,
    grouped,
    names_in_memory,
    names_of,
    without_workers,
)
from videozoo.tasks.requests import Device
from videozoo.tasks.results import warn_of

_Files = tuple[FeatureFiles, list[str]]
_Spans = Sequence[tuple[float, float]]
_AnySpans = _Spans | tuple[float, float] | NDArray[Any] | Tensor
Events = _AnySpans | Mapping[str, _AnySpans]
"""Starts and ends of events in seconds, as pairs, an array or tensor (E, 2), or one pair: the same
for every video, or by name of the video."""


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
        """Describe events: one result per video, in the order of the inputs.

        `.captions` has one per event, in their order.

        Args:
            videos: Files of events, whose features are in `data.features`; one file or folder of
                features; features (T, dim) as arrays or tensors, called `video 0`, `video 1`, ...
                by their place; a dict of videos by name; or lists of these. Arrays are taken to be
                by the extractor that the model learnt from, whose rate tells their times.
            events: The events to describe: pairs, an array or tensor (E, 2), or one pair, in
                seconds; the same for every video, or a dict that has them for every video by name.
                None: each video as a whole.
            strict: Raise if any input cannot be used. Otherwise it has no result, and a warning
                names it.

        Raises:
            DataError: An input does not exist or does not fit the model, or `events` are not such
                pairs, or do not name the videos.
        """
        streams = self.config.data.streams
        inputs, unread = self.with_features(videos, self._accelerator, strict=strict)
        opened = cache(self._opened)  # names are needed before the first event is described
        spans = None if events is None else _spans_of(events, self._names(inputs, opened))

        def answer(group: list[Any], place: int) -> tuple[list[VideoCaptions], list[str]]:
            config = self.config
            if are_paths(group) and spans is None:
                asked = events_of(group, config, strict=strict)
            else:
                config = without_workers(config)
                files = opened(*group) if are_paths(group) else self._in_memory(group, place)
                asked = events_in(config, *files, spans)
            described = describe(
                self._network,
                config,
                config.predict,
                asked,
                self._vocabulary,
                self._accelerator,
                skip_bad=not strict,
            )
            short = shortfall(described, asked)
            results = captions_of(list(described.by_number.values()))
            return results, [*short.failed, *short.left_out]

        results, failed = answers(inputs, answer, strict=strict, streams=streams)
        warn_of([*unread, *failed])
        return results

    def _names(self, videos: Sequence[Any], opened: Callable[..., _Files]) -> list[str]:
        """Names of all videos, usable or not."""
        names: list[str] = []
        place = 0
        for group in grouped(videos):
            if are_paths(group):
                names += opened(*group)[1]
            else:
                names += names_in_memory(group, streams=self.config.data.streams, first=place)
            place += len(group)
        return names

    def _opened(self, *paths: str) -> _Files:
        """The features of a path, and the names of its videos in order."""
        files = FeatureFiles([Path(path) for path in paths], streams=self.config.data.streams)
        return files, list(files)

    def _in_memory(self, group: Sequence[Any], first: int) -> _Files:
        """The features of a group in memory, and the names of its videos in order."""
        streams = self.config.data.streams
        extractor = self._trained.features
        records = as_records(group, streams=streams, first=first, extractor=extractor)
        return FeatureFiles(records, streams=streams), names_of(records)


def _spans_of(events: Events, names: Sequence[str]) -> dict[str, _Spans]:
    """The events of each video.

    Raises:
        DataError: They are not pairs of numbers, or their names are not those of the videos.
    """
    if not isinstance(events, Mapping):
        return dict.fromkeys(names, _pairs(events, "events"))
    unknown = [str(key) for key in events if key not in names]
    if unknown:
        raise DataError(f"events: no video is called {few(unknown)}; there are {few(names)}")
    without = [name for name in names if name not in events]
    if without:
        raise DataError(
            f"events: none for {few(without)}; name the events of every video, or leave these "
            "videos out"
        )
    return {name: _pairs(events[name], f"events of {name}") for name in names}


def _pairs(value: Any, name: str) -> _Spans:
    """Numbers (E, 2), or one pair, as pairs."""
    if isinstance(value, Tensor):
        value = value.detach().double().cpu()
    try:
        array: NDArray[Any] = np.asarray(value)
    except (ValueError, TypeError):  # lists of different lengths
        array = np.empty(1, object)
    if array.size == 0 and array.dtype.kind != "O":
        raise DataError(f"{name}: empty; name an event, or leave `events` out for whole videos")
    if array.shape == (2,):
        array = array[None]
    if array.dtype.kind not in "fiu" or array.ndim != 2 or array.shape[1] != 2:
        raise DataError(
            f"{name}: {value!r:.80}, expected pairs (start, end) in seconds: a list of them, an "
            "array (E, 2), or a dict of these by name of the video"
        )
    return [(float(start), float(end)) for start, end in array]


def load(trained: Trained, *, device: Device = "auto") -> Captioner:
    """Make the Python object for `videozoo.load`."""
    return Captioner(trained, device=device)
