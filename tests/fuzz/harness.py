"""Run cases in child processes: time and memory are limited, and what ends a child is named.

A case is a small folder of files that `Entry.read` is called on. A child runs many cases, one after
another; it is started again when it dies. The law that every case is held to is `fault_of`.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self

from tests.fuzz.mutators import Mutator, mutate

ROOT = Path(__file__).parents[2]
FOUND = Path(__file__).with_name("found")
"""`found/ENTRY/CASE/...`: inputs that once broke the law, and must keep it now."""

MOST_SECONDS = 2.0
SECONDS_PER_MB = 20.0
MOST_MB = 400.0
MB_PER_MB = 200.0
"""The law: a case may take `MOST_SECONDS` of CPU and `MOST_MB`, and so much more per MB of its
files. The fixed part of the memory is that of small compressed files (`safe_npy`, `_hdf5`: 64 MiB
that are read, converted and compared), the other that of text, whose objects are many times larger
than its bytes."""
HANG_SECONDS = 10.0
"""CPU after which a case hangs."""
_SILENT_SECONDS = 600.0  # of the clock, if it does not even compute; the machine may be busy
_LONGEST_MESSAGE = 7000
_START_SECONDS = 600.0
_MOST_SIBLINGS = 60


@dataclass(frozen=True)
class Seed:
    """A good input: files by their paths in a folder, and the one that is given to the reader."""

    given: str
    files: Mapping[str, bytes]
    fixed: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    """Files beside them that stay as they are."""

    def write(self, folder: Path) -> None:
        """Write all files and the name of the given one, as `read_case` reads them."""
        write_case(folder, self)
        (folder / "given.txt").write_text(self.given)


@dataclass(frozen=True)
class Entry:
    """A way into the library: where a path that a user names ends."""

    name: str
    """Also that of its folder in `found/`."""
    seeds: Callable[[], list[Seed]]
    read: Callable[[Path], object]
    """Takes the path. Raises AssertionError if the result is wrong."""
    share: int = 10
    """Cases in proportion to those of other entries; few for slow ones."""
    mutators: Mapping[str, Mutator] = field(default_factory=dict[str, Mutator])
    """By ending, instead of `mutators.BY_ENDING`."""
    is_slow: bool = False
    """Made cases run in the slow tests only; found ones always."""


@dataclass(frozen=True)
class Outcome:
    """What came of a case."""

    entry: str
    number: int | str
    """Of the case, or the name of a found one."""
    what: str
    """`accepted`, `refused`, or the kind of an exception, `hang` or `crash`."""
    said: str
    seconds: float = 0.0
    mb: float = 0.0
    num_bytes: int = 0


def fault_of(one: Outcome) -> str | None:
    """How a case breaks the law; None if it does not."""
    size = one.num_bytes / 1e6
    if one.what not in ("accepted", "refused"):
        return one.what
    if (fault := fault_of_message(one)) is not None:
        return fault
    if one.seconds > MOST_SECONDS + SECONDS_PER_MB * size:
        return f"{one.seconds:.1f} s for {size:.3f} MB"
    if one.mb > MOST_MB + MB_PER_MB * size:
        return f"{one.mb:.0f} MB for {size:.3f} MB"
    return None


def fault_of_message(one: Outcome) -> str | None:
    """What is wrong with the message of a case; None if nothing is."""
    if "MemoryError" in one.said or "Unable to allocate" in one.said:
        return "memory was asked for before the size was proven"
    if len(one.said) > _LONGEST_MESSAGE or (one.what == "refused" and not one.said.strip()):
        return f"a message of {len(one.said)} characters"
    return None


def make_case(entry: Entry, seeds: list[Seed], seed: int, number: int) -> Seed:
    """The case of a number: always the same for the same seed."""
    rng = Random(f"{entry.name}/{seed}/{number}")
    good = seeds[number % len(seeds)]
    name = rng.choice(sorted(good.files))
    changed = mutate(rng, name, good.files[name], entry.mutators.get(Path(name).suffix.lower()))
    return Seed(good.given, {**good.files, name: changed}, good.fixed)


def write_case(folder: Path, case: Seed) -> Path:
    """Write the files of a case; returns the path that is given."""
    for name, content in [*case.fixed.items(), *case.files.items()]:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / case.given


def read_case(folder: Path) -> Seed:
    """The files below a folder; given is the only thing at its top, or what `given.txt` names."""
    files = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    named = files.pop("given.txt", b"").decode().strip()
    tops = sorted({name.split("/")[0] for name in files})
    assert named or len(tops) == 1, f"{folder}: given.txt must name one of {tops}"
    return Seed(named or tops[0], files)


def case_of_file(path: Path, seeds: list[Seed]) -> Seed:
    """A file or folder of elsewhere as a case, with what an entry needs beside it."""
    beside = {} if not seeds else seeds[0].fixed
    if path.is_file():
        return Seed(path.name, {path.name: path.read_bytes()}, beside)
    files = {f"{path.name}/{one.name}": one.read_bytes() for one in path.iterdir() if one.is_file()}
    return Seed(path.name, files, beside)


def places_of(seeds: list[Seed]) -> list[tuple[Seed, str]]:
    """Every file of every good input, in order."""
    return [(seed, name) for seed in seeds for name in sorted(seed.files)]


def case_bytes(place: int, content: bytes) -> bytes:
    """A case as one string of bytes: the number of a place, and what stands there."""
    return place.to_bytes(2, "big") + content


def split_bytes(data: bytes) -> tuple[int, bytes]:
    """The place and the content of `case_bytes`."""
    return int.from_bytes(data[:2], "big"), data[2:]


def case_of(seeds: list[Seed], data: bytes) -> Seed:
    """The case that stands in `case_bytes`."""
    places = places_of(seeds)
    at, content = split_bytes(data)
    good, name = places[at % len(places)]
    return replace(good, files={**good.files, name: content})


def environment(folder: Path) -> dict[str, str]:
    """Variables of a process that runs cases, and works in a folder."""
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "VIDEOZOO_OFFLINE": "1",
        "VIDEOZOO_CACHE": str(folder / "cache"),
    }


def siblings(path: Path) -> list[Path]:
    """What lies beside a file, such as the videos of a list; nothing if it is very much.

    Left out is what commands may write to.
    """
    beside = [one for one in path.parent.iterdir() if one != path] if path.is_file() else []
    kept = [one for one in beside if not one.name.startswith(("out", "run"))]
    return kept if len(kept) <= _MOST_SIBLINGS else []


def found_cases(entry: str) -> list[Path]:
    """Folders of found cases of an entry."""
    folder = FOUND / entry
    return sorted(path for path in folder.iterdir()) if folder.is_dir() else []


class Child:
    """A child process that runs cases."""

    def __init__(self, table: str = "tests.fuzz.entries") -> None:
        """
        Args:
            table: The module whose `BY_NAME` holds the entries.
        """
        self._table = table
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        """Where the child works; the files of its last case are in `case/`."""
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _one: BaseException | None, _: TracebackType | None
    ) -> None:
        self._end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, entry: str, number: int | str, request: Mapping[str, Any]) -> Outcome:
        """Run one case."""
        process = self._started()
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps({"entry": entry, **request}) + "\n")
            process.stdin.flush()
        answer = self._answer(_SILENT_SECONDS)
        if answer is None:
            return Outcome(entry, number, *self._last_words())
        if "broken" in answer:
            raise RuntimeError(answer["broken"])
        return Outcome(entry, number, **answer)

    def _started(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        with (self.folder / "stderr").open("w") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.child", str(self.folder), self._table],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                cwd=ROOT,
                env=environment(self.folder),
            )
        ready = self._answer(_START_SECONDS)
        assert ready is not None, (self.folder / "stderr").read_text()[-2000:]
        return self._process

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """The next line of the child; None if it died, or said nothing for so long."""
        assert self._process is not None
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(seconds):
                return None
        line = self._process.stdout.readline()
        return json.loads(line) if line.endswith("\n") else None

    def _last_words(self) -> tuple[str, str]:
        assert self._process is not None
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        status = self._process.poll()
        self._end()
        said = (self.folder / "stderr").read_text("utf-8", "replace")[-1500:]
        if status is None:
            return "hang", f"nothing for {_SILENT_SECONDS:.0f} s of the clock; {said}"
        if status == -27:  # SIGPROF
            return "hang", f"over {HANG_SECONDS:.0f} s of CPU; {said}"
        return "crash", f"status {status}; {said}"

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def run_numbers(child: Child, entry: Entry, seed: int, numbers: Iterable[int]) -> Iterator[Outcome]:
    """Run made cases of an entry."""
    for number in numbers:
        yield child.ask(entry.name, number, {"seed": seed, "number": number})


def run_found(child: Child, entry: str) -> Iterator[Outcome]:
    """Run the found cases of an entry."""
    for path in found_cases(entry):
        yield child.ask(entry, path.name, {"folder": str(path)})


def endings_of(entry: Entry) -> set[str]:
    """Endings of the files that an entry takes."""
    return {Path(name).suffix.lower() for seed in entry.seeds() for name in seed.files}


def run_file(child: Child, entry: str, file: Path) -> Outcome:
    """Run an entry on one file of elsewhere."""
    folder = Path(tempfile.mkdtemp(dir=child.folder))
    shutil.copy(file, folder)
    outcome = child.ask(entry, file.name, {"folder": str(folder)})
    shutil.rmtree(folder)
    return outcome


@dataclass
class Tally:
    """The line of an entry in the table."""

    entry: str
    cases: int = 0
    refused: int = 0
    accepted: int = 0
    seconds: float = 0.0
    mb: float = 0.0
    faults: list[tuple[Outcome, str]] = field(default_factory=list[tuple[Outcome, str]])

    def add(self, one: Outcome) -> str | None:
        """Count a case; returns its fault."""
        self.cases += 1
        self.refused += one.what == "refused"
        self.accepted += one.what == "accepted"
        self.seconds, self.mb = max(self.seconds, one.seconds), max(self.mb, one.mb)
        fault = fault_of(one)
        if fault is not None:
            self.faults.append((one, fault))
        return fault

    def __str__(self) -> str:
        return (
            f"| {self.entry} | {self.cases:,} | {self.refused:,} | {self.accepted:,} | "
            f"{len(self.faults)} | {self.seconds:.2f} | {self.mb:.0f} |"
        )


HEAD = (
    "| entry | cases | refused | accepted | faults | worst s of CPU | worst MB |\n"
    + "|---" * 7
    + "|"
)


def described(faults: Iterable[tuple[Outcome, str]], most: int = 20) -> str:
    """Faults as a test shows them."""
    lines = [
        f"{one.entry} {one.number}: {fault}: {one.said[-700:]}"
        for one, fault in list(faults)[:most]
    ]
    return "\n".join(lines)


def minimised(child: Child, entry: Entry, case: Seed, *, most_tries: int = 600) -> Seed:
    """A smaller case with the same kind of fault: parts of its files are left out, by halves."""

    def kind(one: Seed) -> str | None:
        folder = Path(tempfile.mkdtemp(dir=child.folder))
        write_case(folder, one)
        (folder / "given.txt").write_text(one.given)
        outcome = child.ask(entry.name, "minimised", {"folder": str(folder)})
        shutil.rmtree(folder)
        return None if fault_of(outcome) is None else outcome.what

    wanted = kind(case)
    assert wanted is not None, "the case breaks no rule"
    tries, ends = 0, time.monotonic() + 300
    for name in sorted(case.files):
        content = case.files[name]
        size = max(1, len(content) // 2)
        while size and tries < most_tries and time.monotonic() < ends:
            at = 0
            while at < len(content) and tries < most_tries:
                tries += 1
                shorter = content[:at] + content[at + size :]
                if kind(Seed(case.given, {**case.files, name: shorter})) == wanted:
                    content = shorter
                    case = Seed(case.given, {**case.files, name: content})
                else:
                    at += size
            size //= 2
    return case
