"""Sixty kills: one training per task is killed at random moments, and ends as if it never was.

A run is killed, resumed, killed again, until it reaches its end; then another begins, until ten
kills were met. Half of them wait for a sign of a save and come within the next few milliseconds;
one in ten leaves the processes that read data behind.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.figures import Figures
from tests.forked import Fork, Forks
from tests.tasks.tiny_runs import make_training
from videozoo.engine.run_folder import RunFolder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL"),
]

MODELS = ("tsm", "nextvlad", "bmn", "bsn", "ets", "tall")
"""One of every task, and the one whose two parts are trained one after the other."""
KILLS, LEAST_INSIDE, MOST = 10, 2, 30
"""Kills of each model; more, all aimed at saves, where a busy machine has missed those."""
SEED = int(os.environ.get("KILLS_SEED", "1"))
"""What is drawn: how and when; not to the millisecond, as that is the machine's part."""
SAVE_SECONDS = 0.01
SECONDS = 240
NO_SAVE_YET = "start a new run there without --resume"


@dataclass
class Chain:
    """One training after the other, each killed again and again."""

    config: Path
    folder: Path
    forks: Forks
    whole_seconds: float
    chance: random.Random
    kills: list[str] = field(default_factory=list[str])
    """What came of each: "in a save" where it has left a half-written file."""
    runs: list[Path] = field(default_factory=list[Path])

    def go_on(self) -> None:
        """Until there were enough kills, and every run has come to its end."""
        while not (enough := self._are_enough) or not self._is_done:
            self._live(is_last=enough)

    @property
    def inside(self) -> int:
        """Kills within a save."""
        return self.kills.count("in a save")

    @property
    def _are_enough(self) -> bool:
        count = len(self.kills)
        return count >= KILLS and (self.inside >= LEAST_INSIDE or count >= MOST)

    _is_done = True
    _flag = ""

    def _live(self, *, is_last: bool) -> None:
        """One process, from its start to its end or its kill."""
        if self._is_done:
            self.runs.append(self.folder / f"run{len(self.runs)}")
            self._is_done, self._flag = False, ""
        run = self.runs[-1]
        process = self.forks.start(*words_of(self.config, run, self._flag))
        if not is_last and self._kill(process, run):
            self._flag = "--resume"
            return
        status, errors = process.wait(SECONDS), process.errors()
        if status == 0:
            self._is_done = True
            return
        # Killed before anything was saved.
        assert self._flag == "--resume", errors
        assert NO_SAVE_YET in errors, errors
        assert not any(run.rglob("complete")), errors
        self._flag = "--overwrite"

    def _kill(self, process: Fork, run: Path) -> bool:
        """Kill a process if it lives until then."""
        others = 0 if len(self.kills) >= KILLS else 1
        kind = self.chance.choices(["save", "any", "parent"], [5, 4 * others, others])[0]
        number, share = self.chance.randint(1, 6), self.chance.random()
        if kind == "save":
            wait_for_sign(process, run, number)
            time.sleep(share * SAVE_SECONDS)
        else:
            limit = time.monotonic() + share * self.whole_seconds
            while process.poll() is None and time.monotonic() < limit:
                time.sleep(0.002)
        if process.poll() is not None:
            return False
        if kind == "parent":
            os.kill(process.pid, signal.SIGKILL)
        else:
            os.killpg(process.pid, signal.SIGKILL)
        if process.wait(SECONDS) != -signal.SIGKILL:  # it came to its end in the same moment
            return False
        self.kills.append("in a save" if half_written(run) else kind)
        return True


def words_of(config: Path, run: Path, *flags: str) -> list[str]:
    words = ["train", "--config", str(config), "--save-dir", str(run)]
    return [*words, "--save-every", "2", "--log-interval", "1", *filter(None, flags)]


def half_written(run: Path) -> list[Path]:
    """What is there only within a save, of a run or of its two stages."""
    found: list[Path] = []
    for part in (run, run / "first", run / "second"):
        for folder in (part, part / "weights"):
            with suppress(FileNotFoundError):  # it goes as one looks
                found += [path for path in folder.iterdir() if path.suffix in (".new", ".old")]
    return found


def wait_for_sign(process: Fork, run: Path, number: int) -> None:
    """Wait until a run is within its save of that number, or has ended."""
    seen, was_there, polled = 0, False, 0
    while seen < number:
        is_there = bool(half_written(run))
        seen += is_there and not was_there
        was_there, polled = is_there, polled + 1
        if polled % 20 == 0 and process.poll() is not None:
            return
        time.sleep(0.001)  # the cores are for the runs


def differences(run: Path, expected: Path) -> list[str]:
    """What is not bit for bit as in the other run: weights, states, lines of the epochs."""
    found: list[str] = []
    files = {path.relative_to(expected) for path in expected.rglob("*.safetensors")}
    ours = {path.relative_to(run) for path in run.rglob("*.safetensors")}
    found += [f"{name}: in one of the two" for name in sorted(map(str, files ^ ours))]
    for file in sorted(files & ours):
        one, other = load_file(run / file), load_file(expected / file)
        found += [
            f"{file}: {name}"
            for name in sorted(one.keys() | other.keys())
            if name not in one or name not in other or not torch.equal(one[name], other[name])
        ]
    for metrics in sorted(expected.rglob("metrics.jsonl")):
        part = metrics.parent.relative_to(expected)
        if epochs(run / part) != epochs(metrics.parent):
            found.append(f"{part}: metrics of epochs")
    return found + [f"{path}: left behind" for path in half_written(run)]


def epochs(run: Path) -> list[object]:
    return [line for line in RunFolder(run).read_metrics() if line["kind"] == "epoch"]


@pytest.mark.guarantee(
    "A training killed with SIGKILL at any moment, resumed, ends bit for bit as if it never was"
)
@pytest.mark.parametrize("model", MODELS)
def test_killed_at_random_moments_a_run_goes_on_bit_for_bit(
    model: str, tmp_path: Path, forks: Forks, figures: Figures, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "data").mkdir()
    config = make_training(tmp_path / "data", model, num_workers=2)
    began = time.monotonic()
    whole = forks.start(*words_of(config, tmp_path / "whole"))
    assert whole.wait(SECONDS) == 0, whole.errors()
    seconds = time.monotonic() - began
    assert differences(tmp_path / "whole", tmp_path / "whole") == []
    chain = Chain(config, tmp_path, forks, seconds, random.Random(f"{SEED}/{model}"))

    chain.go_on()

    broken = {
        run.name: wrong for run in chain.runs if (wrong := differences(run, tmp_path / "whole"))
    }
    with capsys.disabled():
        print(
            f"\n{model}: KILLS_SEED={SEED}: {len(chain.kills)} kills, {chain.inside} of them "
            f"within a save, in {len(chain.runs)} runs of {seconds:.1f} s: {' '.join(chain.kills)}"
        )
    figures.add(cases=len(chain.kills), failures=len(broken))
    assert not broken
    assert chain.inside >= LEAST_INSIDE
