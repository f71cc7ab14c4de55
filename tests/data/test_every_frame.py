"""All frames in order, one at a time, and when each is shown."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videozoo.data.frames.video import open_video
from videozoo.data.synthetic.clips import write_video
from videozoo.errors import VideoError

ODDITIES = Path(__file__).parents[3] / "shared" / "data" / "video_oddities"


def noise(count: int = 30) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (count, 48, 64, 3)).astype(np.uint8)


def test_frames_in_order_are_those_read_by_number(tmp_path: Path):
    write_video(tmp_path / "v.mp4", noise(), frames_per_second=10)

    with open_video(tmp_path / "v.mp4") as video:
        assert video.frame_seconds == pytest.approx([k / 10 for k in range(30)])
        assert np.array_equal(np.stack(list(video.frames())), video.read(range(30)))
        assert len(list(video.frames())) == 30  # and once more

    with pytest.raises(VideoError, match="after close"):
        next(video.frames())


def test_folders_of_images_give_theirs(tmp_path: Path):
    for number, frame in enumerate(noise(3)):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")

    with open_video(tmp_path) as video:
        assert np.array_equal(np.stack(list(video.frames())), noise(3))
        assert video.frame_seconds is None


def test_odd_videos_give_the_same_frames_both_ways():
    if not ODDITIES.is_dir():
        pytest.skip("the odd videos are not beside this checkout")
    compared = 0
    for path in sorted(ODDITIES.rglob("*.mp4"))[::5]:
        try:
            with open_video(path) as video:
                if video.num_frames > 120 or video.info.width > 700:
                    continue
                count = min(video.num_frames, 20)
                first = [frame for frame, _ in zip(video.frames(), range(count), strict=False)]
                assert np.array_equal(np.stack(first), video.read(range(count)))
                times = video.frame_seconds
                assert times is None or len(times) == video.num_frames
                compared += 1
        except VideoError:
            continue
    assert compared > 3
