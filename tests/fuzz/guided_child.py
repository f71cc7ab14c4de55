"""The process of `guided`: atheris feeds an entry; what looks like a fault is put aside.

Nothing of videozoo is imported before atheris can watch it.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import os
import resource
import shutil
import sys
import time
import warnings
from pathlib import Path
from random import Random
from typing import Any

_SLOWER = 4.0
"""Code that is watched, on a busy machine, takes so many times as long."""
_TIMEOUT_SECONDS = 40
_MOST_SUSPECTS = 40


def main(work: Path, table: str, name: str, seconds: int, seed: int) -> None:
    """Fuzz until the time is over."""
    atheris: Any = importlib.import_module("atheris")
    for folder in ("suspects", "ends", "corpus", "case"):
        (work / folder).mkdir(exist_ok=True)
    os.chdir(work)
    with atheris.instrument_imports(include=["videozoo"]):
        entry = importlib.import_module(table).BY_NAME[name]
        harness = importlib.import_module("tests.fuzz.harness")
        child = importlib.import_module("tests.fuzz.child")
        errors = importlib.import_module("videozoo.errors")
        child.BY_NAME[name] = entry
        seeds = child.seeds_of(name, work / "case")
    pairs = harness.places_of(seeds)
    longest = 4096
    for at, (good, file) in enumerate(pairs):
        content = harness.case_bytes(at, good.files[file])
        longest = max(longest, 2 * len(content))
        (work / "corpus" / f"seed-{at}").write_bytes(content)
    child.limit()
    faulthandler.disable()  # libFuzzer keeps what crashes only where nobody else handles it
    warnings.simplefilter("error")
    seen: set[str] = set()
    most_memory = [resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3]

    def suspect(case: Any, what: str) -> None:
        if what not in seen and len(seen) < _MOST_SUSPECTS:
            seen.add(what)
            case.write(work / "suspects" / f"{seed}-{len(seen)}")

    def one(data: bytes) -> None:
        case = harness.case_of(seeds, data)
        shutil.rmtree(work / "case", ignore_errors=True)
        path = harness.write_case(work / "case", case)
        what, said = "accepted", ""
        start = time.process_time()
        try:
            entry.read(path)
        except errors.VideozooError as error:
            what, said = "refused", str(error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            what, said = f"{type(error).__name__} {_place(error)}", ""
        took = (time.process_time() - start) / _SLOWER
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        size = sum(map(len, case.files.values()))
        grown, most_memory[0] = memory - most_memory[0], max(memory, most_memory[0])
        fault = harness.fault_of(harness.Outcome(name, 0, what, said, took, grown, size))
        if fault is not None:
            suspect(case, "".join(each for each in fault if not each.isdigit() or what == fault))

    def changed(data: bytes, most: int, number: int) -> bytes:
        rng = Random(number)
        at, content = harness.split_bytes(data)
        if rng.random() < 0.5:
            return harness.case_bytes(at, atheris.Mutate(content, max(1, most - 2)))
        file = pairs[at % len(pairs)][1]
        meant = entry.mutators.get(Path(file).suffix.lower())
        with warnings.catch_warnings(), contextlib.suppress(Exception):
            warnings.simplefilter("ignore")
            content = harness.mutate(rng, file, content, meant)
        return harness.case_bytes(at, content)[:most]

    words = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-seed={seed + 1}",
        f"-timeout={_TIMEOUT_SECONDS}",
        f"-artifact_prefix={work / 'ends'}/",
        f"-max_len={longest}",
        "-len_control=0",
        "-rss_limit_mb=0",
        "-print_final_stats=0",
        str(work / "corpus"),
    ]
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    atheris.Setup(words, one, custom_mutator=changed)
    atheris.Fuzz()


def _place(error: BaseException) -> str:
    trace, place = error.__traceback__, ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if "videozoo" in file or not place:
            place = f"{Path(file).name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
