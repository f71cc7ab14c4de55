"""From files of features to batches of sequences.

Features stored as bytes stay bytes in a batch; the device turns them into numbers
(`ops.dequantize`).

The order of an epoch and the random choices for a video depend only on the seed, the epoch and the
number of the video. They do not depend on the number of workers, or on interruptions of the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import get_worker_info

from videozoo.data.features.record_formats import LabelledFile, LabelledFiles, find_records
from videozoo.data.features.records import (
    MOST_LOADED_BYTES,
    FeatureRecord,
    RecordSet,
    usable_frames,
)
from videozoo.data.features.writer import FeatureFolder
from videozoo.data.files import absolute
from videozoo.data.labelled_videos import has_part, labelled_videos
from videozoo.data.loader import Batch, Numbers, VideoDataset, seed_of
from videozoo.errors import DataError, MisfitError
from videozoo.settings.shared import Part
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape

_BLOCK_RECORDS = 1024  # neighbours in a file, about as many as in a shard of YouTube-8M
_MOST_LOADED_AT_ONCE = MOST_LOADED_BYTES // 2  # so that two groups fit in memory


# --- which frames ----------------------------------------------------------------------------


def slice_frames(
    num_frames: int, count: int, rng: np.random.RandomState | None = None
) -> NDArray[np.int64]:
    """Choose one frame from each of `count` equal slices of a video.

    Args:
        num_frames: Frames of the video, at least 1. If fewer than `count`, frames repeat.
        count: Number of slices.
        rng: Draws one number per slice, in order; None takes the middles.

    Returns:
        (count,), ascending.

    Source: PaddlePaddle/models release/1.8, feature_reader; the same frames from the same `rng`.

    >>> slice_frames(10, 5).tolist()
    [1, 3, 5, 7, 9]
    """
    inside = np.full(count, 0.5) if rng is None else rng.random_sample(count)
    chosen = (np.arange(count) + inside) * (num_frames / count)
    return np.minimum(chosen.astype(np.int64), num_frames - 1)


# --- which records ---------------------------------------------------------------------------


def record_order(
    records: RecordSet, *, shuffle_records: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Order of the records in an epoch: random shards, records shuffled in groups of shards.

    A large file counts as several shards.

    Args:
        records: All files.
        shuffle_records: Number of records shuffled together; a larger shard is shuffled alone.
        seed: Seed of the order, together with `epoch`.
        epoch: From 0.

    Returns:
        (len(records),), each number once.
    """
    rng = np.random.RandomState(seed_of(seed, epoch))
    starts, sizes, loaded = _shards(records)
    drawn = rng.permutation(len(sizes))
    starts, sizes, loaded = starts[drawn], sizes[drawn], loaded[drawn]
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    order = np.arange(total) + np.repeat(starts - (ends - sizes), sizes)
    bytes_to = np.cumsum(loaded)
    first = 0
    while first < len(sizes):
        before, bytes_before = ends[first] - sizes[first], bytes_to[first] - loaded[first]
        fits = np.searchsorted(ends, before + shuffle_records, side="right")
        loads = np.searchsorted(bytes_to, bytes_before + _MOST_LOADED_AT_ONCE, side="right")
        last = max(int(min(fits, loads)), first + 1)
        rng.shuffle(order[before : ends[last - 1]])
        first = last
    return order


def _shards(records: RecordSet) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """First record, number of records and bytes to load of each shard."""
    firsts = np.cumsum(records.counts) - records.counts
    shards: list[tuple[int, int, int]] = []
    for file, first, count in zip(
        records.files, firsts.tolist(), records.counts.tolist(), strict=True
    ):
        size = count if file.loaded_bytes else _BLOCK_RECORDS
        shards += [
            (first + start, min(size, count - start), file.loaded_bytes)
            for start in range(0, count, size or 1)
        ]
    table = np.array(shards, np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2]


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FeatureBatch(Batch):
    """Features of some videos, padded to the longest."""

    streams: tuple[Tensor, ...]
    """(N, T, dim) each, in the order of the model's streams; uint8 or float32; padding is 0."""
    lengths: Tensor
    """int64 (N,): frames of each video, without padding."""
    labels: Tensor | None
    """float32 (N, C): 1 for the classes of a video, else 0. None if not requested."""
    videos: Tensor
    """int64 (N,): number of the video among all records."""
    names: tuple[str, ...]
    """Names of the videos in the files."""

    on_device: ClassVar = ("streams", "lengths", "labels", "videos")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class _Video:
    number: int
    name: str
    streams: list[NDArray[Any]]
    labels: tuple[int, ...]


class FeatureDataset(VideoDataset[_Video, FeatureBatch]):
    """Videos in files of features."""

    def __init__(
        self,
        records: RecordSet,
        shape: FeatureShape,
        data: FeatureData,
        *,
        seed: int = 0,
        num_classes: int | None = None,
    ) -> None:
        """Set up how videos are read.

        Args:
            records: From `load_records`.
            shape: What the model reads.
            data: Which frames of a video are used, and the order of training.
            seed: Seed of the order and of random choices.
            num_classes: Labels must be smaller; None for prediction, which needs no labels.
        """
        self.records = records
        self.shape = shape
        self.data = data
        self.seed = seed
        self.num_classes = num_classes
        self._rng = np.random.RandomState(0)  # a new one costs as much as reading a video

    def __len__(self) -> int:
        return len(self.records)

    def order(self, epoch: int) -> Numbers:
        """See `record_order`."""
        shuffled = self.data.shuffle_records
        return record_order(self.records, shuffle_records=shuffled, seed=self.seed, epoch=epoch)

    def read(self, number: int, epoch: int | None) -> _Video:
        """See `VideoDataset`."""
        record = self.records.read(number)
        where = self.records.where_named(number, record.name)
        length = usable_frames(record, self.shape, where)
        streams = [record.streams[stream.name] for stream in self.shape.streams]
        if self.data.max_frames is not None:
            length = min(length, self.data.max_frames)
        if self.shape.num_frames is None:
            streams = [frames[:length] for frames in streams]
        else:
            chosen = slice_frames(length, self.shape.num_frames, self._draws(number, epoch))
            streams = [frames[chosen] for frames in streams]
        return _Video(number, record.name, streams, self._labels_of(record, where))

    def collate(self, items: Sequence[_Video]) -> FeatureBatch:
        """See `VideoDataset`."""
        lengths = [len(video.streams[0]) for video in items]
        labels = None
        if self.num_classes is not None:
            labels = torch.zeros(len(items), self.num_classes)
            for row, video in zip(labels, items, strict=True):
                row[list(video.labels)] = 1
        return FeatureBatch(
            streams=tuple(
                self._padded(place, items, max(lengths)) for place in range(len(self.shape.streams))
            ),
            lengths=torch.tensor(lengths),
            labels=labels,
            videos=torch.tensor([video.number for video in items]),
            names=tuple(video.name for video in items),
        )

    def _draws(self, number: int, epoch: int | None) -> np.random.RandomState | None:
        if epoch is not None:
            self._rng.seed(seed_of(self.seed, epoch, number))
        elif self.data.eval_frames == "random":
            self._rng.seed(seed_of(number))
        else:
            return None
        return self._rng

    def _labels_of(self, record: FeatureRecord, where: str) -> tuple[int, ...]:
        if self.num_classes is None:
            return ()
        if record.labels is None:
            segments = "of the whole video" if record.has_segment_labels else ""
            raise MisfitError(
                f"{where}: has no labels {segments}".rstrip()
                + ", which training and evaluation need; prediction does not"
            )
        for label in record.labels:
            if not 0 <= label < self.num_classes:
                raise MisfitError(
                    f"{where}: label {label}, expected 0 to {self.num_classes - 1}; "
                    "is model.num_classes right?"
                )
        return record.labels

    def _padded(self, place: int, videos: Sequence[_Video], length: int) -> Tensor:
        """One stream of a batch: (N, length, dim)."""
        stream = self.shape.streams[place]
        are_bytes = [video.streams[place].dtype == np.uint8 for video in videos]
        if any(are_bytes) and not all(are_bytes):
            one, other = (videos[are_bytes.index(kind)] for kind in (True, False))
            raise MisfitError(
                f"{self.records.where_named(other.number, other.name)}: {stream.name} holds "
                f"{other.streams[place].dtype}, but that of {self.records.where(one.number)} "
                f"({one.name}) bytes; use them apart"
            )
        dtype = torch.uint8 if all(are_bytes) else torch.float32
        padded = _empty((len(videos), length, stream.dim), dtype)
        for row, video in zip(padded.numpy(), videos, strict=True):
            frames = video.streams[place]
            row[: len(frames)] = frames
            row[len(frames) :] = 0
        return padded


def _empty(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """New memory; in a worker, memory that the training process can see too."""
    if get_worker_info() is None:
        return torch.empty(shape, dtype=dtype)
    storage = torch.UntypedStorage._new_shared(int(np.prod(shape)) * dtype.itemsize)
    return cast(Any, torch.empty(0, dtype=dtype)).set_(storage, 0, shape)


# --- the data section ------------------------------------------------------------------------


def load_records(
    data: FeatureData, part: Part, *, strict: bool = True, names: Sequence[str] | None = None
) -> RecordSet:
    """Open the videos of one part of the `data:` section; `test` defaults to `val`.

    Args:
        data: The section. Where it names videos themselves, their features are in `data.features`.
        part: Which videos.
        strict: Raise if a file cannot be opened; otherwise see `RecordSet.damaged`.
        names: What a trained model calls its classes, in order, to find those of class folders.

    Raises:
        DataError: The part is not set, or its files cannot be used.
    """
    if data.is_raw:
        return _labelled_records(data, part, strict, names)
    path = _source(data, part)
    if path is None:
        also = " (nor data.val)" if part == "test" else ""
        raise DataError(f"data.{part} is not set{also}; name a file, folder or list of features")
    return find_records(path, root=data.root, kind=data.format, strict=strict)


def has_records(data: FeatureData, part: Part) -> bool:
    """Whether the `data:` section says where the videos of this part are."""
    return has_part(data, part) if data.is_raw else _source(data, part) is not None


def _source(data: FeatureData, part: Part) -> Path | None:
    chosen: Path | None = getattr(data, part)
    return data.val if chosen is None and part == "test" else chosen


def _labelled_records(
    data: FeatureData, part: Part, strict: bool, names: Sequence[str] | None
) -> RecordSet:
    """Kept features of the videos of one part, with the labels that they have now."""
    folder = data.features
    if folder is None:
        raise DataError(
            "data.videos: the features of these videos are not made yet; `videozoo train` and "
            "`eval` make them"
        )
    store = FeatureFolder(folder, "npz", {})
    store.read()
    files = {absolute(str(line["path"])): str(line["file"]) for line in store.done.values()}
    chosen: list[LabelledFile] = []
    lost: list[str] = []
    for video in labelled_videos(data, part, names=names):
        file = files.get(absolute(video.path))
        if file is None:
            lost.append(f"{video.path}: cannot be read, so that there are no features of it")
        else:
            chosen.append(LabelledFile(file, video.name, video.labels))
    if not chosen:
        raise DataError(f"data.{part}: there are no features of its videos in {folder}")
    if lost and strict:
        raise DataError(lost[0])
    return RecordSet([LabelledFiles(folder, chosen)], lost)
