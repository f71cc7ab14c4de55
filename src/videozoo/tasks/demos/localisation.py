"""From mp4 to segments: when does something happen in a long video, and what?

BMN and BSN propose segments, C-TCN also gives them a class. The baseline is segments drawn at
random: the same number, anywhere, of any length; for detections with classes as frequent as in
training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from videozoo.data.synthetic.world import World, WorldVideo
from videozoo.metrics.detection import DetectionCounter
from videozoo.metrics.proposals import ProposalCounter
from videozoo.tasks.demos.long_videos import Demo
from videozoo.tasks.demos.outcome import Outcome

MARGINS = {"bmn": 0.12, "bsn": 0.12, "ctcn": 0.1}
"""AUC (mean AP for C-TCN) must be above that of random segments by at least this much;
`configs/demo/` says the same."""
NUM_RANDOM = 100
"""Random segments per video, as many as count in AUC."""
_TITLES = {"bmn": "BMN", "bsn": "BSN", "ctcn": "C-TCN"}


def _outcome(name: str, facts: Mapping[str, Any], world: World, run: Path) -> Outcome:
    test = world.split("test")
    if name == "ctcn":
        key, metric, baseline = "map", "mean AP", random_map(test, world.split("train"))
    else:
        key, metric, baseline = "auc", "AUC", random_auc(test)
    return Outcome(
        title=_TITLES[name],
        metric=metric,
        value=float(facts["metrics"][key]),
        baselines={"random segments": baseline},
        least_margin=MARGINS[name],
        tested_on=f"{len(test)} held-out videos",
        run=run,
    )


def random_auc(videos: Sequence[WorldVideo]) -> float:
    """AUC of random segments with random scores."""
    truth = {video.name: _segments(video) for video in videos}
    counter = ProposalCounter(truth)
    rng = np.random.default_rng(0)
    for video in videos:
        segments, scores = _drawn(video, rng)
        counter.update(video.name, segments, scores)
    return counter.result().auc


def random_map(videos: Sequence[WorldVideo], train: Sequence[WorldVideo]) -> float:
    """Mean AP of random segments with random scores and classes as common as in training."""
    truth = {video.name: _segments(video) for video in videos}
    labels = {video.name: [event.label for event in video.events] for video in videos}
    counter = DetectionCounter(truth, labels)
    seen = [event.label for video in train for event in video.events]
    rng = np.random.default_rng(0)
    for video in videos:
        segments, scores = _drawn(video, rng)
        counter.update(video.name, segments, scores, rng.choice(seen, NUM_RANDOM))
    return counter.result().mean_ap


def _segments(video: WorldVideo) -> list[tuple[float, float]]:
    return [(event.start_seconds, event.end_seconds) for event in video.events]


def _drawn(video: WorldVideo, rng: np.random.Generator) -> tuple[Any, Any]:
    ends = np.sort(rng.uniform(0, video.duration_seconds, (NUM_RANDOM, 2)), axis=1)
    return ends, rng.random(NUM_RANDOM)


DEMO = Demo(
    learns="learns when something happens",
    outcome=_outcome,
    shown="what it finds when",
    valid_interval={"bmn": 4, "bsn": 5, "ctcn": 4},
)
