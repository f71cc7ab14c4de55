"""Videos of many kinds: each decodes, through the reader and through `check-data`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from videozoo import cli
from videozoo.data.annotations.videos import find_videos
from videozoo.data.frames.video import open_video

CASES = Path(__file__).parents[3] / "shared" / "cases" / "videos"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason=f"the cases are not at {CASES}")

FRAMES = {"anim.webp": 10, "anim_pil.gif": 10}
VIDEOS = sorted(path.name for path in CASES.glob("*")) if CASES.is_dir() else []


@pytest.mark.parametrize("name", [name for name in VIDEOS if name != "make_videos.py"])
def test_every_frame_comes_out(name: str):
    with open_video(CASES / name) as video:
        count = video.num_frames
        assert count == FRAMES.get(name, 30)
        frames = video.read([count - 1, 0])
        whole = list(video.frames())
        assert len(whole) == count
        np.testing.assert_array_equal(frames, [whole[-1], whole[0]])
        assert (frames[0] != frames[1]).any()  # something moves
        times = video.frame_seconds
        assert times is None or (times[0] == 0 and times == sorted(times))


def test_all_are_found_and_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    found = {entry.path.name for entry in find_videos(CASES)}
    assert found == set(VIDEOS) - {"make_videos.py"}

    report = tmp_path / "all.json"
    line = ["check-data", str(CASES), "--json", str(report), "--workers", "1", "--no-cache"]
    assert cli.main(line) == 0

    files = json.loads(report.read_text())["files"]
    assert {file["status"] for file in files if Path(file["path"]).name in found} == {"readable"}
