"""Runs that go on: from anywhere, by what they know, and with changes said or refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file

from videozoo import cli
from videozoo.data.synthetic.clips import make_clips
from videozoo.engine.run_folder import RunFolder
from videozoo.weights.files import read_metadata

CONFIG = """
model: {name: tsm, num_classes: 3, depth: 18, width: 0.125, num_segments: 2}
data: {train: none.list, short_side: 40, crop_size: 32, flip: 0, num_workers: 0, val_share: 0.25}
train: {epochs: 1, batch_size: 4, learning_rate: 0.05, schedule: cosine}
"""
CLASSES = ("clap", "jump", "wave")


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("clips")
    clips = make_clips(folder, num_train=16, num_val=0, num_test=0, seed=0, size=40, num_frames=8)
    lines = clips.train_list.read_text().splitlines()
    return [clips.folder / line.rpartition(" ")[0] for line in lines]


@pytest.fixture
def project(videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to train in: `work/`, with the videos beside it in `real/`; the current one."""
    for number, video in enumerate(videos[:12]):
        target = tmp_path / "project" / "real" / CLASSES[number // 4] / f"{number}.mp4"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(video, target)
    work = tmp_path / "project" / "work"
    work.mkdir()
    (work / "tiny.yaml").write_text(CONFIG)
    monkeypatch.chdir(work)
    return tmp_path / "project"


def train(*words: str | Path) -> int:
    return cli.main(["train", *map(str, words)])


def begin(*words: str | Path) -> None:
    line = ("--config", "tiny.yaml", "--data", "../real", "--save-dir", "run")
    assert train(*line, "--log-interval", "1", *words) == 0


def rename(project: Path, old: str, new: str) -> None:
    (project / "real" / old).rename(project / "real" / new)


def epochs(run: Path) -> list[dict[str, Any]]:
    return [line for line in RunFolder(run).read_metrics() if line["kind"] == "epoch"]


# --- the run is enough -----------------------------------------------------------------------


def test_a_run_goes_on_by_its_name_alone_from_anywhere(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begin("--epochs", "1", "--valid-interval", "0", "--set", "train.schedule=constant")
    monkeypatch.chdir(tmp_path)

    assert train("--resume", "project/work/run", "--epochs", "2") == 0

    monkeypatch.chdir(project / "work")
    line = ("--config", "tiny.yaml", "--data", "../real", "--save-dir", "whole", "--epochs", "2")
    assert train(*line, "--valid-interval", "0", "--set", "train.schedule=constant") == 0
    one, other = (load_file(Path(run) / "weights/epoch_2.safetensors") for run in ("run", "whole"))
    assert all(torch.equal(one[name], value) for name, value in other.items())
    assert not any(key.startswith("valid_") for line in epochs(Path("run")) for key in line)


def test_resume_says_which_folder_is_no_run(project: Path, capsys: pytest.CaptureFixture[str]):
    assert train("--resume", "nowhere") == 1
    assert "--resume nowhere: holds no run" in capsys.readouterr().err

    begin()
    capsys.readouterr()
    assert train("--resume", "run", "--save-dir", "other") == 2
    assert "different folders" in capsys.readouterr().err
    assert train("--resume", "--save-dir", "run") == 0


# --- paths -----------------------------------------------------------------------------------


def test_a_run_stores_what_its_paths_meant(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    begin()

    stored = yaml.safe_load(Path("run/config.yaml").read_text())
    weights = read_metadata(Path("run/best.safetensors"))
    for config in (stored, weights["config"]):
        assert config["data"]["train"] == str(project / "real")
    assert "data.train: ../real" in Path("run/config.yaml").read_text()
    assert weights["relative_paths"] == {"data.train": "../real"}

    monkeypatch.chdir(tmp_path)
    assert cli.main(["eval", "--weights", "project/work/run", "--save-dir", "eval"]) == 0
    assert json.loads(Path("eval/eval.json").read_text())["videos"] == 5


def test_a_project_that_was_moved_is_found_from_within_and_named_from_without(
    project: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    begin()
    project.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "moved" / "work")
    assert cli.main(["eval", "--weights", "run", "--save-dir", "eval"]) == 0
    assert train("--resume", "run", "--epochs", "2") == 0
    assert read_metadata(Path("run/weights/epoch_2.safetensors"))["relative_paths"] == {
        "data.train": "../real"
    }

    shutil.copytree(tmp_path / "moved" / "work" / "run", tmp_path / "run")
    shutil.rmtree(tmp_path / "moved" / "real")
    monkeypatch.chdir(tmp_path)
    capsys.readouterr()
    assert cli.main(["eval", "--weights", "run"]) == 1
    error = capsys.readouterr().err
    assert f"{project / 'real'} is data.train of run/best.safetensors" in error
    assert "which was ../real there" in error
    assert "name another: --data PATH" in error
    assert train("--resume", "run", "--epochs", "3") == 1
    assert "is data.train of run/config.yaml" in capsys.readouterr().err


def test_weights_of_an_earlier_version_mean_their_paths_from_here(
    project: Path, monkeypatch: pytest.MonkeyPatch
):
    begin()
    config = Path("run/config.yaml")
    config.write_text(config.read_text().replace(str(project / "real"), "../real"))
    Path("run/start.json").unlink()

    assert train("--resume", "run", "--epochs", "2") == 0


def test_data_of_another_kind_is_taken_for_what_it_is(project: Path):
    begin()
    files = sorted(project.glob("real/*/*.mp4"))
    Path("some.list").write_text(
        "".join(f"{file} {CLASSES.index(file.parent.name)}\n" for file in files)
    )

    words = ["eval", "--weights", "run", "--data", "some.list", "--save-dir", "eval"]
    assert cli.main(words) == 0

    assert json.loads(Path("eval/eval.json").read_text())["videos"] == 12


# --- what has changed ------------------------------------------------------------------------


@pytest.mark.parametrize("start_is_known", [True, False])
def test_a_run_does_not_go_on_with_classes_of_other_names(
    project: Path, capsys: pytest.CaptureFixture[str], start_is_known: bool
):
    begin()
    if not start_is_known:  # as of an earlier version
        Path("run/start.json").unlink()
    rename(project, "clap", "zap")  # the others move up
    before = sorted(Path("run").rglob("*"))
    capsys.readouterr()

    assert train("--resume", "run", "--epochs", "2") == 1

    error = capsys.readouterr().err
    assert "run: its classes are now other ones" in error
    assert "0: clap then, jump now" in error
    assert "--pretrain run --save-dir ANOTHER_FOLDER" in error
    assert sorted(Path("run").rglob("*")) == before


def test_a_run_does_not_go_on_with_classes_in_another_order(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    begin()
    for old, new in (("clap", "x"), ("wave", "clap"), ("x", "wave")):
        rename(project, old, new)
    names = project / "names.json"
    names.write_text(json.dumps(["wave", "jump", "clap"]))
    capsys.readouterr()

    assert train("--resume", "run", "--epochs", "2", "--set", f"data.class_names={names}") == 1

    assert "its classes are now in another order" in capsys.readouterr().err


def test_changes_are_listed_since_the_run_began(project: Path, capsys: pytest.CaptureFixture[str]):
    begin()
    capsys.readouterr()
    words = ("--resume", "run", "--batch-size", "2", "--set", "data.num_workers=1")
    assert train(*words, "--epochs", "2") == 0
    said = capsys.readouterr().err
    assert "changed since the run began:" in said
    assert "train.batch_size: 4 -> 2" in said
    assert "train.epochs: 1 -> 2" in said
    assert "num_workers:" not in said
    assert "WARNING" not in said  # validation is as it was

    assert train("--resume", "run", "--epochs", "3") == 0
    said = capsys.readouterr().err
    assert "train.batch_size: 4 -> 2" in said
    assert "train.epochs: 1 -> 3" in said

    assert train("--resume", "run", "--epochs", "4", "--set", "data.val_share=0.5") == 0
    said = capsys.readouterr().err
    assert "data.val_share: 0.25 -> 0.5" in said
    assert re.search(r"number of videos to check with: 5 -> [6-9]", said)
    assert "WARNING: the best top-1 so far" in said
    assert "was measured before data.val_share" in said


def test_a_run_without_changes_says_nothing_of_them(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    begin()
    assert train("--resume", "run") == 0
    assert "changed" not in capsys.readouterr().err


# --- fine-tuning -----------------------------------------------------------------------------


def test_fine_tuning_takes_classes_by_their_names(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    begin()
    rename(project, "clap", "zap")
    capsys.readouterr()
    tuned = ("--config", "tiny.yaml", "--data", "../real", "--save-dir", "tuned")

    assert train(*tuned, "--pretrain", "run", "--learning-rate", "1e-12") == 0

    said = capsys.readouterr().err
    assert "classes by name: 2 of 3 taken; fresh: zap" in said
    old = load_file("run/best.safetensors")["head.weight"]
    new = load_file("tuned/weights/epoch_1.safetensors")["head.weight"]
    torch.testing.assert_close(new[:2], old[1:], rtol=0, atol=1e-6)
    assert not torch.allclose(new[2], old[0], atol=1e-3)
    assert not torch.allclose(new[2], old[2], atol=1e-3)


# --- starts that fail ------------------------------------------------------------------------


def test_an_unreadable_video_ends_a_training_with_workers_at_once_and_leaves_no_folder(
    project: Path,
):
    """Also with --debug, where the traceback holds on to them."""
    for video in project.glob("real/*/*.mp4"):
        video.write_bytes(b"not a video")

    done = subprocess.run(
        [
            *(sys.executable, "-m", "videozoo", "train", "--debug", "--config", "tiny.yaml"),
            *("--data", "../real", "--save-dir", "run", "--set", "data.num_workers=2"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert done.returncode == 1
    assert "DataError" in done.stderr
    assert not Path("run").exists()
