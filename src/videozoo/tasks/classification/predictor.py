"""A trained clip model for Python programs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from videozoo.data.annotations.videos import videos_of
from videozoo.data.frames.video import VideoReader, open_video
from videozoo.data.frames.views import centre_rule, eval_plan, eval_views
from videozoo.errors import ConfigError, DataError
from videozoo.metrics.multicrop import VideoScores
from videozoo.ops.pixels import normalize
from videozoo.results import VideoLabels, VideoSegments
from videozoo.settings.clips import ClipViews
from videozoo.tasks.classification import along
from videozoo.tasks.classification import parts as parts_of
from videozoo.tasks.classification.lengths import CLIPS, too_long
from videozoo.tasks.classification.prediction import frames_seen, input_entries, labels_of
from videozoo.tasks.classification.scoring import ClipInference, Scores, scorer_of
from videozoo.tasks.clip_views import clip_shape, has_several_classes, with_views
from videozoo.tasks.common import names_of_classes, without_absent_names
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.inference import run
from videozoo.tasks.loading import Trained
from videozoo.tasks.measured import Lengths
from videozoo.tasks.predictors import Predictor, Video, answers, are_paths, as_reader
from videozoo.tasks.requests import Device
from videozoo.tasks.results import say_damaged, warn_of
from videozoo.types import Classification

_FLAG = "`videozoo predict --every SECONDS`"


class Classifier(Predictor):
    """A trained clip model: classifies videos. Made by `videozoo.load`.

    Frames are picked, scaled and normalised as in training, or as the `predict:` section says.
    """

    def __init__(
        self,
        trained: Trained,
        *,
        device: Device = "auto",
        accelerator: Accelerator | None = None,
    ) -> None:
        """Load the weights; `accelerator` in place of `device`, beside another model."""
        config = without_absent_names(trained.config)
        self.config = with_views(config, config.predict)
        self._accelerator = accelerator or accelerator_for(trained, device)
        self._score = scorer_of(trained, self.config, self._accelerator, device=device)
        self.class_names = self._names = names_of_classes(trained, self.config)
        super().__init__(trained, getattr(self._score, "module", None))

    @overload
    def predict(
        self, *videos: Video | Sequence[Video], strict: bool = True, every: None = None
    ) -> list[VideoLabels]: ...
    @overload
    def predict(
        self,
        *videos: Video | Sequence[Video],
        strict: bool = True,
        every: float,
        window_seconds: float | None = None,
        least_score: float | None = None,
    ) -> list[VideoSegments]: ...
    def predict(
        self,
        *videos: Video | Sequence[Video],
        strict: bool = True,
        every: float | None = None,
        window_seconds: float | None = None,
        least_score: float | None = None,
    ) -> list[VideoLabels] | list[VideoSegments]:
        """Score videos; `.labels` of each result holds all classes, the best first.

        Where a video may have several classes, scores are of each class for itself, and `.there`
        holds those with `predict.least_score` or more.

        With `every`, `.segments` of each result holds what happens when, and `.windows` the scores
        of all classes over time; `classification.along` says how segments are made.

        Args:
            videos: Paths (files, folders, patterns or lists), videos from `videozoo.open_video`,
                frames uint8 (T, H, W, 3), RGB, as arrays or tensors, or lists of any of these.
                Open videos stay open. Arrays are called `video 0`, `video 1`, ... by their place
                among the inputs.
            strict: Raise if any video cannot be read. Otherwise the video has no result, and a
                warning names it. Damaged videos are read as far as they decode, with a warning.
            every: Seconds from one window to the next. None: one answer per video, with a warning
                where a video is far longer than the training clips.
            window_seconds: Length of a window. By default `predict.window_seconds`.
            least_score: Windows in which no class scores this much belong to no segment. By default
                `predict.least_score`.

        Raises:
            ConfigError: `every`, `window_seconds` or `least_score` is out of range.
            DataError: An input does not exist, or no video can be read.
            VideoError: A video cannot be read, or an array does not hold frames; for a single
                video also without `strict`.
        """
        if every is not None:
            return self._along(videos, strict, every, window_seconds, least_score)
        damaged: list[str] = []

        def answer(group: list[Any], place: int) -> tuple[list[VideoLabels], list[str]]:
            if are_paths(group):
                return self._of_paths(group, strict, damaged)
            results: list[VideoLabels] = []
            for number, video in enumerate(group, place):
                name, reader = as_reader(video, number)
                results.append(self._labels_of(name, self._of_reader(reader)))
            return results, []

        results, failed = answers(videos, answer, strict=strict)
        warn_of(failed)
        say_damaged(lambda line: warnings.warn(line, stacklevel=4), damaged)
        return results

    def embed(self, video: Video) -> NDArray[np.float32]:
        """Turn a video into a vector: the input of the classifier, averaged over the views.

        Args:
            video: See `predict`; a path must be one file.

        Returns:
            float32 (feature_dim,).

        Raises:
            ConfigError: The model has no such vector, or is an exported graph.
            VideoError: The video cannot be read.
        """
        task = self.config.spec.task
        gives_features = isinstance(task, Classification) and task.features
        if not (gives_features and isinstance(self._network, nn.Module)):
            raise ConfigError(
                f"{self._trained.path}: {self.config.spec.title} gives scores only here, and no "
                "vector of a video"
            )
        data, device = self.config.data, self._accelerator.device
        network: Any = self._network

        def vectors(views: Tensor) -> NDArray[Any]:
            with torch.inference_mode(), self._accelerator.autocast():
                clips = normalize(views.to(device), data.mean, data.std)
                return network.features(clips).float().cpu().numpy()

        if isinstance(video, str | Path):
            with open_video(video) as reader:
                rows = self._over_views(vectors, reader)
        else:
            rows = self._over_views(vectors, as_reader(video, 0)[1])
        return rows.mean(axis=0, dtype=np.float32)

    def score_parts(
        self, video: Video, parts: ArrayLike, *, shares: bool = False
    ) -> NDArray[np.float32]:
        """Score parts of a video, such as segments that another model found.

        The video is decoded once for all of them; a part is seen as a whole video is.

        Args:
            video: See `predict`; a path must be one file.
            parts: (N, 2): start and end in seconds.
            shares: They are shares of the video, in [0, 1], and not seconds.

        Returns:
            (N, num_classes), each row summing to 1.

        Raises:
            DataError: A part ends before it starts.
            VideoError: The video cannot be read, or does not tell its frame rate.
        """
        table = np.asarray(parts, np.float64)

        def scored(reader: VideoReader, name: str) -> NDArray[np.float32]:
            return parts_of.score_parts(
                self._score, self.config, reader, table, name=name, shares=shares
            )

        if isinstance(video, str | Path):
            with open_video(video) as opened:
                return scored(opened, str(video))
        name, reader = as_reader(video, 0)
        return scored(reader, name)

    def _of_paths(
        self, paths: Sequence[str], strict: bool, damaged: list[str]
    ) -> tuple[list[VideoLabels], list[str]]:
        named = input_entries(paths, self.config, self._trained.class_names, strict=strict)
        entries = named.entries
        views: ClipViews = self.config.predict
        inference = ClipInference(
            self._score,
            self.config,
            entries,
            self._accelerator,
            views=views,
            skip_bad=not strict,
        )
        scored = inference.with_repeats(run(inference, self._accelerator))
        damaged += scored.damaged.values()
        known = Lengths.stored(self._trained.measured, CLIPS)
        for line in too_long(videos_of(entries), known, frames_seen(self.config)):
            warnings.warn(line.replace(_FLAG, "predict(..., every=SECONDS)"), stacklevel=5)
        results = [self._labels_of(each.name, each.scores) for each in scored.by_number.values()]
        return results, [*named.absent, *scored.skipped.values()]

    def _along(
        self,
        videos: Sequence[Any],
        strict: bool,
        every: float,
        window_seconds: float | None,
        least_score: float | None,
    ) -> list[VideoSegments]:
        """Scores along videos, and their segments."""
        asked = {
            "predict.every_seconds": every,
            "predict.window_seconds": window_seconds,
            "predict.least_score": least_score,
        }
        given = {key: value for key, value in asked.items() if value is not None}
        config = self.config.replace("predict", given)
        scorer = along.open_scorer(self._trained, config, self._score)
        damaged: list[str] = []

        def of_reader(reader: VideoReader, name: str) -> VideoSegments:
            found = scorer(reader, name)
            damaged.extend([f"{name}: {found.damage}"] if found.damage else [])
            return along.result_of(found, self._names, config)

        def answer(group: list[Any], place: int) -> tuple[list[VideoSegments], list[str]]:
            results: list[VideoSegments] = []
            failed: list[str] = []
            if not are_paths(group):
                for number, video in enumerate(group, place):
                    name, reader = as_reader(video, number)
                    results.append(of_reader(reader, name))
                return results, []
            named = input_entries(group, config, self._trained.class_names, strict=strict)
            entries = along.whole_videos(named.entries)
            failed += named.absent
            for entry in entries:
                try:
                    with open_video(entry.path) as reader:
                        results.append(of_reader(reader, str(entry.path)))
                except DataError as error:
                    if strict or len(entries) + len(named.absent) == 1:
                        raise
                    failed.append(str(error))
            return results, failed

        results, failed = answers(videos, answer, strict=strict)
        warn_of(failed, stacklevel=4)
        say_damaged(lambda line: warnings.warn(line, stacklevel=5), damaged)
        return results

    def _labels_of(self, name: str, scores: Scores) -> VideoLabels:
        several = has_several_classes(self.config)
        least = self.config.predict.least_score if several else None
        return labels_of(name, scores, self._names, least_score=least)

    def _of_reader(self, reader: VideoReader) -> Scores:
        """(num_classes,): the mean over the views of an open video."""
        rows = self._over_views(self._score, reader)
        mean = VideoScores(lambda _video: len(rows))
        return next(each for row in rows if (each := mean.add(0, row)) is not None)

    def _over_views(
        self, of_views: Callable[[Tensor], NDArray[Any]], reader: VideoReader
    ) -> NDArray[Any]:
        """Apply a function of views, uint8 (V, T, C, H, W), to all views of a video."""
        settings: ClipViews = self.config.predict
        plan = eval_plan(clip_shape(self.config), self.config.data, settings)
        rows: list[NDArray[Any]] = []
        for clip in [None] if plan.num_clips == 1 else range(plan.num_clips):
            found = eval_views(reader, plan, clip=clip, centre=centre_rule(reader))
            views = torch.from_numpy(np.stack(found)).permute(0, 1, 4, 2, 3)
            rows += [of_views(part) for part in views.split(settings.batch_size)]
        damage = str(getattr(reader, "damage", ""))
        if damage:
            warnings.warn(f"{getattr(reader, 'path', 'video')}: {damage}", stacklevel=6)
        return np.concatenate(rows)


def load(trained: Trained, *, device: Device = "auto") -> Classifier:
    """Make the Python object for `videozoo.load`."""
    return Classifier(trained, device=device)
