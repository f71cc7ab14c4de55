"""What the README says to type works as it is printed."""

import re
import shutil
from pathlib import Path

import pytest

from videozoo import cli, cli_v1
from videozoo.data.synthetic.clips import make_clips

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_python_lines_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    clips = make_clips(
        tmp_path / "clips", num_train=8, num_val=8, num_test=8, seed=0, num_frames=64
    )
    shutil.copy(clips.unseen[0], tmp_path / "some_video.mp4")
    monkeypatch.chdir(tmp_path)
    sizes = ["--set=model.width=0.125", "--set=data.crop_size=32", "--set=data.short_side=40"]
    config = ["--config", str(ROOT / "configs/demo/tsm.yaml"), "--save-dir", "runs/mine"]
    lists = [f"--set=data.{part}=clips/{part}.list" for part in ("train", "val", "test")]
    names = ["--set=data.class_names=clips/class_names.json", "--set=data.num_workers=0"]
    assert cli.main(["train", *config, "--epochs=1", *sizes, *lists, *names]) == 0
    shutil.copytree("runs/mine", "runs/tsm")  # in the text, a probe and a clip model
    capsys.readouterr()

    (script,) = blocks("python")
    exec(compile(script, "README.md", "exec"), {})

    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("some_video.mp4 ") for line in lines[:3])
    assert lines[3].startswith("VideoInfo(")
    assert lines[4].startswith("[VideoLabels('video 0': 8 labels, best '")
    assert lines[5:] == ["(64,)"]


def test_every_command_line_is_one_that_there_is(monkeypatch: pytest.MonkeyPatch):
    """Flags are parsed; nothing is run."""
    known = "setup|demo|test|check|parity|bench|train|eval|predict|inference"
    text = "\n".join(blocks("bash")).replace("\\\n", " ")
    lines = [line.partition("#")[0].split() for line in text.splitlines() if line.strip()]
    assert lines
    for words in lines:
        if words[:2] == ["bash", "run.sh"]:
            assert re.fullmatch(known, words[2]), words
        elif "videozoo" in words[0] and words[0] != "git":
            cli.build_parser().parse_args(words[1:])
        elif "train.py" in words:
            flags = words[words.index("train.py") + 1 :]
            cli_v1._train_parser("train.py").parse_args(flags)


def test_every_file_it_names_is_there():
    for name in re.findall(r"configs/[\w/]+\.yaml", README):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\((\w+\.md)\)", README):
        assert (ROOT / name).exists(), name
