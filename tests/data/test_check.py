"""Every file gets exactly one report, whatever it is."""

from __future__ import annotations

import csv
import io
import os
import pickle
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.data.make_clips import moving_frames, write_clip, write_sound
from videozoo.data.annotations.videos import find_videos
from videozoo.data.frames import check as check_module
from videozoo.data.frames.check import (
    FactCache,
    FileReport,
    FileToCheck,
    check_files,
    content_hashes,
    scan_folder,
)
from videozoo.data.frames.video import VideoFile
from videozoo.errors import DataError

ODDITIES = Path(__file__).parents[2].parent / "shared" / "data" / "video_oddities"
posix = pytest.mark.skipif(sys.platform == "win32", reason="pipes, sockets and links of POSIX")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    return write_clip(path, moving_frames(20), options={"g": "5"})


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (shade, 0, 0)).save(file, "jpeg")
    return file.getvalue()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def by_name(folder: Path, reports: list[FileReport]) -> dict[str, FileReport]:
    names = [report.path.relative_to(folder).as_posix() for report in reports]
    assert len(names) == len(set(names))
    return dict(zip(names, reports, strict=True))


@pytest.mark.skipif(not (ODDITIES / "PROBE.csv").exists(), reason="no folder of odd videos")
@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_every_odd_file_is_accounted_for_and_agrees_with_pyav(every: int):
    with (ODDITIES / "PROBE.csv").open(newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}

    found = list(scan_folder(ODDITIES))
    names = [each.path.relative_to(ODDITIES).as_posix() for each in found]
    assert sorted(names) == sorted([*rows, "PROBE.csv"])

    opened = [each for each in found if each.path.name == "PROBE.csv"] + found[::every]
    reports = by_name(ODDITIES, check_files(dict.fromkeys(opened), workers=2))

    assert len(reports) >= len(found) // every
    for name, row in rows.items():
        if name not in reports:
            continue
        has_frames = row["frames_decoded(max 400)"] not in ("", "0")
        assert reports[name].is_readable == has_frames, name
        assert bool(reports[name].reason) != has_frames, name
        if row["result"] == "no-video-stream":
            assert "has no video stream; it holds " in reports[name].reason
    assert reports["PROBE.csv"].status == "not a video"
    assert reports["PROBE.csv"].reason == "text, not a video"


def test_a_report_tells_what_a_video_is(clip: Path):
    (report,) = check_files([FileToCheck(clip)])

    assert (report.status, report.num_frames, report.height, report.width) == (
        "readable", 20, 64, 96,
    )  # fmt: skip
    assert (report.frames_per_second, report.codec, report.damage) == (30, "h264", "")
    assert report.seconds == pytest.approx(20 / 30)
    assert report.num_bytes == clip.stat().st_size


@posix
@pytest.mark.timeout(60)
def test_files_that_are_no_videos_are_named_for_what_they_are(tmp_path: Path, clip: Path):
    good = clip.read_bytes()
    for name, content in {
        "a/good.mp4": good,
        "a/with  blanks.mp4": good,
        "a/\u00fc\u4e2d\nline.mp4": good,
        "a/cut.mp4": good[:400],
        "a/empty.mp4": b"",
        "a/empty": b"",
        "a/notes.txt": b"hello\n",
        "a/video.dat": good,
        "a/table.npy": b"\x93NUMPY",
        "a/.hidden.mp4": good,
        "a/list.mp4": b"#EXTM3U\n/etc/passwd\n",
        ".git/x.mp4": good,
        "p/v.pkl": pickle.dumps(("id", 3, [jpeg(k) for k in range(4)])),
        "p/weights.pkl": pickle.dumps({"a": 1}),
        "frames/1.jpg": jpeg(1),
        "frames/2.jpg": jpeg(2),
        "frames/notes.txt": b"beside\n",
    }.items():
        put(tmp_path / name, content)
    with (tmp_path / "a" / "unfinished.mp4").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "a" / "pipe.mp4")
    (tmp_path / "a" / "device.mp4").symlink_to("/dev/zero")
    (tmp_path / "a" / "broken.mp4").symlink_to("nowhere.mp4")
    (tmp_path / "a" / "broken").symlink_to("nowhere")
    (tmp_path / "a" / "itself.mp4").symlink_to("itself.mp4")
    (tmp_path / "a" / "up").symlink_to("..")
    write_sound(tmp_path / "a" / "sound.mp4")

    reports = by_name(tmp_path, check_files(scan_folder(tmp_path), workers=2))

    said = {name: (report.status, report.reason) for name, report in reports.items()}
    damaged = said.pop("a/cut.mp4")
    assert damaged[0] == "unreadable"
    assert "damaged" in damaged[1]
    playlist = said.pop("a/list.mp4")
    assert playlist[0] == "unreadable"
    assert "playlist" in playlist[1]
    weights = said.pop("p/weights.pkl")
    assert weights[0] == "not a video"
    assert "dict" in weights[1]
    assert said.pop("a/itself.mp4")[0] == "missing"
    assert said == {
        "a/good.mp4": ("readable", ""),
        "a/with  blanks.mp4": ("readable", ""),
        "a/\u00fc\u4e2d\nline.mp4": ("readable", ""),
        "a/video.dat": ("readable", ""),
        "a/empty.mp4": ("empty", ""),
        "a/empty": ("not a video", "empty"),
        "a/notes.txt": ("not a video", "text, not a video"),
        "a/table.npy": ("not a video", "a NumPy array, not a video"),
        "a/.hidden.mp4": ("not a video", "hidden"),
        ".git": ("not a video", "a hidden folder"),
        "p/v.pkl": ("readable", ""),
        "frames": ("readable", ""),
        "frames/notes.txt": ("not a video", "text, not a video"),
        "a/unfinished.mp4": ("unreadable", "begins with zeros, as an unfinished download does"),
        "a/pipe.mp4": ("unreadable", "a named pipe, not a file"),
        "a/device.mp4": ("unreadable", "a device, not a file"),
        "a/broken.mp4": ("missing", "a link to 'nowhere.mp4': No such file or directory"),
        "a/broken": ("not a video", "a link to 'nowhere': No such file or directory"),
        "a/up": ("not a video", "a link to a folder that it lies in"),
        "a/sound.mp4": ("unreadable", "has no video stream; it holds audio (aac)"),
    }
    assert reports["frames"].num_frames == 2
    assert (reports["p/v.pkl"].num_frames, reports["p/v.pkl"].label) == (4, 3)


@posix
def test_a_socket_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)  # names of sockets must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("s.mp4")
        (report,) = check_files(scan_folder(tmp_path))

    assert (report.status, report.reason) == ("unreadable", "a socket, not a file")


def test_a_folder_that_cannot_be_listed_is_reported(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
):
    put(tmp_path / "open" / "a.mp4", clip.read_bytes())
    (tmp_path / "shut").mkdir()
    scandir = os.scandir

    def refuse(path: Path):
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(check_module.os, "scandir", refuse)

    reports = by_name(tmp_path, check_files(scan_folder(tmp_path)))

    assert reports["open/a.mp4"].is_readable
    assert reports["shut"].is_bad
    assert reports["shut"].reason == "cannot be listed: Permission denied"


def test_a_listed_file_must_be_a_video(tmp_path: Path):
    path = put(tmp_path / "a.txt", b"hello\n")

    listed, found = (check_files([FileToCheck(path, expected)])[0] for expected in (True, False))

    assert (listed.status, listed.is_bad) == ("unreadable", True)
    assert (found.status, found.is_bad) == ("not a video", False)


def probe_slowly(job: check_module._Job) -> dict[str, Any]:
    """In another process: look at a file, at one of them for too long."""
    if job.path.name == "slow.mp4":
        time.sleep(60)
    return check_module._probe(job)


def test_one_file_that_takes_too_long_does_not_stop_the_rest(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
):
    put(tmp_path / "a.mp4", clip.read_bytes())
    put(tmp_path / "slow.mp4", clip.read_bytes())
    limit = check_module._limit(None, False)

    def little_for_slow(job: check_module._Job) -> float:
        return 0.2 if job.path.name == "slow.mp4" else limit(job)

    def limits(*_: Any) -> Any:
        return little_for_slow

    monkeypatch.setattr(check_module, "_limit", limits)
    monkeypatch.setattr(check_module, "_probe", probe_slowly)

    reports = by_name(tmp_path, check_files(scan_folder(tmp_path)))

    assert reports["a.mp4"].is_readable
    assert (reports["slow.mp4"].status, reports["slow.mp4"].is_bad) == ("hung", True)


def test_deep_finds_damage_in_the_middle(tmp_path: Path, clip: Path):
    content = bytearray(clip.read_bytes())
    with VideoFile(clip) as reader:
        reader.decode_all()
        assert (reader.num_frames, reader.damage) == (20, "")
        sizes = [packet.size for packet in reader._packets or ()]
    start = content.find(b"mdat") + 4 + sum(sizes[:7])  # no key frame, not read by default
    content[start + 10 : start + sizes[7]] = b"\xff" * (sizes[7] - 10)
    path = put(tmp_path / "hurt.mp4", bytes(content))

    (sparse,) = check_files([FileToCheck(path)])
    (deep,) = check_files([FileToCheck(path)], deep=True)

    assert (sparse.status, sparse.damage) == ("readable", "")
    assert deep.status == "readable"
    assert deep.damage


def test_a_second_check_opens_only_what_changed(
    tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
):
    same = put(tmp_path / "same.mp4", clip.read_bytes())
    other = put(tmp_path / "other.mp4", clip.read_bytes()[:500])
    found = [FileToCheck(same), FileToCheck(other)]

    def checked(*, deep: bool = False) -> list[FileReport]:
        cache = FactCache(tmp_path / "cache")
        try:
            return check_files(found, cache=cache, deep=deep)
        finally:
            cache.close()

    first = checked()
    put(other, clip.read_bytes())
    second = checked()
    deep = checked(deep=True)

    def nothing_left(_: object, jobs: Iterator[object], **__: object) -> Iterator[Any]:
        assert list(jobs) == []
        return iter(())

    monkeypatch.setattr(check_module, "run_apart", nothing_left)
    third = checked()

    assert [report.from_cache for report in first] == [False, False]
    assert [report.from_cache for report in second] == [True, False]
    assert [report.is_readable for report in second] == [True, True]
    assert [report.from_cache for report in deep] == [False, False]
    assert first[0].num_frames == second[0].num_frames
    assert [report.from_cache for report in third] == [True, True]


def test_a_deep_report_answers_a_quick_question_too(tmp_path: Path, clip: Path):
    cache = FactCache(tmp_path)
    deep = check_files([FileToCheck(clip)], deep=True, cache=cache)
    quick = check_files([FileToCheck(clip)], cache=cache)
    cache.close()

    assert [report.from_cache for report in (*deep, *quick)] == [False, True]


def test_a_cache_that_cannot_be_written_changes_nothing(tmp_path: Path, clip: Path):
    put(tmp_path / "file", b"")
    cache = FactCache(tmp_path / "file")
    (tmp_path / "broken").mkdir()
    put(tmp_path / "broken" / "facts.sqlite", b"no database at all" * 100)
    broken = FactCache(tmp_path / "broken")

    for memory in (cache, broken):
        assert check_files([FileToCheck(clip)], cache=memory)[0].is_readable
        assert str(tmp_path) in memory.trouble
        memory.close()
    assert "damaged: delete it" in broken.trouble
    assert "damaged" not in cache.trouble


@pytest.mark.parametrize(
    "damage", ["answer = replace(answer, '8', '9')", "answer = '{'", "answer = 7", "stamp = stamp"]
)
def test_a_damaged_answer_counts_as_none(tmp_path: Path, clip: Path, damage: str):
    def checked() -> FileReport:
        cache = FactCache(tmp_path)
        (report,) = check_files([FileToCheck(clip)], cache=cache)
        cache.close()
        return report

    first = checked()
    with sqlite3.connect(tmp_path / "facts.sqlite") as base:
        base.execute(f"UPDATE facts SET {damage}")
    base.close()

    again = checked()

    assert again.from_cache == (damage == "stamp = stamp")
    assert replace(again, from_cache=False) == first
    assert checked().from_cache


def test_copies_are_told_by_their_content(tmp_path: Path):
    one = put(tmp_path / "a.mp4", b"same content")
    two = put(tmp_path / "b.mp4", b"same content")
    other = put(tmp_path / "c.mp4", b"sane content")
    alone = put(tmp_path / "d.mp4", b"of another size")
    cache = FactCache(tmp_path / "cache")

    first = content_hashes([one, two, other, alone, tmp_path, tmp_path / "gone"], cache=cache)
    second = content_hashes([one, two, other], cache=cache)
    cache.close()

    assert first[one] == first[two] != first[other]
    assert alone not in first
    assert second == first


def test_thousands_of_small_files_take_one_process(tmp_path: Path):
    for number in range(2000):
        put(tmp_path / f"{number % 20:02d}" / f"{number}.txt", b"x" * (number % 7))

    reports = check_files(scan_folder(tmp_path))

    assert len(reports) == 2000
    assert {report.status for report in reports} == {"not a video"}


def test_no_folder_is_an_error_not_an_empty_result(tmp_path: Path):
    with pytest.raises(DataError, match="cannot be read as a folder"):
        list(scan_folder(tmp_path / "gone"))


@posix
def test_training_too_is_not_led_in_circles(tmp_path: Path, clip: Path):
    put(tmp_path / "a" / "a.mp4", clip.read_bytes())
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "to_a").symlink_to("../a")

    names = [entry.path.relative_to(tmp_path).as_posix() for entry in find_videos(tmp_path)]

    assert names == ["a/a.mp4", "b/to_a/a.mp4"]
