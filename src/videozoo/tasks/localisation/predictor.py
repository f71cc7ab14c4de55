"""A trained localiser for Python programs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.segments import with_features
from videozoo.errors import UsageError
from videozoo.results import VideoSegments
from videozoo.runtime.segments import segments_of
from videozoo.settings.segments import SequencePredict
from videozoo.tasks.common import without_absent_names
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.inference import run
from videozoo.tasks.loading import Trained
from videozoo.tasks.localisation.exported import localiser_model
from videozoo.tasks.localisation.naming import Names, PartScorer, named
from videozoo.tasks.localisation.prediction import (
    SourcesOf,
    class_names,
    feature_sources,
)
from videozoo.tasks.localisation.scoring import LocalisationInference, VideoSource
from videozoo.tasks.localisation.sources import FeatureSource, data_of, num_classes
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


class SegmentPredictor(Predictor):
    """A trained localiser: finds segments of videos. Made by `videozoo.load`."""

    def __init__(
        self, trained: Trained, *, device: Device = "auto", sources_of: SourcesOf = feature_sources
    ) -> None:
        self.config = without_absent_names(trained.config)
        self._accelerator = accelerator_for(trained, device)
        self._sources_of = sources_of
        self.class_names = self._names = class_names(trained, self.config, None)
        network = localiser_model(trained, self.config, self._accelerator, device=device)
        super().__init__(trained, network)

    def predict(
        self,
        *videos: Features | Sequence[Features],
        strict: bool = True,
        labels: str | Path | PartScorer | None = None,
        video_folder: str | Path | None = None,
    ) -> list[VideoSegments]:
        """Find segments in videos by their features.

        Args:
            videos: Paths (folders, feature packs, files, or lists of names of videos); features
                (T, dim) as arrays or tensors, called `video 0`, `video 1`, ... by their place; a
                dict of the streams of a video; a dict of videos by name; or lists of these. Arrays
                are taken to be by the extractor that the model learnt from: its rate tells how
                long their videos are.
            strict: Raise if any video cannot be used. Otherwise the video has no result, and a
                warning names it.
            labels: What names proposals, see `predict.labels`: class scores of whole videos, a run
                of a model that classifies clips, or such a model from `videozoo.load`.
            video_folder: For `labels` that is a run or a model: the videos, if they are not where
                their features were made.

        Raises:
            DataError: An input does not exist or does not fit the model; a video that `labels`
                needs is not found.
        """
        path = labels if isinstance(labels, str | Path) else None
        asked = {"predict.labels": path, "predict.videos": video_folder}
        given = {key: Path(value) for key, value in asked.items() if value is not None}
        config = self.config.replace("predict", given) if given else self.config
        views: SequencePredict = config.predict
        naming, names = None, self._names
        if labels is not None and num_classes(config) is None:
            naming = (
                Names.open(Path(labels), self._accelerator)
                if isinstance(labels, str | Path)
                else Names(classifier=labels)
            )
            names = naming.classes

        def answer(group: list[Any], place: int) -> tuple[list[VideoSegments], list[str]]:
            results: list[VideoSegments] = []
            failed: list[str] = []
            sources = (
                self._sources_of(group, config)
                if are_paths(group)
                else [self._of_arrays(group, place)]
            )
            for source in sources:
                inference = LocalisationInference(
                    self._network, source, self._accelerator, skip_bad=not strict
                )
                found = run(inference, self._accelerator)
                if naming is not None:
                    found = named(found, source, naming, names, views, self._accelerator)
                failed += [f"{name}: no features" for name in source.missing]
                failed += found.skipped.values()
                results += [
                    segments_of(each.video, each.found, each.duration_seconds, names)
                    for each in found.by_number.values()
                ]
            return results, failed

        reads_features = self._sources_of is feature_sources
        inputs, unread = list[Any](videos), list[str]()
        if reads_features:
            inputs, unread = self.with_features(videos, self._accelerator, strict=strict)
        streams = data_of(self.config, "predict").streams if reads_features else ()
        results, failed = answers(inputs, answer, strict=strict, streams=streams)
        warn_of([*unread, *failed])
        return results

    def _of_arrays(self, features: Sequence[Features], first: int) -> VideoSource:
        if self._sources_of is not feature_sources:
            raise UsageError(
                f"{self.config.spec.title} scores proposals, which are read from files; name them"
            )
        config = without_workers(self.config)
        streams = data_of(config, "predict").streams
        records = as_records(
            features,
            streams=streams,
            first=first,
            extractor=self._trained.features,
        )
        files = FeatureFiles(records, streams=streams)
        videos = tuple(
            Annotation(video=one.name, duration_seconds=one.duration_seconds or math.nan)
            for one in map(records.read, range(len(records)))
        )
        annotations = Annotations(path=files.path, videos=videos, class_names=())
        return FeatureSource(config, config.predict, with_features(annotations, files))


def load(trained: Trained, *, device: Device = "auto") -> SegmentPredictor:
    """Make the Python object for `videozoo.load`."""
    return SegmentPredictor(trained, device=device)
