"""From files of features of whole videos to batches of one length.

The features of a video are a sequence (T, C), one row per snippet; a model reads
(N, C, num_steps). In a batch, times are fractions of the length of the video.

The order of an epoch and the random choices for a video depend only on the seed, the epoch and the
number of the video. They do not depend on the number of workers, or on interruptions of the run.
"""

from __future__ import annotations

import logging
import math
import random
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data.annotations.segments import Annotation, Annotations, name_among
from videozoo.data.coverage import (
    Part,
    load_annotations,
    load_features,
)
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.transforms import random_crop, random_move, resize_steps
from videozoo.data.lengths import TOLERANCE, check_lengths
from videozoo.data.loader import Batch, Missing, NothingToLearnError, VideoDataset
from videozoo.data.text import of_video
from videozoo.data.video_times import VideoTimes
from videozoo.errors import DataError, MisfitError, counted, few
from videozoo.ops.windows import Window
from videozoo.settings.segments import (
    SequenceData,
)
from videozoo.types import SequenceShape, Targets

_MOST_COUNTED = 64  # videos whose vectors are counted
_FAR_RATES = 1.5  # a higher rate this many times a lower one is no matter of rounding
_log = logging.getLogger(__name__)

# --- which videos ----------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceVideos:
    """The videos of one part, and which of them have features."""

    annotations: Annotations
    """Annotations of all videos of the part."""
    files: FeatureFiles
    present: tuple[Annotation, ...]
    """Videos with features; batches number them from 0."""
    missing: tuple[str, ...]
    """Names of videos without features; metrics cover `len(present)` of `len(annotations)`."""


def load_videos(data: SequenceData, part: Part) -> SequenceVideos:
    """Find the videos of one part of the `data:` section, and their features.

    If features give the length of a video, it is used.

    Raises:
        DataError: The part is not set or cannot be used, no video has features, or most lengths
            differ from the annotations.
    """
    files = load_features(data)
    times = times_of_features(files)
    found = load_annotations(data, part, measured=files.measured, frame_times=times)
    videos = with_features(found, files)
    check_rate(videos, data.rate)
    return videos


def check_rate(
    videos: SequenceVideos, configured: float | None, *, warn: Callable[[str], object] | None = None
) -> None:
    """Compare numbers of vectors with the annotated seconds, where features store no rate.

    Some videos are looked at. With a configured rate, lengths by vectors must be those of the
    annotations. Without one, a warning names videos whose rate is far from that of most; features
    that are resized to one number of vectors have none.

    Args:
        videos: Annotated in seconds.
        configured: `data.rate`.
        warn: Function that logs a warning.

    Raises:
        DataError: The rate is not that of the features, by what they say or by most lengths.
    """
    files, warn = videos.files, warn or _log.warning
    rate = files.rate(configured, 0.0)
    if files.own_rate is not None:  # compared when the annotations were read
        return
    counts = dict[str, tuple[int, float]]()
    for one in videos.present[:: -(-len(videos.present) // _MOST_COUNTED)]:
        seconds = one.duration_seconds
        if of_video(one.video, files.durations) is not None or not 0 < seconds < math.inf:
            continue
        try:
            counts[one.video] = files.length(one.video), seconds
        except DataError:  # told when it is read
            continue
    source, rates = videos.annotations.path, {v: n / seconds for v, (n, seconds) in counts.items()}
    if not rates:
        return
    usual = statistics.median(rates.values())
    if rate:
        check_lengths(
            {video: (seconds, count / rate) for video, (count, seconds) in counts.items()},
            source=source,
            features=files.path,
            slack_seconds=1 / rate,
            advice=f"data.rate is {rate:g} vectors per second; by these lengths it is about "
            f"{usual:.3g}: --set data.rate=NUMBER, or leave it out.",
            warn=warn,
        )
        return
    times = {video: max(own, usual) / min(own, usual) for video, own in rates.items()}
    apart = [video for video, ratio in times.items() if ratio >= _FAR_RATES]
    are_alike = 2 * sum(ratio <= 1 + TOLERANCE for ratio in times.values()) > len(times)
    if apart and are_alike and len({count for count, _ in counts.values()}) > 1:
        worst = max(apart, key=lambda video: times[video])
        count, seconds = counts[worst]
        warn(
            f"{source}: {len(apart):,} of {counted(len(rates), 'video')} looked at have another "
            f"number of vectors per second than most ({usual:.3g}) in {files.path}; worst is "
            f"{worst}: {counted(count, 'vector')} in {seconds:g} s, {rates[worst]:.3g} per second; "
            "are the lengths right, and the features of these videos?"
        )


def times_of_features(files: FeatureFiles) -> VideoTimes:
    """When the frames of the videos are shown that features were made of, where these are there."""
    facts = files.videos
    return VideoTimes(
        {name: fact.path for name, fact in facts.items()},
        num_bytes={fact.path: fact.num_bytes for fact in facts.values()},
    )


def with_features(annotations: Annotations, files: FeatureFiles) -> SequenceVideos:
    """Divide the annotated videos into videos with and without features.

    Raises:
        DataError: No video has features.
    """
    named = (replace(one, video=name_among(one, files)) for one in annotations.videos)
    annotations = replace(annotations, videos=tuple(named))
    present = tuple(one for one in annotations.videos if one.video in files)
    missing = tuple(one.video for one in annotations.videos if one.video not in files)
    if not present:
        raise DataError(
            f"{files.path}: no features of any of the {len(missing)} videos of "
            f"{annotations.path}; looked for {few(missing)}; "
            f"there are features of {few(tuple(files))}"
        )
    return SequenceVideos(annotations, files, present, missing)


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class SequenceBatch(Batch):
    """Some videos, resized to the length that the model reads."""

    features: Tensor
    """float32 (N, feature_dim, num_steps)."""
    targets: Mapping[str, Tensor]
    """Results of `targets`, (N, ...) each; empty without a `targets` function."""
    segments: tuple[NDArray[np.float64], ...]
    """(G, 2) per video: segments, as fractions of the time that `features` cover."""
    labels: tuple[NDArray[np.int64], ...]
    """(G,) per video: classes of the segments."""
    durations: Tensor
    """float64 (N,): lengths of the videos in seconds."""
    videos: Tensor
    """int64 (N,): number of the video among `SequenceVideos.present`."""
    names: tuple[str, ...]
    """Names of the videos in the annotations."""
    windows: tuple[Window, ...] = ()
    """The windows of the videos that `features` cover; empty if they cover whole videos."""

    on_device: ClassVar = ("features", "targets")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class SequenceItem:
    """A video, or a window of one, as the model reads it."""

    number: int
    """Number of the video."""
    annotation: Annotation
    features: NDArray[np.float32]
    segments: NDArray[np.float64]
    labels: NDArray[np.int64]
    targets: Mapping[str, NDArray[Any]]
    window: Window | None = None


class SequenceDataset(VideoDataset[SequenceItem, SequenceBatch]):
    """Videos with features, resized to the length that the model reads."""

    def __init__(
        self,
        videos: SequenceVideos,
        shape: SequenceShape,
        data: SequenceData,
        *,
        seed: int = 0,
        targets: Targets | None = None,
    ) -> None:
        """Set up how videos are read.

        Args:
            videos: From `load_videos`.
            shape: What the model reads.
            data: How features are resized and augmented.
            seed: Seed of the order and of random choices.
            targets: Makes the targets of a video; called in the process that reads the video. For
                a loss in evaluation it must not return None.
        """
        self.videos = videos
        self.shape = shape
        self.data = data
        self.seed = seed
        self.targets = targets
        self.missing = Missing(
            videos.missing,
            len(videos.annotations),
            videos.files.path,
            num_items=len(videos.missing),
        )

    def __len__(self) -> int:
        return len(self.videos.present)

    def read(self, number: int, epoch: int | None) -> SequenceItem:
        """See `VideoDataset`."""
        annotation = self.videos.present[number]
        features = self.videos.files.read(annotation.video, feature_dim=self.shape.feature_dim)
        segments = self._segments(annotation, len(features))
        labels = self.videos.annotations.labels(annotation)
        return self.prepared(number, features, segments, labels, self.draws(number, epoch))

    def draws(self, item: int, epoch: int | None) -> random.Random | None:
        """Random numbers for one item in one epoch; None in evaluation."""
        return None if epoch is None else random.Random(f"{self.seed}/{epoch}/{item}")

    def prepared(
        self,
        number: int,
        features: NDArray[np.float32],
        segments: NDArray[np.float64],
        labels: NDArray[np.int64],
        rng: random.Random | None,
    ) -> SequenceItem:
        """Augment and resize features, and make their targets.

        Args:
            number: Number of the video.
            features: (T, C), of the video or a part of it.
            segments: (G, 2), as fractions of the time that the features cover.
            labels: (G,).
            rng: From `draws`.

        Raises:
            MisfitError: The features have another length than the model, and are not resized.
            NothingToLearnError: They make no targets.
        """
        annotation = self.videos.present[number]
        files, method = self.videos.files, self.data.resize
        if rng is not None:
            features, segments, labels = self._changed(features, segments, labels, rng)
            method = rng.choice(self.data.augment.resize or (method,))
        if method != "refuse":
            features = resize_steps(features, self.shape.num_steps, method)
        elif len(features) != self.shape.num_steps:
            raise MisfitError(
                f"{files.where(annotation.video)}: {len(features)} steps, expected "
                f"{self.shape.num_steps}; set data.resize to resize them"
            )
        targets = None
        if self.targets is not None:
            targets = self.targets(segments, labels, self.shape.num_steps)
            if targets is None:
                raise NothingToLearnError(f"{files.where(annotation.video)}: nothing to learn from")
        return SequenceItem(number, annotation, features, segments, labels, targets or {})

    def _segments(self, annotation: Annotation, length: int) -> NDArray[np.float64]:
        """Segments as fractions. C-TCN lists are in frames, and such segments are not clipped."""
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

    def collate(self, items: Sequence[SequenceItem]) -> SequenceBatch:
        """See `VideoDataset`."""
        features = np.stack([video.features.T for video in items])
        targets = {
            name: torch.from_numpy(np.stack([video.targets[name] for video in items]))
            for name in items[0].targets
        }
        durations = [video.annotation.duration_seconds for video in items]
        return SequenceBatch(
            features=torch.from_numpy(features),
            targets=targets,
            segments=tuple(video.segments for video in items),
            labels=tuple(video.labels for video in items),
            durations=torch.tensor(durations, dtype=torch.float64),
            videos=torch.tensor([video.number for video in items]),
            names=tuple(video.annotation.video for video in items),
            windows=tuple(video.window for video in items if video.window is not None),
        )
