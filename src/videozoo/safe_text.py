"""Read text files, and refuse devices, which never end."""

from __future__ import annotations

import errno
import stat
from pathlib import Path


def read_text(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file, or of a pipe.

    Raises:
        OSError: It cannot be read, or is a device such as `/dev/zero`, which a configuration that
            came with weights may name.
        UnicodeDecodeError: It is not text in that encoding.
    """
    with path.open(encoding=encoding, errors=errors) as file:
        if stat.S_ISCHR(path.stat().st_mode):
            raise OSError(errno.EINVAL, "is a device, expected a file", str(path))
        return file.read()
