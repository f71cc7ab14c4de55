"""PaddlePaddle 1.8 parameters, in each of the three containers it wrote.

    NAME.pdparams    a pickle of {name: array}
    a folder         one binary record per file; the file's name is the parameter's
    one file         the same records one after another, in the order of their sorted names,
                     which are not in the file

A record, little-endian: uint32 version 0; uint64 number of LoD levels, each a uint64 number of
bytes and the bytes; uint32 tensor version 0; int32 size of a protobuf message (field 1: data type,
field 2: dimensions); the raw data.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import DataError, WeightsError, counted
from videozoo.safe_pickle import RefusedError, check_elements, load_pickle
from videozoo.weights.kinds import find_weights, sniff
from videozoo.weights.whole_files import written_aside

Arrays = dict[str, NDArray[Any]]

_TYPES = {
    0: np.dtype("?"),
    1: np.dtype("<i2"),
    2: np.dtype("<i4"),
    3: np.dtype("<i8"),
    4: np.dtype("<f2"),
    5: np.dtype("<f4"),
    6: np.dtype("<f8"),
    20: np.dtype("u1"),
    21: np.dtype("i1"),
}
_MOST_EMPTY_ROWS = 2**20
_MOST_FOLDERS = 8
"""One in another, around the files."""
_MOST_LEVELS, _MOST_DIMENSIONS, _MOST_MESSAGE = 16, 9, 256


def read_paddle(path: Path, names: Collection[str] | None = None) -> Arrays:
    """Read parameters from any of the three containers, recognised by the content.

    Args:
        path: The file or folder; `.pdparams` may be left out.
        names: Every parameter of the model. Needed for the combined file, which has no names.

    Returns:
        Parameter name to array, in PaddlePaddle's layout.

    Raises:
        WeightsError: The file is missing, damaged, of another kind, or does not hold as many
            parameters as `names`.
    """
    path = find_weights(path)
    kind = sniff(path)
    if kind == "paddle-pickle":
        return _read_pickle(path)
    if kind == "paddle-folder":
        return _read_folder(path)
    if kind == "paddle-combined":
        return _read_combined(path, names)
    raise WeightsError(f"{path}: a {kind} file, expected PaddlePaddle parameters")


def write_pdparams(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write `NAME.pdparams` as PaddlePaddle 1.8 does: a protocol 2 pickle of {name: array}.

    Old versions of NumPy read it too.

    Raises:
        WeightsError: The file cannot be written.
    """
    with written_aside(path) as aside, aside.open("wb") as file:
        _OldNumpyPickler(file, protocol=2).dump(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()}
        )


_Pickler: Any = pickle._Pickler  # the C version cannot rename functions


class _OldNumpyPickler(_Pickler):
    """Writes NumPy's modules by the names they had in the time of PaddlePaddle 1.8."""

    def save_global(self, obj: Any, name: str | None = None) -> None:
        module = getattr(obj, "__module__", None) or ""
        if module.startswith("numpy._core"):
            old = module.replace("numpy._core", "numpy.core")
            self.write(pickle.GLOBAL + f"{old}\n{obj.__name__}\n".encode())
            self.memoize(obj)
        else:
            super().save_global(obj, name)


def _read_pickle(path: Path) -> Arrays:
    try:
        content = load_pickle(path, encoding="latin1")
    except DataError as error:
        raise WeightsError(str(error)) from None
    if not isinstance(content, dict):
        raise WeightsError(
            f"{path}: holds a {type(content).__name__}, expected {{parameter name: array}}"
        )
    arrays: Arrays = {}
    for key, value in cast(dict[Any, Any], content).items():
        name = key.decode("latin1") if isinstance(key, bytes) else str(key)
        if name.endswith("@@"):  # tables that later versions store beside the parameters
            continue
        if isinstance(value, tuple) and len(cast(tuple[Any, ...], value)) == 2:
            value = cast(tuple[Any, Any], value)[1]  # (name, array), also of later versions
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
            raise WeightsError(f"{path}: {name!r:.80} is not an array of real numbers")
        arrays[name] = value
    return arrays


def _read_folder(path: Path) -> Arrays:
    entries: list[Path] = []
    for _ in range(_MOST_FOLDERS):
        try:
            entries = [p for p in sorted(path.iterdir()) if not p.name.startswith(".")]
        except OSError as error:
            raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
        if len(entries) != 1 or not entries[0].is_dir():
            break
        path = entries[0]  # archives put the folder into another one
    files = [p for p in entries if p.is_file() and p.name != "__model__"]
    if not files:
        raise WeightsError(f"{path}: an empty folder; expected one file per parameter")
    return {file.name: _only_record(file) for file in files}


def _only_record(file: Path) -> NDArray[Any]:
    records = list(_records(file))
    if len(records) != 1:
        raise WeightsError(f"{file}: holds {counted(len(records), 'parameter')}, expected one")
    return records[0]


def read_records(path: Path) -> list[NDArray[Any]]:
    """Read the arrays of a combined file in order; they have no names.

    Raises:
        WeightsError: The file is missing, damaged or cut short.
    """
    return list(_records(path))


def _read_combined(path: Path, names: Collection[str] | None) -> Arrays:
    records = read_records(path)
    if names is None:
        raise WeightsError(
            f"{path}: {counted(len(records), 'parameter')} without names; which model are they of?"
        )
    ordered = sorted(set(names), key=str.encode)
    if len(ordered) != len(records):
        raise WeightsError(
            f"{path}: holds {counted(len(records), 'parameter')}, and the model has "
            f"{len(ordered)}; is it of another model, or of the same with other settings?"
        )
    return dict(zip(ordered, records, strict=True))


def _records(path: Path) -> Iterator[NDArray[Any]]:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    stream = io.BytesIO(data)
    while stream.tell() < len(data):
        start = stream.tell()
        try:
            yield _read_record(stream, len(data))
        except _BadRecordError as error:
            raise WeightsError(
                f"{path}: not a parameter at byte {start} of {len(data)}: {error}"
            ) from None


class _BadRecordError(Exception):
    pass


def _read_record(stream: io.BytesIO, size: int) -> NDArray[Any]:
    _expect_zero(stream, "version")
    (levels,) = struct.unpack("<Q", _take(stream, 8, "the number of LoD levels"))
    if levels > _MOST_LEVELS:
        raise _BadRecordError(f"{levels} LoD levels, expected a few at most")
    for _ in range(levels):
        (length,) = struct.unpack("<Q", _take(stream, 8, "the size of a LoD level"))
        _take(stream, min(length, size + 1), "a LoD level")
    _expect_zero(stream, "tensor version")
    (length,) = struct.unpack("<i", _take(stream, 4, "the size of the description"))
    if not 0 < length <= _MOST_MESSAGE:
        raise _BadRecordError(f"a description of {length} bytes, expected 1 to {_MOST_MESSAGE}")
    dtype, shape = _read_description(_take(stream, length, "the description"))
    if not all(shape) and math.prod(max(1, n) for n in shape) > _MOST_EMPTY_ROWS:
        raise _BadRecordError(f"an empty parameter of shape {shape}")
    wanted = dtype.itemsize * math.prod(shape)
    raw = _take(stream, min(wanted, size + 1), f"the data of {dtype.name} {shape}")
    array = np.frombuffer(raw, dtype).reshape(shape).copy()
    try:
        check_elements(array)
    except RefusedError as error:
        raise _BadRecordError(str(error)) from None
    return array


def _take(stream: io.BytesIO, count: int, what: str) -> bytes:
    raw = stream.read(count)
    if len(raw) < count:
        raise _BadRecordError(f"the file ends within {what}; is it complete?")
    return raw


def _expect_zero(stream: io.BytesIO, what: str) -> None:
    (value,) = struct.unpack("<I", _take(stream, 4, f"the {what}"))
    if value:
        raise _BadRecordError(f"{what} {value}, expected 0")


def _read_description(message: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Read the protobuf: 1 = data type, 2 = dimensions, packed or one by one."""
    stream = io.BytesIO(message)
    kind: int | None = None
    shape: list[int] = []
    while stream.tell() < len(message):
        match _varint(stream):
            case 0x08:
                kind = _varint(stream)
            case 0x10:
                shape.append(_varint(stream))
            case 0x12:
                end = _varint(stream) + stream.tell()
                while stream.tell() < end:
                    shape.append(_varint(stream))
            case tag:
                raise _BadRecordError(f"an unknown field {tag >> 3} in the description")
    if kind not in _TYPES:
        raise _BadRecordError(f"data type {kind}, expected one of {sorted(_TYPES)}")
    if len(shape) > _MOST_DIMENSIONS or any(length >= 2**40 for length in shape):
        raise _BadRecordError(f"shape {tuple(shape)}")
    return _TYPES[kind], tuple(shape)


def _varint(stream: io.BytesIO) -> int:
    value = shift = 0
    while True:
        (byte,) = _take(stream, 1, "the description")
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value
        shift += 7
        if shift > 63:
            raise _BadRecordError("a number of more than 64 bits in the description")
