"""`videozoo doctor`: what is missing is named, with the line that installs it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from videozoo import cli
from videozoo.data.frames.pool import Outcome
from videozoo.errors import RunError
from videozoo.tasks import doctor
from videozoo.tasks.doctor import Finding, Requirement

ROOT = Path(__file__).parents[2]

HIDE = """
import sys

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
        if name in {broken!r}:
            raise RuntimeError("operator nms does not exist\\nmore of it")
        if name in {deadly!r}:
            import os
            os.abort()

sys.meta_path.insert(0, Hide())
"""


def examine_with(
    folder: Path, *, hidden: tuple[str, ...] = (), broken: tuple[str, ...] = (),
    deadly: tuple[str, ...] = (),
) -> tuple[int, dict[str, dict[str, Any]], str]:  # fmt: skip
    """Run the command where some modules cannot be imported: exit status, findings, stderr."""
    code = HIDE.format(hidden=hidden, broken=broken, deadly=deadly)
    (folder / "sitecustomize.py").write_text(code)
    described = folder / "videozoo-0.1.0.dist-info"  # found before the installed one
    described.mkdir()
    (described / "METADATA").write_text(
        "Metadata-Version: 2.4\nName: videozoo\nVersion: 0.1.0\n"
        "Requires-Dist: av>=15\nRequires-Dist: numpy>=1.26\nRequires-Dist: pillow>=11\n"
        "Requires-Dist: rich>=13\n"
        "Provides-Extra: export\nRequires-Dist: onnxruntime>=1.20; extra == 'export'\n"
        "Requires-Dist: no-such-package>=1; extra == 'export'\n"
        "Provides-Extra: report\nRequires-Dist: matplotlib>=3.9; extra == 'report'\n"
    )
    before = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    done = subprocess.run(
        [sys.executable, "-m", "videozoo", "doctor", "--json"],
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=280,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), *before])},
    )
    found = json.loads(done.stdout)
    assert (found["kind"], found["format"]) == ("doctor", 1)
    return done.returncode, {each["name"]: each for each in found["findings"]}, done.stderr


@pytest.fixture(scope="module")
def wounded(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """One package missing, one that raises, one that kills the process."""
    return examine_with(
        tmp_path_factory.mktemp("wounded"),
        hidden=("onnxruntime",),
        broken=("rich", "torchvision"),  # a torchvision that raises lies beside many a torch
        deadly=("matplotlib",),
    )


def test_a_missing_extra_is_named_with_its_pip_line(wounded: Any):
    _, findings, _ = wounded

    export = findings["[export]"]
    assert export["mark"] == "note"
    assert "onnxruntime missing, no-such-package missing" in export["value"]
    assert re.search(r"pip install (-c \S+ )?'videozoo\[export\]'$", export["advice"])


def test_a_package_that_raises_or_kills_the_process_is_a_line_not_the_end(wounded: Any):
    status, findings, error = wounded

    assert status == 1
    assert findings["rich"]["mark"] == "problem"
    assert "RuntimeError: operator nms does not exist" in findings["rich"]["value"]
    assert "more of it" not in findings["rich"]["value"]
    assert "ended the process" in findings["[report]"]["value"]
    assert error.startswith("videozoo: 1 thing that is needed does not work:\n  rich: ")
    assert "Traceback" not in error


def test_what_works_is_shown_to_work(wounded: Any):
    _, findings, _ = wounded

    assert findings["a clip"]["value"].startswith("written and read again")
    assert "h264" in findings["decoders"]["value"].split()
    assert re.match(r"\d+ usable", findings["CPU cores"]["value"])
    good = {"av", "numpy", "pillow", "GPU", "memory", "threads", "a clip"}
    assert {findings[name]["mark"] for name in good} <= {"ok", "note"}


def test_the_doctor_itself_needs_none_of_what_it_examines():
    code = "import sys, videozoo.tasks.doctor; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert not set(loaded) & {"torch", "numpy", "av", "PIL", "rich", "pydantic", "yaml"}


def test_requirements_are_read_as_python_writes_them():
    lines = ["torch>=2.6", 'onnx >=1.17 ; extra == "export"', "pyright[nodejs]; extra == 'dev'"]

    assert doctor.read_requirements(lines) == [
        Requirement("torch", "2.6", ""),
        Requirement("onnx", "1.17", "export"),
        Requirement("pyright", "", "dev"),
    ]


def test_an_old_package_is_a_problem():
    answers = {"av": Outcome({"version": "14.9.1"}), "numpy": Outcome({"version": "2.0.0"})}

    old, new = doctor._needed(
        [Requirement("av", "15", ""), Requirement("numpy", "1.26", "")], answers
    )

    assert (old.mark, new.mark) == ("problem", "ok")
    assert old.value == "14.9.1 is too old, 15 or newer is needed"
    assert "'av>=15'" in old.advice


def facts(**more: Any) -> dict[str, Any]:
    return {"cuda": None, "hip": None, "gpus": [], "mps": False, **more}


def test_a_gpu_and_a_torch_that_do_not_fit_are_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: "580.1")
    unused, too_old = doctor._gpu(facts()), doctor._gpu(facts(cuda="13.0"))
    gpus = [{"name": "H200", "bytes": 150 << 30, "capability": "9.0"}]
    fine = doctor._gpu(facts(cuda="13.0", gpus=gpus, bf16=True))
    monkeypatch.setattr(doctor, "_nvidia_driver", lambda: "")
    no_gpu, plain = doctor._gpu(facts(cuda="13.0")), doctor._gpu(facts())

    assert [each.mark for each in (unused, too_old, fine, no_gpu, plain)] == [
        "note", "note", "ok", "note", "ok",
    ]  # fmt: skip
    assert "CUDA build of torch" in unused.advice
    assert "nvidia-smi" in too_old.advice
    assert fine.value == "H200 (150 GiB, 9.0), with bf16, CUDA 13.0, driver 580.1"
    assert no_gpu.value == "none, though torch is built for CUDA 13.0"


def test_the_tested_torch_is_the_one_of_the_constraints():
    tested = ".".join(map(str, doctor._TESTED_TORCH))
    assert f"torch=={tested}." in (ROOT / "constraints.txt").read_text()

    assert (
        "tested with"
        in next(
            iter(doctor._torch(Outcome(facts(version="2.99.0", threads=1, cpu="", cpu_bf16=False))))
        ).value
    )


def test_limits_of_containers_are_found(tmp_path: Path):
    own = tmp_path / "cgroup"
    root = tmp_path / "sys"
    (root / "box").mkdir(parents=True)
    (root / "cpu" / "old").mkdir(parents=True)
    (root / "memory.max").write_text("max\n")
    (root / "box" / "memory.max").write_text("1073741824\n")
    (root / "cpu" / "old" / "cpu.cfs_quota_us").write_text("50000\n")

    def limit(groups: str, *names: str) -> str | None:
        own.write_text(groups)
        return doctor.cgroup_limit(names[0], names[1], root=root, own=own)

    memory = ("memory.max", "memory/memory.limit_in_bytes")
    assert limit("0::/box\n", *memory) == "1073741824"
    assert limit("0::/not/mounted\n", *memory) == "max"
    assert limit("4:cpu,cpuacct:/old\n", "cpu.max", "cpu/cpu.cfs_quota_us") == "50000"
    assert limit("", "none", "none/none") is None


def test_little_shared_memory_and_spinning_threads_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OMP_WAIT_POLICY", "active")
    monkeypatch.setattr(doctor, "_SMALL_SHM_BYTES", 1 << 60)

    (shared,) = doctor._shared_memory(tmp_path)
    threads = next(each for each in doctor._machine() if each.name == "idle threads")

    assert shared.mark == "note"
    assert "--shm-size" in shared.advice
    assert threads.mark == "note"
    assert not list(doctor._shared_memory(tmp_path / "none"))


def test_advice_stands_below_the_table_and_problems_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    findings = [
        Finding(group="packages", name="av", mark="problem", value="missing", advice="pip it"),
        Finding(group="machine", name="GPU", mark="ok", value="[red]none"),
    ]

    def found(_: str | None) -> list[Finding]:
        return findings

    monkeypatch.setattr(doctor, "examine", found)

    with pytest.raises(RunError, match="1 thing that is needed does not work:\n  av: pip it"):
        doctor.run()

    out = capsys.readouterr().out
    assert "[red]none" in out
    assert out.rstrip().endswith("What to do\n  pip it")


def test_weights_that_do_not_load_are_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):

    def nothing(*_: Any) -> dict[str, Any]:
        return {}

    for part in ("_try_all", "_needed", "_torch", "_video"):
        monkeypatch.setattr(doctor, part, nothing)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"\0" * 20)

    assert cli.main(["doctor", str(path)]) == 1

    assert str(path) in capsys.readouterr().err
