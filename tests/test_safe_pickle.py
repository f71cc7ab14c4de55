"""Pickles are read as data, or not at all."""

import codecs
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from videozoo.errors import DataError
from videozoo.safe_pickle import (
    PickleReader,
    RefusedError,
    load_pickle,
)

ROOT = Path(__file__).parents[1]


class Attack:
    """Runs a command when it is unpickled by the ordinary means."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        function, *arguments = self.call
        return function, tuple(arguments)


def saved(folder: Path, content: Any, protocol: int = 2) -> Path:
    path = folder / "data.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back_whole(tmp_path: Path, protocol: int):
    content = OrderedDict(
        a=np.arange(6, dtype=np.float32).reshape(2, 3),
        b=[1, 2.5, None, True, "text", b"\x00\xff bytes"],
        c={"deep": (np.float64(3), np.int32(4))},
    )

    back = load_pickle(saved(tmp_path, content, protocol))

    np.testing.assert_array_equal(back["a"], content["a"])
    assert back["b"] == content["b"]
    assert back["c"] == content["c"]


@pytest.mark.parametrize(
    "call",
    [
        (os.makedirs, "owned"),
        (eval, "open('owned', 'w')"),
        (exec, "open('owned', 'w')"),
        (np.load, "owned"),
        (codecs.encode, "a" * 100, "zip"),
        (getattr, "text", "upper"),
    ],
    ids=["os.makedirs", "eval", "exec", "numpy.load", "codec", "getattr"],
)
def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, call: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, ["harmless", Attack(*call)])

    with pytest.raises(DataError) as error:
        load_pickle(path)

    assert str(path) in str(error.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2, 3])[:-3]])
def test_damaged_files_are_named(tmp_path: Path, content: bytes):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"damaged\.pkl: not a readable pickle"):
        load_pickle(path)


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.pkl: cannot be read"):
        load_pickle(tmp_path / "gone.pkl")


# --- hostile pickles -------------------------------------------------------------------------
# written by hand: the ordinary pickler makes none of them


def text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def raw(value: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(value)) + value


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def several(*parts: bytes) -> bytes:
    return b"(" + b"".join(parts) + b"t"


def called(name: str, *arguments: bytes) -> bytes:
    module, _, function = name.rpartition(".")
    return f"c{module}\n{function}\n".encode() + several(*arguments) + b"R"


def dtype(code: str, order: str = "|", *more: bytes) -> bytes:
    """More: sub-array, names, fields, size, alignment, flags."""
    size = np.dtype(code).itemsize if code[0] in "SU" else -1
    flags = 63 if code[0] == "O" else 0
    parts = more or (b"N", b"N", b"N", number(size), number(-1), number(flags))
    state = several(number(3), text(order), *parts)
    return called("numpy.dtype", text(code), b"\x89", b"\x88") + state + b"b"


def array(kind: bytes, shape: bytes, content: bytes, fortran: bytes = b"\x89") -> bytes:
    begun = called(
        "numpy.core.multiarray._reconstruct",
        *(b"cnumpy\nndarray\n", several(number(0)), raw(b"b")),
    )
    return begun + several(number(1), shape, kind, fortran, content) + b"b"


def chain(first: bytes, one: bytes, count: int = 40) -> bytes:
    """Things that hold the one before them twice; `one` has two places for it."""
    made = first + b"q\0"
    for index in range(count):
        before = b"h" + bytes([index])
        made += one.replace(b"@", before) + b"q" + bytes([index + 1])
    return made


FIELD = several(text("a")), b"}(" + text("a") + several(dtype("f8", "<"), number(1 << 28)) + b"u"
RECORD = dtype("V8", "|", b"N", *FIELD, number(8), number(1), number(16))
INFINITE = {"list": (b"]", b"](@@e"), "tuple": (b")", b"@@\x86"), "dict": (b"}", b"}(K\0@K\1@u")}

EMPTY = array(dtype("u1"), several(number(5000), number(0)), raw(b""))
"""An array with rows and no values."""

HOSTILE = {
    "ndarray called": (called("numpy.ndarray", several(number(9)), text("u1")), "numpy.ndarray"),
    "a new ndarray": (b"cnumpy\nndarray\n)\x81", "instruction"),
    "fields outside": (called("numpy.ndarray", several(number(1)), RECORD), "neither numbers"),
    "fields of numbers": (array(dtype("f8", "<", b"N", *FIELD), several(), raw(b"")), "records"),
    "fields of a known size": (
        array(
            dtype("f8", "<", b"N", *FIELD, number(8), number(-1), number(0)),
            *(several(number(1)), raw(bytes(8))),
        ),
        "records",
    ),
    "fields in a scalar": (
        called("numpy.core.multiarray.scalar", dtype("f8", "<", b"N", *FIELD), raw(bytes(8))),
        "records",
    ),
    "a sub-array": (dtype("f8", "<", several(dtype("f8", "<"), number(9)), b"N", b"N"), "records"),
    "texts that grow": (
        dtype("S8", "|", b"N", b"N", b"N", number(10**6), number(1), number(0)),
        "change their size",
    ),
    "a type set twice": (
        dtype("f8", "<") + several(number(3), text(">"), b"N", b"N", b"N") + b"b",
        "records",
    ),
    "too few bytes": (array(dtype("f8", "<"), several(number(10)), raw(bytes(8))), "80 bytes"),
    "too many bytes": (array(dtype("u1"), several(number(1)), raw(bytes(8))), "needs 1 bytes"),
    "negative shape": (array(dtype("u1"), several(number(-8)), raw(bytes(8))), "shape"),
    "two negatives": (array(dtype("u1"), several(number(-2), number(-4)), raw(bytes(8))), "shape"),
    "a shape of floats": (array(dtype("u1"), several(b"G" + bytes(8)), raw(b"")), "shape"),
    "many dimensions": (array(dtype("u1"), several(*[number(1)] * 65), raw(b"x")), "shape"),
    "endless and empty": (
        array(dtype("u1"), several(number(0), number(2**31 - 1)), raw(b"")),
        "an empty array",
    ),
    "elements without size": (
        array(
            dtype("S0", "|", b"N", b"N", b"N", number(0), number(1), number(0)),
            *(several(number(2**31 - 1)), raw(b"")),
        ),
        "an array of shape",
    ),
    "objects from bytes": (array(dtype("O8"), several(number(1)), raw(b"A" * 8)), "objects"),
    "an object scalar": (
        called("numpy.core.multiarray.scalar", dtype("O8"), b"]N" + b"a"),
        "an object",
    ),
    "fewer objects": (array(dtype("O8"), several(number(2)), b"]Na"), "its 2 objects"),
    "an array in itself": (
        called(
            "numpy.core.multiarray._reconstruct",
            *(b"cnumpy\nndarray\n", several(number(0)), raw(b"b")),
        )
        + b"q\0"
        + several(number(1), several(number(1)), dtype("O8"), b"\x89", b"]h\0a")
        + b"b",
        "into itself",
    ),
    "false booleans": (array(dtype("b1"), several(number(2)), raw(b"\1\xff")), "0 nor 1"),
    "characters that are none": (
        array(dtype("U1", "<"), several(number(1)), raw(b"\xff\xff\xff\x7f")),
        "text that is none",
    ),
    "dates": (array(dtype("M8", "<"), several(number(1)), raw(bytes(8))), "neither numbers"),
    "attributes of a function": (
        b"cnumpy.core.numeric\n_frombuffer\n" + b"N}\x86b",
        "sets attributes",
    ),
    "attributes of a list": (b"]N}\x86b", "sets attributes of a list"),
    "items of an array": (
        array(dtype("u1"), several(number(1)), raw(b"x")) + b"K\0K\1s",
        "puts items into a ndarray",
    ),
    "items of text": (text("abc") + b"Na", "puts items into a str"),
    "a call of text": (text("abc") + b")R", "calls a str"),
    "a call of a name's result": (called("collections.OrderedDict") + b")R", "calls a Ordered"),
    "an extension": (b"\x82\x01", "instruction"),
    "something outside": (b"Pname\n", "outside the file"),
    "a buffer outside": (b"\x97", "instruction"),
    "a name by itself": (b"cnumpy\nndarray\n", "holds a name of a function"),
    "a name in a list": (b"]cnumpy\ndtype\na", "holds a"),
    "a list in itself": (b"]q\0h\0a", "used already"),
    "a dict in itself": (b"}q\0K\0h\0s", "used already"),
    "changed after use": (b"]q\0]h\0ah\0Naa", "used already"),
    "deep lists": (b"]" * 5000 + b"a" * 4999, "levels"),
    "deep tuples": (b")" + b"\x85" * 5000, "levels"),
    "a tuple as a key": (b"})Ns", "a key is a tuple"),
    "an array as a key": (
        b"}" + array(dtype("u1"), several(number(1)), raw(b"x")) + b"Ns",
        "a key is a ndarray",
    ),
    "a long index": (b"Nr\0\0\0\x10", "numbers a thing"),
    "a negative index": (b"Np-5\n", "numbers a thing"),
    "an index of digits": (b"Np" + b"9" * 5000 + b"\n", "digits"),
    "a huge number": (b"\x8b" + struct.pack("<i", 2000) + b"\xff" * 2000, "whole number"),
    "a number of digits": (b"I" + b"9" * 5000 + b"\n", "digits"),
    "a number of some digits": (b"I" + b"9" * 4000 + b"\n", "4000 digits"),
    "a long number": (b"L" + b"9" * 40 + b"L\n", "whole number"),
    "bytes announced": (b"\x8e" + struct.pack("<Q", 1 << 40), "ends early"),
    "text announced": (b"\x8d" + struct.pack("<Q", 1 << 63), "ends early"),
    "a frame announced": (b"\x95" + struct.pack("<Q", 1 << 40) + b"N", "ends early"),
    "a frame in a frame": (
        b"\x95" + struct.pack("<Q", 12) + b"\x95" + struct.pack("<Q", 2) + b"NN0",
        "before another ends",
    ),
    "an octal number": (b"I010\n", "no whole number"),
    "a number with marks": (b"F1_0\n", "no number"),
    "a number without end": (b"F1e999\n", "no number"),
    "unknown escapes": (b"S'\\q'\n", "unknown escapes"),
    "a tuple over a mark": (b"N(N\x86", "ends early"),
    "an item over a mark": (b"](a", "ends early"),
    "things numbered in two ways": (b"Nq\5N\x94\x86", "two ways"),
    "what is not numbered": (b"Nq\5h\4\x86", "does not hold"),
    "flags of objects": (
        dtype("f8", "<", b"N", b"N", b"N", number(-1), number(-1), number(63)),
        "change their place",
    ),
    "another version of types": (
        called("numpy.dtype", text("f8"), b"\x89", b"\x88")
        + several(number(1), text("<"), b"N", b"N", b"N", *[number(-1)] * 2, number(0))
        + b"b",
        "unknown version",
    ),
    "pairs that are sets": (called("collections.OrderedDict", b"]\x8f(K\1K\2\x90a"), "pairs"),
    "many empty arrays": (b"](" + EMPTY * 5000 + b"e", "so often"),
    "keys that can be chosen": (
        b"}(" + b"".join(number(2**16 * n) + b"N" for n in range(2**15)) * 3 + b"u",
        "some of them numbers",
    ),
    "numbers put into a set step by step": (
        b"\x8f(" + b"".join(map(number, range(2**16))) + b"\x90(" + number(-1) + b"\x90",
        "some of them numbers",
    ),
    "a codec": (called("_codecs.encode", text("a" * 99), text("zip")), "_codecs.encode"),
    "the same text often": (text("a" * 2**20) + b"q\0" + b"](" + b"h\0" * 999 + b"ee", "so often"),
    "the same bytes as arrays": (
        raw(bytes(60_000))
        + b"q\0"
        + array(dtype("u1"), several(number(60_000)), b"h\0") * 99
        + several(),
        "memory",
    ),
    **{f"endless {name}": (chain(*parts), "so often") for name, parts in INFINITE.items()},
    "endless keys": (b"}" + chain(*INFINITE["tuple"]) + b"Ns", "so often"),
    "endless arrays": (
        chain(
            array(dtype("O8"), several(number(1)), b"]Na"),
            array(dtype("O8"), several(number(2)), b"](@@e"),
        ),
        "so often",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_pickle_is_refused_before_it_costs_anything(tmp_path: Path, name: str):
    program, says = HOSTILE[name]
    path = tmp_path / "hostile.pkl"
    path.write_bytes(b"\x80\x02" + program + b".")
    tracemalloc.start()

    try:
        with pytest.raises(DataError, match=says) as error:
            load_pickle(path, encoding="latin1")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500
    assert peak < 30 * 2**20


def test_a_part_of_an_array_is_not_sought_in_all_that_was_kept():
    kept = b"(" + b"N" * 300_000 + b"t" + b"".join(b"q%c" % n for n in range(40, 50))
    one = array(b"h\1", several(number(2**16)), b"h\0")
    program = raw(bytes(2**16)) + b"q\0" + dtype("u1") + b"q\1" + kept + b"(" + one * 20 + b"t"
    start = time.process_time()

    with suppress(RefusedError):  # the type is left over
        PickleReader(several(program) + b".").read()

    assert time.process_time() - start < 1  # 0.02 s; if it is sought there, 4 s


GROWING = {
    "dicts": (b"", b"}"),
    "lists": (b"", b"]"),
    "marks": (b"", b"("),
    "dicts of one": (b"", b"}NNs"),
    "sets": (b"", b"\x8f"),
    "sets of five": (b"", b"\x8f(K\0K\1K\2K\3K\4\x90"),
    "frozen sets": (b"", b"(\x91"),
    "kept": (b"N", b"\x94"),
    "kept far away": (b"N", b"Nr\xff\xff\x0f\0"),
    "used again": (b"", b"]q\0h\0"),
    "ordered dicts": (b"ccollections\nOrderedDict\nq\0", b"h\0)R"),
    "ordered dicts of one": (b"ccollections\nOrderedDict\nq\0N\x85q\1", b"h\0)RNNs"),
    "ordered dicts of one list": (
        b"](" + b"(K\0K\1t" * 10_000 + b"e\x85q\0ccollections\nOrderedDict\nq\1",
        b"h\1h\0R",
    ),
    "scalars": (
        b"cnumpy.core.multiarray\nscalar\nq\0" + dtype("f8", "<") + raw(bytes(8)) + b"\x86q\1",
        b"h\0h\1R",
    ),
}


MEASURE = """
import sys
from pathlib import Path
from tests.peak_memory import peak_bytes
from tests.test_safe_pickle import GROWING
from videozoo.safe_pickle import *

for name in sys.argv[1:]:
    start, one = GROWING[name]
    program = start + one * (2_000_000 // len(one)) + b"."
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes()
    try:
        PickleReader(program).read()
    except (DamagedError, RefusedError):
        pass
    grown, most = peak_bytes() - before, MEMORY_FACTOR * len(program) + MEMORY_BYTES
    assert grown < most, f"{name}: {grown:,} bytes for {len(program):,}"
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures as Linux does")
def test_memory_stays_in_proportion_to_the_file():
    subprocess.run([sys.executable, "-c", MEASURE, *GROWING], cwd=ROOT, check=True)


def test_files_that_are_no_regular_files_are_not_read_for_ever():
    with pytest.raises(DataError, match="not a regular file"):
        load_pickle(Path("/dev/zero"))


@pytest.mark.parametrize("protocol", range(6))
def test_a_damaged_pickle_is_data_or_an_error(tmp_path: Path, protocol: int):
    random = Random(protocol)
    content = [
        {"video": b"a", "scores": np.eye(3, dtype=np.float32), "text": ["x"] * 3, "n": (1, 2.5)},
        OrderedDict(a=np.array([[1], "b"], object), b=np.float64(3), c=np.array(["ab", "c"])),
    ]
    whole = pickle.dumps(content, protocol)
    path = tmp_path / "damaged.pkl"
    for _ in range(150):
        damaged = bytearray(whole)
        for _ in range(random.randint(1, 3)):
            place = random.randrange(len(damaged))
            damaged[place : place + random.randint(0, 2)] = random.randbytes(random.randint(0, 2))
        path.write_bytes(damaged)
        with suppress(DataError):
            repr(load_pickle(path, encoding=random.choice(["latin1", "bytes"])))


# --- good pickles ----------------------------------------------------------------------------


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        assert found.strides == expected.strides or not found.size
        assert found.flags.writeable
        if expected.dtype.hasobject:
            assert_same(list(found.flat), list(expected.flat))
        else:
            assert found.flags.owndata
            assert found.tobytes() == expected.tobytes()
    elif isinstance(expected, dict):
        assert_same(list(found), list(expected))
        assert_same(list(found.values()), list(cast("dict[Any, Any]", expected).values()))
    elif isinstance(expected, list | tuple):
        assert len(found) == len(cast("list[Any]", expected))
        for one, other in zip(found, cast("list[Any]", expected), strict=True):
            assert_same(one, other)
    else:
        assert repr(found) == repr(expected)


DTYPES = ["?", "u1", "<i4", ">i8", "<f2", "<f4", ">f8", "<c8", "S3", "<U2", ">U2"]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=300),
    st.binary(max_size=300),
    st.sampled_from(DTYPES).flatmap(
        lambda code: arrays(code, array_shapes(min_dims=0, min_side=0, max_side=4))
    ),
    st.sampled_from(DTYPES).flatmap(lambda code: arrays(code, (1,)).map(lambda one: one[0])),
    arrays("<f4", (3, 4)).map(np.asfortranarray),
    arrays("<f8", (2, 3, 4)).map(lambda one: one.transpose(1, 0, 2)),
)
KEYS = st.one_of(st.text(max_size=9), st.binary(max_size=9), st.integers(-99, 99), st.booleans())


def objects_of(items: list[Any]) -> NDArray[Any]:
    made = np.empty(len(items), object)
    for index, item in enumerate(items):
        made[index] = item
    return made


DATA = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5),
        st.lists(inner, max_size=5).map(tuple),
        st.lists(inner, max_size=5).map(objects_of),
        st.dictionaries(KEYS, inner, max_size=5),
        st.dictionaries(KEYS, inner, max_size=5).map(OrderedDict),
        inner.map(lambda item: [item, item, (item,)]),
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(content=DATA, protocol=st.integers(0, 5))
def test_plain_data_is_read_as_the_ordinary_unpickler_reads_it(content: Any, protocol: int):
    stored = pickle.dumps(content, protocol)

    assert_same(PickleReader(stored).read(), pickle.loads(stored))


@pytest.mark.parametrize("numbers", [[0.5] * 2500, [7] * 2500, [300] * 2500, [-70_000] * 2500])
def test_long_lists_of_numbers_are_whole(numbers: list[Any]):
    mixed = [*numbers, None, *numbers[:3], 255, 256, -1, 2.0]
    stored = pickle.dumps(mixed, 2)

    assert PickleReader(stored).read() == mixed


def test_what_is_shared_stays_shared():
    shared = [np.arange(3)]
    first, second = PickleReader(pickle.dumps([shared, shared])).read()

    assert first is second


def test_attributes_of_an_ordered_dict_are_left_out():
    content: Any = OrderedDict(a=1)
    content.versions = {"a": 1}

    assert PickleReader(pickle.dumps(content, 2)).read() == OrderedDict(a=1)
