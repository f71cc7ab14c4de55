"""Results of earlier checks of files, in one small database.

Each answer has a checksum: one that was damaged on the disk counts as none.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from videozoo.data.files import absolute

_COMMIT_SECONDS = 2.0
_OF_THE_DISK = sqlite3.OperationalError, sqlite3.ProgrammingError, sqlite3.InterfaceError
"""Kinds of errors that say nothing of what a database holds."""
_LAYOUT = """
CREATE TABLE IF NOT EXISTS facts (
    path BLOB, question TEXT, stamp TEXT, answer TEXT, PRIMARY KEY (path, question)
)
"""


@dataclass(frozen=True)
class Stamp:
    """Properties that change with a file."""

    num_bytes: int
    mtime_ns: int
    ctime_ns: int
    """Also changes with permissions, and when an old file is put in place of another."""

    def __str__(self) -> str:
        return f"{self.num_bytes}/{self.mtime_ns}/{self.ctime_ns}"


def stamp_of(path: Path, suffixes: frozenset[str]) -> Stamp:
    """The stamp of a file, or of a folder with all its files that end in `suffixes`.

    Raises:
        OSError: There is none.
    """
    found = path.stat()
    if not stat.S_ISDIR(found.st_mode):
        return Stamp(found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    inside = [file.stat() for file in path.iterdir() if file.suffix.lower() in suffixes]
    return Stamp(
        sum(file.st_size for file in inside),
        max((file.st_mtime_ns for file in inside), default=0),
        max((file.st_ctime_ns for file in inside), default=0),
    )


class FactCache:
    """Stored results per file, valid until the file changes.

    A disk that refuses only makes the cache useless, never the check; `trouble` then says why.
    """

    def __init__(self, folder: Path | None) -> None:
        """Open the database in `folder`, made where missing; None remembers nothing."""
        self.trouble = ""
        self._file = Path() if folder is None else folder / "facts.sqlite"
        self._base: sqlite3.Connection | None = None
        self._committed = time.monotonic()
        if folder is None:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(self._file, timeout=10)
            self._base.execute(_LAYOUT)
        except (OSError, sqlite3.Error) as error:
            self._give_up(error)

    def get(self, path: Path, stamp: Stamp, *questions: str) -> dict[str, Any] | None:
        """The answer to the first question that is answered."""
        for question in questions:
            row = self._run(
                "SELECT answer FROM facts WHERE path = ? AND question = ? AND stamp = ?",
                (_key(path), question, str(stamp)),
            )
            if row and (answer := _unsealed(row[0], path, stamp, question)) is not None:
                return answer
        return None

    def put(self, path: Path, stamp: Stamp, question: str, answer: Mapping[str, Any]) -> None:
        """Remember an answer."""
        self._run(
            "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?)",
            (_key(path), question, str(stamp), _sealed(json.dumps(answer), path, stamp, question)),
        )
        if self._base is not None and time.monotonic() - self._committed > _COMMIT_SECONDS:
            self._commit()

    def close(self) -> None:
        """Write what is not written yet."""
        if self._base is not None:
            self._commit()
        if self._base is not None:
            self._base.close()
            self._base = None

    def _run(self, command: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        if self._base is None:
            return None
        try:
            return self._base.execute(command, values).fetchone()
        except sqlite3.Error as error:
            self._give_up(error)
            return None

    def _commit(self) -> None:
        try:
            if self._base is not None:
                self._base.commit()
        except sqlite3.Error as error:
            self._give_up(error)
        self._committed = time.monotonic()

    def _give_up(self, error: Exception) -> None:
        self.trouble = f"{self._file}: {getattr(error, 'strerror', None) or error}"
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _OF_THE_DISK):
            self.trouble += "; it is damaged: delete it, and the next check makes a new one"
        if self._base is not None:
            self._base.close()
            self._base = None


def _key(path: Path) -> bytes:
    return os.fsencode(absolute(path))


def _sealed(text: str, path: Path, stamp: Stamp, question: str) -> str:
    """An answer with a checksum of it and of what it answers."""
    asked = _key(path) + f" {stamp} {question} ".encode()
    return f"{hashlib.sha256(asked + text.encode()).hexdigest()} {text}"


def _unsealed(stored: object, path: Path, stamp: Stamp, question: str) -> dict[str, Any] | None:
    """The answer; None if it is not as it was stored."""
    if not isinstance(stored, str):
        return None
    text = stored.partition(" ")[2]
    return json.loads(text) if _sealed(text, path, stamp, question) == stored else None
