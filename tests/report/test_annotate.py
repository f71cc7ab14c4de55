"""What is drawn on videos can be read, and the video underneath stays what it was."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from videozoo.data.frames.video import VideoInfo, VideoReader, open_video
from videozoo.data.synthetic.clips import write_video
from videozoo.errors import RunError
from videozoo.report import annotate, drawing
from videozoo.report.annotate import (
    Answer,
    Band,
    SeenFrames,
    Timed,
    annotate_video,
    contact_sheet,
    explained_sheet,
    picture_names,
    write_picture,
)

ROOT = Path(__file__).parents[2]
ODDITIES = ROOT.parent / "shared" / "data" / "video_oddities"


def answer(truth: str | None = None, name: str = "riding a bike") -> Answer:
    return Answer(name="clip.mp4", top=[(name, 0.9), ("walking", 0.07), ("x", 0.03)], truth=truth)


def grey(count: int = 12, height: int = 96, width: int = 128) -> np.ndarray:
    ramp = np.linspace(60, 200, count).astype(np.uint8)
    return np.broadcast_to(ramp[:, None, None, None], (count, height, width, 3)).copy()


class Frames:
    """A video in memory, or one that is made while it is read."""

    frame_seconds: list[float] | None = None

    def __init__(self, count: int, height: int, width: int, rate: float | None = 10.0) -> None:
        self.info = VideoInfo(
            num_frames=count,
            height=height,
            width=width,
            frames_per_second=rate,
            codec="",
            container="",
            rotation=0,
        )
        self.alive = self.most_alive = 0

    def frames(self) -> Iterator[np.ndarray]:
        for level in np.linspace(60, 200, self.info.num_frames):
            frame = np.full((self.info.height, self.info.width, 3), level, np.uint8)
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
            weakref.finalize(frame, self._gone)
            yield frame

    def _gone(self) -> None:
        self.alive -= 1


def annotated(reader: Any, path: Path, seen: list[int] | None = None, **facts: Any) -> Path:
    written = annotate_video(cast(VideoReader, reader), path, answer(**facts), seen or [3])
    assert written == reader.info.num_frames
    return path


def test_number_rate_and_size_stay_and_the_picture_above_the_band_too(tmp_path: Path):
    write_video(tmp_path / "in.mp4", grey(12, 240, 320), frames_per_second=12)
    with open_video(tmp_path / "in.mp4") as source:
        annotated(source, tmp_path / "out.mp4", seen=[1, 6])
        before = source.read(range(12))

    with open_video(tmp_path / "out.mp4") as out:
        assert out.info == source.info
        after = out.read(range(12))

    upper = slice(0, 120)
    assert np.abs(after[:, upper].astype(int) - before[:, upper]).mean() < 2
    assert (after[:, 160:].max(axis=(1, 2, 3)) > 225).all()  # white letters, on every frame
    assert np.abs(after[:, 160:].astype(int) - before[:, 160:]).mean() > 30


def test_colours_come_back_as_they_were(tmp_path: Path):
    class Coloured(Frames):
        def frames(self) -> Iterator[np.ndarray]:
            for _ in range(3):
                frame = np.zeros((96, 128, 3), np.uint8)
                frame[:, :64], frame[:, 64:] = (200, 30, 40), (30, 160, 220)
                yield frame

    with open_video(annotated(Coloured(3, 96, 128), tmp_path / "out.mp4")) as video:
        back = video.read([1])[0, ::4, ::4].astype(int)  # drawn four times as large

    assert np.abs(back[:40, 8:56] - (200, 30, 40)).max() < 12
    assert np.abs(back[:40, 72:120] - (30, 160, 220)).max() < 12


def test_making_a_size_even_does_not_stretch_the_picture(tmp_path: Path):
    stripes = np.tile(np.repeat([40, 210], 4), 40)[:127].astype(np.uint8)

    class Striped(Frames):
        def frames(self) -> Iterator[np.ndarray]:
            yield np.broadcast_to(stripes[None, :, None], (95, 127, 3)).copy()

    with open_video(annotated(Striped(1, 95, 127), tmp_path / "out.mp4")) as video:
        row = video.read([0])[0, 80, : 4 * 127, 1].astype(int).reshape(127, 4).mean(axis=1)

    assert ((row > 128) == (stripes > 128)).all()


@pytest.mark.parametrize(
    ("height", "width", "times"), [(203, 205, 1), (160, 285, 2), (64, 64, 5), (17, 40, 8)]
)
def test_odd_sizes_become_even_and_small_ones_large_enough_to_read(
    tmp_path: Path, height: int, width: int, times: int
):
    out = annotated(Frames(5, height, width), tmp_path / "out.mp4")

    height, width = times * height, times * width
    with open_video(out) as video:
        assert (video.info.height, video.info.width) == (height + height % 2, width + width % 2)
        assert video.num_frames == 5


def test_frames_at_uneven_times_keep_them(tmp_path: Path):
    times = [0.0, 0.1, 0.2, 0.7, 0.8, 2.0]
    with av.open(tmp_path / "in.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.height = stream.width = 64
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for seconds in times:
            frame = av.VideoFrame.from_ndarray(grey(1, 64, 64)[0], format="rgb24")
            frame.pts, frame.time_base = round(1000 * seconds), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())

    with open_video(tmp_path / "in.mp4") as source:
        annotated(source, tmp_path / "out.mp4")

    with open_video(tmp_path / "out.mp4") as out:
        assert out.frame_seconds == pytest.approx(times, abs=0.001)


def test_a_long_video_needs_no_more_memory_than_a_short_one(tmp_path: Path):
    source = Frames(200, 64, 64)

    annotated(source, tmp_path / "out.mp4")

    assert source.most_alive <= 3


def test_a_film_without_a_rate_gets_one(tmp_path: Path):
    with open_video(annotated(Frames(5, 64, 64, rate=None), tmp_path / "out.mp4")) as video:
        assert video.info.frames_per_second == 25


def test_rotated_videos_are_written_upright(tmp_path: Path):
    if not ODDITIES.is_dir():
        pytest.skip("the odd videos are not beside this checkout")
    turned = 0
    for path in sorted(ODDITIES.rglob("*rotat*.mp4"))[:3]:
        with open_video(path) as source:
            annotated(source, tmp_path / "out.mp4")
            turned += source.info.rotation in (90, 270)
            with open_video(tmp_path / "out.mp4") as out:
                assert out.info.rotation == 0
                assert (out.info.height, out.info.width) == (
                    source.info.height + source.info.height % 2,
                    source.info.width + source.info.width % 2,
                )
                assert out.num_frames == source.num_frames
    assert turned


def test_what_cannot_be_written_is_named_and_nothing_is_left(tmp_path: Path):
    (tmp_path / "file").write_text("")

    with pytest.raises(RunError, match=r"out\.mp4: cannot be written"):
        annotated(Frames(2, 64, 64), tmp_path / "file" / "out.mp4")
    with pytest.raises(RunError, match=r"out\.png: cannot be written"):
        write_picture(tmp_path / "file" / "out.png", Image.new("RGB", (4, 4)))
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


# --- the band


@settings(max_examples=20, deadline=None)
@given(
    st.integers(16, 600),
    st.integers(16, 600),
    st.text(max_size=60),
    st.sampled_from([None, "riding", "x" * 90]),
    st.integers(1, 500),
)
def test_any_name_fits_into_any_picture(
    height: int, width: int, name: str, truth: str | None, count: int
):
    shown = Answer(name="v", top=[(name, 1.0), (name[::-1], 0.0)], truth=truth)
    picture = np.full((height, width, 3), 128, np.uint8)

    drawn = Band((height, width), shown, [0, count // 2], count).draw(picture, count - 1)

    assert drawn.shape == picture.shape
    assert (picture == 128).all()  # drawn on a copy
    rows = np.flatnonzero((drawn != 128).any(axis=(1, 2)))
    assert 0 < len(rows) <= max(20, 0.6 * height)  # something, and not over everything


def test_the_text_grows_with_the_picture():
    heights: list[int] = []
    for height, width in ((64, 64), (256, 340), (2160, 3840)):
        picture = np.full((height, width, 3), 128, np.uint8)
        drawn = Band((height, width), answer(), [], 10).draw(picture, 0)
        heights.append(int((drawn[:, 0] != 128).any(axis=1).sum()))

    assert heights[0] < heights[1] < heights[2]
    assert heights[2] > 8 * heights[0]


def test_right_wrong_and_unknown_look_different():
    picture = np.full((200, 300, 3), 128, np.uint8)
    bands = [
        Band((200, 300), answer(truth=truth), [], 10).draw(picture, 0)
        for truth in (None, "riding a bike", "walking")
    ]

    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (bands[one] != bands[other]).any()


def test_the_timeline_marks_frames_that_were_seen_and_a_cursor_moves_over_it():
    picture = np.full((100, 200, 3), 128, np.uint8)
    band = Band((100, 200), answer(), [10, 30], 40)

    first, seen = (band.draw(picture, number)[-1] for number in (0, 30))

    yellow = np.array([255, 205, 60])
    assert (first[52] == yellow).all()
    assert (first[152] == yellow).all()
    assert (first[2] == 255).all()  # the cursor, on a frame the model did not see
    assert (seen[152] == yellow).all()
    assert not (seen[2] == 255).all()


def test_names_are_cut_to_the_width_and_never_in_front_of_an_accent():
    for width in range(10, 200, 3):
        cut = drawing.fitted("Cafe\u0301 e\u0301e\u0301e\u0301e\u0301e\u0301 au lait", 14, width)
        assert drawing.font_for(cut, 14).getlength(cut) <= width
        if cut.endswith("\u2026") and len(cut) > 1:
            rest = "Cafe\u0301 e\u0301e\u0301e\u0301e\u0301e\u0301 au lait"[len(cut) - 1 :]
            assert not rest.startswith("\u0301")


# --- pictures


def test_the_sheet_shows_the_frames_and_the_classes_beside_them():
    seen = SeenFrames(numbers=[3, 9, 15], pictures=grey(3))

    sheet = np.asarray(contact_sheet(seen, answer(truth="walking"), frames_per_second=10))

    for level in (60, 130, 200):
        assert (np.abs(sheet.astype(int) - level).max(axis=2) < 3).sum() > 15_000
    beside = sheet[:, -340:]
    assert (beside.min(axis=2) < 100).sum() > 500  # letters and bars
    unlabelled = np.asarray(contact_sheet(seen, answer(), frames_per_second=10))
    assert (unlabelled != sheet).any()


def test_of_many_frames_two_dozen_are_shown():
    many = SeenFrames(numbers=range(90), pictures=grey(90, 16, 16))

    width, height = contact_sheet(many, answer()).size

    assert width < 1600
    assert height < 1000


def test_heat_is_seen_where_it_is():
    heat = np.zeros((2, 4, 4), np.float32)
    heat[1, 0, 3] = 1.0  # second frame, upper right
    seen = SeenFrames(numbers=[0, 5], pictures=np.full((2, 64, 64, 3), 100, np.uint8))

    sheet = explained_sheet(seen, heat, [0.0, 1.0], title="Why", name="clip.mp4")

    pixels = np.asarray(sheet).astype(int)
    warm = (pixels[..., 0] > 200) & (pixels[..., 2] < 190) & (pixels[..., 1] > 180)
    warm[:66] = False  # the legend
    rows, columns = np.nonzero(warm)
    assert len(rows) > 50
    assert columns.min() > 20 + 144 + 8 + 72  # in the right half of the second frame
    assert rows.max() < 66 + 20 + 144 + 4 + 72


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "b/c"]), st.text("aAé\u0301_x2", max_size=4)),
        max_size=12,
        unique=True,
    )
)
def test_no_two_videos_share_a_file_on_any_system(parts: list[tuple[str, str]]):
    names = picture_names([Path(folder) / f"v{stem}.mp4" for folder, stem in parts])

    files = [f"{name}{end}".casefold() for name in names for end in (".png", "_explained.png")]
    assert len(files) == len(set(files))
    assert all("/" not in name for name in names)


def test_a_video_that_is_called_like_the_explanation_of_another_keeps_its_own_files():
    names = picture_names([Path("x_explained.mp4"), Path("x.mp4")])
    files = [f"{name}{end}" for name in names for end in (".png", "_explained.png")]

    assert len(set(files)) == 4


def test_endless_names_stay_within_what_file_systems_allow():
    (name,) = picture_names([Path("\N{SNOWMAN}" * 80 + ".mp4")])

    assert len(f"{name}_annotated.mp4.new".encode()) < 255


# --- what holds when


def said(*times: tuple[float, float, str]) -> Answer:
    timed = [Timed(start_seconds=a, end_seconds=b, text=text, score=None) for a, b, text in times]
    return Answer(name="v", timed=timed)


def test_the_band_says_what_holds_at_that_second_and_nothing_else():
    shown = said((1.0, 3.0, "a man runs"), (2.0, 4.0, "a dog barks"))
    picture = np.full((240, 320, 3), 128, np.uint8)
    band = Band((240, 320), shown, [], 50, seconds_of=lambda number: number / 10)

    at = {seconds: band.draw(picture, int(10 * seconds))[:231] for seconds in (0, 1, 2.5, 3, 4, 2)}

    assert (at[0] == 128).all()
    assert (at[4] == 128).all()
    assert (at[1] != 128).any()
    alone = {
        text: Band(
            (240, 320),
            Answer(name="v", timed=[Timed(start_seconds=0, end_seconds=9, text=text)]),
            [],
            1,
        )
        for text in ("a man runs", "a dog barks")
    }
    assert (at[1] == alone["a man runs"].draw(picture, 0)[:231]).all()
    assert (at[3] == alone["a dog barks"].draw(picture, 0)[:231]).all()
    assert (at[2.5] == at[2]).all()
    assert (at[2.5] != at[1]).any()


def test_a_long_sentence_is_whole_on_a_small_video_and_leaves_half_of_it_free():
    sentence = "a woman in a red coat crosses the street and waves to someone behind the camera"
    size = (320, 568)  # as a video of 160 x 284 is drawn
    picture = np.full((*size, 3), 128, np.uint8)
    drawn = Band(size, said((0, 9, sentence)), [], 1).draw(picture, 0)

    rows = np.flatnonzero((drawn != 128).any(axis=(1, 2)))
    assert rows.min() > 160
    assert "\N{HORIZONTAL ELLIPSIS}" not in "".join(drawing.wrapped(sentence, 15, 568 - 12, most=3))


def test_the_timeline_shows_when_something_is_said():
    band = Band((240, 400), said((1.0, 3.0, "x")), [], 40, seconds_of=lambda number: number / 10)

    strip = band.draw(np.zeros((240, 400, 3), np.uint8), 39)[-2]

    is_blue = (strip == (43, 108, 212)).all(axis=1)
    assert np.flatnonzero(is_blue).tolist() == list(range(100, 300))


# --- sound


def with_sound(path: Path, codec: str, *, start: float = 0.0, rate: int = 48_000) -> Path:
    """A video of two seconds whose tone begins one second after its first picture."""
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(10))
        stream.height = stream.width = 32
        stream.pix_fmt = "yuv420p"
        sound = cast(Any, container.add_stream(codec, rate=rate))
        sound.layout = "mono"
        for number, picture in enumerate(grey(20, 32, 32)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number + round(10 * start), Fraction(1, 10)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
        count = round((start + 2) * rate)
        tone = 0.5 * np.sin(np.arange(count) * 2 * np.pi * 440 / rate)
        tone[: round((start + 1) * rate)] = 0
        whole = av.AudioFrame.from_ndarray(tone[None].astype(np.float32), "fltp", "mono")
        whole.sample_rate, whole.pts, whole.time_base = rate, 0, Fraction(1, rate)
        coder = sound.codec_context
        resampler = av.AudioResampler(coder.format, "mono", rate, coder.frame_size or 1024)
        for part in (*resampler.resample(whole), *resampler.resample(None)):
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path


def sounds(path: Path) -> tuple[str, float, list[bytes]]:
    """Codec, when the tone begins, and the packets of a file."""
    with av.open(path) as container:
        name = container.streams.audio[0].codec.canonical_name
        packets = [bytes(packet) for packet in container.demux(audio=0) if packet.size]
    with av.open(path) as container:
        for frame in container.decode(audio=0):
            levels = np.abs(frame.to_ndarray().astype(float)).ravel()
            loud = np.flatnonzero(levels > (0.1 if "flt" in frame.format.name else 3000))
            if len(loud):
                assert frame.time is not None
                return name, frame.time + loud[0] / frame.sample_rate, packets
    raise AssertionError(f"{path} is silent")


@pytest.mark.parametrize(
    ("name", "codec", "start"),
    [("in.mp4", "aac", 0.0), ("in.mkv", "aac", 0.5), ("in.avi", "pcm_s16le", 0.0)],
)
def test_the_sound_stays_and_stays_in_time(tmp_path: Path, name: str, codec: str, start: float):
    source = with_sound(tmp_path / name, codec, start=start)
    told: list[str] = []
    with open_video(source) as reader:
        annotate_video(reader, tmp_path / "out.mp4", answer(), [3], say=told.append)

    codec_before, _, before = sounds(source)
    codec_after, begins, after = sounds(tmp_path / "out.mp4")

    assert codec_after == "aac"
    assert begins == pytest.approx(1.0, abs=0.03)
    if codec_before == "aac":
        assert set(after) <= set(before)  # not encoded again
        assert not told
    else:
        assert "its sound is encoded again, as AAC" in told[0]
    with open_video(tmp_path / "out.mp4") as out:
        assert out.num_frames == 20
    assert {each.name for each in tmp_path.iterdir()} == {name, "out.mp4"}


def test_sound_that_cannot_be_kept_is_said_and_the_pictures_stay(tmp_path: Path, monkeypatch: Any):
    source = with_sound(tmp_path / "in.mp4", "aac")
    told: list[str] = []

    def fails(*_: Path) -> tuple[str, str]:
        return "lost", "it is odd"

    monkeypatch.setattr(annotate, "with_sound_of", fails)
    with open_video(source) as reader:
        assert annotate_video(reader, tmp_path / "out.mp4", answer(), say=told.append) == 20

    assert told == [f"{tmp_path / 'out.mp4'}: without sound, which could not be kept: it is odd"]
