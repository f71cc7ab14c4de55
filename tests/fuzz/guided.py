"""Fuzzing guided by coverage: atheris changes inputs, and keeps those that reach new lines.

The process that fuzzes is `guided_child`. What it holds for a fault is only a suspicion, since
measuring makes code slower and larger: each one is run again as an ordinary case, and that decides.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz.harness import ROOT, Child, Entry, Outcome, case_of, environment, fault_of

NEEDS = (
    "fuzzing guided by coverage needs atheris, which installs on Linux: `pip install atheris`; "
    "without it leave --guided out"
)
_COUNTS = re.compile(r"#(\d+)\s+\S+\s+(?:cov: (\d+) ft: \d+ )?corp: (\d+)")
_MOST_STARTS = 20
_GRACE_SECONDS = 180.0
"""To start, and for a case that hangs."""


@dataclass
class GuidedResult:
    """What came of an entry."""

    entry: str
    runs: int = 0
    coverage: int = 0
    """Places of `videozoo` that were reached, as atheris counts them."""
    inputs: int = 0
    """That reach something which the others do not."""
    faults: list[tuple[Outcome, str]] = field(default_factory=list[tuple[Outcome, str]])
    kept: list[Path] = field(default_factory=list[Path])
    """Folders of the faults."""

    def __str__(self) -> str:
        return (
            f"| {self.entry} | {self.runs:,} | {self.coverage:,} | {self.inputs:,} | "
            f"{len(self.faults)} |"
        )


GUIDED_HEAD = "| entry | cases | places reached | inputs kept | faults |\n" + "|---" * 5 + "|"


def is_installed() -> bool:
    """Whether atheris is there."""
    return importlib.util.find_spec("atheris") is not None


def run_guided(
    child: Child, entry: Entry, *, seconds: float, keep: Path, seed: int = 0,
    table: str = "tests.fuzz.entries",
) -> GuidedResult:  # fmt: skip
    """Fuzz one entry for some seconds, and keep the cases that break the law.

    Args:
        child: Decides about what was found.
        entry: The entry.
        seconds: Of the clock.
        keep: A folder per fault is made in `keep/ENTRY/`.
        seed: Of the random numbers.
        table: The module whose `BY_NAME` holds the entry.
    """
    result = GuidedResult(entry.name)
    work = Path(tempfile.mkdtemp(prefix="guided-"))
    try:
        ends = time.monotonic() + seconds
        for start in range(_MOST_STARTS):
            left = int(ends - time.monotonic())
            if left < 1:
                break
            _fuzz(entry, work, left, seed + start, table, result)
            if _is_judged(child, entry, work, keep, result):
                break
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def _fuzz(
    entry: Entry, work: Path, seconds: int, seed: int, table: str, result: GuidedResult
) -> None:
    """Run the process that fuzzes, until the time is over or an input ends it."""
    words = [sys.executable, "-m", "tests.fuzz.guided_child", str(work), table, entry.name]
    with (work / "said").open("w") as said:
        process = subprocess.Popen(
            [*words, str(seconds), str(seed)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=ROOT,
            env=environment(work),
        )
        try:
            process.wait(seconds + _GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    text = (work / "said").read_text("utf-8", "replace")
    found = _COUNTS.findall(text)
    if not found and not any((work / "ends").iterdir()):
        raise RuntimeError(f"{entry.name}: atheris did not start: {text[-2000:]}")
    runs, coverage, inputs = (int(one or 0) for one in (found or [(0, 0, 0)])[-1])
    result.runs += runs
    result.coverage, result.inputs = max(result.coverage, coverage), inputs


def _is_judged(child: Child, entry: Entry, work: Path, keep: Path, result: GuidedResult) -> bool:
    """Run what was held for faults as ordinary cases; whether no input had ended the process."""
    ended = sorted((work / "ends").iterdir())
    for path in ended:
        case_of(entry.seeds(), path.read_bytes()).write(work / "suspects" / path.name)
        path.unlink()
    for path in sorted((work / "suspects").iterdir()):
        one = child.ask(entry.name, f"guided-{path.name}", {"folder": str(path)})
        fault = fault_of(one)
        if fault is not None:
            target = keep / entry.name / f"guided-{path.name}"
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(path, target)
            result.faults.append((one, fault))
            result.kept.append(target)
        shutil.rmtree(path)
    return not ended
