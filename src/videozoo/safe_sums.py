"""Checksums of the files of a folder: `SHA256SUMS`, as `sha256sum -c SHA256SUMS` reads it.

A file that changes on the disk or while it is copied is found before it is used. A kill at any
moment leaves no right file with a wrong sum: before a file is replaced, the new sum is added, and
the old one goes only after that. Until then both are right.

The whole file is read for this: sha256 takes about 1 second per GB on a processor that has
instructions for it, and several on others. Nothing is trusted by size and date, since bits that
turn on a disk change neither; only, one process does not read the same file twice.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Iterable
from pathlib import Path

from videozoo.safe_write import written_aside

NAME = "SHA256SUMS"
_LINE = re.compile(rb"([0-9a-f]{64}) [ *]([^\n]+)")
_MOST_BYTES = 1 << 24
_ODD = ("\n", "\r", "\\")
_log = logging.getLogger(__name__)
_seen: dict[tuple[str, int, int, int], str] = {}
"""Sums of files that this process has read."""


def sum_of(path: Path) -> str:
    """The sha256 of a file, in hexadecimal; it is read piece by piece.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def announce(folder: Path, file: Path, digest: str) -> None:
    """Add the sum of a file that is about to take its place; earlier sums stay right.

    Lines are only appended, so that several processes may do this at once.

    Args:
        folder: Where the sums are kept.
        file: Its path once it is in place, inside `folder`.
        digest: Its sum.

    Raises:
        OSError: The sums cannot be written.
    """
    name = _name_in(folder, file)
    if name is None:
        return
    line = f"{digest}  {name}\n".encode("utf-8", "surrogateescape")
    with (folder / NAME).open("ab") as sums:
        starts_anew = sums.tell() == 0 or _last_byte(folder / NAME) == b"\n"
        sums.write(line if starts_anew else b"\n" + line)  # after a line that a kill cut short
        sums.flush()
        os.fsync(sums.fileno())


def settle(folder: Path, file: Path, digest: str | None) -> None:
    """Let one sum alone be right for a file, or none if the file is gone.

    Raises:
        OSError: The sums cannot be written.
    """
    name, kept = _name_in(folder, file), read_sums(folder)
    if name is None:
        return
    kept.pop(name, None)
    if digest is not None:
        kept[name] = {digest}
    _write(folder, kept)


def keep(folder: Path, files: Iterable[Path]) -> None:
    """Store the sums of files that are in place, beside those that are stored already.

    Raises:
        OSError: A file cannot be read, or the sums cannot be written.
    """
    kept = read_sums(folder)
    for file in files:
        name = _name_in(folder, file)
        if name is not None:
            kept[name] = {sum_of(file)}
    if kept:
        _write(folder, kept)


def read_sums(folder: Path) -> dict[str, set[str]]:
    """Names of files to the sums that are right; empty if none are kept.

    A line that is cut short counts as none.
    """
    try:
        with (folder / NAME).open("rb") as file:
            content = file.read(_MOST_BYTES)
    except OSError:
        return {}
    sums: dict[str, set[str]] = {}
    for line in content.split(b"\n")[:-1]:
        if match := _LINE.fullmatch(line):
            name = match[2].decode("utf-8", "surrogateescape")
            sums.setdefault(name, set()).add(match[1].decode())
    return sums


def home_of(path: Path) -> Path | None:
    """The folder that keeps the sums for files at a place: its own, or the one above.

    None if no sums are kept there.
    """
    for folder in (path.parent, path.parent.parent):
        if (folder / NAME).is_file():
            return folder
    return None


def fault_of(path: Path) -> str:
    """Return what is wrong with a file by its kept sum; "" if it is right, or no sum is kept.

    Raises:
        OSError: It cannot be read.
    """
    for folder in path.absolute().parents[:3]:
        right = read_sums(folder).get(_name_in(folder, path.absolute()) or "")
        if right:
            return _fault(path, right, folder)
    _log.debug("%s: no checksum is kept for it", path)
    return ""


def faults_in(folder: Path) -> list[str]:
    """Return a line per file of a folder that is not as its kept sum says.

    Whoever needs a file that is gone says so.

    Raises:
        OSError: A file cannot be read.
    """
    lines: list[str] = []
    for name, right in read_sums(folder).items():
        file = folder / name
        if not file.is_file() or not file.resolve().is_relative_to(folder.resolve()):
            continue
        if fault := _fault(file, right, folder):
            lines.append(f"{file}: {fault}")
    return lines


def is_kept(path: Path) -> bool:
    """Whether a sum is kept for a file."""
    place = path.absolute()
    return any(_name_in(folder, place) in read_sums(folder) for folder in place.parents[:3])


def _fault(path: Path, right: set[str], folder: Path) -> str:
    facts = path.stat()
    key = (str(path.absolute()), facts.st_ino, facts.st_size, facts.st_mtime_ns)
    if key not in _seen:
        _seen[key] = sum_of(path)
    found = _seen[key]
    if found in right:
        return ""
    expected = " or ".join(sorted(each[:12] for each in right))
    return (
        f"is not the file that was written there: its sha256 is {found[:12]}..., and "
        f"{folder / NAME} says {expected}...; it was damaged on the disk or in a copy, or replaced "
        "(if you replaced it yourself, delete its line there)"
    )


def _name_in(folder: Path, file: Path) -> str | None:
    """The name of a file in the sums of a folder; None for one that lines cannot hold."""
    try:
        name = file.relative_to(folder).as_posix()
    except ValueError:
        return None
    return None if any(each in name for each in _ODD) else name


def _write(folder: Path, sums: dict[str, set[str]]) -> None:
    lines = [f"{digest}  {name}\n" for name in sorted(sums) for digest in sorted(sums[name])]
    with written_aside(folder / NAME) as aside:
        aside.write_bytes("".join(lines).encode("utf-8", "surrogateescape"))


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)
