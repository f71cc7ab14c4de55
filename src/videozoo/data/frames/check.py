"""Check every file of a data set: frames, size, rate, or why it cannot be used.

Files are opened in processes of their own, so that one that makes a decoder hang or crash is a
line of the result and not its end. What was found is remembered until a file changes.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import av
from av.error import FFmpegError

from videozoo.data.files import IMAGE_SUFFIXES, is_pickle, is_video_name, leads_back
from videozoo.data.frames._check_cache import FactCache, Stamp, stamp_of
from videozoo.data.frames.pool import Outcome, run_apart
from videozoo.data.frames.video import VideoFile, open_video
from videozoo.errors import DataError

__all__ = [
    "FactCache",
    "FileReport",
    "FileToCheck",
    "Status",
    "check_files",
    "content_hashes",
    "scan_folder",
]

Status = Literal[
    "readable", "unreadable", "empty", "hung", "crashed", "missing", "not a video", "unlisted"
]
"""`readable`: frames come out. `not a video`: and nothing says that it should be one. `unlisted`:
a folder whose files cannot be seen. All others should be videos and cannot be used."""

_REVISION = 1  # raise it when the same file gives another report
_MOST_PICKLE_BYTES = 1 << 29
_BYTES_A_SECOND = {False: 10 << 20, True: 1 << 18}  # by `deep`: slower than this counts as hung
_BASE_SECONDS = 60.0
_MOST_SECONDS = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class FileToCheck:
    """A file to check, or a folder with the frames of one video."""

    path: Path
    is_expected: bool = True
    """Whether it ought to be a video: a list or its ending says so."""
    remark: str = ""
    """What it is, where that is known without opening it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReport:
    """The result for one file."""

    path: Path
    status: Status
    reason: str = ""
    """Why it cannot be used, or what it is instead of a video."""
    damage: str = ""
    """What is wrong with a readable one: some frames are lost or doubtful."""
    num_bytes: int | None = None
    num_frames: int | None = None
    seconds: float | None = None
    height: int | None = None
    width: int | None = None
    frames_per_second: float | None = None
    codec: str | None = None
    container: str | None = None
    rotation: int | None = None
    label: int | None = None
    """Of a 2019 pickle, which holds its own."""
    from_cache: bool = False

    @property
    def is_readable(self) -> bool:
        """Whether frames come out."""
        return self.status == "readable"

    @property
    def is_bad(self) -> bool:
        """Whether it should be a video and cannot be used."""
        return self.status not in ("readable", "not a video")


def scan_folder(folder: Path) -> Iterator[FileToCheck]:
    """Everything in a folder and below, in order; links are followed, but not in circles.

    A subfolder with images and no video is one video. (So is `folder` itself, if it holds nothing
    else.) Hidden files and folders are named, and not looked into.

    Raises:
        DataError: There is no such folder, or it cannot be read.
    """
    try:
        os.scandir(folder).close()
    except OSError as error:
        raise DataError(f"{folder}: cannot be read as a folder: {error.strerror}") from None
    yield from _scan(folder, is_top=True)


def _scan(folder: Path, *, is_top: bool) -> Iterator[FileToCheck]:
    try:
        with os.scandir(folder) as entries:
            inside = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        yield FileToCheck(folder, remark=f"cannot be listed: {error.strerror}")
        return
    folders = [entry for entry in inside if _is_folder(entry)]
    files = [entry for entry in inside if entry not in folders]
    seen = [Path(file.path) for file in files if file.name[0] != "."]
    videos = {path for path in seen if is_video_name(path)}
    may_be_frames = not videos and not (is_top and folders)
    is_frames = may_be_frames and any(path.suffix.lower() in IMAGE_SUFFIXES for path in seen)
    if is_frames:
        yield FileToCheck(folder)
    for file in files:
        path = Path(file.path)
        suffix = path.suffix.lower()
        if file.name.startswith("."):
            yield FileToCheck(path, False, "hidden")
        elif not (is_frames and suffix in IMAGE_SUFFIXES and _is_file(file)):
            yield FileToCheck(path, path in videos)
    for entry in folders:
        path = Path(entry.path)
        if entry.name.startswith("."):
            yield FileToCheck(path, False, "a hidden folder")
        elif leads_back(path):
            yield FileToCheck(path, False, "a link to a folder that it lies in")
        else:
            yield from _scan(path, is_top=False)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


# --- checking ------------------------------------------------------------------------------------


def check_files(
    found: Iterable[FileToCheck],
    *,
    deep: bool = False,
    workers: int = 1,
    base_seconds: float | None = None,
    cache: FactCache | None = None,
    on_done: Callable[[], None] | None = None,
) -> list[FileReport]:
    """Open each file, read its first, middle and last frame, and report.

    Args:
        found: From `scan_folder`, or listed. Each path once.
        deep: Decode every frame instead of three.
        workers: Processes that decode.
        base_seconds: How long a file may take: this (by default a minute), and more for large ones.
        cache: Files that have not changed are not opened again.
        on_done: Called after each file.

    Returns:
        One report a file, in order.

    Raises:
        DataError: No process can be started.
    """
    memory = cache or FactCache(None)
    reports: list[FileReport | None] = []
    stamps: dict[int, Stamp] = {}
    hidden: dict[int, FileToCheck] = {}  # those at work, by place

    def jobs() -> Iterator[_Job]:
        for place, file in enumerate(found):
            reports.append(None)
            known = _without_opening(file)
            if known is None:
                stamp = stamp_of(file.path, IMAGE_SUFFIXES)
                known = _remembered(memory, file, stamp, deep=deep)
                if known is None:
                    stamps[place], hidden[place] = stamp, file
                    yield _Job(place, file.path, deep, stamp.num_bytes)
                    continue
            settle(place, file, known)

    def settle(place: int, file: FileToCheck, report: FileReport) -> None:
        reports[place] = _as_expected(report, file)
        if on_done is not None:
            on_done()

    limit = _limit(base_seconds, deep)
    for job, outcome in run_apart(_probe, jobs(), workers=workers, limit_seconds=limit):
        file, stamp = hidden.pop(job.place), stamps.pop(job.place)
        report = _report_of(file, stamp, outcome)
        if not outcome.failure:  # those may have been bad luck
            memory.put(file.path, stamp, _question(deep), _as_answer(report))
        settle(job.place, file, report)
    return [report for report in reports if report is not None]


@dataclass(frozen=True, slots=True)
class _Job:
    place: int
    path: Path
    deep: bool
    num_bytes: int


def _limit(base_seconds: float | None, deep: bool) -> Callable[[_Job], float]:
    base = _BASE_SECONDS if base_seconds is None else base_seconds
    return lambda job: min(base + job.num_bytes / _BYTES_A_SECOND[deep], max(base, _MOST_SECONDS))


def _without_opening(file: FileToCheck) -> FileReport | None:
    """The report on what is no plain file or folder; opening a pipe would wait for ever."""
    if file.remark:
        status: Status = "not a video" if not file.is_expected else "unlisted"
        return FileReport(path=file.path, status=status, reason=file.remark)
    try:
        mode = file.path.stat().st_mode
    except OSError as error:
        return FileReport(path=file.path, status="missing", reason=_why_missing(file.path, error))
    except ValueError:
        return FileReport(path=file.path, status="missing", reason="no file can have this name")
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    kinds = ((stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    what = next((name for is_kind, name in kinds if is_kind(mode)), "a device")
    return FileReport(path=file.path, status="unreadable", reason=f"{what}, not a file")


def _why_missing(path: Path, error: OSError) -> str:
    try:
        target = str(path.readlink())
    except OSError:
        return error.strerror or "cannot be seen"
    return f"a link to {target!r}: {error.strerror}"


def _as_expected(report: FileReport, file: FileToCheck) -> FileReport:
    """A file that fails is bad only if it ought to be a video."""
    if report.is_readable or file.is_expected or report.status in ("hung", "crashed", "unlisted"):
        return report
    return replace(report, status="not a video", reason=report.reason or "empty")


def _report_of(file: FileToCheck, stamp: Stamp, outcome: Outcome) -> FileReport:
    if outcome.failure:
        return FileReport(
            path=file.path,
            status=outcome.failure,
            reason=outcome.reason,
            num_bytes=stamp.num_bytes,
        )
    return FileReport(path=file.path, num_bytes=stamp.num_bytes, **outcome.value)


def _question(deep: bool) -> str:
    version = ".".join(map(str, av.library_versions.get("libavcodec", ())))
    return f"{'deep' if deep else 'open'} {_REVISION} av {av.__version__} libavcodec {version}"


def _remembered(
    memory: FactCache, file: FileToCheck, stamp: Stamp, *, deep: bool
) -> FileReport | None:
    questions = [_question(True)] if deep else [_question(False), _question(True)]
    answer = memory.get(file.path, stamp, *questions)
    return None if answer is None else FileReport(path=file.path, from_cache=True, **answer)


def _as_answer(report: FileReport) -> dict[str, Any]:
    answer = asdict(report)
    del answer["path"], answer["from_cache"]
    return answer


# --- in the processes ----------------------------------------------------------------------------


def _probe(job: _Job) -> dict[str, Any]:
    """Check one file: the fields of its report."""
    path = job.path
    if not path.is_dir():
        if not job.num_bytes:
            return {"status": "empty"}
        if is_pickle(path) and job.num_bytes > _MOST_PICKLE_BYTES:
            return {"status": "unreadable", "reason": "a pickle too large to be one video"}
    try:
        return _facts(path, deep=job.deep)
    except DataError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return {"status": "unreadable", "reason": _what_it_is(path, reason)}
    except MemoryError:
        return {"status": "unreadable", "reason": "needs more memory than there is"}
    except (OSError, ValueError, FFmpegError) as error:
        return {"status": "unreadable", "reason": f"{type(error).__name__}: {error}"}


def _facts(path: Path, *, deep: bool) -> dict[str, Any]:
    with open_video(path) as reader:
        promised = reader.num_frames
        if not deep:
            for number in sorted({0, promised // 2, promised - 1}):
                if number < reader.num_frames:  # a first read may show that there are fewer
                    reader.read([number])
        elif isinstance(reader, VideoFile):
            reader.decode_all()
        else:
            for number in range(promised):
                reader.read([number])
        info = reader.info
        rate = info.frames_per_second
        return {
            "status": "readable",
            "damage": getattr(reader, "damage", ""),
            "num_frames": reader.num_frames,
            "seconds": reader.num_frames / rate if rate else None,
            "height": info.height,
            "width": info.width,
            "frames_per_second": rate,
            "codec": info.codec,
            "container": info.container,
            "rotation": info.rotation,
            "label": getattr(reader, "label", None),
        }


_HEADS = (
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x89HDF", "an HDF5 file"),
    (b"SQLite", "a database"),
)


def _what_it_is(path: Path, reason: str) -> str:
    """Put what a file is in place of the reader's guess, where its first bytes tell."""
    if not reason.startswith("not a video, or"):
        return reason
    with path.open("rb") as file:
        head = file.read(512)
    for mark, name in _HEADS:
        if head.startswith(mark):
            return f"{name}, not a video"
    if not any(head):
        return "begins with zeros, as an unfinished download does"
    try:
        head[:-3].decode("utf-8")  # the cut may go through a letter
    except UnicodeDecodeError:
        return reason
    return reason if b"\0" in head else "text, not a video"


# --- same content --------------------------------------------------------------------------------


def content_hashes(
    paths: Sequence[Path], *, workers: int = 1, cache: FactCache | None = None
) -> dict[Path, str]:
    """SHA-256 of those files that are as large as another one; the rest cannot be copies.

    Folders are left out, and files that cannot be read.
    """
    memory = cache or FactCache(None)
    stamps: dict[Path, Stamp] = {}
    by_size: dict[int, list[Path]] = {}
    for path in paths:
        try:
            if not path.is_file():
                continue
            stamps[path] = stamp_of(path, IMAGE_SUFFIXES)
        except OSError:
            continue
        by_size.setdefault(stamps[path].num_bytes, []).append(path)
    wanted = [path for same in by_size.values() if len(same) > 1 for path in same]
    hashes: dict[Path, str] = {}
    unknown: list[Path] = []
    for path in wanted:
        known = memory.get(path, stamps[path], "sha256")
        if known:
            hashes[path] = known["sha256"]
        else:
            unknown.append(path)
    with ThreadPoolExecutor(workers) as pool:  # threads do: reading and hashing let others run
        for path, digest in zip(unknown, pool.map(_hash, unknown), strict=True):
            if digest:
                hashes[path] = digest
                memory.put(path, stamps[path], "sha256", {"sha256": digest})
    return {path: hashes[path] for path in wanted if path in hashes}


def _hash(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # gone meanwhile
        return ""
