"""Pickles as an attacker would write them: programs of valid instructions, and changes of them."""

from __future__ import annotations

import io
import pickle
import pickletools
import struct
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, cast

import numpy as np

MOST_BYTES = 200_000

NAMES = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("builtins", "bytes"),
    ("__builtin__", "bytes"),
}
"""Names that pickles of plain data call: those that `safe_pickle` has a meaning for."""
_STRANGERS = (
    *(("os", "system"), ("builtins", "eval"), ("numpy", "load"), ("numpy", "zeros")),
    *(("builtins", "getattr"), ("numpy.core.multiarray", "empty"), ("", ""), ("numpy", "void")),
)
_SIZES = (0, 1, 2, 3, 4, 8, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**63, -1, -2)
_CODES = (
    *("f4", "f8", "<f4", ">f8", "i8", ">i2", "u1", "b1", "?", "S3", "U2", "<U2", ">U1", "O8", "O"),
    *("c8", "f2", "V8", "M8", "S0", "U0", "S9999999", "i4", "|u1", "=f4", "f16", "x", "", "f4,f4"),
)


# --- programs --------------------------------------------------------------------------------


def program(rng: Random) -> bytes:
    """A whole pickle, of a random protocol's instructions, whose stack mostly fits."""
    made = _value(rng, 0)
    start = rng.choice((b"", b"\x80\x02", b"\x80\x04", b"\x80\x05"))
    return start + made + b"."


def _integer(rng: Random) -> bytes:
    value = rng.choice(_SIZES)
    forms: list[Callable[[], bytes]] = [
        lambda: b"K" + bytes([value & 255]),
        lambda: b"M" + struct.pack("<H", value & 0xFFFF),
        lambda: b"J" + struct.pack("<i", (value + 2**31) % 2**32 - 2**31),
        lambda: b"I%d\n" % value,
        lambda: b"L%dL\n" % value,
        lambda: b"\x8a" + _long(value),
        lambda: rng.choice(
            (b"I00\n", b"I01\n", b"I010\n", b"I0x10\n", b"I1_0\n", b"L7\n", b"I+1\n")
        ),
    ]
    return rng.choice(forms)()


def _long(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return bytes([len(raw)]) + raw


def _text(rng: Random, value: str | None = None) -> bytes:
    value = value if value is not None else rng.choice(("", "a", "ab", "é", "😀", "a" * 70, "\n\\"))
    raw = value.encode()
    forms = [b"X" + struct.pack("<I", len(raw)) + raw, b"\x8d" + struct.pack("<Q", len(raw)) + raw]
    if len(raw) < 256:
        forms.append(b"\x8c" + bytes([len(raw)]) + raw)
    if value.isascii() and "\n" not in value and "\\" not in value:
        forms += [b"V" + raw + b"\n", b"S'" + raw + b"'\n"]
        forms += [b"U" + bytes([len(raw)]) + raw] if len(raw) < 256 else []
    return rng.choice(forms)


def _bytes(rng: Random, value: bytes | None = None) -> bytes:
    value = value if value is not None else rng.choice((b"", b"a", b"\0\xff", b"x" * 100))
    forms = [
        b"B" + struct.pack("<I", len(value)) + value,
        b"\x8e" + struct.pack("<Q", len(value)) + value,
        b"\x96" + struct.pack("<Q", len(value)) + value,
    ]
    if len(value) < 256:
        forms.append(b"C" + bytes([len(value)]) + value)
    return rng.choice(forms[: 3 if rng.random() < 0.1 else 2] + forms[3:])


_FLOATS = (b"F1.5\n", b"F-1e5\n", b"Finf\n", b"Fnan\n", b"F1_0\n", b"F1e999\n", b"F 1\n", b"F.5\n")
_ESCAPES = (
    b"S'a\\x00b'\n",
    b'S"\\n\\\\"\n',
    b"S'\\q'\n",
    b"S'\\1'\n",
    b"S'a\n",
    b" S'a'\n",
    b"S'\\'\n",
)


def _leaf(rng: Random) -> bytes:
    match rng.randrange(9):
        case 0 | 1:
            return _integer(rng)
        case 2 | 3:
            return _text(rng)
        case 4:
            return _bytes(rng)
        case 5:
            return rng.choice((b"N", b"\x88", b"\x89", b")"))
        case 6:
            return b"G" + struct.pack(">d", rng.choice((0.0, -0.0, 1.5, 1e300, float("nan"))))
        case 7:
            return rng.choice(_FLOATS)
        case _:
            return rng.choice(_ESCAPES)


def _value(rng: Random, level: int) -> bytes:
    """Instructions that leave one more thing on the stack, which may be kept in the memory."""
    what = rng.randrange(12) if level < 4 else rng.randrange(3)
    inner = [_value(rng, level + 1) for _ in range(rng.randrange(4))] if what > 2 else []
    match what:
        case 0 | 1:
            made = _leaf(rng)
        case 2:
            made = rng.choice((b"h\0", b"h\1", b"h\2", b"j\0\0\0\0", b"g0\n", b"g1\n", b"K\1"))
        case 3 | 4:
            body = b"".join(inner)
            forms = [
                b"](" + body + b"e",
                b"(" + body + b"l",
                b"]" + b"".join(i + b"a" for i in inner),
            ]
            made = rng.choice(forms)
        case 5:
            made = b"(" + b"".join(inner) + b"t"
            if 0 < len(inner) < 4:
                made = b"".join(inner) + b"\x85\x86\x87"[len(inner) - 1 : len(inner)]
        case 6 | 7:
            keys = [rng.choice((_text, _integer, _bytes))(rng) for _ in inner]
            pairs = [key + value for key, value in zip(keys, inner, strict=True)]
            start = rng.choice((b"}", b"}", b"ccollections\nOrderedDict\n)R"))
            many = b"(" + b"".join(pairs)
            made = rng.choice(
                (start + many + b"u", many + b"d", start + b"".join(p + b"s" for p in pairs))
            )
        case 8:
            keys = [rng.choice((_text, _integer))(rng) for _ in inner]
            made = rng.choice(
                (b"(" + b"".join(keys) + b"\x91", b"\x8f(" + b"".join(keys) + b"\x90")
            )
        case 9:
            pairs = [_text(rng) + value + b"\x86" for value in inner]
            made = b"ccollections\nOrderedDict\n](" + b"".join(pairs) + b"e\x85R"
            if rng.random() < 0.2:
                made += b"}b"
        case _:
            made = _array(rng, level)
    if rng.random() < 0.4:
        made += rng.choice((b"q" + bytes([rng.randrange(4)]), b"\x94", b"r\1\0\0\0", b"p2\n"))
    return made


def _dtype(rng: Random, code: str) -> bytes:
    order = rng.choice(("|", "<", ">", "=") if rng.random() < 0.3 else ("<",))
    size = np.dtype(code).itemsize if code[:1] in ("S", "U") and rng.random() < 0.8 else -1
    flags = b"K\x3f" if code.startswith("O") else b"K\0"
    rest = b"NNNJ" + struct.pack("<i", size) + b"J\xff\xff\xff\xff" + flags
    state = b"(K" + bytes([rng.choice((3, 3, 3, 3, 4, 0))]) + _text(rng, order) + rest + b"tb"
    if rng.random() < 0.05:
        state = b""
    return b"cnumpy\ndtype\n" + _text(rng, code) + b"\x89\x88\x87R" + state


def _array(rng: Random, level: int) -> bytes:
    code = rng.choice(_CODES[:15] if rng.random() < 0.85 else _CODES)
    shape = [rng.choice((0, 1, 2, 3)) for _ in range(rng.randrange(4))]
    size = 1
    with suppress(Exception):
        size = np.dtype(code).itemsize
    count = int(np.prod(shape, dtype=np.int64))
    if code.startswith("O"):
        raw = b"](" + b"".join(_value(rng, level + 1) for _ in range(count)) + b"e"
    else:
        zeros = bytes(count * size) if count * size < 10_000 else b""
        content = zeros if code in ("b1", "?") or "U" in code else rng.randbytes(len(zeros))
        raw = _bytes(rng, content + rng.choice((b"", b"", b"", b"", b"x")))
    if rng.random() < 0.1:
        shape.append(rng.choice(_SIZES))
    dims = b"(" + b"".join(b"\x8a" + _long(n) for n in shape) + b"t"
    core = rng.choice(("numpy.core", "numpy._core")).encode()
    match rng.randrange(4):
        case 0:
            order = rng.choice("CFKX") if rng.random() < 0.5 else "C"
            more = b"(" + b"".join(b"K" + bytes([n]) for n in range(len(shape))) + b"t"
            last = _text(rng, order) + (more if order == "K" and rng.random() < 0.8 else b"")
            call = b"c" + core + b".numeric\n_frombuffer\n("
            return call + raw + _dtype(rng, code) + dims + last + b"tR"
        case 1:
            one = _bytes(rng, rng.randbytes(size) if size < 100 else b"")
            return b"c" + core + b".multiarray\nscalar\n" + _dtype(rng, code) + one + b"\x86R"
        case _:
            begun = b"c" + core + b".multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\1b\x87R"
            fortran = rng.choice((b"\x89", b"\x89", b"\x88", b"K\1", b"N"))
            return begun + b"(K\1" + dims + _dtype(rng, code) + fortran + raw + b"tb"


# --- changes ---------------------------------------------------------------------------------


def instructions(content: bytes) -> list[bytes]:
    """The instructions of a pickle, as far as it has any; the rest is the last."""
    places: list[int] = []
    with suppress(Exception):
        for _, _, place in pickletools.genops(content):
            places.append(cast("int", place))
    ends = [*places[1:], len(content)] if places else [len(content)]
    whole = [content[a:b] for a, b in zip(places or [0], ends, strict=True)]
    if whole and whole[-1][:1] == b"." and len(whole[-1]) > 1:
        whole[-1:] = [b".", whole[-1][1:]]
    return whole


def mutate_pickle(rng: Random, content: bytes) -> bytes:
    """Another program, or this one with instructions changed, moved, repeated or put in."""
    if rng.random() < 0.3:
        return program(rng)
    steps = instructions(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        at = rng.randrange(len(steps) + 1)
        match rng.randrange(10):
            case 0:
                steps[at:at] = [_value(rng, 2)]
            case 1 if at < len(steps):
                del steps[at]
            case 2 if at < len(steps):
                steps[at:at] = [steps[at]] * rng.choice((1, 2, 300))
            case 3 if at + 1 < len(steps):
                steps[at], steps[at + 1] = steps[at + 1], steps[at]
            case 4:
                steps[at:at] = [rng.choice(_SINGLE)]
            case 5 | 6 if at < len(steps) and len(steps[at]) > 1:
                steps[at] = _changed(rng, steps[at])
            case 7:
                module, name = rng.choice((*NAMES, *_STRANGERS))
                steps[at:at] = [f"c{module}\n{name}\n".encode()]
            case 8 if at < len(steps):
                other = rng.randrange(len(steps))
                steps[at] = steps[other]
            case _:
                steps[at:at] = [rng.choice((b"h", b"q")) + bytes([rng.randrange(12)])]
    return b"".join(steps)[:MOST_BYTES]


_SINGLE = tuple(bytes([code]) for code in range(256))


def _changed(rng: Random, step: bytes) -> bytes:
    data = bytearray(step)
    if step[:1] in (b"X", b"B", b"T", b"j", b"r", b"J") and rng.random() < 0.5:
        data[1:5] = struct.pack("<I", rng.choice(_SIZES) % 2**32)
    elif step[:1] in (b"\x8d", b"\x8e", b"\x95", b"\x96") and rng.random() < 0.5:
        data[1:9] = struct.pack("<Q", rng.choice(_SIZES) % 2**64)
    else:
        place = rng.randrange(1, len(data))
        data[place] = rng.choice((0, 1, 255, 128, rng.randrange(256)))
    return bytes(data)


# --- the ordinary unpickler ------------------------------------------------------------------


class _Ordinary(pickle.Unpickler):
    """Python's own, with the names that plain data need."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return super().find_class(module, name)


def ordinary(content: bytes, encoding: str) -> Any:
    """What Python reads; only for pickles that `safe_pickle` has accepted."""
    return _Ordinary(io.BytesIO(content), encoding=encoding).load()


def differences(found: Any, expected: Any, where: str = "it") -> str | None:
    """How two values differ: in type, value, shape, order; None if they do not."""
    kind = type(expected)
    if type(found) is not kind:
        return f"{where} is a {type(found).__name__}, and not a {kind.__name__}"
    if isinstance(expected, np.ndarray):
        if (found.dtype, found.shape) != (expected.dtype, expected.shape):
            return f"{where}: {found.dtype} {found.shape}, not {expected.dtype} {expected.shape}"
        if expected.dtype.hasobject:
            return differences(list(found.flat), list(expected.flat), f"{where}.flat")
        same = found.tobytes() == expected.tobytes()
        return None if same else f"{where}: other bytes"
    if kind in (dict, OrderedDict):
        told = cast("dict[Any, Any]", expected)
        return differences(list(found), list(told), f"keys of {where}") or differences(
            list(found.values()), list(told.values()), f"values of {where}"
        )
    if kind in (list, tuple):
        told = cast("list[Any]", expected)
        if len(found) != len(told):
            return f"{where} has {len(found)} items, not {len(told)}"
        pairs = zip(found, told, strict=True)
        all_pairs = (differences(a, b, f"{where}[{n}]") for n, (a, b) in enumerate(pairs))
        return next((text for text in all_pairs if text is not None), None)
    if kind in (set, frozenset):
        same = sorted(map(repr, found)) == sorted(map(repr, expected))
    elif isinstance(expected, float):
        same = struct.pack("<d", found) == struct.pack("<d", expected) or found != found
    else:
        same = repr(found) == repr(expected)
    return None if same else f"{where}: {found!r:.80}, not {expected!r:.80}"


# --- what a pickle holds ---------------------------------------------------------------------

_HELD: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 2**31, 2**63, 2**70, 0.5, -0.0, 1e308, float("nan"), float("inf")),
    *("", "a", "1", "a_1_2", "_1_2", "a_9_1", "a_-1_5", b"a", b"\xff", "\ud800", "a" * 3000),
    *([], (), {}, [[]], [1], [1, 2, 3], {"a": 1}, {1: 2}, [None], (1, "a"), 1 + 2j),
)
_ARRAYS: tuple[Callable[[], Any], ...] = (
    lambda: np.zeros(0, np.float32),
    lambda: np.zeros((0, 3), np.float32),
    lambda: np.zeros((2, 0), np.float32),
    lambda: np.float32(1),
    lambda: np.array(1.0),
    lambda: np.ones((1, 2, 3, 4)),
    lambda: np.full((2, 8), np.nan, np.float32),
    lambda: np.full(8, np.inf),
    lambda: np.full((5, 8), 1e300),
    lambda: np.array(["a", "b"]),
    lambda: np.array([b"a"]),
    lambda: np.array([[1], "a"], object),
    lambda: np.ones(8, np.complex64),
    lambda: np.ones(8, bool),
    lambda: np.ones((5, 8), np.int64),
    lambda: np.array([2**63], np.uint64),
    lambda: np.ones(3, "f2"),
)


def mutate_held(rng: Random, content: bytes) -> bytes:
    """Change what a pickle holds: values, keys, arrays; the pickle itself stays a good one."""
    if rng.random() < 0.25:
        return mutate_pickle(rng, content)
    try:
        holder = [ordinary(content, "latin1")]
    except Exception:
        return mutate_pickle(rng, content)
    try:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            holder[0] = _held(rng, holder[0])
        return pickle.dumps(holder[0], rng.choice((0, 2, 2, 3, 4, 5)))[:MOST_BYTES]
    except Exception:  # a change that does not suit an array, or text that old protocols lack
        return mutate_pickle(rng, content)


def _held(rng: Random, value: Any) -> Any:
    """The value with one thing in it changed."""
    goes_in = rng.random() < 0.75
    if isinstance(value, dict) and value and goes_in:
        held = dict(cast("dict[Any, Any]", value))
        key = rng.choice(list(held))
        match rng.randrange(6):
            case 0:
                del held[key]
            case 1:
                other = rng.choice((None, 1, "", b"", "x", ("a",), str(key).upper(), f"{key} "))
                held[other] = held.pop(key)
            case _:
                held[key] = _held(rng, held[key])
        return held
    if isinstance(value, list | tuple) and value and goes_in:
        items = list(cast("list[Any]", value))
        at = rng.randrange(len(items))
        match rng.randrange(8):
            case 0:
                del items[at]
            case 1:
                items.insert(at, items[rng.randrange(len(items))])
            case 2:
                items = items * rng.choice((2, 50))
            case _:
                items[at] = _held(rng, items[at])
        return items if isinstance(value, list) or rng.random() < 0.2 else tuple(items)
    if isinstance(value, np.ndarray) and rng.random() < 0.5:
        array = cast("np.ndarray[Any, Any]", value)
        forms: list[Callable[[], Any]] = [
            lambda: array[:0],
            lambda: array[..., :-1],
            lambda: array[None],
            lambda: array.T,
            lambda: array.astype(rng.choice(("f2", "f8", "i4", "u1", "c8", "S4", "?", ">f4"))),
            lambda: array.tolist(),
            lambda: array.ravel(),
            lambda: array * rng.choice((np.nan, np.inf, 0, -1, 1e30)),
        ]
        with np.errstate(all="ignore"):
            return rng.choice(forms)()
    return rng.choice(_HELD) if rng.random() < 0.6 else rng.choice(_ARRAYS)()
