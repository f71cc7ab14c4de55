"""From feature files of whole videos to batches of one length.

A video's features are a sequence (T, C), one row a snippet; a model reads (N, C, num_steps). Times
leave here as shares of the video's length.

The order of an epoch and what is drawn for a video depend on the seed, the epoch and the place of
the video among the others only: not on the number of workers, and not on whether the run was
interrupted.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data._workers import DeviceBatch
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.coverage import (
    Part,
    check_missing,
    load_annotations,
    refuse_missing,
    workers_of,
)
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.transforms import random_crop, random_move, resize_steps
from videozoo.data.loader import EvalBatches, Items, TrainBatches
from videozoo.errors import DataError, MisfitError, few
from videozoo.settings.segments import (
    SequenceData,
)
from videozoo.types import SequenceShape, Targets

# --- which videos ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceVideos:
    """The videos of one part, and which of them have features."""

    annotations: Annotations
    """All of them."""
    files: FeatureFiles
    present: tuple[Annotation, ...]
    """Those that have features; batches number them from 0."""
    missing: tuple[str, ...]
    """Names of those that have none: metrics are on `len(present)` of `len(annotations)` videos."""


def load_videos(data: SequenceData, part: Part) -> SequenceVideos:
    """Find the videos of one part of the `data:` section, and their features.

    Where features tell how long a video is, that counts.

    Raises:
        DataError: The part is not set or cannot be used, no video has features, or most are of
            another length than the annotations say.
    """
    files = load_files(data)
    return with_features(load_annotations(data, part, measured=files.measured), files)


def load_files(data: SequenceData) -> FeatureFiles:
    """Look what is in `data.features`.

    Raises:
        DataError: It is not set, or holds no features.
    """
    if data.features is None:
        raise DataError("data.features is not set; name a folder of features, one file a video")
    return FeatureFiles(data.features, streams=data.streams)


def with_features(annotations: Annotations, files: FeatureFiles) -> SequenceVideos:
    """Divide videos into those with features and those without.

    Raises:
        DataError: None has features.
    """
    present = tuple(one for one in annotations.videos if one.video in files)
    missing = tuple(one.video for one in annotations.videos if one.video not in files)
    if not present:
        raise DataError(
            f"{files.path}: no features of any of the {len(missing)} videos of "
            f"{annotations.path}; looked for {few(missing)}; "
            f"there are those of {few(tuple(files))}"
        )
    return SequenceVideos(annotations, files, present, missing)


def unannotated(files: FeatureFiles, durations: Mapping[str, float] | None = None) -> Annotations:
    """Take all videos that have features, for prediction; of unknown length: nan seconds."""
    known = {**(durations or {}), **files.durations}
    videos = tuple(
        Annotation(video=name, duration_seconds=known.get(name, math.nan)) for name in files
    )
    return Annotations(path=files.path, videos=videos, class_names=())


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceBatch(DeviceBatch):
    """Some videos, all of the model's length."""

    features: Tensor
    """float32 (N, feature_dim, num_steps)."""
    targets: Mapping[str, Tensor]
    """What `targets` gave, (N, ...) each; empty where it was not asked."""
    segments: tuple[NDArray[np.float64], ...]
    """(G, 2) for each video: what happens when, as shares of what `features` show."""
    labels: tuple[NDArray[np.int64], ...]
    """(G,) for each video: classes of the segments."""
    durations: Tensor
    """float64 (N,): seconds."""
    videos: Tensor
    """int64 (N,): number of the video among `SequenceVideos.present`."""
    names: tuple[str, ...]
    """As the annotations call the videos."""
    replaced: int = 0
    """Training: how many of these stand in for a video that could not be used."""
    skipped: tuple[int, ...] = ()
    """Evaluation: numbers of videos that were left out since the last batch."""

    def __len__(self) -> int:
        return len(self.names)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        targets = {name: change(tensor) for name, tensor in self.targets.items()}
        return replace(self, features=change(self.features), targets=targets)


@dataclass(frozen=True)
class _Video:
    number: int
    annotation: Annotation
    features: NDArray[np.float32]
    segments: NDArray[np.float64]
    labels: NDArray[np.int64]
    targets: Mapping[str, NDArray[Any]]


class _Reader:
    """Videos by number."""

    def __init__(
        self,
        shape: SequenceShape,
        data: SequenceData,
        videos: SequenceVideos,
        targets: Targets | None,
        seed: int,
    ) -> None:
        self.shape = shape
        self.data = data
        self.videos = videos
        self.targets = targets
        self.seed = seed

    def read(self, number: int, epoch: int | None) -> _Video | None:
        annotation = self.videos.present[number]
        files = self.videos.files
        features = files.read(annotation.video, feature_dim=self.shape.feature_dim)
        segments = self._segments(annotation, len(features))
        labels = self.videos.annotations.labels(annotation)
        method = self.data.resize
        if epoch is not None:
            rng = random.Random(f"{self.seed}/{epoch}/{number}")
            features, segments, labels = self._changed(features, segments, labels, rng)
            method = rng.choice(self.data.augment.resize or (method,))
        if method != "refuse":
            features = resize_steps(features, self.shape.num_steps, method)
        elif len(features) != self.shape.num_steps:
            raise MisfitError(
                f"{files.where(annotation.video)}: {len(features)} steps, expected "
                f"{self.shape.num_steps}; set data.resize to have them resized"
            )
        targets = None
        if self.targets is not None:
            targets = self.targets(segments, labels, self.shape.num_steps)
            if targets is None:
                return None
        return _Video(number, annotation, features, segments, labels, targets or {})

    def _segments(self, annotation: Annotation, length: int) -> NDArray[np.float64]:
        """Segments as shares; where frames are known, by counting features as in 2019: uncut."""
        in_frames = [one.frames for one in annotation.instances if one.frames is not None]
        if not in_frames:
            return annotation.shares()
        return np.array(in_frames) / self.data.snippet_length / length

    def _changed(
        self,
        features: NDArray[np.float32],
        segments: NDArray[np.float64],
        labels: NDArray[np.int64],
        rng: random.Random,
    ) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.int64]]:
        augment = self.data.augment
        if not (augment.random_move or augment.random_crop):
            return features, segments, labels
        steps = segments * len(features)
        if augment.random_move:
            features, steps, labels = random_move(features, steps, labels, rng)
        if augment.random_crop:
            features, steps, labels = random_crop(
                features, steps, labels, rng, min_scale=augment.min_crop_scale
            )
        return features, steps / len(features), labels

    def collate(self, videos: Sequence[_Video]) -> SequenceBatch:
        features = np.stack([video.features.T for video in videos])
        targets = {
            name: torch.from_numpy(np.stack([video.targets[name] for video in videos]))
            for name in videos[0].targets
        }
        durations = [video.annotation.duration_seconds for video in videos]
        return SequenceBatch(
            features=torch.from_numpy(features),
            targets=targets,
            segments=tuple(video.segments for video in videos),
            labels=tuple(video.labels for video in videos),
            durations=torch.tensor(durations, dtype=torch.float64),
            videos=torch.tensor([video.number for video in videos]),
            names=tuple(video.annotation.video for video in videos),
        )

    def items(self) -> Items[_Video, SequenceBatch]:
        return Items(len(self.videos.present), self.read, self.collate, seed=self.seed)


class TrainSequences(TrainBatches[SequenceBatch]):
    """Training batches, epoch by epoch; see `epoch`, `batches_per_epoch` and `bad_videos`."""

    def __init__(
        self,
        shape: SequenceShape,
        data: SequenceData,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        targets: Targets | None = None,
        videos: SequenceVideos | None = None,
    ) -> None:
        """Find the videos.

        Args:
            shape: What the model reads.
            data: Where the videos are, and how many workers read them.
            batch_size: Videos a batch of this process.
            seed: Of the order and of what is drawn.
            rank: Number of this process.
            world: How many there are.
            targets: What the model is to give for a video; called where videos are read.
            videos: In place of those of `data`.

        Raises:
            DataError: There are no videos, or too many have no features.
        """
        self.videos = load_videos(data, "train") if videos is None else videos
        found = self.videos
        check_missing(
            len(found.annotations), found.missing, found.files.path, share=data.bad_video_share
        )
        super().__init__(
            _Reader(shape, data, found, targets, seed).items(),
            workers_of(data),
            batch_size=batch_size,
            seed=seed,
            rank=rank,
            world=world,
            missing=len(found.missing),
            bad_video_share=data.bad_video_share,
        )


class EvalSequences(EvalBatches[SequenceBatch]):
    """Every video that has features once, in order of their names; see `skipped`."""

    def __init__(
        self,
        shape: SequenceShape,
        data: SequenceData,
        *,
        part: Part = "val",
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        skip_bad: bool = False,
        targets: Targets | None = None,
        videos: SequenceVideos | None = None,
    ) -> None:
        """Find the videos.

        Args:
            shape: What the model reads.
            data: Where the videos are, and how many workers read them.
            part: Which of them.
            batch_size: Videos a batch.
            rank: Number of this process.
            world: How many there are.
            skip_bad: Go on without videos that are damaged or have no features; `skipped` and
                `videos.missing` tell which.
            targets: What the model is to give for a video, for a loss; never None.
            videos: In place of those of `data`.

        Raises:
            DataError: The part is not set or cannot be used; a video has no features, and
                `skip_bad` does not allow it.
        """
        self.videos = load_videos(data, part) if videos is None else videos
        found = self.videos
        if not skip_bad:
            refuse_missing(len(found.annotations), found.missing, found.files.path)
        super().__init__(
            _Reader(shape, data, found, targets, 0).items(),
            workers_of(data),
            batch_size=batch_size,
            rank=rank,
            world=world,
            skip_bad=skip_bad,
        )
