"""The numbers of the 2019 library, set by set: the checks that `bash run.sh parity` runs."""

from pathlib import Path

import pytest
from tools.parity.__main__ import check, covered

GOLDEN = Path(__file__).parent / "golden"
SETS = sorted(p.name for p in GOLDEN.iterdir() if (p / "meta.json").exists() or covered(p.name))
SLOW = {
    "nonlocal_arc3",  # 101 layers; those of 50 take the same code
    "nonlocal_arc4",
    "ctcn",
    "caption_metrics",  # METEOR takes half a minute to start
}
MARKED = [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in SETS]


@pytest.mark.parametrize("name", MARKED)
def test_recorded_numbers_hold(name: str):
    rows = list(check(GOLDEN / name))

    assert rows
    assert [row for row in rows if not row.ok] == []
