"""What kind of weights a file holds, by its first bytes; torch is not needed to tell."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from videozoo.errors import WeightsError, few

Kind = Literal["safetensors", "torch", "paddle-pickle", "paddle-folder", "paddle-combined"]

_LONG_NUMBER_FIRST = b"\x80\x02\x8a"
"""How pickles begin whose first value is a large number, such as files before torch 1.6."""


def find_weights(path: Path) -> Path:
    """Return the file or folder that `path` names, perhaps without its suffix.

    Raises:
        WeightsError: There is none; the message lists the files of the folder.
    """
    if path.exists():
        return path
    for suffix in (".pdparams", ".safetensors"):
        with_suffix = path.with_name(path.name + suffix)
        if with_suffix.exists():
            return with_suffix
    there = sorted(p.name for p in path.parent.iterdir()) if path.parent.is_dir() else []
    folder = "this folder" if path.parent == Path() else path.parent
    hint = f"{folder} holds {few(there, 8)}" if there else f"{folder} is empty"
    if not path.parent.is_dir():
        hint = f"there is no folder {path.parent}"
    raise WeightsError(f"{path}: no such weights file; {hint}")


def sniff(path: Path) -> Kind:
    """The kind of a weights file by its first bytes, because names can be wrong.

    Raises:
        WeightsError: It is no readable kind; the message shows its first bytes.
    """
    if path.is_dir():
        return _sniff_folder(path)
    try:
        if not path.is_file():  # reading a pipe waits, and that of a device may never end
            raise WeightsError(f"{path}: cannot be read: not a regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    if path.suffix in (".pdopt", ".pdmodel"):
        raise WeightsError(
            f"{path}: holds no weights; they are in {path.with_suffix('.pdparams').name}"
        )
    if 8 + int.from_bytes(start[:8], "little") <= size and start[8:9] == b"{":
        return "safetensors"
    if start.startswith(b"PK\x03\x04") or _is_old_torch(start):
        return "torch"
    if start[:4] == b"\0\0\0\0" and size >= 16:
        return "paddle-combined"
    if start[:1] in (b"\x80", b"(", b"}", b"c"):
        return "paddle-pickle"
    if start[:2] == b"\x1f\x8b" or path.suffix == ".tar":
        raise WeightsError(f"{path}: an archive; expected a file or folder of weights")
    looks = "is empty" if size == 0 else f"starts with {start[:8]!r}"
    raise WeightsError(
        f"{path}: not a weights file ({looks}); expected safetensors, a torch state dict (.pth), "
        "or PaddlePaddle parameters (.pdparams, a folder, or one combined file)"
    )


def _sniff_folder(path: Path) -> Kind:
    found = sorted(path.rglob("*.safetensors"))
    runs = [each.parent for each in found if (each.parent / "config.yaml").is_file()]
    if runs:
        raise WeightsError(f"{path}: a folder of runs; pass one of them, such as {runs[0]}")
    if found:
        raise WeightsError(f"{path}: a folder; pass one file in it, such as {found[0]}")
    return "paddle-folder"


def _is_old_torch(start: bytes) -> bool:
    if not start.startswith(_LONG_NUMBER_FIRST):
        return False
    from videozoo.safe_torch import LEGACY_START  # imports torch

    return start.startswith(LEGACY_START)
