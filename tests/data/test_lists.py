import json
import logging
import pickle
import re
from pathlib import Path
from typing import Any

import pytest

from videozoo.data.annotations.class_names import first_class_number, read_class_names
from videozoo.data.annotations.list_formats import header_of
from videozoo.data.annotations.list_labels import find_first_label, own_class_names
from videozoo.data.annotations.videos import (
    ClipEntry,
    find_videos,
    read_list,
    videos_of,
    views_by_video,
    with_labels,
)
from videozoo.errors import DataError


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"-")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def pairs(entries: list[ClipEntry]) -> list[tuple[str, int | None]]:
    return [(entry.name, entry.label) for entry in entries]


# --- lists -----------------------------------------------------------------------------------


def test_a_list_is_read_in_its_order_with_blanks_in_paths(tmp_path: Path):
    touch(tmp_path, "b.mp4", "long jump/a 1.mp4")
    path = write(tmp_path / "train.txt", "b.mp4 3\n\nlong jump/a 1.mp4 0\r\n")

    entries = read_list(path, num_classes=4)

    assert pairs(entries) == [("b.mp4", 3), ("long jump/a 1.mp4", 0)]
    assert [entry.path for entry in entries] == [
        tmp_path / "b.mp4",
        tmp_path / "long jump" / "a 1.mp4",
    ]


@pytest.mark.parametrize(
    "text",
    [
        '"run/a, b.mp4","long jump, high"\n"c d.mp4","run"\n',
        '"run/a, b.mp4";"long jump, high"\n"c d.mp4";run\n',
        '"run/a, b.mp4" "long jump, high"\n"c d.mp4" run\n',
        '"run/a, b.mp4"\t12\t"long jump, high"\n"c d.mp4"\t13\t"run"\n',
    ],
)
def test_what_stands_in_quotes_is_one_column(tmp_path: Path, text: str):
    touch(tmp_path, "run/a, b.mp4", "c d.mp4")

    path = write(tmp_path / "train.csv", text)

    assert own_class_names(path) == ["long jump, high", "run"]
    assert pairs(read_list(path)) == [("run/a, b.mp4", 0), ("c d.mp4", 1)]


def test_a_relative_path_is_looked_up_here_then_in_root_then_beside_the_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    here, root, beside = (tmp_path / name for name in ("here", "root", "beside"))
    touch(here, "a.mp4")
    touch(root, "a.mp4", "b.mp4")
    touch(beside, "a.mp4", "b.mp4", "c.mp4")
    monkeypatch.chdir(here)
    path = write(beside / "list.txt", "a.mp4 0\nb.mp4 0\nc.mp4 0\n")

    found = [entry.path for entry in read_list(path, root=root)]

    assert found == [Path("a.mp4"), root / "b.mp4", beside / "c.mp4"]


def test_pickles_and_prediction_lists_need_no_label(tmp_path: Path):
    touch(tmp_path, "a.pkl", "b.mp4", "my clip.mp4", "c.mp4")
    pickles = write(tmp_path / "pkl.list", "a.pkl\n")
    predict = write(tmp_path / "infer.list", "b.mp4 2\nmy clip.mp4\nc.mp4 -1\n")

    assert pairs(read_list(pickles)) == [("a.pkl", None)]
    assert pairs(read_list(predict, labels="optional")) == [
        ("b.mp4", 2),
        ("my clip.mp4", None),
        ("c.mp4", None),
    ]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_2019_may_have_no_ending(tmp_path: Path, protocol: int):
    for name in ("abc_000010_000020", "-x_y_000000_000010"):
        (tmp_path / name).write_bytes(pickle.dumps((name, 3, [b"JPEG"]), protocol))
    listed = write(tmp_path / "train.list", "abc_000010_000020\n-x_y_000000_000010\n")

    assert [label for _, label in pairs(read_list(listed))] == [None, None]

    touch(tmp_path, "b.mp4")
    write(listed, "abc_000010_000020\nb.mp4\ngone_000000_000010\n")
    with pytest.raises(DataError) as error:
        read_list(listed)
    assert "train.list:2: expected 'PATH LABEL', got 'b.mp4'" in str(error.value)
    assert "train.list:3: no such video 'gone_000000_000010'" in str(error.value)


def test_files_without_ending_that_are_no_pickles_need_a_label(tmp_path: Path):
    (tmp_path / "clip").write_bytes(b"\0\0\0\x20ftypisom")
    with pytest.raises(DataError, match="no class: expected 'PATH LABEL'"):
        read_list(write(tmp_path / "train.list", "clip\n"))


def test_every_bad_line_is_named(tmp_path: Path):
    touch(tmp_path, "a.mp4")
    lines = ["a.mp4 1", "a.mp4", "a.mp4 x", "a.mp4,1", "a.mp4 5", "a.mp4 6", "a.mp4 -1", "z.mp4 0"]
    path = write(tmp_path / "bad.txt", "\n".join(lines))

    with pytest.raises(DataError) as error:
        read_list(path, num_classes=5)

    assert str(error.value).splitlines() == [
        f"{path}: 7 lines cannot be used:",
        f"  {path}:2: expected 'PATH LABEL', got 'a.mp4'",
        f"  {path}:3: expected 'PATH LABEL', got 'a.mp4 x'",
        f"  {path}:4: expected 'PATH LABEL', got 'a.mp4,1'; "
        "put a blank, not a comma, before the label",
        f"  {path}:5: label 5, expected 0 to 4; labels start at 0, unless data.first_label is 1",
        f"  {path}:6: label 6, expected 0 to 4",
        f"  {path}:7: label -1, expected 0 to 4",
        f"  {path}:8: no such video 'z.mp4' (looked in the current folder, {tmp_path})",
    ]


def test_a_line_that_no_file_can_be_called_is_a_bad_line(tmp_path: Path):
    path = write(tmp_path / "list.txt", "a" * 9000 + " 0\n")

    with pytest.raises(DataError, match=r"list\.txt:1: no such video 'aaa"):
        read_list(path)


def test_no_more_than_ten_bad_lines_are_shown(tmp_path: Path):
    path = write(tmp_path / "bad.txt", "x 0.5\n" * 25)

    with pytest.raises(DataError) as error:
        read_list(path)

    lines = str(error.value).splitlines()
    assert len(lines) == 12
    assert lines[-1] == "  and 15 more"


def test_missing_videos_can_be_left_out_but_not_unnoticed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    touch(tmp_path, "a.mp4")
    path = write(tmp_path / "list.txt", "a.mp4 0\nb.mp4 1\n")

    with caplog.at_level(logging.WARNING):
        entries = read_list(path, missing="skip")

    assert pairs(entries) == [("a.mp4", 0)]
    assert "1 of 2 videos do not exist" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"", "empty; expected one video per line"),
        (b" \n\n", "empty; expected one video per line"),
        (b"\x00\x01\x02 1\n", "not a text file"),
    ],
)
def test_unusable_lists_say_why(tmp_path: Path, content: bytes | None, message: str):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(DataError, match=re.escape(str(path)) + ".*" + message):
        read_list(path)


def test_a_2019_test_list_is_views_of_numbered_videos(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    truth = read_list(write(tmp_path / "vallist.txt", "a.mp4 7\nb.mp4 9\n"))
    path = write(tmp_path / "testlist.txt", "a.mp4 0 0 0\na.mp4 0 9 2\nb.mp4 1 0 5\n")

    entries = read_list(path, num_classes=10, labels="optional")

    assert [(e.video, e.clip_index, e.crop_index, e.label) for e in entries] == [
        (0, 0, 0, None),
        (0, 9, 2, None),
        (1, 0, 5, None),
    ]
    assert [entry.label for entry in with_labels(entries, truth)] == [7, 7, 9]
    assert [entry.name for entry in videos_of(entries)] == ["a.mp4", "b.mp4"]
    with pytest.raises(DataError, match="video number 1, expected 0 to 0"):
        with_labels(entries, truth[:1])


def test_a_2019_prediction_list_may_number_every_video_0(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    path = write(tmp_path / "infer.txt", "a.mp4 0 0 0\nb.mp4 0 0 0\na.mp4 0 1 0\n")

    groups = views_by_video(read_list(path, labels="optional"))

    assert [[entry.name for entry in group] for group in groups] == [["a.mp4", "a.mp4"], ["b.mp4"]]


@pytest.mark.parametrize(
    "text",
    [
        "run/a 1.mp4 60 0\nb.mp4 52 1\n",
        "run/a 1.mp4,0\nb.mp4,1\n",
        "run/a 1.mp4; 0\nb.mp4; 1\n",
        '"run/a 1.mp4",0\n"b.mp4",1\n',
        "run/a 1.mp4\t0\nb.mp4\t1\n",
        "path,label\nrun/a 1.mp4,0\nb.mp4,1\n",
        "label;frames;path\n0;60;run/a 1.mp4\n1;52;b.mp4\n",
        "path label\nrun/a 1.mp4 0\nb.mp4 1\n",
        "# my list\nrun/a 1.mp4 0\n# others\nb.mp4 1\n",
        "run\\a 1.mp4 0\nb.mp4 1\n",
        "run/a 1.mp4\trun\nb.mp4\tshot put\n",
        "run/a 1.mp4,run\nb.mp4,shot put\n",
    ],
)
def test_the_columns_of_a_list_are_found_out(tmp_path: Path, text: str):
    touch(tmp_path, "run/a 1.mp4", "b.mp4")

    entries = read_list(write(tmp_path / "train.txt", text), num_classes=2)

    assert [(entry.path.name, entry.label) for entry in entries] == [("a 1.mp4", 0), ("b.mp4", 1)]


def test_classes_by_name_have_the_numbers_of_their_names(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    path = write(tmp_path / "train.txt", "a.mp4 run\nb.mp4 jump\n")

    assert own_class_names(path) == ["jump", "run"]
    assert [e.label for e in read_list(path, class_names=["hop", "run", "jump"])] == [1, 2]
    with pytest.raises(DataError, match=r"train.txt:1: class 'run' is not among the class names"):
        read_list(path, class_names=["hop", "jump"])
    numbers = write(tmp_path / "numbers.txt", "a.mp4 1\nb.mp4 10\n")
    assert [e.label for e in read_list(numbers, class_names=["1", "2", "10"])] == [0, 2]


def test_a_list_without_classes_takes_them_from_folders_named_so(tmp_path: Path):
    touch(tmp_path, "run/a.mp4", "jump/b.mp4")
    path = write(tmp_path / "testlist01.txt", "run/a.mp4\njump/b.mp4\n")

    assert [e.label for e in read_list(path, class_names=["jump", "run"])] == [1, 0]
    with pytest.raises(DataError, match=r"testlist01.txt:1: no class: expected 'PATH LABEL'"):
        read_list(path)
    with pytest.raises(DataError, match=r"testlist01.txt:2: no class: .* no folder in its path"):
        read_list(path, class_names=["run", "hop"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a.mp4 0.0\nb.mp4 1.0\n", r":1: label '0\.0', expected a whole number"),
        (
            "a.mp4 60 0 1\nb.mp4 52 1 0\n",
            r":1: three numbers after the path; .* one class per video",
        ),
        ("a.mp4 60 0 1 1\nb.mp4 5 1 0 0\n", r":1: 4 classes \(60, 0, 1, 1\), and one class per"),
        ("a.mp4 0 1\nb.mp4 2\n", r":1: 2 classes .*, got 'a.mp4 0 1'; .* train.loss=sigmoid"),
        ("path,label\na.mp4,0\nb.mp4\n", r":3: expected 'PATH LABEL' or .* got 'b.mp4'"),
        ("rtsp://camera/1 0\na.mp4 1\n", r":1: rtsp://camera/1: a network address"),
    ],
)
def test_other_columns_are_refused_with_their_line(tmp_path: Path, text: str, message: str):
    touch(tmp_path, "a.mp4", "b.mp4")

    with pytest.raises(DataError, match=message):
        read_list(write(tmp_path / "train.txt", text))


def test_numbers_for_many_videos_are_no_views(tmp_path: Path):
    touch(tmp_path, "a.mp4", "b.mp4")
    path = write(tmp_path / "videos.txt", "a.mp4 60 0 1\nb.mp4 60 1 0\n")

    with pytest.raises(DataError, match=r"videos.txt:1: 3 classes \(60, 0, 1\), and one class"):
        read_list(path, labels="optional")


@pytest.mark.parametrize(
    ("text", "options", "first"),
    [
        ("a.mp4 0\nb.mp4 4\n", {"num_classes": 5}, 0),
        ("a.mp4 1\nb.mp4 5\n", {"num_classes": 5}, 1),
        ("a.mp4 1\nb.mp4 4\n", {"num_classes": 5}, None),
        ("a.mp4 1\nb.mp4 4\n", {"num_classes": 5, "first_number": 1}, 1),
        ("a.mp4 2\nb.mp4 4\n", {"num_classes": 5}, 0),
        ("run/a.mp4 1\nhop/b.mp4 2\n", {"class_names": ["run", "hop", "lie"]}, 1),
        ("run/a.mp4 1\nhop/b.mp4 2\n", {"class_names": ["lie", "run", "hop"]}, 0),
        ("a.mp4 run\nb.mp4 hop\n", {}, 0),
    ],
)
def test_the_first_label_is_found_or_not_known(
    tmp_path: Path, text: str, options: dict[str, Any], first: int | None
):
    found = find_first_label(write(tmp_path / "train.txt", text), **options)

    assert (None if found is None else found[0]) == first
    assert found is None or bool(found[1]) == (first == 1)


# --- the official CSV ------------------------------------------------------------------------


CSV = """label,youtube_id,time_start,time_end,split,is_cc
"shaking hands",aa-a,10,20,train,0
abseiling,b_b,0,10,train,0
"air drumming",cc,7,17,train,0
"""


def test_the_kinetics_csv_finds_videos_in_any_usual_layout(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    root = tmp_path / "videos"
    touch(
        root,
        "other/aa-a_000010_000020.mp4",
        "train/shaking_hands/aa-a_000010_000020.mp4",
        "b_b_000000_000010.mp4",
    )
    path = write(tmp_path / "train.csv", CSV)

    with caplog.at_level(logging.WARNING):
        entries = read_list(path, root=root)

    assert pairs(entries) == [
        ("train/shaking_hands/aa-a_000010_000020.mp4", 2),
        ("b_b_000000_000010.mp4", 0),
    ]
    assert "1 of 3 videos do not exist and are left out; first: cc_000007_000017.mp4" in caplog.text


def test_the_kinetics_csv_numbers_classes_as_told(tmp_path: Path):
    touch(tmp_path, "cc_000007_000017.MKV")
    path = write(tmp_path / "val.csv", CSV)
    names = ["shaking hands", "air drumming", "abseiling"]

    assert [entry.label for entry in read_list(path, class_names=names)] == [1]
    with pytest.raises(DataError, match=r"val.csv:3: class 'abseiling' is not among"):
        read_list(path, class_names=names[:2])
    with pytest.raises(DataError, match="3 classes, but the model has 2"):
        read_list(path, num_classes=2)


def test_a_kinetics_csv_without_its_videos_says_where_it_looked(tmp_path: Path):
    path = write(tmp_path / "train.csv", CSV)

    with pytest.raises(DataError, match=r"none of its 3 videos is under .*aa-a_000010_000020.mp4"):
        read_list(path, root=tmp_path)
    with pytest.raises(DataError, match=r"no such folder; set data\.root"):
        read_list(path, root=tmp_path / "nowhere")


def test_a_bad_row_of_the_csv_is_named(tmp_path: Path):
    path = write(tmp_path / "train.csv", CSV + "x,y\n")

    with pytest.raises(DataError, match=r"train.csv:5: expected 'label,youtube_id"):
        read_list(path)
    with pytest.raises(DataError, match="expected the header"):
        read_list(write(tmp_path / "list.txt", "a.mp4 1\n"), kind="csv")


# --- videos without classes -----------------------------------------------------------------------


def test_videos_without_classes_are_found(tmp_path: Path):
    touch(tmp_path, "deep/b.mp4", "a.mkv", "notes.txt")

    assert [entry.path.name for entry in find_videos(tmp_path)] == ["a.mkv", "b.mp4"]
    assert len(find_videos(tmp_path / "a.mkv")) == 1
    with pytest.raises(DataError, match="no such file or folder"):
        find_videos(tmp_path / "nowhere")


# --- names of classes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(["air drumming", "run"]),
        json.dumps({"0": "air drumming", "1": "run"}),
        json.dumps({"run": 1, "air drumming": 0}),
        json.dumps({"run": "1", '"air drumming"': "0"}),
        "air drumming\nrun\n",
        "air drumming 0\nrun 1\n",
        "run 1\nair drumming 0\n",
        "1 air drumming\n2 run\n",
        "air drumming,0\nrun,1\n",
        "id,name\n0,air drumming\n1,run\n",
        '"air drumming",\n"run",\n',
        json.dumps(["1 air drumming", "2 run"]),
        json.dumps({"1": "air drumming", "2": "run"}),
        "name,id\nair drumming,0\nrun,1\n",
        "label_id,parent,label\n1,x,air drumming\n2,x,run\n",
        "label { name: 'air drumming' label_id: 1 }\nlabel { name: 'run' label_id: 2 }\n",
        'item { id: 2 name: "/m/2" display_name: "run" }\nitem {\n id: 1 name: "air drumming"\n}',
    ],
)
def test_class_names_in_any_of_the_usual_forms(tmp_path: Path, text: str):
    assert read_class_names(write(tmp_path / "names", text)) == ["air drumming", "run"]


def test_the_heading_of_a_table_of_names_is_no_class(tmp_path: Path):
    for heading in ("name", "Class", '"label"', "category", "action"):
        path = write(tmp_path / "names.csv", f"{heading}\nair drumming\nrun\n")
        assert read_class_names(path) == ["air drumming", "run"]
    assert read_class_names(write(tmp_path / "names.txt", "label\nrun\n")) == ["label", "run"]
    with pytest.raises(DataError, match="no column of class numbers"):
        read_class_names(write(tmp_path / "names.csv", "name,about\nrun,fast\njump,high\n"))


def test_names_that_end_in_a_number_stay_whole(tmp_path: Path):
    assert read_class_names(write(tmp_path / "names.txt", "formula 1\nrun\n")) == [
        "formula 1",
        "run",
    ]


def test_names_that_differ_in_a_number_only_stay_whole(tmp_path: Path):
    path = write(tmp_path / "names.txt", "step 1\nstep 2\n")

    assert read_class_names(path) == ["step 1", "step 2"]
    assert first_class_number(path) is None
    assert first_class_number(write(tmp_path / "classInd.txt", "1 a\n2 b\n")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[["a", 0], ["b", 1]]', "expected a JSON list of names"),
        ("", "no class names"),
        ("[]", "no class names"),
        ('{"a": 0, "b": 2}', "numbers 0, 1, 2, ... without gaps"),
        ("[1,", "not valid JSON"),
        ("\0\1", "not a text file"),
        ("id,name\n0,a\nx,b\n", r":3: id 'x' and name 'b', expected a number and a name"),
        ("id,name\n0,a\n2,b\n", "the column id must hold the numbers 0, 1, 2"),
        ('label { name: "a" label_id: 1 }\nlabel { name: "b" }', "item 1: 'name: \"b\"', expected"),
        ('item { id: 1 name: "a" } item { id: 3 name: "b" }', "2 classes are numbered up to 3"),
    ],
)
def test_unusable_class_names_say_why(tmp_path: Path, text: str, message: str):
    name = "names.json" if text[:1] in ("", "[", "{") else "names.txt"
    with pytest.raises(DataError, match=message):
        read_class_names(write(tmp_path / name, text))


def test_a_line_of_megabytes_is_no_heading():
    assert header_of("path,label,more") is not None
    assert header_of("path,label," + "x," * 100_000) is None
