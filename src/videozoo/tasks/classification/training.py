"""Train a clip model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.clips import (
    ClipBatch,
    TrainBatches,
    has_entries,
    load_entries,
)
from videozoo.data.kinetics import (
    ClipEntry,
    folder_class_names,
)
from videozoo.data.views import ClipViews
from videozoo.engine.devices import (
    device_batch_size,
    finish,
    make_accelerator,
    seed_everything,
    share_cores,
    usable_cores,
)
from videozoo.engine.loop import Best, FitOptions, TrainResult, fit
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.schedule import make_schedule, steps_per_epoch
from videozoo.engine.settings import TrainSettings
from videozoo.engine.stopping import check_early_stop
from videozoo.ops.mixup import mixed_cross_entropy, mixed_hits, mixup
from videozoo.ops.pixels import normalize
from videozoo.tasks.classification.common import (
    clip_shape,
    configured_class_names,
    speaker,
    without_absent_names,
)
from videozoo.tasks.classification.scoring import ModuleScorer, score_videos
from videozoo.tasks.loading import save_trained
from videozoo.tasks.requests import TrainRequest
from videozoo.tasks.starting import start


def train(
    config: RunConfig, request: TrainRequest, *, console: Console | None = None
) -> TrainResult:
    """Train a model as `config` says, into the folder of `request`.

    Raises:
        VideozooError: The data, the weights, the folder or the machine do not fit.
    """
    out = console or Console(stderr=True)
    config = without_absent_names(for_folder(config, request.data) if request.data else config)
    settings, data = config.train, config.data
    accelerator = make_accelerator(
        device=request.device, precision=settings.precision, num_gpus=settings.num_gpus
    )
    share_cores(accelerator.device, data.num_workers)
    say = speaker(out, accelerator)
    for note in config.notes:
        say(f"note: {note}")
    share = device_batch_size(settings, accelerator.num_processes)
    shape = clip_shape(config)
    names = configured_class_names(config)
    entries = load_entries(data, "train", num_classes=config.model.num_classes)
    held_out = _validation_entries(config, request)
    validates = held_out is not None and request.valid_interval <= settings.epochs
    check_early_stop(settings, validates=validates)  # before a folder is made

    seed_everything(settings.seed)
    if request.fixed_seed:
        torch.use_deterministic_algorithms(True, warn_only=True)
    module = config.spec.build(config.model)
    start(module, config, request, say=say)
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
    if settings.learning_rate_batch_size is not None:
        say(_rate_line(settings))

    def loss_of(model: nn.Module, batch: ClipBatch) -> tuple[Tensor, dict[str, Tensor | float]]:
        batch = batch.to(accelerator.device)
        clips = normalize(batch.clips, data.mean, data.std)
        clips, labels = mixup(clips, batch.labels, settings.mixup_alpha)
        with accelerator.autocast():
            logits = model(clips)
        # cross-entropy in fp32: in bf16 its small differences drown
        loss = mixed_cross_entropy(logits.float(), labels, label_smoothing=settings.label_smoothing)
        return loss, {"total": float(len(batch)), "top1": mixed_hits(logits, labels)}

    def validate(epoch: int) -> dict[str, float]:
        assert held_out is not None
        scored = score_videos(
            ModuleScorer(module, data, accelerator),
            config,
            held_out,
            accelerator=accelerator,
            views=ClipViews(batch_size=share),
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
            save_every_steps=request.save_every_steps,
            tensorboard=request.tensorboard,
            slow_data_advice=_slow_data_advice(data.num_workers),
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


def _rate_line(settings: TrainSettings) -> str:
    """Say which learning rate the batch makes of the configured one."""
    used = settings.learning_rate * settings.learning_rate_scale
    return (
        f"learning rate {settings.learning_rate:g} for batches of "
        f"{settings.learning_rate_batch_size} -> {used:g} for {settings.batch_size}"
    )


def _slow_data_advice(num_workers: int) -> str:
    cores = usable_cores()
    if num_workers < cores:
        return f"raise data.num_workers (now {num_workers}; this machine has {cores} cores)"
    return "store the videos smaller, near data.short_side: then they decode faster"
