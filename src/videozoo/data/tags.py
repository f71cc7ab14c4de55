"""From files of features to batches of sequences.

Bytes leave here as bytes; turning them into features is left to the device (`ops.dequantize`).

The order of an epoch and what is drawn for a video depend on the seed, the epoch and the place of
the video in the files only: not on the number of workers, and not on whether the run was
interrupted.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler, get_worker_info

from videozoo.data._workers import (
    MOST_REPLACEMENTS,
    DeviceBatch,
    Loader,
    named_few,
)
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.features.records import (
    MOST_LOADED_BYTES,
    FeatureRecord,
    RecordSet,
    find_records,
    usable_frames,
)
from videozoo.errors import DataError, MisfitError
from videozoo.settings.tags import FeatureData
from videozoo.types import FeatureShape

Part = Literal["train", "val", "test"]

_BLOCK_RECORDS = 1024  # read from near each other, like a shard of YouTube-8M
_MOST_LOADED_AT_ONCE = MOST_LOADED_BYTES // 2  # so that two groups fit beside each other


# --- which frames ----------------------------------------------------------------------------


def slice_frames(
    num_frames: int, count: int, rng: np.random.RandomState | None = None
) -> NDArray[np.int64]:
    """Choose one frame from each of `count` equal slices of a video.

    Args:
        num_frames: Of the video, at least 1; where it is less than `count`, frames repeat.
        count: How many.
        rng: Draws one number a slice, in order; None takes the middles.

    Returns:
        (count,), ascending.

    Source: PaddlePaddle/models release/1.8, feature_reader; the same frames from the same `rng`.

    >>> slice_frames(10, 5).tolist()
    [1, 3, 5, 7, 9]
    """
    inside = np.full(count, 0.5) if rng is None else rng.random_sample(count)
    chosen = (np.arange(count) + inside) * (num_frames / count)
    return np.minimum(chosen.astype(np.int64), num_frames - 1)


def _seed(*key: int) -> int:
    """32 bits that depend on `key` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big")


# --- which records ---------------------------------------------------------------------------


def record_order(
    records: RecordSet, *, shuffle_records: int, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Order in which an epoch takes all records: shards drawn, records shuffled among a few.

    Large files count as several shards, one after the other.

    Args:
        records: All files.
        shuffle_records: Records in so many are shuffled together, or in one shard if that has more.
        seed: Of the order, together with `epoch`.
        epoch: From 0.

    Returns:
        (len(records),), each number once.
    """
    rng = np.random.RandomState(_seed(seed, epoch))
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
    """First record, number of records, and bytes to load, of each shard."""
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
class FeatureBatch(DeviceBatch):
    """Features of some videos, padded to the longest."""

    streams: tuple[Tensor, ...]
    """(N, T, dim) each, in the order of the model's streams; uint8 or float32; padding is 0."""
    lengths: Tensor
    """int64 (N,): real frames of each."""
    labels: Tensor | None
    """float32 (N, C): 1 for the classes of a video, else 0. None where they were not asked for."""
    videos: Tensor
    """int64 (N,): number of the video among all records."""
    names: tuple[str, ...]
    """As the files call the videos."""
    replaced: int = 0
    """Training: how many of these stand in for a video that could not be used."""
    skipped: tuple[int, ...] = ()
    """Evaluation: numbers of videos that were left out since the last batch."""

    def __len__(self) -> int:
        return len(self.names)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        return replace(
            self,
            streams=tuple(change(stream) for stream in self.streams),
            lengths=change(self.lengths),
            labels=None if self.labels is None else change(self.labels),
            videos=change(self.videos),
        )


@dataclass(frozen=True)
class _Key:
    """One batch to read."""

    numbers: NDArray[np.int64]
    epoch: int | None
    """None in evaluation."""


@dataclass(frozen=True)
class _Video:
    number: int
    name: str
    streams: list[NDArray[Any]]
    labels: tuple[int, ...]


@dataclass(frozen=True)
class _Loaded:
    """What a worker sends."""

    batch: FeatureBatch | None
    """None where no video could be used."""
    bad: tuple[tuple[int, str], ...] = ()
    """Videos that could not be used, and why."""
    fatal: str | None = None
    """Data that does not fit the model, after which there is no going on."""

    def pin_memory(self) -> "_Loaded":
        return self if self.batch is None else replace(self, batch=self.batch.pin_memory())


class _Items(Dataset[_Loaded]):
    """Batches by their records."""

    def __init__(
        self,
        records: RecordSet,
        shape: FeatureShape,
        data: FeatureData,
        *,
        seed: int,
        num_classes: int | None,
    ) -> None:
        self.records = records
        self.shape = shape
        self.data = data
        self.seed = seed
        self.num_classes = num_classes
        self._rng = np.random.RandomState(0)  # a new one costs as much as reading a video

    def __getitem__(self, key: _Key) -> _Loaded:
        videos: list[_Video] = []
        bad: list[tuple[int, str]] = []
        replaced = 0
        try:
            for number in key.numbers.tolist():
                video, problems = self._video(number, key.epoch)
                bad += problems
                if video is not None:
                    videos.append(video)
                    replaced += bool(problems)
            if not videos:
                return _Loaded(None, tuple(bad))
            return _Loaded(replace(self._batch(videos), replaced=replaced), tuple(bad))
        except MisfitError as error:
            return _Loaded(None, fatal=str(error))

    def _video(self, number: int, epoch: int | None) -> tuple[_Video | None, list[tuple[int, str]]]:
        """One video, in training another in its place, and those that could not be used."""
        bad: list[tuple[int, str]] = []
        others: random.Random | None = None
        for _ in range(1 if epoch is None else MOST_REPLACEMENTS):
            try:
                return self._read(number, epoch), bad
            except MisfitError:
                raise
            except DataError as error:
                bad.append((number, str(error)))
                others = others or random.Random(f"{self.seed}/{epoch}/{number}")
                number = others.randrange(len(self.records))
        return None, bad

    def _read(self, number: int, epoch: int | None) -> _Video:
        record = self.records.read(number)
        where = f"{self.records.where(number)} ({record.name})"
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

    def _draws(self, number: int, epoch: int | None) -> np.random.RandomState | None:
        if epoch is not None:
            self._rng.seed(_seed(self.seed, epoch, number))
        elif self.data.eval_frames == "random":
            self._rng.seed(_seed(number))
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

    def _batch(self, videos: Sequence[_Video]) -> FeatureBatch:
        lengths = [len(video.streams[0]) for video in videos]
        labels = None
        if self.num_classes is not None:
            labels = torch.zeros(len(videos), self.num_classes)
            for row, video in zip(labels, videos, strict=True):
                row[list(video.labels)] = 1
        return FeatureBatch(
            streams=tuple(
                self._padded(place, videos, max(lengths))
                for place in range(len(self.shape.streams))
            ),
            lengths=torch.tensor(lengths),
            labels=labels,
            videos=torch.tensor([video.number for video in videos]),
            names=tuple(video.name for video in videos),
        )

    def _padded(self, place: int, videos: Sequence[_Video], length: int) -> Tensor:
        """One stream of a batch: (N, length, dim)."""
        stream = self.shape.streams[place]
        are_bytes = [video.streams[place].dtype == np.uint8 for video in videos]
        if any(are_bytes) and not all(are_bytes):
            one, other = (videos[are_bytes.index(kind)] for kind in (True, False))
            raise MisfitError(
                f"{self.records.where(other.number)} ({other.name}): {stream.name} holds "
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


class _Order(Sampler[_Key]):
    """The batches of one pass; set before each."""

    def __init__(self) -> None:
        self.numbers = np.zeros(0, np.int64)
        self.batch_size = 1
        self.epoch: int | None = None

    def __iter__(self) -> Iterator[_Key]:
        for start in range(0, len(self.numbers), self.batch_size):
            yield _Key(self.numbers[start : start + self.batch_size], self.epoch)

    def __len__(self) -> int:
        return -(-len(self.numbers) // self.batch_size)


def _loader(
    items: _Items, order: _Order, data: FeatureData, *, num_batches: int, keep: bool
) -> Loader[_Loaded]:
    return Loader(
        items,
        order,
        num_workers=data.num_workers,
        prefetch_batches=data.prefetch_batches,
        num_batches=num_batches,
        keep=keep,
    )


class TrainFeatures:
    """Training batches, epoch by epoch; workers stay alive in between.

    Each epoch holds whole batches: what is left over at its end is dropped, as in 2019, unless it
    is the only batch.
    """

    def __init__(
        self,
        shape: FeatureShape,
        data: FeatureData,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        num_classes: int,
        records: RecordSet | None = None,
    ) -> None:
        """Find the records.

        Args:
            shape: What the model reads.
            data: Where the records are, and how many workers read them.
            batch_size: Videos a batch of this process.
            seed: Of the order and of what is drawn.
            rank: Number of this process.
            world: How many there are.
            num_classes: Labels must be smaller.
            records: In place of those of `data.train`.

        Raises:
            DataError: `data.train` is not set or cannot be used.
        """
        self.records = load_records(data, "train") if records is None else records
        self._data = data
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world = world
        self._order = _Order()
        self._bad: dict[int, str] = {}
        self._loader = _loader(
            _Items(self.records, shape, data, seed=seed, num_classes=num_classes),
            self._order,
            data,
            num_batches=self.batches_per_epoch,
            keep=True,
        )

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this process in one epoch; the same on all."""
        each = -(-len(self.records) // self._world)
        return max(1, each // self._batch_size)

    @property
    def bad_videos(self) -> dict[int, str]:
        """Videos that could not be used so far: number, and why."""
        return dict(self._bad)

    def epoch(self, number: int, *, skip_batches: int = 0) -> "FeatureEpoch":
        """Batches of one epoch, counted from 0; the first `skip_batches` are not even read.

        All processes order the records alike; the head is repeated so that they get equally many,
        and process k takes every `world`-th from k on.
        """
        order = record_order(
            self.records,
            shuffle_records=self._data.shuffle_records,
            seed=self._seed,
            epoch=number,
        )
        each = -(-len(order) // self._world)
        mine = order[(np.arange(each) * self._world + self._rank) % len(order)]
        used = mine[: self.batches_per_epoch * self._batch_size]
        return FeatureEpoch(self, number, used[skip_batches * self._batch_size :])

    def _read(self, epoch: int, numbers: NDArray[np.int64]) -> Iterator[FeatureBatch]:
        order = self._order
        order.numbers, order.batch_size, order.epoch = numbers, self._batch_size, epoch
        for loaded in self._loader if len(numbers) else ():
            if loaded.fatal:
                raise DataError(loaded.fatal)
            self._note(loaded.bad)
            if loaded.batch is None:
                raise DataError(
                    f"no video could be used in {MOST_REPLACEMENTS} tries; "
                    f"the last: {loaded.bad[-1][1]}"
                )
            yield loaded.batch

    def _note(self, bad: Iterable[tuple[int, str]]) -> None:
        for number, message in bad:
            self._bad.setdefault(number, message)
        share = len(self._bad) / len(self.records)
        if share > self._data.bad_video_share:
            raise DataError(
                f"{len(self._bad)} of {len(self.records)} training videos cannot be used, more "
                f"than data.bad_video_share={self._data.bad_video_share:g} allows; leave their "
                f"files out, or allow more:\n  {named_few(self._bad)}"
            )


@dataclass(frozen=True)
class FeatureEpoch:
    """One epoch of `TrainFeatures`; sized, to be iterated once or more."""

    _source: TrainFeatures
    _number: int
    _numbers: NDArray[np.int64]

    def __len__(self) -> int:
        return -(-len(self._numbers) // self._source._batch_size)

    def __iter__(self) -> Iterator[FeatureBatch]:
        return self._source._read(self._number, self._numbers)


class EvalFeatures:
    """Every video once, in order, the last incomplete batch too.

    With several processes each takes a run of neighbouring videos, no video twice; so some may
    have a batch more than others.
    """

    def __init__(
        self,
        shape: FeatureShape,
        data: FeatureData,
        *,
        part: Part = "val",
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        skip_bad: bool = False,
        num_classes: int | None = None,
        records: RecordSet | None = None,
    ) -> None:
        """Find the records.

        Args:
            shape: What the model reads.
            data: Where the records are, and how many workers read them.
            part: Which of them.
            batch_size: Videos a batch.
            rank: Number of this process.
            world: How many there are.
            skip_bad: Go on without videos that are damaged or empty, and report them.
            num_classes: Labels must be smaller; None for prediction, which needs no labels.
            records: In place of those of `data`.

        Raises:
            DataError: The part is not set or cannot be used.
        """
        self.records = load_records(data, part) if records is None else records
        self._items = _Items(self.records, shape, data, seed=0, num_classes=num_classes)
        self._data = data
        self._batch_size = batch_size
        self._world = world
        self._skip_bad = skip_bad and len(self.records) > 1
        self._bad: dict[int, str] = {}
        total = len(self.records)
        self._numbers = np.arange(total * rank // world, total * (rank + 1) // world)

    @property
    def skipped(self) -> dict[int, str]:
        """Videos of this process that were left out in the last pass: number, and why."""
        return dict(self._bad)

    def __len__(self) -> int:
        """Batches at most; a batch in which no video can be used is left out."""
        return -(-len(self._numbers) // self._batch_size)

    def __iter__(self) -> Iterator[FeatureBatch]:
        self._bad = {}
        if not len(self._numbers):
            return
        order = _Order()
        order.numbers, order.batch_size = self._numbers, self._batch_size
        ready: FeatureBatch | None = None  # held back, to take news of a batch without videos
        news: tuple[int, ...] = ()
        for loaded in _loader(self._items, order, self._data, num_batches=len(self), keep=False):
            if loaded.fatal:
                raise DataError(loaded.fatal)
            for number, message in loaded.bad:
                if not self._skip_bad:
                    raise DataError(message)
                self._bad[number] = message
                news += (number,)
            if loaded.batch is None:
                continue
            if ready is not None:
                yield ready
            ready, news = replace(loaded.batch, skipped=news), ()
        if ready is not None:
            yield replace(ready, skipped=ready.skipped + news)
        elif self._world == 1:
            raise DataError(f"none of the videos can be used:\n  {named_few(self._bad)}")


# --- the data section ------------------------------------------------------------------------


def load_records(data: FeatureData, part: Part, *, strict: bool = True) -> RecordSet:
    """Open the videos of one part of the `data:` section; without `test` those of `val`.

    Raises:
        DataError: The part is not set, or its files cannot be used.
    """
    path = _source(data, part)
    if path is None:
        also = " (nor data.val)" if part == "test" else ""
        raise DataError(f"data.{part} is not set{also}; name a file, folder or list of features")
    return find_records(path, root=data.root, kind=data.format, strict=strict)


def has_records(data: FeatureData, part: Part) -> bool:
    """Whether the `data:` section says where the videos of this part are."""
    return _source(data, part) is not None


def _source(data: FeatureData, part: Part) -> Path | None:
    chosen: Path | None = getattr(data, part)
    return data.val if chosen is None and part == "test" else chosen


def class_names(data: FeatureData) -> list[str] | None:
    """Names of the classes by number, or None where nothing tells them.

    Raises:
        DataError: The file cannot be read.
    """
    return None if data.class_names is None else read_class_names(data.class_names)
