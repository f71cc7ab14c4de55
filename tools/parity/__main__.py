"""Compare videozoo with every recorded set in a folder.

    python -m tools.parity FOLDER [SET ...]

One line a set: its name, the quantity closest to its limit, the largest error, the tolerance, ok
or NOT OK; `--details` shows every quantity. Sets that no checker covers yet are named. The exit
status is 0 only when all that is covered holds.
"""

import argparse
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from tools.parity import (
    containers,
    feature_readers,
    language,
    localisation,
    localisers,
    metrics,
    nets,
    pipelines,
    readers,
    sequence_readers,
    tagging_metrics,
)
from tools.parity.rows import Row

CHECKERS = (
    nets,
    localisers,
    language,
    pipelines,
    readers,
    feature_readers,
    sequence_readers,
    metrics,
    tagging_metrics,
    localisation,
    containers,
)


def covered(name: str) -> bool:
    """Tell whether some checker knows the set called `name`."""
    return any(checker.covers(name) for checker in CHECKERS)


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set; its checker follows from its folder's name."""
    for checker in CHECKERS:
        if checker.covers(folder.name):
            yield from checker.check(folder)


def main(argv: list[str] | None = None) -> int:
    """Return 0 when every covered quantity of every set is within its tolerance."""
    parser = argparse.ArgumentParser(prog="parity", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sets", nargs="*", help="only these")
    parser.add_argument("--details", action="store_true", help="every quantity of every set")
    args = parser.parse_args(argv)
    torch.manual_seed(0)

    names = sorted(p.name for p in args.folder.iterdir() if p.is_dir())
    if unknown := set(args.sets) - set(names):
        print(f"parity: {args.folder} holds no set called {', '.join(sorted(unknown))}")
        return 1
    chosen = args.sets or names
    failed = done = quantities = 0
    for name in filter(covered, chosen):
        started = time.monotonic()
        rows = list(_guarded(args.folder / name)) or [Row("nothing to compare", float("nan"), 0.0)]
        seconds = time.monotonic() - started
        done, quantities = done + 1, quantities + len(rows)
        failed += not all(row.ok for row in rows)
        worst = max(rows, key=_closeness)
        others = f"{len(rows)} quantities, the closest to its limit shown; {seconds:.1f} s"
        print(_line(name, worst, others), flush=True)
        for row in rows:
            if args.details or (not row.ok and row is not worst):
                print(_line("", row, row.note), flush=True)
    if left := [name for name in chosen if not covered(name)]:
        print(f"not covered yet: {', '.join(left)}")
    print(f"{done} sets, {quantities} quantities, {failed} sets not ok")
    return 0 if done and not failed else 1


def _closeness(row: Row) -> float:
    """How much of its tolerance a quantity uses up; what is not a number counts as most."""
    if not math.isfinite(row.error):
        return math.inf
    return row.error / row.tolerance if row.tolerance else (math.inf if row.error else 0.0)


def _line(name: str, row: Row, remark: str) -> str:
    verdict = "ok" if row.ok else "NOT OK"
    figures = f"{row.error:9.2e}  <= {row.tolerance:7.1e}"
    return f"{name:<22} {row.quantity:<34} {figures}  {verdict:<6}  {remark}".rstrip()


def _guarded(folder: Path) -> Iterator[Row]:
    """A set that cannot be read is a failure of that set, not the end of the report."""
    try:
        yield from check(folder)
    except Exception as error:
        yield Row(f"{type(error).__name__}: {error}", float("nan"), 0.0)


if __name__ == "__main__":
    sys.exit(main())
