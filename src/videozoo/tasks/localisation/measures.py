"""Metrics of segments, and detections from proposals and the classes of their videos."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from videozoo.data.annotations.segment_results import read_class_scores
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.text import json_of, of_video, text_of
from videozoo.data.video_names import names_apart
from videozoo.errors import DataError, counted, few
from videozoo.metrics.detection import ERRORS, DetectionCounter
from videozoo.metrics.proposals import ACTIVITYNET_TIOUS, Bucket, ProposalCounter, ProposalResult
from videozoo.settings.segments import SequenceEval, SequenceViews
from videozoo.tasks.localisation.results import VideoProposals
from videozoo.tasks.localisation.scoring import LocalisationResults, VideoSource
from videozoo.types import Candidates

ClassScores = Mapping[str, Mapping[str, float]]
_CURVE_END = 100.0  # of ActivityNet's AUC
_SMALLEST = 5e-5  # smallest difference of a metric that shows in its last printed digit
_PREDICTIONS = "predictions.json"


@dataclass(frozen=True)
class Truth:
    """The annotated segments of the videos that have results."""

    segments: dict[str, list[tuple[float, float]]]
    durations: dict[str, float]
    labels: dict[str, Any]

    @classmethod
    def of(cls, annotations: Annotations, videos: Iterable[Annotation]) -> Truth:
        """Collect the annotated segments of some videos.

        Raises:
            DataError: No video has an annotated segment.
        """
        found = cls({}, {}, {})
        for each in videos:
            found.segments[each.video] = [(i.start_seconds, i.end_seconds) for i in each.instances]
            found.durations[each.video] = each.duration_seconds
            found.labels[each.video] = annotations.labels(each)
        if not any(found.segments.values()):
            raise DataError(
                f"{annotations.path}: none of the {counted(len(found.segments), 'video')} has an "
                "annotated segment; there is nothing to compare with (`predict` needs none)"
            )
        return found


def videos_of(source: VideoSource, results: LocalisationResults) -> list[Annotation]:
    """The videos that have results."""
    return [source.present[number] for number in results.by_number]


def count_proposals(
    truth: Truth, videos: Iterable[VideoProposals], tious: Sequence[float] = ()
) -> ProposalCounter:
    """Collect the segments found, ignoring classes."""
    counter = ProposalCounter(
        truth.segments, durations_seconds=truth.durations, tious=tious or ACTIVITYNET_TIOUS
    )
    for each in videos:
        seconds = each.found.segments * each.duration_seconds
        counter.update(each.video, np.clip(seconds, 0, each.duration_seconds), each.found.scores)
    return counter


def count_detections(
    truth: Truth, videos: Iterable[VideoProposals], tious: Sequence[float] = ()
) -> DetectionCounter:
    """Collect the segments found, with their classes."""
    counter = DetectionCounter(
        truth.segments,
        truth.labels,
        durations_seconds=truth.durations,
        tious=tious or ACTIVITYNET_TIOUS,
    )
    for each in videos:
        seconds = np.clip(each.found.segments * each.duration_seconds, 0, each.duration_seconds)
        assert each.found.labels is not None
        counter.update(each.video, seconds, each.found.scores, each.found.labels)
    return counter


# --- for training ----------------------------------------------------------------------------


def validation_metrics(
    source: VideoSource, results: LocalisationResults, decides: str
) -> dict[str, float]:
    """Compute the metric that decides between epochs, and those reported beside it."""
    if not results.by_number:
        return {}
    metrics = dict(results.counter.means)
    if decides == "loss":
        return metrics
    truth = Truth.of(source.annotations, videos_of(source, results))
    found = results.by_number.values()
    if decides == "map":
        summary = count_detections(truth, found).result().summary()
        return metrics | {"map": summary["map"], "map@0.5": summary["map@0.5"]}
    return metrics | count_proposals(truth, found).result().summary()


# --- for evaluation --------------------------------------------------------------------------


@dataclass
class Measured:
    """All results of an evaluation."""

    metrics: dict[str, float]
    """Shares in [0, 1], and losses."""
    curve: dict[str, list[float]] = field(default_factory=dict[str, list[float]])
    """`average_number` and `average_recall`, the points of the curve."""
    by_length: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Average recall at the end of the curve, by length of the annotated segment in seconds."""
    by_coverage: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The same, by the share of the video that the annotated segment covers."""
    detections: dict[str, Any] | None = None
    """For segments with classes: precision by class, wrong detections, missed segments."""
    ties: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """For metrics that depend on the order of equal scores: how many there are, and the value for
    the opposite order."""


def measure_proposals(truth: Truth, results: LocalisationResults, views: SequenceEval) -> Measured:
    """Average recall, its curve, and its dependence on length and coverage."""
    counter = count_proposals(truth, results.by_number.values(), views.tious)
    measured = proposals_measured(counter, views)
    measured.metrics |= results.counter.means
    return measured


def proposals_measured(
    counter: ProposalCounter, views: SequenceEval, *, by_coverage: bool = True
) -> Measured:
    """The metrics of proposals that were counted; `by_coverage`: lengths of videos are known."""
    result = counter.result(_CURVE_END)
    metrics = {f"ar@{n:g}": _recall_at(counter, result, n) for n in views.average_numbers}
    return Measured(
        metrics=metrics | {"auc": result.auc},
        ties=_ties(counter, "auc", result.auc, lambda: counter.backwards().result(_CURVE_END).auc),
        curve={
            "average_number": result.proposals_per_video.tolist(),
            "average_recall": result.average_recall.tolist(),
        },
        by_length=_rows(result.by_length()),
        by_coverage=_rows(result.by_coverage()) if by_coverage else [],
    )


def _ties(
    counter: ProposalCounter | DetectionCounter,
    metric: str,
    value: float,
    turned: Callable[[], float],
) -> list[dict[str, Any]]:
    """The entry of `Measured.ties` for a metric; empty if equal scores do not matter."""
    tied = counter.tied()
    other = turned() if tied else value
    if abs(other - value) < _SMALLEST:
        return []
    return [{"metric": metric, "tied": tied, "value": value, "in_opposite_order": other}]


def _recall_at(counter: ProposalCounter, result: ProposalResult, average: float) -> float:
    if average > result.proposals_per_video[-1]:
        result = counter.result(average)
    # fewer proposals than requested: the curve ends early and stays constant
    return result.average_recall_at(min(average, float(result.proposals_per_video[-1])))


def measure_detections(
    truth: Truth, results: LocalisationResults, views: SequenceEval, names: Sequence[str]
) -> tuple[dict[str, float], dict[str, Any], list[dict[str, Any]]]:
    """Mean average precision, and an analysis of errors.

    Returns:
        Metrics, and the content of `Measured.detections` and `Measured.ties`.
    """
    return detections_measured(
        count_detections(truth, results.by_number.values(), views.tious), names
    )


def detections_measured(
    counter: DetectionCounter, names: Sequence[str], *, by_coverage: bool = True
) -> tuple[dict[str, float], dict[str, Any], list[dict[str, Any]]]:
    """The same for detections that were counted; `by_coverage`: lengths of videos are known."""
    result = counter.result()
    tiou = 0.5 if np.isclose(counter.tious, 0.5).any() else float(counter.tious[0])
    wrong, missed = counter.false_positives(tiou), counter.missed(tiou)
    kinds = ("right", *ERRORS)
    facts = {
        "tiou": tiou,
        "detections": result.detections,
        "classes": [
            {"class": names[number], "ap": float(ap), "ap_at_tiou": float(at)}
            for number, ap, at in zip(
                result.classes.tolist(),
                result.ap.mean(axis=0),
                result.ap[int(np.argmin(abs(counter.tious - tiou)))],
                strict=True,
            )
        ],
        # per class as many of the best detections as it has annotated segments, and ten times
        "best": dict(zip(kinds, wrong.shares[0].tolist(), strict=True)),
        "best_10": dict(zip(kinds, wrong.shares[-1].tolist(), strict=True)),
        "gains": dict(wrong.gains),
        "missed": missed.share,
        "missed_by_length": _rows(missed.by_length()),
        "missed_by_coverage": _rows(missed.by_coverage()) if by_coverage else [],
        "missed_by_instances": _rows(missed.by_instances()),
    }
    ties = _ties(counter, "map", result.mean_ap, lambda: counter.backwards().result().mean_ap)
    return result.summary(), facts, ties


def _rows(buckets: Iterable[Bucket]) -> list[dict[str, Any]]:
    return [
        {
            "above": each.above,
            "up_to": None if np.isinf(each.up_to) else each.up_to,
            "segments": each.truths,
            "share": each.share,
        }
        for each in buckets
    ]


# --- from proposals to detections ------------------------------------------------------------


def read_labels(path: Path) -> ClassScores:
    """Read class scores of whole videos, from other tools or from our own models.

    Args:
        path: JSON as `data.activitynet.read_class_scores` knows it, or `predictions.json` of
            `videozoo predict` with a model that classifies or tags videos, or its folder.

    Raises:
        DataError: `path` is none of these.
    """
    if path.is_dir():
        if not (path / _PREDICTIONS).is_file():
            raise DataError(
                f"{path}: holds no {_PREDICTIONS}; name a folder that `predict` wrote with a "
                "model that classifies the videos, or a JSON file of class scores"
            )
        path = path / _PREDICTIONS
    listed = _predictions(path)
    if listed is None:
        return read_class_scores(path)
    scores: dict[str, dict[str, float]] = {}
    names = names_apart([Path(str(row.get("video", ""))) for row in listed])
    for name, row in zip(names, listed, strict=True):
        top = row.get("top")
        if not isinstance(top, list) or not row.get("video"):
            raise DataError(f"{path}: predictions without classes, expected those of a classifier")
        best = cast("list[dict[str, Any]]", top)
        scores[name] = {each["class"]: each["score"] for each in best}
    return scores


def _predictions(path: Path) -> list[dict[str, Any]] | None:
    content = json_of(path, text_of(path))
    listed: Any = content.get("predictions") if isinstance(content, dict) else None
    return cast("list[dict[str, Any]]", listed) if isinstance(listed, list) and listed else None


def joined(
    results: LocalisationResults, scores: ClassScores, names: Sequence[str], views: SequenceViews
) -> LocalisationResults:
    """Give every proposal the most likely classes of its video; scores are multiplied.

    Args:
        results: Proposals, without classes.
        scores: Video -> class -> score.
        names: The class names, in order.
        views: Says how many classes.

    Raises:
        DataError: A class is not among `names`, or no video has scores.
    """
    numbers = {name: number for number, name in enumerate(names)}
    changed = LocalisationResults(results.counter, skipped=results.skipped)
    num_known = 0
    for number, each in results.by_number.items():
        row = of_video(each.video, scores) or {}
        num_known += bool(row)
        best = sorted(row.items(), key=lambda pair: -pair[1])[: views.classes_per_video]
        for name, _ in best:
            if name not in numbers:
                raise DataError(
                    f"labels: unknown class {name!r} of video {each.video!r}, expected one of "
                    f"{len(names)}: {few(map(repr, names))}"
                )
        changed.by_number[number] = _with_classes(each, [(numbers[n], s) for n, s in best])
    if results.by_number and not num_known:
        theirs, ours = next(iter(scores)), next(iter(results.by_number.values())).video
        raise DataError(
            f"labels: no class scores for any of the {counted(len(results.by_number), 'video')}; "
            f"the names differ: {theirs!r} there, {ours!r} here"
        )
    return changed


def _with_classes(video: VideoProposals, classes: Sequence[tuple[int, float]]) -> VideoProposals:
    found, count = video.found, len(video.found.scores)
    scores = np.outer([score for _, score in classes], found.scores).ravel()
    labels = np.repeat(np.array([number for number, _ in classes], np.int64), count)
    order = np.argsort(-scores, kind="stable")
    segments = np.tile(found.segments, (len(classes), 1))
    made = Candidates(segments[order].reshape(-1, 2), scores[order], labels[order])
    return VideoProposals(video.video, video.duration_seconds, made, video.curves)
