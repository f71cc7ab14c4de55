"""Files of `torch.save`, read without `torch.load`.

Even with `weights_only`, `torch.load` builds every kind of tensor that a file describes, even
sparse ones with invalid indices. Here a tensor is a view of the file's bytes, whose bounds are
checked first.

    since 1.6   a zip archive: NAME/data.pkl, and NAME/data/KEY for the bytes of a storage
    before      pickles one after another: a number, a version, facts about the machine, the data,
                the keys of the storages; then each storage, an int64 number of elements before it
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from videozoo.safe_pickle import (
    DamagedError,
    ForbiddenError,
    Mark,
    PickleReader,
    RefusedError,
    whole_numbers,
)

LEGACY_START = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The number in the first pickle of files before torch 1.6."""

_WHAT = "a tensor"
_MOST_EMPTY_ROWS = 2**20
_VIEW_BYTES = 1024
"""What a tensor takes besides its values."""
_STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "UntypedStorage": torch.uint8,
}
_NEWER = (torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2)
_DTYPES = {str(dtype): dtype for dtype in (*_STORAGES.values(), *_NEWER)}


def read_torch_file(path: Path) -> Any:
    """Return what `torch.save` wrote: tensors on the CPU, numbers, text and containers.

    Raises:
        OSError: The file cannot be read.
        ForbiddenError: It names something to run, or a kind of tensor that is not plain.
        RefusedError: It holds more than plain data, or tensors that do not fit their bytes.
        DamagedError: It is another kind of file, or incomplete.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(LEGACY_START)) == LEGACY_START:
                return _read_pickles(file.read())
        with zipfile.ZipFile(path) as archive:
            return _read_archive(archive, path.stat().st_size)
    except (OSError, ForbiddenError, RefusedError, DamagedError):
        raise
    except Exception as error:  # a damaged file can raise almost anything
        raise DamagedError(f"{type(error).__name__}: {error}"[:200]) from None


@dataclass
class _Storage:
    """Bytes that tensors share."""

    content: bytearray
    element_bytes: int
    """Of the type that it is first referred to with."""
    holds_booleans: bool = False

    def check(self) -> None:
        """Refuse booleans other than 0 and 1, which torch does not check."""
        if self.holds_booleans and bool((_bytes_of(self) > 1).any()):
            raise RefusedError("it holds booleans that are neither 0 nor 1")


class _TypedStorage(NamedTuple):
    storage: _Storage
    dtype: torch.dtype


class _Storages:
    """The storages of a file, by key."""

    def __init__(self, load: Callable[[str, int], bytearray]) -> None:
        """`load`: from key and number of bytes to the bytes."""
        self._load = load
        self.found: dict[str, _Storage] = {}

    def get(self, reference: Any) -> _TypedStorage:
        """The storage that a pickle refers to: ("storage", type, key, device, elements, ...)."""
        if type(reference) is not tuple or len(cast("tuple[Any, ...]", reference)) not in (5, 6):
            raise RefusedError("a reference to something other than a storage")
        word, mark, key, _, count = cast("tuple[Any, ...]", reference)[:5]
        dtype = _STORAGES.get(mark.name.removeprefix("torch.")) if type(mark) is Mark else None
        if word != "storage" or dtype is None or type(key) is not str or type(count) is not int:
            raise RefusedError("a storage of an unknown kind")
        num_bytes = count * dtype.itemsize
        if key not in self.found:
            self.found[key] = _Storage(self._load(key, num_bytes), dtype.itemsize)
        if len(self.found[key].content) != num_bytes:
            raise RefusedError(
                f"a storage of {len(self.found[key].content)} bytes, not {num_bytes}"
            )
        return _TypedStorage(self.found[key], dtype)

    def check(self) -> None:
        """Check all storages, after their bytes have been read."""
        for storage in self.found.values():
            storage.check()


def _reader(data: bytes, position: int, storages: _Storages, num_bytes: int) -> PickleReader:
    return PickleReader(
        data,
        position=position,
        encoding="utf-8",
        names=_NAMES,
        persistent=storages.get,
        leaves=(Tensor, Mark),
        num_bytes=num_bytes,
    )


def _read_archive(archive: zipfile.ZipFile, num_bytes: int) -> Any:
    members = {info.filename: info for info in archive.infolist()}
    roots = [name.removesuffix("data.pkl") for name in members if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise DamagedError("an archive that holds no data.pkl")
    root = roots[0]
    if f"{root}constants.pkl" in members:
        raise RefusedError("a TorchScript program; save its state dict by itself")
    left = 2 * num_bytes

    def content_of(name: str) -> bytes:
        nonlocal left
        info = members.get(root + name)
        if info is None:
            raise DamagedError(f"{name} is missing")
        left -= info.file_size
        if info.compress_type != zipfile.ZIP_STORED or left < 0:
            raise RefusedError(f"{name} is packed, or larger than the file")
        return archive.read(info)

    def load(key: str, _: int) -> bytearray:
        return bytearray(content_of(f"data/{key}"))

    if f"{root}byteorder" in members and content_of("byteorder") != b"little":
        raise RefusedError("written by a machine with another byte order")
    storages = _Storages(load)
    content = _reader(content_of("data.pkl"), 0, storages, num_bytes).read()
    storages.check()
    return content


def _read_pickles(data: bytes) -> Any:
    position = 0
    for _ in ("version", "machine"):
        header = PickleReader(data, position=position)
        header.read()
        position = header.position
    left = len(data)

    def room_for(_: str, num_bytes: int) -> bytearray:
        nonlocal left
        left -= num_bytes
        if num_bytes < 0 or left < 0:
            raise DamagedError("it ends early")
        return bytearray(num_bytes)

    storages = _Storages(room_for)
    reader = _reader(data, position, storages, len(data))
    content = reader.read()
    keys = PickleReader(data, position=reader.position, encoding="utf-8")
    order = keys.read()
    if type(order) is not list or set(cast("list[Any]", order)) != set(storages.found):
        raise DamagedError("its list of storages is another")
    position = keys.position
    for key in cast("list[str]", order):
        storage = storages.found[key]
        held = storage.content
        count = int.from_bytes(data[position : position + 8], "little")
        start, position = position + 8, position + 8 + len(held)
        if position > len(data):
            raise DamagedError("it ends early")
        if count * storage.element_bytes != len(held):
            raise DamagedError(f"a storage of {count} elements in {len(held)} bytes")
        held[:] = memoryview(data)[start:position]
    storages.check()
    return content


# --- what the names of torch mean ------------------------------------------------------------


def _tensor(
    _reader: PickleReader,
    typed: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _requires_grad: Any = False,
    _hooks: Any = None,
    metadata: Any = None,
) -> Tensor:
    if type(typed) is not _TypedStorage or metadata:
        raise RefusedError("a tensor of an unknown kind")
    return _view(_reader, typed.storage, typed.dtype, offset, size, stride)


def _tensor_of_type(
    _reader: PickleReader,
    typed: Any,
    offset: Any,
    size: Any,
    stride: Any,
    _requires_grad: Any,
    _hooks: Any,
    dtype: Any,
    metadata: Any = None,
) -> Tensor:
    if type(typed) is not _TypedStorage or type(dtype) is not Mark or metadata:
        raise RefusedError("a tensor of an unknown kind")
    if dtype.name not in _DTYPES:
        raise RefusedError(f"a tensor of type {dtype.name}")
    return _view(_reader, typed.storage, _DTYPES[dtype.name], offset, size, stride)


def _view(
    reader: PickleReader, storage: _Storage, dtype: torch.dtype, offset: Any, size: Any, stride: Any
) -> Tensor:
    sizes, strides = whole_numbers(size, _WHAT), whole_numbers(stride, _WHAT)
    [start] = whole_numbers((offset,), _WHAT)
    count = math.prod(sizes)
    available = len(storage.content) // dtype.itemsize
    end = start + sum((n - 1) * step for n, step in zip(sizes, strides, strict=True)) + 1
    if count and end > available:
        raise RefusedError(f"a tensor that ends at value {end} of {available}")
    reader.share(_VIEW_BYTES)
    if not count and math.prod(max(1, n) for n in sizes) > _MOST_EMPTY_ROWS:
        raise RefusedError(f"an empty tensor of shape {sizes}")
    reader.spend(count * dtype.itemsize)
    storage.holds_booleans |= dtype == torch.bool
    if not count:
        return torch.empty(sizes, dtype=dtype)
    flat = _bytes_of(storage)[: available * dtype.itemsize].view(dtype)
    return torch.as_strided(flat, sizes, strides, start)


def _bytes_of(storage: _Storage) -> Tensor:
    if not storage.content:
        return torch.empty(0, dtype=torch.uint8)
    return torch.frombuffer(storage.content, dtype=torch.uint8)


def _parameter(_reader: PickleReader, data: Any, *_: Any) -> Tensor:
    if not isinstance(data, Tensor):
        raise RefusedError("a parameter that is no tensor")
    return data


def _with_attributes(
    reader: PickleReader, function: Any, kind: Any, arguments: Any, _state: Any
) -> Any:
    """A tensor with attributes, which are ignored."""
    if type(function) is not Mark or function.make is None or type(arguments) is not tuple:
        raise RefusedError("a tensor of an unknown kind")
    if type(kind) is not Mark or kind.name not in ("torch.Tensor", "torch.nn.parameter.Parameter"):
        raise RefusedError("a tensor of a kind of its own")
    return function.make(reader, *cast("tuple[Any, ...]", arguments))


def _shape(_reader: PickleReader, size: Any = ()) -> tuple[int, ...]:
    return whole_numbers(size, _WHAT)


def _counter(_reader: PickleReader, counts: Any = None) -> dict[Any, Any]:
    if counts is not None and type(counts) is not dict:
        raise RefusedError("a Counter without a dict")
    return cast("dict[Any, Any]", counts or {})


def _device(_reader: PickleReader, *_: Any) -> Mark:
    return Mark("torch.device")


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any] | None] = {
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_tensor_v3"): _tensor_of_type,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch._utils", "_rebuild_parameter_with_state"): _parameter,
    ("torch._tensor", "_rebuild_from_type_v2"): _with_attributes,
    ("torch", "Size"): _shape,
    ("torch", "device"): _device,
    ("torch", "Tensor"): None,
    ("torch.nn.parameter", "Parameter"): None,
    ("torch.storage", "UntypedStorage"): None,
    ("collections", "Counter"): _counter,
}
_NAMES = {
    **{
        (module, name): Mark(
            "torch.UntypedStorage" if name == "UntypedStorage" else f"{module}.{name}", make
        )
        for (module, name), make in _FUNCTIONS.items()
    },
    **{("torch", name): Mark(f"torch.{name}") for name in _STORAGES},
    **{("torch", name.removeprefix("torch.")): Mark(name) for name in _DTYPES},
}
