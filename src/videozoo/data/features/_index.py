"""A cache of the positions of records in large files, for the next run.

It lies in `$VIDEOZOO_CACHE` or `~/.cache/videozoo`, one small file per data file. Any of these
files may be deleted at any time. Each holds a checksum: a damaged one is made again, not used.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import DataError
from videozoo.safe_npy import read_npy

_VERSION = 2
_HEAD = 4  # version, size, time of change and checksum come first


def cache_folder() -> Path:
    """Folder for files that can be made again."""
    chosen = os.environ.get("VIDEOZOO_CACHE")
    return Path(chosen) if chosen else Path.home() / ".cache" / "videozoo"


def remembered(path: Path, kind: str, make: Callable[[], NDArray[np.int64]]) -> NDArray[np.int64]:
    """Return `make()`, or its stored result if size and modification time of `path` are unchanged.

    If the cache cannot be written, `make` is called each time.
    """
    state = path.stat()
    facts = [_VERSION, state.st_size, state.st_mtime_ns]
    key = hashlib.sha256(f"{kind}:{path.resolve()}".encode("utf-8", "surrogateescape")).hexdigest()
    try:
        kept = cache_folder() / "records" / f"{key[:40]}.npy"
        found = _load(kept)
    except RuntimeError:  # there is no home folder
        return make()
    if found is not None and np.array_equal(found[:_HEAD], _head(key, facts, found[_HEAD:])):
        return found[_HEAD:]
    made = make()
    aside = kept.with_name(f"{kept.stem}.{os.getpid()}.npy")  # several processes may be here
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(aside, np.concatenate([_head(key, facts, made), made]))
        aside.replace(kept)
    except OSError:
        with contextlib.suppress(OSError):
            aside.unlink(missing_ok=True)
    return made


def _head(key: str, facts: list[int], body: NDArray[np.int64]) -> NDArray[np.int64]:
    """What comes before the numbers; the last of it is a checksum of everything else."""
    digest = hashlib.sha256(f"{key} {facts}".encode() + body.astype("<i8").tobytes()).digest()
    return np.array([*facts, int.from_bytes(digest[:8], "little", signed=True)], np.int64)


def _load(kept: Path) -> NDArray[np.int64] | None:
    try:
        found = read_npy(kept)
    except DataError:
        return None
    return found if found.dtype == np.int64 and found.ndim == 1 and len(found) >= _HEAD else None
