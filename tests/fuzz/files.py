"""Files that lie somewhere, each through every entry, whatever its kind: `--files DIR`.

The law is simple here: no crash, no hang over 10 s of CPU, no more than 500 MB, no exception but
one `VideozooError`. A reader that refuses everything would pass, so good files must be accepted by
the entries that are meant for them (`MEANT`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import TextIO

from tests.fuzz.harness import HANG_SECONDS, Child, Entry, Outcome, fault_of_message

MOST_MB = 500.0
MOST_FILE_MB = 4.0
"""Larger files are left out, and counted."""
SHARED = Path(__file__).parents[3] / "shared"

MEANT: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("golden/*/weights.pdparams", ("paddle", "pickles")),
    ("golden/*_pipeline/*_start.pdparams", ("paddle", "pickles")),
    ("golden/*_pipeline/ckpt/*.pdparams", ("paddle", "pickles")),
    ("golden/param_formats/one_file_per_param", ("paddle",)),
    ("golden/*_pipeline/*.yaml", ("configurations", "config-show")),
    ("golden/anet_eval/gt.json", ("segments", "durations", "convert", "check-data")),
    ("golden/b*_post/anno.json", ("segments", "durations", "convert", "check-data")),
    ("golden/caption_metrics/val_?.json", ("sentences", "segments", "check-data")),
    ("golden/caption_metrics/submission.json", ("results",)),
    ("golden/anet_eval/proposals.json", ("results", "convert")),
    ("golden/*_post/*results_validation.json", ("results", "convert")),
    ("golden/ctcn_post/result_*.json", ("results", "convert")),
    ("golden/ctcn_post/dur.list", ("durations",)),
    ("golden/ets_pipeline/*.list", ("sentences", "check-data")),
    ("golden/ets_pipeline/*_out/ETS_*.json", ("results",)),
    ("golden/ets*/dict.txt", ("vocabularies",)),
    ("golden/bsn_post/*_csv/*.csv", ("features", "check-data")),
    ("golden/*/eigenvals.npy", ("features",)),
    ("golden/reader_feature/*.pkl", ("records", "pickles")),
    ("golden/reader_kinetics/*.pkl", ("pictures", "videos", "pickles")),
    ("golden/reader_*/*.mp4", ("videos", "predict-clips", "extract-videos")),
    ("golden/reader_kinetics/mp4.list", ("lists",)),
    ("golden/tall_pipeline/*-sentvec.pkl", ("pickles",)),
)
"""Patterns of paths below the folders, and the entries that must accept such files."""


@dataclass
class FileTally:
    """The line of an entry in the table of files."""

    entry: str
    files: int = 0
    refused: int = 0
    accepted: int = 0
    crashes: int = 0
    hangs: int = 0
    large: int = 0
    others: int = 0
    seconds: float = 0.0
    mb: float = 0.0
    faults: list[str] = field(default_factory=list[str])

    def add(self, one: Outcome, path: Path) -> None:
        """Count a file."""
        self.files += 1
        self.seconds, self.mb = max(self.seconds, one.seconds), max(self.mb, one.mb)
        fault = fault_of_message(one)
        if one.what == "crash":
            self.crashes += 1
            fault = "crash"
        elif one.what == "hang" or one.seconds > HANG_SECONDS:
            self.hangs += 1
            fault = f"hang, {one.seconds:.1f} s"
        elif one.what not in ("accepted", "refused"):
            self.others += 1
            fault = one.what
        else:
            self.refused += one.what == "refused"
            self.accepted += one.what == "accepted"
            if one.mb > MOST_MB:
                self.large += 1
                fault = f"{one.mb:.0f} MB"
            elif fault is not None:
                self.others += 1
            elif one.what == "refused" and one.entry in meant_for(path):
                self.others += 1
                fault = "a good file is refused"
        if fault is not None:
            self.faults.append(f"{one.entry}: {path}: {fault}: {one.said[-700:]}")

    def __str__(self) -> str:
        return (
            f"| {self.entry} | {self.files:,} | {self.refused:,} | {self.accepted:,} | "
            f"{self.crashes} | {self.hangs} | {self.large} | {self.others} | "
            f"{self.seconds:.2f} | {self.mb:.0f} |"
        )


HEAD = (
    "| entry | files | refused | accepted | crashes | hangs over 10 s | over 500 MB | "
    "other exceptions | worst s of CPU | worst MB |\n" + "|---" * 10 + "|"
)


def files_below(folders: Iterable[Path], most_mb: float = MOST_FILE_MB) -> tuple[list[Path], int]:
    """The files below folders, and the folders that hold any: both are given to the entries.

    Returns:
        Those that are small enough, in order, and how many are not.
    """
    found: list[Path] = []
    left_out = 0
    for folder in folders:
        below = sorted(path for path in folder.rglob("*") if path.is_file())
        if folder.is_file():
            below = [folder]
        sizes = {path: path.stat().st_size for path in below}
        inside: dict[Path, int] = {}
        for path, size in sizes.items():
            inside[path.parent] = inside.get(path.parent, 0) + size
        if folder.is_file():
            inside = {}
        for path, size in [*sizes.items(), *sorted(inside.items())]:
            if size <= most_mb * 1e6:
                found.append(path.absolute())
            else:
                left_out += 1
    return found, left_out


def meant_for(path: Path) -> set[str]:
    """Names of the entries that must accept a file."""
    return {
        entry
        for pattern, entries in MEANT
        if fnmatch(path.as_posix(), f"*/{pattern}")
        for entry in entries
    }


def run_files(child: Child, entry: Entry, files: Iterable[Path]) -> Iterator[tuple[Path, Outcome]]:
    """Give files, or the folders that they are in, to an entry, one by one."""
    for path in files:
        yield path, child.ask(entry.name, path.name, {"file": str(path)})


def sweep(
    entries: Sequence[Entry], folders: Sequence[Path], most_mb: float, log_path: Path | None = None
) -> int:
    """Print the table; returns 1 if a file has a fault.

    Args:
        entries: In the order of the table.
        folders: Folders, or files.
        most_mb: Larger files are left out.
        log_path: Gets a line of JSON per file and entry.
    """
    files, left_out = files_below(folders, most_mb)
    with Path(os.devnull if log_path is None else log_path).open("w") as log:
        return _sweep(entries, files, left_out, most_mb, log)


def _sweep(
    entries: Sequence[Entry], files: list[Path], left_out: int, most_mb: float, log: TextIO
) -> int:
    print(
        f"{len(files):,} files and folders of files; {left_out:,} left out, "
        f"being over {most_mb:g} MB\n\n{HEAD}",
        flush=True,
    )
    faults = 0
    with Child() as child:
        for entry in entries:
            tally = FileTally(entry.name)
            for path, one in run_files(child, entry, files):
                tally.add(one, path)
                print(json.dumps({"path": str(path), **asdict(one)}), file=log, flush=True)
            print(tally, flush=True)
            for fault in tally.faults:
                print(fault, file=sys.stderr, flush=True)
            faults += len(tally.faults)
    return int(faults > 0)
