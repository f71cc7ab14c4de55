"""Every row of every table of formats: its example is told from others, and is read."""

import pickle
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.make_lmdb import lmdb_of
from videozoo.data.annotations import (
    class_names,
    list_formats,
    result_formats,
    segment_formats,
    sentences,
    video_labels,
)
from videozoo.data.annotations.list_labels import own_class_names
from videozoo.data.annotations.result_formats import read_any_results
from videozoo.data.annotations.segment_types import Reading
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.videos import read_list
from videozoo.data.features import by_name, record_formats
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records, write_shard
from videozoo.data.features.records import FeatureRecord
from videozoo.data.formats import Format, TextFile, format_of
from videozoo.errors import DataError

FEATURES = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)


RECORD = FeatureRecord("a", {"rgb": FEATURES}, (1,))


def write_pack(folder: Path) -> None:
    folder.rmdir()
    with PackWriter(folder) as pack:
        pack.write(RECORD)


def write_hdf5(path: Path) -> None:
    with pytest.importorskip("h5py").File(path, "w") as file:
        file["a"] = FEATURES


BINARY: dict[str, Callable[[Path], object]] = {
    ".npy": lambda path: np.save(path, FEATURES),
    ".npz": lambda path: np.savez(path, rgb=FEATURES),
    ".pt": lambda path: torch.save(torch.from_numpy(FEATURES), path),
    ".h5": write_hdf5,
    ".pkl": lambda path: path.write_bytes(pickle.dumps(FEATURES)),
    ".mdb": lambda path: path.write_bytes(lmdb_of({"a": pickle.dumps(FEATURES, 2)})),
    ".tfrecord": lambda path: write_shard(path, [RECORD]),
    "manifest.json": lambda path: write_pack(path.parent),
}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    make = BINARY.get(path.name) or BINARY.get(path.suffix)
    if make is None:
        path.write_text(text)
    else:
        make(path)


def example(folder: Path, one: Format[Any, Any]) -> Path:
    """Write the example of a format; returns the file, or the folder that the format is."""
    write(folder / one.file, one.example)
    return folder / Path(one.file).parts[0]


def check_told(source: object, one: Format[Any, Any], table: Iterable[Format[Any, Any]]) -> None:
    found = format_of(source, table)
    assert found is not None
    assert found.name == one.name


def check_lists(message: str, table: Iterable[Format[Any, Any]]) -> None:
    """The error for an unknown file names every format."""
    listed = message.partition("; not one of: ")[2].partition("\n")[0].split("; ")
    assert listed == list(dict.fromkeys(one.name for one in table))
    assert "\n`videozoo formats` shows an example of each" in message


# --- features by name of the video -----------------------------------------------------------


@pytest.mark.parametrize("one", by_name.FORMATS, ids=lambda one: one.name)
def test_features_of_one_video(tmp_path: Path, one: Format[Path, Any]):
    path = example(tmp_path, one)

    check_told(path, one, by_name.FORMATS)
    np.testing.assert_array_equal(FeatureFiles(path).read("a"), FEATURES)


@pytest.mark.parametrize("one", by_name.LAYOUTS, ids=lambda one: one.name)
def test_layouts_of_features(tmp_path: Path, one: Format[Any, Any]):
    paths = [tmp_path / name for name in one.example.splitlines()]
    for path in paths:
        if not (path.parent / "manifest.json").exists():
            write(path, "")
    path = tmp_path / paths[0].relative_to(tmp_path).parts[0]

    check_told(by_name._Place(path, ("rgb", "flow")), one, by_name.LAYOUTS)
    found = FeatureFiles(path)
    assert set(found) <= {"a", "b"}
    shape = (2, 4) if one.name == "one folder per stream" else (2, 2)
    assert found.read("a").shape == shape


def test_unknown_features_are_told_every_format(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        FeatureFiles(tmp_path)

    check_lists(str(caught.value), (*by_name.LAYOUTS, *by_name.FORMATS))


# --- records of features ---------------------------------------------------------------------


@pytest.mark.parametrize("one", record_formats.FORMATS, ids=lambda one: one.name)
def test_records(tmp_path: Path, one: Format[Any, Any]):
    path = example(tmp_path, one)
    if one.name == "pickle":
        path.write_bytes(pickle.dumps([{"video": "a", "feature": FEATURES, "label": [1]}]))

    assert record_formats._kind_of(path) == one.name
    record = find_records(path).read(0)
    assert (record.name, list(record.streams)) == ("a", ["rgb"])
    np.testing.assert_array_equal(record.streams["rgb"], FEATURES)


def test_unknown_records_are_told_every_format(tmp_path: Path):
    with pytest.raises(DataError) as caught:
        find_records(tmp_path)
    check_lists(str(caught.value), record_formats.FORMATS)

    (tmp_path / "a.mp4").write_bytes(b"\0\0\0\0ftyp")
    with pytest.raises(DataError, match=r"a\.mp4: not features of videos; not one of: ") as caught:
        find_records(tmp_path / "a.mp4")
    check_lists(str(caught.value), record_formats.FORMATS)


# --- lists of videos -------------------------------------------------------------------------


SEVERAL = {
    "the CSV of Charades: any number of classes per video": [(0, 1)],
    "several classes per video: PATH LABEL [LABEL ...] or PATH FRAMES LABEL [LABEL ...]": [
        (0, 3),
        (5,),
    ],
    "frame list of SlowFast, one line per frame": [(0, 3)],
}
"""Formats of lists with several classes per video, and those of the videos of their examples."""


@pytest.mark.parametrize("one", list_formats.FORMATS, ids=lambda one: one.name)
def test_lists_of_videos(tmp_path: Path, one: Format[list_formats.VideoList, Any]):
    path = example(tmp_path, one)
    write(tmp_path / "run" / "abc.mp4", "-")
    write(tmp_path / "run" / "abc_000010_000020.mp4", "-")

    check_told(list_formats.VideoList(path, tmp_path), one, list_formats.FORMATS)
    if one.name in SEVERAL:
        listed = read_list(path, several="as listed")
        assert [entry.labels for entry in listed] == SEVERAL[one.name]
        return
    names = own_class_names(path) or ["run"]
    (found,) = read_list(path, class_names=names, labels="optional", may_be_parts=True)
    assert found.path in (tmp_path / "run" / "abc.mp4", tmp_path / "run" / "abc_000010_000020.mp4")
    if found.video is None:
        assert found.label == 0
    else:
        assert (found.video, found.clip_index, found.crop_index) == (0, 3, 1)


def test_unknown_lists_are_told_every_format(tmp_path: Path):
    (tmp_path / "a.txt").write_text('[{"id": 1}]')

    with pytest.raises(DataError) as caught:
        read_list(tmp_path / "a.txt")

    assert "a.txt: not a list of videos: JSON, objects with 'id'" in str(caught.value)
    check_lists(str(caught.value), list_formats.FORMATS)


# --- sentences -------------------------------------------------------------------------------


@pytest.mark.parametrize("one", sentences.FORMATS, ids=lambda one: one.name)
def test_sentences(tmp_path: Path, one: Format[TextFile, Any]):
    path = example(tmp_path, one)

    check_told(TextFile(path), one, sentences.FORMATS)
    (found,) = read_timed_sentences(path, whole_videos=True).sentences
    assert found.video in ("a", "a_1_10", "mv89psg6zh4_33_46")
    assert found.sentence == "A man runs."
    if found.is_whole:
        with pytest.raises(DataError, match=f"{one.name}: describes whole videos"):
            read_timed_sentences(path)
    else:
        seconds = {"DiDeMo": (5.0, 15.0)}.get(one.name, (1.0, 2.5))
        assert (found.start_seconds, found.end_seconds) == seconds


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "empty"),
        ("\nv one man", "its first line is 'v one man'"),
        ('{"database": {"v": {}}}', "segments with labels"),
        ('{"a": 1}\n{"a": 2}', "JSON Lines, objects with 'a'"),
        ("[1, 2]", "JSON, 1"),
        ("{}", "JSON, an object with no key"),
    ],
)
def test_unknown_sentences_are_told_every_format(tmp_path: Path, text: str, seen: str):
    (tmp_path / "a.txt").write_text(text)

    with pytest.raises(DataError) as caught:
        read_timed_sentences(tmp_path / "a.txt")

    assert f"a.txt: no sentences with times: {seen}" in str(caught.value)
    check_lists(str(caught.value), sentences.FORMATS)


# --- segments --------------------------------------------------------------------------------


@pytest.mark.parametrize("one", segment_formats.FORMATS, ids=lambda one: one.name)
def test_segments(tmp_path: Path, one: Format[TextFile, Any]):
    path = example(tmp_path, one)

    check_told(TextFile(path), one, segment_formats.FORMATS)
    lengths = {"a": 9.0, "1": 9.0, "video_validation_0000051": 9.0}
    reading = Reading(
        label_from="verb" if one.name == "EPIC-Kitchens-100" else None, spot_seconds=1.5
    )
    (video,) = read_annotations(
        path, durations=lengths, frames_per_second=10, reading=reading
    ).videos
    assert video.video in lengths
    assert video.duration_seconds == 9
    first = video.instances[0]
    assert (first.start_seconds, first.end_seconds) == (1.0, 2.5)
    assert first.label in ("run", "c000", "0")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("", "empty"),
        ("[1]", "JSON, 1"),
        ('{"a": 3}', "JSON, an object with 'a'"),
        ('{"results": {}}', "these are results, expected annotations"),
        ("a,b,c\n1,2,3\n", "its first line is 'a,b,c'"),
        ("a 10 2 1 3 4\n", "its first line is 'a 10 2 1 3 4'"),
        ("a 10 1 0 3 4\n", "its first line is 'a 10 1 0 3 4'"),
    ],
)
def test_unknown_segments_are_told_every_format(tmp_path: Path, text: str, seen: str):
    (tmp_path / "a.txt").write_text(text)

    with pytest.raises(DataError) as caught:
        read_annotations(tmp_path / "a.txt")

    assert f"a.txt: not annotations of a known kind: {seen}" in str(caught.value)
    check_lists(str(caught.value), segment_formats.FORMATS)


# --- classes of videos -----------------------------------------------------------------------


@pytest.mark.parametrize("one", video_labels.FORMATS, ids=lambda one: one.name)
def test_classes_of_videos(tmp_path: Path, one: Format[TextFile, Any]):
    path = example(tmp_path, one)

    check_told(TextFile(path), one, video_labels.FORMATS)
    assert video_labels.read_labels(path).entries == {"run/abc.mp4": (0, 2), "jump/b.mp4": (1,)}


@pytest.mark.parametrize("text", ["[1, 2]", "3", "{}"])
def test_unknown_classes_of_videos_are_told_every_format(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(DataError) as caught:
        video_labels.read_labels(tmp_path / "a.json")

    assert "a.json: no classes of videos: JSON, " in str(caught.value)
    check_lists(str(caught.value), video_labels.FORMATS)


def test_lines_may_begin_with_a_brace(tmp_path: Path):
    (tmp_path / "a.txt").write_text("{1} my clip.mp4 2\n")

    assert video_labels.read_labels(tmp_path / "a.txt").entries == {"{1} my clip.mp4": (2,)}


# --- names of classes --------------------------------------------------------------------------


@pytest.mark.parametrize("one", class_names.FORMATS, ids=lambda one: one.name)
def test_class_names(tmp_path: Path, one: Format[TextFile, Any]):
    path = example(tmp_path, one)

    check_told(TextFile(path), one, class_names.FORMATS)
    assert class_names.read_class_names(path) == ["air drumming", "run"]


@pytest.mark.parametrize("text", ['[["a", 0]]', '{"a": "b"}', "3", '{"a": 1}\n{"b": 2}\n'])
def test_unknown_class_names_are_told_every_format(tmp_path: Path, text: str):
    (tmp_path / "a.json").write_text(text)

    with pytest.raises(DataError) as caught:
        class_names.read_class_names(tmp_path / "a.json")

    assert "a.json: expected a JSON list of names, or another file of class" in str(caught.value)
    check_lists(str(caught.value), class_names.FORMATS)


# --- results ---------------------------------------------------------------------------------


@pytest.mark.parametrize("one", result_formats.FORMATS, ids=lambda one: one.name)
def test_results(tmp_path: Path, one: Format[TextFile, Any]):
    path = example(tmp_path, one)

    check_told(TextFile(path), one, result_formats.FORMATS)
    name, found = read_any_results(path)
    assert name == one.name
    match found:
        case result_formats.SegmentResults():
            (segment,) = found.by_video["a"]
            assert (segment.start_seconds, segment.end_seconds, segment.score) == (1.0, 2.5, 0.9)
            assert segment.label == "run"
        case result_formats.CaptionResults():
            assert [one.sentence.lower().strip(".") for one in found.sentences.sentences] == [
                "a man runs"
            ]
        case result_formats.LabelResults():
            assert max(found.by_video["a"].values()) == 0.9
        case result_formats.SegmentRankings():
            assert found.by_class == {3: ["a:0", "a:5"]}
        case result_formats.MomentResults():
            assert found.answers[0].moments.tolist() == [[1.0, 2.5]]
            assert found.answers[0].scores.tolist() == [0.9]


def test_unknown_results_are_told_every_format(tmp_path: Path):
    (tmp_path / "a.txt").write_text("1\n2\n")

    with pytest.raises(DataError) as caught:
        read_any_results(tmp_path / "a.txt")

    assert "a.txt: not results of a known kind: its first line is '1'" in str(caught.value)
    check_lists(str(caught.value), result_formats.FORMATS)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("mark", ["|", ";", "\t", ","])
def test_tables_have_any_mark_between_their_columns(tmp_path: Path, mark: str, encoding: str):
    def written(name: str, *rows: str) -> Path:
        path = tmp_path / name
        path.write_text("\n".join(rows).replace(",", mark) + "\n", encoding=encoding)
        return path

    for video in ("a b.mp4", "c.mp4"):
        (tmp_path / video).touch()
    segments = read_annotations(
        written("segments.csv", "video,start,end,label,duration", "a.mp4,1,2.5,run fast,9")
    )
    captions = read_timed_sentences(
        written("captions.csv", "video,caption", "a.mp4,A man runs."), whole_videos=True
    )
    headed = read_list(
        written("list.csv", "path,label", "a b.mp4,run fast"), class_names=["run fast"]
    )
    plain = read_list(written("list.txt", "a b.mp4,3", "c.mp4,4"))
    names = class_names.read_class_names(
        written("names.csv", "id,name", "0,air drumming", "1,run fast")
    )
    results = read_any_results(written("found.csv", "video,start,end,label,score", "a,1,2,run,1"))

    assert segments.videos[0].instances[0].label == "run fast"
    assert captions.sentences[0].sentence == "A man runs."
    assert [(one.path.name, one.label) for one in headed] == [("a b.mp4", 0)]
    assert [(one.path.name, one.label) for one in plain] == [("a b.mp4", 3), ("c.mp4", 4)]
    assert list(names) == ["air drumming", "run fast"]
    assert results[0] == "CSV of segments with scores"
