"""Read pickles of plain data: numbers, text, bytes, containers and numpy arrays. Nothing runs.

A pickle is a program for a small machine with a stack and a memory. Python's unpickler calls any
function that the program names, and numpy's own constructors are enough to write outside an array.
PaddlePaddle's `.pdparams` and the data files of the 2019 library are pickles, so `PickleReader`
runs their programs itself. It never looks up or calls a name of the file: the few names that such
data needs are marks, and an array is made only if its bytes fit its shape.

What a hostile file can still do: hold plain data that are wrong, and cost time and memory in
proportion to its size. Memory while it is read, and the result itself, are at most
`MEMORY_FACTOR` times the file, and `MEMORY_BYTES`; honest files of arrays need two to three times
their size. Time is a few seconds per MiB in the worst case, and far less for honest files. An
object that the file refers to many times is counted each time, up to 64 times the file and 64 MiB,
so later code that walks through the result, prints or copies it does not meet an endless one.
Keys that are numbers are few, because a file could choose them so that looking them up is slow.
"""

from __future__ import annotations

import codecs
import math
import os
import pickle
import re
import stat
import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Set
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import DataError

Encoding = Literal["ASCII", "latin1", "utf-8", "bytes"]

MEMORY_FACTOR, MEMORY_BYTES = 150, 80 * 2**20
"""Most memory that a file may take: a multiple of its size, and a constant.

The largest parts: an empty dict is 72 bytes for one byte of a file; sets, references to one thing
and copies of it are counted, and may be 64 times the file and 64 MiB together; arrays 4 times.
"""
_MOST_LEVELS = 64
"""Levels of containers."""
_MOST_DIMENSIONS = 32
_MOST_DIGITS = 64
"""Characters of a number in text form."""
_MOST_INT_BYTES = 9
"""64 bits and a sign, the largest integers of arrays."""
_LARGE_BYTES = 2**16
_PARTS = 8
"""How far back in the memory the bytes of an array are, once the array is made."""
_MOST_NUMBERS = 2**16
"""Keys of one dict or set, if some are numbers: their places in it are known beforehand, and can be
chosen so that each new one is compared with all before it."""
_SHORT_BYTES = 64
_REFERENCE_BYTES = 16
"""What one more reference to a thing counts for."""
_SET_BYTES, _ITEM_BYTES, _PAIR_BYTES = 216, 64, 128
"""What an empty set, an item of one, and a pair of an ordered dict take."""

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_DECIMAL = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|inf)|nan")
_ESCAPED = re.compile(
    rb"""(?:[^\\]|\\(?:[\\'"abfnrtv]|x[0-9a-fA-F]{2}|[0-3][0-7]{2}))*+""", re.DOTALL
)
"""The escapes that Python 2 writes, and those that every Python reads alike."""
_ARRAY_CODE = re.compile(r"[<>=|]?(\?|b1|[iu][1248]|f[248]|c8|c16|[SU]\d{1,7}|O[48]?)")

_FLAGS = {False: (0, np.dtype("U").flags), True: (np.dtype(object).flags,)}
"""What numpy notes of types that hold objects, and of others."""

_SCALARS: frozenset[type] = frozenset(
    {
        *(int, float, bool, type(None)),
        *(np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32),
        *(np.uint64, np.float16, np.float32, np.float64),
    }
)
_TEXTS: frozenset[type] = frozenset({str, bytes})
_TEXT_KEYS = _TEXTS | {np.str_, np.bytes_}
_KEYS = _SCALARS | _TEXT_KEYS
"""What may be a key or in a set: nothing whose hash is slow, or easily made equal to another's."""
_COMPLEX: frozenset[type] = frozenset({np.complex64, np.complex128})
_HAVE_BYTES: frozenset[type] = frozenset({np.ndarray, np.str_, np.bytes_})
_DICTS: frozenset[type] = frozenset({dict, OrderedDict})
_SEQUENCES: frozenset[type] = frozenset({list, tuple, set, frozenset})
_CONTAINERS = _DICTS | _SEQUENCES
_PLAIN = _KEYS | _COMPLEX | _HAVE_BYTES | _CONTAINERS | {bytearray}


def load_pickle(path: Path, *, encoding: Encoding = "bytes") -> Any:
    """Return the plain data in a pickle file.

    Args:
        path: The file.
        encoding: How 8-bit strings written by Python 2 are decoded; `latin1` for arrays,
            `bytes` to keep them as bytes.

    Returns:
        Numbers, text, bytes, arrays that own their memory, and containers of these. Keys are
        numbers, text or bytes.

    Raises:
        DataError: The file is missing, is not a pickle, ends early, names code to run, or would
            grow far beyond its size.
    """
    try:
        with path.open("rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(f"{path}: cannot be read: not a regular file")
            data = file.read(1)
            if data in _FIRST_BYTES:  # do not load gigabytes of something else
                file.seek(0)
                data = file.read()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return PickleReader(data, encoding=encoding).read()
    except ForbiddenError as error:
        raise DataError(
            f"{path}: refused: this pickle asks to run {error}, "
            "and a data file holds only numbers, text, lists and arrays"
        ) from None
    except RefusedError as error:
        raise DataError(f"{path}: refused: {error}") from None
    except DamagedError as error:
        raise DataError(f"{path}: not a readable pickle ({error}); is it complete?") from None


class ForbiddenError(Exception):
    """The pickle names something to run; the message is that name."""


class RefusedError(Exception):
    """The pickle holds more than plain data, or would grow far beyond its size."""


class DamagedError(Exception):
    """The bytes are no pickle, or an incomplete one."""


@dataclass(frozen=True)
class Mark:
    """Stands for a name in a pickle."""

    name: str
    make: Callable[..., Any] | None = None
    """Called with the reader and the file's arguments, if the file calls the name."""


class _Dtype:
    """A type of elements, before and after its byte order is known."""

    __slots__ = ("dtype", "is_whole")

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.is_whole = False


class _Array:
    """An array that gets its content later in the file."""

    __slots__ = ("content",)

    def __init__(self) -> None:
        self.content: NDArray[Any] | None = None


_FREE = _SCALARS | {Mark, _Dtype}
"""What may be referred to as often as a file likes."""

_USED: Any = object()
"""In the memory, what has become part of another thing."""
_NDARRAY = Mark("numpy.ndarray")


class _Size(NamedTuple):
    num_bytes: int
    levels: int


class _Shared(NamedTuple):
    value: Any
    size: _Size


class PickleReader:
    """Reads one pickle.

    Attributes:
        position: Where the next byte to read is; after `read`, the end of the pickle.
    """

    def __init__(
        self,
        data: bytes,
        *,
        position: int = 0,
        encoding: Encoding = "bytes",
        names: Mapping[tuple[str, str], Mark] | None = None,
        persistent: Callable[[Any], Any] | None = None,
        leaves: Collection[type] = (),
        num_bytes: int | None = None,
    ) -> None:
        """Take the bytes.

        Args:
            data: The pickle, and perhaps more after it.
            position: Where it begins.
            encoding: As for `load_pickle`.
            names: (module, name) to mark, besides those of numpy arrays.
            persistent: Returns what a reference to something outside the pickle means.
            leaves: Types that `names` and `persistent` make, which the result may hold.
            num_bytes: The size that memory is compared with, where more belongs to the pickle
                than `data`.
        """
        self.position = position
        self._data = data
        self._encoding = encoding
        self._names = {**_NAMES, **(names or {})}
        self._persistent = persistent
        self._leaves = frozenset(leaves)
        self._plain = _PLAIN | self._leaves
        num_bytes = len(data) if num_bytes is None else num_bytes
        self._left_to_make = 2**20 + 4 * num_bytes
        self._left_to_share = 2**26 + 64 * num_bytes
        self._most_rows = 2**20 + num_bytes
        self._stack: list[Any] = []
        """What has come since the last mark."""
        self._outer: list[list[Any]] = []
        """What came before each mark."""
        self._memo: list[Any] = []
        self._has_gaps = False
        self._frame_end = 0
        self._shared: dict[int, _Shared] = {}
        """What is referred to more than once, by identity; it changes no more."""

    def read(self) -> Any:
        """Return what the pickle holds.

        Raises:
            ForbiddenError: It names something to run.
            RefusedError: It holds what plain data does not.
            DamagedError: It is not a whole pickle.
        """
        try:
            self._follow()
            if len(self._stack) != 1 or self._outer:
                raise DamagedError("it stops before it is complete")
            value = self._stack[0]
            self._measure(value, skipped=_SCALARS | _TEXTS)
        except (ForbiddenError, RefusedError, DamagedError):
            raise
        except IndexError:
            raise DamagedError("it ends early, or is none") from None
        except Exception as error:  # a damaged pickle can raise almost anything
            raise DamagedError(f"{type(error).__name__}: {error}"[:200]) from None
        return value

    def spend(self, num_bytes: int) -> None:
        """Count memory that will be allocated.

        Raises:
            RefusedError: The file is too small for this much memory.
        """
        self._left_to_make -= num_bytes
        if self._left_to_make < 0:
            raise RefusedError("it would take far more memory than the file has bytes")

    def share(self, num_bytes: int) -> None:
        """Count memory of small things, of which a file may have more: references, sets, views.

        Raises:
            RefusedError: There are far too many for the file's size.
        """
        self._left_to_share -= num_bytes
        if self._left_to_share < 0:
            raise RefusedError("it refers to the same things so often that they fill the memory")

    def _follow(self) -> None:
        """Run the instructions; the most frequent ones are handled right here."""
        data, steps, stack, memo, outer = self._data, _STEPS, self._stack, self._memo, self._outer
        index_at = _INDEX.unpack_from
        at = self.position
        while (opcode := data[at]) != _STOP:
            at += 1
            if opcode == _LONG_BINPUT:
                index = index_at(data, at)[0]
                if index == len(memo):
                    memo.append(stack[-1])
                else:
                    self._remember(index)
                at += 4
            elif opcode == _MEMOIZE:
                if self._has_gaps:
                    raise RefusedError("it numbers things in two ways")
                memo.append(stack[-1])
            elif opcode == _BINPUT:
                index = data[at]
                if index == len(memo):
                    memo.append(stack[-1])
                else:
                    self._remember(index)
                at += 1
            elif opcode in _GETS:
                if opcode == _BINGET:
                    index = data[at]
                    at += 1
                else:
                    index = index_at(data, at)[0]
                    at += 4
                value = memo[index] if index < len(memo) else _USED
                kind = type(value)
                if kind in _FREE or (kind in _TEXTS and len(value) <= _SHORT_BYTES):
                    stack.append(value)
                else:
                    stack.append(self._shared_value(value))
            elif opcode == _BININT1 and data[at + 1] != _BININT1:
                stack.append(data[at])
                at += 1
            elif opcode == _MARK:
                outer.append(stack)
                self._stack = stack = []
            elif opcode in _CONSTANTS:
                stack.append(_CONSTANTS[opcode])
            elif opcode in _SHORT_TUPLES:
                first = _SHORT_TUPLES[opcode]
                _ = stack[first]  # must be there
                stack[first:] = [tuple(stack[first:])]
            else:
                self.position = at
                steps[opcode](self, opcode)
                at, stack = self.position, self._stack
        self.position = at + 1

    # --- bytes -------------------------------------------------------------------------------

    def _take(self, count: int) -> bytes:
        start, end = self.position, self.position + count
        if end > len(self._data):
            raise DamagedError("it ends early")
        self.position = end
        return self._data[start:end]

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> bytes:
        end = self._data.find(b"\n", self.position)
        if end < 0:
            raise DamagedError("it ends early")
        line, self.position = self._data[self.position : end], end + 1
        return line

    def _digits(self) -> str:
        line = self._line()
        if len(line) > _MOST_DIGITS:
            raise RefusedError(f"a number of {len(line)} digits")
        return line.decode("ascii")

    def _old_text(self, raw: bytes) -> str | bytes:
        """A string of Python 2."""
        return raw if self._encoding == "bytes" else raw.decode(self._encoding)

    # --- the machine -------------------------------------------------------------------------

    def _skip(self, opcode: int) -> None:
        if opcode == _FRAME:
            size = self._number(8)
            if self.position < self._frame_end:
                raise DamagedError("a part of it begins before another ends")
            self._frame_end = self.position + size
            if self._frame_end > len(self._data):
                raise DamagedError("it ends early")
        elif (protocol := self._number(1)) > pickle.HIGHEST_PROTOCOL:
            raise DamagedError(f"protocol {protocol}")

    def _fixed(self, opcode: int) -> None:
        """A number in binary, and those of the same form that follow it."""
        form, pattern, dtype = _NUMBERS[opcode]
        start = self.position
        self.position += form.size
        self._stack.append(form.unpack_from(self._data, start)[0])
        if self._data[self.position] == opcode and (
            run := pattern.match(self._data, self.position)
        ):
            count = (run.end() - run.start()) // dtype.itemsize
            items = np.frombuffer(self._data, dtype, count, run.start())
            self._stack += items["value"].tolist()
            self.position = run.end()

    def _long(self, opcode: int) -> None:
        width = self._number(1 if opcode == _LONG1 else 4)
        if width > _MOST_INT_BYTES:
            raise RefusedError(f"a whole number of {width} bytes")
        self._stack.append(_bounded(int.from_bytes(self._take(width), "little", signed=True)))

    def _int_text(self, opcode: int) -> None:
        text = self._digits()
        if opcode == _INT and text in ("00", "01"):
            self._stack.append(text == "01")
            return
        digits = text if opcode == _INT else text.removesuffix("L")
        if not _INTEGER.fullmatch(digits):  # Python reads `010` as 8 or as 10
            raise DamagedError(f"{_printable(text)!r} is no whole number")
        self._stack.append(_bounded(int(digits)))

    def _float_text(self, _: int) -> None:
        text = self._digits()
        number = float(text) if _DECIMAL.fullmatch(text) else None
        if number is None or math.isinf(number) != ("inf" in text):
            raise DamagedError(f"{_printable(text)!r} is no number")
        self._stack.append(number)

    def _string_text(self, _: int) -> None:
        line = self._line().rstrip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise DamagedError("a string without quotes")
        if not _ESCAPED.fullmatch(line, 1, len(line) - 1):
            raise DamagedError("a string with unknown escapes")
        self._stack.append(self._old_text(codecs.escape_decode(line[1:-1])[0]))

    def _unicode_text(self, _: int) -> None:
        self._stack.append(self._line().decode("raw-unicode-escape"))

    def _counted(self, opcode: int) -> None:
        width, kind = _COUNTED[opcode]
        start = self.position + width
        self.position = start + int.from_bytes(self._data[self.position : start], "little")
        if self.position > len(self._data):
            raise DamagedError("it ends early")
        raw = self._data[start : self.position]
        if kind is str:
            self._stack.append(raw.decode("utf-8", "surrogatepass"))
        elif kind is bytes:
            self._stack.append(raw)
        elif kind is bytearray:
            self._stack.append(bytearray(raw))
        else:
            self._stack.append(self._old_text(raw))

    def _to_mark(self) -> list[Any]:
        items = self._stack
        self._stack = self._outer.pop()
        return items

    def _empty(self, opcode: int) -> None:
        made = _EMPTY[opcode]()
        if type(made) is set:
            self.share(_SET_BYTES)
        self._stack.append(made)

    def _from_mark(self, opcode: int) -> None:
        items = self._to_mark()
        if opcode == _TUPLE:
            self._stack.append(tuple(items))
        elif opcode == _LIST:
            self._stack.append(items)
        elif opcode == _FROZENSET:
            self.share(_SET_BYTES + _ITEM_BYTES * len(items))
            self._stack.append(frozenset(_keys(items)))
        else:
            self._stack.append({})
            self._fill(items)

    def _append(self, _: int) -> None:
        item = self._stack.pop()
        self._open(list).append(item)

    def _appends(self, _: int) -> None:
        items = self._to_mark()
        self._open(list).extend(items)

    def _add_items(self, _: int) -> None:
        items = self._to_mark()
        self.share(_ITEM_BYTES * len(items))
        target = self._open(set)
        target.update(_keys(items, already=len(target)))

    def _set_item(self, _: int) -> None:
        pair = self._stack[-2:]
        del self._stack[-2:]
        self._fill(pair)

    def _set_items(self, _: int) -> None:
        self._fill(self._to_mark())

    def _fill(self, items: list[Any]) -> None:
        if len(items) % 2:
            raise DamagedError("a key without a value")
        target = self._open(dict, OrderedDict)
        if type(target) is OrderedDict:
            self.share(_PAIR_BYTES * len(items) // 2)
        target.update(zip(_keys(items[::2], already=len(target)), items[1::2], strict=True))

    def _open(self, *kinds: type) -> Any:
        """The container on the stack, which may still change."""
        target = self._stack[-1]
        if type(target) not in kinds:
            raise RefusedError(f"it puts items into a {_kind_name(target)}")
        if id(target) in self._shared:
            raise RefusedError("it changes a container that it has used already")
        return target

    # --- memory ------------------------------------------------------------------------------

    def _put(self, _: int) -> None:
        self._remember(self._index())

    def _get(self, _: int) -> None:
        index = self._index()
        value = self._memo[index] if 0 <= index < len(self._memo) else _USED
        self._stack.append(self._shared_value(value))

    def _index(self) -> int:
        text = self._digits()
        if not _INTEGER.fullmatch(text):
            raise DamagedError(f"{_printable(text)!r} is no whole number")
        return int(text)

    def _remember(self, index: int) -> None:
        """Keep what is on the stack by a number. A list holds it: a dict could be made slow."""
        value, memo = self._stack[-1], self._memo
        if index < 0 or (index >= len(memo) and index >= max(len(self._data), 256)):
            raise RefusedError(f"it numbers a thing {index}: more than it has bytes")
        if index < len(memo):
            self._has_gaps |= memo[index] is _USED
            memo[index] = value
        else:
            self._has_gaps |= index > len(memo)
            memo += [_USED] * (index - len(memo))
            memo.append(value)

    def _shared_value(self, value: Any) -> Any:
        """What is in the memory, as it may be used once more."""
        if value is _USED:
            raise RefusedError("it refers to what it does not hold, or has used up")
        if type(value) is _Array:
            value = value.content
            if value is None:
                raise RefusedError("it puts an array into itself")
        kind = type(value)
        if kind in _TEXTS:
            self.share(len(value))
        elif kind not in _FREE:
            known = self._shared.get(id(value))
            if known is None:
                size = self._measure(value, skipped=_SCALARS)
                known = self._shared[id(value)] = _Shared(value, size)
            self.share(known.size.num_bytes)
        return value

    def _forget(self, raw: bytes | bytearray | str) -> None:
        """Release bytes that have become an array, to not hold them twice.

        They are in the memory by themselves, and in what was passed on with them.
        """
        if len(raw) < _LARGE_BYTES:
            return
        for index in range(max(0, len(self._memo) - _PARTS), len(self._memo)):
            held = self._memo[index]
            if held is raw or (
                type(held) is tuple
                and len(cast("tuple[Any, ...]", held)) <= _PARTS
                and any(part is raw for part in held)
            ):
                self._memo[index] = _USED

    def _arguments(self) -> tuple[Any, ...]:
        """What a name is called with, or a thing gets as its state."""
        arguments = self._stack.pop()
        if type(arguments) is not tuple:
            raise RefusedError(f"it passes on a {_kind_name(arguments)}")
        return cast("tuple[Any, ...]", arguments)

    def _measure(self, value: Any, skipped: Set[type]) -> _Size:
        """The size of a value, with what is shared counted each time.

        Args:
            value: Anything on the stack.
            skipped: Kinds that count as a reference only.

        Raises:
            RefusedError: It holds what is not plain data, or has too many levels.
        """
        num_bytes, levels = 0, 0
        groups: list[Any] = [(value,)]
        level = 0
        while groups:
            num_bytes += _REFERENCE_BYTES * sum(map(len, groups))
            kinds = set(map(type, chain.from_iterable(groups)))
            if not kinds <= self._plain:
                raise RefusedError(f"it holds a {_strange(kinds - self._plain)}")
            if kinds <= skipped:
                break
            rest = [item for item in chain.from_iterable(groups) if type(item) not in skipped]
            level += 1
            groups = []
            for item in rest:
                kind = type(item)
                if known := self._shared.get(id(item)):
                    num_bytes += known.size.num_bytes
                    levels = max(levels, level + known.size.levels)
                elif kind in _SEQUENCES:
                    groups.append(item)
                elif kind in _DICTS:
                    groups += (item.keys(), item.values())
                elif kind in _TEXTS or kind is bytearray:
                    num_bytes += len(item)
                else:
                    num_bytes += getattr(item, "nbytes", 0)
                    if kind is np.ndarray and item.dtype.hasobject:
                        groups.append(list(item.flat))
            levels = max(levels, level)
            if levels > _MOST_LEVELS:
                raise RefusedError(f"more than {_MOST_LEVELS} levels of containers in containers")
        return _Size(num_bytes, levels)

    # --- names -------------------------------------------------------------------------------

    def _global(self, opcode: int) -> None:
        if opcode == _STACK_GLOBAL:
            module, name = self._stack[-2:]
            del self._stack[-2:]
        else:
            module, name = self._line().decode(), self._line().decode()
        if type(module) is not str or type(name) is not str:
            raise DamagedError("a name that is not text")
        mark = self._names.get((module, name))
        if mark is None or opcode == _INST:
            raise ForbiddenError(_printable(f"{module}.{name}"))
        self._stack.append(mark)

    def _reduce(self, _: int) -> None:
        arguments = self._arguments()
        mark = self._stack.pop()
        if type(mark) is not Mark:
            raise RefusedError(f"it calls a {_kind_name(mark)}")
        if mark.make is None:
            raise ForbiddenError(mark.name)
        self._stack.append(mark.make(self, *arguments))

    def _build(self, _: int) -> None:
        target = self._stack[-2]
        if type(target) is OrderedDict:  # its attributes, such as the versions of a state dict
            self._stack.pop()
            return
        state = self._arguments()
        if type(target) is _Dtype:
            _finish_dtype(target, state)
        elif type(target) is _Array and target.content is None:
            target.content = self._stack[-1] = self._array_of_state(*state)
        else:
            raise RefusedError(f"it sets attributes of a {_kind_name(target)}")

    def _persistent_id(self, opcode: int) -> None:
        if self._persistent is None:
            raise RefusedError("it refers to something outside the file")
        name = self._stack.pop() if opcode == _BINPERSID else self._line().decode("ascii")
        self._stack.append(self._persistent(name))

    def _unused(self, opcode: int) -> None:
        raise RefusedError(f"it uses the instruction {bytes([opcode])!r}; plain data needs none")

    def _unknown(self, opcode: int) -> None:
        raise DamagedError(f"no instruction {bytes([opcode])!r}, at byte {self.position - 1}")

    # --- what the names of numpy and the standard library mean -------------------------------

    def encode(self, text: Any, encoding: Any) -> bytes:
        """Undo how Python 3 writes bytes in protocols 0 to 2."""
        if type(text) is not str or type(encoding) is not str:
            raise ForbiddenError("_codecs.encode")
        if encoding != "latin1":  # other codecs could inflate a small file
            raise ForbiddenError(_printable(f"_codecs.encode(..., {encoding!r})"))
        self._forget(text)
        self.spend(len(text))
        return text.encode("latin1")

    def scalar(self, dtype: Any, raw: Any) -> Any:
        """A numpy scalar."""
        if type(dtype) is _Dtype and dtype.dtype.hasobject:
            raise RefusedError("a numpy scalar that is an object")
        if type(raw) not in _TEXTS:
            raise RefusedError("a numpy scalar without bytes")
        found = self._array(raw, dtype, (), "C")
        return found.astype(found.dtype.newbyteorder("="))[()]

    def from_buffer(
        self, raw: Any, dtype: Any, shape: Any, order: Any, axes: Any = None
    ) -> NDArray[Any]:
        """An array of protocol 5."""
        if order not in ("C", "F", "K"):
            raise RefusedError("an array with an unknown order")
        if (order == "K") != (axes is not None):
            raise RefusedError("an array with an unknown order")
        if type(dtype) is _Dtype and dtype.dtype.hasobject:
            raise RefusedError("objects in a buffer")
        array = self._array(raw, dtype, shape, "F" if order == "F" else "C")
        if axes is not None:
            array = array.transpose(whole_numbers(axes, "an array")).copy(order="K")
        return array

    def _array_of_state(
        self, version: Any, shape: Any, dtype: Any, is_fortran: Any, raw: Any
    ) -> NDArray[Any]:
        """An array of protocols 0 to 4, in the byte order of the machine."""
        if version != 1 or type(is_fortran) not in (bool, int) or type(raw) is bytearray:
            raise RefusedError("an array of an unknown version")
        array = self._array(raw, dtype, shape, "F" if is_fortran else "C")
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        return array

    def _array(self, raw: Any, dtype: Any, shape: Any, order: Literal["C", "F"]) -> NDArray[Any]:
        if type(dtype) is not _Dtype or not dtype.is_whole:
            raise RefusedError("an array without a type")
        kind, dims = dtype.dtype, whole_numbers(shape, "an array")
        count = math.prod(dims)
        if not count:
            if math.prod(max(1, n) for n in dims) > self._most_rows:
                raise RefusedError(f"an empty array of shape {dims}")
            self.share(_REFERENCE_BYTES * math.prod(dims[: dims.index(0)]))  # rows without values
        if kind.hasobject:
            if type(raw) is not list or len(cast("list[Any]", raw)) != count:
                raise RefusedError(f"an array of shape {dims} without its {count} objects")
            self.share(self._measure(raw, skipped=_SCALARS).num_bytes)
            array: Any = np.empty(0, object)
            array.__setstate__((1, dims, np.dtype(object), order == "F", raw))
            return array
        content = raw.encode("latin1") if type(raw) is str else raw
        if type(content) is not bytes and type(content) is not bytearray:
            raise RefusedError("an array without bytes")
        if len(content) != count * kind.itemsize:
            raise RefusedError(
                f"an array of shape {dims} and type {kind} needs {count * kind.itemsize} bytes, "
                f"it has {len(content)}"
            )
        self._forget(raw)
        self.spend(len(content))
        if not kind.itemsize and dims:
            raise RefusedError(f"an array of shape {dims} and type {kind}")
        array = np.ndarray(dims, kind, content, order=order).copy(order="K")
        check_elements(array)
        return array


# --- names and what they make ----------------------------------------------------------------


def _begin_array(_reader: PickleReader, kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _NDARRAY:
        raise RefusedError("an array of a kind of its own")
    if type(code) not in _TEXTS or code not in ("b", b"b") or whole_numbers(shape, "it") != (0,):
        raise RefusedError("an array that begins with content")
    return _Array()


def _begin_dtype(_reader: PickleReader, code: Any, align: Any = 0, copy: Any = 0) -> _Dtype:
    text = code.decode("latin1") if type(code) is bytes else code
    if type(align) not in (bool, int) or type(copy) not in (bool, int):
        raise RefusedError("an array of an unknown version")
    if type(text) is not str or not _ARRAY_CODE.fullmatch(text):
        raise RefusedError("an array whose elements are neither numbers nor text")
    return _Dtype(np.dtype("O" if text.strip("<>=|").startswith("O") else text))


def _finish_dtype(dtype: _Dtype, state: tuple[Any, ...]) -> None:
    """Take the byte order. What would make a record of it, or change its size, is refused."""
    if dtype.is_whole or len(state) != 8 or any(part is not None for part in state[2:5]):
        raise RefusedError("an array whose elements are records")
    if type(state[0]) is not int or state[0] != 3:
        raise RefusedError("an array whose elements are of an unknown version")
    order = state[1].decode("latin1") if type(state[1]) is bytes else state[1]
    size, alignment, flags = state[5:]
    if type(order) is not str or order not in ("<", ">", "=", "|"):
        raise RefusedError("an array in an unknown byte order")
    sizes = (dtype.dtype.itemsize, -1)[: 1 if dtype.dtype.kind in "SU" else 2]
    if type(size) is not int or size not in sizes:
        raise RefusedError("an array whose elements change their size")
    if alignment not in (-1, dtype.dtype.alignment) or flags not in _FLAGS[dtype.dtype.hasobject]:
        raise RefusedError("an array whose elements change their place")
    if (order == "|") != (dtype.dtype.byteorder == "|"):
        raise RefusedError("an array in an unknown byte order")
    if order != "|":
        dtype.dtype = dtype.dtype.newbyteorder(order)
    dtype.is_whole = True


def _ordered(reader: PickleReader, pairs: Any = ()) -> OrderedDict[Any, Any]:
    if type(pairs) is not tuple and type(pairs) is not list:
        raise RefusedError("an OrderedDict without pairs")
    if not set(map(type, cast("list[Any]", pairs))) <= {tuple, list}:
        raise RefusedError("an OrderedDict without pairs")
    reader.share(_PAIR_BYTES * (1 + len(cast("list[Any]", pairs))))
    keys: list[Any] = []
    values: list[Any] = []
    for key, value in cast("list[Any]", pairs):
        keys.append(key)
        values.append(value)
    return OrderedDict(zip(_keys(keys), values, strict=True))


def _no_bytes(_reader: PickleReader) -> bytes:
    """Empty bytes, as Python 3 writes them in protocols 0 to 2."""
    return b""


def _names() -> dict[tuple[str, str], Mark]:
    names = {
        ("numpy", "ndarray"): _NDARRAY,
        ("numpy", "dtype"): Mark("numpy.dtype", _begin_dtype),
        ("collections", "OrderedDict"): Mark("collections.OrderedDict", _ordered),
        ("_codecs", "encode"): Mark("_codecs.encode", PickleReader.encode),
    }
    for core in ("numpy.core", "numpy._core"):
        names |= {
            (f"{core}.multiarray", "_reconstruct"): Mark("numpy.array", _begin_array),
            (f"{core}.multiarray", "scalar"): Mark("numpy.scalar", PickleReader.scalar),
            (f"{core}.numeric", "_frombuffer"): Mark("numpy.array", PickleReader.from_buffer),
        }
    for builtins in ("builtins", "__builtin__"):
        names[builtins, "bytes"] = Mark("bytes", _no_bytes)
    return names


_NAMES = _names()


def check_elements(array: NDArray[Any]) -> None:
    """Refuse bytes that are not valid elements of their type, which numpy does not check.

    Raises:
        RefusedError: There are booleans other than 0 and 1, or characters that are none.
    """
    if array.dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise RefusedError("an array of booleans that are neither 0 nor 1")
    if array.dtype.kind == "U" and array.size:
        flat = array.ravel(order="K")
        if (flat.view(np.dtype(np.uint32).newbyteorder(flat.dtype.byteorder)) > 0x10FFFF).any():
            raise RefusedError("an array of text that is none")


def whole_numbers(value: Any, what: str) -> tuple[int, ...]:
    """A shape, or what else has a number for each dimension.

    Args:
        value: As the file has it.
        what: It is of, for messages: `an array`.

    Raises:
        RefusedError: It is no tuple of whole numbers from 0, or a very long one.
    """
    items = cast("tuple[Any, ...]", value)
    if type(value) is not tuple or len(items) > _MOST_DIMENSIONS:
        raise RefusedError(f"{what} without a shape")
    if any(type(item) is not int or item < 0 for item in items):
        raise RefusedError(f"{what} whose shape is not of whole numbers")
    return items


def _keys(items: list[Any], already: int = 0) -> list[Any]:
    """Return what may be keys of a dict or a set that has some already."""
    kinds = set(map(type, items))
    if not kinds <= _KEYS:
        raise RefusedError(f"a key is a {_strange(kinds - _KEYS)}, expected text or a number")
    if already + len(items) > _MOST_NUMBERS and not kinds <= _TEXT_KEYS:
        raise RefusedError(
            f"more than {_MOST_NUMBERS} keys of one dict or set, some of them numbers"
        )
    return items


def _bounded(number: int) -> int:
    if number.bit_length() > 64:
        raise RefusedError(f"a whole number of {number.bit_length()} bits")
    return number


def _kind_name(value: object) -> str:
    return value.name if isinstance(value, Mark) else type(value).__name__.strip("_")


def _strange(kinds: Collection[type]) -> str:
    names = {Mark: "name of a function", _Array: "array without content", _Dtype: "numpy.dtype"}
    return min(names.get(kind, kind.__name__) for kind in kinds)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:100])


# --- instructions ----------------------------------------------------------------------------

_STOP, _FRAME, _LONG1, _INT = pickle.STOP[0], pickle.FRAME[0], pickle.LONG1[0], pickle.INT[0]
_MARK, _BININT1, _MEMOIZE = pickle.MARK[0], pickle.BININT1[0], pickle.MEMOIZE[0]
_BINPUT, _LONG_BINPUT = pickle.BINPUT[0], pickle.LONG_BINPUT[0]
_BINGET = pickle.BINGET[0]
_GETS = frozenset({_BINGET, pickle.LONG_BINGET[0]})
_INDEX = struct.Struct("<I")
_TUPLE, _LIST, _FROZENSET = pickle.TUPLE[0], pickle.LIST[0], pickle.FROZENSET[0]
_INST, _STACK_GLOBAL, _BINPERSID = pickle.INST[0], pickle.STACK_GLOBAL[0], pickle.BINPERSID[0]

_CONSTANTS = {pickle.NONE[0]: None, pickle.NEWTRUE[0]: True, pickle.NEWFALSE[0]: False}
_EMPTY: dict[int, Callable[[], Any]] = {
    pickle.EMPTY_TUPLE[0]: tuple,
    pickle.EMPTY_LIST[0]: list,
    pickle.EMPTY_DICT[0]: dict,
    pickle.EMPTY_SET[0]: set,
}
_SHORT_TUPLES = {pickle.TUPLE1[0]: -1, pickle.TUPLE2[0]: -2, pickle.TUPLE3[0]: -3}
_COUNTED: dict[int, tuple[int, type | None]] = {
    pickle.SHORT_BINUNICODE[0]: (1, str),
    pickle.BINUNICODE[0]: (4, str),
    pickle.BINUNICODE8[0]: (8, str),
    pickle.SHORT_BINBYTES[0]: (1, bytes),
    pickle.BINBYTES[0]: (4, bytes),
    pickle.BINBYTES8[0]: (8, bytes),
    pickle.BYTEARRAY8[0]: (8, bytearray),
    pickle.SHORT_BINSTRING[0]: (1, None),
    pickle.BINSTRING[0]: (4, None),
}
"""Width of the count of bytes, and what they are; None for a string of Python 2."""


def _numbers(code: bytes, form: str) -> tuple[struct.Struct, re.Pattern[bytes], np.dtype[Any]]:
    size = struct.calcsize(form)
    run = re.compile(rb"(?:%b[\s\S]{%d}){1,1000}+" % (code, size))
    order, letter = (form[0], form[1]) if len(form) > 1 else ("<", form)
    dtype = np.dtype([("code", "u1"), ("value", f"{order}{letter}")])
    return struct.Struct(form), run, dtype


_NUMBERS = {
    pickle.BININT[0]: _numbers(pickle.BININT, "<i"),
    pickle.BININT1[0]: _numbers(pickle.BININT1, "B"),
    pickle.BININT2[0]: _numbers(pickle.BININT2, "<H"),
    pickle.BINFLOAT[0]: _numbers(pickle.BINFLOAT, ">d"),
}

_Step = Callable[[PickleReader, int], None]


def _steps() -> list[_Step]:
    """What to do for each of the 256 instructions."""
    reader = PickleReader
    named: dict[bytes, _Step] = {
        pickle.PROTO: reader._skip,
        pickle.FRAME: reader._skip,
        pickle.LONG1: reader._long,
        pickle.LONG4: reader._long,
        pickle.INT: reader._int_text,
        pickle.LONG: reader._int_text,
        pickle.FLOAT: reader._float_text,
        pickle.STRING: reader._string_text,
        pickle.UNICODE: reader._unicode_text,
        pickle.TUPLE: reader._from_mark,
        pickle.LIST: reader._from_mark,
        pickle.DICT: reader._from_mark,
        pickle.FROZENSET: reader._from_mark,
        pickle.APPEND: reader._append,
        pickle.APPENDS: reader._appends,
        pickle.ADDITEMS: reader._add_items,
        pickle.SETITEM: reader._set_item,
        pickle.SETITEMS: reader._set_items,
        pickle.PUT: reader._put,
        pickle.GET: reader._get,
        pickle.GLOBAL: reader._global,
        pickle.STACK_GLOBAL: reader._global,
        pickle.INST: reader._global,
        pickle.REDUCE: reader._reduce,
        pickle.BUILD: reader._build,
        pickle.PERSID: reader._persistent_id,
        pickle.BINPERSID: reader._persistent_id,
    }
    unused = (
        *(pickle.POP, pickle.POP_MARK, pickle.DUP, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        *(pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER),
    )
    steps: list[_Step] = [reader._unknown] * 256
    for code in unused:
        steps[code[0]] = reader._unused
    for code, step in named.items():
        steps[code[0]] = step
    for codes, step in (
        (_EMPTY, reader._empty),
        (_COUNTED, reader._counted),
        (_NUMBERS, reader._fixed),
    ):
        for code in codes:
            steps[code] = step
    return steps


_STEPS = _steps()
_FIRST_BYTES = frozenset(
    bytes([code])
    for code, step in enumerate(_STEPS)
    if code in _CONSTANTS
    or code in (_MARK, _STOP)
    or step not in (PickleReader._unknown, PickleReader._unused)
)
