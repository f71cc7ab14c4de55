"""Folders of images and 2019 pickles read like any other video."""

from __future__ import annotations

import json
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.make_clips import moving_frames
from videozoo.data.annotations.class_folders import read_folder
from videozoo.data.frames.check import scan_folder
from videozoo.data.frames.video import FrameFolder, JpegPickle, open_video
from videozoo.errors import VideoError

GOLDEN = Path(__file__).parents[1] / "golden"


def jpeg(frame: Any, **options: Any) -> bytes:
    target = BytesIO()
    Image.fromarray(frame).save(target, format="JPEG", quality=95, **options)
    return target.getvalue()


def opened(data: bytes) -> Any:
    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


# --- Folders --------------------------------------------------------------------------------------


def test_a_folder_is_read_in_natural_order(tmp_path: Path) -> None:
    frames = moving_frames(12)
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"f{number}.png")
    with open_video(tmp_path) as reader:
        assert isinstance(reader, FrameFolder)
        np.testing.assert_array_equal(reader.read([10, 2, 2, 0]), frames[[10, 2, 2, 0]])
        info = reader.info
    assert (info.num_frames, info.height, info.width) == (12, 64, 96)
    assert (info.codec, info.container, info.frames_per_second) == ("png", "folder", None)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".png", ".bmp", ".webp"])
def test_common_image_types_count_as_frames(suffix: str, tmp_path: Path) -> None:
    Image.fromarray(moving_frames(1)[0]).save(tmp_path / f"a{suffix}")
    (tmp_path / "notes.txt").write_text("not a frame")
    (tmp_path / f"._a{suffix}").write_bytes(b"what some systems leave behind")
    (tmp_path / f"folder{suffix}").mkdir()
    with open_video(tmp_path) as reader:
        assert reader.read([0]).shape == (1, 64, 96, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16"])
def test_any_colours_come_out_as_rgb(mode: str, tmp_path: Path) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    if mode == "I;16":
        image = Image.fromarray(np.full((8, 8), 300, np.uint16))
    else:
        image = Image.fromarray(moving_frames(1)[0]).convert(mode)
    image.save(tmp_path / f"a.{suffix}")
    with open_video(tmp_path) as reader:
        found = reader.read([0])
    assert found.dtype == np.uint8
    assert found.shape[-1] == 3


def test_a_picture_of_16_bits_is_not_cut_off_at_255(tmp_path: Path) -> None:
    grey = np.linspace(0, 65535, 64 * 48).reshape(48, 64).astype(np.uint16)
    Image.fromarray(grey).save(tmp_path / "a.png")
    with open_video(tmp_path) as reader:
        found = reader.read([0])[0]
    assert (found == (grey >> 8)[..., None]).all()


def test_frames_of_a_moving_picture_may_be_written_to(tmp_path: Path) -> None:
    frames = [Image.fromarray(frame) for frame in moving_frames(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:])
    with open_video(tmp_path / "a.webp") as reader:  # PyTorch warns of memory that may not
        assert all(frame.flags.writeable for frame in reader.frames())
        assert all(frame.flags.writeable for _, frame in reader.frames_at([0, 2]))


def test_a_note_of_orientation_in_an_image_is_ignored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = jpeg(moving_frames(1)[0], exif=exif)
    (tmp_path / "a.jpg").write_bytes(data)
    with open_video(tmp_path) as reader:
        np.testing.assert_array_equal(reader.read([0])[0], opened(data))


def test_the_frame_of_another_size_is_named(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "f1.png")
    Image.new("RGB", (30, 10)).save(tmp_path / "f2.png")
    with open_video(tmp_path) as reader:
        reader.read([0])
        with pytest.raises(VideoError, match=r"f2\.png: 30x10, while f1\.png is 20x10"):
            reader.read([0, 1])


def test_a_folder_without_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    with pytest.raises(VideoError, match=r"a folder without images \(\.bmp, \.jpeg"):
        open_video(tmp_path)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    data = jpeg(moving_frames(1)[0])
    (tmp_path / "f1.jpg").write_bytes(data)
    (tmp_path / "f2.jpg").write_bytes(data[: len(data) // 2])
    with open_video(tmp_path) as reader, pytest.raises(VideoError, match=r"f2\.jpg: not a read"):
        reader.read([1])
    (tmp_path / "f1.jpg").write_bytes(b"no image")
    with pytest.raises(VideoError, match=r"f1\.jpg: not a readable image"):
        open_video(tmp_path)


# --- Pickles --------------------------------------------------------------------------------------


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", ["./v0", b"./v0"])
def test_pickles_of_any_python_3_are_read(name: str | bytes, protocol: int, tmp_path: Path) -> None:
    jpegs = [jpeg(frame) for frame in moving_frames(4)]
    path = tmp_path / "v0.pkl"
    path.write_bytes(pickle.dumps((name, 7, jpegs), protocol))
    with open_video(path) as reader:
        assert isinstance(reader, JpegPickle)
        assert (reader.video_id, reader.label, reader.num_frames) == ("./v0", 7, 4)
        np.testing.assert_array_equal(
            reader.read([3, 1]), np.stack([opened(jpegs[3]), opened(jpegs[1])])
        )
        assert (reader.info.container, reader.info.codec) == ("pickle", "jpeg")
        assert pickle.loads(pickle.dumps(reader)).label == 7


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    data = jpeg(moving_frames(1)[0])
    path = tmp_path / "v0.pkl"
    size = len(data).to_bytes(4, "little")
    path.write_bytes(b"\x80\x02U\x04./v0K\x07]T" + size + data + b"a\x87.")
    with open_video(path) as reader:
        assert isinstance(reader, JpegPickle)
        assert (reader.video_id, reader.label) == ("./v0", 7)
        np.testing.assert_array_equal(reader.read([0])[0], opened(data))


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ({"a": 1}, "holds a dict; expected"),
        (("id", 1), "holds a tuple of 2; expected"),
        ((3, 1, [b"x"]), "the video id is a int"),
        (("id", "three", [b"x"]), "the label is 'three', not a whole number"),
        (("id", True, [b"x"]), "the label is True"),
        (("id", 1, []), "the list of frames is empty"),
        (("id", 1, b"jpeg"), "the list of frames is a bytes"),
        (("id", 1, [b"x", 5]), "frame 1 is a int"),
        (("id", 1, [b"no image"]), "frame 0: not a readable image"),
    ],
)
def test_malformed_pickles_are_refused(content: Any, complaint: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(VideoError) as caught:
        open_video(path)
    assert complaint in str(caught.value)
    assert "a.pkl" in str(caught.value)


def test_a_damaged_frame_of_a_pickle_is_named(tmp_path: Path) -> None:
    data = jpeg(moving_frames(1)[0])
    small = jpeg(moving_frames(1, height=32)[0])
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(("a", 0, [data, data[:300], small])))
    with open_video(path) as reader:
        reader.read([0])
        with pytest.raises(VideoError, match=r"a\.pkl: frame 1: not a readable image"):
            reader.read([1])
        with pytest.raises(VideoError, match=r"frame 2 is 96x32, frame 0 is 96x64"):
            reader.read([2])


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(VideoError, match="refused"):
        open_video(path)


# --- Recorded in 2019's own reader ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["reader_kinetics", "reader_nonlocal"])
def test_frames_are_those_recorded_from_the_original_reader(name: str) -> None:
    folder = GOLDEN / name
    recorded = np.load(folder / "outputs.npz")
    checked = 0
    for key in recorded.files:
        kind, _, video = key.partition("/")
        suffix = {"decoded": ".mp4", "jpeg_decoded": ".pkl"}.get(kind)
        if suffix:
            with open_video(folder / (video + suffix)) as reader:
                found = reader.read(range(reader.num_frames))
            np.testing.assert_array_equal(found, recorded[key])
            checked += 1
    assert checked


def test_labels_are_those_recorded_from_the_original_reader() -> None:
    meta = json.loads((GOLDEN / "reader_kinetics" / "meta.json").read_text())
    labels: list[int | None] = []
    for path in sorted((GOLDEN / "reader_kinetics").glob("*.pkl")):
        with open_video(path) as reader:
            assert isinstance(reader, JpegPickle)
            labels.append(reader.label)
    assert labels == meta["info"]["pkl/seg3_len1/valid"]["label"]


# --- moving images ---------------------------------------------------------------------------


def moving_webp(path: Path, *, frames: int = 10, milliseconds: int = 100) -> Path:
    pictures = [Image.new("RGB", (32, 24), (25 * n, 0, 0)) for n in range(frames)]
    pictures[0].save(
        path,
        format="WEBP",
        save_all=True,
        append_images=pictures[1:],
        duration=milliseconds,
        lossless=True,
    )
    return path


@pytest.mark.parametrize("name", ["a.webp", "a.mp4"])
def test_a_moving_webp_is_a_video(tmp_path: Path, name: str):
    path = moving_webp(tmp_path / name)

    with open_video(path) as reader:
        assert (reader.num_frames, reader.info.frames_per_second) == (10, 10.0)
        frames = reader.read([9, 0, 5, 5])
        assert frames.shape == (4, 24, 32, 3)
        assert frames[:, 0, 0, 0].tolist() == [225, 0, 125, 125]
        assert [frame[0, 0, 0] for frame in reader.frames()] == list(range(0, 250, 25))
        assert reader.frame_seconds == [n / 10 for n in range(10)]
        assert pickle.loads(pickle.dumps(reader)).num_frames == 10


def test_a_class_folder_may_hold_moving_webp(tmp_path: Path):
    for name in ("run", "jump"):
        (tmp_path / name).mkdir()
        moving_webp(tmp_path / name / "a.webp")
        Image.new("RGB", (8, 8)).save(tmp_path / name / "poster.webp")

    assert [entry.name for entry in read_folder(tmp_path)] == ["jump/a.webp", "run/a.webp"]
    assert [found.path.name for found in scan_folder(tmp_path) if found.is_expected] == [
        "a.webp"
    ] * 2


def test_moving_images_are_no_frames_of_a_folder(tmp_path: Path):
    Image.new("RGB", (32, 24)).save(tmp_path / "0.webp")
    moving_webp(tmp_path / "1.webp")

    with (
        open_video(tmp_path) as reader,
        pytest.raises(VideoError, match=r"1\.webp: a moving image"),
    ):
        reader.read([1])


def test_a_damaged_moving_webp_is_one_error(tmp_path: Path):
    path = moving_webp(tmp_path / "a.webp")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(VideoError, match=r"a\.webp: "), open_video(path) as reader:
        reader.read([reader.num_frames - 1])
    path.write_bytes(whole[:24] + b"\xff" * 6 + whole[30:])  # as large as can be
    with pytest.raises(VideoError, match=r"16777216x16777216 pixels"):
        open_video(path)


def test_a_network_address_is_named_whole(tmp_path: Path):
    with pytest.raises(VideoError, match=r"^rtsp://camera/1: a network address; only files"):
        open_video(Path("rtsp://camera/1"))
