"""Files that are either whole and on the disk, or as they were."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from videozoo.errors import WeightsError


@contextmanager
def written_aside(path: Path) -> Generator[Path]:
    """Yield a path to write to; what is there afterwards takes the place of `path` at once.

    Raises:
        WeightsError: The disk refused; `path` is as it was.
    """
    aside = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield aside
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except (OSError, SafetensorError) as error:
        aside.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else error
        raise WeightsError(f"{path}: cannot be written: {reason}") from error
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
