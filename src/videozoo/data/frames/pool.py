"""Call a function on many inputs, in processes that may hang or crash.

`concurrent.futures` gives up when one of its processes dies. Here only the input that killed it is
lost, and one that takes too long is ended.
"""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Literal, TypeVar, cast

from videozoo.errors import DataError

Job = TypeVar("Job")

_START_SECONDS = 300.0  # a process only imports; on a busy disk that too may take long


@dataclass(frozen=True)
class Outcome:
    """The result of one input."""

    value: Any = None
    failure: Literal["", "hung", "crashed"] = ""
    """`crashed`: the process died, or the function raised."""
    reason: str = ""


def run_apart(
    function: Callable[[Job], Any],
    jobs: Iterable[Job],
    *,
    workers: int,
    limit_seconds: Callable[[Job], float],
) -> Iterator[tuple[Job, Outcome]]:
    """Call `function` on each of `jobs`, `workers` at a time.

    Args:
        function: Can be imported by name; so can its argument and result be pickled.
        jobs: Drawn one by one, as processes become free.
        workers: Processes, at least 1. They are started when there is something to do.
        limit_seconds: How long a job may take.

    Yields:
        A job and its outcome, as they are done, not in order.

    Raises:
        DataError: A process cannot be started at all.
    """
    rest = iter(jobs)
    pool: list[_Worker[Job]] = []
    try:
        for job in rest:  # a process is started only for a job that is there
            pool.append(_Worker(function, job))
            if len(pool) == workers:
                break
        while pool:
            nearest = min(worker.deadline for worker in pool)
            wait([worker.link for worker in pool], max(0.0, nearest - time.monotonic()))
            for place, worker in enumerate(list(pool)):
                outcome = worker.look(limit_seconds)
                if outcome is None:
                    continue
                yield worker.job, outcome
                following = next(rest, _NOTHING)
                if following is _NOTHING:
                    worker.stop()
                    pool[place] = cast(Any, None)
                elif outcome.failure and not worker.is_alive:
                    pool[place] = _Worker(function, cast(Job, following))
                else:
                    worker.give(cast(Job, following), limit_seconds)
            pool = [worker for worker in pool if cast(Any, worker) is not None]
    finally:
        for worker in pool:
            if cast(Any, worker) is not None:
                worker.stop()


_NOTHING = object()


class _Worker(Generic[Job]):
    """One process and the job it has."""

    def __init__(self, function: Callable[[Job], Any], job: Job) -> None:
        context = multiprocessing.get_context("spawn")  # the same everywhere, and safe with threads
        self.link, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, function), daemon=True)
        self._process.start()
        other.close()
        self.job = job
        self._is_ready = False
        self.is_alive = True
        self.deadline = time.monotonic() + _START_SECONDS

    def give(self, job: Job, limit_seconds: Callable[[Job], float]) -> None:
        """Hand over the next job."""
        self.job = job
        self.deadline = time.monotonic() + limit_seconds(job)
        with suppress(OSError):  # it died; `look` will see
            self.link.send(job)

    def look(self, limit_seconds: Callable[[Job], float]) -> Outcome | None:
        """The outcome of the job, if there is one by now."""
        try:
            if self.link.poll():
                answer: Outcome | None = self.link.recv()
                if answer is None:  # it is up
                    self._is_ready = True
                    self.give(self.job, limit_seconds)
                return answer
        except (EOFError, OSError):
            self._process.join()
            status = self._process.exitcode or 0
            self.stop()
            if not self._is_ready:
                raise DataError(
                    f"a process to read videos cannot be started (exit status {status}); "
                    "`videozoo doctor` may tell why"
                ) from None
            return Outcome(failure="crashed", reason=_why_dead(status))
        if time.monotonic() < self.deadline:
            return None
        self.stop()
        if not self._is_ready:
            raise DataError(f"a process to read videos did not start in {_START_SECONDS:.0f} s")
        return Outcome(failure="hung", reason=f"no answer in {limit_seconds(self.job):g} s")

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.is_alive = False
        self._process.kill()
        self._process.join()
        self.link.close()


def _why_dead(status: int) -> str:
    if status < 0:
        name = signal.Signals(-status).name if -status in set(signal.Signals) else f"{-status}"
        memory = "; was the machine out of memory?" if name == "SIGKILL" else ""
        return f"reading it ended the process (signal {name}{memory})"
    return f"reading it ended the process (exit status {status})"


def _serve(link: Connection, function: Callable[[Any], Any]) -> None:
    """What a process does: answer jobs until the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the main process's to answer
    with suppress(EOFError, OSError):
        link.send(None)
        while True:
            job = link.recv()
            try:
                outcome = Outcome(function(job))
            except Exception as error:  # what it raises is news about this job only
                outcome = Outcome(failure="crashed", reason=f"{type(error).__name__}: {error}")
            link.send(outcome)
