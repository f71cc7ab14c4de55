"""The demos of models that read features: long videos, and what a model learns from them.

::

    FOLDER/clips/        short clips of eight actions
    FOLDER/tsm/          a TSM that learnt those actions: the encoder
    FOLDER/world/        long videos in which several things happen, with every annotation
    FOLDER/MODEL/        the run of a model

All of it is made once and shared by the demos in a folder; `clips/` and `tsm/` also serve the demo
of the clip models. The features of the long videos are kept where `data.videos` keeps them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.data.synthetic.world import World, make_world
from videozoo.engine.devices import make_accelerator
from videozoo.tasks import asking
from videozoo.tasks.common import speaker
from videozoo.tasks.demos import clips
from videozoo.tasks.demos.outcome import Outcome
from videozoo.tasks.demos.settings import demo_config
from videozoo.tasks.demos.steps import evaluate, train
from videozoo.tasks.encoding import with_features
from videozoo.tasks.requests import ConfigSource, Device, PredictRequest

NUM_VIDEOS = {"train": 240, "val": 40, "test": 80}
RATE = 2.0
"""Vectors per second."""
WINDOW_SECONDS = 2.0
"""Seconds of video per vector: the length of the clips that the encoder was trained on."""
DIM = 128
"""Numbers per vector: the channels of a quarter-width ResNet."""
NUM_SHOWN = 3
"""Held-out videos of which pictures are drawn."""


@dataclass(frozen=True, kw_only=True)
class Demo:
    """What is special about the demo of a task."""

    learns: str
    """What the model learns, after its name."""
    outcome: Callable[[str, Mapping[str, Any], World, Path], Outcome]
    """(model, facts of its evaluation, the videos, run folder) -> its score and the baselines."""
    shown: str
    """What the pictures tell."""
    inputs: Callable[[World, Path], tuple[str, ...]] = lambda world, _run: tuple(
        str(video.path) for video in world.split("test")[:NUM_SHOWN]
    )
    """(the videos, run folder) -> what the pictures are of."""
    to_try: Callable[[World, Path], tuple[str | Path, ...]] = lambda world, _run: (
        "--explain",
        world.split("test")[0].path,
    )
    """(the videos, run folder) -> what to predict on next, as words of the command line."""
    valid_interval: Mapping[str, int] | int = 5
    """Epochs between validations, the last among them; by model where it differs."""
    prepare: Callable[[World], None] = lambda _world: None
    """Writes what else the model needs about the videos."""
    require: Callable[[], None] = lambda: None
    """Raises an error before anything is made, if something is not installed."""


def run(
    demo: Demo, name: str, *, folder: Path, seed: int = 0, device: Device = "auto"
) -> dict[str, Any]:
    """Run the demo of one model; see `demos.run`."""
    demo.require()
    started = time.monotonic()
    out = Console(stderr=True)
    out.rule("1/4  a TSM learns eight actions from short clips")
    clips.made_clips(folder / "clips", seed, out)
    clips.trained_net("tsm", folder, seed, device)
    out.rule("2/4  long videos in which several things happen")
    world = made_world(folder / "world", seed, out)
    out.rule("3/4  what the TSM sees of them, twice a second")
    demo.prepare(world)
    config = encoded(name, folder, seed, device, out)
    out.rule(f"4/4  {config.spec.title} {demo.learns}")
    outcome = learnt(demo, name, config, world, folder, device)
    pictures = _draw(demo, world, folder / name, device)
    words = demo.to_try(world, folder / name)
    print(
        f"\n{outcome.text(time.monotonic() - started)}\n\n"
        f"{demo.shown}: {pictures}\n\n"
        "What to try next:\n"
        f"  {command('predict', '--weights', folder / name, *words)}"
    )
    outcome.check()
    return {"value": outcome.value, "baseline": outcome.baseline, "pictures": pictures}


def made_world(folder: Path, seed: int, out: Console) -> World:
    """Make the long videos, or find those of an earlier call."""
    total = sum(NUM_VIDEOS.values())
    columns = (TextColumn("videos"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        bar = progress.add_task("videos", total=total)
        world = make_world(
            folder,
            num_train=NUM_VIDEOS["train"],
            num_val=NUM_VIDEOS["val"],
            num_test=NUM_VIDEOS["test"],
            seed=seed,
            on_progress=lambda done, _: progress.update(bar, completed=done),
        )
    verb = "found" if world.reused else "made"
    minutes = sum(video.duration_seconds for video in world.videos) / 60
    out.print(f"{verb} {total} videos, {minutes:.0f} minutes of them, in {folder}")
    return world


def encoded(name: str, folder: Path, seed: int, device: Device, out: Console) -> RunConfig:
    """The settings of a model, with the features that it reads, which are made if they are not."""
    config = demo_config(name, folder).replace("--seed", {"train.seed": seed})
    accelerator = make_accelerator(device=device)
    return with_features(config, accelerator, speaker(out, accelerator))


def learnt(
    demo: Demo, name: str, config: RunConfig, world: World, folder: Path, device: Device
) -> Outcome:
    """Train a model, or go on with the run of an earlier demo, and evaluate it."""
    every = demo.valid_interval
    run = folder / name
    train(config, run, device, valid_interval=every if isinstance(every, int) else every[name])
    return demo.outcome(name, evaluate(run, device), world, run)


def _draw(demo: Demo, world: World, run: Path, device: Device) -> Path:
    """Draw what a model says of a few held-out videos, and when it looks where."""
    request = PredictRequest(
        source=ConfigSource(),
        weights=str(run),
        inputs=demo.inputs(world, run),
        save_dir=run / "predictions",
        device=device,
        explain=True,
    )
    asking.predict(request)
    return run / "predictions"
