"""A folder of features: whatever happens, each video is in it once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records, open_records
from videozoo.data.features.records import FeatureRecord, read_extractor
from videozoo.data.features.writer import FeatureFolder, FolderKind
from videozoo.errors import DataError

EXTRACTOR = {"model": "tsm", "rate": 2.0}
KINDS: tuple[FolderKind, ...] = ("pack", "tfrecord", "npz", "npy", "csv")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


def video(name: str, length: int = 3, labels: tuple[int, ...] | None = (1, 2)) -> FeatureRecord:
    rng = np.random.default_rng(sum(name.encode()))
    features = rng.standard_normal((length, 4)).astype(np.float32)
    return FeatureRecord(
        name, {"rgb": features}, labels, duration_seconds=1.5, facts={"path": f"{name}.mp4"}
    )


def opened(path: Path, kind: FolderKind = "pack", **options: Any) -> FeatureFolder:
    folder = FeatureFolder(path, kind, EXTRACTOR)
    folder.prepare(made_with="test", **options)
    return folder


def names_in(path: Path) -> list[str]:
    records = find_records(path)
    return sorted(records.read(number).name for number in range(len(records)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_written_is_read_back(kind: FolderKind, tmp_path: Path):
    folder = opened(tmp_path / "out", kind)
    writer = folder.writer(0)
    for name in ("a", "b.c"):
        writer.add(video(name))
    writer.close_part()
    folder.merge()

    assert read_extractor(tmp_path / "out") == EXTRACTOR
    assert list(folder.done) == ["a", "b.c"]
    assert not list((tmp_path / "out").glob(".*"))
    if kind in ("npy", "csv"):
        files = FeatureFiles(tmp_path / "out")
        assert list(files) == ["a", "b.c"]
        np.testing.assert_array_equal(files.read("a"), video("a").streams["rgb"])
        return
    records = find_records(tmp_path / "out")
    found = {record.name: record for record in map(records.read, range(len(records)))}
    assert found["a"].labels == (1, 2)
    np.testing.assert_array_equal(found["b.c"].streams["rgb"], video("b.c").streams["rgb"])
    if kind == "pack":
        assert records.extractor == EXTRACTOR
        assert (found["a"].duration_seconds, found["a"].facts) == (1.5, {"path": "a.mp4"})


@pytest.mark.parametrize("kind", KINDS)
def test_many_processes_write_one_folder(kind: FolderKind, tmp_path: Path):
    folder = opened(tmp_path / "out", kind)
    writers = [folder.writer(rank) for rank in range(3)]
    for number in range(7):
        writers[number % 3].add(video(f"v{number}"))
    for writer in writers:
        writer.close_part()
    folder.merge()

    assert list(folder.done) == [f"v{number}" for number in range(7)]
    if kind not in ("npy", "csv"):
        assert names_in(tmp_path / "out") == list(folder.done)


@pytest.mark.parametrize("kind", ["pack", "tfrecord", "npy"])
def test_a_killed_process_loses_nothing_that_was_added(kind: FolderKind, tmp_path: Path):
    out = tmp_path / "out"
    folder = opened(out, kind)
    writer = folder.writer(0)
    writer.add(video("a"))
    writer.close_part()
    writer.add(video("b"))  # killed here: no close_part, no merge
    with (out / ".videos-00000.jsonl").open("a") as journal:
        journal.write('{"name": "c", "fi')

    again = opened(out, kind)

    assert list(again.done) == ["a", "b"]
    again.writer(0).add(video("c"))
    last = opened(out, kind)
    assert list(last.done) == ["a", "b", "c"]
    if kind != "npy":
        assert names_in(out) == ["a", "b", "c"]


@pytest.mark.parametrize("when", ["before the part", "after the part", "within merge"])
def test_a_kill_while_a_part_is_closed_doubles_nothing(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    folder = opened(out)
    writer = folder.writer(0)
    writer.add(video("a"))
    writer.add(video("b"))
    write_part = FeatureFolder._write_part

    def killed(self: FeatureFolder, *arguments: Any) -> None:
        if when != "before the part":
            write_part(self, *arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FeatureFolder, "_write_part", killed)
        with pytest.raises(KeyboardInterrupt):
            folder.merge() if when == "within merge" else writer.close_part()

    assert list(opened(out).done) == ["a", "b"]
    assert names_in(out) == ["a", "b"]
    assert not (out / ".staged").exists()


def test_parts_are_closed_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("videozoo.data.features.writer._PART_VIDEOS", 2)
    writer = opened(tmp_path / "out").writer(1)
    for name in "abcde":
        writer.add(video(name))

    assert len(list((tmp_path / "out").glob("part-00001-*"))) == 2


def test_a_video_that_somebody_removed_is_done_again(tmp_path: Path):
    out = tmp_path / "out"
    folder = opened(out, "npy")
    for name in "ab":
        folder.writer(0).add(video(name))
    folder.merge()
    (out / "a.npy").unlink()

    assert list(opened(out, "npy").done) == ["b"]


def test_features_of_another_origin_are_not_added(tmp_path: Path):
    out = tmp_path / "out"
    opened(out)
    other = FeatureFolder(out, "pack", {**EXTRACTOR, "rate": 4.0})

    with pytest.raises(DataError, match=r"fingerprint \w+, these would have \w+ .*differ in rate"):
        other.prepare(made_with="test")
    with pytest.raises(DataError, match="holds features as pack, not npy"):
        opened(out, "npy")


@pytest.mark.parametrize("kind", ["pack", "npy"])
def test_overwriting_removes_only_what_was_extracted(kind: FolderKind, tmp_path: Path):
    out = tmp_path / "out"
    folder = opened(out, kind)
    writer = folder.writer(0)
    writer.add(video("a"))
    writer.close_part()
    folder.merge()
    (out / "notes.txt").write_text("mine")
    before = {path.name for path in out.iterdir()}

    again = FeatureFolder(out, "npz", {"model": "tsn"})
    again.prepare(made_with="test", overwrite=True)

    assert {"videos.jsonl", "notes.txt"} < before
    assert {path.name for path in out.iterdir()} == {"notes.txt", "extractor.json"}
    assert not again.done


@pytest.mark.parametrize("overwrite", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        {"name": "x", "file": ".."},
        {"name": "x", "file": "../precious.npy"},
        {"name": "../../precious", "file": ".staged/x"},
        {"name": "PLACE/precious", "file": ".staged/x"},
    ],
    ids=lambda line: f"{line['name']} {line['file']}",
)
def test_a_list_of_videos_that_names_places_elsewhere_removes_nothing_there(
    tmp_path: Path, line: dict[str, str], overwrite: bool
):
    """Such a folder may come from anyone."""
    folder = opened(tmp_path / "out", "npy")
    writer = folder.writer(0)
    writer.add(video("a"))
    writer.close_part()
    folder.merge()
    np.save(tmp_path / "precious.npy", np.ones((2, 4), np.float32))
    more = {"length": 2, "duration_seconds": 1.0, "labels": None}
    line = {key: value.replace("PLACE", str(tmp_path)) for key, value in line.items()}
    with (tmp_path / "out" / "videos.jsonl").open("a") as file:
        file.write(json.dumps(line | more) + "\n")

    folder = opened(tmp_path / "out", "npy", overwrite=overwrite)
    folder.forget(["x", line["name"]])
    folder.merge()

    assert (tmp_path / "precious.npy").exists()
    assert (tmp_path / "out" / "a.npy").exists() != overwrite


def test_folders_of_others_are_left_alone(tmp_path: Path):
    (tmp_path / "mine.txt").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="holds files that are not from an extraction"):
            opened(tmp_path, overwrite=overwrite)
    with pytest.raises(DataError, match="is a file"):
        opened(tmp_path / "mine.txt")


def test_packs_keep_what_is_known_of_a_video(tmp_path: Path):
    plain = FeatureRecord("plain", {"rgb": np.zeros((1, 4), np.float32)})
    with PackWriter(tmp_path / "pack") as pack:
        pack.write(video("a"))
        pack.write(plain)

    known, unknown = (open_records(tmp_path / "pack").read(number) for number in range(2))

    assert (known.duration_seconds, dict(known.facts)) == (1.5, {"path": "a.mp4"})
    assert (unknown.duration_seconds, dict(unknown.facts)) == (None, {})
    line = json.loads((tmp_path / "pack" / "videos.jsonl").read_text().splitlines()[1])
    assert line.keys() == {"name", "start", "length", "labels"}  # as packs have been so far


def test_a_pack_with_wrong_facts_is_damaged(tmp_path: Path):
    with PackWriter(tmp_path / "pack") as pack:
        pack.write(video("a"))
    lines = tmp_path / "pack" / "videos.jsonl"
    lines.write_text(lines.read_text().replace("1.5", '"long"'))

    with pytest.raises(DataError, match=r"videos.jsonl:1: not a video of a pack"):
        open_records(tmp_path / "pack").read(0)


@pytest.mark.parametrize("kind", ["pack", "tfrecord", "npz"])
def test_whatever_the_files_are_they_tell_what_made_them(tmp_path: Path, kind: FolderKind):
    folder = FeatureFolder(tmp_path / "out", kind, EXTRACTOR)
    folder.prepare(made_with="1")
    writer = folder.writer(0)
    writer.add(FeatureRecord("a", {"rgb": np.zeros((3, 4), np.float32)}, duration_seconds=1.5))
    writer.close_part()
    folder.merge()

    assert find_records(tmp_path / "out").extractor == EXTRACTOR
