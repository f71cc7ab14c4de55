import os
import pickle
import pickletools
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from videozoo.errors import WeightsError
from videozoo.weights.kinds import sniff
from videozoo.weights.paddle import read_paddle, write_pdparams

GOLDEN = Path(__file__).parents[1] / "golden" / "param_formats"
CODES = {"?": 0, "<i2": 1, "<i4": 2, "<i8": 3, "<f2": 4, "<f4": 5, "<f8": 6, "|u1": 20, "|i1": 21}
dtypes = st.sampled_from(sorted(CODES))


def varint(value: int) -> bytes:
    out = b""
    while value >= 0x80:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def record(array: NDArray[Any], *, lod: tuple[bytes, ...] = (), packed: bool = False) -> bytes:
    code = CODES[np.dtype(array.dtype).str.replace("|b1", "?")]
    dims = b"".join(varint(n) for n in array.shape)
    fields = b"".join(b"\x10" + varint(n) for n in array.shape)
    description = (
        b"\x08" + varint(code) + (b"\x12" + varint(len(dims)) + dims if packed else fields)
    )
    levels = b"".join(struct.pack("<Q", len(level)) + level for level in lod)
    head = struct.pack("<IQ", 0, len(lod)) + levels
    return head + struct.pack("<Ii", 0, len(description)) + description + array.tobytes()


def test_three_recorded_containers_hold_the_same_values():
    pickled = read_paddle(GOLDEN / "weights.pdparams")
    folder = read_paddle(GOLDEN / "one_file_per_param")
    combined = read_paddle(GOLDEN / "combined" / "all_params", names=list(pickled))

    assert pickled["sim_mat_weights"].shape == (3, 12, 1, 1)
    assert pickled.keys() == folder.keys() == combined.keys()
    for name, array in pickled.items():
        np.testing.assert_array_equal(array, folder[name], strict=True)
        np.testing.assert_array_equal(array, combined[name], strict=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    array=dtypes.flatmap(lambda d: arrays(np.dtype(d), array_shapes(max_dims=5, max_side=4))),
    lod=st.lists(st.binary(max_size=9), max_size=2),
    packed=st.booleans(),
)
def test_every_type_and_shape_comes_back(
    tmp_path: Path, array: NDArray[Any], lod: list[bytes], packed: bool
):
    file = tmp_path / "w"
    file.write_bytes(record(array, lod=tuple(lod), packed=packed))

    read = read_paddle(file, names=["w"])["w"]

    assert read.dtype == array.dtype
    assert read.tobytes() == array.tobytes()
    assert read.flags.writeable


def test_folder_gives_each_file_its_name(tmp_path: Path):
    folder = tmp_path / "ResNet50_pretrained" / "ResNet50_pretrained"  # as archives unpack
    folder.mkdir(parents=True)
    (folder / "fc_0.w_0").write_bytes(record(np.ones((2, 3), np.float32)))
    (folder / "fc_0.b_0").write_bytes(record(np.zeros(3, np.float32)))
    (folder / "__model__").write_bytes(b"a program")
    (folder / ".hidden").write_bytes(b"")

    read = read_paddle(tmp_path / "ResNet50_pretrained")

    assert {name: array.shape for name, array in read.items()} == {
        "fc_0.w_0": (2, 3),
        "fc_0.b_0": (3,),
    }


def test_combined_file_is_in_the_order_of_sorted_names(tmp_path: Path):
    shapes = {"fc_10.w_0": 1, "fc_2.w_0": 2, "Z": 3, "a": 4}  # bytes: Z < a < fc_10 < fc_2
    records = [record(np.zeros(shapes[n], np.float32)) for n in ("Z", "a", "fc_10.w_0", "fc_2.w_0")]
    (tmp_path / "TSN_params.pdparams").write_bytes(b"".join(records))

    read = read_paddle(tmp_path / "TSN_params", names=shapes)

    assert {name: len(array) for name, array in read.items()} == shapes


def test_combined_file_needs_as_many_names_as_it_has_records(tmp_path: Path):
    (tmp_path / "p").write_bytes(record(np.zeros(1, np.float32)) * 3)

    with pytest.raises(WeightsError, match="holds 3 parameters, and the model has 2"):
        read_paddle(tmp_path / "p", names=["a", "b"])
    with pytest.raises(WeightsError, match="3 parameters without names"):
        read_paddle(tmp_path / "p")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_a_cut_record_is_never_read_as_whole(tmp_path: Path, data: st.DataObject):
    whole = record(np.arange(6, dtype=np.float32).reshape(2, 3), lod=(b"12345678",))
    length = data.draw(st.integers(4, len(whole) - 1))
    (tmp_path / "w").write_bytes(whole[:length])

    with pytest.raises(WeightsError, match=r"(w: not a parameter at byte 0 of \d+|a weights file)"):
        read_paddle(tmp_path / "w", names=["w"])


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (4, b"\xff" * 8, "LoD levels, expected a few at most"),
        (12, b"\x01", "tensor version 1, expected 0"),
        (16, b"\xff" * 4, "a description of -1 bytes"),
        (21, b"\x13", "data type 19, expected one of"),
        (20, b"\x1a", "an unknown field 3"),
        (23, b"\xff", "shape|description|ends within"),
    ],
)
def test_garbage_says_what_was_expected(tmp_path: Path, at: int, value: bytes, says: str):
    content = bytearray(record(np.zeros((2, 3), np.float32)))
    content[at : at + len(value)] = value
    (tmp_path / "w").write_bytes(content)

    with pytest.raises(WeightsError, match=says):
        read_paddle(tmp_path / "w", names=["w"])


def test_huge_sizes_in_damaged_files_take_no_memory(tmp_path: Path):
    head = struct.pack("<IQIi", 0, 0, 0, 12)
    message = b"\x08\x05\x10\xff\xff\xff\xff\x0f\x10\xff\xff\x7f"
    (tmp_path / "w").write_bytes(head + message + bytes(50))

    with pytest.raises(WeightsError, match="ends within the data of float32"):
        read_paddle(tmp_path / "w", names=["w"])


def test_empty_folder_is_an_error(tmp_path: Path):
    with pytest.raises(WeightsError, match="an empty folder"):
        read_paddle(tmp_path)


def test_folder_with_a_foreign_file_names_it(tmp_path: Path):
    (tmp_path / "README").write_text("Some words that are no parameter.")

    with pytest.raises(WeightsError, match=r"README: not a parameter at byte 0"):
        read_paddle(tmp_path)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read(tmp_path: Path, protocol: int):
    weights = {"fc_0.w_0": np.arange(6, dtype=np.float32).reshape(2, 3)}
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(weights, protocol=protocol))

    read = read_paddle(tmp_path / "w")

    np.testing.assert_array_equal(read["fc_0.w_0"], weights["fc_0.w_0"], strict=True)


def test_tables_and_pairs_of_later_versions_are_understood(tmp_path: Path):
    content = {
        "fc.w": ("fc_0.w_0", np.ones(2, np.float32)),
        "StructuredToParameterName@@": {"fc.w": "fc_0.w_0"},
    }
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content, protocol=2))

    assert list(read_paddle(tmp_path / "w.pdparams")) == ["fc.w"]


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return vars(os)["system"], ("touch hacked",)


@pytest.mark.parametrize("protocol", range(6))
def test_hostile_pickles_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, protocol: int
):
    monkeypatch.chdir(tmp_path)
    Path("w.pdparams").write_bytes(pickle.dumps({"w": _Hostile()}, protocol=protocol))

    with pytest.raises(WeightsError, match=r"w\.pdparams: refused: this pickle asks to run"):
        read_paddle(Path("w.pdparams"))

    assert not Path("hacked").exists()


@pytest.mark.parametrize("content", [[1, 2], {"w": "text"}, {"w": np.array([None])}])
def test_pickles_of_other_things_are_errors(tmp_path: Path, content: Any):
    (tmp_path / "w.pdparams").write_bytes(pickle.dumps(content, protocol=2))

    with pytest.raises(WeightsError, match=r"expected \{parameter name: array\}|not an array"):
        read_paddle(tmp_path / "w.pdparams")


def test_cut_pickle_says_so(tmp_path: Path):
    write_pdparams(tmp_path / "w.pdparams", {"w": np.ones(99, np.float32)})
    (tmp_path / "w.pdparams").write_bytes((tmp_path / "w.pdparams").read_bytes()[:-50])

    with pytest.raises(WeightsError, match="not a readable pickle"):
        read_paddle(tmp_path / "w.pdparams")


def test_written_pdparams_read_back(tmp_path: Path):
    weights = {
        "fc_0.w_0": np.arange(6, dtype=np.float32).reshape(2, 3).T,
        "steps": np.array([7], np.int64),
    }

    write_pdparams(tmp_path / "w.pdparams", weights)
    read = read_paddle(tmp_path / "w.pdparams")

    assert sniff(tmp_path / "w.pdparams") == "paddle-pickle"
    for name, array in weights.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


def test_written_pdparams_name_only_modules_that_old_numpy_has(tmp_path: Path):
    write_pdparams(tmp_path / "w.pdparams", {"w": np.ones(2, np.float32)})

    content = (tmp_path / "w.pdparams").read_bytes()
    called = {arg for op, arg, _ in pickletools.genops(content) if op.name == "GLOBAL"}

    assert content[:2] == b"\x80\x02"
    assert called == {
        "numpy.core.multiarray _reconstruct",
        "numpy ndarray",
        "numpy dtype",
        "_codecs encode",
    }


def test_an_empty_parameter_of_endless_shape_is_refused(tmp_path: Path):
    content = record(np.zeros((0, 2), np.float32)).replace(
        b"\x10\x02", b"\x10" + varint(2**39) + (b"\x10" + varint(2**39)) * 4
    )
    size = len(content) - 16 - 4
    path = tmp_path / "combined"
    path.write_bytes(content[:16] + struct.pack("<i", size) + content[20:])

    with pytest.raises(WeightsError, match="an empty parameter of shape"):
        read_paddle(path, ["w"])


def test_folders_in_one_another_end(tmp_path: Path):
    (tmp_path / "loop").symlink_to(tmp_path)

    with pytest.raises(WeightsError, match="an empty folder"):
        read_paddle(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path: Path):
    os.mkfifo(tmp_path / "w")

    with pytest.raises(WeightsError, match="not a regular file"):
        read_paddle(tmp_path / "w")
