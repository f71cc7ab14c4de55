"""Decoding and soft-NMS of BMN's answers: ours beside plain loops over lists.

The plain side walks over all pairs of cells, and keeps starts, ends and scores in Python lists
from which the taken one is removed, as published code of BSN and BMN does.

    python -m benchmarks soft_nms
"""

from __future__ import annotations

from functools import partial

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
from videozoo.ops.proposal_generation import decode_boundary_maps
from videozoo.ops.soft_nms import soft_nms

STEPS, PROPOSALS, MOST = 100, 463, 100
ALPHA, LOW, HIGH = 0.4, 0.55, 0.9
Array = NDArray[np.float32]
Answer = tuple[Array, Array, Array]
Rows = list[tuple[float, float, float]]


def made(videos: int) -> list[Answer]:
    """Answers that give about as many proposals as a trained BMN."""
    rng = np.random.default_rng(0)
    answers: list[Answer] = []
    while len(answers) < videos:
        maps = rng.random((2, STEPS, STEPS), dtype=np.float32)
        start, end = (0.2 * rng.random(STEPS, dtype=np.float32) for _ in range(2))
        start[0] = end[-1] = 0.9
        answer = maps, start, end
        if abs(len(decode_boundary_maps(*answer).scores) - PROPOSALS) < PROPOSALS // 20:
            answers.append(answer)
    return answers


def plain_mask(scores: Array) -> list[bool]:
    values = [0.0, *scores.tolist(), 0.0]
    most = max(values)
    return [
        here > 0.5 * most or (here > before and here > after)
        for before, here, after in zip(values, values[1:], values[2:], strict=False)
    ]


def plain_decode(maps: Array, start: Array, end: Array) -> Rows:
    starts, ends = plain_mask(start), plain_mask(end)
    starts[0] = ends[-1] = True
    confidence = maps[0] * maps[1]
    rows: Rows = []
    for duration in range(STEPS):
        for first in range(STEPS - duration):
            last = first + duration
            if starts[first] and ends[last]:
                score = start[first] * end[last] * confidence[duration, first]
                rows.append((1 / STEPS * first, 1 / STEPS * (last + 1), float(score)))
    return rows


def plain_soft_nms(rows: Rows) -> Rows:
    rows = sorted(rows, key=lambda row: -row[2])
    starts, ends, scores = (list(column) for column in zip(*rows, strict=True))
    kept: Rows = []
    while scores and len(kept) < MOST:
        best = scores.index(max(scores))
        start, end = starts[best], ends[best]
        shared = np.minimum(ends, end) - np.maximum(starts, start)
        shared = np.maximum(shared, 0.0)
        overlaps = shared / (np.array(ends) - np.array(starts) - shared + end - start)
        for place in range(len(scores)):
            if place != best and overlaps[place] > LOW + (HIGH - LOW) * (end - start):
                scores[place] *= np.exp(-np.square(overlaps[place]) / ALPHA)
        kept.append((starts.pop(best), ends.pop(best), float(scores.pop(best))))
    return kept


def plain(answers: list[Answer]) -> list[Rows]:
    return [plain_soft_nms(plain_decode(*answer)) for answer in answers]


def ours(answers: list[Answer]) -> list[NDArray[np.float64]]:
    kept = [
        soft_nms(decode_boundary_maps(*answer), alpha=ALPHA, low_threshold=LOW, high_threshold=HIGH)
        for answer in answers
    ]
    return [np.column_stack((each.segments, each.scores)) for each in kept]


def run(options: Options) -> Outcome:
    videos = 2 if options.quick else 16
    answers = made(videos)
    difference = check_close("proposals", ours(answers), plain(answers), most=1e-9)
    timings = measure(
        {"videozoo": partial(ours, answers), "plain": partial(plain, answers)},
        rounds=2 if options.quick else 7,
    )
    targets = [
        Target(
            name=f"decoding and soft-NMS of {PROPOSALS} proposals: CPU time a video",
            limit=1.3,
            figure=timings["videozoo"].cpu_ms / videos,
            is_least=False,
            unit="ms",
        ),
        Target(
            name=f"decoding and soft-NMS of {PROPOSALS} proposals: as fast as plain loops",
            limit=8,
            figure=ratio(timings, "plain", "videozoo"),
        ),
    ]
    sizes = {"videos": videos, "steps": STEPS, "largest_difference": difference}
    return Outcome("soft_nms", targets, sizes | as_figures(timings), packages=("numpy",))


if __name__ == "__main__":
    main(run)
