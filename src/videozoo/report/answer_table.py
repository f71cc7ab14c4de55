"""Answers as one flat CSV table, the same columns for all tasks."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from videozoo.report.answers import Row
from videozoo.report.files import write_text

COLUMNS = ("video", "model", "start_seconds", "end_seconds", "name", "score", "rank")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What text must not begin with in a spreadsheet, which would compute it."""


def csv_text(rows: Sequence[Row]) -> str:
    """Answers as CSV (RFC 4180: commas, quotes where needed, lines end in CR LF).

    Times are empty for whole videos, and where they are not seconds. A name that a spreadsheet
    would compute (it begins with `=`, `+`, `-` or `@`) gets an apostrophe in front of it, and so
    does a name that begins with apostrophes and such a sign; `plain_text` takes it away.

    >>> row = Row(video="a,b.mp4", model="C-TCN", kind="segment", name="=run", score=0.9, rank=1,
    ...           start=1.5, end=2)
    >>> print(csv_text([row]).replace("\\r", ""), end="")
    video,model,start_seconds,end_seconds,name,score,rank
    "a,b.mp4",C-TCN,1.5,2.0,'=run,0.9,1
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for row in rows:
        start, end = row.seconds or (None, None)
        score = "" if math.isnan(row.score) else f"{row.score:.6g}"
        times = ["" if each is None else f"{float(each):.6f}".rstrip("0") for each in (start, end)]
        times = [f"{each}0" if each.endswith(".") else each for each in times]
        names = _harmless(row.video), _harmless(row.model), *times, _harmless(row.name)
        writer.writerow((*names, score, row.rank))
    return text.getvalue()


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    """Write answers as one CSV file, UTF-8.

    Raises:
        RunError: The disk refuses.
    """
    return write_text(path, csv_text(rows))


def _harmless(text: str) -> str:
    return f"'{text}" if text.lstrip("'").startswith(_FORMULA) else text


def plain_text(cell: str) -> str:
    """A name as it was before `csv_text` guarded it.

    >>> [plain_text(cell) for cell in ("'=run", "''=run", "run", "'n roll")]
    ['=run', "'=run", 'run', "'n roll"]
    """
    guarded = cell.startswith("'") and cell.lstrip("'").startswith(_FORMULA)
    return cell[1:] if guarded else cell
