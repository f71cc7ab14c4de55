"""A trained tagging model for Python programs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from videozoo.config import RunConfig
from videozoo.data.features.records import RecordSet
from videozoo.errors import UsageError
from videozoo.results import VideoLabels, VideoSegments
from videozoo.tasks.common import names_of_classes, without_absent_names
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.predictors import (
    Features,
    Predictor,
    answers,
    are_paths,
    as_records,
    without_workers,
)
from videozoo.tasks.requests import Device
from videozoo.tasks.results import warn_of
from videozoo.tasks.tagging.prediction import input_records, labels_of
from videozoo.tasks.tagging.scoring import feature_shape, score_records, tagging_model
from videozoo.tasks.tagging.segment_scoring import score_segments, segments_of

R = TypeVar("R")


class Tagger(Predictor):
    """A trained tagging model: finds the tags of videos. Made by `videozoo.load`."""

    def __init__(self, trained: Trained, *, device: Device = "auto") -> None:
        self.config = without_absent_names(trained.config)
        self._accelerator = accelerator_for(trained, device)
        network = tagging_model(trained, self.config, self._accelerator, device=device)
        self.class_names = self._names = names_of_classes(trained, self.config)
        super().__init__(trained, network)

    def predict(
        self, *videos: Features | Sequence[Features], strict: bool = True
    ) -> list[VideoLabels]:
        """Score videos by their features; `.labels` holds the best `predict.top_k` classes.

        Args:
            videos: Paths (shards, pickles, packs, folders, patterns or lists); a dict of the
                streams of a video, such as `{"rgb": (T, 1024), "audio": (T, 128)}`; a dict of
                videos by name; for a model of one stream also arrays or tensors (T, dim), called
                `video 0`, `video 1`, ... by their place; or lists of these. Bytes are features as
                YouTube-8M stores them.
            strict: Raise if any input cannot be used. Otherwise it has no result, and a warning
                names it.

        Raises:
            UsageError: The model is for segments of videos (`data.segments`).
            DataError: An input does not exist or does not fit the model.
        """
        if self.config.data.segments:
            raise UsageError(
                "this model tags segments of videos (data.segments): call .predict_segments"
            )

        def labels(records: RecordSet, config: RunConfig) -> tuple[list[VideoLabels], list[str]]:
            scored = score_records(
                self._network,
                config,
                config.predict,
                records,
                self._accelerator,
                skip_bad=not strict,
            )
            found = [labels_of(each, self._names) for each in scored.by_number.values()]
            return found, list(scored.skipped.values())

        return self._answers(videos, labels, strict=strict)

    def predict_segments(
        self, *videos: Features | Sequence[Features], strict: bool = True
    ) -> list[VideoSegments]:
        """Tag each video segment by segment, whatever the model learnt from.

        A segment has `data.segment_frames` frames; with one per second, as in YouTube-8M, 5 s. It
        shows the classes that score `predict.least_score` or more, of its best `predict.top_k`;
        neighbours with the same class are joined.

        Args:
            videos: As for `predict`.
            strict: As for `predict`.

        Raises:
            ConfigError: The model tells one class per video.
            DataError: An input does not exist, does not fit the model, or has another rate than one
                frame per second.
        """

        def segments(
            records: RecordSet, config: RunConfig
        ) -> tuple[list[VideoSegments], list[str]]:
            scored = score_segments(
                self._network,
                config,
                config.predict,
                records,
                self._accelerator,
                skip_bad=not strict,
            )
            least = config.predict.least_score
            found = [
                segments_of(each, self._names, least_score=least)
                for each in scored.by_number.values()
            ]
            return found, list(scored.skipped.values())

        return self._answers(videos, segments, strict=strict)

    def _answers(
        self,
        videos: Sequence[Features | Sequence[Features]],
        of: Callable[[RecordSet, RunConfig], tuple[list[R], list[str]]],
        *,
        strict: bool,
    ) -> list[R]:
        """What `of` finds in the features of videos, and a warning about the others."""
        inputs, unread = self.with_features(videos, self._accelerator, strict=strict)
        streams = [stream.name for stream in feature_shape(self.config).streams]

        def answer(group: list[Any], place: int) -> tuple[list[R], list[str]]:
            config = self.config
            if are_paths(group):
                records = input_records(group, config, strict=strict)
            else:
                config = without_workers(config)
                records = as_records(
                    group, streams=streams, first=place, extractor=self._trained.features
                )
            found, failed = of(records, config)
            return found, [*records.damaged, *failed]

        results, failed = answers(inputs, answer, strict=strict, streams=streams)
        warn_of([*unread, *failed])
        return results


def load(trained: Trained, *, device: Device = "auto") -> Tagger:
    """Make the Python object for `videozoo.load`."""
    return Tagger(trained, device=device)
