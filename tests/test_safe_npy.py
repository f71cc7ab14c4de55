"""Files of arrays give their numbers, or one plain error before memory is asked for."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoo.data.annotations.sentence_vectors import GivenVectors
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.record_formats import find_records
from videozoo.errors import DataError
from videozoo.safe_npy import map_npy, read_npy, read_npz


def npy(shape: str, dtype: str = "<f4", order: str = "False", content: bytes = b"\0" * 16) -> bytes:
    header = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if dtype[0] not in "['":
        header = header.replace(f"'descr': {dtype}", f"'descr': '{dtype}'")
    header = header.ljust(117) + "\n"
    return b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header.encode() + content


HOSTILE: dict[str, tuple[bytes, str]] = {
    "a huge shape": (npy(f"({2**60},)"), "but it holds 16"),
    "a shape of more than 64 bits": (npy(f"({2**70}, {2**70})"), "but it holds 16"),
    "a negative shape": (npy("(-1, 4)"), r"a shape of \(-1, 4\)"),
    "text for a shape": (npy("('a',)"), "not a readable"),
    "a shape of many": (npy(f"({'1, ' * 80})"), "not a readable"),
    "objects": (npy("(1,)", "|O"), "it holds object"),
    "records": (npy("(1,)", "[('a', '<f4'), ('b', '<i8')]"), "it holds .*expected numbers"),
    "times": (npy("(1,)", "<M8[s]"), "it holds datetime"),
    "values of no size": (npy(f"({2**60},)", "|S0"), "expected numbers or text"),
    "an unknown type": (npy("(1,)", "<q9"), "not a readable"),
    "text of no letters": (npy("(1,)", "<U1", content=b"\xff" * 4), "text with numbers"),
    "cut": (npy("(2, 4)", content=b"\0" * 31), "32 bytes, but it holds 31"),
    "cut in its header": (npy("(4,)")[:60], "not a readable"),
    "a header that is not closed": (npy("(4,").replace(b"}", b" "), "not a readable"),
    "a header of brackets": (npy("[" * 90), "not a readable"),
    "a header of many brackets": (
        b"\x93NUMPY\x02\0" + (10**6).to_bytes(4, "little") + b"[" * 10**6,
        "not a readable",
    ),
    "a header that says how long it is not": (
        b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b" " * 100,
        "not a readable",
    ),
    "an unknown version": (b"\x93NUMPY\x09\0" + npy("(4,)")[8:], "version"),
    "nothing": (b"", "not a readable"),
    "a zip": (b"PK\x03\x04" + b"\0" * 200, "not a readable"),
}


def features(path: Path) -> list[Any]:
    found = FeatureFiles(path)
    return [found.read(name) for name in found]


def record(path: Path) -> Any:
    return find_records(path, kind="npz").read(0)


@pytest.mark.parametrize(("content", "problem"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("read", [read_npy, map_npy, features])
def test_a_hostile_array_is_one_error(
    tmp_path: Path, read: Callable[[Path], Any], content: bytes, problem: str
) -> None:
    path = tmp_path / "hostile.npy"
    path.write_bytes(content)
    with pytest.raises(DataError, match=rf"hostile\.npy: .*{problem}"):
        read(path)


@pytest.mark.parametrize(("content", "problem"), HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_so_is_one_in_an_archive(tmp_path: Path, content: bytes, problem: str, method: int) -> None:
    path = tmp_path / "hostile.npz"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("rgb.npy", content)
    for read in (read_npz, features, record, GivenVectors):
        with pytest.raises(DataError, match=r"hostile\.npz: not a readable"):
            read(path)


def bomb() -> bytes:
    """Zeros, packed a thousand to one."""
    size = 80 * 2**20
    packed = io.BytesIO()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("rgb.npy", "w") as member,
    ):
        member.write(npy(f"({size // 4 // 1000}, 1000)", content=b""))
        for _ in range(size // 2**20):
            member.write(bytes(2**20))
    return packed.getvalue()


def lying(**changes: int) -> bytes:
    """A small archive whose directory says something else of its member than is true."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("rgb.npy", npy("(1, 4)"))
        for name, value in changes.items():
            setattr(archive.filelist[0], name, value)
    return packed.getvalue()


ARCHIVES: dict[str, Callable[[], bytes]] = {
    "not a zip": lambda: b"PK\x03\x04" + b"\0" * 100,
    "a size of 2^60": lambda: lying(file_size=2**60),
    "both": lambda: lying(file_size=2**60, compress_size=2**60),
    "one byte more": lambda: lying(file_size=145, compress_size=145),
    "another checksum": lambda: lying(CRC=1),
    "encrypted": lambda: lying(flag_bits=1),
    "elsewhere": lambda: lying(header_offset=2**62),
    "before": lambda: lying(header_offset=40),
    "an unknown packing": lambda: lying(compress_type=77),
    "packed as it is not": lambda: lying(compress_type=zipfile.ZIP_LZMA),
}


@pytest.mark.parametrize("content", ARCHIVES.values(), ids=ARCHIVES)
def test_a_hostile_archive_is_one_error(tmp_path: Path, content: Callable[[], bytes]) -> None:
    path = tmp_path / "hostile.npz"
    path.write_bytes(content())
    for read in (read_npz, features, record):
        with pytest.raises(DataError, match=r"hostile\.npz: "):
            read(path)


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    path.write_bytes(bomb())
    with pytest.raises(DataError, match=r"hostile\.npz: .*say they unpack to 83,"):
        features(path)


def test_other_members_and_names_twice_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "hostile.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rgb.npy", npy("(1, 4)"))
        archive.writestr("notes.txt", "x")
    with pytest.raises(DataError, match=r"'notes\.txt', which is not an array"):
        read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rgb.npy", npy("(1, 4)"))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("rgb.npy", npy("(2, 2)"))
    with pytest.raises(DataError, match="'rgb' twice"):
        read_npz(path)


def test_sentences_without_as_many_vectors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "given.npz"
    for arrays in (
        {"sentences": np.array(["a", "b"]), "vectors": np.ones((1, 3))},
        {"sentences": np.array("a"), "vectors": np.ones(())},
        {"vectors": np.ones((1, 3))},
    ):
        np.savez(path, **arrays)  # pyright: ignore[reportArgumentType]
        with pytest.raises(DataError, match=r"given\.npz: expected .* as many `vectors`, it holds"):
            GivenVectors(path)


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.asfortranarray(np.arange(12, dtype=np.float64).reshape(3, 4)),
        np.arange(6, dtype=">i8").reshape(1, 2, 3),
        np.array(7, np.uint8),
        np.zeros((0, 5), np.float16),
        np.array(["a", "sentence"]),
        np.array([True, False]),
        np.asfortranarray(np.zeros((4, 0), np.float32)),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_good_files_read_as_numpy_reads_them(tmp_path: Path, array: Any) -> None:
    np.save(tmp_path / "a.npy", array)
    for read in (read_npy, map_npy):
        found = read(tmp_path / "a.npy")
        assert found.dtype == array.dtype
        assert found.shape == array.shape
        np.testing.assert_array_equal(found, array)
    assert read_npy(tmp_path / "a.npy").flags.writeable
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", one=array, two=np.ones(3))
        found = read_npz(tmp_path / "a.npz")
        assert list(found) == ["one", "two"]
        assert found["one"].dtype == array.dtype
        np.testing.assert_array_equal(found["one"], array)
        assert found["one"].flags.writeable
