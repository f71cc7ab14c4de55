"""Weights files are either whole and on the disk, or as they were."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from videozoo import safe_write
from videozoo.errors import WeightsError


@contextmanager
def written_aside(path: Path) -> Generator[Path]:
    """Yield a path to write to; what is there afterwards takes the place of `path` at once.

    Raises:
        WeightsError: The disk refused; `path` is as it was.
    """
    try:
        with safe_write.written_aside(path) as aside:
            yield aside
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"{path}: cannot be written: {reason}") from error
