"""Classify clips: where models, videos, metrics and the training loop meet."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.data.clips import (
    ClipBatch,
    ClipData,
    EvalBatches,
    TrainBatches,
    class_names,
    has_entries,
    load_entries,
)
from videozoo.data.kinetics import (
    ClipEntry,
    find_videos,
    folder_class_names,
    read_list,
    videos_of,
    views_by_video,
)
from videozoo.data.views import ClipViews
from videozoo.engine.devices import (
    device_batch_size,
    finish,
    make_accelerator,
    seed_everything,
    share_cores,
    use_channels_last,
)
from videozoo.engine.loop import Best, FitOptions, TrainResult, fit
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.schedule import make_schedule, steps_per_epoch
from videozoo.engine.settings import TrainSettings
from videozoo.errors import ConfigError, DataError, RunError
from videozoo.metrics.accuracy import AccuracyCounter
from videozoo.metrics.multicrop import VideoScores
from videozoo.ops.pixels import normalize
from videozoo.report.tables import class_table, prediction_table, summary_table
from videozoo.safe_write import written_aside
from videozoo.tasks.loading import Trained, build_trained, initialise, save_trained
from videozoo.tasks.requests import Device, EvalRequest, PredictRequest, TrainRequest
from videozoo.types import ClipShape

Scores = NDArray[np.floating[Any]]


# --- train ---------------------------------------------------------------------------------------


def train(
    config: RunConfig, request: TrainRequest, *, console: Console | None = None
) -> TrainResult:
    """Train a model as `config` says, into the folder of `request`.

    Raises:
        VideozooError: The data, the weights, the folder or the machine do not fit.
    """
    out = console or Console(stderr=True)
    config = _without_absent_names(for_folder(config, request.data) if request.data else config)
    settings, data = config.train, config.data
    accelerator = make_accelerator(
        device=request.device, precision=settings.precision, num_gpus=settings.num_gpus
    )
    share_cores(accelerator.device, data.num_workers)
    say = _speaker(out, accelerator)
    for note in config.notes:
        say(f"note: {note}")
    share = device_batch_size(settings, accelerator.num_processes)
    shape = clip_shape(config)
    names = _class_names(config)
    entries = load_entries(data, "train", num_classes=config.model.num_classes)
    held_out = _validation_entries(config, request)

    seed_everything(settings.seed)
    if request.fixed_seed:
        torch.use_deterministic_algorithms(True, warn_only=True)
    module = config.spec.build(config.model)
    if request.pretrain and not request.resume:
        say(initialise(module, config, request.pretrain, drop=request.drop))
    folder = RunFolder.create(
        request.save_dir,
        resume=request.resume,
        overwrite=request.overwrite,
        accelerator=accelerator,
    )
    if accelerator.is_main_process and not request.resume:
        folder.write_config(config.to_yaml())

    def on_event(name: str, _facts: Mapping[str, Any]) -> None:
        if name == "resumed":  # not before: the state may belong to another model
            folder.write_config(config.to_yaml())

    batches = TrainBatches(
        entries,
        shape,
        data,
        batch_size=share,
        seed=settings.seed,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        num_classes=config.model.num_classes,
    )
    schedule = make_schedule(settings, _steps_in_epoch(settings, batches))
    say(_opening_line(config, module, accelerator, len(entries), held_out))

    def loss_of(model: nn.Module, batch: ClipBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        with accelerator.autocast():
            logits = model(normalize(batch.clips, data.mean, data.std))
        # cross-entropy in fp32: in bf16 its small differences drown
        loss = F.cross_entropy(logits.float(), batch.labels)
        hits = (logits.argmax(1) == batch.labels).sum()
        return loss, {"total": float(len(batch)), "top1": hits}

    def validate(epoch: int) -> dict[str, float]:
        assert held_out is not None
        scored = score_videos(
            module, config, held_out, accelerator=accelerator, views=ClipViews(batch_size=share)
        )
        return scored.counter.summary() if scored.counter.total else {}

    result = fit(
        accelerator=accelerator,
        module=module,
        optimizer=build_optimizer(module, config.spec.parameter_rules(module), settings),
        schedule=schedule,
        settings=settings,
        batches=lambda epoch, skip: batches.epoch(epoch, skip_batches=skip),
        loss_of=loss_of,
        folder=folder,
        save_weights=lambda path, facts: save_trained(path, module, config, names, facts),
        validate=validate if held_out is not None else None,
        best=Best(name="top1"),
        options=FitOptions(
            valid_interval=request.valid_interval,
            log_interval=request.log_interval,
            tensorboard=request.tensorboard,
        ),
        resume=request.resume,
        console=out,
        on_event=on_event,
    )
    if batches.bad_videos:
        say(f"{len(batches.bad_videos)} videos could not be read and were replaced, such as:")
        say(f"  {next(iter(batches.bad_videos.values()))}")
    if result.best is not None:
        say(f"best top-1 {result.best:.3f} after epoch {result.best_epoch}")
    say(f"weights: {result.weights}")
    say(f"next: videozoo eval --weights {folder.path}")
    say(f"      videozoo predict --weights {folder.path} VIDEO")
    finish(accelerator)
    return result


def for_folder(config: RunConfig, folder: Path) -> RunConfig:
    """Point a configuration at a folder with one folder of videos a class.

    The number of classes becomes that of the folder, unless the command line sets it.
    """
    names = folder_class_names(folder)
    changes: dict[str, Any] = {
        "data.format": "folder",
        "data.train": folder,
        "data.val": None,
        "data.test": None,
        "data.class_names": None,
    }
    origin = config.origins.get("model.num_classes", "")
    if not origin.startswith("--"):
        changes["model.num_classes"] = len(names)
    return config.replace("--data", changes)


def clip_shape(config: RunConfig) -> ClipShape:
    """Frames that the configured model takes in at once."""
    shape_of = config.spec.clip_shape
    if shape_of is None:
        raise ConfigError(f"model {config.name!r} does not take video clips")
    return shape_of(config.model)


def _steps_in_epoch(settings: TrainSettings, batches: TrainBatches) -> int:
    """Steps of an epoch as the schedule counts them: those that are taken, or as configured."""
    if settings.videos_per_epoch is None:
        return math.ceil(batches.batches_per_epoch / settings.gradient_accumulation)
    videos = settings.videos_per_epoch
    return steps_per_epoch(videos, settings.batch_size, videos_per_epoch=videos)


def _validation_entries(config: RunConfig, request: TrainRequest) -> list[ClipEntry] | None:
    if request.valid_interval == 0 or not has_entries(config.data, "val"):
        return None
    return load_entries(config.data, "val", num_classes=config.model.num_classes)


def _without_absent_names(config: RunConfig) -> RunConfig:
    """Go on with bare numbers where a configuration file names class names that are not there.

    They are only for people. A file that the command line names must exist.
    """
    data: ClipData = config.data
    asked = config.origins.get("data.class_names", "").startswith("--")
    if data.class_names is None or data.class_names.exists() or asked:
        return config
    changed = config.replace("", {"data.class_names": None})
    note = f"no class names at {data.class_names}; classes go by their numbers"
    return replace(changed, notes=(*config.notes, note))


def _class_names(config: RunConfig) -> list[str] | None:
    """Names of the classes, where anything tells them."""
    data: ClipData = config.data
    names = class_names(data)
    if names is not None and len(names) != config.model.num_classes:
        where = data.class_names or data.train
        raise ConfigError(
            f"{where}: names {len(names)} classes, but model.num_classes is "
            f"{config.model.num_classes}; make them agree (--set model.num_classes={len(names)})"
        )
    return names


def _opening_line(
    config: RunConfig,
    module: nn.Module,
    accelerator: Accelerator,
    num_train: int,
    held_out: Sequence[ClipEntry] | None,
) -> str:
    size = sum(p.numel() for p in module.parameters()) / 1e6
    checked = f"{len(held_out)} to check with" if held_out else "no validation"
    where = f"{accelerator.num_processes} x {accelerator.device.type}"
    return (
        f"{config.spec.title}: {size:.1f} M parameters, {config.model.num_classes} classes; "
        f"{num_train} videos to learn from, {checked}; {config.train.epochs} epochs of batches of "
        f"{config.train.batch_size} on {where}, {config.train.precision}"
    )


def _speaker(console: Console, accelerator: Accelerator) -> Callable[[str], None]:
    def say(text: str) -> None:
        if accelerator.is_main_process:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say


# --- score ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class VideoResult:
    """What a model says of one video."""

    name: str
    path: str
    label: int | None
    """The true class, where known."""
    scores: Scores
    """(num_classes,), summing to 1: the mean over the views."""

    def top(self, k: int) -> list[tuple[int, float]]:
        """The k best classes with their scores, best first."""
        order = np.argsort(-self.scores, kind="stable")[:k]
        return [(int(number), float(self.scores[number])) for number in order]


@dataclass
class Scored:
    """Scores of many videos, over all processes."""

    counter: AccuracyCounter
    """Of videos: their views averaged."""
    num_views: int
    """Of all videos together."""
    results: dict[int, VideoResult]
    """By place in the list; empty unless asked for."""
    skipped: dict[int, str]
    """Videos that could not be read: place in the list, and why."""


def score_videos(
    module: nn.Module,
    config: RunConfig,
    entries: Sequence[ClipEntry],
    *,
    accelerator: Accelerator,
    views: ClipViews,
    skip_bad: bool = False,
    keep: bool = False,
    on_video: Callable[[int], None] | None = None,
) -> Scored:
    """Run a model over every view of every video, the work shared by all processes.

    Memory is bounded by `views.batch_size` views at a time; only one running sum a video is kept
    until its last view has come.

    Args:
        module: In evaluation mode, on the accelerator's device.
        config: Says how videos are cut and normalised.
        entries: The whole list.
        accelerator: The processes.
        views: How many looks at each video.
        skip_bad: Go on without videos that cannot be read.
        keep: Also return the scores of each video.
        on_video: Called with the number of videos done by this process.

    Raises:
        VideoError: A video cannot be read, and `skip_bad` is not set.
    """
    classes = config.model.num_classes
    mine = Scored(AccuracyCounter(classes), 0, {}, {})
    videos = videos_of(entries)
    batches = EvalBatches(
        entries,
        clip_shape(config),
        config.data,
        views,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        skip_bad=skip_bad,
        num_classes=classes,
    )
    collector = VideoScores(_views_per_video(entries, batches))
    done = 0
    for video, label, row in _scored_views(module, config, batches, accelerator, views.batch_size):
        mine.num_views += 1
        scores = collector.add(video, row)
        if scores is None:
            continue
        done += 1
        loss = -np.log(max(scores[label], 1e-30)) if label >= 0 else 0.0
        mine.counter.update(scores[None], [label], loss=[loss])
        if keep:
            known = label if label >= 0 else None
            entry = videos[video]
            mine.results[video] = VideoResult(entry.name, str(entry.path), known, scores)
        if on_video is not None:
            on_video(done)
    mine.skipped.update(batches.skipped)
    return _merged(mine, accelerator)


def _scored_views(
    module: nn.Module,
    config: RunConfig,
    batches: EvalBatches,
    accelerator: Accelerator,
    most_views: int,
) -> Iterator[tuple[int, int, Scores]]:
    """Yield (video, label, scores) view by view; at most `most_views` are computed at a time."""
    data: ClipData = config.data
    for batch in batches:
        parts: list[Scores] = []
        for start in range(0, len(batch), most_views):
            clips = batch.clips[start : start + most_views]
            clips = clips.to(accelerator.device, non_blocking=True)
            with torch.inference_mode(), accelerator.autocast():
                logits = module(normalize(clips, data.mean, data.std))
            parts.append(torch.softmax(logits.float(), 1).cpu().numpy())
        yield from zip(
            batch.videos.tolist(), batch.labels.tolist(), np.concatenate(parts), strict=True
        )


def _views_per_video(entries: Sequence[ClipEntry], batches: EvalBatches) -> Callable[[int], int]:
    """How many views of a video come: as planned, or as many as a 2019 test list has lines."""
    planned = batches.plan.num_clips * batches.plan.num_crops
    groups = views_by_video(entries)
    return lambda video: planned if groups[video][0].crop_index is None else len(groups[video])


def _merged(mine: Scored, accelerator: Accelerator) -> Scored:
    """Add up what the processes have found; results come back in the order of the list."""
    if accelerator.num_processes > 1:
        parts: list[Scored] = gather_object([mine])
        mine = parts[0]
        for part in parts[1:]:
            mine.counter.merge(part.counter)
            mine.num_views += part.num_views
            mine.results |= part.results
            mine.skipped |= part.skipped
    mine.results = dict(sorted(mine.results.items()))
    return mine


def _run_views(
    trained: Trained,
    config: RunConfig,
    views: ClipViews,
    entries: Sequence[ClipEntry],
    request: EvalRequest | PredictRequest,
    accelerator: Accelerator,
) -> tuple[Scored, RunConfig]:
    """Build the model for these views and score the videos, in sight of the user."""
    config = _with_views(config, views)
    module = _ready(build_trained(trained, config, drop=request.drop), accelerator)
    count = len(videos_of(entries))
    _speaker(Console(stderr=True), accelerator)(_views_line(config, count, views))
    with _progress(count, accelerator) as advance:
        scored = score_videos(
            module,
            config,
            entries,
            accelerator=accelerator,
            views=views,
            skip_bad=request.skip_bad,
            keep=True,
            on_video=advance,
        )
    return scored, config


# --- evaluate ------------------------------------------------------------------------------------


def evaluate(
    trained: Trained, request: EvalRequest, *, console: Console | None = None
) -> dict[str, Any]:
    """Score a trained model on labelled videos; print tables, write `eval.json`.

    Returns:
        What the JSON file holds.

    Raises:
        VideozooError: The data, the weights or the machine do not fit.
    """
    out = console or Console()
    config = _without_absent_names(trained.config)
    if request.data is not None:
        config = config.replace("--data", {"data.test": request.data})
    accelerator = make_accelerator(device=request.device, precision=config.train.precision)
    say = _speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    entries = load_entries(
        config.data, "test", num_classes=config.model.num_classes, names=trained.class_names
    )
    started = time.monotonic()
    scored, config = _run_views(trained, config, config.eval, entries, request, accelerator)
    names = _names(trained, config)
    facts = _eval_facts(trained, config, scored, names, seconds=time.monotonic() - started)
    if accelerator.is_main_process:
        metrics: dict[str, float] = dict(facts["metrics"])
        if config.model.num_classes <= 5:
            metrics.pop("top5")  # always right
        out.print(summary_table(metrics))
        out.print(class_table(scored.counter.per_class(), names))
        if scored.skipped:
            num = len(scored.skipped)
            say(f"on {scored.counter.total} of {scored.counter.total + num} videos; not readable:")
            for problem in scored.skipped.values():
                say(f"  {problem}")
        if request.save_dir is not None:
            say(f"written: {_write_json(request.save_dir / 'eval.json', facts)}")
    finish(accelerator)
    return facts


def _eval_facts(
    trained: Trained, config: RunConfig, scored: Scored, names: Sequence[str], *, seconds: float
) -> dict[str, Any]:
    return {
        "model": config.name,
        "weights": str(trained.path),
        "videozoo": __version__,
        "videos": scored.counter.total,
        "views": scored.num_views,
        "seconds": round(seconds, 3),
        "metrics": scored.counter.summary(),
        "classes": [
            {"class": names[row.label], "videos": row.total, "right": row.hits}
            for row in scored.counter.per_class()
        ],
        # C x C numbers: 160,000 for Kinetics, which the results below hold as well
        "confusion": scored.counter.confusion.tolist() if len(names) <= 100 else None,
        "skipped": list(scored.skipped.values()),
        "results": [
            {
                "video": result.name,
                "label": result.label,
                "top": [[number, score] for number, score in result.top(5)],
            }
            for result in scored.results.values()
        ],
        "config": config.as_dict(),
    }


# --- predict -------------------------------------------------------------------------------------


def predict(
    trained: Trained, request: PredictRequest, *, console: Console | None = None
) -> list[VideoResult]:
    """Say what happens in videos; print a table, write `predictions.json`.

    Returns:
        One result a video, in the order of the inputs.

    Raises:
        VideozooError: A video, the weights or the machine do not fit.
    """
    out = console or Console()
    config = _without_absent_names(trained.config)
    accelerator = make_accelerator(device=request.device, precision=config.train.precision)
    say = _speaker(Console(stderr=True), accelerator)
    for note in config.notes:
        say(f"note: {note}")
    entries = input_entries(request.inputs, config)
    scored, config = _run_views(trained, config, config.predict, entries, request, accelerator)
    if accelerator.is_main_process:
        names = _names(trained, config)
        found = [
            _prediction(result, names, config.predict.top_k) for result in scored.results.values()
        ]
        out.print(prediction_table(found))
        for problem in scored.skipped.values():
            say(f"skipped: {problem}")
        if request.save_dir is not None:
            facts = {
                "model": config.name,
                "weights": str(trained.path),
                "videozoo": __version__,
                "predictions": found,
                "skipped": list(scored.skipped.values()),
            }
            say(f"written: {_write_json(request.save_dir / 'predictions.json', facts)}")
    finish(accelerator)
    return list(scored.results.values())


def input_entries(inputs: Sequence[str], config: RunConfig) -> list[ClipEntry]:
    """Videos to predict on: files, folders, patterns (`clips/*.mp4`) and lists, in any mixture.

    Without inputs, those of `predict.inputs` in the configuration.

    Raises:
        DataError: Something named is not there, or holds no video.
    """
    if not inputs:
        listed: Path | None = config.predict.inputs
        if listed is None:
            raise DataError("no videos: name files, folders or lists, or set predict.inputs")
        inputs = (str(listed),)
    entries: list[ClipEntry] = []
    for text in inputs:
        path = Path(text)
        if not path.exists() and any(character in text for character in "*?["):
            matches = sorted(glob(text, recursive=True))  # noqa: PTH207 - any pattern, as a shell
            if not matches:
                raise DataError(f"{text}: nothing matches this pattern")
            entries += [entry for match in matches for entry in find_videos(Path(match))]
        elif path.suffix.lower() in (".txt", ".list", ".csv"):
            entries += read_list(
                path,
                root=config.data.root,
                labels="optional",
                num_classes=config.model.num_classes,
            )
        else:
            entries += find_videos(path)
    return entries


def _prediction(result: VideoResult, names: Sequence[str], k: int) -> dict[str, Any]:
    return {
        "video": result.name,
        "path": result.path,
        "label": None if result.label is None else names[result.label],
        "top": [
            {"class": names[number], "label": number, "score": round(score, 6)}
            for number, score in result.top(k)
        ],
    }


# --- from Python ---------------------------------------------------------------------------------


class Classifier:
    """A trained clip model that takes video files.

    Made by `videozoo.load`. Frames are picked, scaled and normalised as in training, or as the
    `predict:` section says.
    """

    def __init__(self, trained: Trained, *, device: Device = "auto") -> None:
        self._trained = trained
        precision = trained.config.train.precision
        self._accelerator = make_accelerator(device=device, precision=precision)
        config = _without_absent_names(trained.config)
        self.config = _with_views(config, config.predict)
        self.class_names = _names(trained, self.config)
        self.module = _ready(build_trained(trained, self.config), self._accelerator)

    def predict(self, *paths: str | Path) -> list[VideoResult]:
        """Score videos; each result's `.top(k)` lists the best classes.

        Args:
            paths: Files, folders, patterns or lists.

        Raises:
            DataError: Something named is not there.
            VideoError: A video cannot be read.
        """
        entries = input_entries([str(path) for path in paths], self.config)
        views: ClipViews = self.config.predict
        scored = score_videos(
            self.module,
            self.config,
            entries,
            accelerator=self._accelerator,
            views=views,
            keep=True,
        )
        return list(scored.results.values())


def load(trained: Trained, *, device: Device = "auto") -> Classifier:
    """Make the Python object for `videozoo.load`."""
    return Classifier(trained, device=device)


# --- small parts ---------------------------------------------------------------------------------


def _with_views(config: RunConfig, views: ClipViews) -> RunConfig:
    """Build the model for another number of segments where the views ask for it."""
    if views.num_segments is None:
        return config
    if "num_segments" not in type(config.model).model_fields:
        raise ConfigError(f"num_segments has no effect on {config.name}; leave it out")
    return config.replace("views", {"model.num_segments": views.num_segments})


def _ready(module: nn.Module, accelerator: Accelerator) -> nn.Module:
    module.to(accelerator.device).eval()
    use_channels_last(module)
    return module


def _names(trained: Trained, config: RunConfig) -> list[str]:
    """Class names: stored with the weights, else configured, else the bare numbers."""
    found = trained.class_names or _class_names(config)
    return list(found) if found else [str(number) for number in range(config.model.num_classes)]


def _views_line(config: RunConfig, num_videos: int, views: ClipViews) -> str:
    looks = views.num_clips * views.num_crops
    line = f"{config.spec.title}: {num_videos} videos"
    if looks > 1:
        line += (
            f", {views.num_clips} clips x {views.num_crops} crops = {looks} views each, "
            f"{views.batch_size} at a time"
        )
    return line


@contextmanager
def _progress(total: int, accelerator: Accelerator) -> Generator[Callable[[int], None]]:
    """Show how far this process is; the others are about as far."""
    share = -(-total // accelerator.num_processes)
    shown = accelerator.is_main_process and sys.stderr.isatty()
    with Progress(
        TextColumn("videos"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
        transient=True,
    ) as progress:
        bar = progress.add_task("videos", total=share)
        yield lambda done: progress.update(bar, completed=done)


def _write_json(path: Path, facts: Mapping[str, Any]) -> Path:
    try:
        with written_aside(path) as aside:
            text = json.dumps(facts, indent=1, ensure_ascii=False)
            aside.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    return path
