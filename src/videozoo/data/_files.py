"""What a path is, before anything opens it: an address, a 2019 pickle, a moving picture."""

from __future__ import annotations

import re
from pathlib import Path

PICKLE_SUFFIXES = frozenset((".pkl", ".pickle"))

_PICKLE_HEADS = frozenset(
    (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"(S", b"(U", b"(V", b"(X")
)
"""How pickles begin: protocols 2 to 5, and a tuple that starts with a text in protocols 0 and 1."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(.*)", re.DOTALL)


def network_address(path: Path | str) -> str | None:
    """The address that a text is meant as, such as `rtsp://...`; None for paths.

    A path has lost one of the two slashes; they come back.

    >>> network_address(Path("rtsp://camera/1"))
    'rtsp://camera/1'
    >>> network_address("C:/clips/a.mp4") or network_address("clips/a.mp4")
    """
    match = _ADDRESS.fullmatch(str(path))
    return None if match is None else f"{match[1]}://{match[2]}"


def not_read(path: Path | str) -> str | None:
    """Why nothing is read from what is meant as an address; None for paths."""
    address = network_address(path)
    if address is None:
        return None
    if address.startswith("file:"):
        return f"{address}: a file as an address; name its path alone"
    return (
        f"{address}: a network address; only files are read. Save it first, for example: "
        f"ffmpeg -i '{address}' -t 60 -c copy clip.mp4"
    )


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle: by its ending; one without any, by how it begins."""
    if path.suffix:
        return path.suffix.lower() in PICKLE_SUFFIXES
    try:
        if not path.is_file():  # a pipe would not answer
            return False
        with path.open("rb") as file:
            return file.read(2) in _PICKLE_HEADS
    except OSError:
        return False


def animated_size(path: Path) -> tuple[int, int] | None:
    """Height and width of a WebP of several frames, whatever its name ends in; None for others."""
    try:
        if not path.is_file():  # a pipe would not answer
            return None
        with path.open("rb") as file:
            head = file.read(30)
    except OSError:
        return None
    # RIFF, size, WEBP, then the extended header: its flags, of which bit 1 says that frames follow,
    # and width and height less 1
    is_extended = head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and len(head) == 30
    if not is_extended or not head[20] & 2:
        return None
    width, height = (int.from_bytes(head[place : place + 3], "little") + 1 for place in (24, 27))
    return height, width
