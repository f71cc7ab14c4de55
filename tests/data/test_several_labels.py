"""Lists with several classes per video: which are told by themselves, and how they are read."""

from collections.abc import Callable
from pathlib import Path

import pytest

from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.annotations.videos import read_list
from videozoo.data.clips import lists_several
from videozoo.data.labelled_videos import has_one_class_each, labelled_videos
from videozoo.errors import DataError
from videozoo.settings.clips import ClipData
from videozoo.settings.tags import FeatureData


def listed(folder: Path, text: str, name: str = "train.txt") -> Path:
    for video in ("a", "b", "c d 7"):
        (folder / f"{video}.mp4").write_bytes(b"-")
    path = folder / name
    path.write_text(text)
    return path


def frames(count: int) -> Callable[[Path], int]:
    return lambda _path: count


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("a.mp4 0 3 5\nb.mp4 3\n", [(0, 3, 5), (3,)]),
        ("a.mp4,0,3\nb.mp4,1\n", [(0, 3), (1,)]),
        ("a.mp4 0,3\nb.mp4 1\n", [(0, 3), (1,)]),
        ("a.mp4 2 0 3 2\nb.mp4 1\n", [(0, 2, 3), (1,)]),
        ("c d 7.mp4 0 3 4 5\nb.mp4 1 2\n", [(0, 3, 4, 5), (1, 2)]),
        ('path,label\na.mp4,"0,3"\nb.mp4,1\n', [(0, 3), (1,)]),
        ("path,label\na.mp4,run|long jump\nb.mp4,hop\n", [(1, 2), (0,)]),
        ('path,labels\na.mp4,"run;hop"\nb.mp4,\n', [(0, 1), ()]),
        ("path labels\na.mp4 0 3\nb.mp4 1 2\n", [(0, 3), (1, 2)]),
        ("a.mp4 run;hop\nb.mp4 run\n", [(0, 1), (1,)]),
        ("a.mp4\trun|long jump\nb.mp4\thop\n", [(1, 2), (0,)]),
        ("path frames labels\na.mp4 60 0 3\nb.mp4 52 1\n", [(0, 3), (1,)]),
        (
            "id,actions,length\na,c092 11.90 21.20;c147 0.00 12.60,32.33\nb,,9\n",
            [(0, 1), ()],
        ),
    ],
)
def test_lists_that_show_several_classes_are_read_so(
    tmp_path: Path, text: str, labels: list[tuple[int, ...]]
):
    path = listed(tmp_path, text)

    entries = read_list(path, several="as listed")

    assert [entry.labels for entry in entries] == labels
    assert all(entry.path.exists() and entry.label is None for entry in entries)
    several = sum(len(each) > 1 for each in labels)
    assert f"{several} of 2 videos have several classes" in lists_several(ClipData(train=path))


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4 0\nb.mp4 1\n",
        "a.mp4 60 0\nb.mp4 52 1\n",
        "path,label\na.mp4,run\nb.mp4,hop\n",
        "path,labels\na.mp4,0\nb.mp4,1\n",
        "a.mp4\nb.mp4\n",
    ],
)
def test_one_class_on_every_line_stays_one(tmp_path: Path, text: str):
    path = listed(tmp_path, text)

    entries = read_list(path, several="as listed", labels="optional")

    assert all(entry.labels is None for entry in entries)
    assert lists_several(ClipData(train=path)) == ""


def test_two_numbers_are_classes_where_that_is_told_and_the_videos_do_not_contradict(
    tmp_path: Path,
):
    path = listed(tmp_path, "a.mp4 0 3\nb.mp4 1 2\n")

    asked = read_list(path, several="all", count_frames=frames(60))
    assert [entry.labels for entry in asked] == [(0, 3), (1, 2)]
    path = listed(tmp_path, "a.mp4 60 3\nb.mp4 60 2\n")
    asked = read_list(path, several="all", count_frames=frames(60))
    assert [entry.labels for entry in asked] == [(3,), (2,)]
    with pytest.raises(DataError, match=r"train.txt:1: .* a number of frames, or a class\? Put a"):
        read_list(path, several="all", count_frames=frames(50))
    seen = read_list(path, several="all", count_frames=frames(50), num_classes=4)
    assert [entry.labels for entry in seen] == [(3,), (2,)]  # 60 is no class


def test_an_empty_cell_is_no_class_where_there_may_be_several(tmp_path: Path):
    path = listed(tmp_path, "path,labels\na.mp4,run\nb.mp4,\n")

    asked = read_list(path, several="all", class_names=["hop", "run"])

    assert [entry.labels for entry in asked] == [(1,), ()]


@pytest.mark.parametrize("sign", "|;")
def test_a_sign_alone_is_not_a_class(tmp_path: Path, sign: str):
    path = listed(tmp_path, f"path,label\na.mp4,run{sign}hop{sign}\nb.mp4,hop\n")

    assert [entry.labels for entry in read_list(path, several="as listed")] == [(0, 1), (0,)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 0 3 5\nb.mp4 9\n", r"train.txt:2: label 9, expected 0 to 5"),
        ("a.mp4 0 3 5\nb.mp4\n", r"train.txt:2: no class: expected 'PATH LABEL \[LABEL ...\]'"),
        ("a.mp4 0 3 5\nz.mp4 1\n", r"train.txt:2: no such video 'z.mp4'"),
        ("id,actions\na,run 1.0 2.0\n", r"train.txt:2: expected actions as 'c092 11.90 21.20"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, text: str, message: str):
    with pytest.raises(DataError, match=message):
        read_list(listed(tmp_path, text), several="as listed", num_classes=6)


def test_names_of_charades_stand_behind_their_codes(tmp_path: Path):
    path = listed(tmp_path, "id,actions\na,c001 1.0 2.0;c000 0 1\nb,c002 0 1\n", "charades.csv")
    names = ["c000 Holding some clothes", "c001 Putting clothes", "c002 Taking some clothes"]

    entries = read_list(path, several="all", class_names=names)

    assert [entry.labels for entry in entries] == [(0, 1), (2,)]


def test_views_of_the_2019_library_are_not_classes(tmp_path: Path):
    path = listed(tmp_path, "a.mp4 0 0 1\na.mp4 0 1 1\nb.mp4 1 0 1\n")

    views = read_list(path, labels="optional", several="as listed")
    assert [(view.video, view.clip_index) for view in views] == [(0, 0), (0, 1), (1, 0)]
    with pytest.raises(DataError, match=r"three numbers after the path.*train.loss=sigmoid"):
        read_list(path, several="as listed")
    assert [one.labels for one in read_list(path, several="all")] == [(0, 1), (0, 1), (0, 1)]


def test_a_list_with_several_classes_says_so_by_itself(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(b"-")
    listed = tmp_path / "train.csv"
    listed.write_text("path,labels\na.mp4,run|hop\nb.mp4,hop\n")
    data = FeatureData(train=listed, encoder=("efficientnet_lite0",))

    assert not has_one_class_each(data)
    found = labelled_videos(data, "train")
    assert [(one.path.name, one.labels) for one in found] == [("a.mp4", (0, 1)), ("b.mp4", (0,))]
    listed.write_text("path,label\na.mp4,run\nb.mp4,hop\n")
    assert has_one_class_each(data)


@pytest.mark.parametrize(
    "text",
    [
        "a.mp4 cooking;outdoor\nb.mp4 cooking\n",
        "a cooking|outdoor\nb cooking\n",
        "a\tcooking;outdoor\nb\tcooking\n",
        "video,labels\na,cooking|outdoor\nb,cooking\n",
        '{"a.mp4": ["cooking", "outdoor"], "b.mp4": "cooking"}',
    ],
)
def test_labels_of_videos_may_be_names_as_in_lists_of_clips(tmp_path: Path, text: str):
    path = listed(tmp_path, text)

    labels = read_labels(path, may_name=True)

    assert labels.class_names == ["cooking", "outdoor"]
    assert [labels.of(tmp_path / f"{one}.mp4") for one in "ab"] == [(0, 1), (0,)]
    numbers = read_labels(path, may_name=True, class_names=["outdoor", "x", "cooking"])
    assert numbers.of(tmp_path / "a.mp4") == (2, 0)
    with pytest.raises(DataError, match="'outdoor' is not among the 1 class name"):
        read_labels(path, may_name=True, class_names=["cooking"])
    with pytest.raises(DataError, match="expected "):
        read_labels(path)


def test_names_are_not_guessed_where_a_line_tells_no_end_of_the_path(tmp_path: Path):
    path = listed(tmp_path, "a,cooking,outdoor\nb,cooking\n")

    with pytest.raises(DataError, match=r"or 'PATH NAME;NAME', got 'a,cooking,outdoor'"):
        read_labels(path, may_name=True)
    listed(tmp_path, "a.mp4 60 0 1\nb.mp4 52 1\n")  # numbers of frames, or classes?
    with pytest.raises(DataError, match=r"train.txt:1: expected 'PATH LABEL"):
        read_labels(path, may_name=True)
