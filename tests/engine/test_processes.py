import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.engine.process import OPTIONS, SETTINGS
from tests.engine.test_loop import lines
from tests.engine.toy import toy_module, train_toy

ROOT = Path(__file__).parents[2]


def run(path: Path, *, dropout: float = 0, stop_at: int = 0, resume: bool = False) -> str:
    """Train on two processes and return what they wrote to standard error."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    job = ["-m", "tests.engine.process", str(path), str(dropout), str(stop_at)]
    done = subprocess.run(
        [*torchrun, *job, "resume" if resume else "new"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert (done.returncode == 0) is (stop_at == 0), done.stderr
    return done.stderr


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_the_same_batch(tmp_path: Path):
    torch.manual_seed(0)
    _, alone = train_toy(tmp_path / "one", SETTINGS, module=toy_module(0), options=OPTIONS)

    messages = run(tmp_path / "two")

    assert "Warning" not in messages
    pairs = zip(lines(tmp_path / "one"), lines(tmp_path / "two"), strict=True)
    for one, two in pairs:
        assert two.pop("valid_processes", 2.0) == 2.0
        assert two.pop("kind") == one.pop("kind")
        assert two == pytest.approx(one, rel=1e-5)
    first = load_file(tmp_path / "one" / "last" / "module.safetensors")
    second = load_file(tmp_path / "two" / "last" / "module.safetensors")
    assert alone.history[-1]["total"] == 24
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_killed_processes_go_on_bit_for_bit(tmp_path: Path):
    run(tmp_path / "whole", dropout=0.5)
    run(tmp_path / "killed", dropout=0.5, stop_at=5)

    run(tmp_path / "killed", dropout=0.5, resume=True)

    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    whole = load_file(tmp_path / "whole" / "last" / "module.safetensors")
    killed = load_file(tmp_path / "killed" / "last" / "module.safetensors")
    for name, value in whole.items():
        torch.testing.assert_close(killed[name], value, rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_run_of_two_processes_goes_on_in_one(tmp_path: Path):
    run(tmp_path / "run", stop_at=5)

    _, result = train_toy(
        tmp_path / "run", SETTINGS, module=toy_module(0), options=OPTIONS, resume=True
    )

    assert [line["step"] for line in result.history] == [3, 6]
    assert [line["total"] for line in result.history] == [24, 24]


@pytest.mark.slow
def test_every_process_hears_that_the_folder_is_taken(tmp_path: Path):
    (tmp_path / "metrics.jsonl").touch()

    with pytest.raises(AssertionError) as caught:
        run(tmp_path)

    assert str(caught.value).count("RunError") >= 2
