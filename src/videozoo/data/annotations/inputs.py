"""Videos that a user names to run a model on: files, folders, patterns and lists of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from videozoo.data.annotations.videos import (
    ClipEntry,
    find_videos,
    is_list_name,
    matching_paths,
)
from videozoo.data.files import not_read, walk
from videozoo.errors import DataError, few

ReadList = Callable[[Path, Callable[[str], None]], Sequence[ClipEntry]]
"""(path of a list, told a line per video that is not there) -> the videos that are there."""


@dataclass(frozen=True)
class NamedPaths:
    """The paths that inputs mean."""

    of_input: dict[str, list[Path]]
    """Input -> what it means; inputs that are not there are left out."""
    absent: list[str]
    """A line per input that is not there."""


@dataclass(frozen=True)
class NamedVideos:
    """The videos that inputs mean."""

    entries: list[ClipEntry]
    absent: list[str]
    """A line per video or input that is not there."""


def named_paths(inputs: Sequence[str], *, strict: bool = False) -> NamedPaths:
    """The paths that inputs mean, and which of them are not there.

    Args:
        inputs: Paths and patterns (`clips/*.mp4`).
        strict: Raise for the first that is not there.

    Raises:
        DataError: The only input is not there; or an input is an empty folder.
    """
    found: dict[str, list[Path]] = {}
    absent: list[str] = []
    for text in inputs:
        try:
            paths = matching_paths(text)
            for path in paths:
                _check_there(path)
        except DataError as error:
            if strict or len(inputs) == 1:
                raise
            absent.append(str(error))
        else:
            found[text] = paths
    return NamedPaths(found, absent)


def named_videos(inputs: Sequence[str], read: ReadList, *, strict: bool = False) -> NamedVideos:
    """The videos that inputs mean, and which of them are not there.

    Args:
        inputs: Files, folders, patterns (`clips/*.mp4`) and lists, in any mixture.
        read: Reads a list.
        strict: Raise for the first that is not there.

    Raises:
        DataError: None of them is there; or a list is malformed.
    """
    named = named_paths(inputs, strict=strict)
    entries: list[ClipEntry] = []
    absent = list(named.absent)

    def note(line: str) -> None:
        if strict:
            raise DataError(line)
        absent.append(line)

    for path in (path for paths in named.of_input.values() for path in paths):
        if is_list_name(path):
            entries += read(path, note)
            continue
        try:
            entries += find_videos(path)
        except DataError as error:
            note(str(error))
    refuse_none(entries, absent)
    return NamedVideos(entries, absent)


def refuse_none(found: Sequence[object], absent: Sequence[str]) -> None:
    """Raise DataError if nothing that was named is there."""
    if absent and not found:
        listed = few(absent, between="\n  ")
        raise DataError(listed if len(absent) == 1 else f"nothing is there:\n  {listed}")


def _check_there(path: Path) -> None:
    if (
        path.is_symlink() and not path.exists()
    ):  # a link to nothing is one video that cannot be read, among others
        return
    if not path.exists():
        raise DataError(not_read(path) or f"{path}: no such file or folder")
    if path.is_dir() and next(iter(walk(path)), None) is None:
        raise DataError(f"{path}: no videos in this folder, it is empty")
