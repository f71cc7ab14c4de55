"""Take one guard out of a copy of the package, run the test that must see it, and put it back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

ROOT = Path(__file__).parents[2]
TABLE = Path(__file__).with_name("table.toml")
PLUGIN = "tests.guards.watch"
IMPORTED = (
    *("pytest", "_pytest.doctest", "hypothesis", "numpy", "torch", "safetensors.torch"),
    *("pydantic", "yaml", "av", "PIL.Image", "rich.console", "h5py"),
)
"""What takes seconds to import, and is not of the package."""
SEEN, UNGUARDED, ERROR = "seen", "NOT GUARDED", "error"
_BROKEN = re.compile(r"(NameError|UnboundLocalError|SyntaxError|IndentationError|ImportError)\b")
_TEST_SECONDS, _MOST_SECONDS = 300, 400.0
_CPU_SECONDS = 60
"""Of the process of one test; a guard against endless work may be out."""
_MOST_SHOWN = 160


@dataclass(frozen=True, kw_only=True)
class Guard:
    """A row of the table: what is promised, the lines that keep it, and the test that sees it."""

    group: str
    promise: str
    file: str
    """Below `src/videozoo`."""
    lines: str
    """They are in the file once."""
    instead: str
    """What is put in their place; often nothing."""
    test: str
    """Below `tests`."""

    @property
    def name(self) -> str:
        return f"{self.group}: {self.promise}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a test without its guard."""

    outcome: str
    """`SEEN`, `UNGUARDED` or `ERROR`."""
    said: str
    """The failure, or what is wrong with the row."""
    seconds: float = 0.0


def read_table(path: Path = TABLE) -> list[Guard]:
    """The rows of a table, in order."""
    groups = cast("dict[str, list[dict[str, str]]]", tomllib.loads(path.read_text("utf-8")))
    return [
        Guard(group=group, **({"instead": ""} | row))
        for group, rows in groups.items()
        for row in rows
    ]


def fault_of(guard: Guard, root: Path = ROOT) -> str:
    """What is wrong with a row by itself; "" if nothing is."""
    file, (test, _, function) = root / "src" / "videozoo" / guard.file, guard.test.partition("::")
    if not file.is_file():
        return f"there is no file {guard.file}"
    text = file.read_text("utf-8")
    count = text.count(guard.lines) if guard.lines else 0
    if count != 1:
        first = guard.lines.strip().partition("\n")[0]
        return f"its lines are {count} times in {guard.file}, expected once: {first}"
    path = root / "tests" / test
    wanted = re.compile(rf"^ *def {re.escape(function.partition('[')[0])}\(", re.MULTILINE)
    if not path.is_file() or not wanted.search(path.read_text("utf-8")):
        return f"there is no test {guard.test}"
    return ""


class Copy:
    """A copy of the package, in which guards are taken out one at a time."""

    def __init__(
        self, folder: Path, root: Path = ROOT, *, imported: Iterable[str] = IMPORTED
    ) -> None:
        self.source = folder / "src"
        self.root = root
        self._imported = tuple(imported)
        self._process: subprocess.Popen[str] | None = None
        shutil.copytree(
            root / "src", self.source, ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
        )
        if (root / "configs").is_dir():  # which the package reads two folders above itself
            shutil.copytree(root / "configs", folder / "configs")

    @contextmanager
    def without(self, guard: Guard) -> Generator[None]:
        """Within the block, the lines of a guard are taken out."""
        file = self.source / "videozoo" / guard.file
        whole = file.read_text("utf-8")
        file.write_text(whole.replace(guard.lines, guard.instead), "utf-8")
        try:
            yield
        finally:
            file.write_text(whole, "utf-8")

    def run(
        self,
        tests: Iterable[str],
        *,
        seconds: float = _MOST_SECONDS,
        cpu_seconds: int = _CPU_SECONDS,
    ) -> dict[str, Any]:
        """Run tests on the copy.

        Returns:
            `status`: of pytest, None if it did not end in time. `passed`, `failed`, `skipped`:
            numbers of tests. `said`: the first failure. `output`: the end of what it printed.
        """
        with TemporaryDirectory() as aside:
            report, output = Path(aside) / "report.json", Path(aside) / "output.txt"
            arguments = ["-x", "-q", "-p", PLUGIN, "-p", "pytest_timeout", "-p", "no:cacheprovider"]
            arguments += ["-o", f"timeout={_TEST_SECONDS}", f"--basetemp={aside}/temporary"]
            request = {
                "arguments": [*arguments, *(f"tests/{test}" for test in tests)],
                "report": str(report),
                "output": str(output),
                "seconds": seconds,
                "cpu_seconds": cpu_seconds,
            }
            status = self._asked(request)
            counted: dict[str, Any] = {"passed": 0, "failed": 0, "skipped": 0, "said": ""}
            if report.is_file():
                counted |= json.loads(report.read_text("utf-8"))
            said = output.read_text("utf-8", errors="replace") if output.is_file() else ""
            return counted | {"status": status, "output": said[-2000:]}

    def close(self) -> None:
        """End the process that runs the tests."""
        if self._process is not None:
            self._process.communicate()
        self._process = None

    def _asked(self, request: dict[str, Any]) -> int | None:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.guards.forking", *self._imported],
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        given, answers = self._process.stdin, self._process.stdout
        assert given is not None
        assert answers is not None
        given.write(json.dumps(request) + "\n")
        given.flush()
        return json.loads(answers.readline())

    def _environment(self) -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if "PYTEST" not in name} | {
            "PYTHONPATH": str(self.source),
            "PYTHONDONTWRITEBYTECODE": "1",  # of a file that changes within a second
            "OMP_NUM_THREADS": "1",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # they take longer than most tests
            "GUARDS_SOURCE": str(self.source),
        }


def try_out(guard: Guard, copy: Copy) -> Verdict:
    """Run the test of a guard without it."""
    if fault := fault_of(guard, copy.root):
        return Verdict(outcome=ERROR, said=fault)
    text = (copy.root / "src" / "videozoo" / guard.file).read_text("utf-8")
    try:
        compile(text.replace(guard.lines, guard.instead), guard.file, "exec")
    except SyntaxError as error:
        return Verdict(outcome=ERROR, said=f"{guard.file} is no Python without its lines: {error}")
    began = time.monotonic()
    with copy.without(guard):
        found = copy.run([guard.test])
    outcome, said = judged(found)
    return Verdict(outcome=outcome, said=said, seconds=time.monotonic() - began)


def judged(found: dict[str, Any]) -> tuple[str, str]:
    """The outcome of a run without a guard, and what was said."""
    status, said = found["status"], " ".join(str(found["said"]).split())[:_MOST_SHOWN]
    if status is None:
        return SEEN, "the test does not end"
    if status < 0:
        return SEEN, f"the process of the test ends by signal {-status}"
    if status and found["failed"]:
        return (ERROR, f"the code is broken: {said}") if _BROKEN.match(said) else (SEEN, said)
    if status == 0 and found["passed"]:
        return UNGUARDED, "the test passes without it"
    return ERROR, f"the test does not run (status {status}): {found['output'][-300:]}"
