"""Files that are either whole and on the disk, or not there."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Generator[Path]:
    """Yield a path to write to; what is there afterwards takes the place of `path` at once.

    When the block raises, `path` is as it was.
    """
    aside = path.with_name(f"{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield aside
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders, and its renames need no such help
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
