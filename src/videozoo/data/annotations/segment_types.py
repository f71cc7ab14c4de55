"""What a file of segments says, not yet checked: videos, their segments, and names of videos."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.errors import DataError

_UPLOAD = re.compile(r"[0-9a-f]{8}-", re.ASCII)  # Label Studio's prefix of uploaded files


@dataclass
class RawVideo:
    """One video as the file describes it, not yet checked."""

    name: str
    where: str
    duration: object = None
    subset: str | None = None
    instances: list[RawInstance] = field(default_factory=lambda: list[RawInstance]())
    num_frames: int | None = None
    """Number of frames of the video, if its instances are in frames."""
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    address: str = ""
    """Path or address of the video in an export of a tool."""


@dataclass(frozen=True)
class RawInstance:
    """One segment as the file describes it, not yet checked."""

    where: str
    start: object
    end: object
    label: object
    """Name of a class, or its number from 0."""
    in_frames: bool = False
    """Start and end are the first and the last frame, numbered from 1."""


def video_of(path: str) -> str:
    """Name of the video at a path, which may be of another machine or on the web.

    >>> video_of("/data/upload/1/3f2a9c01-a.mp4"), video_of("C:\\\\clips\\\\b.avi"), video_of("c.d")
    ('a', 'b', 'c.d')
    """
    found = PurePosixPath(path.strip().replace("\\", "/").partition("?")[0])
    name = found.name
    if "upload" in found.parts:
        name = _UPLOAD.sub("", name, count=1)
    stem, dot, ending = name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in VIDEO_SUFFIXES else name


def video_at(videos: dict[str, RawVideo], path: Path, address: str) -> RawVideo:
    """The video with this address; added to `videos` if its name is new."""
    name = video_of(address)
    video = videos.setdefault(name, RawVideo(name, f"{path}: {name}", address=address))
    if video.address != address:
        raise DataError(
            f"{path}: {video.address} and {address} are both called {name!r}, so their features "
            "cannot be told apart; rename one of the files"
        )
    return video
