"""A trained tagging model for Python programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from videozoo.engine.devices import make_accelerator
from videozoo.results import VideoLabels, VideoSegments
from videozoo.tasks.common import names_of_classes, without_absent_names
from videozoo.tasks.loading import Trained, build_trained
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
from videozoo.tasks.tagging.scoring import feature_shape, score_records
from videozoo.tasks.tagging.segment_scoring import score_segments, segments_of


class Tagger(Predictor):
    """A trained tagging model: finds the tags of videos. Made by `videozoo.load`."""

    def __init__(self, trained: Trained, *, device: Device = "auto") -> None:
        self.config = without_absent_names(trained.config)
        precision = self.config.train.precision
        self._accelerator = make_accelerator(device=device, precision=precision)
        self.class_names = self._names = names_of_classes(trained, self.config)
        network = build_trained(trained, self.config).to(self._accelerator.device).eval()
        super().__init__(trained, network)

    def predict(
        self, *videos: Features | Sequence[Features], strict: bool = True
    ) -> list[VideoLabels] | list[VideoSegments]:
        """Score videos by their features; `.labels` holds the best `predict.top_k` classes.

        Of a model for segments (`data.segments`) the results are `VideoSegments`: which classes
        score `predict.least_score` or more, and when.

        Args:
            videos: Paths (shards, pickles, packs, folders, patterns or lists); a dict of the
                streams of a video, such as `{"rgb": (T, 1024), "audio": (T, 128)}`; a dict of
                videos by name; for a model of one stream also arrays or tensors (T, dim), called
                `video 0`, `video 1`, ... by their place; or lists of these. Bytes are features as
                YouTube-8M stores them.
            strict: Raise if any input cannot be used. Otherwise it has no result, and a warning
                names it.

        Raises:
            DataError: An input does not exist or does not fit the model.
        """
        inputs, unread = self.with_features(videos, self._accelerator, strict=strict)
        streams = [stream.name for stream in feature_shape(self.config).streams]

        def answer(group: list[Any], place: int) -> tuple[list[Any], list[str]]:
            config = self.config
            if are_paths(group):
                records = input_records(group, config, strict=strict)
            else:
                config = without_workers(config)
                records = as_records(
                    group, streams=streams, first=place, extractor=self._trained.features
                )
            if config.data.segments:
                found = score_segments(
                    self.module,
                    config,
                    config.predict,
                    records,
                    self._accelerator,
                    skip_bad=not strict,
                )
                failed = [*records.damaged, *found.skipped.values()]
                least = config.predict.least_score
                answers_ = [
                    segments_of(each, self._names, least_score=least)
                    for each in found.by_number.values()
                ]
                return answers_, failed
            scored = score_records(
                self.module, config, config.predict, records, self._accelerator, skip_bad=not strict
            )
            failed = [*records.damaged, *scored.skipped.values()]
            return [labels_of(each, self._names) for each in scored.by_number.values()], failed

        results, failed = answers(inputs, answer, strict=strict, streams=streams)
        warn_of([*unread, *failed])
        return results


def load(trained: Trained, *, device: Device = "auto") -> Tagger:
    """Make the Python object for `videozoo.load`."""
    return Tagger(trained, device=device)
