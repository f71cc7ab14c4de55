"""Fuzz by hand.

    python -m tests.fuzz                                all entries, 20,000 cases
    python -m tests.fuzz features records --cases 500   500 cases of each of these
    python -m tests.fuzz --seed 7 --keep faults         other cases; those with faults are kept
    python -m tests.fuzz records --minimise faults/records/12   a smaller case of the same fault
    python -m tests.fuzz records --run FOLDER           one case, as it lies in a folder
    python -m tests.fuzz --files FOLDER FOLDER          every file in them, through every entry
    python -m tests.fuzz records --guided --seconds 300 guided by coverage, with atheris

A kept case becomes a test when its folder moves to `tests/fuzz/found/ENTRY/`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from tests.fuzz.entries import ALL, BY_NAME, ENTRIES
from tests.fuzz.files import MOST_FILE_MB, sweep
from tests.fuzz.guided import GUIDED_HEAD, NEEDS, is_installed, run_guided
from tests.fuzz.harness import (
    HEAD,
    Child,
    Entry,
    Outcome,
    Tally,
    fault_of,
    minimised,
    read_case,
    run_numbers,
)

_ALL = 20_000


def main() -> int:
    """Returns 1 if a case has a fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers.")
    parser.add_argument("entries", nargs="*", metavar="ENTRY", help=", ".join(BY_NAME))
    parser.add_argument("--cases", type=int, help=f"per entry; by default {_ALL:,} in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-faults"), help="folder for faults")
    parser.add_argument("--minimise", type=Path, metavar="FOLDER", help="a kept case")
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="one case")
    parser.add_argument(
        "--files", type=Path, nargs="+", metavar="PATH", help="files and folders, as they are"
    )
    parser.add_argument("--most-mb", type=float, default=MOST_FILE_MB, help="of a file of --files")
    parser.add_argument("--log", type=Path, help="JSON line per file and entry")
    parser.add_argument("--guided", action="store_true", help="by coverage; needs atheris")
    parser.add_argument("--seconds", type=float, default=60, help="per entry, with --guided")
    args = parser.parse_args()
    if args.guided and not is_installed():
        print(NEEDS, file=sys.stderr)
        return 2
    entries = [BY_NAME[name] for name in args.entries] or list(ENTRIES)
    if args.files is not None:
        given = [BY_NAME[name] for name in args.entries] or list(ALL)
        return sweep(given, args.files, args.most_mb, args.log)
    with Child() as child:
        if args.run is not None or args.minimise is not None:
            return _one(child, entries[0], args.run, args.minimise)
        if args.guided:
            return _guided(child, entries, args.seconds, args.keep, args.seed)
        print(HEAD, flush=True)
        faults = 0
        for entry in entries:
            count = args.cases or cases_of(entry, _ALL)
            tally = Tally(entry.name)
            for one in run_numbers(child, entry, args.seed, range(args.start, args.start + count)):
                fault = tally.add(one)
                if fault is not None:
                    _keep(child, one, fault, args.keep)
            faults += len(tally.faults)
            print(tally, flush=True)
    return int(faults > 0)


def cases_of(entry: Entry, total: int) -> int:
    """The share of an entry in all cases."""
    return -(-total * entry.share // sum(each.share for each in ENTRIES))


def _one(child: Child, entry: Entry, run: Path | None, minimise: Path | None) -> int:
    folder = run or minimise
    assert folder is not None
    if minimise is not None:
        case = minimised(child, entry, read_case(minimise))
        folder = minimise.with_name(f"{minimise.name}-min")
        case.write(folder)
        print(f"{folder}: {sum(map(len, case.files.values())):,} bytes")
    one = child.ask(entry.name, str(folder), {"folder": str(folder.absolute())})
    print(one, "| fault:", fault_of(one))
    return int(fault_of(one) is not None)


def _guided(child: Child, entries: list[Entry], seconds: float, keep: Path, seed: int) -> int:
    print(GUIDED_HEAD, flush=True)
    faults = 0
    for entry in entries:
        result = run_guided(child, entry, seconds=seconds, keep=keep, seed=seed)
        for (one, fault), path in zip(result.faults, result.kept, strict=True):
            print(f"  {path}: {fault}: {one.said[-400:]}", file=sys.stderr, flush=True)
        faults += len(result.faults)
        print(result, flush=True)
    return int(faults > 0)


def _keep(child: Child, one: Outcome, fault: str, keep: Path) -> None:
    print(f"  {one.entry} {one.number}: {fault}: {one.said[-400:]}", file=sys.stderr, flush=True)
    target = keep / one.entry / str(one.number)
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(child.folder / "case", target)
    shutil.copy(child.folder / "given.txt", target)


if __name__ == "__main__":
    sys.exit(main())
