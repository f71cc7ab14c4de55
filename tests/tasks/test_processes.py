"""What two and four processes of torchrun find is what one finds."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.forked import Fork, Forks
from videozoo.data.synthetic.clips import SyntheticClips, make_clips
from videozoo.engine.run_folder import RunFolder

ROOT = Path(__file__).parents[2]
# Batch norms are frozen: each process would take statistics of its own share of a batch. Nothing
# is drawn per process either (dropout, mixup), so the processes do what one does, up to rounding.
CONFIG = """
model: {name: tsm, num_classes: 8, depth: 18, width: 0.125, num_segments: 2, dropout: 0}
data: {train: CLIPS/train.list, val: CLIPS/val.list, short_side: 40, crop_size: 32, flip: 0,
  num_workers: 1}
train:
  epochs: 2
  batch_size: 8
  learning_rate: 0.002
  gradient_accumulation: 2
  clip_gradient_norm: 1
  label_smoothing: 0.1
  freeze_batch_norm: all
  ema_decay: 0.9
eval: {num_clips: 2, num_crops: 3, batch_size: 4}
"""
SIZES = (1, 5, 7, 8, 13)
SLOWEST_SECONDS = 280
LAUNCHER = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> SyntheticClips:
    folder = tmp_path_factory.mktemp("clips")
    made = make_clips(
        folder, num_train=16, num_val=7, num_test=max(SIZES), seed=0, size=40, num_frames=8
    )
    lines = made.test_list.read_text().splitlines(keepends=True)
    for size in SIZES:
        (folder / f"test_{size}.list").write_text("".join(lines[:size]))
    return made


@pytest.fixture(scope="module")
def alone(clips: SyntheticClips, tmp_path_factory: pytest.TempPathFactory, forks: Forks) -> Path:
    """The folder of what one process does: `run/` and an evaluation for each size."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "tiny.yaml").write_text(CONFIG.replace("CLIPS", str(clips.folder)))
    run_forked([forks.start_all(commands(folder, folder, clips, SIZES))])
    return folder


def commands(
    folder: Path, of_one: Path, clips: SyntheticClips, sizes: tuple[int, ...]
) -> list[list[str]]:
    """Train into `folder`, and evaluate what one process has trained."""
    train = ["train", "--config", of_one / "tiny.yaml", "--save-dir", folder / "run"]
    evaluate = ["eval", "--no-report", "--weights", of_one / "run"]
    lines = [train] + [
        [*evaluate, "--save-dir", folder / str(size), "--data", clips.folder / f"test_{size}.list"]
        for size in sizes
    ]
    return [[str(word) for word in line] for line in lines]


def test_two_processes_find_together_what_one_finds(
    clips: SyntheticClips, alone: Path, tmp_path: Path, forks: Forks
):
    run_forked(forks.start_ranks(2, commands(tmp_path, alone, clips, SIZES)))

    assert_same_training(tmp_path, alone)
    assert_same_evaluations(tmp_path, alone, SIZES)


def test_four_processes_evaluate_as_one_does(
    clips: SyntheticClips, alone: Path, tmp_path: Path, forks: Forks
):
    sizes = (1, 7)

    run_forked(forks.start_ranks(4, commands(tmp_path, alone, clips, sizes)[1:]))

    assert_same_evaluations(tmp_path, alone, sizes)


@pytest.mark.slow
def test_four_processes_find_together_what_one_finds(
    clips: SyntheticClips, alone: Path, tmp_path: Path
):
    lines = commands(tmp_path, alone, clips, SIZES)
    lines[0] += ["--set", "train.gradient_accumulation=1"]  # 2 clips a process, as 4 in two parts

    run_together(4, lines, tmp_path)

    assert_same_training(tmp_path, alone)
    assert_same_evaluations(tmp_path, alone, SIZES)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM")
def test_sigterm_to_torchrun_saves(alone: Path, tmp_path: Path):
    """It reaches every process of the run, the loaders' too."""
    line = ["train", "--config", f"{alone / 'tiny.yaml'}", "--save-dir", f"{tmp_path / 'run'}"]
    line += ["--set", "train.epochs=60", "--log-interval", "1", "--valid-interval", "0"]
    launcher = launch(2, "videozoo", *line)
    folder = RunFolder(tmp_path / "run")
    while launcher.poll() is None and len(folder.read_metrics()) < 7:
        time.sleep(0.01)

    launcher.send_signal(signal.SIGTERM)
    _, errors = launcher.communicate(timeout=SLOWEST_SECONDS)

    assert errors.count("stopped by SIGTERM in epoch") == 2
    assert "unexpected" not in errors
    last = folder.last()
    assert last is not None
    position = json.loads((last / "state.json").read_text())["position"]
    assert position["step"] == folder.read_metrics()[-1]["step"]


def run_forked(processes: list[Fork]) -> None:
    """Wait for the end of the processes of a run."""
    for process in processes:
        _, errors = process.communicate(timeout=SLOWEST_SECONDS)
        assert process.returncode == 0, errors
        assert "Warning" not in errors


def run_together(processes: int, lines: list[list[str]], folder: Path) -> None:
    """Run commands, one after the other, in so many processes of torchrun."""
    script = folder / "commands.txt"
    script.write_text("\n".join(map(shlex.join, lines)))
    launcher = launch(processes, "tests.tasks.process", f"{script}")
    try:
        _, errors = launcher.communicate(timeout=SLOWEST_SECONDS)
    except subprocess.TimeoutExpired:
        launcher.terminate()  # and with it the processes, which a kill would leave behind
        raise
    assert launcher.returncode == 0, errors
    assert "Warning" not in errors


def launch(processes: int, module: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LAUNCHER, f"--nproc_per_node={processes}", "-m", module, *words],
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def assert_same_training(folder: Path, alone: Path) -> None:
    for line, expected in zip(epochs(folder), epochs(alone), strict=True):
        assert line == pytest.approx(expected, rel=1e-4)
    ours, theirs = (load_file(path / "run" / "best.safetensors") for path in (folder, alone))
    for name, value in theirs.items():
        assert ours[name].sub(value).abs().max() <= 1e-5 * (1 + value.abs().max()), name


def assert_same_evaluations(folder: Path, alone: Path, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        assert facts(folder, size) == facts(alone, size)


def epochs(folder: Path) -> list[dict[str, Any]]:
    """Numbers of each epoch, of training and validation."""
    lines = RunFolder(folder / "run").read_metrics()
    return [{**line, "kind": 0} for line in lines if line["kind"] == "epoch"]


def facts(folder: Path, size: int) -> Any:
    """An evaluation, without its times and in numbers that rounding does not reach."""
    found = json.loads((folder / str(size) / "eval.json").read_text())
    assert (found["videos"], found["views"]) == (size, 6 * size)
    assert len(found["results"]) == size
    rounded = [
        (result["video"], result["label"], [(c, round(score, 4)) for c, score in result["top"]])
        for result in found["results"]
    ]
    metrics = {name: round(value, 5) for name, value in found["metrics"].items()}
    return metrics, rounded, found["classes"], found["confusion"]
