"""From mp4 to tags: which actions does a long video show?

The features describe each moment of the video; a tagging model learns from them which actions the
whole video shows. The baseline knows only how frequent each action is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.synthetic.clips import CLASS_NAMES
from videozoo.data.synthetic.world import World, WorldVideo
from videozoo.metrics.tagging import TaggingCounter
from videozoo.tasks.demos.long_videos import Demo
from videozoo.tasks.demos.outcome import Outcome

MARGIN = 0.2
"""GAP must be above the baseline by at least this much; `configs/demo/` says the same."""
_TITLES = {
    "attention_cluster": "Attention Cluster",
    "attention_lstm": "Attention LSTM",
    "nextvlad": "NeXtVLAD",
}


def _outcome(name: str, facts: Mapping[str, Any], world: World, run: Path) -> Outcome:
    test = world.split("test")
    return Outcome(
        title=_TITLES[name],
        metric="GAP",
        value=float(facts["metrics"]["gap"]),
        baselines={"prior only": prior_gap(world.split("train"), test)},
        least_margin=MARGIN,
        tested_on=f"{len(test)} held-out videos",
        run=run,
    )


def prior_gap(train: Sequence[WorldVideo], test: Sequence[WorldVideo]) -> float:
    """GAP of the baseline: the scores of every video are the frequencies of the training tags."""
    counter = TaggingCounter(len(CLASS_NAMES))
    frequencies = _table(train).mean(axis=0)
    truth = _table(test)
    counter.update(np.tile(frequencies, (len(truth), 1)), truth)
    return counter.gap


def _actions(video: WorldVideo) -> list[int]:
    return sorted({event.label for event in video.events})


def _table(videos: Sequence[WorldVideo]) -> NDArray[np.float64]:
    table = np.zeros((len(videos), len(CLASS_NAMES)))
    for number, video in enumerate(videos):
        table[number, _actions(video)] = 1
    return table


def _write_labels(world: World) -> None:
    """The actions of every video, as `data.labels` reads them."""
    labels = {
        video.path.relative_to(world.folder).as_posix(): _actions(video) for video in world.videos
    }
    text = json.dumps(labels, indent=1) + "\n"
    path = world.folder / "actions.json"
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


DEMO = Demo(
    learns="learns which actions a video shows",
    outcome=_outcome,
    shown="when it looks where",
    prepare=_write_labels,
)
