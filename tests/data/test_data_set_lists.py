"""The lists of published data sets, with their oddities: each small example is made by hand."""

import json
import logging
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_labels import own_class_names
from videozoo.data.annotations.videos import ClipEntry, is_list_name, read_list
from videozoo.data.clips import class_names, entry_span, has_entries, load_entries
from videozoo.data.frames.video import count_frames, open_video
from videozoo.data.labelled_videos import (
    all_videos,
    labelled_videos,
    num_classes,
    remarks,
    settled_first_label,
)
from videozoo.errors import DataError
from videozoo.settings.clips import ClipData
from videozoo.settings.tags import FeatureData
from videozoo.tasks.check_data import run
from videozoo.tasks.check_data.parts import CheckRequest, find_parts
from videozoo.tasks.requests import ConfigSource


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


def pairs(entries: list[ClipEntry]) -> list[tuple[str, int | None]]:
    return [(entry.path.name, entry.label) for entry in entries]


# --- UCF101 ----------------------------------------------------------------------------------


@pytest.fixture
def ucf101(tmp_path: Path) -> Path:
    """Numbers from 1, Windows line ends, a test list without labels, 101 classes."""
    names = ["ApplyEyeMakeup", "ApplyLipstick", *(f"Class{n}" for n in range(3, 102))]
    lists = tmp_path / "ucfTrainTestlist"
    indices = "".join(f"{n} {name}\r\n" for n, name in enumerate(names, 1))
    write(lists / "classInd.txt", indices)
    videos = [f"{name}/v_{name}_g08_c01.avi" for name in names]
    touch(tmp_path / "UCF-101", *videos)
    lines = "".join(f"{video} {n}\r\n" for n, video in enumerate(videos, 1))
    write(lists / "trainlist01.txt", lines)
    write(lists / "testlist01.txt", "".join(f"{video}\r\n" for video in videos[1:3]))
    return tmp_path


@pytest.mark.parametrize("with_names", [True, False])
def test_ucf101(ucf101: Path, with_names: bool, caplog: pytest.LogCaptureFixture):
    lists = ucf101 / "ucfTrainTestlist"
    data = ClipData(
        train=lists / "trainlist01.txt",
        val=lists / "testlist01.txt",
        root=ucf101 / "UCF-101",
        class_names=lists / "classInd.txt" if with_names else None,
    )

    train = load_entries(data, "train", num_classes=101)
    with caplog.at_level(logging.WARNING):
        val = load_entries(data, "val", num_classes=101)

    assert [entry.label for entry in train] == list(range(101))
    assert pairs(val) == [("v_ApplyLipstick_g08_c01.avi", 1), ("v_Class3_g08_c01.avi", 2)]
    assert ("its classes are the folders of the videos" in caplog.text) == (not with_names)
    assert (first_class_number(lists / "classInd.txt"), len(class_names(data) or [])) == (
        (1, 101) if with_names else (1, 0)
    )


def test_folders_that_do_not_go_with_the_numbers_name_no_classes(tmp_path: Path):
    touch(tmp_path, "a/1.mp4", "a/2.mp4", "b/3.mp4")
    data = ClipData(
        train=write(tmp_path / "train.txt", "a/1.mp4 0\na/2.mp4 1\nb/3.mp4 0\n"),
        val=write(tmp_path / "val.txt", "a/1.mp4\n"),
    )

    with pytest.raises(DataError, match=r"val\.txt:1: no class"):
        load_entries(data, "val", num_classes=2)


# --- HMDB51 ----------------------------------------------------------------------------------


@pytest.fixture
def hmdb51(tmp_path: Path) -> Path:
    """Two of 51 classes, two of three splits; a blank ends each line, names may begin with #."""
    splits = tmp_path / "splits"
    one, two = "#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_2.avi", "b_ride_bike_1.avi"
    three, four = "c (1) & d_climb_stairs_f_0.avi", "d_climb_stairs_9.avi"
    write(splits / "ride_bike_test_split1.txt", f"{one} 1 \n{two} 2 \n")
    write(splits / "ride_bike_test_split2.txt", f"{one} 2 \n{two} 0 \n")
    write(splits / "climb_stairs_test_split1.txt", f"{three} 1 \n{four} 0 \n")
    write(splits / "climb_stairs_test_split2.txt", f"{three} 2 \n{four} 1 \n")
    touch(tmp_path / "videos", *(f"ride_bike/{name}" for name in (one, two)))
    touch(tmp_path / "videos", *(f"climb_stairs/{name}" for name in (three, four)))
    return tmp_path


def test_hmdb51(hmdb51: Path):
    data = ClipData(train=hmdb51 / "splits", root=hmdb51 / "videos", split=1)

    assert class_names(data) == ["climb_stairs", "ride_bike"]
    assert pairs(load_entries(data, "train", num_classes=2)) == [
        ("c (1) & d_climb_stairs_f_0.avi", 0),
        ("#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_2.avi", 1),
    ]
    assert has_entries(data, "val")
    for part in ("val", "test"):
        assert pairs(load_entries(data, part, num_classes=2)) == [("b_ride_bike_1.avi", 1)]
    other = data.model_copy(update={"split": 2, "val": data.train})
    assert pairs(load_entries(other, "train")) == [("d_climb_stairs_9.avi", 0)]
    assert len(load_entries(other, "val")) == 2


def test_hmdb51_asks_which_split(hmdb51: Path):
    data = ClipData(train=hmdb51 / "splits", root=hmdb51 / "videos")

    with pytest.raises(DataError, match=r"2 ways \(splits 1, 2\); choose one: .*data\.split=1"):
        load_entries(data, "train")
    with pytest.raises(DataError, match=r"data\.split is 3, and this list has the splits 1, 2"):
        load_entries(data.model_copy(update={"split": 3}), "train")
    touch(hmdb51, "a.mp4")
    listed = ClipData(train=write(hmdb51 / "train.txt", "a.mp4 0\n"), split=1)
    with pytest.raises(DataError, match=r"data\.split is 1, and this list has no splits"):
        load_entries(listed, "train")


def test_one_file_of_hmdb51_stands_for_its_split(hmdb51: Path):
    path = hmdb51 / "splits" / "ride_bike_test_split2.txt"
    data = ClipData(train=path, root=hmdb51 / "videos")

    assert pairs(load_entries(data, "train", num_classes=2)) == [("d_climb_stairs_9.avi", 0)]
    assert pairs(load_entries(data, "test", num_classes=2)) == [
        ("c (1) & d_climb_stairs_f_0.avi", 0),
        ("#437_How_To_Ride_A_Bike_ride_bike_f_cm_np1_ba_med_2.avi", 1),
    ]


def test_all_videos_of_hmdb51_once(hmdb51: Path):
    splits = hmdb51 / "splits"

    assert is_list_name(splits)
    assert len(read_list(splits, root=hmdb51 / "videos", labels="optional")) == 4
    (part,), _ = find_parts(CheckRequest(path=splits))
    assert len(part.items) == 4
    assert part.class_names == ["climb_stairs", "ride_bike"]


def test_a_missing_video_of_hmdb51_is_named_with_the_file_of_its_class(
    hmdb51: Path, capsys: pytest.CaptureFixture[str]
):
    with pytest.raises(DataError, match="cannot be used"):
        run(CheckRequest(path=hmdb51 / "splits", use_cache=False, workers=1))

    shown = "".join(capsys.readouterr().out.split("\n"))
    assert re.search(r"_test_split\d\.txt:\d: (ride_bike|climb_stairs)/", shown), shown


def test_a_bad_line_of_hmdb51_is_named_with_its_file(hmdb51: Path):
    write(hmdb51 / "splits" / "ride_bike_test_split1.txt", "b_ride_bike_1.avi 3\n")

    with pytest.raises(DataError, match=r"ride_bike_test_split1\.txt:1: expected 'VIDEO CODE'"):
        load_entries(ClipData(train=hmdb51 / "splits", root=hmdb51 / "videos", split=1), "train")


# --- Something-Something v2 ------------------------------------------------------------------


SOMETHING = [
    {
        "id": "78687",
        "label": "holding potato next to vicks vaporub bottle",
        "template": "Holding [something] next to [something]",
        "placeholders": ["potato", "vicks vaporub bottle"],
    },
    {"id": "42326", "label": "", "template": "Putting [number of] [something] onto [something]"},
    {"id": "1", "label": "absent", "template": "Holding [something] next to [something]"},
]
LABELS = {
    "Putting number of something onto something": "1",
    "Holding something next to something": "0",
}


def test_something_something(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    videos = tmp_path / "20bn-something-something-v2"
    touch(videos, "78687.webm", "frames/42326/00001.jpg")
    data = ClipData(
        train=write(tmp_path / "something-something-v2-train.json", json.dumps(SOMETHING)),
        root=videos,
        class_names=write(tmp_path / "something-something-v2-labels.json", json.dumps(LABELS)),
    )

    with caplog.at_level(logging.WARNING):
        found = load_entries(data, "train", num_classes=2)

    assert pairs(found) == [("78687.webm", 0), ("42326", 1)]
    assert "1 of 3 videos do not exist and are left out; first: 1.webm" in caplog.text
    assert own_class_names(data.train or Path()) == [
        "Holding something next to something",
        "Putting number of something onto something",
    ]


def test_the_test_list_of_something_something_has_no_classes(tmp_path: Path):
    touch(tmp_path, "1420.webm")
    path = write(tmp_path / "something-something-v2-test.json", '[{"id": "1420"}, {"id": "3"}]')

    assert pairs(read_list(path, labels="optional")) == [("1420.webm", None)]
    with pytest.raises(DataError, match=r"names videos and no classes, .* predict on them"):
        read_list(path)


def test_entries_of_json_that_cannot_be_used_are_named(tmp_path: Path):
    bad = [{"id": "a", "template": "x"}, {"template": "x"}, 3, {"id": "b", "template": None}]
    path = write(tmp_path / "train.json", json.dumps(bad))

    with pytest.raises(DataError) as error:
        read_list(path)

    assert [line.partition("train.json: ")[2] for line in str(error.value).splitlines()[1:]] == [
        "entry 1: expected an object with 'id' and 'template', got {'template': 'x'}",
        "entry 2: expected an object with 'id' and 'template', got 3",
        "entry 3: expected an object with 'id' and 'template', got {'id': 'b', 'template': None}",
    ]


# --- Diving48 --------------------------------------------------------------------------------


def test_diving48(tmp_path: Path):
    touch(tmp_path / "rgb", "_8Vy3dlHg2w_00000.mp4", "_8Vy3dlHg2w_00001.mp4")
    entries = [
        {"vid_name": "_8Vy3dlHg2w_00000", "label": 2, "start_frame": 0, "end_frame": 134},
        {"vid_name": "_8Vy3dlHg2w_00001", "label": 1, "start_frame": 0, "end_frame": 69},
    ]
    vocabulary = [
        ["Back", "15som", "05Twis", "FREE"],
        ["Back", "15som", "15Twis", "FREE"],
        ["Inward", "25som", "NoTwis", "PIKE"],
    ]
    data = ClipData(
        train=write(tmp_path / "Diving48_V2_train.json", json.dumps(entries)),
        root=tmp_path,
        class_names=write(tmp_path / "Diving48_vocab.json", json.dumps(vocabulary)),
    )

    assert pairs(load_entries(data, "train", num_classes=3)) == [
        ("_8Vy3dlHg2w_00000.mp4", 2),
        ("_8Vy3dlHg2w_00001.mp4", 1),
    ]
    assert read_class_names(tmp_path / "Diving48_vocab.json")[2] == "Inward 25som NoTwis PIKE"
    write(tmp_path / "Diving48_V2_train.json", json.dumps([entries[0] | {"start_frame": 40}]))
    with pytest.raises(DataError, match="starts at frame 40; only whole videos are read"):
        load_entries(data, "train", num_classes=3)


# --- Moments in Time -------------------------------------------------------------------------


@pytest.mark.parametrize("root", ["", "training"])
def test_moments_in_time(tmp_path: Path, root: str):
    touch(
        tmp_path / "training",
        "blocking/getty-karate-video-id635808620_4.mp4",
        "adult+male+speaking/yt-5of6, ffo6-Bw_205.mp4",
    )
    data = ClipData(
        train=write(
            tmp_path / "trainingSet.csv",
            "blocking/getty-karate-video-id635808620_4.mp4,blocking,3,0\n"
            '"adult+male+speaking/yt-5of6, ffo6-Bw_205.mp4",adult+male+speaking,4,1\n',
        ),
        root=tmp_path / root,
        class_names=write(
            tmp_path / "moments_categories.txt", "clapping,0\nadult+male+speaking,1\nblocking,2\n"
        ),
    )

    assert [entry.label for entry in load_entries(data, "train", num_classes=3)] == [2, 1]


# --- lists of other libraries ----------------------------------------------------------------


def test_rawframe_lists_of_mmaction2_name_folders_of_images(tmp_path: Path):
    for name in ("run/v1", "jump/v2"):
        (tmp_path / name).mkdir(parents=True)
        for number in range(1, 4):
            picture = Image.fromarray(np.full((8, 8, 3), number, np.uint8))
            picture.save(tmp_path / name / f"img_{number:05d}.jpg")
    data = ClipData(train=write(tmp_path / "train.txt", "run/v1 3 0\njump/v2 3 1\n"))

    assert pairs(load_entries(data, "train", num_classes=2)) == [("v1", 0), ("v2", 1)]
    write(tmp_path / "train.txt", "run/v1 30 0\njump/v2 30 1\n")
    with pytest.raises(DataError, match="has 3 frames, and the number after it is 30"):
        load_entries(data, "train", num_classes=2)


@pytest.mark.parametrize(
    "text",
    [
        "run/v1.mp4 0\njump/v2.mp4 1\n",  # SlowFast, PyTorchVideo, MMAction2
        "run/v1.mp4  0\njump/v2.mp4  1\n",  # VideoMAE
        "run/v1.mp4,0\njump/v2.mp4,1\n",
        "run/v1.mp4\t0\njump/v2.mp4\t1\n",
        "path,label\nrun/v1.mp4,0\njump/v2.mp4,1\n",
        "video_id;class\nrun/v1;0\njump/v2;1\n",
        ",label,video_name\n0,0,run/v1\n1,1,jump/v2\n",
        "run/v1 20 0\njump/v2 20 1\n",  # folders of frames, here as videos
        "run/v1;jogging\njump/v2;leaping\n",  # as the answers of Something-Something
        "run\\v1.mp4 0\njump\\v2.mp4 1\n",
        '"run/v1.mp4" 0\n"jump/v2.mp4" 1\n',
        "'run/v1.mp4' 0\n'jump/v2.mp4' 1\n",
        "run/v1.mp4 0  # good\njump/v2.mp4 1 #\n",
    ],
)
def test_columns_of_other_libraries(tmp_path: Path, text: str):
    touch(tmp_path, "run/v1.mp4", "jump/v2.mp4")

    found = read_list(write(tmp_path / "train.csv", text), num_classes=2)

    assert pairs(found) == [("v1.mp4", 0), ("v2.mp4", 1)]


def test_a_path_with_a_hash_is_no_comment(tmp_path: Path):
    touch(tmp_path, "run/v #1.mp4", "#2.mp4")
    path = write(tmp_path / "train.txt", "run/v #1.mp4 0\n#2.mp4 1 # good\n# 3.mp4 1\n")

    assert pairs(read_list(path)) == [("v #1.mp4", 0), ("#2.mp4", 1)]


def test_names_of_classes_in_another_order_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    touch(tmp_path, "run/v1.mp4", "jump/v2.mp4")
    path = write(tmp_path / "train.txt", "run/v1.mp4 0\njump/v2.mp4 1\n")
    right = write(tmp_path / "right.txt", "run\njump\n")
    wrong = write(tmp_path / "wrong.txt", "jump\nrun\n")

    with caplog.at_level(logging.WARNING):
        load_entries(ClipData(train=path, class_names=right), "train", num_classes=2)
        assert not caplog.text
        load_entries(ClipData(train=path, class_names=wrong), "train", num_classes=2)

    assert "2 of 2 videos are in folders named as another class than theirs" in caplog.text
    assert "run/v1.mp4, whose class is 'jump'" in caplog.text


def test_names_without_ending_that_fit_two_videos_are_refused(tmp_path: Path):
    touch(tmp_path, "a.mp4", "a.avi", "b.mp4")
    path = write(tmp_path / "train.txt", "b 0\na 1\n")

    with pytest.raises(DataError, match=r"no such video 'a', but a\.avi and a\.mp4; write the end"):
        read_list(path)


def test_a_list_in_latin_1_finds_videos(tmp_path: Path):
    touch(tmp_path, "café.mp4")

    (found,) = read_list(write(tmp_path / "a.txt", "café.mp4 0\n", encoding="latin-1"))

    assert found.path == tmp_path / "café.mp4"


# --- a column that divides the videos --------------------------------------------------------


SPLITS = "path,label,split\na.mp4,0,train\nb.mp4,1,train\nc.mp4,0,Validation\nd.mp4,1,test\n"


def test_a_column_divides_a_list_into_parts(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    data = ClipData(train=write(tmp_path / "all.csv", SPLITS))

    with caplog.at_level(logging.WARNING):
        found = [
            [entry.name for entry in load_entries(data, part)] for part in ("train", "val", "test")
        ]

    assert found == [["a.mp4", "b.mp4"], ["c.mp4"], ["d.mp4"]]
    assert "taken for train are the 2 of 4 videos that it marks so" in caplog.text
    assert len(read_list(tmp_path / "all.csv")) == 4


def test_a_column_with_one_part_or_other_words_divides_nothing(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    one = write(tmp_path / "val.csv", "path,label,split\na.mp4,0,train\nb.mp4,1,train\n")
    words = write(tmp_path / "folds.csv", "path,label,split\na.mp4,0,fold1\nb.mp4,1,train\n")

    for path in (one, words):
        assert not has_entries(ClipData(train=path), "val")
        assert len(load_entries(ClipData(train=path, val=path), "val")) == 2


def test_a_part_that_a_column_lacks_is_told(tmp_path: Path):
    touch(tmp_path, "c.mp4", "d.mp4")
    path = write(tmp_path / "x.csv", "path,label,split\nc.mp4,0,val\nd.mp4,1,test\n")

    with pytest.raises(DataError, match="has videos for test and val, none for train"):
        load_entries(ClipData(train=path), "train")


# --- videos themselves for models that read features ---------------------------------------------


def test_taggers_find_or_ask_the_first_label_of_a_list(tmp_path: Path):
    touch(tmp_path, "a/1.mp4", "b/2.mp4")
    listed = write(tmp_path / "trainlist01.txt", "a/1.mp4 1\nb/2.mp4 2\n")
    data = FeatureData(videos=listed, encoder=("x",), val_share=0)

    with pytest.raises(DataError, match=r"labels start at 1: .* --set data\.first_label=1"):
        labelled_videos(data, "train")
    told = data.model_copy(update={"first_label": 1})
    assert [one.labels for one in labelled_videos(told, "train")] == [(0,), (1,)]
    assert num_classes(told) == 2
    named = data.model_copy(update={"class_names": write(tmp_path / "classInd.txt", "1 a\n2 b\n")})
    assert [one.labels for one in labelled_videos(named, "train")] == [(0,), (1,)]
    assert settled_first_label(named) == 1
    assert list(remarks(named)) == [
        f"{listed}: labels run from 1 to 2, taken to start at 1: there are 2 classes"
    ]


def test_taggers_take_the_parts_of_hmdb51(hmdb51: Path):
    data = FeatureData(videos=hmdb51 / "splits", root=hmdb51 / "videos", encoder=("x",), split=1)

    found = {
        part: [(one.path.name[:1], one.labels) for one in labelled_videos(data, part)]
        for part in ("train", "val", "test")
    }

    assert found == {
        "train": [("c", (0,)), ("#", (1,))],
        "val": [("b", (1,))],
        "test": [("b", (1,))],
    }
    assert len(all_videos(data)) == 4
    assert list(remarks(data)) == []


# --- lists of frames ---------------------------------------------------------------------------


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    """Forty frames, each as bright as its number."""
    folder = tmp_path / "long"
    folder.mkdir()
    for number in range(40):
        pixels = np.full((8, 8, 3), number * 5, np.uint8)
        Image.fromarray(pixels).save(folder / f"img_{number + 1:05}.png")
    return folder


def spans(entries: list[ClipEntry]) -> list[tuple[str, int | None, tuple[int, int] | None]]:
    return [(entry.name, entry.label, entry.frame_span) for entry in entries]


@pytest.mark.parametrize("heading", ["", "path offset frames label\n", "path,offset,frames,label"])
def test_parts_of_folders_of_frames(long_folder: Path, heading: str):
    lines = "long 0 10 1\nlong 25 10 0\n"
    if "," in heading:
        lines = f"\n{lines.replace(' ', ',')}"
    path = write(long_folder.parent / "train.txt", heading + lines)
    data = ClipData(train=path)

    entries = load_entries(data, "train", num_classes=2)

    assert spans(entries) == [("long 0 10", 1, (0, 10)), ("long 25 10", 0, (25, 35))]
    assert {entry.path for entry in entries} == {long_folder}
    for entry, frames in zip(entries, (range(10), range(25, 35)), strict=True):
        with open_video(entry.path) as reader:
            assert range(*entry_span(entry, reader)) == frames
    with pytest.raises(DataError, match="names parts of videos by their frames"):
        read_list(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path offset frames label\nlong 40 9 1\n", r":2: begins at frame 40, from 0, and .*long"),
        ("path offset frames label\nlong 4 0 1\n", r":2: expected the first frame, from 0, and"),
        ("path offset frames label\nlong 4 1\n", r":2: expected 'PATH OFFSET FRAMES LABEL', got"),
        ("long 30 9 1\n", "three numbers after the path.*'path offset frames label'"),
    ],
)
def test_parts_that_cannot_be_used_or_known(long_folder: Path, text: str, message: str):
    path = write(long_folder.parent / "train.txt", text)

    with pytest.raises(DataError, match=message):
        read_list(path, may_be_parts=True, count_frames=count_frames)


def test_parts_are_known_by_frames_that_can_be_no_class(
    long_folder: Path, caplog: pytest.LogCaptureFixture
):
    path = write(long_folder.parent / "train.txt", "long 30 11 1\n")

    (entry,) = read_list(path, may_be_parts=True, num_classes=2, count_frames=count_frames)

    assert entry.frame_span == (30, 41)
    assert "train.txt:1: goes on to frame 41, but its folder has 40" in caplog.text


FRAME_LIST = "original_vido_id video_id frame_id path labels\n"


def test_frame_lists_of_slowfast_have_the_classes_of_all_frames(tmp_path: Path):
    touch(tmp_path, "a/a-1.jpg", "a/a-2.jpg", "b/b-1.jpg")
    lines = 'a 0 0 a/a-1.jpg "3"\na 0 1 a/a-2.jpg "0,3"\nb 1 0 b/b-1.jpg ""\n'
    path = write(tmp_path / "train.csv", FRAME_LIST + lines)

    found = read_list(path, several="as listed", num_classes=4)

    assert [(entry.path.name, entry.labels) for entry in found] == [("a", (0, 3)), ("b", ())]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f'{FRAME_LIST}a 0 0 a/a-1.jpg ""\n', "without classes, as AVA has it"),
        (f'{FRAME_LIST}a 0 0 a/1.jpg "1"\na 0 1 b/2.jpg "1"\n', ":3: frames of 'a' lie in a and"),
        (f'{FRAME_LIST}a 0 0 a/1.jpg "x"\n', ":2: expected 'original_vido_id video_id"),
        ("-5KQ66BBWC4,0902,0.077,0.151,0.283,0.811,80,1\n", "annotations of AVA: boxes of people"),
    ],
)
def test_lists_of_single_frames_are_refused(tmp_path: Path, text: str, message: str):
    path = write(tmp_path / "a.csv", text)

    with pytest.raises(DataError, match=message):
        read_list(path, several="as listed")


def test_parts_are_checked_and_written_as_parts(
    long_folder: Path, capsys: pytest.CaptureFixture[str]
):
    lines = "path offset frames label\nlong 0 10 1\nlong 25 10 0\nlong 30 20 0\n"
    path = write(long_folder.parent / "train.txt", lines)
    good = long_folder.parent / "good.txt"

    run(CheckRequest(path=path, write_good=good, use_cache=False, workers=1))

    said = capsys.readouterr().out
    assert "1 of 3 parts go on after the end of their videos, e.g. long 30 20 (line 4)" in said
    assert not any(word in said for word in ("repeats", "two different classes"))
    assert good.read_text() == lines


def test_videos_of_taggers_are_checked_with_all_their_classes(tmp_path: Path):
    touch(tmp_path, "clips/a.mp4", "clips/b.mp4")
    labels = write(tmp_path / "labels.json", '{"a.mp4": [0, 2], "b.mp4": 1}')
    overrides = (
        *(f"data.{key}=null" for key in ("train", "val", "test", "class_names")),
        f"data.videos={tmp_path / 'clips'}",
        f"data.labels={labels}",
        "data.encoder=[efficientnet_lite0]",
        "data.val_share=0",
        "model.num_classes=3",
    )
    source = ConfigSource(path=Path("attention_lstm"), overrides=overrides)

    parts, _ = find_parts(CheckRequest(source=source))

    assert [one for part in parts for one in part.problems] == []
    items = {item.name: (item.label, item.labels) for part in parts for item in part.items}
    assert {Path(name).name: found for name, found in items.items()} == {
        "a.mp4": (None, (0, 2)),
        "b.mp4": (1, None),
    }
