from __future__ import annotations

import gzip
import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from videozoo.data.features import records
from videozoo.data.features._example import _entry, _sized
from videozoo.data.features._tfrecord import write_tfrecord
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import (
    PickleFile,
    find_records,
    open_records,
    write_shard,
)
from videozoo.data.features.records import FeatureRecord, RecordFile, RecordSet, fingerprint
from videozoo.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path_factory.mktemp("cache")))


def video(name: str, *, frames: int = 3, labels: tuple[int, ...] | None = (1,)) -> FeatureRecord:
    rng = np.random.RandomState(sum(name.encode()))
    rgb, audio = (rng.randint(0, 256, (frames, dim)).astype(np.uint8) for dim in (6, 4))
    return FeatureRecord(name, {"rgb": rgb, "audio": audio}, labels)


def write_pack(folder: Path, *videos: FeatureRecord, extractor: Any = None) -> Path:
    with PackWriter(folder, extractor=extractor) as pack:
        for one in videos:
            pack.write(one)
    return folder


def write_pickle(path: Path, *videos: FeatureRecord, text: bool = True, protocol: int = 2) -> Path:
    items: list[dict[Any, Any]] = [
        {
            "video": one.name,
            "feature": one.streams["rgb"],
            "audio": one.streams["audio"],
            "nframes": np.int32(len(one.streams["rgb"])),
        }
        | ({} if one.labels is None else {"label": list(one.labels)})
        for one in videos
    ]
    if not text:
        items = [{key.encode(): value for key, value in item.items()} for item in items]
        items = [{**item, b"video": item[b"video"].encode()} for item in items]
    path.write_bytes(pickle.dumps(items, protocol))
    return path


def write_npz(path: Path, one: FeatureRecord) -> Path:
    labels = {} if one.labels is None else {"labels": np.array(one.labels, np.int64)}
    np.savez(path, **one.streams, **labels)  # pyright: ignore[reportArgumentType]
    return path


def everything(path: Path, **options: Any) -> list[FeatureRecord]:
    found = find_records(path, **options)
    return [found.read(number) for number in range(len(found))]


def assert_same(ours: list[FeatureRecord], theirs: list[FeatureRecord]) -> None:
    assert [one.name for one in ours] == [one.name for one in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one.labels == other.labels
        assert one.streams.keys() == other.streams.keys()
        for name, frames in one.streams.items():
            np.testing.assert_array_equal(frames, other.streams[name])
            assert frames.dtype == other.streams[name].dtype


def message_of(action: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        action()
    return str(caught.value)


VIDEOS = [video("abc"), video("déf", frames=1, labels=()), video("g", frames=7, labels=(4, 0))]


# --- each kind -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["tfrecord", "pack", "text pickle", "bytes pickle", "npz"])
def test_every_kind_gives_what_was_written(tmp_path: Path, kind: str):
    videos, path = VIDEOS, tmp_path / "features"
    if kind == "tfrecord":
        assert write_shard(path, videos) == 3
    elif kind == "pack":
        write_pack(path, *videos)
    elif kind.endswith("pickle"):
        path = write_pickle(tmp_path / "features.pkl", *videos, text=kind == "text pickle")
    else:
        path.mkdir()
        for one in videos:
            write_npz(path / f"{one.name}.npz", one)
        videos = sorted(videos, key=lambda one: one.name)

    assert_same(everything(path), videos)


@pytest.mark.parametrize("protocol", range(6))
def test_pickles_of_every_protocol_are_read(tmp_path: Path, protocol: int):
    path = write_pickle(tmp_path / "a.pkl", *VIDEOS, protocol=protocol)

    assert_same(everything(path), VIDEOS)


def test_unknown_labels_stay_unknown(tmp_path: Path):
    one = video("a", labels=None)
    write_shard(tmp_path / "a.tfrecord", [one])
    write_pickle(tmp_path / "a.pkl", one)
    write_npz(tmp_path / "a.npz", one)
    write_pack(tmp_path / "pack", one)

    for name in ("a.tfrecord", "a.pkl", "a.npz", "pack"):
        assert everything(tmp_path / name)[0].labels is None


def test_pickled_videos_are_cut_to_nframes(tmp_path: Path):
    one = video("a", frames=5)
    values = {"video": "a", "feature": one.streams["rgb"], "nframes": np.int32(2), "label": [1]}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([values]))

    (read,) = everything(tmp_path / "a.pkl")

    np.testing.assert_array_equal(read.streams["rgb"], one.streams["rgb"][:2])
    assert list(read.streams) == ["rgb"]


@pytest.mark.parametrize(("key", "name"), [("video_id", "abcd"), ("other", "a/0")])
def test_records_of_2016_name_their_video_otherwise(tmp_path: Path, key: str, name: str):
    context = _entry(key, _sized(1, _sized(1, b"abcd")))
    write_tfrecord(tmp_path / "a.tfrecord", [_sized(1, context)])

    assert everything(tmp_path / "a.tfrecord")[0].name == name


def test_video_level_records_are_videos_of_one_frame(tmp_path: Path):
    values = np.array([0.5, -1.5], "<f4")
    context = _entry("id", _sized(1, _sized(1, b"abcd")))
    context += _entry("mean_rgb", _sized(2, _sized(1, values.tobytes())))
    write_tfrecord(tmp_path / "a.tfrecord", [_sized(1, context)])

    (one,) = everything(tmp_path / "a.tfrecord")

    assert (one.name, one.streams["rgb"].tolist()) == ("abcd", [[0.5, -1.5]])


STREAMS = st.dictionaries(
    st.sampled_from(["rgb", "audio", "depth_2", "x.y-z"]),
    st.tuples(st.integers(1, 5), st.sampled_from(["uint8", "float16", "float32", "float64"])),
    min_size=1,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    streams=STREAMS,
    lengths=st.lists(st.integers(0, 4), min_size=1, max_size=5),
    labels=st.none() | st.lists(st.integers(0, 9)).map(tuple),
    name=st.text(st.characters(codec="utf-8"), max_size=6),
)
def test_any_pack_comes_back(
    tmp_path_factory: pytest.TempPathFactory, streams: Any, lengths: Any, labels: Any, name: str
):
    rng = np.random.RandomState(sum(lengths))
    videos = [
        FeatureRecord(
            name,
            {key: (rng.rand(n, dim) * 99).astype(kind) for key, (dim, kind) in streams.items()},
            labels,
        )
        for n in lengths
    ]
    folder = tmp_path_factory.mktemp("packs") / "pack"
    if not any(lengths):
        assert "no frame" in message_of(lambda: write_pack(folder, *videos))
        return

    write_pack(folder, *videos)

    assert_same(everything(folder), videos)
    assert np.load(folder / f"{min(streams)}.npy").shape[0] == sum(lengths)


# --- writing packs ---------------------------------------------------------------------------


def test_an_interrupted_pack_leaves_nothing(tmp_path: Path):
    def interrupted():
        with PackWriter(tmp_path / "pack") as pack:
            pack.write(VIDEOS[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_not_overwritten_unasked(tmp_path: Path):
    write_pack(tmp_path / "pack", VIDEOS[0])

    assert "exists already" in message_of(lambda: PackWriter(tmp_path / "pack"))

    with PackWriter(tmp_path / "pack", overwrite=True) as pack:
        pack.write(VIDEOS[1])
    assert_same(everything(tmp_path / "pack"), [VIDEOS[1]])
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.tex").touch()
    assert "exists already" in message_of(lambda: PackWriter(tmp_path / "other", overwrite=True))


def test_a_failed_overwrite_keeps_the_old_pack(tmp_path: Path):
    write_pack(tmp_path / "pack", VIDEOS[0])

    with pytest.raises(DataError), PackWriter(tmp_path / "pack", overwrite=True):
        pass

    assert_same(everything(tmp_path / "pack"), [VIDEOS[0]])


@pytest.mark.parametrize(
    ("streams", "expected"),
    [
        ({"rgb": np.zeros((2, 5), "u1")}, r"b: holds rgb \(5 uint8\), but the pack audio \(4 uin"),
        ({"rgb": np.zeros((2, 6), "f4"), "audio": np.zeros((2, 4), "u1")}, r"rgb \(6 float32\)"),
        ({"rgb": np.zeros((2, 6), "u1"), "audio": np.zeros((3, 4), "u1")}, "different lengths"),
    ],
)
def test_a_pack_has_the_same_streams_throughout(tmp_path: Path, streams: Any, expected: str):
    with pytest.raises(DataError, match=expected):
        write_pack(tmp_path / "pack", VIDEOS[0], FeatureRecord("b", streams))


def test_a_stream_cannot_name_a_file_elsewhere(tmp_path: Path):
    one = FeatureRecord("a", {"../rgb": np.zeros((1, 2), np.uint8)})

    assert "cannot be put into a pack" in message_of(lambda: write_pack(tmp_path / "pack", one))
    assert list(tmp_path.iterdir()) == []


# --- bad input -------------------------------------------------------------------------------


class Code:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([{"video": Code()}]))

    assert "refused: this pickle asks to run" in message_of(lambda: everything(tmp_path / "a.pkl"))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"video": "a"}, "a.pkl: holds a dict, expected a list of videos"),
        ([1], "a.pkl: record 0: is a int, expected a dict"),
        ([{"feature": [1]}], "a.pkl: record 0: rgb has a list, expected an array"),
        ([{"feature": np.zeros(3, "u1")}], r"record 0: rgb has shape (3,), expected an array"),
        ([{"feature": np.zeros((1, 2), "i4")}], "rgb holds int32, expected uint8 or floating"),
        ([{"feature": np.zeros((1, 2), "u1"), "label": ["x"]}], "labels are ['x'], expected"),
        ([{"feature": np.zeros((1, 2), "u1"), "nframes": "x"}], "nframes is 'x', expected"),
        ([], "a.pkl: holds no video"),
    ],
)
def test_pickles_of_something_else_are_explained(tmp_path: Path, content: Any, expected: str):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(content))

    assert expected in message_of(lambda: everything(tmp_path / "a.pkl"))


def test_damaged_files_are_named(tmp_path: Path):
    pickled, npz = tmp_path / "a.pkl", tmp_path / "a.npz"
    write_pickle(pickled, *VIDEOS)
    write_npz(npz, VIDEOS[0])
    for path in (pickled, npz):
        path.write_bytes(path.read_bytes()[:-30])
        assert message_of(lambda path=path: everything(path)).startswith(f"{path}: not a readable")


@pytest.mark.parametrize("name", ["a.tfrecord", "a.bin"])
def test_compressed_shards_are_recognised(tmp_path: Path, name: str):
    write_shard(tmp_path / "plain", VIDEOS)
    (tmp_path / name).write_bytes(gzip.compress((tmp_path / "plain").read_bytes()))

    assert "compressed with gzip" in message_of(lambda: everything(tmp_path / name))


def test_a_shard_that_starts_damaged_is_still_a_shard(tmp_path: Path):
    (tmp_path / "a.tfrecord").write_bytes(b"not a record at all, but long enough")

    assert "record 0 at byte 0: damaged" in message_of(lambda: everything(tmp_path / "a.tfrecord"))


def test_a_record_of_something_else_is_named(tmp_path: Path):
    write_tfrecord(tmp_path / "a.tfrecord", [b"\xff\xff\xff"])

    message = message_of(lambda: everything(tmp_path / "a.tfrecord"))
    assert "record 0 at byte 0: not a SequenceExample" in message


def test_other_files_are_refused(tmp_path: Path):
    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(20))

    assert "a.mp4: not features of videos" in message_of(lambda: everything(tmp_path / "a.mp4"))


def break_pack(folder: Path, change: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    videos = folder / "videos.jsonl"
    if change == "version":
        manifest["version"] = 2
    elif change == "format":
        manifest["format"] = "other"
    elif change == "stream":
        manifest["streams"][0]["name"] = "../../etc/passwd"
    elif change == "json":
        (folder / "manifest.json").write_text("{")
        return
    elif change == "array":
        (folder / "rgb.npy").write_bytes((folder / "rgb.npy").read_bytes()[:-3])
    elif change == "shape":
        np.save(folder / "rgb.npy", np.zeros((2, 6), np.uint8))
    elif change == "absent":
        (folder / "rgb.npy").unlink()
    elif change == "lines":
        videos.write_text("".join(videos.read_text().splitlines(keepends=True)[:-1]))
    elif change == "line":
        videos.write_text(videos.read_text().replace('"start"', '"stort"', 1))
    elif change == "beyond":
        videos.write_text(videos.read_text().replace('"length": 3', '"length": 99', 1))
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("version", "manifest.json: version 2 of feature packs, expected 1"),
        ("format", "manifest.json: not the manifest of a feature pack"),
        ("stream", "manifest.json: damaged"),
        ("json", "manifest.json: not valid JSON"),
        ("array", "rgb.npy: not a readable"),
        ("shape", "rgb.npy: holds uint8 (2, 6), but manifest.json says uint8 (11, 6)"),
        ("absent", "rgb.npy: cannot be read"),
        ("lines", "videos.jsonl: 2 lines, but manifest.json counts 3 videos"),
        ("line", "videos.jsonl:1: not a video of a pack"),
        ("beyond", "record 0: frames 0 to 99, but the pack has 11"),
    ],
)
def test_damaged_packs_are_explained(tmp_path: Path, change: str, expected: str):
    write_pack(tmp_path / "pack", *VIDEOS)
    break_pack(tmp_path / "pack", change)

    assert expected in message_of(lambda: everything(tmp_path / "pack"))


# --- many files ------------------------------------------------------------------------------


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    folder = tmp_path / "shards"
    folder.mkdir()
    for number, one in enumerate(VIDEOS):
        write_shard(folder / f"train{number}.tfrecord", [one, replace(one, name=f"{one.name}2")])
    (folder / "vocabulary.csv").write_text("Index,Name\n0,a\n")
    return folder


BOTH = [part for one in VIDEOS for part in (one, replace(one, name=f"{one.name}2"))]


def test_folders_globs_and_lists_name_many_files(shards: Path, tmp_path: Path):
    names = "\n".join(path.name for path in sorted(shards.glob("*.tfrecord")))
    (shards / "all.txt").write_text(f"\n{names}\n\n")
    (tmp_path / "elsewhere.list").write_text(names)

    assert_same(everything(shards), BOTH)
    assert_same(everything(shards / "train*"), BOTH)
    assert_same(everything(shards / "all.txt"), BOTH)
    assert_same(everything(tmp_path / "elsewhere.list", root=shards), BOTH)


def test_lists_are_looked_up_in_the_current_folder_as_in_2019(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train").write_text("shards/train1.tfrecord\nshards/train0.tfrecord\n")

    assert_same(everything(Path("lists/train")), [*BOTH[2:4], *BOTH[:2]])
    assert_same(everything(Path("shards/train[01]*")), BOTH[:4])


def test_lists_may_name_folders_and_packs(shards: Path, tmp_path: Path):
    write_pack(tmp_path / "pack", VIDEOS[0])
    (tmp_path / "a.txt").write_text("pack\nshards\n")

    assert_same(everything(tmp_path / "a.txt"), [VIDEOS[0], *BOTH])


def test_absent_files_of_a_list_are_named_with_their_lines(shards: Path, tmp_path: Path):
    (tmp_path / "a.txt").write_text("shards/train0.tfrecord\nabsent.tfrecord\nother.tfrecord\n")

    message = message_of(lambda: everything(tmp_path / "a.txt", root=Path("of/files")))

    assert "2 lines cannot be used" in message
    assert "a.txt:2: no such file 'absent.tfrecord'" in message
    assert "looked in the current folder, of" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("absent", "absent: no such file or folder"),
        ("absent*", "no file has such a name"),
        ("empty", "no features of videos in this folder"),
        ("empty.txt", "empty"),
    ],
)
def test_nothing_there_is_said(tmp_path: Path, name: str, expected: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()

    assert expected in message_of(lambda: everything(tmp_path / name))


def test_a_folder_with_the_same_videos_in_two_kinds_is_refused(shards: Path):
    write_pickle(shards / "train0.pkl", VIDEOS[0])

    message = message_of(lambda: everything(shards))

    assert "holds several kinds of files" in message
    assert "train0.pkl" in message
    assert "train0.tfrecord" in message
    assert_same(everything(shards, kind="tfrecord"), BOTH)
    assert_same(everything(shards, kind="pickle"), VIDEOS[:1])
    assert "no features of videos of kind npz" in message_of(lambda: everything(shards, kind="npz"))


def test_packs_of_different_extractors_do_not_mix(tmp_path: Path):
    facts: dict[str, Any] = {"model": "tsn", "weights": "12ab", "rate": 1}
    write_pack(tmp_path / "packs" / "a", VIDEOS[0], extractor=facts)
    write_pack(tmp_path / "packs" / "b", VIDEOS[1], extractor=dict(reversed(facts.items())))

    same = find_records(tmp_path / "packs")
    assert same.extractor == facts
    assert same.fingerprint == fingerprint(facts)

    other = write_pack(tmp_path / "packs" / "c", VIDEOS[2], extractor=facts | {"weights": "34cd"})
    message = message_of(lambda: find_records(tmp_path / "packs"))
    assert "features of different origin are mixed" in message
    assert f"{tmp_path / 'packs' / 'a'} has fingerprint {same.fingerprint}" in message
    assert f"{other} has fingerprint" in message

    write_shard(tmp_path / "x.tfrecord", VIDEOS)
    (tmp_path / "mixed.txt").write_text("packs/a\nx.tfrecord\n")
    message = message_of(lambda: find_records(tmp_path / "mixed.txt"))
    assert "x.tfrecord does not say what made its features" in message


def test_records_are_numbered_over_all_files(shards: Path):
    found = find_records(shards)

    assert found.counts.tolist() == [2, 2, 2]
    assert found.where(3) == f"{shards / 'train1.tfrecord'}: record 1"
    assert found.read(3).name == BOTH[3].name
    with pytest.raises(IndexError):
        found.read(6)


def test_other_processes_read_too(shards: Path, tmp_path: Path):
    write_pickle(tmp_path / "a.pkl", *VIDEOS)
    write_pack(tmp_path / "pack", *VIDEOS)
    for path in (shards, tmp_path / "a.pkl", tmp_path / "pack"):
        found = find_records(path)
        before = len(pickle.dumps(found))
        found.read(0)
        sent = pickle.dumps(found)

        assert_same([pickle.loads(sent).read(1)], [found.read(1)])
        assert len(sent) == before  # places, not contents


def test_few_files_are_open_at_a_time(shards: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(records, "_MOST_OPEN", 2)
    found = find_records(shards)

    for number in (0, 2, 4, 1, 3):
        found.read(number)

    assert [file.path.name for file in open_files(found)] == ["train0.tfrecord", "train1.tfrecord"]
    found.close()
    assert open_files(found) == []


def open_files(found: RecordSet) -> list[RecordFile]:
    return [file for file in found.files if file._file._file is not None]  # pyright: ignore


def test_loaded_pickles_stay_within_their_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(4):
        write_pickle(tmp_path / f"{number}.pkl", *VIDEOS)
    found = find_records(tmp_path)
    size = found.files[0].loaded_bytes
    monkeypatch.setattr(records, "MOST_LOADED_BYTES", 2 * size)

    for number in (0, 3, 6, 9, 1):
        found.read(number)
        held = [file for file in found.files if isinstance(file, PickleFile) and file._videos]
        assert len(held) <= 2

    monkeypatch.setattr(records, "MOST_LOADED_BYTES", 1)  # one file is held whatever its size
    for number in (4, 0, 9):
        found.read(number)
        held = [file for file in found.files if isinstance(file, PickleFile) and file._videos]
        assert len(held) == 1


def test_pickles_are_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write_pickle(tmp_path / "a.pkl", *VIDEOS)
    assert len(open_records(path)) == 3
    monkeypatch.setattr("videozoo.data.features.record_formats.load_pickle", None)

    assert len(open_records(path)) == 3
