"""From mp4 to sentences: what happens between these two moments of a video?

ETS learns from several sentences per event, as people might write them. The baseline gives every
event the most frequent training sentence.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from videozoo.data.synthetic.world import World, WorldVideo
from videozoo.metrics.captions import (
    Meteor,
    caption_scores,
    has_java,
    require_scorers,
    tokenized,
)
from videozoo.tasks.demos.long_videos import NUM_SHOWN, Demo
from videozoo.tasks.demos.outcome import Outcome

MARGINS = {"meteor": 0.05, "cider": 0.3}
"""METEOR (CIDEr if there is no Java) must be above the baseline by at least this much;
`configs/demo/` says the same."""


def _outcome(_name: str, facts: Mapping[str, Any], world: World, run: Path) -> Outcome:
    test = world.split("test")
    commonest, baselines = commonest_scores(world.split("train"), test)
    key = "meteor" if "meteor" in facts["metrics"] and "meteor" in baselines else "cider"
    return Outcome(
        title="ETS",
        metric={"meteor": "METEOR", "cider": "CIDEr"}[key],
        value=float(facts["metrics"][key]),
        baselines={f"always {commonest!r}": baselines[key]},
        least_margin=MARGINS[key],
        tested_on=f"{facts['events']} events of {len(test)} held-out videos",
        run=run,
    )


def commonest_scores(
    train: Sequence[WorldVideo], test: Sequence[WorldVideo]
) -> tuple[str, dict[str, float]]:
    """Score the most frequent training sentence on every event; return it with its scores."""
    said = Counter(_sentence(video, event) for video in train for event in video.events)
    commonest = min(said, key=lambda sentence: (-said[sentence], sentence))
    truths = [_sentence(video, event) for video in test for event in video.events]
    words, _ = tokenized([*truths, commonest])
    with ExitStack() as stack:
        meteor = stack.enter_context(Meteor()) if has_java() else None
        scores = caption_scores(
            [[truth] for truth in words[:-1]], [words[-1]] * len(truths), meteor=meteor
        )
    return commonest, {name: float(value) for name, value in scores.corpus.items()}


def _sentence(video: WorldVideo, event: Any) -> str:
    return f"{video.sentence(event).capitalize()}."


def _some_events(world: World, run: Path) -> tuple[str, ...]:
    """A file with the events of a few held-out videos."""
    captions = json.loads((world.folder / "captions_test.json").read_text(encoding="utf-8"))
    few = {video.name: captions[video.name] for video in world.split("test")[:NUM_SHOWN]}
    events = run / "some_events.json"
    events.write_text(json.dumps(few, indent=1), encoding="utf-8")
    return (str(events),)


DEMO = Demo(
    learns="learns to say what happens",
    outcome=_outcome,
    shown="what it says of some events, and when it looks where",
    inputs=_some_events,
    to_try=lambda world, _run: ("--explain", world.folder / "captions_test.json"),
    valid_interval=10,
    require=require_scorers,
)
