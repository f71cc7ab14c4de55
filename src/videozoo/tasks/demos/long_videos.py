"""The data of the demos of feature models: long videos, and features made of them.

::

    FOLDER/clips/        short clips of eight actions
    FOLDER/tsm/          a TSM that learnt those actions: the extractor
    FOLDER/world/        long videos in which several things happen, with every annotation
    FOLDER/features/     features of each long video, two vectors per second
    FOLDER/scores/       the same with the scores of the actions in place of features

All of it is made once and shared by the demos in a folder; `clips/` and `tsm/` also serve the demo
of the clip models.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import FeatureRecord
from videozoo.data.synthetic.world import World, WorldVideo, make_world
from videozoo.engine.run_folder import RunFolder
from videozoo.tasks.demos import clips
from videozoo.tasks.extraction import extract_all
from videozoo.tasks.loading import Trained, config_for_weights
from videozoo.tasks.requests import (
    ConfigSource,
    Device,
    EvalRequest,
    ExtractRequest,
    Layer,
    TrainRequest,
)

SPLITS = ("train", "val", "test")
NUM_VIDEOS = {"train": 240, "val": 40, "test": 80}
RATE = 2.0
"""Vectors per second."""
WINDOW_SECONDS = 2.0
"""Seconds of video per vector: the length of the clips that the extractor was trained on."""
DIM = 128
"""Numbers per vector: the channels of a quarter-width ResNet."""


@dataclass(frozen=True)
class LongVideos:
    """The long videos, their annotations and features."""

    world: World
    features: Path
    """Features of all videos, as `videozoo extract` writes them."""
    layer: Layer
    """Which output of the extractor the features are."""


def prepare(
    folder: Path, *, seed: int, device: Device, out: Console, layer: Layer = "features"
) -> LongVideos:
    """Make the videos, the extractor and the features, as far as they do not exist yet.

    Args:
        folder: The demo's.
        seed: For the videos and the extractor.
        device: Where to compute.
        out: For messages.
        layer: Which output of the extractor the features are.

    Raises:
        VideozooError: The folder cannot be written, or it holds something else.
    """
    out.rule("1/4  a TSM learns eight actions from short clips")
    clips.made_clips(folder / "clips", seed, out)
    clips.trained_net("tsm", folder, seed, device, out)
    out.rule("2/4  long videos in which several things happen")
    world = _made_world(folder / "world", seed, out)
    out.rule("3/4  what the TSM sees of them, twice a second")
    return LongVideos(world, _extracted(folder, world, layer, device, out), layer)


def write_pack(records: Iterable[FeatureRecord], extractor: Any, folder: Path) -> Path:
    """Write the features of some videos as a pack of their own."""
    with PackWriter(folder, extractor=extractor, overwrite=True) as pack:
        for record in records:
            pack.write(record)
    return folder


def what_to_try(run: Path, video: Path) -> str:
    """The command that answers on a video.

    Args:
        run: The run folder of the model.
        video: The video file.
    """
    return f"  {command('predict', '--weights', run, '--explain', video)}"


def features_of(made: LongVideos, videos: Sequence[WorldVideo], folder: Path) -> Path:
    """Write the features of some videos as a pack of their own."""
    source = find_records(made.features)
    found = {record.name: record for record in map(source.read, range(len(source)))}
    return write_pack((found[video.name] for video in videos), source.extractor, folder)


def training(
    config: RunConfig, save_dir: Path, device: Device, *, valid_interval: int = 5
) -> TrainRequest:
    """The request for a training; if an earlier demo began this run, to resume it."""
    run_folder = RunFolder(save_dir)
    same = run_folder.config.exists() and run_folder.config.read_text() == config.to_yaml()
    resume = same and run_folder.last() is not None
    return TrainRequest(
        source=ConfigSource(),
        save_dir=save_dir,
        device=device,
        resume=resume,
        overwrite=not resume,
        valid_interval=valid_interval,
        log_interval=0,
    )


def evaluation(save_dir: Path, device: Device) -> tuple[Trained, EvalRequest]:
    """The request for an evaluation of a run of the demo."""
    source = ConfigSource()
    request = EvalRequest(source=source, weights=str(save_dir), save_dir=save_dir, device=device)
    return config_for_weights(source, str(save_dir)), request


def _made_world(folder: Path, seed: int, out: Console) -> World:
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


def _extracted(folder: Path, world: World, layer: Layer, device: Device, out: Console) -> Path:
    """Extract the features of all videos; again if the videos are new."""
    features = folder / str(layer)
    request = ExtractRequest(
        source=ConfigSource(),
        batch_size=32,
        output=features,
        weights=str(folder / "tsm"),
        inputs=tuple(str(video.path) for video in world.videos),
        rate=RATE,
        window_seconds=WINDOW_SECONDS,
        layer=layer,
        device=device,
        overwrite=not world.reused,
    )
    extract_all(request, console=out)
    return features
