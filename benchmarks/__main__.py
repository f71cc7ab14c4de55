"""Run the benchmarks, print every target, and append the results.

    python -m benchmarks [decode transforms step loader startup] [--quick | --full] [--no-save]

Each runs in a process of its own with one thread to compute on. Peers that are not installed are
said to be so (`benchmarks/requirements.txt` lists them; videozoo needs none). Exit status 0 unless
a benchmark crashed or its sides did not compute the same, whether the targets hold or not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, cast

from benchmarks.harness import ROOT, Target, append, table

NAMES = tuple(sorted(file.stem[6:] for file in (ROOT / "benchmarks").glob("bench_*.py")))


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 done, 1 a benchmark failed, 2 the command line is wrong."""
    arguments = _parse(argv)
    rows: list[tuple[str, str, str, str]] = []
    failed: list[str] = []
    for name in arguments.names or NAMES:
        print(f"{name} ...", file=sys.stderr, flush=True)
        line = _run(name, quick=arguments.quick, full=arguments.full)
        if line is None:
            failed.append(name)
            continue
        rows += [_target(values).row() for values in line["targets"]]
        if not arguments.no_save:
            append(line)
    print(table(rows))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=cast(str, __doc__).partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(NAMES)}")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="only see that everything runs")
    size.add_argument("--full", action="store_true", help="more sizes, peers and rounds")
    parser.add_argument("--no-save", action="store_true", help="do not append to results/")
    arguments = parser.parse_args(argv)
    unknown = [name for name in arguments.names if name not in NAMES]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; expected any of: {', '.join(NAMES)}")
    return arguments


def _run(name: str, *, quick: bool, full: bool) -> dict[str, Any] | None:
    """The result line of one benchmark, None where it failed."""
    flags = ["--quick"] * quick + ["--full"] * full
    # idle threads that spin, and threads of peers, would count as work of the side measured
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.bench_{name}", *flags],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def _target(values: dict[str, Any]) -> Target:
    values = {key: value for key, value in values.items() if key != "holds"}
    return Target(**values)


if __name__ == "__main__":
    sys.exit(main())
