"""Read untrusted LMDB files of features, without LMDB: each page is checked before it is used.

The library of LMDB maps the file into memory and trusts it, so that a damaged file ends the
process; it writes a lock file, too. Here the positions of values are collected in one pass over the
pages, each of which is read once. Nothing is written.

Source: LMDB 0.9, mdb.c: MDB_meta, MDB_db, MDB_page, MDB_node.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import DataError, counted
from videozoo.safe_npy import npy_in, npz_in
from videozoo.safe_pickle import DamagedError, ForbiddenError, PickleReader, RefusedError

SUFFIXES = (".lmdb", ".mdb")
"""Endings of a database in one file; in a folder it is `data.mdb`."""
_FILE = "data.mdb"
_LOCK = "lock.mdb"
_MAGIC, _VERSION = 0xBEEFC0DE, 1
_NO_PAGE = 2**64 - 1
_HEADER = struct.Struct("<QHHHH")  # number, -, flags, end of the places, begin of the nodes
_META = struct.Struct("<IIQQ")
_DB = struct.Struct("<IHHQQQQQ")  # page size, flags, depth, pages of three kinds, entries, root
_NODE = struct.Struct("<HHHH")
_BRANCH, _LEAF, _OVERFLOW = 1, 2, 4
_BIG, _SUB, _DUP = 1, 2, 4  # flags of nodes
_MOST_VALUES = 2_000_000
_FRAME = re.compile(r"(.+?)_frame_(\d{1,12})(?:\.[A-Za-z]+)?")
_ENDING = re.compile(r"\.(?:npy|npz|pkl|pickle)$", re.IGNORECASE)


class Value(NamedTuple):
    """Where a value lies in the file."""

    offset: int
    num_bytes: int


@dataclass(frozen=True)
class Stored:
    """The values of one video: one, or one per frame, in order."""

    path: Path
    """The file."""
    key: str
    """As the database has it; of values per frame without the number."""
    values: tuple[Value, ...] = field(repr=False)
    per_frame: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.key}"

    def arrays(self) -> Mapping[str, NDArray[Any]]:
        """The arrays by stream; "" for the only one. Of a value without shape they are (N,).

        Raises:
            DataError: The file is no longer there or has changed, or a value is damaged.
        """
        try:
            with self.path.open("rb") as file:
                found = [_arrays_in(_bytes_at(file, one)) for one in self.values]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror}") from None
        except (ValueError, ForbiddenError, RefusedError, DamagedError) as error:
            raise DataError(f"{self}: not features: {' '.join(str(error).split())[:200]}") from None
        if not self.per_frame:
            return found[0]
        rows = [next(iter(one.values())).ravel() for one in found]
        if {len(row) for row in rows} != {len(rows[0])}:
            raise DataError(f"{self}: frames have vectors of different lengths")
        return {"": np.stack(rows)}


def holds_lmdb(path: Path) -> bool:
    """Whether a path is called as a database of LMDB is: a folder of it, or its file."""
    if path.is_dir():
        return any((path / name).is_file() for name in (_FILE, _LOCK))
    return path.suffix.lower() in SUFFIXES and path.is_file()


def stored_in(path: Path) -> list[tuple[str, Stored]]:
    """Names of videos, each with its values.

    Keys `VIDEO_frame_NUMBER` are one video, with a vector per frame; keys that begin with `__` are
    no videos.

    Raises:
        DataError: The database is damaged, or holds more than values by names.
    """
    file = path / _FILE if path.is_dir() else path
    single: list[tuple[str, Stored]] = []
    frames: dict[str, list[tuple[int, Value]]] = {}
    try:
        with file.open("rb") as opened:
            for key, value in _walk(opened, os.fstat(opened.fileno()).st_size):
                if (found := _FRAME.fullmatch(key)) is not None:
                    frames.setdefault(found[1], []).append((int(found[2]), value))
                elif not key.startswith("__"):
                    name = _ENDING.sub("", key).replace("/", "__")
                    single.append((name, Stored(file, key, (value,))))
    except FileNotFoundError:
        raise DataError(f"{file}: no such file; {path} is called as a database of LMDB") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, struct.error) as error:
        raise DataError(
            f"{file}: an LMDB database that is not read ({error}); write one .npy or .npz file per "
            "video, (steps, values), with the package lmdb"
        ) from None
    for name, listed in frames.items():
        listed.sort(key=lambda one: one[0])
        steps = {after - before for (before, _), (after, _) in pairwise(listed)}
        if len(steps) > 1 or 0 in steps:
            raise DataError(
                f"{file}: {name}: its frames are not equally far apart (missing, or there twice), "
                "so that times would be wrong"
            )
        values = tuple(value for _, value in listed)
        single.append((name.replace("/", "__"), Stored(file, name, values, per_frame=True)))
    return single


# --- pages -----------------------------------------------------------------------------------


def _walk(file: IO[bytes], size: int) -> Iterator[tuple[str, Value]]:
    """All keys of the main database, in order. ValueError says what is wrong."""
    page_size, root = _newest(file, size)
    left, seen, count, total = [root], set[int](), 0, 0
    while left:
        number = left.pop()
        if number in seen:
            raise ValueError(f"page {number} is there twice")
        seen.add(number)
        page = _page(file, number, page_size, size)
        own, _, flags, lower, _ = _HEADER.unpack_from(page)
        if own != number or not _HEADER.size <= lower <= page_size:
            raise ValueError(f"page {number} is damaged")
        places = struct.unpack_from(f"<{(lower - _HEADER.size) // 2}H", page, _HEADER.size)
        if flags & _BRANCH:
            left += reversed([_child(page, place) for place in places])
        elif flags & _LEAF and not flags & ~(_LEAF | 0x10):
            for place in places:
                count += 1
                if count > _MOST_VALUES:
                    raise ValueError(f"more than {counted(_MOST_VALUES, 'value')}")
                name, value = _entry(file, page, place, number * page_size, page_size, size)
                total += value.num_bytes
                if total > size:
                    raise ValueError("values that are larger together than the file")
                yield name, value
        else:
            raise ValueError(f"page {number} is of a kind that is not read")


def _newest(file: IO[bytes], size: int) -> tuple[int, int]:
    """Size of pages and number of the root, by the newer of the two first pages."""
    found: list[tuple[int, int, int]] = []
    page_size = 0
    for place in (0, 1):
        head = _at(file, place * page_size, _HEADER.size + _META.size + 2 * _DB.size + 16, size)
        magic, version, _, _ = _META.unpack_from(head, _HEADER.size)
        if magic != _MAGIC:
            raise ValueError("it does not begin as one")
        if version != _VERSION:
            raise ValueError(f"version {version} of the format")
        first = _HEADER.size + _META.size
        page_size = cast("int", _DB.unpack_from(head, first)[0])
        if page_size not in (2**power for power in range(9, 17)):
            raise ValueError(f"pages of {page_size:,} bytes")
        _, flags, *_, root = _DB.unpack_from(head, first + _DB.size)
        if flags & ~0x08:  # the order of keys may be that of whole numbers, and nothing more
            raise ValueError("several values per key, or another order")
        found.append((struct.unpack_from("<Q", head, first + 2 * _DB.size + 8)[0], page_size, root))
    _, page_size, root = max(found)
    if root == _NO_PAGE:
        raise ValueError("it is empty")
    return page_size, root


def _entry(
    file: IO[bytes], page: bytes, place: int, start: int, page_size: int, size: int
) -> tuple[str, Value]:
    low, high, flags, key_size = _node(page, place)
    if flags & (_SUB | _DUP):
        raise ValueError("databases inside it, or several values per key")
    first = place + _NODE.size + key_size
    key, num_bytes = page[place + _NODE.size : first], low | high << 16
    try:
        name = key.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"a key that is no text: {key[:20]!r}") from None
    if not name.strip("/") or "\0" in name:
        raise ValueError(f"a key that is no name: {name[:60]!r}")
    if not flags & _BIG:
        if first + num_bytes > len(page):
            raise ValueError(f"the value of {name!r} does not fit into its page")
        return name, Value(start + first, num_bytes)
    (number,) = struct.unpack_from("<Q", page, first)
    head = _at(file, number * page_size, _HEADER.size, size)
    own, _, kind, *_ = _HEADER.unpack(head)
    offset = number * page_size + _HEADER.size
    if own != number or not kind & _OVERFLOW or offset + num_bytes > size:
        raise ValueError(f"the value of {name!r} lies outside the file; is it whole?")
    return name, Value(offset, num_bytes)


def _child(page: bytes, place: int) -> int:
    low, high, flags, _ = _node(page, place)
    return low | high << 16 | flags << 32


def _node(page: bytes, place: int) -> tuple[int, int, int, int]:
    low, high, flags, key_size = _NODE.unpack_from(page, place)
    if place < _HEADER.size or place + _NODE.size + key_size > len(page):
        raise ValueError("a key does not fit into its page")
    return low, high, flags, key_size


def _page(file: IO[bytes], number: int, page_size: int, size: int) -> bytes:
    return _at(file, number * page_size, page_size, size)


def _at(file: IO[bytes], offset: int, count: int, size: int) -> bytes:
    if offset + count > size:
        raise ValueError("it ends too early; is it whole?")
    file.seek(offset)
    return file.read(count)


# --- values ----------------------------------------------------------------------------------


def _bytes_at(file: IO[bytes], value: Value) -> bytes:
    file.seek(value.offset)
    data = file.read(value.num_bytes)
    if len(data) < value.num_bytes:
        raise ValueError("the file has changed")
    return data


def _arrays_in(data: bytes) -> Mapping[str, NDArray[Any]]:
    """What `.npy`, `.npz` or a pickle holds; else numbers of 32 bits without a shape."""
    if data[:6] == b"\x93NUMPY":
        return {"": npy_in(io.BytesIO(data), len(data))}
    if data[:4] == b"PK\x03\x04":
        return npz_in(io.BytesIO(data), len(data))
    if data[:1] == b"\x80" and data[1:2] in (b"\2", b"\3", b"\4", b"\5") and data[-1:] == b".":
        return _arrays_of(PickleReader(data, encoding="bytes").read())
    if not data or len(data) % 4:
        raise ValueError(f"{len(data):,} bytes, expected .npy, .npz, a pickle or float32")
    return {"": np.frombuffer(data, "<f4").copy()}


def _arrays_of(held: object) -> Mapping[str, NDArray[Any]]:
    pairs = cast("dict[Any, Any]", held) if isinstance(held, dict) else {"": held}
    found = {
        key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): array
        for key, value in pairs.items()
        if isinstance(array := np.asarray(value) if isinstance(value, list) else value, np.ndarray)
    }
    if not found:
        raise ValueError("a pickle without arrays")
    return found
