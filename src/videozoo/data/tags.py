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

from videozoo.data.balance import balanced_order
from videozoo.data.features.record_formats import LabelledFile, LabelledFiles, find_records
from videozoo.data.features.records import (
    MOST_LOADED_BYTES,
    FeatureRecord,
    RecordSet,
    usable_frames,
)
from videozoo.data.features.transforms import slice_frames
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
    rated: Tensor | None = None
    """For rated segments, float32 (N, C): 1 for the classes that people rated, else 0: of these
    nothing is known. None where all classes are known."""
    spans: Tensor | None = None
    """For segments, int64 (N, 2): first frame in the video, and the frame after the last."""

    on_device: ClassVar = ("streams", "lengths", "labels", "videos", "rated")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class Excerpt:
    """A video, or a segment of it, as a model reads it."""

    number: int
    """Of the video among all records."""
    name: str
    streams: list[NDArray[Any]]
    labels: tuple[int, ...]
    rated: tuple[int, ...] | None = None
    """The classes of which something is known; None: all."""
    span: tuple[int, int] | None = None
    """For a segment: first frame in the video, and the frame after the last."""


class FeatureDataset(VideoDataset[Excerpt, FeatureBatch]):
    """Videos in files of features."""

    def __init__(
        self,
        records: RecordSet,
        shape: FeatureShape,
        data: FeatureData,
        *,
        seed: int = 0,
        num_classes: int | None = None,
        classes: Sequence[Sequence[int]] | None = None,
    ) -> None:
        """Set up how videos are read.

        Args:
            records: From `load_records`.
            shape: What the model reads.
            data: Which frames of a video are used, and the order of training.
            seed: Seed of the order and of random choices.
            num_classes: Labels must be smaller; None for prediction, which needs no labels.
            classes: Of each video, to draw training videos by them; see `balanced_order`. None:
                all are drawn once per epoch.
        """
        self._classes = classes
        self.records = records
        self.shape = shape
        self.data = data
        self.seed = seed
        self.num_classes = num_classes
        self._rng = np.random.RandomState(0)  # a new one costs as much as reading a video

    def __len__(self) -> int:
        return len(self.records)

    def order(self, epoch: int) -> Numbers:
        """See `record_order`; with `data.balance` see `balanced_order`."""
        if self._classes is not None:
            return np.array(balanced_order(self._classes, seed=self.seed, epoch=epoch))
        shuffled = self.data.shuffle_records
        return record_order(self.records, shuffle_records=shuffled, seed=self.seed, epoch=epoch)

    def read(self, number: int, epoch: int | None) -> Excerpt:
        """See `VideoDataset`."""
        video = number % len(self)  # beyond its length, the same video once more
        record = self.records.read(video)
        where = self.records.where_named(video, record.name)
        length = usable_frames(record, self.shape, where)
        if self.data.max_frames is not None:
            length = min(length, self.data.max_frames)
        streams = chosen_frames(record, self.shape, (0, length), self._draws(number, epoch))
        labels = self._labels_of(record, where)
        return Excerpt(video, record.name, streams, labels)

    def collate(self, items: Sequence[Excerpt]) -> FeatureBatch:
        """See `VideoDataset`."""
        return batch_of(items, self.records, self.shape, self.num_classes)

    def _draws(self, number: int, epoch: int | None) -> np.random.RandomState | None:
        return seeded(self._rng, self.seed, epoch, number, self.data)

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


def seeded(
    rng: np.random.RandomState, seed: int, epoch: int | None, number: int, data: FeatureData
) -> np.random.RandomState | None:
    """What draws the frames of an item; None where the middle ones are taken."""
    if epoch is not None:
        rng.seed(seed_of(seed, epoch, number))
    elif data.eval_frames == "random":
        rng.seed(seed_of(number))
    else:
        return None
    return rng


def chosen_frames(
    record: FeatureRecord,
    shape: FeatureShape,
    span: tuple[int, int],
    rng: np.random.RandomState | None,
) -> list[NDArray[Any]]:
    """The frames of a video, or of a part of it, that a model reads: (T, dim) per stream.

    Args:
        record: The video, which was checked with `usable_frames`.
        shape: What the model reads.
        span: First frame, and the frame after the last.
        rng: See `slice_frames`.
    """
    start, end = span
    streams = [record.streams[stream.name] for stream in shape.streams]
    if shape.num_frames is None:
        return [frames[start:end] for frames in streams]
    chosen = start + slice_frames(end - start, shape.num_frames, rng)
    return [frames[chosen] for frames in streams]


def batch_of(
    items: Sequence[Excerpt], records: RecordSet, shape: FeatureShape, num_classes: int | None
) -> FeatureBatch:
    """Put videos, or segments of videos, together.

    Args:
        items: At least one.
        records: What they are from, to name them in errors.
        shape: What the model reads.
        num_classes: Classes of the model; None leaves out labels.

    Raises:
        MisfitError: Some hold bytes, and others floating-point numbers.
    """
    lengths = [len(one.streams[0]) for one in items]
    labels = rated = spans = None
    if num_classes is not None:
        labels = torch.zeros(len(items), num_classes)
        for row, one in zip(labels, items, strict=True):
            row[list(one.labels)] = 1
        if items[0].rated is not None:
            rated = torch.zeros(len(items), num_classes)
            for row, one in zip(rated, items, strict=True):
                row[list(one.rated or ())] = 1
    if items[0].span is not None:
        spans = torch.tensor([one.span for one in items])
    places = range(len(shape.streams))
    return FeatureBatch(
        streams=tuple(_padded(place, items, max(lengths), records, shape) for place in places),
        lengths=torch.tensor(lengths),
        labels=labels,
        videos=torch.tensor([one.number for one in items]),
        names=tuple(one.name for one in items),
        rated=rated,
        spans=spans,
    )


def _padded(
    place: int, items: Sequence[Excerpt], length: int, records: RecordSet, shape: FeatureShape
) -> Tensor:
    """One stream of a batch: (N, length, dim)."""
    stream = shape.streams[place]
    are_bytes = [one.streams[place].dtype == np.uint8 for one in items]
    if any(are_bytes) and not all(are_bytes):
        one, other = (items[are_bytes.index(kind)] for kind in (True, False))
        raise MisfitError(
            f"{records.where_named(other.number, other.name)}: {stream.name} holds "
            f"{other.streams[place].dtype}, but that of {records.where(one.number)} "
            f"({one.name}) bytes; use them apart"
        )
    dtype = torch.uint8 if all(are_bytes) else torch.float32
    padded = _empty((len(items), length, stream.dim), dtype)
    for row, one in zip(padded.numpy(), items, strict=True):
        frames = one.streams[place]
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
