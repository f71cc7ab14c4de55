"""SECURITY.md names every format that is read; docs/reliability.md the versions allowed."""

import re
from pathlib import Path
from typing import get_args

import pytest
from tools.minimum import read_project, table

from videozoo.data.files import IMAGE_SUFFIXES, PICKLE_SUFFIXES
from videozoo.data.format_groups import GROUPS
from videozoo.weights import exported, kinds

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "videozoo"
ROWS = [
    [cell.strip() for cell in line.strip("| ").split(" | ")]
    for line in (ROOT / "SECURITY.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("|")
][2:]
NAMED = {word for row in ROWS for word in re.findall(r"`([^`]+)`", row[1])}
SAME = {".pickle": ".pkl"}  # two endings of one format


def read_somewhere() -> dict[str, str]:
    """Ending of a file, or kind of weights, to what reads it."""
    found: dict[str, str] = dict.fromkeys(get_args(kinds.Kind), "weights")
    found |= dict.fromkeys(exported.SUFFIXES.values(), "exported models")
    found |= dict.fromkeys(sorted(IMAGE_SUFFIXES), "images")
    found |= dict.fromkeys(sorted(PICKLE_SUFFIXES), "pickles")
    for group in GROUPS:
        found |= {Path(one.file).suffix: f"{group.name}: {one.name}" for one in group.formats}
    # the first of two endings names the reader, whatever the order of hashes
    return {str(SAME.get(name, name)): found[name] for name in sorted(found, reverse=True)}


@pytest.mark.parametrize(("name", "reader"), sorted(read_somewhere().items()))
def test_every_format_that_is_read_has_its_row(name: str, reader: str):
    bare = {word.removeprefix(".") for word in NAMED}
    assert name in NAMED or name in bare, f"SECURITY.md has no row for {name} ({reader})"


def test_every_row_says_what_happens_and_where_in_the_code():
    assert len(ROWS) > 15
    for row in ROWS:
        assert len(row) == 5, row
        modules = re.findall(r"`([^`]+\.py)`", row[4])
        assert modules, row[0]
        assert [name for name in modules if not (SOURCE / name).is_file()] == [], row[0]


def test_every_reader_of_plain_data_is_in_a_row():
    named = " ".join(row[4] for row in ROWS)
    writers = {"safe_lock.py", "safe_write.py"}
    assert [
        path.name
        for path in SOURCE.glob("safe_*.py")
        if path.name not in writers and path.name not in named
    ] == []


def test_the_page_of_figures_has_the_versions_of_pyproject():
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    assert table(read_project()) in page, "run `python tools/minimum.py --table`, and put it there"
