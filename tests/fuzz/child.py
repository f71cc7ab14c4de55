"""The child process of `harness`: reads requests as lines of JSON, runs cases, answers in lines."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.fuzz.harness import (
    HANG_SECONDS,
    Entry,
    Seed,
    case_of_file,
    make_case,
    read_case,
    siblings,
    write_case,
)
from tests.peak_memory import peak_bytes
from videozoo.errors import VideozooError

_MORE_ADDRESSES = 3 * 2**30  # than this process has at its start
_HANG_SECONDS = float(os.environ.get("FUZZ_HANG_SECONDS", HANG_SECONDS))
BY_NAME: dict[str, Entry] = {}
_SEEDS: dict[str, list[Seed]] = {}


def limit() -> None:
    """Bound addresses and CPU; SIGPROF shows where it hangs, and ends the process."""
    facts = Path("/proc/self/statm")
    if facts.exists():
        pages = int(facts.read_text().split()[0])
        most = pages * resource.getpagesize() + _MORE_ADDRESSES
        resource.setrlimit(resource.RLIMIT_AS, (most, resource.getrlimit(resource.RLIMIT_AS)[1]))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**30, 2**30))
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)


def start_peak() -> float:
    """Forget the peak so far, where the system can; returns MB that are held now."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    return peak_bytes() / 1e6


def outcome(entry: str, case: Seed, folder: Path, beside: Iterable[Path] = ()) -> dict[str, Any]:
    """Run one case; links to what lay beside its file may lie beside it."""
    shutil.rmtree(folder, ignore_errors=True)
    path = write_case(folder, case)
    folder.with_name("given.txt").write_text(case.given)
    for one in beside:
        if not (folder / one.name).exists():
            (folder / one.name).symlink_to(one)
    here = start_peak()
    signal.setitimer(signal.ITIMER_PROF, _HANG_SECONDS)
    start, what, said = time.process_time(), "accepted", ""
    try:
        BY_NAME[entry].read(path)
    except VideozooError as error:
        what, said = "refused", str(error)
    except BaseException as error:
        what, said = type(error).__name__, _shown(error)
    seconds = time.process_time() - start
    signal.setitimer(signal.ITIMER_PROF, 0)
    size = sum(map(len, case.files.values()))
    mb = max(0.0, peak_bytes() / 1e6 - here)
    return {"what": what, "said": said, "seconds": seconds, "mb": mb, "num_bytes": size}


def _shown(error: BaseException) -> str:
    lines: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        lines.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return f"{' '.join(lines[-6:])}: {str(error)[-500:]}"


def seeds_of(entry: str, folder: Path) -> list[Seed]:
    """The good inputs of an entry, tried, which also imports what it needs.

    Some may need a word of the user beside them, and be refused without.
    """
    if entry not in _SEEDS:
        made, accepted, refused = BY_NAME[entry].seeds(), 0, ""
        for seed in made:
            shutil.rmtree(folder, ignore_errors=True)
            try:
                BY_NAME[entry].read(write_case(folder, seed))
                accepted += 1
            except VideozooError as error:
                refused = f"{seed.given}: {error}"
                continue
            except Exception as error:
                raise AssertionError(f"{entry}: its good input {seed.given} fails") from error
        if 2 * accepted < len(made):
            raise AssertionError(
                f"{entry}: only {accepted} of {len(made)} good inputs are accepted: {refused}"
            )
        _SEEDS[entry] = made
    return _SEEDS[entry]


def main(work: str, table: str) -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries print what they like
    folder = Path(work, "case")
    folder.mkdir(exist_ok=True)
    os.chdir(work)
    BY_NAME.update(importlib.import_module(table).BY_NAME)
    limit()
    warnings.simplefilter("error")
    print("{}", file=answers, flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        entry = request["entry"]
        beside: list[Path] = []
        try:
            seeds = seeds_of(entry, folder)
        except Exception as error:
            print(json.dumps({"broken": f"{error}: {error.__cause__}"}), file=answers, flush=True)
            continue
        if "folder" in request:
            case = read_case(Path(request["folder"]))
        elif "file" in request:
            file = Path(request["file"])
            case, beside = case_of_file(file, seeds), siblings(file)
        else:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    case = make_case(BY_NAME[entry], seeds, request["seed"], request["number"])
                except Exception as error:
                    broken = f"{entry} {request['number']}: a mutator fails: {_shown(error)}"
                    print(json.dumps({"broken": broken}), file=answers, flush=True)
                    continue
        print(json.dumps(outcome(entry, case, folder, beside)), file=answers, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
