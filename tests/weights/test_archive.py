import gzip
import io
import tarfile
import tracemalloc
from collections.abc import Mapping
from pathlib import Path

import pytest

from videozoo.errors import WeightsError
from videozoo.weights.archive import check_archive, is_archive, unpack


def pack(path: Path, files: Mapping[str, bytes], *extra: tarfile.TarInfo, mode: str = "gz") -> Path:
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz" if mode == "gz" else "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in extra:
            archive.addfile(member)
    return path


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member


@pytest.mark.parametrize("mode", ["gz", "plain"])
def test_an_archive_is_unpacked_once(tmp_path: Path, mode: str):
    path = pack(tmp_path / "net.tar.gz", {"net/w": b"123", "net/b": b"4"}, mode=mode)

    folder = unpack(path, tmp_path / "cache")
    (folder / "net" / "w").write_bytes(b"still here")

    assert is_archive(path)
    assert unpack(path, tmp_path / "cache") == folder
    assert (folder / "net" / "w").read_bytes() == b"still here"
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [folder.name]


def test_another_archive_of_the_same_name_gets_a_folder_of_its_own(tmp_path: Path):
    one = unpack(pack(tmp_path / "a" / "net.tar.gz", {"w": b"1"}), tmp_path / "cache")
    other = unpack(pack(tmp_path / "b" / "net.tar.gz", {"w": b"2"}), tmp_path / "cache")

    assert (one / "w").read_bytes() != (other / "w").read_bytes()


@pytest.mark.parametrize("name", ["../outside", "a/../../outside"])
def test_nothing_is_written_outside_the_folder(tmp_path: Path, name: str):
    path = pack(tmp_path / "net.tar.gz", {"w": b"1", name: b"2"})

    with pytest.raises(WeightsError, match="refused"):
        unpack(path, tmp_path / "cache")

    assert not [p for p in tmp_path.rglob("*") if p.name in ("outside", "w")]


def test_absolute_names_stay_inside(tmp_path: Path):
    path = pack(tmp_path / "net.tar.gz", {str(tmp_path / "outside"): b"2"})

    folder = unpack(path, tmp_path / "cache")

    assert not (tmp_path / "outside").exists()
    assert len(list(folder.rglob("outside"))) == 1


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes):
    path = pack(tmp_path / "net.tar.gz", {"w": b"1"}, link("evil", "/etc/passwd", kind))

    for look in (lambda: unpack(path, tmp_path / "cache"), lambda: check_archive(path)):
        with pytest.raises(WeightsError, match=r"'evil' is neither a file nor a folder"):
            look()


def test_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = pack(tmp_path / "net.tar.gz", {"a": bytes(2000), "b": bytes(2000)})
    monkeypatch.setattr("videozoo.weights.archive._MOST_BYTES", 3000)

    with pytest.raises(WeightsError, match="refused: more than"):
        unpack(path, tmp_path / "cache")
    monkeypatch.setattr("videozoo.weights.archive._MOST_BYTES", 5000)
    monkeypatch.setattr("videozoo.weights.archive._MOST_FILES", 1)
    with pytest.raises(WeightsError, match="refused: more than"):
        check_archive(path)


@pytest.mark.parametrize("cut", [10, 8, 1])
def test_a_cut_archive_leaves_nothing(tmp_path: Path, cut: int):
    path = pack(tmp_path / "net.tar.gz", {"w": bytes(range(256)) * 50})
    path.write_bytes(path.read_bytes()[:-cut])

    with pytest.raises(WeightsError, match="was it cut short"):
        unpack(path, tmp_path / "cache")

    assert not (tmp_path / "cache").exists()


def test_an_empty_archive_says_so(tmp_path: Path):
    with pytest.raises(WeightsError, match="without files"):
        check_archive(pack(tmp_path / "net.tar.gz", {}))


def header(kind: bytes, size: int) -> bytes:
    made = tarfile.TarInfo("a")
    made.type, made.size = kind, size
    return made.tobuf(tarfile.GNU_FORMAT)


PAX = header(b"x", 12) + b"12 path=abc\n".ljust(512, b"\0")
BOMBS = {
    "a long pax header": header(b"x", 2**26) + bytes(2**26),
    "a long name": header(b"L", 2**26) + bytes(2**26),
    "many zeros": header(b"0", 2**27) + bytes(2**27),
    "zeros after the end": header(b"0", 1) + bytes(512 + 1024) + bytes(2**27),
    "many headers of one file": PAX * 3000 + header(b"0", 0),
    "a pax header of a size that is none": header(b"x", 12) + b"12 size=xyz\n".ljust(512, b"\0"),
    "a zero in a name": header(b"x", 13) + b"13 path=a\0bc\n".ljust(512, b"\0") + header(b"0", 0),
}


@pytest.mark.parametrize("name", BOMBS)
def test_an_archive_that_would_grow_is_refused_before_it_does(tmp_path: Path, name: str):
    path = tmp_path / "net.tar.gz"
    path.write_bytes(gzip.compress(BOMBS[name], 1))
    tracemalloc.start()

    try:
        with pytest.raises(WeightsError, match=r"net\.tar\.gz: .*") as error:
            unpack(path, tmp_path / "cache")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert len(str(error.value)) < 500
    assert peak < 2**25
    assert not [each for each in (tmp_path / "cache").glob("**/*") if each.is_file()]


def test_other_files_are_no_archives(tmp_path: Path):
    (tmp_path / "a.tar.gz").write_bytes(b"PK\x03\x04")

    assert not is_archive(tmp_path / "a.tar.gz")
    assert not is_archive(tmp_path)
    assert not is_archive(tmp_path / "gone")
