"""TFRecord files: read any record, write them, without TensorFlow.

A record is its length (uint64), a checksum of the length, the data, and a checksum of the data, all
little-endian. The file has no end mark, so a file that was cut exactly between two records looks
complete.

Source: tensorflow.org, "TFRecord and tf.train.Example".
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable
from io import FileIO
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from numpy.typing import NDArray

from videozoo.data.features._index import remembered
from videozoo.errors import DataError
from videozoo.safe_write import written_aside

_LENGTH = struct.Struct("<QI")
_CHECKSUM = struct.Struct("<I")
_ADVICE = "fetch it again, or remove it from the list"


def checksum(data: bytes) -> int:
    """CRC-32C of some bytes, masked as TFRecord does.

    >>> hex(checksum(b"123456789"))  # the CRC itself is 0xe3069283
    '0xc78ab0e5'
    """
    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def looks_like_tfrecord(head: bytes) -> bool:
    """Whether a file that starts with these bytes (12 or more) starts with a record."""
    return len(head) >= _LENGTH.size and _length_of(head[: _LENGTH.size]) is not None


class TFRecordFile:
    """The records of one file, by number.

    Can be pickled for other processes, and used after a fork.
    """

    def __init__(self, path: Path) -> None:
        """Find the positions of the records, from the file or from the cache.

        Raises:
            DataError: The file cannot be read, is empty, ends within a record, or a length is
                damaged.
        """
        self.path = path
        self._file: FileIO | None = None
        self._process = 0
        try:
            size = path.stat().st_size
            if not size:
                raise DataError(f"{path}: empty, expected TFRecords; {_ADVICE}")
            self._starts = remembered(path, "tfrecord", lambda: _record_starts(path))
            if self._starts[-1] != size or (np.diff(self._starts) < _MARGIN).any():
                self._starts = _record_starts(path)  # the cached ones were damaged
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from None

    def __len__(self) -> int:
        return len(self._starts) - 1

    def where(self, number: int) -> str:
        """Name a record in messages."""
        return f"{self.path}: record {number} at byte {self._starts[number]}"

    def read(self, number: int) -> bytes:
        """Return the data of one record.

        Raises:
            DataError: It is damaged, or the file changed meanwhile.
        """
        start, end = int(self._starts[number]), int(self._starts[number + 1])
        try:
            file = self._opened()
            file.seek(start + _LENGTH.size)
            data = file.read(end - start - _MARGIN)
            stored = file.read(_CHECKSUM.size)
        except OSError as error:
            raise DataError(f"{self.where(number)}: cannot be read: {error.strerror}") from None
        if data is None or stored is None or len(stored) != _CHECKSUM.size:
            raise DataError(f"{self.where(number)}: the file became shorter while in use")
        if _CHECKSUM.unpack(stored)[0] != checksum(data):
            raise DataError(
                f"{self.where(number)}: damaged: its checksum does not fit its data; {_ADVICE}"
            )
        return data

    def close(self) -> None:
        """Close the file; `read` opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

    def _opened(self) -> FileIO:
        if (
            self._process != os.getpid()
        ):  # a forked process shares the file position with its parent
            self.close()
        if self._file is None:
            self._file, self._process = FileIO(self.path), os.getpid()
        return self._file

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_file": None, "_process": 0}


def write_tfrecord(path: Path, records: Iterable[bytes]) -> int:
    """Write a file of records, with one record in memory; the file appears when it is complete.

    Returns:
        Number of records.
    """
    count = 0
    with written_aside(path) as aside, aside.open("wb") as file:
        for data in records:
            length = struct.pack("<Q", len(data))
            file.write(length + _CHECKSUM.pack(checksum(length)))
            file.write(data)
            file.write(_CHECKSUM.pack(checksum(data)))
            count += 1
    return count


_MARGIN = _LENGTH.size + _CHECKSUM.size  # bytes of a record besides its data


def _length_of(head: bytes) -> int | None:
    length, stored = _LENGTH.unpack(head)
    return length if checksum(head[:8]) == stored else None


def _record_starts(path: Path) -> NDArray[np.int64]:
    """The byte where each record starts, and the byte where the last record ends."""
    starts = [0]
    with path.open("rb", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        while starts[-1] < size:
            start = starts[-1]
            where = f"{path}: record {len(starts) - 1} at byte {start}"
            file.seek(start)
            head = file.read(_LENGTH.size)
            if len(head) < _LENGTH.size:
                raise DataError(
                    f"{where}: the file ends early, within the length of this record; {_ADVICE}"
                )
            length = _length_of(head)
            if length is None:
                raise DataError(
                    f"{where}: damaged: the checksum of its length does not fit; {_ADVICE}"
                )
            end = start + length + _MARGIN
            if end > size:
                raise DataError(
                    f"{where}: the file ends early: this record takes {end - start} bytes, "
                    f"but only {size - start} are left; {_ADVICE}"
                )
            starts.append(end)
    return np.array(starts, np.int64)
