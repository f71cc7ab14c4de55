"""Score result files of any model against the truth: no model, no features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo.commands import reading_as_flags
from videozoo.data.annotations.result_formats import (
    AnyResults,
    CaptionResults,
    LabelResults,
    MomentResults,
    SegmentRankings,
    SegmentResults,
    read_any_results,
)
from videozoo.errors import DataError
from videozoo.tasks.common import write_json
from videozoo.tasks.score.captions import score_sentence_results
from videozoo.tasks.score.labels import score_labels
from videozoo.tasks.score.moments import score_moments
from videozoo.tasks.score.rankings import score_rankings
from videozoo.tasks.score.request import Scored, ScoreRequest
from videozoo.tasks.score.segments import score_segments

_KINDS: dict[type[AnyResults], tuple[str, Callable[[Any, ScoreRequest], Scored]]] = {
    SegmentResults: ("segments", score_segments),
    LabelResults: ("classes of videos", score_labels),
    CaptionResults: ("sentences", score_sentence_results),
    SegmentRankings: ("rankings of segments", score_rankings),
    MomentResults: ("moments", score_moments),
}
"""Type of results -> what they are, and how they are scored."""


def score(request: ScoreRequest, *, console: Console | None = None) -> dict[str, Any]:
    """Compare a file of results with the truth; print what `eval` prints.

    Args:
        request: The options of the command.
        console: For tables; standard output when None.

    Returns:
        The content of the JSON file: metrics are shares in [0, 1].

    Raises:
        DataError: A file is missing, damaged or of no known format, or the two do not fit.
    """
    if request.json_path is not None:
        _check_file(request.json_path)
    form, results = read_any_results(request.results)
    what, measure = _KINDS[type(results)]
    try:
        found = measure(results, request)
    except DataError as error:
        raise type(error)(reading_as_flags(str(error))) from None
    console = console or Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"{request.results}: {form}, {what}; truth: {found.truth}")
    for note in found.notes:
        say(f"note: {reading_as_flags(note)}")
    for table in found.tables:
        if isinstance(table, str):
            say(table)
        else:
            console.print(table)
    facts = {
        "results": str(request.results),
        "format": form,
        "truth": [str(path) for path in request.truth],
        "truth_format": found.truth,
        "notes": list(map(reading_as_flags, found.notes)),
        **found.facts,
    }
    if request.json_path is not None:
        say(f"written: {write_json(request.json_path, facts)}")
    return facts


def _check_file(path: Path) -> None:
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise DataError(f"--json {path}: expected a file in a folder that exists")
