"""Every reader, on seeded damage to good files: a result or one plain error, within bounds."""

from pathlib import Path

import pytest

from tests.figures import Figures
from tests.fuzz import __main__ as by_hand
from tests.fuzz.__main__ import cases_of
from tests.fuzz.broken import BROKEN
from tests.fuzz.entries import ALL, BY_NAME, ENTRIES
from tests.fuzz.files import FileTally, files_below, run_files
from tests.fuzz.guided import is_installed, run_guided
from tests.fuzz.harness import (
    FOUND,
    Child,
    Entry,
    Seed,
    Tally,
    described,
    endings_of,
    fault_of,
    make_case,
    minimised,
    run_file,
    run_found,
    run_numbers,
)
from tests.fuzz.world_entries import ENTRIES as WORLDS

FOLDER = Path(__file__).parents[3] / "shared" / "cases" / "hostile"
HOSTILE = sorted(FOLDER.glob("*.*"))
"""Files that once crashed a reader, hung or took gigabytes; none where the folder is not there."""
FEW, MANY = 300, 20_000
SEED = 1


def test_a_few_cases_of_every_entry_and_all_known_ones_keep_the_law():
    faults = []
    with Child() as child:
        for entry in ENTRIES:
            tally = Tally(entry.name)
            for one in run_numbers(child, entry, SEED, _few(entry)):
                tally.add(one)
            for one in run_found(child, entry.name):
                tally.add(one)
            endings = set() if entry in WORLDS else endings_of(entry)
            for file in HOSTILE:
                if file.suffix.lower() in endings:
                    tally.add(run_file(child, entry.name, file))
            faults += tally.faults
    assert not faults, described(faults)


def _few(entry: Entry) -> range:
    return range(0 if entry.is_slow else cases_of(entry, FEW))


@pytest.mark.guarantee("A damaged or invented file gives a result or one plain error, in bounds")
@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_many_cases_keep_the_law(
    entry: Entry, figures: Figures, capsys: pytest.CaptureFixture[str]
):
    tally = Tally(entry.name)
    with Child() as child:
        for one in run_numbers(child, entry, SEED + 1, range(cases_of(entry, MANY))):
            tally.add(one)
    with capsys.disabled():
        print(f"\n{tally}")
    figures.add(cases=tally.cases, failures=len(tally.faults))
    figures.add(worst=tally.seconds, unit="s of CPU")
    figures.add(worst=tally.mb, unit="MB")
    assert not tally.faults, described(tally.faults)


def test_every_entry_has_a_name_of_its_own():
    assert len(BY_NAME) == len(ALL)


def test_found_cases_belong_to_an_entry():
    assert {path.name for path in FOUND.iterdir() if path.is_dir()} <= set(BY_NAME)


def test_a_case_is_always_the_same():
    entry = BY_NAME["durations"]
    seeds = entry.seeds()

    assert make_case(entry, seeds, 1, 7) == make_case(entry, entry.seeds(), 1, 7)
    assert make_case(entry, seeds, 1, 7) != make_case(entry, seeds, 2, 7)


def test_without_atheris_guided_fuzzing_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(by_hand, "is_installed", lambda: False)
    monkeypatch.setattr("sys.argv", ["fuzz", "durations", "--guided"])

    assert by_hand.main() == 2
    assert "pip install atheris" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.skipif(not is_installed(), reason="atheris is not installed")
def test_guided_fuzzing_finds_what_breaks_the_law(tmp_path: Path):
    with Child("tests.fuzz.broken") as child:
        result = run_guided(child, BROKEN, seconds=20, keep=tmp_path, table="tests.fuzz.broken")

    assert {one.what for one, _ in result.faults} == {"ValueError", "crash"}
    assert (tmp_path / BROKEN.name).is_dir()


def test_what_breaks_the_law_is_named_and_the_next_case_runs(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FUZZ_HANG_SECONDS", "2")

    def tried(child: Child, name: str, word: str) -> str:
        path = child.folder / word
        path.mkdir()
        (path / "x.txt").write_text(word)
        one = child.ask(name, word, {"folder": str(path)})
        return f"{fault_of(one)}: {one.said}"

    with Child("tests.fuzz.broken") as child:
        assert "hang" in (said := tried(child, BROKEN.name, "hang"))
        assert "broken.py" in said  # where it hangs
        assert "crash" in tried(child, BROKEN.name, "crash")
        assert "ValueError" in tried(child, BROKEN.name, "raise")
        assert "MB for" in tried(child, BROKEN.name, "memory")
        assert "before the size was proven" in tried(child, BROKEN.name, "address")
        assert "a message of 0 characters" in tried(child, BROKEN.name, "silent")
        assert tried(child, BROKEN.name, "fine").startswith("None")

        case = Seed("x.txt", {"x.txt": b"aaaaaaaaaaaa raise bbbbbbbbbbbbbb"})
        smaller = minimised(child, BROKEN, case)
        assert smaller.files == {"x.txt": b"raise"}


def test_files_that_lie_somewhere_are_counted_by_what_came_of_them(tmp_path: Path):
    for word in ("fine", "silent", "raise", "crash"):
        (tmp_path / "d").mkdir(exist_ok=True)
        (tmp_path / "d" / word).write_text(word)
    (tmp_path / "large").write_bytes(bytes(2000))
    files, left_out = files_below([tmp_path, tmp_path / "d" / "fine"], most_mb=0.001)

    tally = FileTally(BROKEN.name)
    with Child("tests.fuzz.broken") as child:
        for path, one in run_files(child, BROKEN, [path for path in files if path.is_file()]):
            tally.add(one, path)

    assert [path.name for path in files] == ["crash", "fine", "raise", "silent", "d", "fine"]
    assert left_out == 2  # the large file, and the folder that it is in
    assert (tally.files, tally.refused, tally.accepted) == (5, 1, 2)
    assert (tally.crashes, tally.others) == (1, 2)
    assert len(tally.faults) == 3
