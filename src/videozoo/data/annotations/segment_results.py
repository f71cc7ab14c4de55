"""Results files as ActivityNet's evaluation reads them: segments, and scores of classes.

The files are JSON, `{"version", "results", "external_data"}`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from videozoo.data.text import finite_number, json_of, kind_of, object_of, text_of
from videozoo.errors import DataError
from videozoo.safe_write import written_aside


@dataclass(frozen=True)
class Detection:
    """A segment that may hold an action; a proposal if it has no label."""

    start_seconds: float
    end_seconds: float
    score: float
    label: str | None = None


ResultForm = Literal["activitynet", "bmn_2019", "ctcn_2019"]


def write_results(
    path: Path,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    form: ResultForm = "activitynet",
) -> None:
    """Write segments as ActivityNet's evaluation reads them.

    Args:
        path: The JSON file.
        results: Segments of each video, best first: `score`, `segment` in seconds and, if known,
            `label`; see `ops.proposal_generation.result_entries`. A `v_` before the name of a
            video is left out, except in `ctcn_2019`.
        form: `activitynet`, or exactly what the 2019 library wrote: `bmn_2019` (also for BSN) or
            `ctcn_2019`, which misspells "used".

    Source: PaddlePaddle/models release/1.8, `bmn_metrics`, `bsn_metrics`, `detections_metrics`.
    """
    if form == "ctcn_2019":
        external: dict[str, Any] = {"uesd": False, "details": "none"}
        ordered: dict[str, Any] = {"external_data": external, "results": dict(results)}
    else:
        external = {} if form == "bmn_2019" else {"used": False, "details": ""}
        named = {name.removeprefix("v_"): list(found) for name, found in results.items()}
        ordered = {"results": named, "external_data": external}
    _write_json(path, {"version": "VERSION 1.3", **ordered})


def read_results(path: Path) -> dict[str, list[Detection]]:
    """Read segments in any `ResultForm`.

    Raises:
        DataError: The file is missing or damaged, or holds no results.
    """
    return detections_in(path, _results_of(path))


def detections_in(path: Path, results: Mapping[str, Any]) -> dict[str, list[Detection]]:
    """The segments of the value of `results` in a file.

    Raises:
        DataError: An entry has no score, or no segment.
    """
    found: dict[str, list[Detection]] = {}
    for name, listed in results.items():
        if not isinstance(listed, list):
            raise DataError(f"{path}: {name}: holds {kind_of(listed)}, expected a list of segments")
        found[name] = [
            _detection(f"{path}: {name}: result {number}", one)
            for number, one in enumerate(cast("list[Any]", listed))
        ]
    return found


def _detection(where: str, one: Any) -> Detection:
    facts = cast("dict[str, Any]", one) if isinstance(one, dict) else {}
    segment, score = facts.get("segment"), finite_number(facts.get("score"))
    ends: list[float | None] = []
    if isinstance(segment, list):
        ends = [finite_number(value) for value in cast("list[Any]", segment)]
    if score is None or len(ends) != 2 or ends[0] is None or ends[1] is None:
        raise DataError(
            f"{where}: {json.dumps(one)[:80]}, expected a score and a segment [start, end]"
        )
    if ends[1] < ends[0]:
        raise DataError(f"{where}: a segment of {ends[0]:g} to {ends[1]:g} s ends before it starts")
    label = facts.get("label")
    return Detection(ends[0], ends[1], score, None if label is None else str(label))


def read_class_scores(path: Path) -> dict[str, dict[str, float]]:
    """Read the scores of the classes of each video, to combine proposals with classes.

    Known are ActivityNet's classification results (`results: {NAME: [{"label", "score"}]}`), the
    form of CUHK's classifier (`results: {NAME: [score, ...]}, class: [NAME, ...]`), and a plain
    object from video to class to score.

    Raises:
        DataError: The file is missing or damaged, or holds no scores.
    """
    content = object_of(json_of(path, text_of(path)), path)
    results = _results_of(path) if "results" in content else content
    return class_scores_in(path, results, content.get("class", []))


def class_scores_in(
    path: Path, results: Mapping[str, Any], names: Any
) -> dict[str, dict[str, float]]:
    """The scores of classes in the value of `results` in a file; `names`: those of plain lists.

    Raises:
        DataError: An entry has no scores, or there are none.
    """
    scores: dict[str, dict[str, float]] = {}
    for video, given in results.items():
        row = _scores_of(given, names)
        if row is None:
            raise DataError(
                f"{path}: {video}: {json.dumps(given)[:80]}, expected scores of classes: "
                '[{"label": NAME, "score": NUMBER}, ...] or {NAME: NUMBER, ...}'
            )
        scores[video] = row
    if not scores:
        raise DataError(f"{path}: holds no scores")
    return scores


def _scores_of(given: Any, names: Any) -> dict[str, float] | None:
    if isinstance(given, dict):
        pairs = list(cast("dict[str, Any]", given).items())
    elif not isinstance(given, list):
        return None
    elif all(isinstance(one, dict) for one in cast("list[Any]", given)):
        listed = cast("list[dict[str, Any]]", given)
        pairs = [(str(one.get("label")), one.get("score")) for one in listed]
    elif isinstance(names, list) and len(cast("list[Any]", names)) == len(given):
        pairs = [(str(name), score) for name, score in zip(names, given, strict=True)]
    else:
        return None
    row = {label: finite_number(score) for label, score in pairs}
    known = {label: score for label, score in row.items() if score is not None}
    return known if len(known) == len(pairs) else None


def _results_of(path: Path) -> dict[str, Any]:
    content = object_of(json_of(path, text_of(path)), path)
    results = content.get("results")
    if not isinstance(results, dict):
        hint = "; these are annotations" if "database" in content else ""
        raise DataError(f"{path}: has no object 'results'{hint}")
    if not results:
        raise DataError(f"{path}: holds no results")
    return cast("dict[str, Any]", results)


def _write_json(path: Path, content: Any) -> None:
    with written_aside(path) as aside:
        aside.write_text(json.dumps(content), encoding="utf-8")
