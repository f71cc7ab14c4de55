"""What loaders with worker processes have in common."""

from __future__ import annotations

import atexit
import os
import signal
import weakref
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.util import Finalize
from typing import Any, Generic, Self, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from videozoo.errors import few

MOST_REPLACEMENTS = 20
"""Tries in a row before data counts as unreadable."""

L = TypeVar("L")


class DeviceBatch:
    """A batch whose tensors go to a device together."""

    def to(self, device: torch.device | str) -> Self:
        """The same batch on a device; the copy overlaps with other work where memory is pinned."""
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> Self:
        """The same batch in memory that a GPU can fetch by itself."""
        return self._each(lambda tensor: tensor.pin_memory())

    def _each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The same batch with every tensor that a device needs changed."""
        raise NotImplementedError


class Loader(Generic[L]):
    """Passes over a data set, read by worker processes that never outlive their use.

    They end with a pass that is given up, with this object, and with the process, however it ends.
    """

    def __init__(
        self,
        items: Dataset[Any],
        order: Sampler[Any],
        *,
        num_workers: int,
        prefetch_batches: int,
        num_batches: int,
        keep: bool,
        collate: Callable[[Any], L] | None = None,
    ) -> None:
        """Prepare to read; workers start with the first pass.

        Args:
            items: What is read, by key.
            order: The keys of the next pass.
            num_workers: At most; never more than there are cores or batches. 0 reads in this
                process.
            prefetch_batches: Each worker prepares so many ahead.
            num_batches: Of a pass.
            keep: Workers live from one pass to the next.
            collate: From items to a batch, where a key of `order` is a list of keys of `items`.
                By default each item is a batch.
        """
        workers = min(num_workers, num_cores(), num_batches)
        how: dict[str, Any] = {"batch_size": None, "sampler": order, "collate_fn": _as_it_is}
        if collate is not None:
            how = {"batch_sampler": order, "collate_fn": collate}
        self._loader = cast(Any, DataLoader)(
            items,
            num_workers=workers,
            prefetch_factor=prefetch_batches if workers else None,
            persistent_workers=keep and workers > 0,
            pin_memory=torch.cuda.is_available(),
            worker_init_fn=start_worker,
            generator=torch.Generator().manual_seed(0),  # or it would draw from torch's global one
            **how,
        )
        self._keep = keep
        self._passes = 0
        self._finalizer: Finalize | None = None

    def __iter__(self) -> Iterator[L]:
        reading: Any = iter(self._loader)
        self._passes += 1
        number = self._passes
        if self._loader.num_workers and (self._finalizer is None or not self._keep):
            # Called when this object goes; and at the end of processes that multiprocessing
            # started, before it waits for their children.
            self._finalizer = Finalize(self, _stop_workers, (reading,), exitpriority=100)
            _LOADERS.add(self)
        is_whole = False
        try:
            yield from reading
            is_whole = True
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


_LOADERS: weakref.WeakSet[Loader[Any]] = weakref.WeakSet()


def _stop_all() -> None:
    for loader in list(_LOADERS):
        loader.stop()


# Runs before what torch.utils.data and multiprocessing, imported above, do at the end: the first
# gives up its workers, the second waits for them for ever.
atexit.register(_stop_all)


def _stop_workers(reading: Any) -> None:
    reading._shutdown_workers()
    for worker in reading._workers:
        if worker.is_alive():  # it is busy, and leaves the first SIGTERM to others
            worker.kill()
            worker.join()


def _as_it_is(loaded: Any) -> Any:
    return loaded


def start_worker(_: int) -> None:
    """Make a worker one that leaves cores and signals to others."""
    torch.set_num_threads(1)  # workers share the cores
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    # So is SIGTERM: torchrun and schedulers send it to every process of a run, once, and the main
    # process still wants to save. One more comes from the main process if it cannot wait.
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))


def num_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def named_few(bad: Mapping[int, str]) -> str:
    """The first of many problems, a line each."""
    return few(bad.values(), between="\n  ")
