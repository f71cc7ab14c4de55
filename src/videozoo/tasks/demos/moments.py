"""From mp4 and a sentence to a moment: when does a red circle move left?

TALL learns this from sentences and their moments. There are two baselines: a random window, and the
best guess without looking at the video: its middle, with the mean length of a moment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.synthetic.world import World, WorldVideo
from videozoo.metrics.moments import Search, recall
from videozoo.tasks.demos.long_videos import NUM_SHOWN, Demo
from videozoo.tasks.demos.outcome import Outcome

MARGIN = 0.15
"""R@1 at tIoU 0.5 must be above the better baseline by at least this much; `configs/demo/` says the
same."""
TIOU = 0.5
_WINDOW_SECONDS = (3.0, 4.5, 6.0)


def _outcome(_name: str, facts: Mapping[str, Any], world: World, run: Path) -> Outcome:
    test = world.split("test")
    found = next(r["share"] for r in facts["recall"] if (r["n"], r["tiou"]) == (1, TIOU))
    return Outcome(
        title="TALL",
        metric=f"R@1 at tIoU {TIOU:g}",
        value=float(found),
        baselines={
            "a window at random": random_recall(test),
            "the middle of the video": centre_recall(world.split("train"), test),
        },
        least_margin=MARGIN,
        tested_on=f"{facts['sentences']} sentences about {len(test)} held-out videos",
        run=run,
    )


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


def _some_sentences(world: World, run: Path) -> tuple[str, ...]:
    """A file with the sentences about a few held-out videos."""
    names = {video.name for video in world.split("test")[:NUM_SHOWN]}
    lines = (world.folder / "queries_test.txt").read_text(encoding="utf-8").splitlines()
    queries = run / "some_sentences.txt"
    queries.write_text("".join(f"{line}\n" for line in lines if line.split()[0] in names))
    return (str(queries),)


def _to_try(world: World, _run: Path) -> tuple[str | Path, ...]:
    return "--sentence", "a red circle moves left", world.split("test")[0].path


DEMO = Demo(
    learns="learns which moment a sentence means",
    outcome=_outcome,
    shown="which moments it finds",
    inputs=_some_sentences,
    to_try=_to_try,
)
