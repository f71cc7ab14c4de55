"""From mp4 to sentences: what happens between these two moments of a video?

ETS learns from several sentences per event, as people might write them. The baseline gives every
event the most frequent training sentence.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo.commands import command
from videozoo.data.synthetic.world import WorldVideo
from videozoo.errors import RunError
from videozoo.metrics.captions import (
    Meteor,
    caption_scores,
    has_java,
    require_scorers,
    tokenized,
)
from videozoo.tasks import captioning
from videozoo.tasks.demos import long_videos
from videozoo.tasks.demos.settings import demo_config
from videozoo.tasks.loading import config_for_weights
from videozoo.tasks.requests import (
    ConfigSource,
    Device,
    PredictRequest,
)

MARGINS = {"meteor": 0.05, "cider": 0.3}
"""METEOR (CIDEr if there is no Java) must be above the baseline by at least this much;
`configs/demo/` says the same."""
NUM_SHOWN = 3


def run(_name: str, *, folder: Path, seed: int = 0, device: Device = "auto") -> dict[str, Any]:
    """Run the demo of ETS; see `demos.run`."""
    require_scorers()
    started = time.monotonic()
    out = Console(stderr=True)
    made = long_videos.prepare(folder, seed=seed, device=device, out=out)
    config = demo_config("ets", folder).replace("--seed", {"train.seed": seed})
    out.rule("4/4  ETS learns to say what happens")
    save_dir = folder / "ets"
    request = long_videos.training(config, save_dir, device, valid_interval=10)
    captioning.train(config, request, console=out)
    facts = captioning.evaluate(*long_videos.evaluation(save_dir, device), console=out)
    test = made.world.split("test")
    shown = _explain(test, folder, device, out)
    commonest, baselines = commonest_scores(made.world.split("train"), test)
    metric = "meteor" if "meteor" in facts["metrics"] and "meteor" in baselines else "cider"
    score, baseline = float(facts["metrics"][metric]), baselines[metric]
    title = {"meteor": "METEOR", "cider": "CIDEr"}[metric]
    events = folder / "world" / "captions_test.json"
    print(
        f"\nETS {title} {score:.3f}\n"
        f"always {commonest!r} {title} {baseline:.3f}\n"
        f"margin {score - baseline:.3f}, expected at least {MARGINS[metric]:g}\n"
        f"on {facts['events']} events of {len(test)} held-out videos, after "
        f"{(time.monotonic() - started) / 60:.1f} minutes\n\n"
        f"what it says of some events, and when it looks where: {shown}\n\n"
        "What to try next:\n"
        f"  {command('predict', '--weights', save_dir, '--explain', events)}"
    )
    if score - baseline < MARGINS[metric]:
        raise RunError(
            f"ETS: {title} {score:.3f} is less than {MARGINS[metric]:g} above {baseline:.3f}, that "
            f"of one sentence for all; please report it with {save_dir}"
        )
    return {metric: score, "baseline": baseline, "pictures": shown}


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


def _explain(test: Sequence[WorldVideo], folder: Path, device: Device, out: Console) -> Path:
    """Describe the events of a few held-out videos and draw the attention over time."""
    save_dir = folder / "ets"
    captions = json.loads((folder / "world" / "captions_test.json").read_text(encoding="utf-8"))
    few = {video.name: captions[video.name] for video in test[:NUM_SHOWN]}
    events = save_dir / "some_events.json"
    events.write_text(json.dumps(few, indent=1), encoding="utf-8")
    request = PredictRequest(
        source=ConfigSource(),
        weights=str(save_dir),
        inputs=(str(events),),
        save_dir=save_dir / "predictions",
        device=device,
        explain=True,
    )
    captioning.predict(config_for_weights(ConfigSource(), str(save_dir)), request, console=out)
    return save_dir / "predictions"
