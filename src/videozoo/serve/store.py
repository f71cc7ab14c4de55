"""The jobs of a server, in a SQLite file, and their folders: they survive a restart.

::

    DIR/jobs.sqlite
    DIR/jobs/ID/            everything of one job; goes with it
        video.mp4           the upload, under a name of ours
        answers.json ...    see `worker`
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import sqlite3
import threading
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from videozoo.errors import RunError

State = Literal["queued", "running", "done", "failed"]
Work = Literal["answer", "search"]
ID = re.compile(r"[0-9a-f]{32}")
_MOST_STARTS = 2
"""A job that was running twice when its server ended is not tried again: it may be the reason."""
_VERSION = 2


@dataclass(frozen=True, kw_only=True)
class Job:
    """A video, and what is asked about it."""

    id: str
    name: str
    """Of the video, as the user calls it; for people only."""
    video: str
    """Its file: in the job's folder, or of the library."""
    state: State
    work: Work = "answer"
    """What is done, or was done last."""
    created: float
    started: float | None = None
    ended: float | None = None
    starts: int = 0
    sentences: tuple[str, ...] = ()
    every_seconds: float | None = None
    annotate: bool = False
    progress: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """`done` and `of`, in steps, and `what` is being done."""
    error: str | None = None
    has_answers: bool = False

    @property
    def is_over(self) -> bool:
        """Whether nothing is done any more."""
        return self.state in ("done", "failed")


_COLUMNS = (
    *("id", "name", "video", "state", "work", "created", "started", "ended", "starts"),
    *("sentences", "every_seconds", "annotate", "progress", "error", "has_answers"),
)
_AS_JSON = ("sentences", "progress")


class JobStore:
    """All jobs of one server; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        """Open the jobs in a folder, which is made if it is missing.

        Raises:
            RunError: The folder cannot be written, or holds something else.
        """
        self.folder = folder
        self._lock = threading.RLock()
        try:
            (folder / "jobs").mkdir(parents=True, exist_ok=True, mode=0o700)
            self._database = sqlite3.connect(
                folder / "jobs.sqlite", check_same_thread=False, isolation_level=None
            )
            self._database.row_factory = sqlite3.Row
            self._prepare()
        except (OSError, sqlite3.Error) as error:
            raise RunError(f"{folder}: no folder for jobs: {error}") from None

    def _prepare(self) -> None:
        self._database.execute("PRAGMA journal_mode = WAL")
        version = self._database.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, _VERSION):
            raise RunError(
                f"{self.folder}: jobs of another version of videozoo ({version}, expected "
                f"{_VERSION}); name another folder"
            )
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS jobs (id TEXT PRIMARY KEY, name TEXT, video TEXT, "
            "state TEXT, work TEXT, created REAL, started REAL, ended REAL, "
            "starts INTEGER, sentences TEXT, every_seconds REAL, annotate INTEGER, progress TEXT, "
            "error TEXT, has_answers INTEGER)"
        )
        self._database.execute("CREATE INDEX IF NOT EXISTS by_state ON jobs (state, created)")
        self._database.execute(f"PRAGMA user_version = {_VERSION}")

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._database.close()

    # --- jobs ------------------------------------------------------------------------------------

    def new_folder(self) -> tuple[str, Path]:
        """An identifier that nobody can guess, and its folder, for an upload that arrives."""
        name = secrets.token_hex(16)
        folder = self.folder_of(name)
        folder.mkdir(mode=0o700)
        return name, folder

    def folder_of(self, job: str) -> Path:
        """The folder of a job."""
        assert ID.fullmatch(job)
        return self.folder / "jobs" / job

    def add(self, job: Job) -> Job:
        """Put a job into the queue."""
        marks = ", ".join("?" * len(_COLUMNS))
        with self._lock:
            self._database.execute(f"INSERT INTO jobs VALUES ({marks})", _row_of(job))
        return job

    def get(self, job: str) -> Job | None:
        """A job; None where there is none."""
        if not ID.fullmatch(job):
            return None
        with self._lock:
            row = self._database.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return None if row is None else _job_of(row)

    def newest(self, most: int = 100) -> list[Job]:
        """The jobs that came last, the newest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT * FROM jobs ORDER BY created DESC LIMIT ?", (most,)
            ).fetchall()
        return [_job_of(row) for row in rows]

    def count(self) -> dict[str, int]:
        """How many jobs there are, by state."""
        with self._lock:
            rows = self._database.execute("SELECT state, COUNT(*) FROM jobs GROUP BY state")
            found = {str(state): int(number) for state, number in rows}
        return {state: found.get(state, 0) for state in ("queued", "running", "done", "failed")}

    def change(self, job: str, **values: Any) -> None:
        """Change some values of a job; nothing happens where it is gone."""
        names = ", ".join(f"{name} = ?" for name in values)
        plain = [json.dumps(v) if k in _AS_JSON else v for k, v in values.items()]
        with self._lock:
            self._database.execute(f"UPDATE jobs SET {names} WHERE id = ?", (*plain, job))

    def start_next(self) -> Job | None:
        """Take the job that has waited longest."""
        with self._lock, self._together():
            row = self._database.execute(
                "SELECT id, starts FROM jobs WHERE state = 'queued' ORDER BY created LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            self.change(row["id"], state="running", started=time.time(), starts=row["starts"] + 1)
            return self.get(row["id"])

    def start_again(self, job: str) -> bool:
        """Put a job that runs back into the queue; returns whether that may be done once more."""
        with self._lock:
            cursor = self._database.execute(
                "UPDATE jobs SET state = 'queued' "
                "WHERE id = ? AND state = 'running' AND starts < ?",
                (job, _MOST_STARTS),
            )
        return cursor.rowcount > 0

    def search(self, job: str, sentence: str) -> bool:
        """Put a job that is over into the queue again, to search for a sentence too.

        Returns:
            Whether it was over, so that this could be done.
        """
        with self._lock, self._together():
            found = self.get(job)
            if found is None or not found.has_answers or not found.is_over:
                return False
            sentences = list(dict.fromkeys([*found.sentences, sentence]))
            self.change(
                job, state="queued", work="search", sentences=sentences, starts=0, error=None,
                progress={}, ended=None,
            )  # fmt: skip
            return True

    def remove(self, job: str) -> bool:
        """Remove a job and its folder; returns whether there was one."""
        with self._lock:
            cursor = self._database.execute("DELETE FROM jobs WHERE id = ?", (job,))
        shutil.rmtree(self.folder_of(job), ignore_errors=True)
        return cursor.rowcount > 0

    # --- time ------------------------------------------------------------------------------------

    def recover(self) -> None:
        """After a restart: what was running waits again, and folders without a job go."""
        with self._lock, self._together():
            self._database.execute(
                "UPDATE jobs SET state = 'failed', ended = ?, error = ? "
                "WHERE state = 'running' AND starts >= ?",
                (time.time(), "the server ended twice while it worked on this video", _MOST_STARTS),
            )
            self._database.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")
            known = {row["id"] for row in self._database.execute("SELECT id FROM jobs")}
        for folder in (self.folder / "jobs").iterdir():
            if folder.name not in known:
                shutil.rmtree(folder, ignore_errors=True)

    def expire(self, hours: float) -> list[str]:
        """Remove jobs that have been over for so many hours."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id FROM jobs WHERE ended < ?", (time.time() - 3600 * hours,)
            ).fetchall()
        gone = [str(row["id"]) for row in rows]
        for job in gone:
            self.remove(job)
        return gone

    @contextmanager
    def _together(self) -> Generator[None]:
        """All changes inside, or none."""
        if self._database.in_transaction:
            yield
            return
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")


def _row_of(job: Job) -> tuple[Any, ...]:
    values = {name: getattr(job, name) for name in _COLUMNS}
    return tuple(json.dumps(v) if k in _AS_JSON else v for k, v in values.items())


def _job_of(row: sqlite3.Row) -> Job:
    values = dict(row)
    for name in ("annotate", "has_answers"):
        values[name] = bool(values[name])
    values["sentences"] = tuple(json.loads(values["sentences"]))
    values["progress"] = json.loads(values["progress"])
    return Job(**values)
