"""One run per folder at a time: a lock, and a note on who holds it.

.run.lock    locked by the process that writes; the system frees it when that process ends
.run.owner   JSON: host, process and start of the run that writes; gone when it ends by itself

Where the file system locks, the lock decides. Where it does not, or where computers may not see
each other's locks, the note decides: a process of this computer can be looked up, one of another
cannot.
"""

from __future__ import annotations

import atexit
import errno
import json
import os
import socket
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

from videozoo.commands import flag
from videozoo.errors import RunError, brief
from videozoo.safe_json import parse_json
from videozoo.safe_write import written_aside

LOCK, OWNER = ".run.lock", ".run.owner"
_NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)
_PATIENCE_SECONDS = 15.0  # for the loader's workers of a killed process, which look every 5 s
_ONE_COMPUTER = {
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs", "bcachefs"),
    *("jfs", "reiserfs", "vfat", "exfat", "ntfs", "ntfs3", "apfs", "hfsplus", "ramfs", "nilfs2"),
}
"""Types of file systems that one computer has to itself, so that its locks tell everything."""
_SHARED = {"ceph", "gpfs"}
"""Types of file systems whose locks all computers see."""


@dataclass(frozen=True)
class Owner:
    """The process that writes into a run folder, or wrote there last."""

    host: str
    process: int
    began: str
    """Tells the process from a later one with the same number; empty where this is not known."""
    place: str
    """Where the number of the process holds: containers number theirs anew."""
    since: str
    command: str

    @classmethod
    def here(cls) -> Owner:
        """This process."""
        return cls(
            host=socket.gethostname(),
            process=os.getpid(),
            began=began_at(os.getpid()) or "",
            place=_place(),
            since=datetime.now().astimezone().isoformat(" ", "seconds"),
            command=brief(" ".join(sys.argv)),
        )

    @property
    def is_of_this_computer(self) -> bool:
        """Whether its process can be looked up here."""
        return (self.host, self.place) == (socket.gethostname(), _place())

    @property
    def is_alive(self) -> bool:
        """Whether a process of this computer still runs."""
        began = began_at(self.process)
        return began is not None and began == self.began

    def __str__(self) -> str:
        return f"process {self.process} on {self.host} (since {self.since})"


_held: dict[Path, tuple[BaseFileLock | None, tuple[int, int]]] = {}
"""Folders that this process holds: the lock, if there are locks, and which file it is."""


def hold(folder: Path) -> None:
    """Take the lock of an existing run folder, until `release` or the end of this process.

    A process that holds it already keeps it. What a killed process left behind does not count.

    Raises:
        RunError: Another run writes there, or may do so.
        OSError: The folder cannot be written.
    """
    key = folder.resolve()
    if key in _held:
        if _held[key][1] == _file_of(key):
            return
        release(folder)  # the folder was moved or removed, and this is another one
    lock = _taken(folder)
    try:
        with written_aside(folder / OWNER) as aside:
            aside.write_text(json.dumps(asdict(Owner.here())), encoding="utf-8")
    except BaseException:
        if lock is not None:
            lock.release()
        raise
    if not _held:
        atexit.register(_release_all, os.getpid())
    _held[key] = lock, _file_of(key)


def release(folder: Path) -> None:
    """Give up the lock, if this process holds it."""
    lock, file = _held.pop(folder.resolve(), (None, (0, 0)))
    if file != (0, 0) and file == _file_of(folder):
        with suppress(OSError):  # of a disk that has failed, which has been told
            (folder / OWNER).unlink(missing_ok=True)
    if lock is not None:
        lock.release()


@contextmanager
def held_within(folder: Path) -> Generator[None]:
    """Give up the lock of a folder, and of the folders in it, at the end of the block."""
    try:
        yield
    finally:
        top = folder.resolve()
        for each in [key for key in _held if key == top or top in key.parents]:
            release(each)


def refuse_live(folder: Path) -> None:
    """Raise RunError if another run writes into this folder, or may do so."""
    if folder.resolve() in _held or not (folder / OWNER).exists():
        return
    lock = _taken(folder)
    if lock is not None:
        lock.release()


def _taken(folder: Path) -> BaseFileLock | None:
    """The lock of a folder; None where the file system has none."""
    if not (folder / LOCK).exists():
        (folder / LOCK).touch()  # with the rights of any file, for colleagues who go on with a run
    lock = FileLock(folder / LOCK)
    try:
        has_locks = _acquired(lock, seconds=0)
    except Timeout:
        owner = read_owner(folder)
        if owner is None or not owner.is_of_this_computer or owner.is_alive:
            raise _live(folder, owner) from None
        try:  # what it has started is still ending
            has_locks = _acquired(lock, seconds=_PATIENCE_SECONDS)
        except Timeout:
            raise RunError(
                f"{folder}: {owner} was killed, but processes that it had started still run and "
                "hold the folder's lock; end them, and run this again"
            ) from None
    owner = read_owner(folder)
    if owner is None or (owner.is_of_this_computer and owner.process == os.getpid()):
        return lock if has_locks else None
    problem = None
    if not owner.is_of_this_computer:
        if not (has_locks and _locks_tell_all(folder)):
            problem = RunError(
                f"{folder}: {owner} writes there, or did so when it was killed; from "
                f"{socket.gethostname()} this cannot be seen. If it no longer runs: "
                f"`rm {folder / OWNER}`, and run this again; else choose another folder with "
                f"{flag('--save-dir')}"
            )
    elif not has_locks and owner.is_alive:
        problem = _live(folder, owner)
    if problem is not None:
        if has_locks:
            lock.release()
        raise problem
    return lock if has_locks else None


def _acquired(lock: BaseFileLock, *, seconds: float) -> bool:
    """Whether the file system has locks; Timeout where another process holds this one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where there are no locks, filelock warns
            lock.acquire(timeout=seconds)
    except (NotImplementedError, OSError) as error:
        if isinstance(error, Timeout) or getattr(error, "errno", errno.ENOSYS) not in _NO_LOCKS:
            raise
        return False
    if isinstance(lock, SoftFileLock):  # a file that a kill would leave behind
        lock.release()
        return False
    return True


def _live(folder: Path, owner: Owner | None) -> RunError:
    who = "another process" if owner is None else str(owner)
    stop = ""
    if owner is not None and owner.is_of_this_computer:
        stop = f"  stop it, it saves:    kill {owner.process}\n"
    elif owner is not None:
        stop = f"  stop it, it saves:    kill {owner.process} on {owner.host}\n"
    return RunError(
        f"{folder}: {who} is writing a run there, and only one may; either\n"
        f"{stop}"
        f"  wait for its end, or\n"
        f"  take another folder:  {flag('--save-dir')} ANOTHER_FOLDER"
    )


def read_owner(folder: Path) -> Owner | None:
    """The note on who writes; None if there is none, or it is unreadable."""
    try:
        read: Any = parse_json((folder / OWNER).read_bytes())
        known = cast("dict[str, Any]", read)
        return Owner(
            **{name: str(known[name]) for name in ("host", "began", "place", "since", "command")},
            process=int(known["process"]),
        )
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _file_of(folder: Path) -> tuple[int, int]:
    """Which file the lock of a folder is; nothing if it is gone."""
    try:
        found = (folder / LOCK).stat()
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino


def began_at(process: int) -> str | None:
    """When a process of this computer began, in its own clock; None if it does not run."""
    stat = Path(f"/proc/{process}/stat")
    if Path("/proc/self/stat").exists():
        try:
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        except OSError:
            return None
        return None if fields[0] in "ZX" else f"{boot} {fields[19]}"
    if sys.platform == "win32":  # where the lock alone tells
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""


def _place() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _locks_tell_all(folder: Path) -> bool:
    """Whether a free lock means that no process anywhere holds it."""
    if sys.platform == "win32":
        return not str(folder.resolve()).startswith("\\\\")
    kind, options = _mounted(folder.resolve())
    if kind == "lustre":
        return "flock" in options
    if kind in ("nfs", "nfs4"):
        return "local_lock=none" in options and "nolock" not in options
    return kind in _ONE_COMPUTER | _SHARED


def _mounted(folder: Path) -> tuple[str, list[str]]:
    """The type and the options of the file system of a folder; empty where unknown."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return "", []
    best, found = "", ("", [""])
    for line in lines:
        before, _, after = line.partition(" - ")
        point = before.split()[4].replace("\\040", " ")
        is_above = folder == Path(point) or Path(point) in folder.parents
        if is_above and len(point) >= len(best):
            kind, _, options = [*after.split(" ", 2), "", ""][:3]
            best, found = point, (kind, options.split(","))
    return found


def _release_all(process: int) -> None:
    if os.getpid() == process:  # not in what it has forked
        for folder in list(_held):
            release(folder)
