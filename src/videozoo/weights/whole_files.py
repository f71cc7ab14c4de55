"""Weights files are written completely, or not at all."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from videozoo import safe_write
from videozoo.errors import WeightsError


@contextmanager
def written_aside(path: Path) -> Generator[Path]:
    """Yield a temporary path; the file written there then replaces `path` at once.

    Raises:
        WeightsError: The disk refused; `path` is unchanged.
    """
    try:
        with safe_write.written_aside(path) as aside:
            yield aside
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"{path}: cannot be written: {reason}") from error
