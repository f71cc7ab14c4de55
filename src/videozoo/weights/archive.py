"""Archives of weights, such as `ResNet50_pretrained.tar.gz`: a folder with a file per parameter.

A malicious archive can write outside its folder, or fill the disk. So only files and folders are
allowed, and no more of them than the largest weights have.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from videozoo.errors import WeightsError

_MOST_FILES = 20_000
_MOST_BYTES = 8 * 2**30


def is_archive(path: Path) -> bool:
    """Whether a file is a tar archive, compressed or not, by its first bytes."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(262)
    except OSError:
        return False
    return start[:2] == b"\x1f\x8b" or start[257:262] == b"ustar"


def check_archive(path: Path) -> list[tarfile.TarInfo]:
    """Read an archive to its end without unpacking it.

    Returns:
        Its members.

    Raises:
        WeightsError: It is damaged, cut short, too large, or holds links or devices.
    """
    try:
        with tarfile.open(path, "r:*") as archive:
            members = _checked(path, archive)
            _read_on(archive)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise WeightsError(
            f"{path}: not a whole tar archive ({error}); was it cut short?"
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
            with tarfile.open(path, "r:*") as archive:
                archive.extractall(inside, _checked(path, archive), filter="data")
            if not target.is_dir():  # another process may have been faster
                inside.replace(target)
    except tarfile.FilterError as error:
        raise WeightsError(f"{path}: refused: {error}") from None
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if target.is_dir():
            return target
        raise WeightsError(f"{path}: cannot be unpacked into {into}: {error}") from None
    return target


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
    left = _MOST_BYTES
    stream: Any = archive.fileobj
    while left > 0 and (chunk := stream.read(2**20)):
        left -= len(chunk)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
