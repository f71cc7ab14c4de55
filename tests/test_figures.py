"""The table of guarantees at the end of a run of pytest; parallel runs send it the same reports."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TESTS = """
import pytest

@pytest.mark.guarantee("holds")
@pytest.mark.parametrize("seconds", [1.0, 3.0, 2.0])
def test_holds(figures, seconds):
    figures.add(cases=10)
    figures.add(worst=seconds, unit="s", limit=4)

@pytest.mark.guarantee("holds")
def test_one_more_case():
    pass

@pytest.mark.guarantee("breaks")
def test_breaks(figures):
    figures.add(cases=5, failures=2, worst=1234, unit="MB")
    assert False

@pytest.fixture
def broken():
    raise OSError("no disk")

@pytest.mark.guarantee("breaks early")
def test_breaks_early(broken):
    pass

@pytest.mark.guarantee("cannot be tried here")
@pytest.mark.skipif(True, reason="no GPU")
def test_skipped():
    pass

def test_of_something_else():
    pass
"""


def test_the_tests_of_a_guarantee_share_a_row(tmp_path: Path):
    (tmp_path / "test_some.py").write_text(TESTS)
    words = ["-p", "tests.figures", "-n", "0", "--figures", tmp_path / "table.md", tmp_path]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"--rootdir={tmp_path}", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )

    lines = (tmp_path / "table.md").read_text().splitlines()
    assert "Python" in lines[0]
    assert lines[2].startswith("`pytest ")
    rows = [line.rpartition("| ")[0].rstrip() for line in lines[6:]]  # without the seconds
    assert rows == [
        "| breaks | 5 | 2 | 1,234 MB",
        "| breaks early | 1 | 1 |",
        "| cannot be tried here (not tried: 1, no GPU) | 0 | 0 |",
        "| holds | 31 | 0 | 3 s (limit 4)",
    ], done.stdout
    assert lines[-1] in done.stdout
