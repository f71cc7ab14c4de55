"""AR@AN and detection mAP: ours beside plain loops over videos, thresholds and detections.

The plain sides do what the evaluation code of ActivityNet does, step by step; each looks at one
video or one detection at a time and compares it with NumPy.

    python -m benchmarks localisation_metrics
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    as_figures,
    check_close,
    main,
    measure,
    ratio,
)
from videozoo.metrics.detection import DetectionCounter
from videozoo.metrics.proposals import ProposalCounter

Array = NDArray[np.float64]
Truth = Mapping[str, Array]
Labels = Mapping[str, NDArray[np.int64]]
Scored = Mapping[str, tuple[Array, Array]]
Labelled = Mapping[str, tuple[Array, Array, NDArray[np.int64]]]

TIOUS = np.linspace(0.5, 0.95, 10)


def overlaps(segment: Array, others: Array) -> Array:
    """tIoU of one segment with several, which have a length."""
    shared = np.minimum(segment[1], others[:, 1]) - np.maximum(segment[0], others[:, 0])
    shared = np.maximum(shared, 0)
    return shared / ((others[:, 1] - others[:, 0]) + (segment[1] - segment[0]) - shared)


def plain_recall(
    truth: Truth, proposals: Scored, *, max_average: float = 100, tious: Array = TIOUS
) -> Array:
    """Recall at every threshold and AN, (K, 100)."""
    total = sum(len(scores) for _, scores in proposals.values())
    share = max_average * len(truth) / total
    tables: list[Array] = []
    used = 0
    for video, segments in truth.items():
        found, scores = proposals.get(video, (np.zeros((0, 2)), np.zeros(0)))
        if not len(found):
            tables.append(np.zeros((len(segments), 1)))
            continue
        best = found[np.argsort(-scores, kind="stable")][: min(int(len(found) * share), len(found))]
        used += len(best)
        tables.append(np.array([overlaps(one, best) for one in segments]))
    columns = np.arange(1, 101) / 100.0 * (max_average * float(len(truth)) / used)
    recall = np.zeros((len(tious), 100))
    for row, tiou in enumerate(tious):
        for table in tables:
            hits = table >= tiou
            counts = np.minimum((table.shape[1] * columns).astype(int), table.shape[1])
            for column, count in enumerate(counts):
                recall[row, column] += np.count_nonzero(hits[:, :count].sum(axis=1))
    return recall / sum(len(segments) for segments in truth.values())


def our_recall(truth: Truth, proposals: Scored) -> Array:
    counter = ProposalCounter(truth)
    for video, (segments, scores) in proposals.items():
        counter.update(video, segments, scores)
    return counter.result().recall


def plain_ap(truth: Truth, labels: Labels, detections: Labelled, tious: Array = TIOUS) -> Array:
    """Average precision of every threshold and class, (K, C)."""
    classes = sorted({int(label) for own in labels.values() for label in own})
    return np.stack([_plain_class_ap(c, truth, labels, detections, tious) for c in classes], 1)


def _plain_class_ap(
    label: int, truth: Truth, labels: Labels, detections: Labelled, tious: Array
) -> Array:
    positives = sum(int((own == label).sum()) for own in labels.values())
    listed = [
        (score, video, segment)
        for video, (segments, scores, own) in detections.items()
        for segment, score, number in zip(segments, scores, own, strict=True)
        if number == label
    ]
    listed.sort(key=lambda each: -each[0])
    taken: set[tuple[int, str, int]] = set()
    hits = np.zeros((len(tious), len(listed)))
    for rank, (_, video, segment) in enumerate(listed):
        if video not in truth or not (labels[video] == label).any():
            continue
        values = overlaps(segment, truth[video][labels[video] == label])
        for row, tiou in enumerate(tious):
            for place in values.argsort(kind="stable")[::-1]:
                if values[place] < tiou:
                    break
                if (row, video, int(place)) not in taken:
                    taken.add((row, video, int(place)))
                    hits[row, rank] = 1
                    break
    return np.array([_plain_average(row, positives) for row in hits])


def frames_ap(truth: Truth, labels: Labels, detections: Labelled, tious: Array = TIOUS) -> Array:
    """The same from tables of pandas, row by row: the form that ActivityNet's own code has."""
    import pandas  # pyright: ignore[reportMissingImports]

    table: Any = pandas
    annotated = table.DataFrame(
        [
            {"video": video, "start": start, "end": end, "label": int(label)}
            for video, segments in truth.items()
            for (start, end), label in zip(segments, labels[video], strict=True)
        ]
    )
    found = table.DataFrame(
        [
            {"video": video, "start": start, "end": end, "label": int(label), "score": score}
            for video, (segments, scores, own) in detections.items()
            for (start, end), score, label in zip(segments, scores, own, strict=True)
        ]
    )
    columns: list[Array] = []
    for label in sorted(annotated["label"].unique()):
        own = annotated[annotated["label"] == label].reset_index(drop=True).reset_index()
        by_video = own.groupby("video")
        listed = found[found["label"] == label].sort_values("score", ascending=False, kind="stable")
        lock = -np.ones((len(tious), len(own)))
        hits = np.zeros((len(tious), len(listed)))
        for rank, (_, row) in enumerate(listed.iterrows()):
            try:
                group = by_video.get_group(row["video"]).reset_index(drop=True)
            except KeyError:
                continue
            segment = np.array([row["start"], row["end"]])
            values = overlaps(segment, group[["start", "end"]].values)
            for number, tiou in enumerate(tious):
                for place in values.argsort(kind="stable")[::-1]:
                    if values[place] < tiou:
                        break
                    index = group.loc[place]["index"]
                    if lock[number, index] < 0:
                        lock[number, index] = rank
                        hits[number, rank] = 1
                        break
        columns.append(np.array([_plain_average(row, len(own)) for row in hits]))
    return np.stack(columns, 1)


def _plain_average(hits: Array, positives: int) -> float:
    if not len(hits):
        return 0.0
    found = np.cumsum(hits)
    precision = np.concatenate([[0], found / np.arange(1, len(hits) + 1), [0]])
    recall = np.concatenate([[0], found / positives, [1]])
    for place in range(len(precision) - 2, -1, -1):
        precision[place] = max(precision[place], precision[place + 1])
    steps = np.flatnonzero(recall[1:] != recall[:-1]) + 1
    return float(((recall[steps] - recall[steps - 1]) * precision[steps]).sum())


def our_ap(truth: Truth, labels: Labels, detections: Labelled) -> Array:
    counter = DetectionCounter(truth, labels)
    for video, found in detections.items():
        counter.update(video, *found)
    return counter.result().ap


def made_segments(rng: np.random.Generator, count: int, seconds: float) -> Array:
    ends = np.sort(rng.random((count, 2)) * seconds, axis=1)
    return ends + np.array([0.0, 0.1])


def made(
    videos: int, *, each: int, classes: int, truths: int = 3
) -> tuple[Truth, Labels, Labelled]:
    """Some detections lie about a segment of their video, the others anywhere."""
    rng = np.random.default_rng(0)
    truth: dict[str, Array] = {}
    labels: dict[str, NDArray[np.int64]] = {}
    detections: dict[str, tuple[Array, Array, NDArray[np.int64]]] = {}
    for number in range(videos):
        name, count = f"v{number}", int(rng.integers(1, truths + 1))
        ends = np.sort(rng.random((count, 2)) * 0.9, axis=1) + np.array([0.0, 0.1])
        truth[name] = (ends + np.arange(count)[:, None]) * 120.0 / count  # side by side
        labels[name] = np.repeat(rng.integers(classes), count)
        found, own = made_segments(rng, each, 120.0), rng.integers(0, classes, each)
        near = rng.random(each) < 0.5
        target = rng.integers(0, count, each)
        moved = truth[name][target] + rng.normal(0, 3, (each, 2))
        found[near] = np.sort(moved, axis=1)[near] + np.array([0.0, 0.1])
        own[near] = labels[name][target][near]
        detections[name] = found, rng.permutation(each) / each + rng.random(each) / each, own
    return truth, labels, detections


def recall_figures(options: Options) -> tuple[list[Target], dict[str, Any]]:
    """The plain side takes seconds, so it is compared on a tenth of ActivityNet's validation."""
    videos = 60 if options.quick else 473
    many = 600 if options.quick else 4728
    rounds = 1 if options.quick else 3
    truth, _, detections = made(videos, each=100, classes=1, truths=2)
    proposals = {name: found[:2] for name, found in detections.items()}
    difference = check_close(
        "recall", our_recall(truth, proposals), plain_recall(truth, proposals), most=1e-9
    )
    timings = measure(
        {
            "videozoo": partial(our_recall, truth, proposals),
            "plain": partial(plain_recall, truth, proposals),
        },
        rounds=rounds,
    )
    truth, _, detections = made(many, each=100, classes=1, truths=2)
    proposals = {name: found[:2] for name, found in detections.items()}
    whole = measure({"videozoo": partial(our_recall, truth, proposals)}, rounds=3 * rounds)
    targets = [
        Target(
            name=f"AR@AN, {videos:,} videos x 100: as fast as plain loops",
            limit=100,
            figure=ratio(timings, "plain", "videozoo"),
        ),
        Target(
            name=f"AR@AN, {many:,} videos x 100: CPU time",
            limit=0.1,
            figure=whole["videozoo"].cpu_ms / 1000,
            is_least=False,
            unit="s",
        ),
    ]
    return targets, {
        "largest_difference": difference,
        "part": as_figures(timings),
        "whole": as_figures(whole),
    }


def detection_figures(options: Options) -> tuple[list[Target], dict[str, Any]]:
    videos = 40 if options.quick else 200
    truth, labels, detections = made(videos, each=100, classes=20)
    difference = check_close(
        "AP",
        our_ap(truth, labels, detections),
        plain_ap(truth, labels, detections),
        most=1e-9,
    )
    sides: dict[str, Any] = {
        "videozoo": partial(our_ap, truth, labels, detections),
        "plain": partial(plain_ap, truth, labels, detections),
    }
    if has_pandas := find_spec("pandas") is not None:
        sides["frames"] = partial(frames_ap, truth, labels, detections)
        check_close("AP", our_ap(truth, labels, detections), sides["frames"](), most=1e-9)
    timings = measure(sides, rounds=1 if options.quick else 5)
    name = f"mAP, {videos} videos x 100, 20 classes, 10 tIoUs"
    targets = [
        Target(
            name=f"{name}: as fast as pandas row by row",
            limit=100,
            figure=ratio(timings, "frames", "videozoo") if has_pandas else None,
            why_not="" if has_pandas else "pandas is not installed",
        ),
        Target(name=f"{name}: as fast as plain loops", figure=ratio(timings, "plain", "videozoo")),
    ]
    return targets, {"largest_difference": difference, "mAP": as_figures(timings)}


def run(options: Options) -> Outcome:
    recall_targets, recall = recall_figures(options)
    detection_targets, detection = detection_figures(options)
    return Outcome(
        "localisation_metrics",
        [*recall_targets, *detection_targets],
        {"recall": recall, "detection": detection},
        packages=("numpy",),
    )


if __name__ == "__main__":
    main(run)
