"""DiDeMo: moments that several people marked for each sentence, in cells of five seconds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, cast

from videozoo.data.annotations.timed_sentences import ReadState, TimedSentence
from videozoo.data.formats import TextFile
from videozoo.errors import brief, counted

CELL_SECONDS = 5.0
"""A cell; moments of DiDeMo are whole cells."""
_MOST_CELLS = 10_000  # more is no number of a cell
_AGREED = 2  # people who marked the same moment


def is_didemo(file: TextFile) -> bool:
    """Whether this is a JSON list of DiDeMo."""
    first = next((record for _, record in file.records), None)
    return isinstance(first, dict) and {"description", "times", "video"} <= set(
        cast("dict[str, Any]", first)
    )


def didemo_sentences(file: TextFile, reading: ReadState) -> Iterator[TimedSentence]:
    """A sentence is yielded once per moment that two people or more marked for it.

    Where no two people agree, every moment counts that one of them marked. `times` are the first
    and the last cell of each person's moment, from 0: [1, 4] is from 5 to 25 s. The last cell of a
    video may be shorter than five seconds.

    Source: README of LisaAnne/LocalizingMoments, "Annotations".
    """
    lone = alone = 0
    queries: dict[object, str] = {}
    for where, record in file.records:
        facts = cast("dict[str, Any]", record) if isinstance(record, dict) else {}
        video, text = facts.get("video"), facts.get("description")
        if not isinstance(video, str) or not video:
            reading.problems.append(
                f"{where}: expected an object with `video`, `description` and `times`, as DiDeMo "
                f"has them, got {brief(record)}"
            )
            continue
        place = f"{where}: {video}"
        cells = _cells(facts.get("times"))
        if cells is None:
            reading.problems.append(
                f"{place}: expected `times` [[first cell, last cell], ...], got "
                f"{brief(facts.get('times'))}"
            )
            continue
        if not cells and reading.need_times:
            reading.problems.append(
                f"{place}: no `times`: training and evaluation need the times of sentences; "
                "prediction does not"
            )
            continue
        query = facts.get("annotation_id", where)
        if isinstance(query, bool) or not isinstance(query, int | str):
            reading.problems.append(f"{place}: expected a number as `annotation_id`, got {query!r}")
            continue
        if (first := queries.setdefault(query, where)) != where:
            reading.problems.append(f"{place}: annotation_id {query} is already that of {first}")
            continue
        if not reading.is_sentence(text, place):
            continue
        counts = Counter(cells)
        agreed = [cell for cell, count in counts.items() if count >= _AGREED]
        lone += len(counts) - len(agreed) if agreed else 0
        alone += not agreed and len(counts) > 1
        for start, end in agreed or list(counts) or [(0, -1)]:
            yield TimedSentence(
                video=video,
                start_seconds=start * CELL_SECONDS,
                end_seconds=(end + 1) * CELL_SECONDS,
                sentence=" ".join(str(text).split()),
                where=f"{reading.path}: {place}",
                has_times=bool(cells),
                query=query,
                marked=tuple((a * CELL_SECONDS, (b + 1) * CELL_SECONDS) for a, b in cells),
            )
    if lone:
        reading.notes.append(
            f"{reading.path}: {counted(lone, 'moment')} that only one person marked, where others "
            "agree, left out"
        )
    if alone:
        reading.notes.append(
            f"{reading.path}: no two people agree on the moment of {counted(alone, 'sentence')}; "
            "all of theirs are used"
        )


def _cells(times: object) -> list[tuple[int, int]] | None:
    """First and last cell of each person; None if the value is something else."""
    if times is None:
        return []
    if not isinstance(times, list):
        return None
    found: list[tuple[int, int]] = []
    for pair in cast("list[Any]", times):
        ends = cast("list[Any]", pair) if isinstance(pair, list) else []
        if len(ends) != 2 or not all(type(one) is int for one in ends):
            return None
        start, end = ends
        if not 0 <= start <= end < _MOST_CELLS:
            return None
        found.append((start, end))
    return found
