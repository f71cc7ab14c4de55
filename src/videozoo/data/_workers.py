"""What loaders with worker processes have in common."""

import os
import signal
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor

MOST_REPLACEMENTS = 20
"""Tries in a row before data counts as unreadable."""
_MOST_NAMED = 5  # videos that an error spells out


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
    messages = list(bad.values())[:_MOST_NAMED]
    if len(bad) > _MOST_NAMED:
        messages.append(f"and {len(bad) - _MOST_NAMED} more")
    return "\n  ".join(messages)
