"""The same run twice is the same, bit for bit; what changes bits, changes them by a known little.

`docs/determinism.md` says what holds for whom; each of its figures is tested or measured here. The
runs of the other process start with another hash seed of Python, too.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.forked import Fork, Forks
from tests.tasks import tiny_runs
from tests.tasks.tiny_runs import (
    MODELS,
    answer,
    answering,
    answers_of,
    different,
    metrics_of,
    train,
    weights_of,
    write_config,
)
from videozoo import cli
from videozoo.data.synthetic.clips import make_clips

SECONDS = 900  # on a machine with other work
QUICK = ("tsm", "nextvlad", "bsn", "ets", "tall")
"""One model per task."""
SAME = pytest.mark.guarantee(
    "The same run is the same, bit for bit, in another process and with other workers"
)
OTHER_SEED = pytest.mark.guarantee("Another seed is another run")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    tiny_runs.make_world(folder)
    return folder


def assert_same_run(ours: Path, theirs: Path) -> None:
    assert different(weights_of(ours), weights_of(theirs)) == {}
    assert metrics_of(ours) == metrics_of(theirs) != []


def ended(fork: Fork) -> None:
    fork.wait(SECONDS)
    assert fork.returncode == 0, fork.errors()


# --- the same again --------------------------------------------------------------------------


@SAME
@pytest.mark.timeout(SECONDS)
def test_a_run_repeats_bit_for_bit_in_another_process_with_other_workers(
    world: Path, tmp_path: Path, forks: Forks
):
    """Every task: training, evaluation, prediction."""
    configs = {model: write_config(tmp_path, world, model, epochs=1) for model in QUICK}
    there = {model: tmp_path / "there" / model for model in QUICK}
    other = forks.start_all(
        [
            line
            for model in QUICK
            for line in lines_of(configs[model], world, model, there[model], workers=2)
        ]
    )
    here = {model: tmp_path / "here" / model for model in QUICK}

    for model in QUICK:
        for line in lines_of(configs[model], world, model, here[model], workers=0):
            assert cli.main(line) == 0

    ended(other)
    for model in QUICK:
        assert_same_run(here[model] / "run", there[model] / "run")
        found = answers_of(here[model])
        assert found == answers_of(there[model])
        assert {name.split("/")[0] for name in found} >= {"eval", "predict"}


def lines_of(config: Path, world: Path, model: str, target: Path, *, workers: int) -> Any:
    """The commands that train, evaluate and predict."""
    reading = ["--set", f"data.num_workers={workers}"]
    run = target / "run"
    return [
        tiny_runs.training(config, run, *reading),
        *tiny_runs.answering(world, run, model, target, *reading),
    ]


@OTHER_SEED
@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=() if model in ("ets", "tall") else pytest.mark.slow)
        for model in MODELS
    ],
)
def test_another_seed_gives_another_run(model: str, world: Path, tmp_path: Path):
    """Else equal runs would prove nothing."""
    config = write_config(tmp_path, world, model, epochs=1)
    for seed in (0, 1):
        train(config, tmp_path / f"{seed}", "--seed", str(seed))

    weights = weights_of(tmp_path / "0")
    learnt = {name for name in weights if name.endswith("weight") and "norm" not in name}
    found = different(weights, weights_of(tmp_path / "1"))
    assert len(found.keys() & learnt) > 0.5 * len(learnt)
    assert max(found.values()) > 0.01
    assert metrics_of(tmp_path / "0") != metrics_of(tmp_path / "1")


@SAME
def test_a_run_repeats_from_its_folder_alone(world: Path, tmp_path: Path):
    train(write_config(tmp_path, world, "tall", epochs=1), tmp_path / "run", "--seed", "5")

    train(tmp_path / "run" / "config.yaml", tmp_path / "again")

    assert_same_run(tmp_path / "again", tmp_path / "run")


def test_demo_clips_are_the_same_files_again(tmp_path: Path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        make_clips(
            tmp_path / name, num_train=2, num_val=1, num_test=1, seed=seed, size=32, num_frames=8
        )
    contents = [
        {path.name: path.read_bytes() for path in sorted((tmp_path / name).rglob("*.mp4"))}
        for name in ("a", "b", "c")
    ]

    assert contents[0] == contents[1]
    assert all(contents[0][name] != other for name, other in contents[2].items())


# --- every model, and what changes bits ------------------------------------------------------


@pytest.fixture
def whole(request: pytest.FixtureRequest, world: Path, tmp_path: Path) -> tuple[str, Path, Path]:
    """A model, its configuration and a run of two epochs with one thread and no workers."""
    model: str = request.param
    config = write_config(tmp_path, world, model, epochs=1 if model == "ctcn" else 2)
    train(config, tmp_path / "run")
    return model, config, tmp_path / "run"


EVERY_MODEL = pytest.mark.parametrize("whole", MODELS, indirect=True)


@SAME
@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
@EVERY_MODEL
def test_workers_change_no_bit(
    whole: tuple[str, Path, Path], world: Path, tmp_path: Path, forks: Forks
):
    """0, 1 and 4 of them, of which a machine runs as many as it has cores."""
    model, config, run = whole
    answer(world, run, model, tmp_path)
    for workers in (1, 4):
        target = tmp_path / f"{workers}"
        reading = ("--set", f"data.num_workers={workers}")
        lines = [tiny_runs.training(config, target / "run", *reading)]
        ended(forks.start_all([*lines, *answering(world, run, model, target, *reading)]))

        assert_same_run(target / "run", run)
        assert answers_of(target) == answers_of(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("whole", ["bmn", "tall"], indirect=True)
def test_threads_change_last_digits_and_repeat(
    whole: tuple[str, Path, Path], world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two threads do twice the same; one and two agree in the first step, and on given weights."""
    model, config, run = whole
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # or the run would choose for itself
    answer(world, run, model, tmp_path)
    torch.set_num_threads(2)
    try:
        for name in ("a", "b"):
            train(config, tmp_path / name)
        answer(world, run, model, tmp_path / "a")
    finally:
        torch.set_num_threads(1)

    assert_same_run(tmp_path / "b", tmp_path / "a")
    first, other = metrics_of(tmp_path / "a")[0], metrics_of(run)[0]
    assert first["loss"] == pytest.approx(other["loss"], rel=1e-5)
    alone, together = (numbers_of(answers_of(path)) for path in (tmp_path, tmp_path / "a"))
    assert together == pytest.approx(alone, rel=1e-4, abs=1e-5)


def numbers_of(value: Any) -> list[float]:
    """All numbers in an answer, in order."""
    if isinstance(value, dict):
        return [number for one in value.values() for number in numbers_of(one)]
    if isinstance(value, list):
        return [number for one in value for number in numbers_of(one)]
    return [float(value)] if isinstance(value, int | float) else []


@SAME
@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("whole", ["ets", "tall"], indirect=True)
def test_a_choice_of_settings_repeats_too(
    whole: tuple[str, Path, Path], tmp_path: Path, forks: Forks
):
    """Mixed precision and accumulation are other runs, each the same again. Asking for
    deterministic algorithms changes nothing on a CPU."""
    _, config, run = whole
    for name, words in (
        ("bf16", ("--set", "train.precision=bf16")),
        ("parts", ("--set", "train.gradient_accumulation=2")),
    ):
        train(config, tmp_path / name, *words)
        ended(forks.start(*tiny_runs.training(config, tmp_path / f"{name}2", *words)))
        assert_same_run(tmp_path / f"{name}2", tmp_path / name)
        assert different(weights_of(tmp_path / name), weights_of(run)) != {}

    train(config, tmp_path / "fixed", "--deterministic")

    assert_same_run(tmp_path / "fixed", run)


@pytest.mark.guarantee("Runs of two and four processes repeat and resume bit for bit")
@pytest.mark.slow
@pytest.mark.timeout(3 * SECONDS)
@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("model", [m for m in QUICK if m != "bsn"] + ["bmn"])
def test_ranks_repeat_and_resume_bit_for_bit(
    model: str, count: int, world: Path, tmp_path: Path, forks: Forks
):
    """With other workers, too. Not equal to one process: each draws for itself, and has batch
    norms of its own."""
    config = write_config(tmp_path, world, model, batch_size=8)
    commands = [
        tiny_runs.training(config, tmp_path / "a"),
        tiny_runs.training(config, tmp_path / "b", "--set", "data.num_workers=1"),
        tiny_runs.training(config, tmp_path / "c", "--epochs", "1"),
        ["train", "--resume", str(tmp_path / "c"), "--epochs", "2", "--log-interval", "1"],
    ]
    for rank in forks.start_ranks(count, commands):
        ended(rank)

    assert_same_run(tmp_path / "b", tmp_path / "a")
    assert_same_run(tmp_path / "c", tmp_path / "a")


@SAME
@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_damaged_videos_are_replaced_by_the_same_others(
    workers: int, world: Path, tmp_path: Path, forks: Forks
):
    clips = tmp_path / "clips"
    shutil.copytree(world / "clips", clips)
    damaged = sorted((clips / "videos").glob("train*"))[3]
    damaged.write_bytes(b"not a video")
    config = write_config(tmp_path, world, "tsm")
    words = ["--set", f"data.train={clips / 'train.list'}", "--set", "data.bad_video_share=0.5"]
    train(config, tmp_path / "a", *words)

    reading = ["--set", f"data.num_workers={workers}"]
    ended(forks.start(*tiny_runs.training(config, tmp_path / "b", *words, *reading)))

    assert_same_run(tmp_path / "b", tmp_path / "a")
