from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.test_lists import pairs, touch
from videozoo.data.annotations import class_folders
from videozoo.data.annotations.class_folders import read_folder
from videozoo.errors import DataError


def test_a_folder_a_class(tmp_path: Path):
    touch(
        tmp_path,
        "run/b.MP4",
        "run/deep/a.avi",
        "run/notes.txt",
        "run/.hidden.mp4",
        "jump up/c.webm",
        "jump up/frames/1.jpg",
        "jump up/frames/2.jpg",
    )

    entries = read_folder(tmp_path)

    assert pairs(entries) == [
        ("jump up/c.webm", 0),
        ("jump up/frames", 0),
        ("run/b.MP4", 1),
        ("run/deep/a.avi", 1),
    ]
    assert class_folders.folder_class_names(tmp_path) == ["jump up", "run"]


def test_part_folders_are_the_parts(tmp_path: Path):
    touch(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "validation/b/3.mp4")

    assert pairs(read_folder(tmp_path, part="train")) == [("a/1.mp4", 0), ("b/2.mp4", 1)]
    assert pairs(read_folder(tmp_path, part="val")) == [("b/3.mp4", 1)]
    assert pairs(read_folder(tmp_path, part="test")) == [("b/3.mp4", 1)]
    assert len(read_folder(tmp_path)) == 3


def test_validation_comes_from_training_where_it_has_no_folder(tmp_path: Path):
    touch(tmp_path, *(f"train/a/{n}.mp4" for n in range(10)), "test/a/x.mp4")
    train, val, test = (read_folder(tmp_path, part=part) for part in ("train", "val", "test"))

    assert len(train) + len(val) == 10
    assert {entry.path for entry in train}.isdisjoint(entry.path for entry in val)
    assert pairs(test) == [("a/x.mp4", 0)]


def folder_of(base: Path, classes: dict[str, int]) -> Path:
    for name, count in classes.items():
        touch(base, *(f"{name}/{n}.mp4" for n in range(count)))
    return base


def test_adding_videos_moves_no_other_to_another_part(tmp_path: Path):
    folder_of(tmp_path, {"a": 40, "b": 40})
    before = {entry.path for entry in read_folder(tmp_path, part="val")}
    old = {entry.path for entry in read_folder(tmp_path)}
    touch(tmp_path, *(f"a/new{n}.mp4" for n in range(20)), *(f"c/{n}.mp4" for n in range(20)))

    after = {entry.path for entry in read_folder(tmp_path, part="val")}

    assert after & old == before
    assert len(after) > len(before)


def test_the_seed_and_the_share_decide_the_parts(tmp_path: Path):
    folder_of(tmp_path, {"a": 200})

    def val(**options: float) -> set[Path]:
        return {e.path for e in read_folder(tmp_path, part="val", **options)}  # pyright: ignore[reportArgumentType]

    assert 20 <= len(val()) <= 60
    assert val() == val(split_seed=0)
    assert val() != val(split_seed=1)
    assert 80 <= len(val(val_share=0.5)) <= 120


@given(counts=st.lists(st.integers(1, 6), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_every_class_with_two_videos_is_in_both_parts(counts: list[int], seed: int):
    for number, count in enumerate(counts):
        videos = [Path("x", f"{number}-{n}.mp4") for n in range(count)]
        parts = [
            class_folders.drawn(Path("x"), videos, "x", part, 0.2, seed)
            for part in ("train", "val")
        ]
        assert sorted(parts[0] + parts[1]) == sorted(videos)
        assert parts[0]
        assert bool(parts[1]) == (count > 1)


def test_unusable_folders_say_why(tmp_path: Path):
    flat, empty = tmp_path / "flat", tmp_path / "empty"
    touch(flat, "a.mp4")
    touch(empty, "run/a.mp4", "jump/readme.txt")

    with pytest.raises(DataError, match="cannot be read as a folder"):
        read_folder(tmp_path / "nowhere")
    with pytest.raises(
        DataError, match="no class folders; expected one folder of videos per class"
    ):
        read_folder(flat)
    with pytest.raises(DataError, match=r"no videos in class folder 'jump'; .*\.mp4"):
        read_folder(empty)


def test_more_folders_than_classes_is_an_error(tmp_path: Path):
    folder_of(tmp_path, {"a": 1, "b": 1, "c": 1})

    with pytest.raises(DataError, match=r"3 classes, .* has 2; set model\.num_classes=3"):
        read_folder(tmp_path, num_classes=2)
    with pytest.raises(DataError, match="class folder 'c' is not among the 2 class names"):
        read_folder(tmp_path, class_names=["a", "b"])
    with pytest.raises(DataError, match=r"class folder 'c' .*\('a', 'b', 'C'\); rename it to 'C'"):
        read_folder(tmp_path, class_names=["a", "b", "C"])


@pytest.mark.parametrize("name", ["dev", "Valid", "eval", "val_set", "validation"])
def test_parts_have_other_names_too(tmp_path: Path, name: str):
    touch(tmp_path, "Training/a/1.mp4", "Training/b/2.mp4", f"{name}/b/3.mp4")

    assert class_folders.folder_class_names(tmp_path) == ["a", "b"]
    assert pairs(read_folder(tmp_path, part="val")) == [("b/3.mp4", 1)]


def test_eval_is_the_test_part_where_there_is_another_to_check_with(tmp_path: Path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "dev/a/2.mp4", "eval/b/3.mp4")

    assert pairs(read_folder(tmp_path, part="val")) == [("a/2.mp4", 0)]
    assert pairs(read_folder(tmp_path, part="test")) == [("b/3.mp4", 1)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["train/a/1.mp4", "val/a/1.mp4", "raw/1.mp4"],
            r"\(train, val\).* 'raw', which is no part",
        ),
        (["train/a/1.mp4", "dev/2.mp4"], "beside them 'dev', which holds no class folders"),
        (["train/1.mp4", "dev/2.mp4"], "'dev' and 'train' are named as parts and hold no class"),
        (["a/train/1.mp4", "a/val/2.mp4", "b/train/3.mp4"], "class folder 'a' holds parts"),
        (["set/train/a/1.mp4", "set/val/a/1.mp4"], "one level too high: .*set holds the parts"),
        (["val/a/1.mp4", "test/a/1.mp4"], "holds test, val and no folder for the train part"),
    ],
)
def test_folders_that_are_half_divided_are_refused(tmp_path: Path, files: list[str], message: str):
    touch(tmp_path, *files)

    with pytest.raises(DataError, match=message):
        read_folder(tmp_path, part="train")


def test_what_holds_no_videos_may_stand_beside_the_parts(tmp_path: Path):
    touch(tmp_path, "train/a/1.mp4", "train/b/1.mp4", "val/a/2.mp4", "annotations/x.json")
    (tmp_path / "test").mkdir()

    assert pairs(read_folder(tmp_path, part="test")) == [("a/2.mp4", 0)]


def test_folders_named_by_number_are_in_the_order_of_their_numbers(tmp_path: Path):
    touch(tmp_path, *(f"{number}/x.MP4" for number in range(12)))

    assert class_folders.folder_class_names(tmp_path) == [str(number) for number in range(12)]
    assert pairs(read_folder(tmp_path))[10] == ("10/x.MP4", 10)
