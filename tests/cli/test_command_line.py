"""What the command line promises before any model is built."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from videozoo import cli, cli_v1
from videozoo.cli import parser

ROOT = Path(__file__).parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=120
    )


def imported(*arguments: str) -> set[str]:
    """Top-level modules a command imports."""
    done = run("-X", "importtime", "-m", "videozoo", *arguments)
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["train", "--help"],
        ["train", "--cofnig", "x"],
        ["trian"],
        ["models"],
        ["weights", "list"],
    ],
)
def test_help_and_mistakes_answer_without_heavy_imports(arguments: list[str]):
    assert not imported(*arguments) & {"torch", "numpy", "pydantic", "rich", "av", "accelerate"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "unknown command 'trian'; did you mean train?"),
        (["train", "--cofnig", "x"], "unknown flag --cofnig; did you mean --config?"),
        (["train", "--config=x.yaml", "--epocs=3"], "unknown flag --epocs; did you mean --epochs?"),
        (["--hlep"], "unknown flag --hlep; did you mean --help?"),
        (["config", "shw", "x.yaml"], "unknown command 'shw'; did you mean show?"),
        (
            ["train", "--config", "x.yaml", "--device", "cuad"],
            "unknown value of --device 'cuad'; did you mean cuda?",
        ),
        (["train"], "no configuration: pass --config FILE|NAME"),
        (["train", "--config", "x.yaml", "--epochs", "many"], "argument --epochs: invalid int"),
        (["predict", "--wieghts", "x", "a.mp4"], "unknown flag --wieghts; did you mean --weights?"),
    ],
)
def test_a_wrong_command_line_says_what_is_near_and_exits_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(arguments) == 2

    error = capsys.readouterr().err
    assert error.startswith("videozoo: ")
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model_name=STNET", "--config=no.yaml"], "no.yaml: cannot be read"),
        (["--model_name=STENT", "--config=configs/stnet.yaml"], "did you mean 'stnet'?"),
        (
            ["--model_name=TSM", "--config=configs/stnet.yaml"],
            "describes model 'stnet', but the command line says 'TSM'",
        ),
    ],
)
def test_wrong_input_is_one_message_and_exit_1(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(ROOT)

    assert cli_v1.train([*arguments, "--use_gpu=False"]) == 1

    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_video_may_have_the_name_of_a_flag(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["predict", "--weights", "gone", "--", "-odd.mp4"]) == 1

    assert "gone: no such weights file" in capsys.readouterr().err


def test_2019_flags_read_python_booleans(capsys: pytest.CaptureFixture[str]):
    line = ["--model_name=TSN", "--config=configs/tsn.yaml", "--use_gpu=maybe"]

    assert cli_v1.train(line) == 2
    assert "expected True or False, got 'maybe'" in capsys.readouterr().err


def test_the_models_are_listed_with_what_they_do(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["models"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {"tsn", "tsm", "stnet", "nonlocal"}
    assert all(re.match(r"\S+ +\S.{20,}", line) for line in lines)


def test_the_package_runs_as_a_module_and_as_2019_scripts():
    assert "COMMAND" in run("-m", "videozoo", "--help").stdout
    for script in ("train.py", "eval.py", "predict.py"):
        done = run(script, "--help")
        assert (done.returncode, "--model_name" in done.stdout) == (0, True)


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]):
    assert cli.main([]) == 0
    assert "COMMAND" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("videozoo ")


def test_an_unexpected_fault_is_one_message_without_traceback(capsys: pytest.CaptureFixture[str]):
    def broken() -> None:
        raise RuntimeError("the disk is on fire")

    assert cli.guarded(broken, debug=False) == 1
    assert "unexpected RuntimeError: the disk is on fire" in capsys.readouterr().err
    with pytest.raises(RuntimeError):
        cli.guarded(broken, debug=True)


def test_waiting_threads_sleep_unless_the_user_decides(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "to be put back")
    monkeypatch.delenv("OMP_WAIT_POLICY")
    cli.let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"

    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    cli.let_threads_sleep()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_a_process_ends_without_a_last_search_for_garbage():
    """With PyTorch, it takes 0.7 s of processor time."""
    code = """
from videozoo import cli

class Loop:
    def __init__(self):
        self.itself = self
    def __del__(self):
        print("found")

cli.main(["--version"])
Loop()
"""
    assert "found" not in run("-c", code).stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_one_error():
    with Path("/dev/full").open("w") as full:
        line = [sys.executable, "-m", "videozoo", "models", "tsm"]
        done = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True)

    assert (done.returncode, done.stderr) == (
        1,
        "videozoo: the output: cannot be written: No space left on device\n",
    )


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
@pytest.mark.parametrize(
    ("words", "closed", "status", "said"),
    [
        ("config list", ">&-", 1, "standard output: cannot be used: Bad file descriptor"),
        ("config list", ">/dev/full", 1, "the output: cannot be written: No space left on device"),
        ("config list", "2>&-", 0, "thumos14/bmn"),
        ("nonsense", "2>&-", 2, "videozoo: unknown command 'nonsense'"),
        ("nonsense", "2>/dev/full", 2, "videozoo: unknown command 'nonsense'"),
        ("nonsense", ">&- 2>&-", 2, ""),
    ],
)
def test_closed_and_full_outputs_are_told_where_it_is_possible(
    words: str, closed: str, status: int, said: str
):
    line = f"{shlex.quote(sys.executable)} -m videozoo {words} {closed}"

    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    done = subprocess.run(line, shell=True, capture_output=True, text=True, env=buffered)

    assert done.returncode == status
    assert said in done.stdout + done.stderr
    assert "fault of videozoo" not in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a shell of Unix")
def test_a_file_that_is_opened_does_not_take_the_place_of_a_closed_output(tmp_path: Path):
    """Else what libraries print would go into it."""
    code = (
        "import os, sys; from videozoo.cli.parser import guarded\n"
        "def run():\n"
        f"    with open({str(tmp_path / 'weights')!r}, 'w') as file:\n"
        "        os.write(2, b'a warning of a library')\n"
        "sys.exit(guarded(run, debug=False))"
    )

    done = subprocess.run(
        f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} 2>&-", shell=True, check=False
    )

    assert done.returncode == 0
    assert (tmp_path / "weights").read_text() == ""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(5, "Input/output error", "a.mp4"), "a.mp4: cannot be used: Input/output error"),
        (OSError(30, "Read-only file system", "/x"), "/x: cannot be used: Read-only file system"),
        (OSError(28, "No space left on device", "/x"), "/x: cannot be written: No space left"),
        (OSError(24, "Too many open files", "/x"), "/x: cannot be used: Too many open files"),
        (MemoryError(), "memory does not suffice: take smaller batches"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory does not suffice"),
    ],
)
def test_faults_of_the_machine_are_not_those_of_videozoo(
    error: Exception, said: str, capsys: pytest.CaptureFixture[str]
):
    def broken() -> None:
        raise error

    assert cli.guarded(broken, debug=False) == 1

    err = capsys.readouterr().err
    assert err.startswith(f"videozoo: {said}")
    assert "fault of videozoo" not in err


def test_weights_that_are_something_else_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs" / "a").mkdir(parents=True)
    (tmp_path / "runs" / "a" / "config.yaml").write_text("")
    (tmp_path / "runs" / "a" / "best.safetensors").write_text("")
    for weights, said in (
        ("tsm", "tsm: the name of a model, and no weights; its published weights are named by"),
        ("runs", "runs: a folder of runs; pass one of them, such as runs/a"),
    ):
        assert cli.main(["predict", "--weights", weights, "a.mp4"]) == 1
        assert said in capsys.readouterr().err


def test_a_reader_that_closes_early_is_no_failure():
    """As in `videozoo models tsm | head -1`: rich then ends the program by itself."""

    def command() -> None:
        try:
            raise BrokenPipeError
        except BrokenPipeError:
            raise SystemExit(1)  # noqa: B904 - as rich does it

    assert parser.guarded(command, debug=False) == 0
    with pytest.raises(SystemExit):
        parser.guarded(lambda: sys.exit(3), debug=False)
