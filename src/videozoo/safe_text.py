"""Read text files, and refuse devices, which never end."""

from __future__ import annotations

import codecs
import errno
import io
import stat
from pathlib import Path

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def marked_encoding(head: bytes) -> str | None:
    """The encoding that the first bytes of a text name, if it is UTF-16 or UTF-32.

    Spreadsheets and editors of Windows write such files.

    >>> marked_encoding("a".encode("utf-16")), marked_encoding(b"a")
    ('utf-16', None)
    """
    return next((encoding for mark, encoding in _MARKS if head.startswith(mark)), None)


def read_text(path: Path, *, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Return the text of a file, or of a pipe; UTF-16 or UTF-32 if its first bytes say so.

    Raises:
        OSError: It cannot be read, or is a device such as `/dev/zero`, which a configuration that
            came with weights may name.
        UnicodeDecodeError: It is not text in that encoding.
    """
    with path.open("rb") as file:
        if stat.S_ISCHR(path.stat().st_mode):
            raise OSError(errno.EINVAL, "is a device, expected a file", str(path))
        marked = marked_encoding(file.peek(4))
        errors = errors if marked is None else "strict"
        with io.TextIOWrapper(file, encoding=marked or encoding, errors=errors) as text:
            return text.read()
