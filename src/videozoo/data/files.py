"""Tell what a path is before it is opened: an address, a pickle, a video or a folder."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path

from videozoo.commands import quoted
from videozoo.errors import DataError
from videozoo.safe_names import listed_path

_VIDEOS = (
    "264 265 3g2 3gp asf avi divx dv f4v flv gif h264 h265 hevc m2ts m2v m4v mkv mov mp4 mpe mpeg "
    "mpg mts mxf ogv rm rmvb ts vob webm wmv y4m"
)
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _VIDEOS.split())
"""Endings, in lower case, that make a file in a class folder a video."""

PICKLE_SUFFIXES = frozenset((".pkl", ".pickle"))

IMAGE_SUFFIXES = frozenset((".bmp", ".jpeg", ".jpg", ".png", ".webp"))
"""Inside a class folder, a subfolder of such files without a video counts as one video."""

_PICKLE_HEADS = frozenset(
    (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(S", b"(U", b"(V", b"(X")
)
"""How pickles begin: protocols 2 to 5, and a tuple that starts with a text in protocols 0 and 1."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def absolute(path: Path | str) -> str:
    """The absolute path, for comparison; links stay as they are named, the disk is not read."""
    return os.path.abspath(path)  # noqa: PTH100


def network_address(path: Path | str) -> str | None:
    """The network address that a text is, such as `rtsp://...`; None for paths.

    A `Path` loses one of the two slashes; it is put back.

    >>> network_address(Path("rtsp://camera/1"))
    'rtsp://camera/1'
    >>> network_address("C:/clips/a.mp4") or network_address("clips/a.mp4")
    """
    match = _ADDRESS.fullmatch(str(path))
    return None if match is None else f"{match[1]}://{match[2]}"


def not_read(path: Path | str) -> str | None:
    """Why a network address cannot be read, for messages; None for paths."""
    address = network_address(path)
    if address is None:
        return None
    if address.startswith("file:"):
        return f"{address}: a file written as an address; give its path alone"
    return (
        f"{address}: a network address; only files are read. Save it first, for example: "
        f"ffmpeg -i {quoted(address)} -t 60 -c copy clip.mp4"
    )


def refuse_pipe(path: Path) -> None:
    """Refuse a pipe, whose text is gone once it has been read: files are looked at several times.

    Raises:
        DataError: It is a pipe, such as `/dev/stdin` behind `|`, `<(...)` of a shell, or of mkfifo.
    """
    try:
        is_pipe = stat.S_ISFIFO(path.stat().st_mode)
    except OSError:  # whoever opens it says what is wrong
        return
    if is_pipe:
        raise DataError(
            f"{path}: is a pipe, which can be read only once; write it to a file first "
            "(COMMAND > FILE), and name that"
        )


def _first_bytes(path: Path, count: int) -> bytes:
    """The first bytes of a file; none of a pipe, which may not answer, or if it cannot be read."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(count)
    except OSError:
        return b""


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle: by its ending or, if it has none, by its first bytes."""
    if path.suffix:
        return path.suffix.lower() in PICKLE_SUFFIXES
    return _first_bytes(path, 2) in _PICKLE_HEADS


def begins_as_video(path: Path) -> bool:
    """Whether the first bytes of a file are those of a video, whatever its ending.

    Containers are told by their marks, streams without one (MPEG-TS, H.264, H.265, MPEG-4) by how
    their packets begin. The first bytes of sound alone are not told from those of a film.
    """
    head = _first_bytes(path, _PACKETS * 192)
    return (
        head[4:8] in _ATOMS
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or head.startswith(_HEADS)
        or _is_transport_stream(head)
        or _is_elementary_stream(head)
        or animated_size(path) is not None
    )


_ATOMS = frozenset(
    (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"sidx", b"moof")
)
"""What an MP4 file begins with, a part of one, or a QuickTime file of before 2001."""
_HEADS = (
    b"\x1aE\xdf\xa3",  # Matroska, WebM
    b"OggS",
    b"GIF8",
    b"FLV\x01",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # ASF, WMV
    b".RMF",
    b"YUV4MPEG2 ",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02",  # MXF
    b"\x1f\x07\x00",  # DV
)
_PACKETS = 5
"""So many packets of MPEG-TS are looked at."""


def _is_transport_stream(head: bytes) -> bool:
    """Whether every packet of MPEG-TS begins with its byte; M2TS puts four bytes before each."""
    for step, first in ((188, 0), (192, 4)):
        if head[first::step][:_PACKETS] == b"G" * _PACKETS:
            return True
    return False


def _is_elementary_stream(head: bytes) -> bool:
    """Whether this is MPEG with a start code, then one that begins a film.

    Program streams and MPEG-1 to 4 have a byte for it; H.264 and H.265 begin with their parameters
    or with a mark between frames. Other files begin with a start code, too, such as icons.
    """
    zeros = len(head) - len(head.lstrip(b"\0"))
    if zeros not in (2, 3) or head[zeros : zeros + 1] != b"\x01" or len(head) < zeros + 3:
        return False
    kind, second = head[zeros + 1], head[zeros + 2]
    if kind in (0xBA, 0xB3, 0xB0, 0xB5):
        return True
    is_h264 = kind < 0x80 and kind & 0x1F in (6, 7, 9)
    is_h265 = kind & 0x81 == 0 and kind >> 1 in (32, 33, 35) and second == 1
    return is_h264 or is_h265


def animated_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a WebP file with several frames, whatever its ending; else None."""
    head = _first_bytes(path, 30)
    # RIFF, size, WEBP, then the extended header: its flags, of which bit 1 says that frames follow,
    # and width and height less 1
    is_extended = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 30
    if not is_extended or not head[20] & 2:
        return None
    width, height = (int.from_bytes(head[place : place + 3], "little") + 1 for place in (24, 27))
    return height, width


def walk(folder: Path) -> Iterable[Path]:
    """Files below a folder in order, without hidden ones; follows links, but not in circles."""
    for base, folders, files in os.walk(folder, followlinks=True):
        folders[:] = sorted(
            name for name in folders if name[0] != "." and not leads_back(Path(base, name))
        )
        yield from (Path(base, name) for name in sorted(files) if not name.startswith("."))


def leads_back(folder: Path) -> bool:
    """Whether a folder is a link to a folder above it, so that a walk would never end."""
    if not folder.is_symlink():
        return False
    try:
        target = folder.stat()
        return any(os.path.samestat(target, above.stat()) for above in folder.absolute().parents)
    except OSError:  # the link is broken
        return False


def videos_under(folder: Path) -> list[Path]:
    """Video files below a folder, and subfolders that hold the images of one video."""
    videos: list[Path] = []
    images: dict[Path, None] = {}  # folders, in order
    for path in walk(folder):
        suffix = path.suffix.lower()
        if is_video_name(path):
            videos.append(path)
        elif suffix in IMAGE_SUFFIXES and path.parent != folder:
            images[path.parent] = None
    with_video = {video.parent for video in videos}
    return sorted([*videos, *(path for path in images if path not in with_video)])


def images_beside_videos(folder: Path) -> list[Path]:
    """Images below a folder that are no frames of a video, as videos lie beside them."""
    below = list(walk(folder))
    with_video = {path.parent for path in below if is_video_name(path)}
    return [
        path
        for path in below
        if path.suffix.lower() in IMAGE_SUFFIXES
        and path.parent in with_video
        and not is_video_name(path)
    ]


def is_video_name(path: Path) -> bool:
    """Whether a file in a folder counts as a video.

    A WebP file may be a still or a moving image, so its first bytes are read.
    """
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix == ".webp" and animated_size(path) is not None)


def has_images(folder: Path) -> bool:
    """Whether images lie directly in a folder."""
    return any(path.suffix.lower() in IMAGE_SUFFIXES for path in folder.iterdir())


def known_suffixes() -> str:
    """Endings of video files, for messages."""
    return " ".join(sorted(VIDEO_SUFFIXES))


def locate(video: Path, root: Path | None, beside: Path) -> Path | None:
    """Find a file that a list names: as it is, under `root`, or beside the list (`beside`).

    If there is no such file, backslashes are taken as slashes, and bytes that are not UTF-8 as
    letters of Windows and Latin-1.
    """
    video = listed_path(video)
    try:
        if video.exists():
            return video
        if not video.is_absolute():
            for folder in (root, beside):
                if folder is not None and (folder / video).exists():
                    return folder / video
    except (OSError, ValueError):  # no file can have such a name
        return None
    text = str(video)
    other = text.replace("\\", "/")
    if other == text:
        written = text.encode("utf-8", "surrogateescape")
        other = written.decode("cp1252", "replace") if _is_not_utf8(written) else text
    return locate(Path(other), root, beside) if other != text else None


def _is_not_utf8(written: bytes) -> bool:
    try:
        written.decode("utf-8")
    except UnicodeDecodeError:
        return True
    return False


class Lookup:
    """Finds the videos that a list names: as `locate` does, or by a name without its ending."""

    def __init__(self, root: Path | None, beside: Path) -> None:
        self._root, self._beside = root, beside
        self._inside: dict[Path, dict[str, list[Path]]] = {}

    def find(self, name: str) -> Path | None:
        """The file, or the folder of images, with this name; None if there is none, or several."""
        found = locate(Path(name), self._root, self._beside)
        if found is None and len(alike := self.without_ending(name)) == 1:
            return alike[0]
        return found

    def without_ending(self, name: str) -> list[Path]:
        """Videos that have this name before their ending, in the first folder that has any."""
        video = listed_path(Path(name.replace("\\", "/")))
        if not video.name or video.suffix.lower() in VIDEO_SUFFIXES | PICKLE_SUFFIXES:
            return []
        for folder in (Path(), self._root, self._beside):
            if folder is not None:
                path = folder / video
                alike = self._videos_in(path.parent).get(path.name)
                if alike:
                    return alike
        return []

    def _videos_in(self, folder: Path) -> dict[str, list[Path]]:
        """Videos directly in a folder, by their names without ending."""
        if folder not in self._inside:
            found: dict[str, list[Path]] = {}
            try:
                inside = sorted(folder.iterdir())
            except (OSError, ValueError):  # no such folder, or no name of one
                inside = []
            for path in inside:
                if path.suffix.lower() in VIDEO_SUFFIXES and path.name[0] != ".":
                    found.setdefault(path.stem, []).append(path)
            self._inside[folder] = found
        return self._inside[folder]
