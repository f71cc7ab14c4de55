"""The front door answers before it installs anything."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BASH = shutil.which("bash")
pytestmark = pytest.mark.skipif(BASH is None, reason="there is no bash")


def run(folder: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a copy of run.sh in a folder without `.venv`."""
    for name in ("run.sh", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return subprocess.run(
        ["bash", str(folder / "run.sh"), *words],
        capture_output=True,
        text=True,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", **variables},
    )


def fake_python(folder: Path, script: str) -> str:
    path = folder / "fakepython"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def test_help_lists_every_command(tmp_path: Path):
    done = run(tmp_path)

    assert done.returncode == 0
    for verb in ("setup", "demo", "test", "check", "parity", "bench", "train", "eval", "inference"):
        assert f"run.sh {verb}" in done.stdout


def test_an_unknown_command_says_which_there_are(tmp_path: Path):
    done = run(tmp_path, "tran")

    assert done.returncode == 2
    assert "unknown command 'tran'" in done.stderr


def test_an_old_python_is_said_in_one_line(tmp_path: Path):
    old = fake_python(tmp_path, 'case "$*" in *version_info*) exit 1;; *) echo 3.9.2;; esac')

    done = run(tmp_path, "setup", PYTHON=old)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "needs Python 3.11 or newer, found 3.9.2" in done.stderr


def test_a_missing_venv_module_is_said_in_one_line(tmp_path: Path):
    bare = fake_python(tmp_path, 'case "$*" in *ensurepip*) exit 1;; *) exit 0;; esac')

    done = run(tmp_path, "setup", PYTHON=bare)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no venv module" in done.stderr


def told(folder: Path, *words: str, **variables: str) -> list[str]:
    """What run.sh tells Python, where everything is installed."""
    folder.joinpath(".venv", "bin").mkdir(parents=True)
    fake = fake_python(folder, 'for word in "$@"; do echo "$word"; done')
    Path(fake).rename(folder / ".venv" / "bin" / "python")
    wanted = f"cat {ROOT}/pyproject.toml {ROOT}/constraints.txt | cksum"
    installed = subprocess.run(["bash", "-c", wanted], capture_output=True, text=True, check=True)
    (folder / ".venv" / "installed").write_text(installed.stdout)
    done = run(folder, *words, **variables)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    ("words", "flags"),
    [
        (
            ["STNET", "./configs/stnet.yaml"],
            ["--model_name=STNET", "--config=./configs/stnet.yaml"],
        ),
        (["STNET"], ["--model_name=STNET"]),
        (["./configs/stnet.yaml"], ["--config=./configs/stnet.yaml"]),
        (["STNET", "stnet"], ["--model_name=STNET", "--config=stnet"]),
    ],
)
@pytest.mark.parametrize(
    ("verb", "script"),
    [("train", "train.py"), ("eval", "eval.py"), ("inference", "inference_model.py")],
)
def test_the_2019_lines_take_a_model_a_configuration_or_both(
    tmp_path: Path, verb: str, script: str, words: list[str], flags: list[str]
):
    lines = told(tmp_path, verb, *words, "--batch_size=2", use_gpu="False")

    assert lines[0].endswith(script)
    assert [line for line in lines if line.startswith(("--model_name", "--config"))] == flags
    assert "--use_gpu=False" in lines
    assert lines[-1] == "--batch_size=2"


def test_the_2019_lines_need_at_least_one_of_them(tmp_path: Path):
    with pytest.raises(AssertionError, match=r"expected: bash run\.sh train NAME CONFIG"):
        told(tmp_path, "train", "--batch_size=2")


def test_minimum_tests_run_in_an_environment_of_their_own(tmp_path: Path):
    (tmp_path / "tools").mkdir()
    shutil.copy(ROOT / "tools" / "minimum.py", tmp_path / "tools")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_safe_it.py").touch()
    lowest = tmp_path / ".venv-minimum"
    (lowest / "bin").mkdir(parents=True)
    Path(fake_python(tmp_path, 'echo "$@"')).rename(lowest / "bin" / "python")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    tool = [sys.executable, str(tmp_path / "tools" / "minimum.py")]
    wanted = subprocess.run(tool, capture_output=True, text=True, check=True).stdout
    (lowest / "installed").write_text(wanted)

    part = run(tmp_path, "test", "--minimum", PYTHON=sys.executable)
    whole = run(tmp_path, "test", "--minimum", "--all", PYTHON=sys.executable)
    own = run(tmp_path, "test", "--minimum", "tests/engine", PYTHON=sys.executable)

    assert part.stdout.endswith(
        "tests/test_safe_it.py tests/data tests/encoders tests/report tests/weights\n"
    )
    assert whole.stdout.endswith("not slow and not gpu\n")
    assert own.stdout.endswith("not slow and not gpu tests/engine\n")


def test_a_signal_to_the_script_reaches_the_training(tmp_path: Path):
    told(tmp_path, "train", "TSN")
    python = tmp_path / ".venv" / "bin" / "python"
    python.write_text('#!/bin/sh\necho "$$"\n')
    started = subprocess.Popen(
        ["bash", str(tmp_path / "run.sh"), "train", "TSN"], stdout=subprocess.PIPE, text=True
    )

    number, _ = started.communicate(timeout=60)

    assert int(number) == started.pid
