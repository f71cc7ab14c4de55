"""`SequenceExample` and `Example`, the messages inside TFRecord files, without TensorFlow.

`parse` reads what features of videos need and skips the rest; `encode` writes a `SequenceExample`.

Source: protobuf.dev, "Encoding"; tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = list[bytes] | list[float] | list[int]
Span = tuple[int, int]

_VARINT, _EIGHT_BYTES, _SIZED, _FOUR_BYTES = 0, 1, 2, 5  # wire types
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3  # fields of a Feature; it has one of them
_SIZED_TAGS = {number: number << 3 | _SIZED for number in (_BYTES, _FLOATS)}
_TAG_1 = 1 << 3 | _SIZED


class WireError(Exception):
    """The bytes are not a message of the expected kind."""


@dataclass(frozen=True)
class Example:
    """Content of a message."""

    context: dict[str, Values] = field(default_factory=dict[str, Values])
    """Facts about the whole video: id, labels."""
    frames: dict[str, NDArray[Any]] = field(default_factory=dict[str, NDArray[Any]])
    """From stream to (T, dim): uint8 if frames are bytes, float32 if they are floats. May be a view
    of the message. A stream without frames is (0, 0)."""


def parse(data: bytes) -> Example:
    """Read a serialised `SequenceExample`, or an `Example` (which has no frames).

    Raises:
        WireError: `data` is neither, or frames of one stream differ in size.

    >>> one = parse(encode("abc", (3, 5), {"rgb": np.zeros((2, 4), np.uint8)}))
    >>> one.context, one.frames["rgb"].shape
    ({'id': [b'abc'], 'labels': [3, 5]}, (2, 4))
    """
    example = Example()
    for number, kind, at, end in _fields(data, 0, len(data)):
        if kind == _SIZED and number == 1:
            for name, span in _entries(data, at, end):
                example.context[name] = _feature(data, *span)[1]
        elif kind == _SIZED and number == 2:
            for name, span in _entries(data, at, end):
                frames = _frames(data, *span, name)
                if frames is not None:
                    example.frames[name] = frames
    return example


def encode(
    name: str,
    labels: Sequence[int] | None,
    streams: Mapping[str, NDArray[np.generic]],
    more: Mapping[str, Sequence[int] | NDArray[np.float32]] = MappingProxyType({}),
) -> bytes:
    """Serialise one video as the `SequenceExample` that YouTube-8M uses.

    Args:
        name: Name of the video, written as `id`.
        labels: Classes of the video; None writes no `labels`.
        streams: (T, dim) each, uint8 (one bytes value per frame) or float32 (one list per frame).
        more: Other facts about the whole video: lists of whole numbers, or arrays of floats.
    """
    context = _entry("id", _sized(_BYTES, _sized(1, name.encode("utf-8", "surrogateescape"))))
    if labels is not None:
        context += _entry("labels", _packed(labels))
    for key, values in more.items():
        context += _entry(key, _packed(values))
    lists = b"".join(_entry(stream, _encoded(frames)) for stream, frames in streams.items())
    return _sized(1, context) + _sized(2, lists)


# --- reading ---------------------------------------------------------------------------------


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Return the number at a position, and the position after it."""
    if at < end and data[at] < 0x80:  # most numbers are one byte
        return data[at], at + 1
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & (2**64 - 1), at
        shift += 7
        if shift > 63:
            raise WireError("a number of more than 10 bytes")
    raise WireError("ends within a number")


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the value of each field starts and ends."""
    while at < end:
        tag, at = _read_varint(data, at, end)
        kind = tag & 7
        if kind == _SIZED:
            size, at = _read_varint(data, at, end)
            stop = at + size
        elif kind == _VARINT:
            stop = _read_varint(data, at, end)[1]
        elif kind == _FOUR_BYTES:
            stop = at + 4
        elif kind == _EIGHT_BYTES:
            stop = at + 8
        else:
            raise WireError(f"a field of unknown kind {kind}")
        if stop > end:
            raise WireError("a field is longer than the message around it")
        if not 0 < tag >> 3 < 2**29:
            raise WireError(f"a field with number {tag >> 3}")
        yield tag >> 3, kind, at, stop
        at = stop


def _entries(data: bytes, at: int, end: int) -> Iterator[tuple[str, Span]]:
    """Yield the keys of a map, and where their values lie."""
    for number, kind, start, stop in _fields(data, at, end):
        if number != 1 or kind != _SIZED:
            continue
        key = b""
        span: Span | None = None
        for part, part_kind, part_start, part_stop in _fields(data, start, stop):
            if part_kind != _SIZED:
                continue
            if part == 1:
                key = data[part_start:part_stop]
            elif part == 2:
                if span is not None:
                    raise WireError("a feature is given twice")
                span = part_start, part_stop
        try:
            yield key.decode(), span or (stop, stop)
        except UnicodeDecodeError:
            raise WireError(f"a feature called {key!r}, which is not UTF-8") from None


def _feature(data: bytes, at: int, end: int) -> tuple[int, Values]:
    """Which of the three lists a feature has (0: none), and its values."""
    chosen = 0
    values: list[Any] = []
    for number, kind, start, stop in _fields(data, at, end):
        if kind != _SIZED or number not in (_BYTES, _FLOATS, _INTEGERS):
            continue
        if number != chosen:
            chosen, values = number, []
        for item, item_kind, item_start, item_stop in _fields(data, start, stop):
            if item != 1:
                continue
            if chosen == _BYTES and item_kind == _SIZED:
                values.append(data[item_start:item_stop])
            elif chosen == _FLOATS and item_kind in (_SIZED, _FOUR_BYTES):
                values += _floats(data, item_start, item_stop).tolist()
            elif chosen == _INTEGERS and item_kind in (_SIZED, _VARINT):
                values += _integers(data, item_start, item_stop)
    return chosen, values


def _floats(data: bytes, at: int, end: int) -> NDArray[np.float32]:
    if (end - at) % 4:
        raise WireError(f"a list of floats of {end - at} bytes")
    return np.frombuffer(data, "<f4", (end - at) // 4, at)


def _integers(data: bytes, at: int, end: int) -> Iterator[int]:
    while at < end:
        value, at = _read_varint(data, at, end)
        yield value - 2**64 if value >= 2**63 else value


def _frames(data: bytes, at: int, end: int, name: str) -> NDArray[Any] | None:
    """Read a list of features, one per frame: (T, dim). None if they are integers."""
    if at == end:
        return np.zeros((0, 0), np.uint8)
    even = _even_frames(data, at, end)
    return _uneven_frames(data, at, end, name) if even is None else even


def _even_frames(data: bytes, at: int, end: int) -> NDArray[Any] | None:
    """Read all frames at once, if they are all encoded in the same way; else None.

    Each frame is then a head, always the same bytes, followed by its values. Most files are so.
    """
    try:
        if data[at] != _TAG_1:
            return None
        size, inside = _read_varint(data, at + 1, end)
        stop = inside + size  # of the first frame
        field_tag = data[inside]
        for tag in (field_tag, _TAG_1):
            if inside >= stop or data[inside] != tag:
                return None
            size, inside = _read_varint(data, inside + 1, stop)
            if inside + size != stop:
                return None
    except (WireError, IndexError):
        return None
    stride, head = stop - at, inside - at
    if field_tag not in _SIZED_TAGS.values() or (end - at) % stride:
        return None
    rows = np.frombuffer(data, np.uint8, end - at, at).reshape(-1, stride)
    if not (rows[:, :head] == rows[0, :head]).all():
        return None
    values = rows[:, head:]
    if field_tag == _SIZED_TAGS[_BYTES]:
        return values
    return np.ascontiguousarray(values).view("<f4") if values.shape[1] % 4 == 0 else None


def _uneven_frames(data: bytes, at: int, end: int, name: str) -> NDArray[Any] | None:
    rows: list[Any] = []
    kinds: set[int] = set()
    for number, kind, start, stop in _fields(data, at, end):
        if number != 1 or kind != _SIZED:
            continue
        chosen, values = _feature(data, start, stop)
        kinds.add(chosen)
        if chosen == _BYTES and len(values) != 1:
            raise WireError(f"{len(values)} values in frame {len(rows)} of {name!r}, expected 1")
        rows.append(values[0] if chosen == _BYTES else values)
    if not rows:
        return np.zeros((0, 0), np.uint8)
    if kinds == {_INTEGERS}:
        return None
    if len(kinds) > 1 or 0 in kinds:
        raise WireError(f"frames of {name!r} of different kinds")
    sizes = [len(row) for row in rows]
    for frame, size in enumerate(sizes):
        if size != sizes[0]:
            raise WireError(
                f"{size} values in frame {frame} of {name!r}, but {sizes[0]} in the first"
            )
    if kinds == {_BYTES}:
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), sizes[0])
    return np.array(rows, np.float32).reshape(len(rows), sizes[0])


# --- writing ---------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    """Encode a number in seven bits per byte, the lowest first.

    >>> _varint(1024).hex()
    '8008'
    """
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _sized(number: int, value: bytes) -> bytes:
    return _varint(number << 3 | _SIZED) + _varint(len(value)) + value


def _packed(values: Sequence[int] | NDArray[np.float32]) -> bytes:
    """A feature: its numbers, one after the other."""
    if isinstance(values, np.ndarray):
        return _sized(_FLOATS, _sized(1, values.astype("<f4").tobytes()))
    return _sized(_INTEGERS, _sized(1, b"".join(_varint(value % 2**64) for value in values)))


def _entry(key: str, value: bytes) -> bytes:
    return _sized(1, _sized(1, key.encode()) + _sized(2, value))


def _encoded(frames: NDArray[np.generic]) -> bytes:
    """Write a list of features, one per frame."""
    is_bytes = frames.dtype == np.uint8
    values = np.ascontiguousarray(frames if is_bytes else frames.astype("<f4"))
    values = values.view(np.uint8).reshape(len(frames), -1) if frames.size else values[:, :0]
    size = values.shape[1]
    head = b""
    for tag in (_TAG_1, _SIZED_TAGS[_BYTES if is_bytes else _FLOATS], _TAG_1):  # inside out
        head = struct.pack("B", tag) + _varint(size + len(head)) + head
    rows = np.empty((len(frames), len(head) + size), np.uint8)
    rows[:, : len(head)] = np.frombuffer(head, np.uint8)
    rows[:, len(head) :] = values
    return rows.tobytes()
