"""Check that a downloaded file is a complete weights file."""

from __future__ import annotations

import importlib
import sys
from contextlib import suppress
from pathlib import Path

from safetensors import safe_open

from videozoo.errors import WeightsError
from videozoo.safe_tensors import READING_ERRORS
from videozoo.weights._apart import bound_memory
from videozoo.weights.archive import check_archive, is_archive
from videozoo.weights.kinds import sniff
from videozoo.weights.paddle import read_paddle, read_records

_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<body")
_LFS = b"version https://git-lfs"
_MEMORY_BYTES, _MEMORY_FACTOR = 2**30, 8
"""Memory that reading a file may use: a constant, and a multiple of its size."""


def check_content(path: Path) -> None:
    """Read a whole file as the kind of weights it is. Nothing in it is run.

    Raises:
        WeightsError: It is a web page, another kind of file, cut short, or a pickle that asks to
            run code.
    """
    with path.open("rb") as file:
        start = file.read(512).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGE):
        raise WeightsError(f"{path.name}: a web page, not weights (a login, a proxy, an error?)")
    if start.startswith(_LFS):
        raise WeightsError(f"{path.name}: a pointer of Git LFS, not the weights it stands for")
    if is_archive(path):
        check_archive(path)
        return
    kind = sniff(path)
    if kind == "safetensors":
        _check_safetensors(path)
    elif kind == "torch":
        from videozoo.weights.files import read_weights  # torch takes long to import

        read_weights(path)
    elif kind == "paddle-pickle":
        read_paddle(path)
    elif kind == "paddle-combined":
        read_records(path)


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(path, framework="np"):  # checks the header against the file's length
            pass
    except READING_ERRORS as error:
        raise WeightsError(f"{path.name}: not a whole safetensors file ({error})") from None


def main(arguments: list[str]) -> int:
    """Check one file; the memory of this process is limited by the file's size.

    Prints what is wrong with the file; returns the exit status.
    """
    path = Path(arguments[0])
    with suppress(WeightsError):
        if sniff(path) == "torch":  # torch itself takes more memory than the limit
            importlib.import_module("videozoo.weights.files")
    bound_memory(_MEMORY_BYTES + _MEMORY_FACTOR * path.stat().st_size)
    try:
        check_content(path)
    except WeightsError as error:
        print(error)
    except MemoryError:
        print(f"{path.name}: it takes far more memory than it has bytes")
    except Exception as error:
        print(f"{path.name}: not readable ({type(error).__name__}: {error})"[:500])
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
