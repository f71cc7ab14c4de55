"""Write the text files of reports, in which names may hold any bytes."""

from __future__ import annotations

from pathlib import Path

from videozoo.errors import RunError
from videozoo.safe_names import NAMES
from videozoo.safe_write import written_aside


def write_text(path: Path, text: str) -> Path:
    r"""Write text as UTF-8 with the line ends that it has; a failed write leaves no half file.

    Raises:
        RunError: The disk refuses.
    """
    try:
        with written_aside(path) as aside:
            aside.write_bytes(text.encode("utf-8", NAMES))
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}") from None
    return path
