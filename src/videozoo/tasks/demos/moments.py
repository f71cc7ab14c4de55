"""From mp4 and a sentence to a moment: when does a red circle move left?

TALL learns this from sentences and their moments. There are two baselines: a random window, and the
best guess without looking at the video: its middle, with the mean length of a moment.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from videozoo.commands import command
from videozoo.data.synthetic.world import WorldVideo
from videozoo.errors import RunError
from videozoo.metrics.moments import Search, recall
from videozoo.tasks import moments
from videozoo.tasks.demos import long_videos
from videozoo.tasks.demos.settings import demo_config
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import (
    ConfigSource,
    Device,
    PredictRequest,
)

MARGIN = 0.15
"""R@1 at tIoU 0.5 must be above the better baseline by at least this much; `configs/demo/` says the
same."""
TIOU = 0.5
NUM_SHOWN = 3
_WINDOW_SECONDS = (3.0, 4.5, 6.0)


_TRY = ("--sentence", "a red circle moves left")


def run(_name: str, *, folder: Path, seed: int = 0, device: Device = "auto") -> dict[str, Any]:
    """Run the demo of TALL; see `demos.run`."""
    started = time.monotonic()
    out = Console(stderr=True)
    made = long_videos.prepare(folder, seed=seed, device=device, out=out)
    config = demo_config("tall", folder).replace("--seed", {"train.seed": seed})
    out.rule("4/4  TALL learns which moment a sentence means")
    save_dir = folder / "tall"
    request = long_videos.training(config, save_dir, device)
    moments.train(config, request, console=out)
    facts = moments.evaluate(*long_videos.evaluation(save_dir, device), console=out)
    test = made.world.split("test")
    shown = _explain(test, folder, device, out)
    score = next(r["share"] for r in facts["recall"] if (r["n"], r["tiou"]) == (1, TIOU))
    drawn, middle = random_recall(test), centre_recall(made.world.split("train"), test)
    baseline = max(drawn, middle)
    print(
        f"\nTALL R@1 at tIoU {TIOU:g} {score:.3f}\n"
        f"a window at random {drawn:.3f}\n"
        f"the middle of the video {middle:.3f}   for as long as moments mostly last\n"
        f"margin {score - baseline:.3f}, expected at least {MARGIN:g}\n"
        f"on {facts['sentences']} sentences about {len(test)} held-out videos, after "
        f"{(time.monotonic() - started) / 60:.1f} minutes\n\n"
        f"which moments it finds: {shown}\n\n"
        "What to try next:\n"
        f"  {command('predict', '--weights', save_dir, *_TRY, folder / 'features')}"
    )
    if score - baseline < MARGIN:
        raise RunError(
            f"TALL: R@1 {score:.3f} is less than {MARGIN:g} above {baseline:.3f}, a guess without "
            f"looking; please report it with {save_dir}"
        )
    return {"recall": score, "baseline": baseline, "pictures": shown}


def random_recall(videos: Sequence[WorldVideo]) -> float:
    """R@1 of one random window with one of the window lengths of TALL; mean of 20 draws."""
    rng = np.random.default_rng(0)
    found: list[Search] = []
    for _ in range(20):
        for video in videos:
            for event in video.events:
                length = min(rng.choice(_WINDOW_SECONDS), video.duration_seconds)
                start = rng.uniform(0, video.duration_seconds - length)
                found.append(_search((start, start + length), event))
    return recall(found, n=1, threshold=TIOU)


def centre_recall(train: Sequence[WorldVideo], videos: Sequence[WorldVideo]) -> float:
    """R@1 of the middle of each video, with the mean length of training moments."""
    lengths = [e.end_seconds - e.start_seconds for video in train for e in video.events]
    half = float(np.mean(lengths)) / 2
    found = [
        _search((video.duration_seconds / 2 - half, video.duration_seconds / 2 + half), event)
        for video in videos
        for event in video.events
    ]
    return recall(found, n=1, threshold=TIOU)


def _search(moment: tuple[float, float], event: Any) -> Search:
    truth: NDArray[np.float64] = np.array([event.start_seconds, event.end_seconds])
    return Search(np.array([moment]), np.ones(1), truth)


def _explain(test: Sequence[WorldVideo], folder: Path, device: Device, out: Console) -> Path:
    """Search for the sentences about a few held-out videos and draw the moments found."""
    save_dir = folder / "tall"
    names = {video.name for video in test[:NUM_SHOWN]}
    lines = (folder / "world" / "queries_test.txt").read_text(encoding="utf-8").splitlines()
    queries = save_dir / "some_sentences.txt"
    queries.write_text("".join(f"{line}\n" for line in lines if line.split()[0] in names))
    request = PredictRequest(
        source=ConfigSource(),
        weights=str(save_dir),
        inputs=(str(queries),),
        save_dir=save_dir / "predictions",
        device=device,
        explain=True,
    )
    moments.predict(config_for_weights(ConfigSource(), str(save_dir)), request, console=out)
    return save_dir / "predictions"
