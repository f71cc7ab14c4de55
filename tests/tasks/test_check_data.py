"""`videozoo check-data`: what a data set holds, and what is wrong with it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoo import cli
from videozoo.data.annotations.videos import read_list
from videozoo.data.synthetic.clips import make_clips, write_video
from videozoo.errors import DataError
from videozoo.tasks.check_data import CheckRequest, CheckResult, check


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve different videos: v0.mp4 to v11.mp4."""
    folder = tmp_path_factory.mktemp("source")
    make_clips(
        folder, num_train=12, num_val=0, num_test=0, num_unseen=0, seed=3, size=16, num_frames=8
    )
    for number, path in enumerate(sorted((folder / "videos").glob("*.mp4"))):
        path.rename(folder / f"v{number}.mp4")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDEOZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def lay_out(folder: Path, source: Path, **places: str) -> Path:
    """Copy videos, each to one or more places: v0="cats/a.mp4|dogs/b.mp4"."""
    for video, names in places.items():
        for name in names.split("|"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source / f"{video}.mp4", folder / name)
    return folder


def notes(result: CheckResult) -> str:
    return "\n".join(result.notes)


def counts(result: CheckResult, part: int = 0) -> dict[str, int]:
    from videozoo.tasks.check_data.result import class_counts, class_name

    chosen = result.parts[part]
    return {
        class_name(chosen, label): count
        for label, count in sorted(class_counts(chosen, result).items())
    }


def test_class_folders_are_counted(tmp_path: Path, source: Path):
    folder = lay_out(tmp_path / "set", source, v0="cats/a.mp4", v1="cats/b.mp4", v2="dogs/a.mp4")
    (folder / "cats" / "notes.txt").write_text("hello")

    result = check(CheckRequest(path=folder, workers=1))

    assert counts(result) == {"cats": 2, "dogs": 1}
    assert result.counts["not a video"] == 1
    assert (result.bad, result.problems, result.notes) == ([], [], [])


def test_a_folder_without_classes_is_just_files(tmp_path: Path, source: Path):
    folder = lay_out(tmp_path / "set", source, v0="a.mp4", v1="below/b.mp4", v2="other/c.mp4")

    result = check(CheckRequest(path=folder, workers=1))

    assert result.counts["readable"] == 3
    assert not result.parts[0].is_labelled


def test_the_same_video_in_two_parts_is_a_leak_whatever_its_name(tmp_path: Path, source: Path):
    folder = lay_out(
        tmp_path / "set",
        source,
        v0="train/cats/a.mp4|val/cats/other_name.mp4",
        v1="train/dogs/b.mp4|train/dogs/b_again.mp4",
        v2="val/dogs/c.mp4|train/cats/c.mp4",
        v3="val/cats/d.mp4",
    )

    result = check(CheckRequest(path=folder, workers=1))

    assert [part.name for part in result.parts] == ["train", "val"]
    assert "leak: 2 videos in both train and val" in notes(result)
    assert (
        "copies: 1 video under several names, e.g. train/dogs/b.mp4 = train/dogs/b_again.mp4"
        in (notes(result))
    )
    assert "1 video with two different classes, e.g. train/cats/c.mp4 = val/dogs/c.mp4" in (
        notes(result)
    )


def test_an_empty_class_folder_is_a_problem(tmp_path: Path, source: Path):
    folder = lay_out(tmp_path / "set", source, v0="cats/a.mp4", v1="dogs/b.mp4")
    (folder / "empty").mkdir()
    (folder / "empty" / "x.txt").write_text("x")

    result = check(CheckRequest(path=folder, workers=1))

    assert result.problems == [f"{folder}: no videos in class folder 'empty'"]


def test_every_bad_line_of_a_list_is_named(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    folder = lay_out(tmp_path, source, v0="a.mp4", v1="b.mp4")
    path = folder / "train.list"
    path.write_text("a.mp4 0\ngone.mp4 1\nb.mp4,1\nb.mp4 1\na.mp4 2\nb.mp4\n")

    assert cli.main(["check-data", str(path), "--workers", "1"]) == 1

    out, err = capsys.readouterr()
    assert "train.list:2: gone.mp4: missing" in out
    assert "train.list:3: b.mp4,1: missing; put a blank, not a comma, before the label" in out
    assert "2 paths more than once in a list, e.g. a.mp4 (list, lines 1 and 5)" in out
    assert "1 video with two different classes, e.g. a.mp4 (lines 1, 5)" in out
    assert "train.list:3: no class after the video (2 such lines)" in out
    assert err.startswith("videozoo: 2 of 4 videos cannot be used")


def test_a_tab_before_a_number_is_of_a_list_and_before_words_of_captions(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    shutil.copy(next(source.rglob("*.mp4")), tmp_path / "two words.mp4")
    (tmp_path / "clips.txt").write_text("two words.mp4\t0\n")
    (tmp_path / "said.txt").write_text("vid1\ta man runs\n")

    assert cli.main(["check-data", str(tmp_path / "clips.txt"), "--workers", "1"]) == 0
    captured = capsys.readouterr()
    assert "sentence" not in captured.out + captured.err
    assert cli.main(["check-data", str(tmp_path / "said.txt")]) == 0
    captured = capsys.readouterr()
    assert "1 sentence of 1 video" in captured.out + captured.err


def config(tmp_path: Path, **data: Any) -> Path:
    path = tmp_path / "run.yaml"
    model = {"name": "tsm", "num_classes": 3, "num_segments": 16}
    path.write_text(json.dumps({"model": model, "data": data}))
    return path


def request(path: Path, **more: Any) -> CheckRequest:
    from videozoo.tasks.requests import ConfigSource

    return CheckRequest(source=ConfigSource(path=path), workers=1, **more)


def test_labels_that_start_at_1_are_told(tmp_path: Path, source: Path):
    lay_out(tmp_path, source, v0="a.mp4", v1="b.mp4", v2="c.mp4")
    train = tmp_path / "train.list"
    train.write_text("a.mp4 1\nb.mp4 2\nc.mp4 3\n")

    result = check(request(config(tmp_path, train=str(train))))

    assert result.problems == []
    assert f"{train}: labels run from 1 to 3, taken to start at 1" in notes(result)
    assert counts(result) == {"0": 1, "1": 1, "2": 1}
    train.write_text("a.mp4 1\nb.mp4 2\n")
    result = check(request(config(tmp_path, train=str(train))))
    assert "labels start at 1: is that the first class" in "".join(result.problems)
    train.write_text("a.mp4 0\nb.mp4 7\nc.mp4 2\n")
    result = check(request(config(tmp_path, train=str(train))))
    assert result.problems == [f"{train}:2: label 7, expected 0 to 2; or set model.num_classes=8"]
    train.write_text("a.mp4 1\nb.mp4 2\nc.mp4 3\n")
    (tmp_path / "bare.txt").write_text("a.mp4\nb.mp4\n")
    bare = check(CheckRequest(path=tmp_path / "bare.txt", workers=1))
    assert "bare.txt: names no classes: something to predict on" in notes(bare)
    result = check(CheckRequest(path=train, workers=1))
    assert (
        "list: labels run from 1 to 3: a training of as many classes takes them to start at 1"
        in notes(result)
    )


def test_the_file_of_class_names_decides_which_label_is_first(tmp_path: Path, source: Path):
    lay_out(tmp_path, source, v0="a.mp4", v1="b.mp4")
    train, names = tmp_path / "train.list", tmp_path / "names.txt"
    settings = config(tmp_path, train=str(train), class_names=str(names))

    def checked(labels: str, *lines: str) -> CheckResult:
        train.write_text(
            "".join(f"{video}.mp4 {n}\n" for video, n in zip("ab", labels, strict=True))
        )
        names.write_text("\n".join(lines))
        return check(request(settings))

    unlike = (
        f"{names}: names 4 classes, but model.num_classes is 3; make them agree "
        "(--set model.num_classes=4)"
    )
    result = checked("31", "0 a", "1 b", "2 c", "3 d")
    assert result.problems == [unlike]
    assert counts(result) == {"b": 1, "d": 1}
    result = checked("31", "a", "b", "c", "d")
    assert result.problems[0] == unlike
    assert "is that the first class" in result.problems[1]
    result = checked("41", "1 a", "2 b", "3 c", "4 d")
    assert result.problems == [unlike]
    assert counts(result) == {"a": 1, "d": 1}
    result = checked("32", "1 a", "2 b", "3 c")
    assert result.problems == []
    assert counts(result) == {"b": 1, "c": 1}


def test_a_file_of_class_names_is_no_list_of_videos(tmp_path: Path, source: Path):
    from videozoo.tasks.check_data import run

    names = tmp_path / "names.txt"
    headed = tmp_path / "headed.csv"
    names.write_text("1 air drumming\n2 run\n")
    headed.write_text("name\nrun\njump\n")
    for path in (names, headed):
        with pytest.raises(DataError, match=r"these are names of classes, for data\.class_names"):
            run(CheckRequest(path=path, workers=1))
    lay_out(tmp_path, source, v0="1.mp4", v1="2.mp4")
    names.write_text("1 run\n2 jump\n")
    run(CheckRequest(path=names, workers=1))
    names.write_text("lost_1 1\nlost_2 2\n")
    with pytest.raises(DataError, match="2 of 2 videos cannot be used"):
        run(CheckRequest(path=names, workers=1))


def test_a_configuration_is_checked_part_by_part(tmp_path: Path, source: Path):
    lay_out(tmp_path, source, v0="a.mp4", v1="b.mp4", v2="c.mp4", v3="d.mp4")
    (tmp_path / "train.list").write_text("a.mp4 0\nb.mp4 1\n")
    (tmp_path / "val.list").write_text("b.mp4 1\nc.mp4 2\n")
    lists = {name: f"{name}.list" for name in ("train", "val", "test")}

    result = check(request(config(tmp_path, **lists)))

    assert [(part.name, len(part.items)) for part in result.parts] == [
        ("train", 2), ("val", 2), ("test", 0),
    ]  # fmt: skip
    assert result.problems == ["test.list: cannot be read: No such file or directory"]
    assert "leak: 1 video in both train and val, e.g. b.mp4 = b.mp4" in notes(result)
    assert "train: 1 class has no usable video: 2" in notes(result)
    assert "val: classes that train has no video of: 2" in notes(result)
    assert "3 videos shorter than a clip (16 frames)" in notes(result)


def test_the_split_of_a_folder_is_the_one_that_training_draws(tmp_path: Path, source: Path):
    places = {f"v{n}": f"{'abc'[n % 3]}/{n}.mp4" for n in range(9)}
    folder = lay_out(tmp_path / "set", source, **places)

    result = check(request(config(tmp_path, train=str(folder), val_share=0.34)))

    assert [part.name for part in result.parts] == ["train", "val"]
    assert sum(len(part.items) for part in result.parts) == 9
    assert result.notes[-1].startswith("9 videos shorter than a clip")


def test_videos_far_longer_than_those_to_learn_from_are_named(tmp_path: Path, source: Path):
    folder = lay_out(tmp_path / "set", source, v0="train/a/1.mp4", v1="train/b/2.mp4")
    (folder / "val" / "a").mkdir(parents=True)
    write_video(folder / "val" / "a" / "long.mp4", np.zeros((88, 16, 16, 3), np.uint8))

    (note,) = [n for n in check(CheckRequest(path=folder, workers=1)).notes if "10 times" in n]

    assert "long.mp4 (7.33 s)" in note
    assert "median 0.667 s" in note
    assert "predict --every SECONDS" in note


def test_a_kinetics_csv_may_name_videos_that_are_not_there(tmp_path: Path, source: Path):
    lay_out(tmp_path / "videos", source, v0="AAAAAAAAAAA_000001_000011.mp4")
    path = tmp_path / "val.csv"
    path.write_text(
        "label,youtube_id,time_start,time_end,split\n"
        "yoga,AAAAAAAAAAA,1,11,val\nzumba,BBBBBBBBBBB,2,12,val\n"
    )

    result = check(CheckRequest(path=path, workers=1))

    assert (result.bad, result.problems) == ([], [])
    assert counts(result) == {"yoga": 1}
    assert "1 of 2 videos of the CSV are not there; runs leave them out" in notes(result)


def test_a_list_of_views_counts_each_video_once(tmp_path: Path, source: Path):
    lay_out(tmp_path, source, v0="a.mp4", v1="b.mp4")
    path = tmp_path / "test.list"
    path.write_text("".join(f"{v}.mp4 {n} {k} 0\n" for n, v in enumerate("ab") for k in range(3)))

    result = check(CheckRequest(path=path, workers=1))

    assert [item.name for item in result.parts[0].items] == ["a.mp4", "b.mp4"]
    assert result.repeats == []


def test_the_second_run_says_what_it_remembered(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    folder = lay_out(tmp_path / "set", source, v0="a.mp4", v1="b.mp4")
    command = ["check-data", str(folder), "--workers", "1"]

    outputs: list[str] = []
    for flags in ([], [], ["--no-cache"]):
        assert cli.main([*command, *flags]) == 0
        outputs.append(capsys.readouterr().out)

    assert ["2 from cache" in output for output in outputs] == [False, True, False]
    assert (tmp_path / "cache" / "check-data").is_dir()


def test_json_holds_every_file_and_the_list_only_good_ones(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    folder = lay_out(
        tmp_path / "set", source, v0="a/one.mp4", v1="b/with[red] blank.mp4", v2="b/x 3.mp4"
    )
    shutil.copy(folder / "a" / "one.mp4", folder / "b" / "line\nbreak.mp4")
    (folder / "b" / "bad.mp4").write_bytes(b"no video")
    files = ["--json", "out/all.json", "--write-good", "good.list"]

    assert cli.main(["check-data", str(folder), "--workers", "1", *files]) == 1

    found = json.loads(Path("out/all.json").read_text())
    assert (found["kind"], found["format"], found["counts"]["bad"]) == ("check-data", 1, 1)
    assert {Path(file["path"]).name: file["status"] for file in found["files"]} == {
        "one.mp4": "readable",
        "with[red] blank.mp4": "readable",
        "x 3.mp4": "readable",
        "line\nbreak.mp4": "readable",
        "bad.mp4": "unreadable",
    }
    assert found["parts"][0]["classes"] == [
        {"label": 0, "name": "a", "videos": 1},
        {"label": 1, "name": "b", "videos": 3},
    ]
    assert len(found["copies"][0]["sha256"]) == 64
    entries = read_list(Path("good.list"))
    assert [(entry.path.name, entry.label) for entry in entries] == [
        ("one.mp4", 0),
        ("with[red] blank.mp4", 1),
        ("x 3.mp4", 1),
    ]
    assert "1 name left out: a list cannot hold line breaks" in capsys.readouterr().out


def test_names_that_end_in_a_number_stay_names(tmp_path: Path, source: Path):
    folder = lay_out(tmp_path / "set", source, v0="clip")
    (folder / "clip").rename(folder / "clip 7.mp4")
    (folder / "clip 7.mp4").rename(folder / "my.mp4 7")

    assert cli.main(["check-data", str(folder / "my.mp4 7"), "--write-good", "good.list"]) == 0

    (entry,) = read_list(Path("good.list"), labels="optional")
    assert (entry.path.name, entry.label) == ("my.mp4 7", None)


def test_the_page_stays_short_however_much_is_wrong(
    tmp_path: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    folder = lay_out(tmp_path / "set", source, v0="a/one.mp4", v1="b/two.mp4")
    for number in range(60):
        (folder / "a" / f"bad{number}.mp4").write_bytes(b"x" * number)
        (folder / f"class{number}").mkdir()
        (folder / f"class{number}" / "x.txt").write_text("x")

    assert cli.main(["check-data", str(folder), "--workers", "1"]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 130
    assert any("and 55 more" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["check-data"], 2, "nothing to check: name a folder"),
        (["check-data", "gone"], 1, "gone: no such file or folder"),
        (["check-data", "x", "--workers", "0"], 2, "--workers 0: expected 1 or more"),
        (["check-data", "x", "--timeout", "0"], 2, "expected more than 0 seconds"),
        (["check-data", "--config", "gone.yaml"], 1, "gone.yaml: cannot be read"),
    ],
)
def test_mistakes_are_one_message(
    arguments: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(arguments) == status
    assert message in capsys.readouterr().err


def test_an_empty_folder_is_an_error(tmp_path: Path):
    (tmp_path / "set").mkdir()

    with pytest.raises(DataError, match="nothing to check"):
        check(CheckRequest(path=tmp_path / "set"))
