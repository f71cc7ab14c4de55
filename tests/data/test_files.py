"""What a path is, told before it is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from videozoo.data.files import begins_as_video

TS = b"".join(b"G" + bytes(187) for _ in range(6))
M2TS = b"".join(bytes(4) + b"G" + bytes(187) for _ in range(6))


@pytest.mark.parametrize(
    "head",
    [
        b"\0\0\0\x18ftypisom",
        b"\0\0\0\x08wide\0\0\0\0mdat",  # QuickTime of before 2001
        b"\0\x01\0\0moov",
        b"\0\0\x01Lmoof",
        b"\x1aE\xdf\xa3",
        b"RIFF\0\0\0\0AVI LIST",
        b"RIFF\x2e\0\0\0WEBPVP8X\x0a\0\0\0\x02" + bytes(20),
        b"OggS\0",
        b"GIF89a",
        b"FLV\x01\x05",
        b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",
        b"YUV4MPEG2 W4 H4",
        TS,
        M2TS,
        b"\0\0\x01\xba\x44",
        b"\0\0\x01\xb3\x01",
        b"\0\0\x01\xb0\x01",
        b"\0\0\0\x01\x67\x42",  # H.264
        b"\0\0\x01\x09\xf0",
        b"\0\0\0\x01\x40\x01\x0c",  # H.265
    ],
)
def test_videos_are_told_by_their_first_bytes(head: bytes, tmp_path: Path):
    path = tmp_path / "no ending"
    path.write_bytes(head)

    assert begins_as_video(path)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"G",
        b"G" + b" any text" * 300,
        TS[: 2 * 188],
        b"\0\0\x01",
        b"\0\0\x01\0\x01\0\x20\x20",  # an icon
        b"\0\0\x01\0\0\0\0\0\x12\x34",  # a record of TensorFlow, of 65,536 bytes
        b"\0\x01\0\0\0\x11",  # a font
        b"RIFF\0\0\0\0WAVEfmt ",
        b"RIFF\0\0\0\0WEBPVP8 " + bytes(20),  # a still
        b"\x93NUMPY\x01",
        b"\x89HDF\r\n",
        b"PK\3\4",
        b"\x80\x04",
        b"{}",
        bytes(960),
    ],
)
def test_other_files_are_not_taken_for_videos(head: bytes, tmp_path: Path):
    path = tmp_path / "no ending"
    path.write_bytes(head)

    assert not begins_as_video(path)
