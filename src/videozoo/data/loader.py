"""The loader: passes over videos in batches, read by worker processes.

A dataset says what a video is and how videos become a batch (`VideoDataset`); this file decides who
reads which video when, and handles bad videos. The order of an epoch and what is drawn for a video
depend on the seed, the epoch and the number of the video only: not on the number of workers, and
not on whether the run was interrupted.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import random
import signal
import socket
import stat
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from videozoo.errors import DataError, MisfitError, counted, few

MOST_REPLACEMENTS = 20
"""Tries in a row before data counts as unreadable."""
Numbers = NDArray[np.int64]


def seed_of(*key: int) -> int:
    """32 bits that depend on `key` alone, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4], "big")


def share_of(order: Numbers, *, rank: int, world: int) -> Numbers:
    """The share of process `rank` in an order: every `world`-th item from `rank` on.

    The head is repeated so that all get equally many.

    >>> [share_of(np.array([7, 5, 6]), rank=rank, world=2).tolist() for rank in (0, 1)]
    [[7, 6], [5, 7]]
    """
    each = -(-len(order) // world)
    return order[(np.arange(each) * world + rank) % len(order)]


def share_by_video(videos: Sequence[int], rank: int, world: int) -> Numbers:
    """The share of one of `world` processes in items of videos, no video in two shares.

    Args:
        videos: The video of each item; items of a video are neighbours.
        rank: Number of the process.
        world: How many there are.

    >>> [share_by_video([0, 0, 0, 2, 2, 5], rank, 2).tolist() for rank in (0, 1)]
    [[0, 1, 2], [3, 4, 5]]
    """
    names = list(dict.fromkeys(videos))
    total = len(names)
    mine = set(names[total * rank // world : total * (rank + 1) // world])
    return np.array([item for item, video in enumerate(videos) if video in mine], np.int64)


# --- what is read ----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some videos, or parts of videos, whose tensors go to a device together."""

    replaced: int = 0
    """Training: number of items that replace unusable ones."""
    skipped: tuple[int, ...] = ()
    """Evaluation: numbers of the videos skipped since the last batch."""
    damaged: Mapping[int, str] = field(default_factory=dict[int, str])
    """Evaluation: videos that do not decode completely, and why."""
    epoch: int | None = None
    """Training: the number of its epoch, from 0."""
    place: int = 0
    """Its place in the epoch, from 0."""

    on_device: ClassVar[tuple[str, ...]]
    """Names of the fields whose tensors a device needs."""

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device; the copy overlaps with other work where memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same batch in pinned memory."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        changed = {name: _changed(getattr(self, name), change) for name in self.on_device}
        return replace(self, **changed)


def _changed(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A tensor, a tuple of tensors, tensors by name, or None."""
    if isinstance(value, tuple):
        return tuple(_changed(one, change) for one in cast("tuple[Any, ...]", value))
    if isinstance(value, Mapping):
        named_tensors = cast("Mapping[str, Any]", value)
        return {name: _changed(one, change) for name, one in named_tensors.items()}
    return None if value is None else change(value)


V = TypeVar("V")
B = TypeVar("B", bound=Batch)


@dataclass(frozen=True)
class Missing:
    """Videos without features."""

    names: tuple[str, ...] = ()
    total: int = 0
    """Number of all videos, including these."""
    source: Path = Path()
    """Where their features should be."""
    num_items: int = 0
    """Items that they would be, where these are known; they count as bad ones."""


class NothingToLearnError(DataError):
    """An item teaches nothing this time; it is left out, and does not count as bad."""


class VideoDataset(Dataset[V], ABC, Generic[V, B]):
    """Videos, or parts of videos, by number; and how some of them become a batch.

    `TrainLoader` and `EvalLoader` read it. So does torch's own, with `collate_fn=dataset.collate`;
    then set `epoch` before each pass over training data.
    """

    item: ClassVar[str] = "video"
    """Name of one item in messages."""
    usable: ClassVar[str] = "used"
    """Word in messages: an item cannot be ..."""
    remedy: ClassVar[str] = "repair or leave out their files"
    """Advice about bad items."""
    error: ClassVar[type[DataError]] = DataError
    """The error for a bad item in evaluation."""
    rows_per_item: int = 1
    """Rows of a batch per item."""
    missing: Missing = Missing()
    """Videos without features, which are not among the items."""
    seed: int = 0
    """Seed of the order and of all random draws."""
    epoch: int | None = None
    """What `dataset[number]` draws depends on it; None: as in evaluation."""

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> V:
        return self.read(index, self.epoch)

    @abstractmethod
    def read(self, number: int, epoch: int | None) -> V:
        """Read an item; `epoch` is None in evaluation.

        Raises:
            MisfitError: The data do not fit the model: nothing will help.
            NothingToLearnError: There is nothing to learn from in it this time.
            DataError: It is damaged.
        """

    @abstractmethod
    def collate(self, items: Sequence[V]) -> B:
        """Put items together."""

    def order(self, epoch: int) -> Numbers:
        """All numbers in the order of an epoch, the same in every process."""
        return np.random.RandomState(seed_of(self.seed, epoch)).permutation(len(self))

    def check_training(self, bad_video_share: float) -> None:
        """Raise DataError if too many training videos have no features."""
        lost = self.missing
        if len(lost.names) > bad_video_share * lost.total:
            raise DataError(
                f"{lost.source}: {len(lost.names)} of {lost.total} training videos have no "
                f"features here, more than data.bad_video_share={bad_video_share:g} allows; add "
                f"them, or allow more: {few(lost.names)}"
            )

    def check_complete(self) -> None:
        """Raise DataError if a video of the evaluation has no features."""
        lost = self.missing
        if lost.names:
            raise DataError(
                f"{lost.source}: {len(lost.names):,} of {counted(lost.total, 'video')} have no "
                f"features here: {few(lost.names)}; add them, or leave out --strict"
            )

    # Where an item is one of several views of a video:

    @property
    def num_videos(self) -> int:
        """How many videos there are."""
        return len(self)

    def video_of(self, number: int) -> int:
        """Number of the video that an item shows."""
        return number

    def share(self, rank: int, world: int) -> Numbers:
        """The share of one of `world` processes in evaluation, no item twice; by default
        neighbours."""
        total = len(self)
        return np.arange(total * rank // world, total * (rank + 1) // world)

    def without(self, batch: B, videos: Mapping[int, str]) -> B | None:
        """A batch without some videos; None where nothing is left."""
        return batch


class LoaderSettings(Protocol):
    """How a dataset is read; the `data:` section of every task has these settings."""

    @property
    def num_workers(self) -> int:
        """Processes that read; 0 reads in this one."""
        ...

    @property
    def prefetch_batches(self) -> int:
        """Batches that each worker prepares ahead."""
        ...

    @property
    def bad_video_share(self) -> float:
        """Training stops when more than this share of the videos cannot be used."""
        ...


@dataclass(frozen=True, kw_only=True)
class Reading:
    """`LoaderSettings` for datasets without a section of their own."""

    num_workers: int = 0
    prefetch_batches: int = 2
    bad_video_share: float = 0.0


# --- passes ----------------------------------------------------------------------------------


class TrainLoader(Generic[B]):
    """Training batches, epoch by epoch; workers stay alive in between.

    Each epoch holds whole batches: what is left over at its end is dropped, as in the 2019
    library, unless it is the only batch.
    """

    def __init__(
        self,
        dataset: VideoDataset[Any, B],
        settings: LoaderSettings | None = None,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Prepare to read; workers start with the first epoch.

        Args:
            dataset: What is read; its seed is that of the order.
            settings: How, such as the `data:` section of a run. By default in this process, and
                the first bad video is an error.
            batch_size: Items per batch of this process.
            rank: Number of this process.
            world: How many there are.

        Raises:
            DataError: Too many videos have no features, or there is nothing to learn from.
        """
        settings = settings or Reading()
        dataset.check_training(settings.bad_video_share)
        self.dataset = dataset
        self._settings = settings
        self._batch_size = batch_size
        self._rank, self._world = rank, world
        self._bad: dict[int, str] = {}
        self._absent: dict[int, Path | None] = {}
        self._passes = _Passes(dataset, settings, num_batches=self.batches_per_epoch, keep=True)

    @property
    def batches_per_epoch(self) -> int:
        """Batches of this process in one epoch; the same on all."""
        each = -(-len(self.dataset) // self._world)
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
        mine = share_of(self.dataset.order(number), rank=self._rank, world=self._world)
        used = mine[: self.batches_per_epoch * self._batch_size]
        return Epoch(self, _keys(used, self._batch_size, number)[skip_batches:])

    def _read(self, keys: Sequence[_Key]) -> Iterator[B]:
        for loaded in self._passes.read(keys):
            for number, message, absent in loaded.bad:
                # from the length of the dataset on, numbers are the same items once more
                number %= len(self.dataset)
                if number not in self._bad:
                    self._bad[number], self._absent[number] = message, absent
            self._check_share()
            if loaded.batch is None:
                why = loaded.bad[-1][1] if loaded.bad else "there was nothing to learn from them"
                raise DataError(
                    f"no {self.dataset.item} could be {self.dataset.usable} in "
                    f"{MOST_REPLACEMENTS} tries; the last: {why}"
                )
            yield loaded.batch

    def _check_share(self) -> None:
        dataset, allowed = self.dataset, self._settings.bad_video_share
        num_missing = dataset.missing.num_items
        num_bad, total = len(self._bad) + num_missing, len(dataset) + num_missing
        if self._bad and num_bad / total > allowed:
            also = f", {num_missing} of them for want of features" if num_missing else ""
            if gone := _gone_folder(self._absent.values()):
                raise DataError(
                    f"{gone}: the folder of the data is gone: removed, renamed, or on a disk that "
                    "is no longer there; bring it back"
                )
            raise DataError(
                f"{num_bad} of {total} training {dataset.item}s cannot be {dataset.usable}{also}, "
                f"more than data.bad_video_share={allowed:g} allows; {dataset.remedy}, or allow "
                "more:\n  " + few(self._bad.values(), between="\n  ")
            )


def _gone_folder(absent: Iterable[Path | None]) -> Path | None:
    """The folder of files that are not there, if it is gone too and none is missing elsewhere."""
    folders = {None if path is None else path.parent for path in absent}
    folder = folders.pop()
    if folders or folder is None or folder in (Path(), folder.parent):
        return None
    return None if folder.exists() else folder


@dataclass(frozen=True)
class Epoch(Generic[B]):
    """One epoch of a `TrainLoader`; sized, to be iterated once or more."""

    _loader: TrainLoader[B]
    _keys: Sequence[_Key]

    def __len__(self) -> int:
        return len(self._keys)

    def __iter__(self) -> Iterator[B]:
        return self._loader._read(self._keys)


class EvalLoader(Generic[B]):
    """Every item once, in order, including the last incomplete batch.

    With several processes no item is read twice; some may have a batch more than others.
    """

    def __init__(
        self,
        dataset: VideoDataset[Any, B],
        settings: LoaderSettings | None = None,
        *,
        batch_size: int,
        rank: int = 0,
        world: int = 1,
        skip_bad: bool = False,
    ) -> None:
        """Share out the items; nothing is read yet.

        Args:
            dataset: What is read.
            settings: How, such as the `data:` section of a run. By default in this process.
            batch_size: Rows per batch.
            rank: Number of this process.
            world: How many there are.
            skip_bad: Go on without videos that are damaged or have no features; `skipped` and
                `dataset.missing` tell which.

        Raises:
            DataError: A video has no features, and `skip_bad` does not allow it.
        """
        if not skip_bad:
            dataset.check_complete()
        self.dataset = dataset
        self._settings = settings or Reading()
        self._skip_bad = skip_bad and dataset.num_videos > 1
        self._is_alone = world == 1
        self._bad: dict[int, str] = {}
        size = max(1, batch_size // dataset.rows_per_item)
        self._keys = _keys(dataset.share(rank, world), size)

    @property
    def skipped(self) -> dict[int, str]:
        """Videos of this process that were left out in the last pass: number, and why."""
        return dict(self._bad)

    def __len__(self) -> int:
        """Largest number of batches; a batch without usable videos is left out."""
        return len(self._keys)

    def __iter__(self) -> Iterator[B]:
        self._bad = {}
        dataset = self.dataset
        ready: B | None = None  # held back, to take news of a batch without videos
        news: tuple[int, ...] = ()
        passes = _Passes(dataset, self._settings, num_batches=len(self), keep=False)
        for loaded in passes.read(self._keys):
            for number, message, _ in loaded.bad:
                if not self._skip_bad:
                    raise dataset.error(message)
                video = dataset.video_of(number)
                if video not in self._bad:
                    self._bad[video] = message
                    news += (video,)
            batch = loaded.batch
            if batch is not None:
                batch = dataset.without(batch, self._bad)
            if batch is None:
                continue
            if ready is not None:
                yield ready
            ready, news = replace(batch, skipped=news), ()
        if ready is not None:
            yield replace(ready, skipped=ready.skipped + news)
        elif self._keys and self._is_alone:
            raise DataError(
                f"none of the {dataset.item}s can be {dataset.usable}:\n  "
                + few(self._bad.values(), between="\n  ")
            )


@dataclass(frozen=True)
class _Key:
    """A batch to read."""

    numbers: Numbers
    epoch: int | None
    """None in evaluation."""
    place: int


def _keys(numbers: Numbers, size: int, epoch: int | None = None) -> list[_Key]:
    starts = range(0, len(numbers), size)
    return [_Key(numbers[start : start + size], epoch, n) for n, start in enumerate(starts)]


_Bad = tuple[int, str, Path | None]
"""Number of an item that cannot be used, why, and the file that is not there, if that is why."""


@dataclass(frozen=True)
class _Loaded(Generic[B]):
    """The message of a worker; errors are sent as text."""

    batch: B | None
    """None where no item could be used."""
    bad: tuple[_Bad, ...] = ()
    fatal: str | None = None

    def pin_memory(self) -> _Loaded[B]:
        return self if self.batch is None else replace(self, batch=self.batch.pin_memory())


class _Batches(Dataset[_Loaded[B]], Generic[V, B]):
    """Batches of a dataset by their keys."""

    def __init__(self, dataset: VideoDataset[V, B]) -> None:
        self._dataset = dataset

    def __getitem__(self, key: _Key) -> _Loaded[B]:
        items: list[V] = []
        bad: list[_Bad] = []
        replaced = 0
        try:
            for number in key.numbers.tolist():
                found, tries = self._item(number, key.epoch, bad)
                items += found
                replaced += bool(found) and tries > 1
            if not items:
                return _Loaded(None, tuple(bad))
            batch = self._dataset.collate(items)
            batch = replace(batch, replaced=replaced, epoch=key.epoch, place=key.place)
            return _Loaded(batch, tuple(bad))
        except MisfitError as error:
            return _Loaded(None, fatal=str(error))

    def _item(self, number: int, epoch: int | None, bad: list[_Bad]) -> tuple[list[V], int]:
        """One item or none, in training another in its place, and the number of tries."""
        others: random.Random | None = None  # made when needed: it costs as much as a short video
        first = number
        most = 1 if epoch is None else MOST_REPLACEMENTS
        for tries in range(1, most + 1):
            try:
                return [self._dataset.read(number, epoch)], tries
            except MisfitError:
                raise
            except NothingToLearnError:
                pass
            except DataError as error:
                bad.append((number, str(error), error.absent))
            others = others or random.Random(f"{self._dataset.seed}/{epoch}/{first}")
            number = others.randrange(len(self._dataset))
        return [], most


# --- worker processes ------------------------------------------------------------------------


class _Order(Sampler[_Key]):
    """The batches of one pass; set before each."""

    def __init__(self) -> None:
        self.keys: Sequence[_Key] = ()

    def __iter__(self) -> Iterator[_Key]:
        return iter(self.keys)

    def __len__(self) -> int:
        return len(self.keys)


class _Passes(Generic[B]):
    """Passes over a dataset by worker processes, which end with their last user.

    They end with a pass that is given up, with this object, and with the process, however it ends.
    """

    def __init__(
        self,
        dataset: VideoDataset[Any, B],
        settings: LoaderSettings,
        *,
        num_batches: int,
        keep: bool,
    ) -> None:
        """Prepare to read; workers start with the first pass.

        Args:
            dataset: What is read.
            settings: How; never with more workers than there are cores or batches.
            num_batches: Of a pass.
            keep: Workers live from one pass to the next.
        """
        workers = min(settings.num_workers, num_cores(), num_batches)
        self._order = _Order()
        self._loader = cast(Any, DataLoader)(
            _Batches(dataset),
            batch_size=None,
            sampler=self._order,
            collate_fn=_as_it_is,
            num_workers=workers,
            prefetch_factor=settings.prefetch_batches if workers else None,
            persistent_workers=keep and workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=_start_worker,
            generator=torch.Generator().manual_seed(0),  # or it would draw from torch's global one
        )
        self._keep = keep
        self._passes = 0
        self._finalizer: Finalize | None = None

    def read(self, keys: Sequence[_Key]) -> Iterator[_Loaded[B]]:
        """Read some batches.

        Raises:
            DataError: The data do not fit the model.
        """
        if not keys:
            return
        self._order.keys = keys
        reading: Any = iter(self._loader)
        self._passes += 1
        number = self._passes
        if self._loader.num_workers and (self._finalizer is None or not self._keep):
            # Called when this object goes; and at the end of processes that multiprocessing
            # started, before it waits for their children.
            self._finalizer = Finalize(self, _stop_workers, (reading,), exitpriority=100)
            _PASSES.add(self)
        is_whole = False
        try:
            for loaded in reading:
                if loaded.fatal:
                    raise DataError(loaded.fatal)
                yield loaded
            is_whole = True
        except (RuntimeError, OSError, EOFError) as error:
            raise _worker_error(reading) or error from None
        finally:
            is_newest = number == self._passes  # or the workers are another pass's by now
            if is_newest and not (is_whole and self._keep):
                self.stop()

    def stop(self) -> None:
        """End the workers; the next pass starts others."""
        finalizer, self._finalizer = self._finalizer, None
        self._loader._iterator = None
        if finalizer is not None:
            finalizer()


_PASSES: weakref.WeakSet[_Passes[Any]] = weakref.WeakSet()


def _stop_all() -> None:
    for passes in list(_PASSES):
        passes.stop()


# Runs before what torch.utils.data and multiprocessing, imported above, do at the end: the first
# gives up its workers, the second waits for them for ever.
atexit.register(_stop_all)


def _stop_workers(reading: Any) -> None:
    reading._shutdown_workers()
    for worker in reading._workers:
        if worker.is_alive():  # it is busy, and leaves the first SIGTERM to others
            worker.kill()
            worker.join()


def _worker_error(reading: Any) -> RuntimeError | None:
    """What PyTorch says when a worker was killed; it may also fail while it talks to one."""
    for worker in getattr(reading, "_workers", ()):
        worker.join(0.2)
        if worker.exitcode is not None and worker.exitcode < 0:
            name = signal.strsignal(-worker.exitcode)
            return RuntimeError(f"DataLoader worker (pid {worker.pid}) is killed by signal: {name}")
    return None


def _as_it_is(loaded: Any) -> Any:
    return loaded


def _start_worker(_: int) -> None:
    """Set up a worker: one thread; signals and the network are left to the main process."""
    torch.set_num_threads(1)  # workers share the cores
    _close_inherited_connections()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    if hasattr(signal, "SIGHUP"):  # so is a terminal that is closed
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # So is SIGTERM: torchrun and schedulers send it to every process of a run, once, and the main
    # process still wants to save. One more comes from the main process if it cannot wait.
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))


def _close_inherited_connections() -> None:
    """Close the main process's connections of the network, of which a fork has copies.

    A connection ends with its last copy. Workers live on for up to five seconds when the main
    process of a rank is killed, and as long the other ranks would not notice.
    """
    folder = Path("/proc/self/fd")
    if not folder.exists():  # no Linux: workers are not forked there
        return
    for number in [int(path.name) for path in folder.iterdir()]:
        with suppress(OSError):
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as connection:
                    is_of_the_network = connection.family in (socket.AF_INET, socket.AF_INET6)
                if is_of_the_network:
                    os.close(number)


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
