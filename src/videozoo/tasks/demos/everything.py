"""The demo of all models: one world of videos, one encoder, twelve models, one table.

Four nets learn from short clips. One of them, TSM, then encodes the long videos, and eight models
learn from what it saw. In the end all twelve answer on one new video.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from videozoo.commands import command
from videozoo.data.synthetic.world import WorldVideo, make_world
from videozoo.errors import RunError, few
from videozoo.tasks import asking
from videozoo.tasks.answers import PAGE
from videozoo.tasks.demos import captioning, clips, localisation, long_videos, moments, tagging
from videozoo.tasks.demos.long_videos import Demo
from videozoo.tasks.demos.outcome import Outcome, outcome_table
from videozoo.tasks.requests import ConfigSource, Device, PredictRequest

CLIP_MODELS = ("tsm", "tsn", "stnet", "nonlocal")
DEMOS: dict[str, Demo] = {
    "attention_cluster": tagging.DEMO,
    "attention_lstm": tagging.DEMO,
    "nextvlad": tagging.DEMO,
    "bmn": localisation.DEMO,
    "bsn": localisation.DEMO,
    "ctcn": localisation.DEMO,
    "ets": captioning.DEMO,
    "tall": moments.DEMO,
}
"""Models that read features, and what is special about the demo of each."""
_EVERY_SECONDS = 1.0
"""Clip models look along the new video in steps of so many seconds."""


def run(_name: str, *, folder: Path, seed: int = 0, device: Device = "auto") -> dict[str, Any]:
    """Run the demo of all models; see `demos.run`."""
    started = time.monotonic()
    for demo in DEMOS.values():
        demo.require()
    out = Console(stderr=True)
    steps = len(CLIP_MODELS) + len(DEMOS) + 4
    number = 0
    seconds: dict[str, float] = {}

    def step(what: str, name: str, work: Callable[[], Any]) -> Any:
        nonlocal number
        number += 1
        out.rule(f"{number}/{steps}  {what}")
        begun = time.monotonic()
        result = work()
        seconds[name] = time.monotonic() - begun
        return result

    made = step("short clips", "clips", lambda: clips.made_clips(folder / "clips", seed, out))
    outcomes: dict[str, Outcome] = {}
    for name in CLIP_MODELS:

        def net(name: str = name) -> Outcome:
            if name != "tsm":
                return clips.short_net(name, folder, made, seed, device)
            clips.trained_net(name, folder, seed, device)
            return clips.outcome(name, clips.evaluate(folder / name, device), folder / name)

        outcomes[name] = step(f"{name}: learns from short clips", name, net)
    world = step(
        "long videos in which several things happen",
        "videos",
        lambda: long_videos.made_world(folder / "world", seed, out),
    )
    step(
        "what the TSM sees of them, twice a second",
        "features",
        lambda: long_videos.encoded("bmn", folder, seed, device, out),
    )
    for name, demo in DEMOS.items():

        def head(name: str = name, demo: Demo = demo) -> Outcome:
            demo.prepare(world)
            config = long_videos.encoded(name, folder, seed, device, out)
            return long_videos.learnt(demo, name, config, world, folder, device)

        outcomes[name] = step(f"{name} {demo.learns}", name, head)
    new = _new_video(folder / "new", seed)
    answers = folder / "answers"
    sentence = f"{new.sentence(new.events[0])}"
    weights = [outcome.run for outcome in outcomes.values()]
    step(
        f"{new.path}: what all models say",
        "answers",
        lambda: _answer(weights, new.path, sentence, answers, device),
    )
    table = outcome_table({name: (each, seconds[name]) for name, each in outcomes.items()})
    Console(soft_wrap=True).print(table)
    others = ", ".join(
        f"{name} {seconds[name] / 60:.1f}" for name in seconds if name not in outcomes
    )
    print(
        f"minutes for the rest: {others}; {(time.monotonic() - started) / 60:.1f} in all\n\n"
        f"what all of them say of {new.path}: {answers / PAGE}\n\n"
        "What to try next:\n"
        f"  {_command(weights, sentence, new.path)}"
    )
    short = [each for each in outcomes.values() if not each.holds]
    if short:
        names = few([each.title for each in short])
        raise RunError(f"less above the baseline than expected: {names}; please report it")
    return {
        "page": answers / PAGE,
        "scores": {name: (each.value, each.baseline) for name, each in outcomes.items()},
        "seconds": seconds,
    }


def _new_video(folder: Path, seed: int) -> WorldVideo:
    """A video of another world, which no model has seen."""
    world = make_world(folder, num_train=0, num_val=0, num_test=1, seed=seed + 1)
    return world.videos[0]


def _answer(weights: list[Path], video: Path, sentence: str, answers: Path, device: Device) -> None:
    every = {"predict.every_seconds": ("--every", _EVERY_SECONDS)}
    asking.predict_with(
        [
            PredictRequest(
                source=ConfigSource(flags=every),
                weights=str(run),
                inputs=(str(video),),
                sentences=(sentence,),
                save_dir=answers / run.name,
                page=True,
                device=device,
            )
            for run in weights
        ]
    )


def _command(weights: list[Path], sentence: str, video: Path) -> str:
    words: list[str | Path] = ["predict"]
    for run in weights:
        words += ["--weights", run]
    every = f"{_EVERY_SECONDS:g}"
    return command(*words, "--every", every, "--sentence", sentence, "--page", video)
