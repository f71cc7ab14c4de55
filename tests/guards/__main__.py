"""python -m tests.guards: take every guard out of a copy of the package, and see its test fail."""

import argparse
import random
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Thread

from tests.guards.harness import ERROR, SEEN, UNGUARDED, Copy, Guard, Verdict, read_table, try_out

Done = SimpleQueue[tuple[Guard, Verdict]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.guards", description=__doc__)
    parser.add_argument("words", nargs="*", help="only rows that hold one of these words")
    parser.add_argument("--sample", type=int, metavar="N", help="only N rows, drawn")
    parser.add_argument("--seed", type=int, default=0, help="of the draw; default 0")
    parser.add_argument("--processes", type=int, default=1, help="rows at a time; default 1")
    parser.add_argument("--list", action="store_true", help="show the rows, and run nothing")
    given = parser.parse_args()
    words = [word.lower() for word in given.words]
    rows = [one for one in read_table() if not words or any(word in _text(one) for word in words)]
    if given.sample is not None and given.sample < len(rows):
        rows = random.Random(given.seed).sample(rows, given.sample)
    if not rows:
        print("no row holds any of these words", file=sys.stderr)
        return 1
    if given.list:
        print(*(f"{one.name}\n    {one.file}  {one.test}" for one in rows), sep="\n")
        return 0
    with TemporaryDirectory() as aside:
        if not _pass_as_they_are(rows, Path(aside)):
            return 1
        found = _tried(rows, given.processes, Path(aside))
    return _told(found)


def _text(guard: Guard) -> str:
    return f"{guard.name} {guard.file} {guard.test}".lower()


def _pass_as_they_are(rows: list[Guard], aside: Path) -> bool:
    """Whether the tests pass with nothing taken out; otherwise their failures would say nothing."""
    tests = sorted({one.test for one in rows})
    print(f"{len(tests)} tests with nothing taken out ...", flush=True)
    with closing(Copy(aside / "whole")) as copy:
        whole = copy.run(tests, seconds=7200, cpu_seconds=7200)
    if whole["status"] == 0 and not whole["skipped"]:
        return True
    print(f"they do not all pass:\n{whole['output']}", file=sys.stderr)
    return False


def _tried(rows: list[Guard], processes: int, aside: Path) -> list[tuple[Guard, Verdict]]:
    waiting, done = SimpleQueue[Guard | None](), Done()
    for one in [*rows, *[None] * processes]:
        waiting.put(one)

    def work(folder: Path) -> None:
        with closing(Copy(folder)) as copy:
            while (guard := waiting.get()) is not None:
                done.put((guard, try_out(guard, copy)))

    for number in range(processes):
        Thread(target=work, args=(aside / str(number),), daemon=True).start()
    found: list[tuple[Guard, Verdict]] = []
    for _ in rows:
        guard, verdict = done.get()
        found.append((guard, verdict))
        print(
            f"{verdict.outcome:<11} {guard.name} [{guard.test}, {verdict.seconds:.0f} s]\n"
            f"            {verdict.said}",
            flush=True,
        )
    return found


def _told(found: list[tuple[Guard, Verdict]]) -> int:
    counts = Counter((guard.group, verdict.outcome) for guard, verdict in found)
    print(f"\n| {'group':<12} | guards | seen | not guarded | errors |")
    print(f"|{'-' * 14}|--------|------|-------------|--------|")
    for group in [*dict.fromkeys(guard.group for guard, _ in found), ""]:
        seen, unguarded, errors = (
            sum(n for (name, what), n in counts.items() if what == outcome and group in ("", name))
            for outcome in (SEEN, UNGUARDED, ERROR)
        )
        total = seen + unguarded + errors
        name = group or "all"
        print(f"| {name:<12} | {total:>6} | {seen:>4} | {unguarded:>11} | {errors:>6} |")
    wrong = [(guard, verdict) for guard, verdict in found if verdict.outcome != SEEN]
    for guard, verdict in wrong:
        print(f"{verdict.outcome}: {guard.name}: {verdict.said}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
