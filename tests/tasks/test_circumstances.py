"""A run stores what it computes with, and tells on a resume what of it has changed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from tests.tasks.tiny_runs import make_world, train, write_config
from videozoo import cli
from videozoo.engine.devices import kept_settings
from videozoo.engine.run_folder import RunFolder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("world")
    make_world(folder, tasks=["moments"])
    train(write_config(folder, folder, "tall", epochs=1), folder / "run")
    return folder / "run"


def started(run: Path, **changes: Any) -> dict[str, Any]:
    """What the run says of its start, after changes of what it computed with."""
    start = json.loads((run / "start.json").read_text())
    start["circumstances"] |= changes
    (run / "start.json").write_text(json.dumps(start))
    return start


def test_a_run_stores_what_its_bits_depend_on(run: Path):
    start = started(run)

    found = start["circumstances"]
    assert found["threads"] == torch.get_num_threads()
    assert (found["processes"], found["device"]) == (1, "cpu")
    assert (found["torch"], found["numpy"], found["av"]) == (
        torch.__version__,
        np.__version__,
        av.__version__,
    )
    assert found["ffmpeg"].startswith("libavcodec ")
    assert start["config"]["train"]["seed"] == 0
    assert start["config"]["data"]["num_workers"] == 0
    assert (start["pretrain"], start["drop"]) == (None, [])


def test_a_resumed_run_says_what_it_computes_with_now(
    run: Path, capsys: pytest.CaptureFixture[str]
):
    before = started(run)["circumstances"]
    started(run, threads=7, torch="1.0", processes=4)
    capsys.readouterr()

    assert cli.main(["train", "--resume", str(run), "--epochs", "2"]) == 0

    said = capsys.readouterr().err
    assert f"threads: 7 -> {before['threads']}" in said
    assert "as before: OMP_NUM_THREADS=7" in said
    assert "processes: 4 -> 1 (as before: torchrun --nproc_per_node=4)" in said
    assert f"torch: 1.0 -> {torch.__version__} (as before: install torch 1.0)" in said
    assert "does not go on bit for bit" in said
    lines = [line for line in RunFolder(run).read_metrics() if line["kind"] == "resumed"]
    assert [line["threads"] for line in lines] == [before["threads"]]
    started(run, **before)
    capsys.readouterr()
    assert cli.main(["train", "--resume", str(run), "--epochs", "2"]) == 0
    assert "bit for bit" not in capsys.readouterr().err


def test_what_follows_a_run_computes_as_before():
    threads = torch.get_num_threads()

    with kept_settings(deterministic=True):
        torch.set_num_threads(threads + 1)
        assert torch.are_deterministic_algorithms_enabled()

    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()
