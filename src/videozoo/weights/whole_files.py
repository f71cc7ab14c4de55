"""Weights files are written completely, or not at all."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from videozoo import safe_sums, safe_write
from videozoo.errors import WeightsError


@contextmanager
def written_aside(path: Path) -> Generator[Path]:
    """Yield a temporary path; the file written there then replaces `path` at once.

    In the folder of a run, which keeps checksums, that of the file is added.

    Raises:
        WeightsError: The disk refused; `path` is unchanged.
    """
    try:
        with safe_write.written_aside(path) as aside:
            yield aside
            home = safe_sums.home_of(path)
            if home is not None and path.suffix != aside.suffix:  # not a file on its way
                safe_sums.announce(home, path, safe_sums.sum_of(aside))
    except (OSError, SafetensorError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"{path}: cannot be written: {reason}") from error
