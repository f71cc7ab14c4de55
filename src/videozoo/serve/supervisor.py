"""Worker processes: started, fed with jobs, watched, and ended when they take too long."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from videozoo.errors import RunError, WeightsError
from videozoo.serve.limits import Limits
from videozoo.serve.metrics import Metrics
from videozoo.serve.store import Job, JobStore

_START_SECONDS = 300.0
_MOST_LINE = 2**24
_PAUSE_SECONDS = 5.0
"""Before a worker that could not start is started again."""


class Changes:
    """Wakes those who wait for news of a job, or for a job to do."""

    def __init__(self) -> None:
        self._events: dict[str, set[asyncio.Event]] = defaultdict(set)

    def tell(self, *about: str) -> None:
        """Wake all who wait for one of these."""
        for name in about:
            for event in self._events.get(name, ()):
                event.set()

    @asynccontextmanager
    async def heard(self, about: str) -> AsyncGenerator[asyncio.Event]:
        """An event that is set with every change."""
        event = asyncio.Event()
        self._events[about].add(event)
        try:
            yield event
        finally:
            self._events[about].discard(event)
            if not self._events[about]:
                del self._events[about]


ANY = ""
"""What `Changes` tells when a job waits."""


class Supervisor:
    """Gives the jobs of a store to worker processes, one job at a time each."""

    def __init__(
        self,
        store: JobStore,
        weights: Sequence[str],
        limits: Limits,
        metrics: Metrics,
        *,
        labels: str | None = None,
        device: str = "auto",
        workers: int = 1,
        command: Sequence[str] = (sys.executable, "-m", "videozoo.serve.worker"),
    ) -> None:
        self.models: list[dict[str, Any]] = []
        """What the worker says of its models, once it has loaded them."""
        self.changes = Changes()
        self.problem: str | None = None
        """Why no worker could be started again; None: they work."""
        self._store, self._limits = store, limits
        self._start = {
            "weights": list(weights),
            "labels": labels,
            "device": device,
            "memory_mb": limits.memory_mb,
        }
        self._metrics, self._command = metrics, list(command)
        self._running: dict[str, asyncio.subprocess.Process] = {}
        self._removed: set[str] = set()
        self._workers = workers
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Load the models in the first worker process, then take jobs.

        Raises:
            WeightsError: A model cannot be loaded.
        """
        first = await self._launch()
        self._tasks = [
            asyncio.create_task(self._serve(first if number == 0 else None))
            for number in range(self._workers)
        ]
        self._tasks.append(asyncio.create_task(self._expire()))

    async def stop(self) -> None:
        """End all worker processes; jobs that run are done again after the next start."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def queue(self, job: Job) -> Job:
        """Add a job."""
        self._store.add(job)
        self.changes.tell(ANY)
        return job

    def remove(self, job: str) -> bool:
        """Remove a job; one that runs is stopped."""
        process = self._running.get(job)
        if process is not None:
            self._removed.add(job)
            _kill(process)
        was_there = self._store.remove(job)
        self.changes.tell(job)
        return was_there

    # --- one worker ------------------------------------------------------------------------------

    async def _launch(self) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_MOST_LINE,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
            start_new_session=True,  # Ctrl-C is for the server, which ends it
        )
        try:
            await _tell(process, self._start)
            said = await asyncio.wait_for(_hear(process), _START_SECONDS)
        except (TimeoutError, OSError):
            said = None
        except BaseException:
            await _end(process)
            raise
        if said is not None and said["event"] == "ready":
            self.models, self.problem = said["models"], None
            return process
        await _end(process)
        if said is not None:
            raise WeightsError(said["why"])
        raise RunError("the process that loads the models ended or did not answer; see above")

    async def _serve(self, process: asyncio.subprocess.Process | None) -> None:
        """Take jobs until the server stops."""
        try:
            async with self.changes.heard(ANY) as wake:
                while True:
                    if process is None or process.returncode is not None:
                        try:
                            process = await self._launch()
                        except (WeightsError, RunError) as error:
                            self.problem = str(error)
                            print(f"videozoo serve: {error}", file=sys.stderr)
                            await asyncio.sleep(_PAUSE_SECONDS)
                            continue
                    wake.clear()
                    job = self._store.start_next()
                    if job is None:
                        await _first_of(wake.wait(), process.wait())
                        continue
                    if not await self._do(process, job):
                        await _end(process)
                        process = None
        finally:
            if process is not None:
                await _end(process)

    async def _do(self, process: asyncio.subprocess.Process, job: Job) -> bool:
        """Do a job; returns whether the process is still of use."""
        self._running[job.id] = process
        self.changes.tell(job.id)
        started = time.monotonic()
        usable, is_answered = True, False
        error: str | None = None
        steps: dict[str, Any] = {}
        try:
            await _tell(process, self._task_of(job))
            async with asyncio.timeout(self._limits.job_seconds):
                while True:
                    said = await _hear(process)
                    if said is None:
                        usable, error = False, _death(await process.wait())
                        break
                    usable = not said.get("is_last", False)
                    if said.get("id") != job.id:
                        continue
                    if said["event"] == "progress":
                        steps = {key: said[key] for key in ("done", "of", "what")}
                        self._store.change(job.id, progress=steps)
                        self.changes.tell(job.id)
                    else:
                        error, is_answered = said.get("why"), True
                        break
        except TimeoutError:
            usable, error = False, f"took longer than {self._limits.job_seconds:g} s"
        except OSError:
            usable, error = False, _death(await process.wait())
        finally:
            del self._running[job.id]
        is_untouched = not (usable or is_answered or steps) and process.returncode is not None
        if is_untouched and job.id not in self._removed and self._store.start_again(job.id):
            return False  # the process had died before, of something else
        if error is None:
            steps = {**steps, "done": steps["of"]} if steps else {}
        self._finish(job, error, steps, time.monotonic() - started)
        return usable

    def _finish(
        self, job: Job, error: str | None, steps: Mapping[str, Any], seconds: float
    ) -> None:
        if job.id in self._removed:  # its folder may have been written to since
            self._removed.discard(job.id)
            self._store.remove(job.id)
            return
        has_answers = error is None or job.has_answers
        self._store.change(
            job.id,
            state="done" if error is None else "failed",
            error=error,
            progress=steps,
            ended=time.time(),
            has_answers=has_answers,
        )
        self._metrics.job_over(ok=error is None, seconds=seconds)
        self.changes.tell(job.id)

    def _task_of(self, job: Job) -> dict[str, Any]:
        folder = self._store.folder_of(job.id)
        return {
            "id": job.id,
            "name": job.name,
            "video": job.video,
            "folder": str(folder),
            "work": job.work,
            "sentences": list(job.sentences),
            "every_seconds": job.every_seconds,
            "annotate": job.annotate,
            "seconds_limit": self._limits.video_seconds,
            "megapixels_limit": self._limits.video_megapixels,
        }

    async def _expire(self) -> None:
        while True:
            for job in self._store.expire(self._limits.keep_hours):
                self.changes.tell(job)
            await asyncio.sleep(60)


# --- processes -----------------------------------------------------------------------------------


async def _tell(process: asyncio.subprocess.Process, told: Mapping[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(f"{json.dumps(told)}\n".encode())
    await process.stdin.drain()


async def _hear(process: asyncio.subprocess.Process) -> dict[str, Any] | None:
    """What the process says next; None where it has ended."""
    assert process.stdout is not None
    line = await process.stdout.readline()
    return json.loads(line) if line.endswith(b"\n") else None


async def _first_of(*waits: Any) -> None:
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def _kill(process: asyncio.subprocess.Process) -> None:
    """End a process and those that it started."""
    with suppress(ProcessLookupError, PermissionError):
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)


async def _end(process: asyncio.subprocess.Process) -> None:
    _kill(process)
    with suppress(ProcessLookupError):
        await process.wait()


def _death(status: int) -> str:
    if status < 0:
        with suppress(ValueError):
            name = signal.Signals(-status).name
            return f"the process that looked at it was ended by {name}; the file may be damaged"
    return f"the process that looked at it ended with status {status}; the file may be damaged"
