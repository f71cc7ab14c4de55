"""GAP, Hit@1, PERR and MAP of 3,862 classes: ours beside the plain way of walking through pairs.

The plain way takes the top 20 of every video with a partition, pushes each score with its label
onto a heap, shuffles, sorts and walks down the list, as taggers of YouTube-8M have done since
2016. Both are fed in batches of 1024.

    python -m benchmarks tagging_metrics
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from functools import partial
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
from videozoo.metrics.tagging import TaggingCounter

CLASSES, K, BATCH = 3862, 20, 1024
Array = NDArray[np.float32]
Pairs = list[tuple[float, float]]


class PlainGap:
    """The pairs of every video's best classes on one heap."""

    def __init__(self) -> None:
        self.pairs: Pairs = []
        self.positives = 0.0

    def update(self, scores: Array, labels: Array) -> None:
        lists: list[Pairs] = [[] for _ in range(scores.shape[1])]
        for row, tags in zip(scores, labels, strict=True):
            for label in np.argpartition(row, -K)[-K:]:
                lists[label].append((row[label], tags[label]))
        self.keep(lists)
        self.positives += float(labels.sum())

    def keep(self, lists: list[Pairs]) -> None:
        for pairs in lists:
            for pair in pairs:
                heapq.heappush(self.pairs, pair)

    def summary(self) -> dict[str, float]:
        return {"gap": walk_down(self.pairs, self.positives)}


class PlainAll(PlainGap):
    """Also a heap a class, and Hit@1 and PERR video by video."""

    def __init__(self) -> None:
        super().__init__()
        self.of_class: list[Pairs] = [[] for _ in range(CLASSES)]
        self.class_positives = np.zeros(CLASSES)
        self.hits: list[float] = []
        self.precisions: list[float] = []

    def keep(self, lists: list[Pairs]) -> None:
        super().keep(lists)
        for label, pairs in enumerate(lists):
            for pair in pairs:
                heapq.heappush(self.of_class[label], pair)

    def update(self, scores: Array, labels: Array) -> None:
        super().update(scores, labels)
        self.class_positives += labels.sum(0)
        for row, tags in zip(scores, labels, strict=True):
            self.hits.append(float(tags[row.argmax()]))
            count = int(tags.sum())
            best = np.argpartition(row, -count)[-count:] if count else []
            found = sum(float(tags[label]) for label in best if row[label] > 0)
            self.precisions.append(found / count if count else 0.0)

    def summary(self) -> dict[str, float]:
        groups = zip(self.of_class, self.class_positives.tolist(), strict=True)
        aps = [walk_down(pairs, positives) for pairs, positives in groups if positives]
        return {
            **super().summary(),
            "hit_at_one": float(np.mean(self.hits)),
            "perr": float(np.mean(self.precisions)),
            "map": float(np.mean(aps)),
        }


def walk_down(pairs: Pairs, positives: float) -> float:
    shuffled = random.Random(0).sample(pairs, len(pairs))
    hits, total = 0, 0.0
    for rank, (_, hit) in enumerate(sorted(shuffled, key=lambda p: p[0], reverse=True), start=1):
        if hit > 0:
            hits += 1
            total += hits / rank
    return total / positives


class OurGap(TaggingCounter):
    def summary(self) -> dict[str, float]:
        return {"gap": self.gap}


def made(videos: int) -> tuple[Array, Array]:
    """Three tags a video, scored a little better than the other classes."""
    rng = np.random.default_rng(0)
    labels = (rng.random((videos, CLASSES)) < 3 / CLASSES).astype(np.float32)
    logits = rng.normal(-5, 1.5, labels.shape) + 3.5 * labels
    return (1 / (1 + np.exp(-logits))).astype(np.float32), labels


def fed(make: Callable[[], Any], scores: Array, labels: Array) -> dict[str, float]:
    counter = make()
    for start in range(0, len(scores), BATCH):
        counter.update(scores[start : start + BATCH], labels[start : start + BATCH])
    return counter.summary()


SIDES: dict[str, dict[str, Callable[[], Any]]] = {
    "gap": {"videozoo": lambda: OurGap(CLASSES, K), "plain": PlainGap},
    "gap, hit_at_one, perr, map": {
        "videozoo": lambda: TaggingCounter(CLASSES, K),
        "plain": PlainAll,
    },
}


def compared(metrics: str, options: Options) -> tuple[list[Target], dict[str, Any]]:
    """Targets and figures of one line of `SIDES`."""
    videos = 1000 if options.quick else 10_000
    scores, labels = made(videos)
    makers = SIDES[metrics]
    found = {name: fed(make, scores, labels) for name, make in makers.items()}
    ours, plain = ([found[side][key] for key in found["plain"]] for side in ("videozoo", "plain"))
    # a few of so many float32 scores are equal, and the plain way shuffles those
    difference = check_close(metrics, ours, plain, most=1e-4)
    sides = {name: partial(fed, make, scores, labels) for name, make in makers.items()}
    timings = measure(sides, rounds=2 if options.quick else 5)
    name = f"{metrics} of {videos:,} videos"
    targets = [
        Target(
            name=f"{name}: as fast as the plain way",
            limit=9,
            figure=ratio(timings, "plain", "videozoo"),
        ),
        Target(
            name=f"{name}: CPU time",
            limit=0.5,
            figure=timings["videozoo"].cpu_ms / 1000,
            is_least=False,
            unit="s",
        ),
    ]
    sizes = {"videos": videos, "classes": CLASSES, "k": K, "largest_difference": difference}
    return targets, sizes | as_figures(timings)


def run(options: Options) -> Outcome:
    targets: list[Target] = []
    figures: dict[str, Any] = {}
    for metrics in SIDES:
        found, figures[metrics] = compared(metrics, options)
        targets += found
    return Outcome("tagging_metrics", targets, figures, packages=("numpy",))


if __name__ == "__main__":
    main(run)
