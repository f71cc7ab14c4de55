"""Passes over videos in batches, read by worker processes: orders, processes, bad videos.

What a video is and how videos become a batch is the caller's; here is who reads which when.
The order of an epoch depends on the seed and the epoch only: not on the number of workers, and
not on whether the run was interrupted.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import Field, dataclass, replace
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from videozoo.data._workers import MOST_REPLACEMENTS, Loader, named_few
from videozoo.errors import DataError, MisfitError

Numbers = NDArray[np.int64]


class Batch(Protocol):
    """What is put together here: a frozen dataclass with these fields."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def replaced(self) -> int:
        """Training: how many of its videos stand in for one that could not be used."""
        ...

    @property
    def skipped(self) -> tuple[int, ...]:
        """Evaluation: numbers of videos left out since the last batch."""
        ...

    def pin_memory(self) -> Self:
        """The same batch in memory that a GPU can fetch by itself."""
        ...


V = TypeVar("V")
B = TypeVar("B", bound=Batch)


def seed_of(*key: int) -> int:
    """32 bits that depend on `key` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big")


@dataclass(frozen=True)
class _Key:
    numbers: Numbers
    epoch: int | None
    """None in evaluation."""


@dataclass(frozen=True)
class _Loaded(Generic[B]):
    """What a worker sends."""

    batch: B | None
    """None where no video could be used."""
    bad: tuple[tuple[int, str], ...] = ()
    fatal: str | None = None

    def pin_memory(self) -> _Loaded[B]:
        return self if self.batch is None else replace(self, batch=self.batch.pin_memory())


class Items(Dataset[_Loaded[B]], Generic[V, B]):
    """Batches by the numbers of their videos."""

    def __init__(
        self,
        count: int,
        read: Callable[[int, int | None], V | None],
        collate: Callable[[Sequence[V]], B],
        *,
        seed: int = 0,
        what: str = "videos",
    ) -> None:
        """Say how videos are read.

        Args:
            count: Videos, numbered from 0.
            read: From a number and an epoch (None in evaluation) to a video. It raises DataError
                where the video is damaged, MisfitError where nothing will help, and in training
                returns None for one there is nothing to learn from this time.
            collate: From videos to a batch.
            seed: Of what takes the place of videos that cannot be used.
            what: Messages call them so, where they are parts of videos.
        """
        self.count = count
        self.what = what
        self._read = read
        self._collate = collate
        self._seed = seed

    def __getitem__(self, key: _Key) -> _Loaded[B]:
        videos: list[V] = []
        bad: list[tuple[int, str]] = []
        replaced = 0
        try:
            for number in key.numbers.tolist():
                video, tries = self._video(number, key.epoch, bad)
                if video is not None:
                    videos.append(video)
                    replaced += tries > 1
            if not videos:
                return _Loaded(None, tuple(bad))
            batch = replace(cast(Any, self._collate(videos)), replaced=replaced)
            return _Loaded(cast(B, batch), tuple(bad))
        except MisfitError as error:
            return _Loaded(None, fatal=str(error))

    def _video(
        self, number: int, epoch: int | None, bad: list[tuple[int, str]]
    ) -> tuple[V | None, int]:
        """One video, in training another in its place, and the number of tries."""
        others = random.Random(f"{self._seed}/{epoch}/{number}")
        most = 1 if epoch is None else MOST_REPLACEMENTS
        for tries in range(1, most + 1):
            try:
                video = self._read(number, epoch)
                if video is not None:
                    return video, tries
            except MisfitError:
                raise
            except DataError as error:
                bad.append((number, str(error)))
            number = others.randrange(self.count)
        return None, most


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


@dataclass(frozen=True, kw_only=True)
class Workers:
    """How many processes read, and how far ahead."""

    num_workers: int
    prefetch_batches: int

    def loader(
        self, items: Items[Any, B], order: _Order, *, num_batches: int, keep: bool
    ) -> Loader[_Loaded[B]]:
        """Prepare to read with them; `keep` lets them live from pass to pass."""
        return Loader(
            items,
            order,
            num_workers=self.num_workers,
            prefetch_batches=self.prefetch_batches,
            num_batches=num_batches,
            keep=keep,
        )


class TrainBatches(Generic[B]):
    """Training batches, epoch by epoch; workers stay alive in between.

    Each epoch holds whole batches: what is left over at its end is dropped, as in 2019, unless it
    is the only batch.
    """

    def __init__(
        self,
        items: Items[Any, B],
        workers: Workers,
        *,
        batch_size: int,
        seed: int,
        rank: int,
        world: int,
        missing: int = 0,
        bad_video_share: float,
    ) -> None:
        """Start the workers.

        Args:
            items: The videos.
            workers: How they are read.
            batch_size: Videos a batch of this process.
            seed: Of the order.
            rank: Number of this process.
            world: How many there are.
            missing: Videos that are not even among the items, for want of features.
            bad_video_share: Of all videos, missing ones too: with more bad ones training stops.
        """
        self._count = items.count
        self._what = items.what
        self._missing = missing
        self._share = bad_video_share
        self._batch_size = batch_size
        self._seed = seed
        self._rank = rank
        self._world = world
        self._order = _Order()
        self._bad: dict[int, str] = {}
        self._loader = workers.loader(
            items, self._order, num_batches=self.batches_per_epoch, keep=True
        )

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this process in one epoch; the same on all."""
        each = -(-self._count // self._world)
        return max(1, each // self._batch_size)

    @property
    def bad_videos(self) -> dict[int, str]:
        """Videos that could not be used so far: number, and why."""
        return dict(self._bad)

    def epoch(self, number: int, *, skip_batches: int = 0) -> Epoch[B]:
        """Batches of one epoch, counted from 0; the first `skip_batches` are not even read.

        All processes order the videos alike; the head is repeated so that they get equally many,
        and process k takes every `world`-th from k on.
        """
        order = np.random.RandomState(seed_of(self._seed, number)).permutation(self._count)
        each = -(-len(order) // self._world)
        mine = order[(np.arange(each) * self._world + self._rank) % len(order)]
        used = mine[: self.batches_per_epoch * self._batch_size]
        return Epoch(self, number, used[skip_batches * self._batch_size :])

    def _read(self, epoch: int, numbers: Numbers) -> Iterator[B]:
        order = self._order
        order.numbers, order.batch_size, order.epoch = numbers, self._batch_size, epoch
        for loaded in self._loader if len(numbers) else ():
            if loaded.fatal:
                raise DataError(loaded.fatal)
            for number, message in loaded.bad:
                self._bad.setdefault(number, message)
            self._check_share()
            if loaded.batch is None:
                why = loaded.bad[-1][1] if loaded.bad else "there was nothing to learn from them"
                raise DataError(
                    f"none of {MOST_REPLACEMENTS} {self._what} tried could be used; the last: {why}"
                )
            yield loaded.batch

    def _check_share(self) -> None:
        total = self._count + self._missing
        num_bad = len(self._bad) + self._missing
        if self._bad and num_bad / total > self._share:
            also = f", {self._missing} of them for want of features" if self._missing else ""
            raise DataError(
                f"{num_bad} of {total} training {self._what} cannot be used{also}, more than "
                f"data.bad_video_share={self._share:g} allows; repair or leave out their files, "
                f"or allow more:\n  {named_few(self._bad)}"
            )


@dataclass(frozen=True)
class Epoch(Generic[B]):
    """One epoch of `TrainBatches`; sized, to be iterated once or more."""

    _source: TrainBatches[B]
    _number: int
    _numbers: Numbers

    def __len__(self) -> int:
        return -(-len(self._numbers) // self._source._batch_size)

    def __iter__(self) -> Iterator[B]:
        return self._source._read(self._number, self._numbers)


class EvalBatches(Generic[B]):
    """Every video once, in order, the last incomplete batch too.

    With several processes each takes a run of neighbouring videos, no video twice; so some may
    have a batch more than others.
    """

    def __init__(
        self,
        items: Items[Any, B],
        workers: Workers,
        *,
        batch_size: int,
        rank: int,
        world: int,
        skip_bad: bool,
    ) -> None:
        """Share out the videos.

        Args:
            items: The videos.
            workers: How they are read.
            batch_size: Videos a batch.
            rank: Number of this process.
            world: How many there are.
            skip_bad: Go on without videos that are damaged, and report them.
        """
        self._items = items
        self._workers = workers
        self._batch_size = batch_size
        self._world = world
        self._skip_bad = skip_bad and items.count > 1
        self._bad: dict[int, str] = {}
        total = items.count
        self._numbers = np.arange(total * rank // world, total * (rank + 1) // world)

    @property
    def skipped(self) -> dict[int, str]:
        """Videos of this process that were left out in the last pass: number, and why."""
        return dict(self._bad)

    def __len__(self) -> int:
        """Batches at most; a batch in which no video can be used is left out."""
        return -(-len(self._numbers) // self._batch_size)

    def __iter__(self) -> Iterator[B]:
        self._bad = {}
        if not len(self._numbers):
            return
        order = _Order()
        order.numbers, order.batch_size = self._numbers, self._batch_size
        ready: B | None = None  # held back, to take news of a batch without videos
        news: tuple[int, ...] = ()
        loader = self._workers.loader(self._items, order, num_batches=len(self), keep=False)
        for loaded in loader:
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
            ready, news = _with_news(loaded.batch, news), ()
        if ready is not None:
            yield _with_news(ready, ready.skipped + news)
        elif self._world == 1:
            raise DataError(
                f"none of the {self._items.what} can be used:\n  {named_few(self._bad)}"
            )


def _with_news(batch: B, skipped: tuple[int, ...]) -> B:
    return cast(B, replace(cast(Any, batch), skipped=skipped))
