"""Frames by number are the frames of a plain decode, whatever the file."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.error import FFmpegError, InvalidDataError
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.data.make_clips import decode_all, moving_frames, write_clip, write_sound
from tests.fuzz.harness import FOUND
from videozoo.data.frames.video import (
    ShiftedFramesError,
    VideoFile,
    header_seconds,
    open_video,
)
from videozoo.errors import VideoError

Frames = NDArray[np.uint8]

NUM_FRAMES = 60
X264 = {"preset": "veryfast", "crf": "28"}


def uneven_times(num_frames: int) -> list[int]:
    steps = np.random.default_rng(1).integers(20, 400, num_frames)
    return np.cumsum(steps).tolist()


# Each kind: the suffix, how `write_clip` makes it, and whether headers suffice to index it.
KINDS: dict[str, tuple[str, dict[str, Any], bool]] = {
    "h264 gop 12": (".mp4", {"options": {**X264, "g": "12"}}, True),
    "h264 gop 250": (".mp4", {"options": {**X264, "g": "250"}}, True),
    "h264 without B-frames": (".mp4", {"options": {**X264, "g": "20", "bf": "0"}}, True),
    "h264 many B-frames": (
        ".mkv",
        {"options": {**X264, "g": "30", "bf": "8", "x264-params": "b-adapt=0:b-pyramid=2:ref=5"}},
        True,
    ),
    "h264 open gop": (
        ".mp4",
        {"options": {**X264, "g": "12", "x264-params": "open-gop=1:bframes=3:b-adapt=0"}},
        True,
    ),
    "h264 weighted, sliced": (
        ".mp4",
        {"options": {**X264, "g": "12", "x264-params": "weightp=2:slices=4"}},
        True,
    ),
    "h264 intra refresh": (
        ".mp4",
        {"options": {**X264, "g": "12", "x264-params": "intra-refresh=1"}},
        True,
    ),
    "h264 fields": (".mp4", {"options": {**X264, "g": "12", "x264-params": "tff=1"}}, False),
    "h264 uneven times": (
        ".mp4",
        {"options": {**X264, "g": "12"}, "times": uneven_times(NUM_FRAMES)},
        True,
    ),
    "h264 negative times": (
        ".mp4",
        {
            "options": {**X264, "g": "12"},
            "times": [100 * number - 1050 for number in range(NUM_FRAMES)],
            "container_options": {"avoid_negative_ts": "disabled"},
        },
        True,
    ),
    "h264 late start": (
        ".mp4",
        {
            "options": {**X264, "g": "12"},
            "times": [100 * number + 4321 for number in range(NUM_FRAMES)],
        },
        True,
    ),
    "h264 fragmented": (
        ".mp4",
        {
            "options": {**X264, "g": "12"},
            "container_options": {"movflags": "frag_keyframe+empty_moov"},
        },
        True,
    ),
    "h264 start codes": (".ts", {"options": {**X264, "g": "12"}}, True),
    "h264 raw": (".h264", {"options": {**X264, "g": "12"}}, True),
    "h264 in avi": (".avi", {"options": {**X264, "g": "12", "bf": "0"}}, True),
    "h264 in flv": (".flv", {"options": {**X264, "g": "12"}}, True),
    "h264 4:4:4": (".mp4", {"options": {**X264, "g": "12"}, "pix_fmt": "yuv444p"}, True),
    "h264 10 bit": (".mp4", {"options": {**X264, "g": "12"}, "pix_fmt": "yuv420p10le"}, True),
    "h264 full range": (".mp4", {"options": {**X264, "g": "12"}, "full_range": True}, True),
    "hevc closed gop": (
        ".mp4",
        {"codec": "libx265", "options": {"x265-params": "keyint=12:open-gop=0:log-level=none"}},
        True,
    ),
    "hevc open gop": (
        ".mkv",
        {"codec": "libx265", "options": {"x265-params": "keyint=12:open-gop=1:log-level=none"}},
        True,
    ),
    "mpeg4 in avi": (".avi", {"codec": "mpeg4", "options": {"g": "12", "b": "400k"}}, True),
    "mpeg4 B-frames": (".mp4", {"codec": "mpeg4", "options": {"g": "12", "bf": "2"}}, True),
    "mpeg4 B-frames in avi": (".avi", {"codec": "mpeg4", "options": {"g": "9", "bf": "2"}}, True),
    "mpeg2": (".mpg", {"codec": "mpeg2video", "options": {"g": "12", "bf": "2"}}, False),
    "h263": (".avi", {"codec": "h263p", "options": {"g": "12"}}, False),
    "vp8": (
        ".webm",
        {"codec": "libvpx", "options": {"g": "12", "auto-alt-ref": "1", "lag-in-frames": "16"}},
        True,
    ),
    "vp9": (
        ".webm",
        {
            "codec": "libvpx-vp9",
            "options": {"g": "16", "auto-alt-ref": "1", "lag-in-frames": "20", "cpu-used": "8"},
        },
        True,
    ),
    "av1": (
        ".mp4",
        {"codec": "libsvtav1", "options": {"g": "16", "preset": "12", "svtav1-params": ""}},
        True,
    ),
    "mjpeg": (".avi", {"codec": "mjpeg", "pix_fmt": "yuvj420p"}, True),
    "png": (".mov", {"codec": "png", "pix_fmt": "rgba"}, True),
    "ffv1": (".mkv", {"codec": "ffv1"}, False),
    "gif": (".gif", {"codec": "gif", "pix_fmt": "rgb8", "rate": 10}, False),
}


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="Linux tells priorities")
def test_clips_are_made_at_the_usual_priority(clip_of: Callable[[str], tuple[Path, Frames]]):
    clip_of("av1")

    assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(scope="module")
def clip_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Path, Frames]]:
    """Makes a clip of a kind, once, with what a plain decode gives."""
    folder = tmp_path_factory.mktemp("clips")
    made: dict[str, tuple[Path, Frames]] = {}

    def make(kind: str) -> tuple[Path, Frames]:
        if kind not in made:
            suffix, options, _ = KINDS[kind]
            if options.get("codec", "libx264") not in av.codecs_available:
                pytest.skip(f"this FFmpeg has no encoder {options['codec']}")
            frames = moving_frames(NUM_FRAMES, height=68, width=100)  # no whole blocks of 16
            path = folder / f"{kind.replace(' ', '_').replace(':', '')}{suffix}"
            write_clip(path, frames, **options)
            made[kind] = path, decode_all(path)
        return made[kind]

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_any_frames_equal_a_plain_decode(
    kind: str, clip_of: Callable[[str], tuple[Path, Frames]]
) -> None:
    path, expected = clip_of(kind)
    with open_video(path) as reader:
        assert reader.num_frames == len(expected)
        np.testing.assert_array_equal(reader.read(range(len(expected))), expected)
    random = np.random.default_rng(3)
    for size in (1, 2, 5, 8):
        indices = random.integers(0, len(expected), size).tolist()
        with open_video(path) as reader:
            for _ in range(2):  # the second time with another decoder
                np.testing.assert_array_equal(reader.read(indices), expected[indices])


@pytest.mark.parametrize("kind", KINDS)
def test_each_single_frame_equals_a_plain_decode(
    kind: str, clip_of: Callable[[str], tuple[Path, Frames]]
) -> None:
    path, expected = clip_of(kind)
    with open_video(path) as reader:
        for index in range(len(expected)):
            np.testing.assert_array_equal(reader.read([index])[0], expected[index])


@pytest.mark.parametrize("kind", KINDS)
def test_headers_foretell_what_the_decoder_gives(
    kind: str, clip_of: Callable[[str], tuple[Path, Frames]]
) -> None:
    path, expected = clip_of(kind)
    with VideoFile(path) as reader:
        assert (reader._index is not None) == KINDS[kind][2]
        for index in range(0, len(expected), 5):
            reader.read([index, (index + 7) % len(expected)])
        assert (reader._index is not None) == KINDS[kind][2]
        assert not reader.damage


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["h264 many B-frames", "h264 gop 12", "hevc open gop", "mpeg4 B-frames"]),
    indices=st.lists(st.integers(0, NUM_FRAMES - 1), min_size=1, max_size=12),
)
def test_order_and_repeats_of_numbers_do_not_matter(
    kind: str, indices: list[int], clip_of: Callable[[str], tuple[Path, Frames]]
) -> None:
    path, expected = clip_of(kind)
    with open_video(path) as reader:
        np.testing.assert_array_equal(reader.read(indices), expected[indices])


# --- Cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("gop", "most_packets"), [(12, 37), (250, 140)])
def test_sparse_reading_decodes_few_packets(gop: int, most_packets: int, tmp_path: Path) -> None:
    frames = moving_frames(300, height=176, width=234)
    path = write_clip(
        tmp_path / "clip.mp4",
        frames,
        options={"preset": "medium", "crf": "25", "g": str(gop)},
    )
    centres = [int((segment + 0.5) * 300 / 8) for segment in range(8)]
    with VideoFile(path) as reader:
        assert reader.num_frames == 300
        assert reader.packets_sent == 0
        found = reader.read(centres)
        assert 8 <= reader.packets_sent <= most_packets
        assert reader._index is not None
    np.testing.assert_array_equal(found, decode_all(path)[centres])


@pytest.mark.parametrize(
    ("kind", "most_packets"),
    [
        ("h264 without B-frames", 15),
        ("hevc closed gop", 14),
        ("hevc open gop", 28),
        ("mpeg4 B-frames in avi", 8),
        ("vp9", 20),
        ("av1", 20),
        ("mjpeg", 1),
    ],
)
def test_one_late_frame_costs_at_most_its_group(
    kind: str, most_packets: int, clip_of: Callable[[str], tuple[Path, Frames]]
) -> None:
    path, _ = clip_of(kind)
    with VideoFile(path) as reader:
        reader.read([NUM_FRAMES - 6])
        assert reader.packets_sent <= most_packets


def test_a_jump_to_an_open_group_far_ahead_stays_sparse(tmp_path: Path) -> None:
    # Far enough for the decoder to misjudge the order count if it were not emptied before.
    path = write_clip(
        tmp_path / "a.mkv",
        moving_frames(400, height=64, width=64),
        codec="libx265",
        options={"preset": "ultrafast", "x265-params": "keyint=50:open-gop=1:log-level=none"},
    )
    expected = decode_all(path)
    for far in (180, 215, 290, 390):
        with VideoFile(path) as reader:
            np.testing.assert_array_equal(reader.read([5, far]), expected[[5, far]])
            assert reader._index is not None


def test_packets_of_large_files_are_read_again_instead_of_kept(
    clip_of: Callable[[str], tuple[Path, Frames]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, expected = clip_of("h264 gop 12")
    monkeypatch.setattr("videozoo.data.frames.video._MAX_KEPT_BYTES", 1000)
    with VideoFile(path) as reader:
        assert reader._packets is None
        for indices in ([55, 3, 20], [0], list(range(NUM_FRAMES))):
            np.testing.assert_array_equal(reader.read(indices), expected[indices])
        assert reader._index is not None


def test_importing_the_reader_does_not_import_torch() -> None:
    code = "import sys, videozoo.data.frames.video; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# --- What a reader tells --------------------------------------------------------------------------


def test_info_tells_size_rate_and_origin(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", moving_frames(7, height=50, width=70), rate=25)
    with open_video(path) as reader:
        info = reader.info
    assert (info.num_frames, info.height, info.width) == (7, 50, 70)
    assert info.frames_per_second == pytest.approx(25)
    assert (info.codec, info.rotation) == ("h264", 0)
    assert "mp4" in info.container


@pytest.mark.parametrize("counterclockwise", [0, 90, 180, 270])
def test_frames_are_turned_upright(counterclockwise: int, tmp_path: Path) -> None:
    frames = moving_frames(9, height=48, width=80)
    path = write_clip(tmp_path / "a.mp4", frames, rotation=counterclockwise)
    stored = decode_all(path)
    upright = np.rot90(stored, counterclockwise // 90, axes=(1, 2))
    with open_video(path) as reader:
        assert reader.info.rotation == -counterclockwise % 360
        assert (reader.info.height, reader.info.width) == upright.shape[1:3]
        np.testing.assert_array_equal(reader.read([4, 0, 8]), upright[[4, 0, 8]])


def test_no_frames_asked_gives_an_empty_array_of_the_right_size(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", moving_frames(3, height=48, width=80))
    with open_video(path) as reader:
        assert reader.read([]).shape == (0, 48, 80, 3)


@pytest.mark.parametrize("index", [-1, 3, 100])
def test_numbers_outside_the_video_are_refused(index: int, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", moving_frames(3))
    with open_video(path) as reader, pytest.raises(IndexError, match=r"a\.mp4: no frame .* 3 fr"):
        reader.read([0, index])


def test_a_reader_survives_pickling(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "a.mp4", moving_frames(5))
    with open_video(path) as reader:
        expected = reader.read([1, 4])
        with pickle.loads(pickle.dumps(reader)) as other:
            np.testing.assert_array_equal(other.read([1, 4]), expected)


def test_a_closed_reader_says_so(tmp_path: Path) -> None:
    reader = open_video(write_clip(tmp_path / "a.mp4", moving_frames(5)))
    reader.close()
    reader.close()
    with pytest.raises(VideoError, match="after close"):
        reader.read([0])


@pytest.mark.parametrize("name", ["a b.mp4", "http:x.mp4", "50%d.mp4", "concat:a|b.mp4", "ü.mp4"])
def test_any_file_name_is_only_a_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "plain.mp4", moving_frames(3)).rename(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for written in (path, Path(name)):
        with open_video(written) as reader:
            assert reader.num_frames == 3


def test_frames_of_other_sizes_are_scaled_to_the_first(tmp_path: Path) -> None:
    parts = [
        write_clip(tmp_path / f"{number}.mjpeg", frames, codec="mjpeg", pix_fmt="yuvj420p")
        for number, frames in enumerate(
            [moving_frames(3, height=48, width=64), moving_frames(4, height=80, width=96)]
        )
    ]
    path = tmp_path / "both.mjpeg"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    for indices in ([5, 1], [6], [0, 1, 2, 3, 4, 5, 6]):
        with open_video(path) as reader:
            assert reader.num_frames == 7
            found = reader.read(indices)
            assert found.shape == (len(indices), 48, 64, 3)
            assert reader.info.height == 48
    np.testing.assert_array_equal(found[:3], decode_all(parts[0]))
    assert np.abs(found[3:].astype(int).mean() - decode_all(parts[1]).mean()) < 3


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    frames = moving_frames(10, height=67, width=99)
    path = write_clip(tmp_path / "a.mp4", frames, pix_fmt="yuv444p", options=X264)
    with open_video(path) as reader:
        found = reader.read([9, 2])
    assert found.shape == (2, 67, 99, 3)
    np.testing.assert_array_equal(found, decode_all(path)[[9, 2]])


def test_frames_cut_off_by_an_edit_list_are_not_counted(
    clip_of: Callable[[str], tuple[Path, Frames]],
) -> None:
    path, expected = clip_of("h264 negative times")
    assert 0 < len(expected) < NUM_FRAMES
    with VideoFile(path) as reader:
        assert reader._num_packets == NUM_FRAMES
        assert reader.num_frames == len(expected)


# --- Damage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.5, 0.7, 0.9])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts", ".avi"])
def test_a_truncated_video_has_the_frames_that_are_left(
    suffix: str, share: float, tmp_path: Path
) -> None:
    frames = moving_frames(NUM_FRAMES)
    options = {"movflags": "faststart"} if suffix == ".mp4" else {}
    whole = write_clip(
        tmp_path / f"whole{suffix}", frames, options={**X264, "g": "12"}, container_options=options
    )
    data = whole.read_bytes()
    path = tmp_path / f"part{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    expected = _decode_what_decodes(path)
    with open_video(path) as reader:
        assert 0 < reader.num_frames < NUM_FRAMES
        indices = np.linspace(0, reader.num_frames - 1, 8).astype(int).tolist()
        found = reader.read(indices)
        assert reader.num_frames == len(expected)
        np.testing.assert_array_equal(found, np.stack(expected)[indices])


def _decode_what_decodes(path: Path) -> list[Any]:
    frames: list[Any] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        try:
            for packet in container.demux(stream):
                try:
                    frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
                except InvalidDataError:
                    continue
        except FFmpegError:
            pass
    return frames


def _packet_places(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as container:
        return [
            (packet.pos, packet.size)
            for packet in container.demux(video=0)
            if packet.pos is not None
        ]


def test_damage_found_while_reading_leaves_promised_numbers_readable(
    clip_of: Callable[[str], tuple[Path, Frames]], tmp_path: Path
) -> None:
    whole, _ = clip_of("vp9")
    data = bytearray(whole.read_bytes())
    container_bytes = 12  # between the place of a block and its first byte, at most
    for place, size in _packet_places(whole)[-4:]:
        data[place + container_bytes + 8 : place + size] = b"\xff" * (size - container_bytes - 8)
    path = tmp_path / "damaged.webm"
    path.write_bytes(data)
    with VideoFile(path) as reader:
        promised = reader.num_frames
        assert promised == NUM_FRAMES
        found = reader.read(range(promised))
        assert found.shape[0] == promised
        expected = _decode_what_decodes(path)
        assert reader.num_frames == len(expected) < promised
        assert "do not decode" in reader.damage
        np.testing.assert_array_equal(found[: len(expected)], np.stack(expected))
        np.testing.assert_array_equal(found[-1], expected[-1])


def test_a_number_that_was_promised_stays_readable_after_another_read_finds_fewer() -> None:
    path = FOUND / "videos" / "fewer-frames-than-told" / "a.webm"
    with VideoFile(path) as reader:
        promised = reader.num_frames
        reader.read([0])
        assert reader.num_frames < promised

        late = reader.read([promised - 1])

        np.testing.assert_array_equal(late, reader.read([reader.num_frames - 1]))
        assert [number for number, _ in reader.frames_at([promised - 1])] == [reader.num_frames - 1]
        with pytest.raises(IndexError, match=f"no frame {promised}; "):
            reader.read([promised])


@pytest.mark.parametrize("kind", ["h264 gop 12", "hevc open gop", "mpeg4 B-frames", "vp9"])
def test_some_frames_in_order_are_those_of_a_full_decode(
    clip_of: Callable[[str], tuple[Path, Frames]], kind: str
) -> None:
    path, frames = clip_of(kind)
    wanted = [20, 3, 3, 9, len(frames) - 1]
    with VideoFile(path) as reader:
        found = dict(reader.frames_at(wanted))
        needed = reader.packets_sent

    assert list(found) == sorted(set(wanted))
    for number, frame in found.items():
        np.testing.assert_array_equal(frame, frames[number])
    assert needed <= len(frames) + 1
    with VideoFile(path) as reader, pytest.raises(IndexError, match=f"no frame {len(frames)}"):
        next(reader.frames_at([0, len(frames)]))


def test_frames_that_no_one_needs_are_not_decoded(
    clip_of: Callable[[str], tuple[Path, Frames]],
) -> None:
    path, frames = clip_of("h264 gop 12")
    with VideoFile(path) as reader:
        _ = reader.info
        before = reader.packets_sent
        assert [number for number, _ in reader.frames_at([len(frames) - 12])] == [len(frames) - 12]
        assert reader.packets_sent - before < 15


def test_damage_found_while_reading_in_order_is_told_and_then_everything_is_decoded(
    clip_of: Callable[[str], tuple[Path, Frames]], tmp_path: Path
) -> None:
    whole, _ = clip_of("vp9")
    data = bytearray(whole.read_bytes())
    for place, size in _packet_places(whole)[-4:]:
        data[place + 20 : place + size] = b"\xff" * (size - 20)
    path = tmp_path / "damaged.webm"
    path.write_bytes(data)
    with VideoFile(path) as reader:
        numbers = range(reader.num_frames)
        with pytest.raises(ShiftedFramesError, match="than its headers say"):
            list(reader.frames_at(numbers))
        found = dict(reader.frames_at(numbers))

    expected = _decode_what_decodes(path)
    assert list(found) == list(range(len(expected)))
    np.testing.assert_array_equal(np.stack(list(found.values())), np.stack(expected))


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(["h264 gop 12", "hevc open gop", "mpeg4 B-frames", "vp9", "h264 raw"]),
    places=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=40)), max_size=6),
    end=st.floats(0.05, 1),
)
def test_no_damage_crashes_the_reader(
    kind: str,
    places: list[tuple[float, bytes]],
    end: float,
    clip_of: Callable[[str], tuple[Path, Frames]],
    tmp_path: Path,
) -> None:
    whole, _ = clip_of(kind)
    data = bytearray(whole.read_bytes())
    for share, noise in places:
        place = int(share * (len(data) - len(noise)))
        data[place : place + len(noise)] = noise
    path = tmp_path / f"damaged{whole.suffix}"
    path.write_bytes(data[: int(end * len(data))])
    with suppress(VideoError), open_video(path) as reader:
        num_frames = reader.num_frames
        assert num_frames > 0
        found = reader.read([0, num_frames // 2, num_frames - 1])
        assert found.shape == (3, reader.info.height, reader.info.width, 3)
        assert reader.num_frames > 0


# --- What is no video -----------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match=r"nowhere\.mp4: no such file"):
        open_video(tmp_path / "nowhere.mp4")


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(VideoError, match=r"a\.mp4: the file is empty"):
        open_video(tmp_path / "a.mp4")


@pytest.mark.parametrize(
    "content", [b"hello, world\n" * 100, bytes(5000), b"\x89PNG\r\n\x1a\n1234"]
)
@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.jpg"])
def test_what_is_no_video_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(VideoError, match=r"a\.\w+: (not a video|a single image)"):
        open_video(tmp_path / name)


def test_a_file_with_sound_only_says_what_it_holds(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match=r"has no video stream; it holds audio \(aac\)"):
        open_video(path)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    sound = write_sound(tmp_path / "plain.m4a")
    path = tmp_path / "art.m4a"
    picture = write_clip(
        tmp_path / "art.mjpeg", moving_frames(1), codec="mjpeg", pix_fmt="yuvj420p"
    )
    with (
        av.open(str(sound)) as source,
        av.open(str(picture)) as art,
        av.open(str(path), "w", format="mp4") as target,
    ):
        audio = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream_from_template(art.streams.video[0])
        cover.disposition = Disposition.attached_pic
        for packet in art.demux(video=0):
            if packet.size:
                packet.stream = cover
                target.mux(packet)
        for packet in source.demux(audio=0):
            if packet.size:
                packet.stream = audio
                target.mux(packet)
    with pytest.raises(VideoError, match=r"it holds audio \(aac\), cover art"):
        open_video(path)


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.m3u8", "#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n", "HLS"),
        ("a.mp4", "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile:///etc/passwd\n", "HLS"),
        ("a.ffconcat", "ffconcat version 1.0\nfile plain.mp4\n", "concat"),
        (
            "a.mpd",
            '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
            "<BaseURL>http://127.0.0.1:9/</BaseURL></MPD>\n",
            "DASH",
        ),
    ],
)
def test_playlists_are_refused(name: str, content: str, kind: str, tmp_path: Path) -> None:
    write_clip(tmp_path / "plain.mp4", moving_frames(3))
    (tmp_path / name).write_text(content)
    with pytest.raises(VideoError, match=f"a {kind} playlist"):
        open_video(tmp_path / name)


def test_a_single_image_is_refused(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(moving_frames(1)[0]).save(tmp_path / "a.png")
    with pytest.raises(VideoError, match="a single image"):
        open_video(tmp_path / "a.png")


def test_neither_file_nor_folder_is_refused(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "a.mp4")
    with pytest.raises(VideoError, match="neither a file nor a folder"):
        open_video(tmp_path / "a.mp4")


def test_reading_says_nothing_on_the_terminal(
    clip_of: Callable[[str], tuple[Path, Frames]], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    whole, _ = clip_of("h264 gop 12")
    data = bytearray(whole.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 200] = bytes(range(200))
    (tmp_path / "a.mp4").write_bytes(data)
    capfd.readouterr()
    with open_video(tmp_path / "a.mp4") as reader:
        reader.read(range(reader.num_frames))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".ts"])
def test_a_header_that_starts_late_tells_the_length_not_the_end(
    tmp_path: Path, suffix: str
) -> None:
    late = [100 * (30 * 3600 + index) for index in range(30)]
    path = write_clip(tmp_path / f"late{suffix}", moving_frames(30), times=late)

    assert header_seconds(path) == pytest.approx(1, abs=0.05)
