"""The table of guards fits the code, and what runs it tells guards from lines without a test."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.guards.harness import (
    ERROR,
    ROOT,
    SEEN,
    TABLE,
    UNGUARDED,
    Copy,
    Guard,
    fault_of,
    judged,
    read_table,
    try_out,
)

ROWS = read_table()
CODE = """
def halve(number):
    if number % 2:
        raise ValueError("odd")
    number = int(number)
    return number // 2
"""
TEST = """
import pytest
from videozoo import small

def test_odd():
    with pytest.raises(ValueError):
        small.halve(3)
"""


def test_the_lines_of_every_guard_are_there_and_so_is_its_test():
    assert len(ROWS) > 150
    faults = [f"{row.name}: {fault}" for row in ROWS if (fault := fault_of(row))]
    assert faults == [], "lines of a guard have changed: change its row in tests/guards/table.toml"


def test_no_guard_is_there_twice():
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({(row.file, row.lines, row.instead, row.test) for row in ROWS}) == len(ROWS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A package of one function, with its test."""
    root = tmp_path / "project"
    (root / "src" / "videozoo").mkdir(parents=True)
    (root / "src" / "videozoo" / "__init__.py").touch()
    (root / "src" / "videozoo" / "small.py").write_text(CODE)
    (root / "tests").mkdir()
    (root / "tests" / "test_small.py").write_text(TEST)
    (root / "tests" / "guards").symlink_to(ROOT / "tests" / "guards")
    return root


GUARD = Guard(
    group="numbers",
    promise="odd numbers are refused",
    file="small.py",
    lines='    if number % 2:\n        raise ValueError("odd")\n',
    instead="",
    test="test_small.py::test_odd",
)


def test_a_guard_is_told_from_a_line_that_nothing_tests(project: Path, tmp_path: Path):
    with closing(Copy(tmp_path / "copy", project, imported=["pytest"])) as copy:
        seen = try_out(GUARD, copy)
        other = try_out(replace(GUARD, lines="    number = int(number)\n"), copy)

    assert (seen.outcome, seen.said) == (SEEN, "Failed: DID NOT RAISE ValueError")
    assert other.outcome == UNGUARDED
    for each in (project / "src", copy.source):
        assert (each / "videozoo" / "small.py").read_text() == CODE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"file": "gone.py"}, "there is no file gone.py"),
        ({"lines": "    if number % 3:\n"}, "its lines are 0 times in small.py"),
        ({"lines": "number"}, "its lines are 5 times in small.py"),
        ({"lines": "    if number % 2:\n"}, "small.py is no Python without its lines"),
        ({"test": "test_small.py::test_even"}, "there is no test test_small.py::test_even"),
    ],
)
def test_a_row_that_no_longer_fits_is_an_error_that_says_why(
    project: Path, tmp_path: Path, change: dict[str, Any], says: str
):
    verdict = try_out(replace(GUARD, **change), Copy(tmp_path / "copy", project))

    assert verdict.outcome == ERROR
    assert says in verdict.said


@pytest.mark.parametrize(
    ("found", "outcome"),
    [
        ({"status": 1, "failed": 1, "said": "NameError: name 'x' is not defined"}, ERROR),
        ({"status": 1, "failed": 1, "said": "MemoryError"}, SEEN),
        ({"status": 0, "passed": 0, "skipped": 1}, ERROR),
        ({"status": 3}, ERROR),
        ({"status": -11}, SEEN),
        ({"status": None}, SEEN),
    ],
    ids=str,
)
def test_only_a_failure_of_the_test_itself_counts(found: dict[str, Any], outcome: str):
    nothing = {"passed": 0, "failed": 0, "skipped": 0, "said": "", "output": ""}

    assert judged(nothing | found)[0] == outcome


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    with closing(Copy(tmp_path_factory.mktemp("copy"))) as made:
        yield made


@pytest.mark.guarantee("A guard that is taken out is missed by its test")
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("guard", ROWS, ids=[row.name for row in ROWS])
def test_a_guard_that_is_taken_out_is_missed(guard: Guard, copy: Copy):
    verdict = try_out(guard, copy)

    assert verdict.outcome == SEEN, f"{TABLE.name}: {guard.name}: {verdict.said}"
