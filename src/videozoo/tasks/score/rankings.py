"""Score rankings of segments per class, as the YouTube-8M challenge of 2019 did: MAP@N."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from videozoo.data.annotations.result_formats import SegmentRankings
from videozoo.data.annotations.segment_rankings import MOST_SEGMENTS
from videozoo.data.features.rated_segments import rated_segments, segment_name
from videozoo.data.features.record_formats import find_records
from videozoo.data.formats import TextFile
from videozoo.data.text import finite_number, integer, raise_all
from videozoo.errors import DataError, UsageError, counted, few
from videozoo.metrics.tagging import average_precision
from videozoo.report.tables import summary_table, tag_table
from videozoo.tasks.score.request import Scored, ScoreRequest

_Ratings = Mapping[tuple[str, int], bool]
"""(segment, class) -> whether a person saw the class there; a segment is VIDEO:START."""


def score_rankings(results: SegmentRankings, request: ScoreRequest) -> Scored:
    """Measure MAP@N over the classes that some rated segment has.

    Per class only segments that people rated for it count, of the first N of its ranking. A class
    without a ranking counts 0 (the challenge's own program leaves it out).

    Raises:
        DataError: The truth has no ratings, or none of the ranked segments is rated.

    Source: google/youtube-8m, segment_eval_inference.py; its numbers.
    """
    request.check_reading_unused()
    if request.subset is not None or request.tious:
        raise UsageError("--subset and --tious are not for rankings of segments")
    name, ratings = _ratings(request.one_truth)
    positives = Counter(label for (_, label), is_present in ratings.items() if is_present)
    notes: list[str] = []
    precisions: dict[int, float] = {}
    num_ranked = num_rated = 0
    for label, segments in results.by_class.items():
        listed = segments[:MOST_SEGMENTS]
        hits = [ratings[one, label] for one in listed if (one, label) in ratings]
        num_ranked, num_rated = num_ranked + len(segments), num_rated + len(hits)
        if positives[label]:
            ranks = -np.arange(len(hits), dtype=np.float64)
            precisions[label] = average_precision(ranks, hits, positives=positives[label])
    if not num_rated:
        ours = next((one for many in results.by_class.values() for one in many), "none")
        raise DataError(
            f"{request.results}: none of its {counted(num_ranked, 'segment')} is rated for its "
            f"class in {request.one_truth}: {ours!r} there, {next(iter(ratings))[0]!r} in the truth"
        )
    missing = sorted(set(positives) - set(precisions))
    if missing:
        notes.append(
            f"{counted(len(missing), 'class')} of the truth without a ranking, counted as 0: "
            f"{few(missing)}"
        )
    extra = sorted(set(results.by_class) - set(positives))
    if extra:
        notes.append(f"{counted(len(extra), 'class')} that no rated segment has: {few(extra)}")
    notes.append(
        f"{num_rated:,} of {counted(num_ranked, 'segment')} are rated for their class; others do "
        "not count"
    )
    aps = {label: precisions.get(label, 0.0) for label in sorted(positives)}
    classes = [
        {"class": str(label), "videos": positives[label], "ap": ap} for label, ap in aps.items()
    ]
    metrics = {"map": float(np.mean(list(aps.values())))}
    return Scored(
        truth=f"{name} ({counted(len(ratings), 'rating')})",
        facts={
            "kind": "rankings of segments",
            "most_segments": MOST_SEGMENTS,
            "metrics": metrics,
            "classes": classes,
            "missing": missing,
        },
        tables=[
            summary_table(metrics, title=f"At most {MOST_SEGMENTS:,} segments per class"),
            tag_table(classes),
        ],
        notes=notes,
    )


def _ratings(path: Path) -> tuple[str, _Ratings]:
    """Ratings of segments: records of YouTube-8M, or lines VIDEO:START,CLASS,SCORE."""
    is_text = path.is_file() and path.suffix.lower() in (".csv", ".txt")
    name, found = _from_lines(path) if is_text else _from_records(path)
    if not any(found.values()):
        raise DataError(f"{path}: no segment has a class; there is nothing to find")
    return name, found


def _from_records(path: Path) -> tuple[str, _Ratings]:
    records = find_records(path)
    found: dict[tuple[str, int], bool] = {}
    for number in range(len(records)):
        record = records.read(number)
        for one in rated_segments(record, records.where_named(number, record.name)):
            for label, is_there in zip(one.labels, one.present, strict=True):
                found[segment_name(record.name, one.start), label] = is_there
    records.close()
    if not found:
        raise DataError(
            f"{path}: no labels of segments in {counted(len(records), 'record')}; the validation "
            "part of YouTube-8M 2019 has them"
        )
    return "records with labels of segments", found


def _from_lines(path: Path) -> tuple[str, _Ratings]:
    found: dict[tuple[str, int], bool] = {}
    problems: list[str] = []
    for number, line in TextFile(path).lines:
        segment, *rest = line.rsplit(",", 2)
        label = integer(rest[0]) if len(rest) == 2 else None
        value = finite_number(rest[1]) if len(rest) == 2 else None
        if label is None or value is None or ":" not in segment:
            problems.append(f"{path}:{number}: expected VIDEO:START,CLASS,SCORE, got {line[:80]!r}")
        else:
            found[segment, label] = value > 0
    raise_all(path, problems)
    return "lines of ratings of segments", found
