"""Read untrusted `.npy` and `.npz` files: numbers and text, never more than the file can hold.

A header of a few bytes can announce any shape, and a few packed bytes any number of zeros.
Announced sizes are compared with the size of the file before memory is allocated.
"""

from __future__ import annotations

import math
import sys
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from videozoo.errors import DataError

_KINDS = "biufcSU"  # no objects, no records, no times
_MOST_HEADER = 4096  # characters; an array of numbers needs less than 128
_FREE_BYTES = 64 * 2**20
_MOST_EXPANSION = 100
_CHUNK = 2**20


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of a `.npy` file.

    Raises:
        DataError: The file is missing, damaged, too short, or holds objects.
    """
    try:
        with path.open("rb") as file:
            shape, fortran, dtype, _ = _announced(file, path.stat().st_size)
            array = np.fromfile(file, dtype, math.prod(shape))
        return _shaped(array, shape, fortran)
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:  # a damaged file can raise almost anything
        raise _damaged(path, ".npy", error) from None


def map_npy(path: Path) -> NDArray[Any]:
    """Return the array of a `.npy` file as a read-only memory map.

    Raises:
        DataError: As `read_npy`.
    """
    try:
        with path.open("rb") as file:
            shape, fortran, dtype, offset = _announced(file, path.stat().st_size)
            if not math.prod(shape):  # nothing to map
                return np.empty(shape, dtype)
            order = "F" if fortran else "C"
            mapped = np.memmap(file, dtype, "r", offset=offset, shape=shape, order=order)
            _check_letters(mapped.ravel(order="K"))
            return mapped
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:
        raise _damaged(path, ".npy", error) from None


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of a `.npz` file by name.

    Raises:
        DataError: The file is missing or damaged, holds something else or a name twice, or would
            unpack to far more than its size allows.
    """
    try:
        with path.open("rb") as file:
            return _arrays_in(file, path.stat().st_size)
    except OSError as error:
        raise _unreadable(path, error) from None
    except Exception as error:
        raise _damaged(path, ".npz", error) from None


def npy_in(file: IO[bytes], size: int) -> NDArray[Any]:
    """As `read_npy`, of `size` bytes that lie in something else.

    Raises:
        ValueError: They are damaged, too short, or hold objects.
    """
    try:
        return _unpacked(file, size)
    except Exception as error:
        raise ValueError(f"not readable as .npy: {error}") from None


def npz_in(file: IO[bytes], size: int) -> dict[str, NDArray[Any]]:
    """As `read_npz`, of `size` bytes that lie in something else.

    Raises:
        ValueError: They are damaged, hold something else, or would unpack to far more.
    """
    try:
        return _arrays_in(file, size)
    except Exception as error:
        raise ValueError(f"not readable as .npz: {error}") from None


def _arrays_in(file: IO[bytes], size: int) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        unpacked = sum(info.file_size for info in members)
        if unpacked > max(_FREE_BYTES, _MOST_EXPANSION * size):
            raise ValueError(f"{size:,} bytes that say they unpack to {unpacked:,}")
        for info in members:
            name = info.filename.removesuffix(".npy")
            if name == info.filename:
                raise ValueError(f"it holds {name!r}, which is not an array")
            if name in arrays:
                raise ValueError(f"it holds {name!r} twice")
            with archive.open(info) as member:
                arrays[name] = _unpacked(member, info.file_size)
    return arrays


def _unpacked(member: IO[bytes], size: int) -> NDArray[Any]:
    shape, fortran, dtype, offset = _announced(member, size)
    count = math.prod(shape)
    content = np.empty(count * dtype.itemsize, np.uint8)
    filled = 0
    while filled < len(content):
        part = member.read(min(len(content) - filled, _CHUNK))
        if not part:
            raise EOFError(f"it ends after {offset + filled:,} bytes")
        content[filled : filled + len(part)] = np.frombuffer(part, np.uint8)
        filled += len(part)
    return _shaped(content.view(dtype) if count else np.empty(0, dtype), shape, fortran)


def _announced(file: IO[bytes], size: int) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, order, type and offset of the array, checked against the size of the file."""
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = npy.read_array_header_1_0(file, _MOST_HEADER)
    elif version == (2, 0):
        shape, fortran, dtype = npy.read_array_header_2_0(file, _MOST_HEADER)
    else:
        raise ValueError(f"version {version} of the format")
    if dtype.kind not in _KINDS or not dtype.itemsize:
        raise ValueError(f"it holds {dtype}, expected numbers or text")
    if min(shape, default=0) < 0:
        raise ValueError(f"a shape of {shape}")
    offset = file.tell()
    wanted, there = math.prod(shape) * dtype.itemsize, size - offset
    if wanted > there:
        raise ValueError(f"{dtype} {shape} are {wanted:,} bytes, but it holds {max(there, 0):,}")
    return shape, fortran, dtype, offset


def _shaped(flat: NDArray[Any], shape: tuple[int, ...], fortran: bool) -> NDArray[Any]:
    _check_letters(flat)
    return flat.reshape(shape[::-1]).transpose() if fortran else flat.reshape(shape)


def _check_letters(flat: NDArray[Any]) -> None:
    """Text is stored as numbers of letters; numpy hands out any, and Python fails at some."""
    if flat.dtype.kind == "U" and flat.size:
        numbers = flat.view(np.dtype(np.uint32).newbyteorder(flat.dtype.byteorder))
        if (numbers > sys.maxunicode).any():
            raise ValueError("text with numbers that are no letters")


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(f"{path}: cannot be read: {error.strerror or error}")


def _damaged(path: Path, suffix: str, error: Exception) -> DataError:
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return DataError(f"{path}: not a readable {suffix} file: {reason}; is it whole?")
