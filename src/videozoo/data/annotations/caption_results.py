"""Results of captioning: of events, as ActivityNet Captions submits them, or of whole videos.

Results of events are JSON, `{"version", "results": {VIDEO: [{"timestamp", "sentence"}]}}`. Those of
whole videos may have any form that `sentences.FORMATS` reads, such as COCO's list.

Source: ranjaykrishna/densevid_eval.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.timed_sentences import TimedSentence, TimedSentences
from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number
from videozoo.errors import DataError, brief, few

_EXPECTED = (
    '{"version": "VERSION 1.0", "results": {"a": [{"timestamp": [1, 2.5], "sentence": "A man '
    'runs."}]}, "external_data": {}}'
)


def is_caption_results(file: TextFile) -> bool:
    """Whether a file looks like results of captioning of events."""
    return any("sentence" in one for listed in _results(file).values() for one in _objects(listed))


def read_caption_results(path: Path) -> TimedSentences:
    """Read the captions that a model gave to events or to whole videos; they may be empty.

    Raises:
        DataError: The file cannot be read, is something else, or has mistakes, which are listed
            with their places.
    """
    file = TextFile(path)
    if not is_caption_results(file):
        if isinstance(file.content, dict) and "results" in file.content:
            raise DataError(f"{path}: its results are no captions; expected {_EXPECTED}")
        return read_timed_sentences(path, need_text=False, whole_videos=True)
    problems: list[str] = []
    found = tuple(_read(path, _results(file), problems))
    if problems:
        raise DataError(f"{path}: {few(problems, between='; ')}; expected {_EXPECTED}")
    return TimedSentences(path, found, {}).with_names()


def _results(file: TextFile) -> dict[str, Any]:
    content: Any = file.content
    results: Any = (
        cast("dict[str, Any]", content).get("results") if isinstance(content, dict) else 0
    )
    return cast("dict[str, Any]", results) if isinstance(results, dict) else {}


def _objects(listed: Any) -> list[dict[str, Any]]:
    entries = cast("list[Any]", listed) if isinstance(listed, list) else []
    return [one for one in entries if isinstance(one, dict)]


def _read(path: Path, results: dict[str, Any], problems: list[str]) -> Iterator[TimedSentence]:
    for video, listed in results.items():
        if not isinstance(listed, list):
            problems.append(f"{video}: expected a list of captions, got {brief(listed)}")
            continue
        for number, one in enumerate(cast("list[Any]", listed)):
            place = f"{video}: caption {number}"
            facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
            stamp: Any = facts.get("timestamp")
            ends = [finite_number(value) for value in stamp] if isinstance(stamp, list) else []
            start, end = ends if len(ends) == 2 else (None, None)
            if not isinstance(facts.get("sentence"), str) or start is None or end is None:
                problems.append(
                    f"{place}: expected a `sentence` and a `timestamp` [start, end], got "
                    f"{brief(one)}"
                )
                continue
            if end < start:
                problems.append(f"{place}: {start:g} to {end:g} s ends before it starts")
                continue
            yield TimedSentence(
                video=video,
                start_seconds=start,
                end_seconds=end,
                sentence=" ".join(facts["sentence"].split()),
                where=f"{path}: {place}",
            )
