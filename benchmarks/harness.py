"""What every benchmark shares: fair timing of several sides, targets, the table, the result line.

A side is a function without arguments. Sides take turns, so that load on the machine falls on all
alike, and are compared by medians of CPU time (on a GPU: time between events). Results are
compared for equality before anything is timed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Side = Callable[[], object]
RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parents[1]


class UnequalError(Exception):
    """Two sides that should compute the same do not; their times mean nothing."""


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    quick: bool = False
    """Sizes and rounds just large enough to see that everything runs."""
    full: bool = False
    """More sizes, peers and rounds."""


@dataclass(frozen=True)
class Timing:
    """Medians of one side, in milliseconds."""

    cpu_ms: float
    """User and system time of the whole process; on a GPU, time between events."""
    wall_ms: float
    wall_quartiles_ms: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A promise in numbers, and what was found."""

    name: str
    limit: float | None = None
    """None: a figure that nothing is promised about."""
    figure: float | None = None
    """None: not measured."""
    is_least: bool = True
    """The figure should be at least `limit`; else at most."""
    unit: str = "x"
    why_not: str = ""
    """Why it was not measured."""

    @property
    def holds(self) -> bool | None:
        """None where there is nothing to hold, or nothing was measured."""
        if self.figure is None or self.limit is None:
            return None
        return self.figure >= self.limit if self.is_least else self.figure <= self.limit

    def row(self) -> tuple[str, str, str, str]:
        """Target, figure, limit, and whether it holds."""
        figure = "-" if self.figure is None else f"{_short(self.figure)} {self.unit}"
        sign = ">=" if self.is_least else "<="
        limit = "" if self.limit is None else f"{sign} {_short(self.limit)} {self.unit}"
        words = {True: "yes", False: "NO", None: f"not measured: {self.why_not}"}
        return self.name, figure, limit, "" if self.limit is None else words[self.holds]


@dataclass(frozen=True)
class Outcome:
    """What one benchmark found."""

    benchmark: str
    targets: list[Target]
    figures: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Everything measured, by case and side."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions matter, ours aside."""

    def line(self, options: Options) -> dict[str, Any]:
        """One line for `results/`."""
        return {
            "benchmark": self.benchmark,
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "size": "quick" if options.quick else "full" if options.full else "default",
            "targets": [
                {
                    "name": target.name,
                    "figure": None if target.figure is None else float(_short(target.figure)),
                    "unit": target.unit,
                    "limit": target.limit,
                    "is_least": target.is_least,
                    "holds": target.holds,
                    **({"why_not": target.why_not} if target.why_not else {}),
                }
                for target in self.targets
            ],
            "figures": self.figures,
            "machine": machine(),
            "versions": versions(self.packages),
        }


def measure(
    sides: Mapping[str, Side], *, rounds: int, device: str = "cpu", warmup: int = 1
) -> dict[str, Timing]:
    """Time sides in turns.

    Args:
        sides: By name.
        rounds: Timings of each, at least 1.
        device: Where they compute: `cpu` or `cuda`.
        warmup: Untimed turns before.
    """
    for side in list(sides.values()) * warmup:
        side()
    clock = _time_on_gpu if device == "cuda" else _time_on_cpu
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for turn in range(rounds):
        names = list(sides)
        for name in names if turn % 2 == 0 else reversed(names):  # nobody is always the first
            taken[name].append(clock(sides[name]))
    return {name: _timing(pairs) for name, pairs in taken.items()}


def as_figures(timings: Mapping[str, Timing]) -> dict[str, dict[str, float]]:
    """Timings as they stand in a result line."""
    return {
        name: {
            "cpu_ms": round(timing.cpu_ms, 2),
            "wall_ms": round(timing.wall_ms, 2),
            "wall_q1_ms": round(timing.wall_quartiles_ms[0], 2),
            "wall_q3_ms": round(timing.wall_quartiles_ms[1], 2),
        }
        for name, timing in timings.items()
    }


def ratio(timings: Mapping[str, Timing], slow: str, fast: str) -> float:
    """How many times as long `slow` takes as `fast`."""
    return timings[slow].cpu_ms / max(timings[fast].cpu_ms, 1e-9)


def check_close(what: str, ours: Any, theirs: Any, *, most: float) -> float:
    """Largest difference of two arrays.

    Raises:
        UnequalError: It is above `most`, or shapes differ.
    """
    import numpy as np

    a, b = (np.asarray(values, dtype=np.float64) for values in (ours, theirs))
    if a.shape != b.shape:
        raise UnequalError(f"{what}: shapes {a.shape} and {b.shape}")
    difference = float(np.abs(a - b).max()) if a.size else 0.0
    if not difference <= most:
        raise UnequalError(f"{what}: differ by {difference:g}, allowed is {most:g}")
    return difference


def peer(module: str) -> tuple[Any, str]:
    """Import a library to compare with: (module, ""), or (None, why not)."""
    try:
        return importlib.import_module(module), ""
    except ImportError as error:
        package = module.partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            return None, f"{package} is not installed"
        return None, f"{module} does not import ({type(error).__name__})"
    except Exception as error:  # libraries with native parts may fail in any way
        return None, f"{module} does not import ({type(error).__name__})"


def one_thread() -> None:
    """Let PyTorch compute on one thread, so that CPU time is a fair measure."""
    import torch

    torch.set_num_threads(1)


def machine() -> dict[str, Any]:
    """What the figures were taken on, and how busy it was."""
    facts: dict[str, Any] = {
        "cpu": _cpu_name(),
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "vector_units": sorted(cpu_flags() & {"avx2", "avx512f", "avx512_bf16", "amx_bf16"}),
        "system": platform.system(),
        "python": platform.python_version(),
    }
    with contextlib.suppress(AttributeError, OSError):  # Windows has none
        facts["load_average"] = round(os.getloadavg()[0], 1)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def cpu_flags() -> set[str]:
    """Instruction sets as Linux names them; empty where it is not Linux."""
    for line in _cpu_info():
        if line.startswith(("flags", "Features")):
            return set(line.partition(":")[2].split())
    return set()


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of the distributions that are installed."""
    found: dict[str, str] = {}
    for name in ("videozoo", *packages):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def append(line: Mapping[str, Any], folder: Path = RESULTS) -> Path:
    """Add a line to the results of its benchmark; lines are never changed afterwards."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{line['benchmark']}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    return path


def table(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """Rows under a head, in columns."""
    every = [("target", "figure", "limit", "holds"), *rows]
    widths = [max(len(row[column]) for row in every) for column in range(3)]
    return "\n".join(
        "  ".join(
            (
                row[0].ljust(widths[0]),
                row[1].rjust(widths[1]),
                row[2].ljust(widths[2]),
                row[3],
            )
        ).rstrip()
        for row in every
    )


def main(run: Callable[[Options], Outcome], argv: Sequence[str] | None = None) -> None:
    """Run one benchmark from the command line and print its result line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="only see that everything runs")
    parser.add_argument("--full", action="store_true", help="more sizes and rounds")
    arguments = parser.parse_args(argv)
    options = Options(quick=arguments.quick, full=arguments.full)
    try:
        outcome = run(options)
    except UnequalError as error:
        sys.exit(f"unequal: {error}")
    print(json.dumps(outcome.line(options)))


def _time_on_cpu(side: Side) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    side()
    return 1000 * (time.process_time() - cpu), 1000 * (time.perf_counter() - wall)


def _time_on_gpu(side: Side) -> tuple[float, float]:
    import torch

    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    wall = time.perf_counter()
    start.record()
    side()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end), 1000 * (time.perf_counter() - wall)


def _timing(pairs: Sequence[tuple[float, float]]) -> Timing:
    cpu, wall = ([pair[place] for pair in pairs] for place in (0, 1))
    low, high = min(wall), max(wall)
    if len(wall) > 1:
        low, _, high = statistics.quantiles(wall, n=4, method="inclusive")
    return Timing(statistics.median(cpu), statistics.median(wall), (low, high))


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _cpu_name() -> str:
    for line in _cpu_info():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or "unknown"


def _cpu_info() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
