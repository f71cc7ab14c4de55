"""Lock files: one process at a time, and the others are told that they wait."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

_SECONDS = 1.0  # until a wait is worth a line


def hold(path: Path, on_wait: Callable[[], None]) -> BaseFileLock:
    """Take a lock; the caller releases it.

    Args:
        path: The lock file; its folder exists.
        on_wait: Called once if another process has the lock.

    Raises:
        OSError: The file cannot be written.
    """
    lock = _lock_at(path)
    try:
        lock.acquire(timeout=_SECONDS)
    except Timeout:
        on_wait()
        lock.acquire()
    return lock


def try_hold(path: Path) -> BaseFileLock | None:
    """Take a lock if no other process has it; None if one does.

    Raises:
        OSError: The file cannot be written.
    """
    lock = _lock_at(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return None
    return lock


def _lock_at(path: Path) -> BaseFileLock:
    if path.is_symlink():  # it would be made, or emptied, where the link leads
        raise OSError(errno.ELOOP, f"{path.name} is a link, expected a lock file", str(path))
    return FileLock(path)
