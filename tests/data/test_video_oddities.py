"""Two hundred and eighty odd media files: none hangs, none crashes, all agree with PyAV."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.error import FFmpegError

from videozoo.data.frames.video import VideoFile, open_video
from videozoo.errors import VideoError

FOLDER = Path(__file__).parents[2].parent / "shared" / "data" / "video_oddities"
PROBED_FRAMES = 400  # what PROBE.csv counts up to


def _rows() -> list[dict[str, str]]:
    if not (FOLDER / "PROBE.csv").exists():
        return []
    with (FOLDER / "PROBE.csv").open(newline="") as file:
        return list(csv.DictReader(file))


ROWS = _rows()
ROWS_WITH_FRAMES = [row for row in ROWS if row["frames_decoded(max 400)"] not in {"", "0"}]
needs_files = pytest.mark.skipif(not ROWS, reason="the folder of odd videos is not beside the code")


@needs_files
@pytest.mark.timeout(20)
@pytest.mark.parametrize("row", ROWS, ids=[row["file"] for row in ROWS])
def test_what_decodes_is_read_and_the_rest_refused(row: dict[str, str]) -> None:
    path = FOLDER / row["file"]
    num_probed = int(row["frames_decoded(max 400)"] or 0)
    if not num_probed:
        with pytest.raises(VideoError) as caught:
            open_video(path)
        assert str(path) in str(caught.value)
        if row["result"] == "no-video-stream":
            assert "has no video stream; it holds " in str(caught.value)
        return
    with open_video(path) as reader:
        num_frames = reader.num_frames
        found = reader.read([int((segment + 0.5) * num_frames / 8) for segment in range(8)])
        assert found.shape == (8, reader.info.height, reader.info.width, 3)
        assert reader.num_frames == num_frames
        if row["result"] == "ok":
            assert min(num_frames, PROBED_FRAMES) == num_probed
        else:  # PyAV's plain loop stops at the first packet that does not decode
            assert num_frames >= num_probed
        assert _stored_size(reader.info) in row["sizes"]


def _stored_size(info: Any) -> str:
    sides = (info.width, info.height) if info.rotation % 180 == 0 else (info.height, info.width)
    return f"({sides[0]}, {sides[1]})"


@needs_files
@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", ROWS_WITH_FRAMES, ids=[row["file"] for row in ROWS_WITH_FRAMES])
def test_sparse_frames_equal_a_plain_decode(row: dict[str, str]) -> None:
    path = FOLDER / row["file"]
    expected = _decode_until_refused(path)
    with VideoFile(path) as reader:
        num_frames = reader.num_frames
        indices = [int((segment + 0.5) * num_frames / 8) for segment in range(8)]
        random = np.random.default_rng(5)
        for wanted in (indices, random.integers(0, num_frames, 5).tolist()):
            found = reader.read(wanted)
            for index, frame in zip(wanted, found, strict=True):
                if index < len(expected):
                    np.testing.assert_array_equal(frame, reader._turn.apply(expected[index]))
        if not reader.damage:
            assert reader.num_frames == len(expected)


def _decode_until_refused(path: Path) -> list[Any]:
    frames: list[Any] = []
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        try:
            for frame in container.decode(video=0):
                frames.append(frame.to_ndarray(format="rgb24"))
        except FFmpegError:
            pass
    return frames
