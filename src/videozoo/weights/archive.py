"""Archives of weights, such as `ResNet50_pretrained.tar.gz`: a folder with a file per parameter.

A malicious archive can write outside its folder, or fill the disk or the memory. So only files and
folders are allowed, no more of them than the largest weights have, and no more bytes than numbers
can be packed to. `tarfile` reads long names and other headers at once, whatever size they announce:
it is given a stream that refuses to.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, cast

from videozoo.errors import WeightsError

_GZIP = b"\x1f\x8b"
_MOST_FILES = 20_000
_MOST_BYTES = 8 * 2**30
_FREE_BYTES, _MOST_EXPANSION = 2**26, 100
_MOST_READ = 2**20
"""Bytes at once; headers have a few hundred."""


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, by its first bytes."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(262)
    except OSError:
        return False
    return start[:2] == _GZIP or start[257:262] == b"ustar"


def check_archive(path: Path) -> list[tarfile.TarInfo]:
    """Read an archive to its end without unpacking it.

    Returns:
        Its members.

    Raises:
        WeightsError: It is damaged, cut short, too large, or holds links or devices.
    """
    try:
        with _opened(path) as archive:
            members = _checked(path, archive)
            _read_on(archive)
    except WeightsError:
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        raise WeightsError(
            f"{path}: not a whole tar archive ({_reason(error)}); was it cut short?"
        ) from None
    return members


def unpack(path: Path, into: Path) -> Path:
    """Unpack an archive of weights once; later calls return the same folder.

    Args:
        path: A `.tar.gz` or `.tar`.
        into: Parent folder; each archive gets its own folder, named by its content.

    Returns:
        The folder.

    Raises:
        WeightsError: The archive is damaged or refused, or the disk refuses.
    """
    target = into / f"{path.name.partition('.')[0]}-{_digest(path)[:16]}"
    if target.is_dir():
        return target
    if not hasattr(tarfile, "data_filter"):
        raise WeightsError(
            f"{path}: unpacking it safely needs Python 3.11.4 or newer; "
            "unpack it yourself (tar xf) and pass the folder"
        )
    check_archive(path)
    try:
        into.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=into, prefix=f"{target.name}.") as aside:
            inside = Path(aside) / "content"
            with _opened(path) as archive:
                archive.extractall(inside, _checked(path, archive), filter="data")
            if not target.is_dir():  # another process may have been faster
                inside.replace(target)
    except tarfile.FilterError as error:
        raise WeightsError(f"{path}: refused: {error}") from None
    except WeightsError:
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        if target.is_dir():
            return target
        raise WeightsError(f"{path}: cannot be unpacked into {into}: {_reason(error)}") from None
    return target


class _Stream:
    """What an archive is read from; for `tarfile`."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        """`most`: bytes that may come out of it."""
        self._stream = stream
        self._most = most

    def read(self, count: int) -> bytes:
        if count > _MOST_READ:
            raise tarfile.ReadError(f"a header of {count:,} bytes")
        self._check(self._stream.tell() + count - _MOST_READ)
        return self._stream.read(count)

    def seek(self, place: int) -> int:
        self._check(place)
        return self._stream.seek(place)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, place: int) -> None:
        if place > self._most:
            raise tarfile.ReadError(f"it would unpack to more than {self._most:,} bytes")


@contextmanager
def _opened(path: Path) -> Generator[tarfile.TarFile]:
    size = path.stat().st_size
    most = min(_MOST_BYTES, max(_FREE_BYTES, _MOST_EXPANSION * size))
    with path.open("rb") as file, ExitStack() as opened:
        is_packed = file.read(2) == _GZIP
        file.seek(0)
        inner = opened.enter_context(gzip.GzipFile(fileobj=file)) if is_packed else file
        stream: Any = _Stream(cast("IO[bytes]", inner), most)
        yield opened.enter_context(tarfile.open(fileobj=stream, mode="r:"))


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _checked(path: Path, archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    members: list[tarfile.TarInfo] = []
    size = 0
    for member in archive:
        if not (member.isreg() or member.isdir()):
            raise WeightsError(
                f"{path}: refused: {member.name!r} is neither a file nor a folder; "
                "an archive of weights holds one file per parameter"
            )
        size += member.size
        members.append(member)
        if len(members) > _MOST_FILES or size > _MOST_BYTES:
            raise WeightsError(
                f"{path}: refused: more than {_MOST_FILES} files or {_MOST_BYTES >> 30} GiB inside"
            )
    if not any(member.isreg() for member in members):
        raise WeightsError(f"{path}: an archive without files; expected one file per parameter")
    return members


def _read_on(archive: tarfile.TarFile) -> None:
    """Read to the end of the file, where gzip has its checksum."""
    stream: Any = archive.fileobj
    while stream.read(_MOST_READ):
        pass


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
