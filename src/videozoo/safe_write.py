"""Write files completely, or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def written_aside(path: Path) -> Generator[Path]:
    """Yield a temporary path; the file written there then replaces `path` at once.

    If the block raises, `path` is unchanged. The temporary file is there, empty: it is new, so that
    a link which someone left under its name is not followed. It ends with the permissions of any
    new file, whatever its writer gave it.
    """
    aside = path.with_name(f"{path.name}.new")
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = make_anew(aside)
    try:
        yield aside
        allow(aside, mode)
        sync(aside)
        aside.replace(path)
        sync(path.parent)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def sync(path: Path) -> None:
    """Wait until the content of a file or folder is on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows cannot open folders, and its renames do not need this
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_anew(path: Path) -> int:
    """Make an empty file, in place of any file or link of that name; return its permissions.

    Raises:
        OSError: It cannot be made, or another process made it in the same moment.
    """
    path.unlink(missing_ok=True)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode)
    finally:
        os.close(handle)


def allow(path: Path, mode: int) -> None:
    """Give a file these permissions, if it has others: some writers leave it to its owner alone."""
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)
