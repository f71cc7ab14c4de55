"""When a process of a run dies: who it was, told by those that are left.

The processes of a run wait for one another in every step. When one is killed, the others meet an
error of the network, which does not say why; or on a GPU they wait, for hours. Each process knows
the numbers of the others, and looks them up.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from accelerate import Accelerator
from accelerate.utils import gather_object

from videozoo.engine.run_lock import began_at
from videozoo.errors import counted

_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 4.0  # for the error of the network, which ends a process in order
_DYING_SECONDS = 6.0  # a process that fails leaves the others before it has ended
_NETWORK = re.compile(
    r"gloo|NCCL|Connection (closed|reset|refused)|Broken pipe|Socket|store|ProcessGroup"
    r"|remote process|Timed out|timeout",
    re.IGNORECASE,
)
_WORKER = re.compile(r"DataLoader worker \(pid\(?s?\)? ?([\d, ]+)\)(?: is killed by signal: (.*))?")


@dataclass(frozen=True)
class Rank:
    """One process of a run."""

    number: int
    host: str
    process: int
    began: str | None

    @property
    def is_dead(self) -> bool:
        """Whether it has ended; False on another computer, where this cannot be seen."""
        return self.host == socket.gethostname() and began_at(self.process) != self.began

    def __str__(self) -> str:
        return f"rank {self.number} (process {self.process} on {self.host})"


_ranks: list[Rank] = []
_told = threading.Event()


def register(accelerator: Accelerator) -> None:
    """Let all processes of a run know each other; every process calls it."""
    _ranks.clear()
    if accelerator.num_processes > 1:
        own = os.getpid()
        mine = Rank(accelerator.process_index, socket.gethostname(), own, began_at(own))
        _ranks.extend(gather_object([mine]))


def dead() -> list[Rank]:
    """The processes of this run that have ended on this computer."""
    return [rank for rank in _ranks if rank.is_dead]


def explained(error: BaseException) -> str | None:
    """What an error says if the death of another process is behind it; None for other errors.

    The processes that read data for this one count too.
    """
    found = _WORKER.search(str(error)) if isinstance(error, RuntimeError) else None
    if found is not None:
        return _worker_died(found)
    if len(_ranks) < 2 or not isinstance(error, RuntimeError | ConnectionError | TimeoutError):
        return None
    limit = time.monotonic() + _DYING_SECONDS
    is_network = _NETWORK.search(f"{type(error).__name__} {error}") is not None
    while not (gone := dead()) and is_network and time.monotonic() < limit:
        time.sleep(0.05)
    if not gone and not is_network:
        return None
    _told.set()
    return death(gone)


def death(gone: list[Rank]) -> str:
    """What the death of some processes means; of unknown ones where there are none."""
    if gone:
        who = " and ".join(map(str, gone))
        verb = "has" if len(gone) == 1 else "have"
    else:
        who, verb = f"another of the {counted(len(_ranks), 'process')} of this run", "has"
    return (
        f"{who} {verb} ended, and the others cannot go on without: killed, perhaps for want of "
        "memory, unless an error of its own says why"
    )


@contextmanager
def watched(advice: str) -> Generator[None]:
    """Within the block, this process ends soon after another of its run, even if it waits for it.

    Args:
        advice: What to do then.
    """
    if len(_ranks) < 2:
        yield
        return
    stop = threading.Event()
    watch = threading.Thread(target=_watch, args=(stop, advice), daemon=True)
    watch.start()
    try:
        yield
    finally:
        stop.set()


def _watch(stop: threading.Event, advice: str) -> None:
    while not stop.wait(_LOOK_SECONDS):
        if gone := dead():
            if not stop.wait(_GRACE_SECONDS) and not _told.is_set():
                print(f"videozoo: {death(gone)}; {advice}", file=sys.stderr, flush=True)
                os._exit(1)  # the process waits inside a library, where no error can reach it
            return


def _worker_died(found: re.Match[str]) -> str:
    process, signal = found.group(1).strip(), (found.group(2) or "").strip(" .")
    ended = f"was killed ({signal})" if signal else "ended"
    if "bus error" in signal.lower() or "Bus error" in found.string:
        why = "memory shared by processes (/dev/shm) is full: give it more, or read with fewer"
    elif signal in ("", "Killed"):
        why = "the system does so where memory runs out: free some, or read with fewer"
    else:
        why = "a library that decodes may have crashed on a file (`videozoo check-data` finds it)"
        return f"a process that reads data (process {process}) {ended}: {why}"
    return (
        f"a process that reads data (process {process}) {ended}: {why} processes "
        "(--set data.num_workers=N) or smaller batches"
    )
