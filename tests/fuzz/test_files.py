"""Files that lie somewhere, through every entry, whatever their kind: no crash and no hang."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.figures import Figures
from tests.fuzz import command_entries
from tests.fuzz.entries import ALL
from tests.fuzz.files import SHARED, FileTally, files_below, run_files
from tests.fuzz.harness import FOUND, Child, Entry
from tests.fuzz.world_entries import ENTRIES as WORLDS

FOLDERS = [FOUND, SHARED / "cases" / "hostile", SHARED / "golden"]
"""Damaged files of ours; those of others and good ones, where their folders are there."""
MOST_MB = 20.0
READERS = [one for one in ALL if one not in WORLDS and one not in command_entries.ENTRIES]
COMMANDS = list(command_entries.ENTRIES)


def sampled(files: Iterable[Path]) -> list[Path]:
    """Of good files one per folder and ending: commands are slow. Hostile ones, all."""
    first: dict[object, Path] = {}
    for path in files:
        is_good = SHARED / "golden" in path.parents
        first.setdefault((path.parent, path.suffix, path.is_dir()) if is_good else path, path)
    return list(first.values())


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.guarantee("Any file through any reader or command gives a result or one plain error")
@pytest.mark.parametrize("entry", [*READERS, *COMMANDS], ids=lambda one: one.name)
def test_every_file_through_every_entry(
    entry: Entry, figures: Figures, capsys: pytest.CaptureFixture[str]
):
    files, left_out = files_below([path for path in FOLDERS if path.is_dir()], MOST_MB)
    tally = FileTally(entry.name)
    with Child() as child:
        for path, one in run_files(child, entry, sampled(files) if entry in COMMANDS else files):
            tally.add(one, path)
    figures.add(cases=tally.files, failures=len(tally.faults))
    figures.add(worst=tally.seconds, unit="s of CPU", limit=10)
    figures.add(worst=tally.mb, unit="MB", limit=500)
    with capsys.disabled():
        print(f"\n{tally}")

    assert left_out == 0
    assert not tally.faults, "\n".join(tally.faults[:20])


def test_of_good_files_commands_get_one_of_each_ending_per_folder():
    golden = SHARED / "golden"
    names = ["a/1.npy", "a/2.npy", "a/1.csv", "b/1.npy"]
    hostile = [SHARED / "cases" / "hostile" / name for name in ("1.npy", "2.npy")]

    chosen = sampled([*(golden / name for name in names), *hostile])

    assert chosen == [golden / name for name in ("a/1.npy", "a/1.csv", "b/1.npy")] + hostile
