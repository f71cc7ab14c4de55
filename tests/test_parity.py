"""The numbers of the 2019 library, set by set: the checks that `bash run.sh parity` runs."""

from pathlib import Path

import pytest
from tools.parity.__main__ import check, covered

GOLDEN = Path(__file__).parent / "golden"
SETS = sorted(p.name for p in GOLDEN.iterdir() if (p / "meta.json").exists() or covered(p.name))


@pytest.mark.parametrize("name", SETS)
def test_recorded_numbers_hold(name: str):
    rows = list(check(GOLDEN / name))

    assert rows
    assert [row for row in rows if not row.ok] == []
