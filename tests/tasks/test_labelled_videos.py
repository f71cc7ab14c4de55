"""What classes videos are of: told by lists and folders, found out, asked for, or refused."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.data.test_clips import make_video
from videozoo import cli

TINY = """
model: {name: tsm, num_classes: 2, depth: 18, width: 0.125, num_segments: 2}
data: {short_side: 40, crop_size: 32, num_workers: 0}
train: {epochs: 1, batch_size: 2, learning_rate: 0.01}
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of three videos."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(3):
        make_video(folder / "run" / f"r{number}.mp4", frames=8)
        make_video(folder / "jump" / f"j{number}.mp4", frames=9)
    return folder


@pytest.fixture
def here(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: `tiny.yaml`, and the videos in `set`."""
    (tmp_path / "tiny.yaml").write_text(TINY)
    lay_out(tmp_path / "set", source, "run jump", "run jump")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lay_out(folder: Path, source: Path, names: str, classes: str) -> Path:
    """Class folders with links to the videos of others."""
    for name, shown in zip(names.split(), classes.split(), strict=True):
        (folder / name).mkdir(parents=True)
        for video in (source / shown).iterdir():
            (folder / name / video.name).symlink_to(video)
    return folder


def write_list(name: str, labels: dict[str, object], numbers: Sequence[int] = (0, 1, 2)) -> None:
    lines = [f"set/{c}/{c[0]}{n}.mp4 {label}" for c, label in labels.items() for n in numbers]
    Path(name).write_text("\n".join(lines) + "\n")


def train(*arguments: str) -> int:
    line = ["train", "--config", "tiny.yaml", "--save-dir", "run", "--overwrite"]
    return cli.main([*line, *arguments])


def evaluated(*arguments: str) -> dict[str, int]:
    """What the evaluation took the classes of the videos for."""
    assert cli.main(["eval", "--weights", "run", "--save-dir", "out", *arguments]) == 0
    results = json.loads(Path("out/eval.json").read_text())["results"]
    return {Path(row["video"]).name: row["label"] for row in results}


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def test_the_first_label_is_kept_with_the_run(here: Path, capsys: pytest.CaptureFixture[str]):
    write_list("train.txt", {"run": 1, "jump": 2}, [0, 1])
    write_list("test.txt", {"jump": 2}, [2])

    more = ["--set", "data.train=train.txt", "--set", "data.test=test.txt"]
    assert train(*more, "--set", "data.val=test.txt") == 0
    told = said(capsys)
    assert "train.txt: labels run from 1 to 2, taken to start at 1: there are 2" in told
    assert "1 class of 2 has no video to check with: 0" in told
    assert evaluated() == {"j2.mp4": 1}
    assert cli.main(["predict", "--weights", "run", "test.txt", "--save-dir", "out"]) == 0


def test_the_first_label_is_asked_for_where_nothing_tells(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    write_list("train.txt", {"run": 1, "jump": 2})
    more = ["--set", "model.num_classes=3", "--set", "data.train=train.txt"]

    assert train(*more) == 1
    assert "--set data.first_label=1, or =0" in said(capsys)
    assert train(*more, "--set", "data.first_label=1") == 0
    assert "1 class of 3 never occurs in training: 2" in said(capsys)
    assert evaluated("--data", "train.txt")["j0.mp4"] == 1


def test_ucf101_lists_are_read_as_they_come(here: Path, capsys: pytest.CaptureFixture[str]):
    Path("classInd.txt").write_text("1 run\n2 jump\n3 swim\n")
    write_list("trainlist01.txt", {"run": 1, "jump": 2}, [0, 1])
    Path("testlist01.txt").write_text("set/run/r2.mp4\nset/jump/j2.mp4\n")
    lists = {"train": "trainlist01.txt", "val": "testlist01.txt", "class_names": "classInd.txt"}
    more = [f"--set=data.{key}={value}" for key, value in lists.items()]

    assert train(*more, "--set=model.num_classes=3") == 0

    told = said(capsys)
    assert "taken to start at 1" in told
    assert "1 class of 3 never occurs in training: 'swim'" in told
    assert evaluated() == {"r2.mp4": 0, "j2.mp4": 1}
    assert [row["class"] for row in json.loads(Path("out/eval.json").read_text())["classes"]] == [
        *("run", "jump", "swim")
    ]


def test_classes_may_be_listed_by_name(here: Path, capsys: pytest.CaptureFixture[str]):
    write_list("train.txt", {"run": "run", "jump": "jump"})
    write_list("test.txt", {"run": "run"}, [2])
    write_list("other.txt", {"run": "walk"}, [2])

    assert train("--set", "data.train=train.txt") == 0
    assert evaluated("--data", "test.txt") == {"r2.mp4": 1}  # jump, run
    assert cli.main(["predict", "--weights", "run", "test.txt", "--save-dir", "out"]) == 0
    (found,) = json.loads(Path("out/predictions.json").read_text())["predictions"]
    assert found["label"] == "run"
    capsys.readouterr()
    assert cli.main(["eval", "--weights", "run", "--data", "other.txt"]) == 1
    assert "other.txt:1: class 'walk' is not among the class names" in said(capsys)


def test_names_for_classes_known_by_number_are_said(
    here: Path,
    source: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
):
    write_list("train.txt", {"run": 0, "jump": 1})
    assert train("--set", "data.train=train.txt") == 0
    lay_out(here / "three", source, "a b c", "run jump jump")

    assert evaluated("--data", "set")["r0.mp4"] == 1
    assert "taken in the order of the names here: 0 'jump', 1 'run'" in caplog.text
    capsys.readouterr()
    assert cli.main(["eval", "--weights", "run", "--data", "three"]) == 1
    assert "three: names 3 classes" in said(capsys)


def test_several_classes_after_the_frames_are_learnt_or_refused(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    write_list("train.txt", {"run": "8 0 1", "jump": "9 1"})

    assert train("--set", "data.train=train.txt") == 0
    assert "train.txt: 3 of 6 videos have several classes" in said(capsys)
    assert train("--set", "data.train=train.txt", "--set", "train.loss=softmax") == 1
    assert "train.txt:1: 2 classes (0, 1), and one class per video is expected" in said(capsys)
    write_list("train.txt", {"run": "8 0 1", "jump": "9 1 0"})
    assert train("--set", "data.train=train.txt") == 1
    assert "(6) are of the same classes: nothing to tell apart" in said(capsys)


def test_frames_that_are_no_frames_are_refused(here: Path, capsys: pytest.CaptureFixture[str]):
    write_list("train.txt", {"run": "8 0", "jump": "9 1"})
    write_list("labels.txt", {"run": "0 1", "jump": "1 0"})
    write_list("few.txt", {"run": "7 0", "jump": "7 1"})

    assert train("--set", "data.train=labels.txt") == 1
    assert "'set/run/r0.mp4' has 8 frames, and the number after it is 0" in said(capsys)
    assert train("--set", "data.train=train.txt") == 0
    assert "frames" not in said(capsys).partition("TSM")[0]
    assert cli.main(["check-data", "few.txt", "--workers=1", "--no-cache"]) == 0


def test_one_class_is_nothing_to_learn(
    here: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    lay_out(here / "above/inner", source, "run jump", "run jump")
    write_list("one.txt", {"run": 0})

    assert train("--data", "above") == 1
    error = said(capsys)
    assert "above: all videos to learn from (" in error
    assert "one level too high? --data above/inner has several" in error
    assert train("--set", "data.train=one.txt") == 1
    assert "one.txt: all videos to learn from (3) are of one class" in said(capsys)
    assert not Path("run").exists()


def test_a_video_in_two_places_is_said(
    here: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    write_list("train.txt", {"run": 0, "jump": 1})
    with Path("train.txt").open("a") as file:
        file.write("set/run/r0.mp4 1\n")
    lay_out(here / "links", source, "run jump", "run jump")
    Path("val.txt").write_text("links/run/r1.mp4 0\n")

    assert train("--set", "data.train=train.txt", "--set", "data.val=val.txt") == 0

    told = said(capsys)
    assert "1 video to learn from in two classes, such as set/run/r0.mp4" in told
    assert "1 of 1 video to check with are also learnt from, such as links/run/r1.mp4" in told


def test_videos_beside_the_class_folders_are_said(
    here: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    Path("set/loose.mp4").symlink_to(source / "run" / "r0.mp4")

    assert train("--data", "set") == 0
    assert "set: left out, for they lie beside the class folders: loose.mp4" in said(capsys)


def test_a_list_of_good_videos_keeps_its_first_label(here: Path):
    write_list("train.txt", {"run": 1, "jump": 2})
    line = ["check-data", "--config", "tiny.yaml", "train.txt", "--write-good", "good.list"]

    assert cli.main([*line, "--workers=1", "--no-cache"]) == 0
    assert Path("good.list").read_text() == Path("train.txt").read_text()


def test_one_video_a_class_leaves_none_to_check_with(
    here: Path, capsys: pytest.CaptureFixture[str]
):
    for name in ("r1", "r2"):
        Path(f"set/run/{name}.mp4").unlink()
        Path(f"set/jump/j{name[1]}.mp4").unlink()

    assert train("--data", "set") == 1
    assert "a class with one video uses it for training" in said(capsys)
    assert train("--data", "set", "--valid-interval", "0") == 0
    assert "every class has only one training video" in said(capsys)


def test_parts_and_what_stands_beside_them(
    here: Path, source: Path, capsys: pytest.CaptureFixture[str]
):
    lay_out(here / "parts/train", source, "run jump", "run jump")
    lay_out(here / "parts/dev", source, "jump", "jump")
    assert train("--data", "parts") == 0
    assert "6 videos to learn from, 3 to check with" in said(capsys)

    lay_out(here / "parts", source, "raw", "run")
    for command in (["train", "--config", "tiny.yaml", "--data"], ["check-data"]):
        assert cli.main([*command, "parts"]) == 1
        shown = capsys.readouterr()
        assert "(dev, train) and beside them 'raw'" in shown.out + shown.err


def test_two_classes_have_no_top_5(here: Path, capsys: pytest.CaptureFixture[str]):
    assert train("--data", "set") == 0
    assert evaluated()

    shown = capsys.readouterr()
    page = Path("out/report.html").read_text() if Path("out/report.html").exists() else ""
    lines = Path("run/metrics.jsonl").read_text()
    for text in (shown.out, shown.err, page, lines, Path("out/eval.json").read_text()):
        assert "top5" not in text
        assert "top-5" not in text


@pytest.mark.parametrize("command", ["predict --weights run", "check-data", "extract --output o"])
def test_network_addresses_are_named_whole(
    here: Path, command: str, capsys: pytest.CaptureFixture[str]
):
    if "weights" in command or "extract" in command:
        assert train("--data", "set", "--valid-interval", "0") == 0
    words = [*command.split(), "rtsp://camera/1?user=a"]
    words += ["--weights", "run"] if "extract" in command else []

    assert cli.main(words) == 1
    assert "rtsp://camera/1?user=a: a network address; only files are read" in said(capsys)
