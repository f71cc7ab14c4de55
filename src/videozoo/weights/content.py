"""Whether a file that came over the network is weights, and all of them."""

from __future__ import annotations

import zipfile
from pathlib import Path

from safetensors import SafetensorError, safe_open

from videozoo.errors import WeightsError
from videozoo.weights.archive import check_archive, is_archive
from videozoo.weights.files import read_weights, sniff
from videozoo.weights.paddle import read_paddle, read_records

_PAGE = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<script", b"<body")
_LFS = b"version https://git-lfs"


def check_content(path: Path) -> None:
    """Read a file to its end as the kind of weights it is. Nothing in it is run.

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
        _check_torch(path)
    elif kind == "paddle-pickle":
        read_paddle(path)
    elif kind == "paddle-combined":
        read_records(path)


def _check_safetensors(path: Path) -> None:
    try:
        with safe_open(path, framework="pt"):  # compares the header with the file's length
            pass
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{path.name}: not a whole safetensors file ({error})") from None


def _check_torch(path: Path) -> None:
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
        except (zipfile.BadZipFile, OSError, RuntimeError) as error:
            raise WeightsError(f"{path.name}: not a whole PyTorch file ({error})") from None
        if damaged is not None:
            raise WeightsError(f"{path.name}: damaged at {damaged}")
    read_weights(path)
