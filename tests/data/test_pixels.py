"""Frames that are too large are refused by what their headers say, before memory is taken."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.make_clips import moving_frames, write_clip
from videozoo.data.frames.pixels import most_pixels
from videozoo.data.frames.video import AnimatedImage, open_video
from videozoo.errors import ConfigError, VideoError

SIDE = 60000


def png(side: int) -> bytes:
    def chunk(kind: bytes, held: bytes) -> bytes:
        return (
            struct.pack(">I", len(held)) + kind + held + struct.pack(">I", zlib.crc32(kind + held))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100)))
        + chunk(b"IEND", b"")
    )


def jpeg(side: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (48, 32)).save(stream, "JPEG")
    held = bytearray(stream.getvalue())
    at = held.index(b"\xff\xc0") + 5
    held[at : at + 4] = struct.pack(">HH", side, side)
    return bytes(held)


def webp(path: Path) -> None:
    """A moving WebP whose canvas is said to be 16384x16384."""
    frames = [Image.fromarray(frame) for frame in moving_frames(3, height=32, width=48)]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    held = bytearray(path.read_bytes())
    assert held[12:16] == b"VP8X"
    held[24:30] = b"\xff\x3f\x00" * 2
    path.write_bytes(held)


def vp8(path: Path) -> None:
    frame = b"\x10\x02\x00\x9d\x01\x2a" + struct.pack("<HH", 16383, 16383) + bytes(200)
    head = b"DKIF" + struct.pack("<HH4sHHIIII", 0, 32, b"VP80", 16383, 16383, 30, 1, 3, 0)
    path.write_bytes(head + (struct.pack("<IQ", len(frame), 0) + frame) * 3)


def folder(name: str, content: bytes) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_bytes(content)

    return make


def pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(("a", 0, [jpeg(SIDE)] * 2), 2))


BOMBS: dict[str, Callable[[Path], None]] = {
    "png": folder("0.png", png(SIDE)),
    "a smaller png": folder("0.png", png(12000)),
    "jpeg": folder("0.jpg", jpeg(SIDE)),
    "bomb.pkl": pickled,
    "bomb.webp": webp,
    "bomb.ivf": vp8,
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_header_of_a_huge_size_is_one_error(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    BOMBS[name](path)
    tracemalloc.start()

    try:
        with pytest.raises(VideoError, match=r"pixels.*VIDEOZOO_MAX_PIXELS"):
            open_video(path).read([0])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert peak < 2**24


def test_the_limit_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, pictures = tmp_path / "a.mp4", tmp_path / "frames"
    write_clip(clip, frames=moving_frames(3, height=32, width=48))
    pictures.mkdir()
    Image.new("RGB", (48, 32)).save(pictures / "0.png")
    assert most_pixels() == 2**25 > 7680 * 4320

    for most, is_read in (("1535", False), ("1536", True)):
        monkeypatch.setenv("VIDEOZOO_MAX_PIXELS", most)
        for path in (clip, pictures):
            if is_read:
                assert open_video(path).read([0]).shape == (1, 32, 48, 3)
            else:
                with pytest.raises(VideoError, match=r"48x32 pixels.*VIDEOZOO_MAX_PIXELS=1536"):
                    open_video(path).read([0])
    with pytest.raises(VideoError, match="40x50 pixels, and at most 1,536"):
        AnimatedImage(tmp_path / "a.webp", (50, 40))


def test_damaged_frames_of_a_few_bytes_are_not_decoded_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    still = np.full((12, 480, 640, 3), 100, np.uint8)
    whole = write_clip(tmp_path / "still.h264", still, options={"bf": "0", "g": "99"})
    units = [b"\0\0\1" + unit.rstrip(b"\0") for unit in whole.read_bytes().split(b"\0\0\1")[1:]]
    assert len(units[-1]) < 60
    damaged = b"".join(units[:-11]) + b"".join(unit[:12] + b"\xff" * 8 for unit in units[-11:] * 30)
    path = tmp_path / "damaged.h264"
    path.write_bytes(damaged)
    assert _read_all(path) > 20

    monkeypatch.setenv("VIDEOZOO_MAX_PIXELS", str(480 * 640))
    with pytest.raises(VideoError, match=r"frames of 640x480 pixels are damaged.*raise VIDEOZOO"):
        _read_all(path)
    assert _read_all(whole) == 12  # however few bytes its frames take


def _read_all(path: Path) -> int:
    with open_video(path) as video:
        return sum(1 for _ in video.frames())


@pytest.mark.parametrize("text", ["0", "-1", "8K", "1e9", "9" * 50, "\u0663"])
def test_a_limit_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("VIDEOZOO_MAX_PIXELS", text)

    with pytest.raises(ConfigError, match="VIDEOZOO_MAX_PIXELS="):
        most_pixels()
