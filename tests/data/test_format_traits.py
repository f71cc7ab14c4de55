"""An unknown file is told the known format that it is nearest to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.videos import read_list
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.record_formats import find_records
from videozoo.data.format_traits import nearest, traits_of, traits_of_example
from videozoo.errors import DataError


def error_of(read: Callable[[Path], object], path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("read", "text", "near"),
    [
        (read_annotations, "video,start,finish,label\na,1,2,run\n", "CSV with one segment per row"),
        (read_annotations, '{"data": {"a": {"annotations": [{"segment": 3}]}}}', "ActivityNet"),
        (read_annotations, '{"project": {}, "file": {}, "metadata": {}}', "VIA 3 project"),
        (read_annotations, '[{"id": 7, "data": {"audio": "a.wav"}}]', "Label Studio"),
        (read_timed_sentences, '{"query": "a", "vid_name": "b", "duration": 9}\n', "QVHighlights"),
        (read_timed_sentences, '{"a": {"timestamps_of": [], "sentences": []}}', "ActivityNet Cap"),
    ],
)
def test_the_nearest_is_shown(tmp_path: Path, read: Callable[[Path], object], text: str, near: str):
    path = tmp_path / "a.txt"
    path.write_text(text)

    assert f"\n  nearest: {near}" in error_of(read, path)


def test_columns_that_a_table_lacks_are_named(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("video,start,finish,label\na,1,2,run\n")

    message = error_of(read_annotations, path)

    assert "      video,start,end,label\n      a.mp4,1.0,2.5,run\n" in message
    assert "not in this file: 'end'" in message


@pytest.mark.parametrize(
    ("name", "data"),
    [("a.zip", b"PK\5\6" + bytes(18)), ("empty.txt", b""), ("a.mp4", b"\0\0\0\0ftyp")],
)
def test_what_is_near_to_nothing_gets_the_names_alone(tmp_path: Path, name: str, data: bytes):
    (tmp_path / name).write_bytes(data)

    message = error_of(read_annotations, tmp_path / name) if not data else ""

    assert "nearest" not in message
    assert nearest(traits_of(tmp_path / name), [traits_of_example("a.csv", "a,b\n1,2\n")]) is None


def test_folders_are_compared_by_the_endings_in_them(tmp_path: Path):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").write_bytes(b"-")
    pack = traits_of_example("pack/a.npz", "")

    assert "nearest" not in error_of(find_records, tmp_path / "videos")
    assert "nearest" not in error_of(FeatureFiles, tmp_path / "videos")
    assert nearest(traits_of(tmp_path / "videos"), [pack]) is None
    (tmp_path / "videos" / "b.npz").write_bytes(b"-")
    assert nearest(traits_of(tmp_path / "videos"), [pack]) == 0


def test_lists_are_compared(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('[{"id": 1}]')

    assert "\n  nearest: Something-Something v2\n" in error_of(read_list, path)


def test_damaged_json_is_compared_by_what_looks_like_its_keys(tmp_path: Path):
    path = tmp_path / "a.json"
    path.write_text('{"database": {"a": {"annotations": [')

    assert traits_of(path).keys == {"database", "a", "annotations"}


def test_what_cannot_be_read_is_unknown(tmp_path: Path):
    assert traits_of(tmp_path / "absent").kind == "unknown"
