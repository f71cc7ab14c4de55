"""From mp4 to segments: when does something happen in a long video, and what?

BMN and BSN propose segments, C-TCN also gives them a class. The baseline is segments drawn at
random: the same number, anywhere, of any length; for detections with classes as frequent as in
training.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from videozoo.data.synthetic.world import WorldVideo
from videozoo.errors import RunError
from videozoo.metrics.detection import DetectionCounter
from videozoo.metrics.proposals import ProposalCounter
from videozoo.tasks import localisation
from videozoo.tasks.demos import long_videos
from videozoo.tasks.demos.long_videos import LongVideos
from videozoo.tasks.demos.settings import demo_config
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import (
    ConfigSource,
    Device,
    Layer,
    PredictRequest,
)

MARGINS = {"bmn": 0.12, "bsn": 0.12, "ctcn": 0.1}
"""AUC (mean AP for C-TCN) must be above that of random segments by at least this much;
`configs/demo/` says the same."""
NUM_RANDOM = 100
"""Random segments per video, as many as count in AUC."""
NUM_SHOWN = 3

_VALID_INTERVALS = {"bmn": 4, "bsn": 5, "ctcn": 4}  # the last epoch among them


def _layer(model: str) -> Layer:
    """The layer that a model reads: class scores for C-TCN, as in the 2019 library."""
    return "scores" if model == "ctcn" else "features"


def run(name: str, *, folder: Path, seed: int = 0, device: Device = "auto") -> dict[str, Any]:
    """Run the demo of a localiser; see `demos.run`."""
    started = time.monotonic()
    out = Console(stderr=True)
    layer = _layer(name)
    made = long_videos.prepare(folder, seed=seed, device=device, out=out, layer=layer)
    config = demo_config(name, folder).replace("--seed", {"train.seed": seed})
    out.rule(f"4/4  {config.spec.title} learns when something happens")
    save_dir = folder / name
    request = long_videos.training(config, save_dir, device, valid_interval=_VALID_INTERVALS[name])
    localisation.train(config, request, console=out)
    facts = localisation.evaluate(*long_videos.evaluation(save_dir, device), console=out)
    shown = _explain(made, save_dir, device, out)
    test = made.world.split("test")
    metric, baseline = (
        ("map", random_map(test, made.world.split("train")))
        if name == "ctcn"
        else ("auc", random_auc(test))
    )
    score = float(facts["metrics"][metric])
    title = {"map": "mean AP", "auc": "AUC"}[metric]
    seconds = time.monotonic() - started
    print(
        f"\n{config.spec.title} {title} {score:.3f}\n"
        f"random segments {title} {baseline:.3f}   "
        f"{NUM_RANDOM} per video, anywhere, of any length\n"
        f"margin {score - baseline:.3f}, expected at least {MARGINS[name]:g}\n"
        f"on {len(test)} held-out videos, after {seconds / 60:.1f} minutes\n\n"
        f"what it finds when: {shown}\n\n"
        "What to try next:\n" + long_videos.what_to_try(save_dir, test[0].path)
    )
    if score - baseline < MARGINS[name]:
        raise RunError(
            f"{config.spec.title}: {title} {score:.3f} is less than {MARGINS[name]:g} above "
            f"{baseline:.3f}, that of random segments; please report it with {save_dir}"
        )
    return {metric: score, "baseline": baseline, "pictures": shown}


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


def _explain(made: LongVideos, save_dir: Path, device: Device, out: Console) -> Path:
    """Predict on a few held-out videos and draw the segments over time."""
    few = made.world.split("test")[:NUM_SHOWN]
    predictions = save_dir / "predictions"
    request = PredictRequest(
        source=ConfigSource(),
        weights=str(save_dir),
        inputs=(str(long_videos.features_of(made, few, save_dir / "some_videos")),),
        save_dir=predictions,
        device=device,
        explain=True,
    )
    localisation.predict(config_for_weights(ConfigSource(), str(save_dir)), request, console=out)
    return predictions
