"""What a file of segments says, not yet checked: videos, their segments, and names of videos."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote

from videozoo.data.annotations.column_names import Unit
from videozoo.data.files import VIDEO_SUFFIXES
from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number
from videozoo.data.video_names import Place, longer_names, told_apart
from videozoo.errors import DataError, few

_UPLOAD = re.compile(r"[0-9a-f]{8}-", re.ASCII)  # Label Studio's prefix of uploaded files
_WEB = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,3}):(\d{1,2}(?:\.\d*)?)", re.ASCII)
_MOST_SECONDS = 60  # of a minute


# --- what a file says --------------------------------------------------------------------------


@dataclass
class RawVideo:
    """One video as the file describes it, not yet checked."""

    name: str
    where: str
    duration: object = None
    subset: str | None = None
    instances: list[RawInstance] = field(default_factory=lambda: list[RawInstance]())
    num_frames: int | None = None
    """Number of frames of the video, if its instances are shares of them (lists of C-TCN)."""
    extras: dict[str, Any] = field(default_factory=dict[str, Any])
    address: str = ""
    """Path or address of the video in an export of a tool."""
    counted_by: str = ""
    """The tool or file that counts frames, for messages; empty if times are seconds."""
    frames_per_second: float | None = None
    """Frame rate by which the file counts, if it says so."""
    frames_are_time: bool = False
    """The tool multiplies the time by one frame rate; otherwise it counts the frames of the file,
    whose distances may vary."""


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
    score: object = None
    """Score of a predicted segment."""


# --- what the user says ------------------------------------------------------------------------


@dataclass(frozen=True)
class Reading:
    """What the user says about a file that leaves something open."""

    label_from: str | None = None
    """Which of several texts of a segment is its class; see `settings.segments`."""
    spot_seconds: float | None = None
    """Length of the segments that points in time become."""
    needs_labels: bool = True
    """Whether labels are used at all; otherwise it is no matter which text they are."""
    may_be_names: bool = False
    """Whether a list of names of videos alone will do, as prediction needs no more."""


class SegmentFile(TextFile):
    """A file of segments, with what the user says about it and what its reader has to tell."""

    def __init__(self, path: Path, reading: Reading | None = None) -> None:
        super().__init__(path)
        self._reading = reading or Reading()
        self._is_asked = False
        self.notes: list[str] = []
        """What the user should know about this file: what was taken, what was left out."""

    @property
    def label_from(self) -> str | None:
        """Which text of a segment is its class, as the user says."""
        self._is_asked = True
        return self._reading.label_from

    @property
    def may_be_names(self) -> bool:
        """Whether a list of names of videos alone will do."""
        return self._reading.may_be_names

    @property
    def ignores_label_from(self) -> bool:
        """Whether the user chose a text, and the reader has no choice."""
        return self._reading.label_from is not None and not self._is_asked

    @property
    def spot_seconds(self) -> float | None:
        """Length of the segments that points in time become; None if the user has to say."""
        given = self._reading.spot_seconds
        return 0.0 if given is None and not self._reading.needs_labels else given

    @property
    def has_spot_seconds(self) -> bool:
        """Whether the user says how long the segments around points are."""
        return self._reading.spot_seconds is not None

    def label_of(self, what: str, known: Sequence[str], *, default: str | None = None) -> str:
        """Which of several texts is the class; empty if it is no matter.

        Args:
            what: The texts, for messages: "columns", "tiers".
            known: Their names.
            default: Used if the user does not say.

        Raises:
            DataError: The user did not choose and has to, or chose what is not there.
        """
        chosen = self.label_from or default
        if chosen is None and not self._reading.needs_labels:
            return ""
        shown = " | ".join(known[:8]) + (" | ..." if len(known) > 8 else "")
        if chosen is None:
            raise DataError(
                f"{self.path}: several {what} could be the class of a segment; say which: "
                f"--set data.label_from={known[0] if known else 'NAME'} ({shown})"
            )
        if chosen not in known:
            raise DataError(
                f"{self.path}: label_from is {chosen!r}, which is not among its {what}: "
                f"{few(known, 8) or 'there are none'}"
            )
        return chosen


# --- frames and seconds ------------------------------------------------------------------------


@dataclass(frozen=True)
class FrameTimes:
    """When the frames of one video are shown."""

    frames_per_second: float
    """On average, if distances vary."""
    num_frames: int | None = None
    starts: Sequence[float] | None = None
    """Seconds at which each frame begins, if distances vary."""

    @property
    def duration_seconds(self) -> float | None:
        """Length of the video; None if unknown."""
        if self.starts:
            return self.starts[-1] + 1 / self.frames_per_second
        return None if self.num_frames is None else self.num_frames / self.frames_per_second

    def steady(self) -> FrameTimes:
        """The same with equal distances, as tools count that multiply a time by a rate."""
        return FrameTimes(self.frames_per_second, self.num_frames)

    def span(self, first: float, last: float) -> tuple[float, float]:
        """Seconds from the start of the first frame to the end of the last; numbered from 1.

        >>> FrameTimes(10).span(11, 25)
        (1.0, 2.5)
        >>> FrameTimes(10, starts=[0, 0.1, 0.5, 0.6]).span(2, 3)
        (0.1, 0.6)
        """
        return self._begin(first - 1), self._begin(last)

    def frames(self, start_seconds: float, end_seconds: float) -> tuple[int, int]:
        """The first and the last frame of a segment, numbered from 1; at least one frame.

        >>> FrameTimes(10).frames(1.0, 2.5)
        (11, 25)
        >>> FrameTimes(10).frames(1.0, 1.01)
        (11, 11)
        """
        first = max(0, self._nearest(start_seconds))
        last = max(first + 1, self._nearest(end_seconds))
        if self.num_frames is not None:
            last = max(1, min(last, self.num_frames))
            first = min(first, last - 1)
        return first + 1, last

    def _begin(self, frame: float) -> float:
        """Seconds at which a frame begins, numbered from 0; numbers beyond the end go on."""
        starts = self.starts
        if not starts or frame < 0 or frame != int(frame):
            return frame / self.frames_per_second
        number = int(frame)
        if number < len(starts):
            return starts[number]
        return starts[-1] + (number - len(starts) + 1) / self.frames_per_second

    def _nearest(self, seconds: float) -> int:
        """The frame that begins nearest to a time, numbered from 0."""
        starts = self.starts
        if not starts or seconds >= starts[-1]:
            first, base = (len(starts) - 1, starts[-1]) if starts else (0, 0.0)
            return first + round((seconds - base) * self.frames_per_second)
        after = bisect_right(starts, seconds)
        if after == 0:
            return 0
        return after - 1 if seconds - starts[after - 1] <= starts[after] - seconds else after


FrameTimesOf = Callable[[str], FrameTimes | None]
"""Name of a video -> when its frames are shown; None if the video is not at hand."""


def frame_times_of(
    video: RawVideo, configured: float | None, look_up: FrameTimesOf | None
) -> FrameTimes | None:
    """How to turn the frames of a video into seconds; None if nothing tells.

    What the user says comes first, then what the file says, then what the video itself says.
    """
    rate = configured or video.frames_per_second
    if rate:
        return FrameTimes(rate)
    found = None if look_up is None else look_up(video.name)
    return found.steady() if found is not None and video.frames_are_time else found


def clock_seconds(value: object) -> float | None:
    """Seconds from a number, its text, or `mm:ss` and `hh:mm:ss`, each with or without decimals.

    >>> [clock_seconds(text) for text in ("1.5", "01:30", "1:00:01.25", "1:75", "00:00:01:12")]
    [1.5, 90.0, 3601.25, None, None]
    """
    text = value.strip() if isinstance(value, str) else ""
    found = _CLOCK.fullmatch(text)
    if found is None:
        return finite_number(value)
    hours, minutes, seconds = found.groups()
    if float(seconds) >= _MOST_SECONDS or (hours is not None and int(minutes) >= _MOST_SECONDS):
        return None
    return float(hours or 0) * 3600 + float(minutes) * 60 + float(seconds)


def table_seconds(text: str, unit: Unit, with_commas: bool) -> float | None:
    """Seconds of a cell of a table in seconds, `mm:ss` or milliseconds; None for anything else.

    Args:
        text: The cell.
        unit: What it counts; not frames.
        with_commas: Decimals may have a comma, as in many languages: columns have other marks.

    >>> table_seconds("1,5", "seconds", True), table_seconds("1500", "milliseconds", False)
    (1.5, 1.5)
    """
    text = text.replace(",", ".") if with_commas else text
    if unit == "seconds":
        return clock_seconds(text)
    value = finite_number(text)
    return None if value is None else value / 1000


# --- names of videos -----------------------------------------------------------------------------


def video_of(path: str) -> str:
    """Name of the video at a path, which may be of another machine or on the web.

    >>> video_of("/data/upload/1/3f2a9c01-a.mp4"), video_of("C:\\\\clips\\\\b.avi"), video_of("c.d")
    ('a', 'b', 'c.d')
    >>> video_of("/data/local-files/?d=clips/a%20b.mp4"), video_of("s3://x/a.mp4?sign=1")
    ('a b', 'a')
    """
    return place_of(path)[1]


def place_of(address: str) -> Place:
    """Folders and name of the video at an address, as `video_of`; uploaded files have no folders.

    >>> place_of("C:\\\\clips\\\\b.avi"), place_of("x/b")
    ((('C:', 'clips'), 'b'), (('x',), 'b'))
    """
    found = file_at(address)
    name, is_upload = found.name, "upload" in found.parts
    if is_upload:
        name = _UPLOAD.sub("", name, count=1)
    stem, dot, ending = name.rpartition(".")
    stem = stem if dot and f".{ending.lower()}" in VIDEO_SUFFIXES else name
    return () if is_upload else tuple(part for part in found.parts[:-1] if part != "/"), stem


def file_at(address: str) -> PurePosixPath:
    """The file of an address: of a path of any system, on the web, or served by Label Studio.

    >>> file_at("/data/local-files/?d=clips/a.mp4"), file_at("clips/why?.mp4")
    (PurePosixPath('clips/a.mp4'), PurePosixPath('clips/why?.mp4'))
    """
    text = address.strip().replace("\\", "/")
    before, mark, query = text.partition("?")
    local = parse_qs(query).get("d") if mark else None  # local storage of Label Studio
    if local:
        return PurePosixPath(local[0])
    return PurePosixPath(unquote(before) if _WEB.match(before) else text)


def is_video_address(text: str) -> bool:
    """Whether a text ends like the file of a video."""
    return file_at(text).suffix.lower() in VIDEO_SUFFIXES


def video_at(videos: dict[str, RawVideo], path: Path, address: str) -> RawVideo:
    """The video with this address; added to `videos` if it is new."""
    name = video_of(address)
    return videos.setdefault(
        file_at(address).as_posix(), RawVideo(name, f"{path}: {name}", address=address)
    )


def named_apart(videos: Iterable[RawVideo], path: Path) -> list[RawVideo]:
    """Give videos their names, see `names_at`; those without an address by the name they have.

    Raises:
        DataError: Two videos would have one name.
    """
    listed = list(videos)
    for video in listed:
        if not video.address and is_address(video.name):
            video.address = video.name
    with_address = [video for video in listed if video.address]
    names = names_at([video.address for video in with_address], path)
    for video in with_address:
        name = names[video.address]
        if name != video.name:
            video.name, video.where = name, f"{path}: {name}"
    return listed


def names_at(addresses: Iterable[str], path: Path) -> dict[str, str]:
    """Names of videos by their addresses: without ending and folders, see `told_apart`.

    Videos of one name in several folders are told apart by these.

    Args:
        addresses: Where the videos lie, as a file names them.
        path: The file, for messages.

    Raises:
        DataError: Only endings differ, or videos of one name were uploaded and have no folders.

    >>> names_at(["x/a.mp4", "y/a.mp4", "b.MP4"], Path("f.csv"))
    {'x/a.mp4': 'x__a', 'y/a.mp4': 'y__a', 'b.MP4': 'b'}
    """
    listed = list(dict.fromkeys(addresses))
    names = told_apart([place_of(address) for address in listed])
    first: dict[str, str] = {}
    for address, name in zip(listed, names, strict=True):
        other = first.setdefault(name, address)
        if file_at(other) != file_at(address):
            raise DataError(
                f"{path}: {other} and {address} are both called {name!r}, so their features "
                "cannot be told apart; rename one of the files"
            )
    return dict(zip(listed, names, strict=True))


def is_address(name: str) -> bool:
    """Whether a name is that of a file, or says in which folder the video lies.

    >>> is_address("a.mp4"), is_address("run/a"), is_address("a.b"), is_address("a/")
    (True, True, False, False)
    """
    folder, _, last = name.replace("\\", "/").rpartition("/")
    return bool(folder and last) or is_video_address(name)


def names_among(name: str, address: str) -> Iterator[str]:
    """Names that a video may have among others: its own, and longer ones by its address."""
    yield name
    if address:
        yield from longer_names(place_of(address), name)
        yield address


def name_in(known: Container[str], name: str, address: str) -> str:
    """The first of `names_among` that is known; else the name itself."""
    return next((one for one in names_among(name, address) if one in known), name)


# --- values of JSON ------------------------------------------------------------------------------


def dicts(held: object) -> list[dict[str, Any]]:
    """The objects of a list; empty for anything else."""
    return [one for one in held if isinstance(one, dict)] if isinstance(held, list) else []


def mapping(held: object) -> Mapping[str, Any]:
    """An object; empty for anything else."""
    return held if isinstance(held, dict) else {}
