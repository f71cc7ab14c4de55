"""Submissions of QVHighlights: the moments and the scores of clips that a model found.

JSON lines, one per sentence, with `qid`, `query`, `vid`, `pred_relevant_windows` [[start, end,
score]] in seconds, the best first, and `pred_saliency_scores`, one number per clip of 2 s.

Source: jayleicn/moment_detr, standalone_eval/README.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number
from videozoo.errors import DataError, brief, few
from videozoo.safe_write import written_aside

_EXPECTED = (
    'a submission of QVHighlights, one line per sentence: {"qid": 1, "query": "A man runs.", '
    '"vid": "a", "pred_relevant_windows": [[0, 2.5, 0.9]], "pred_saliency_scores": [0.1]}'
)


@dataclass(frozen=True, kw_only=True)
class MomentAnswer:
    """What was found for one sentence."""

    query: int | str
    """Identifier of the sentence: its `qid`."""
    video: str
    sentence: str
    moments: NDArray[np.float64]
    """(P, 2), start and end in seconds, the best first."""
    scores: NDArray[np.float64]
    """(P,), larger is better."""
    saliency: NDArray[np.float64] | None = None
    """(C,), a score per clip of 2 s; None: not given."""
    where: str = field(default="", compare=False)
    """File and place, for messages."""

    @property
    def is_ranked(self) -> bool:
        """Whether no moment has a higher score than the one before it."""
        return not (np.diff(self.scores) > 0).any()


def is_submission(file: TextFile) -> bool:
    """Whether a file looks like a submission of QVHighlights."""
    return any(
        isinstance(record, dict) and not {"pred_relevant_windows", "vid"} - record.keys()
        for _, record in _records(file)[:1]
    )


def read_submission(path: Path) -> list[MomentAnswer]:
    """Read a submission of QVHighlights.

    Raises:
        DataError: It cannot be read, is something else, or has mistakes, which are listed with
            their places.
    """
    file = TextFile(path)
    problems: list[str] = []
    answers: list[MomentAnswer] = []
    for place, record in _records(file):
        answer = _answer(path, place, record)
        if isinstance(answer, str):
            problems.append(f"{place}: {answer}")
        else:
            answers.append(answer)
    if not answers and not problems:
        raise DataError(f"{path}: {file.seen}; expected {_EXPECTED}")
    seen: dict[str, str] = {}
    for one in answers:
        first = seen.setdefault(str(one.query), one.where)
        if first != one.where:
            problems.append(f"qid {one.query} is there twice: {first} and {one.where}")
    if problems:
        raise DataError(f"{path}: {few(problems, between='; ')}; expected {_EXPECTED}")
    return answers


def _records(file: TextFile) -> list[tuple[str, Any]]:
    """Entries; a file of one line is one entry."""
    one = isinstance(file.content, dict) and "vid" in file.content
    return [("line 1", file.content)] if one else file.records


def _answer(path: Path, place: str, record: Any) -> MomentAnswer | str:
    """An entry; or what is wrong with it."""
    if not isinstance(record, dict):
        return f"{brief(record)} is no object"
    facts = cast("dict[str, Any]", record)
    query, video = facts.get("qid"), facts.get("vid")
    if isinstance(query, bool) or not isinstance(query, int | str) or video is None:
        return f"expected `qid` and `vid`, got {few(map(repr, facts), 4)}"
    rows = _table(facts.get("pred_relevant_windows"), 3)
    if rows is None:
        got = brief(facts.get("pred_relevant_windows"))
        return f"pred_relevant_windows: expected [[start, end, score], ...], got {got}"
    if (rows[:, 1] < rows[:, 0]).any():
        start, end, _ = rows[rows[:, 1] < rows[:, 0]][0]
        return f"pred_relevant_windows: {start:g} to {end:g} s ends before it starts"
    given = facts.get("pred_saliency_scores")
    saliency = None if given is None else _table([given], None)
    if given is not None and saliency is None:
        return f"pred_saliency_scores: expected a list of numbers, got {brief(given)}"
    return MomentAnswer(
        query=query,
        video=str(video),
        sentence=str(facts.get("query", "")),
        moments=rows[:, :2],
        scores=rows[:, 2],
        saliency=None if saliency is None else saliency[0],
        where=f"{path}: {place}",
    )


def _table(value: Any, columns: int | None) -> NDArray[np.float64] | None:
    """Rows of finite numbers; None for anything else."""
    if not isinstance(value, list):
        return None
    rows: list[list[float]] = []
    for row in cast("list[Any]", value):
        if not isinstance(row, list) or columns not in (None, len(cast("list[Any]", row))):
            return None
        numbers = [finite_number(one) for one in cast("list[Any]", row)]
        known = [number for number in numbers if number is not None]
        if len(known) < len(numbers):
            return None
        rows.append(known)
    return np.array(rows, np.float64).reshape(len(rows), -1 if rows else columns or 0)


def write_submission(path: Path, answers: Iterable[MomentAnswer]) -> None:
    """Write a submission of QVHighlights."""
    with written_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.writelines(_lines(answers))


def _lines(answers: Iterable[MomentAnswer]) -> Iterator[str]:
    for one in answers:
        windows = np.column_stack((one.moments, one.scores)).round(6).tolist()
        entry = {
            "qid": one.query,
            "query": one.sentence,
            "vid": one.video,
            "pred_relevant_windows": windows,
        }
        if one.saliency is not None:
            entry["pred_saliency_scores"] = one.saliency.round(6).tolist()
        yield f"{json.dumps(entry)}\n"
