"""The part of a training shared by all tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate import Accelerator
from rich.console import Console
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.data.loader import Batch, LoaderSettings, TrainLoader, VideoDataset
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
from videozoo.engine.progress import metric
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.schedule import make_schedule, steps_per_epoch
from videozoo.engine.settings import TrainSettings
from videozoo.engine.stopping import check_early_stop
from videozoo.errors import counted, few
from videozoo.settings.segments import AnnotatedData
from videozoo.tasks.building import build
from videozoo.tasks.circumstances import circumstances
from videozoo.tasks.common import say_if_learnt_from, speaker
from videozoo.tasks.kept_encoder import keep_encoder
from videozoo.tasks.loading import save_trained
from videozoo.tasks.next_steps import after_training
from videozoo.tasks.requests import TrainRequest
from videozoo.tasks.resuming import Learnt, best_line, check_resumed, start_of
from videozoo.tasks.starting import start
from videozoo.tasks.trying import try_out

B = TypeVar("B", bound=Batch)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """What a model learns from, and how it is told how well it does."""

    batches: TrainLoader[Any]
    num_train: int
    """Videos to learn from, or other `items`."""
    num_held_out: int | None
    """The same to check with; None: no validation."""
    loss_of: Callable[[nn.Module, Any], tuple[Tensor, dict[str, Tensor | float]]]
    """See `engine.loop.fit`."""
    validate: Callable[[nn.Module], Mapping[str, float]]
    """From the module in evaluation mode to metrics of all processes together."""
    best: Best
    metric_title: str
    """What people call the metric that decides, e.g. "top-1"."""
    config: RunConfig | None = None
    """Where the data settle more of it; by default that of the job."""
    class_names: Sequence[str] | None = None
    vocabulary: Sequence[str] | None = None
    """The words of a model that writes, in place of classes."""
    features: Mapping[str, Any] | None = None
    """What made the features that the model learns from; stored with the weights."""
    measured: Callable[[bool], Mapping[str, Any]] = lambda _validated: {}
    """What is stored with weights besides, see `tasks.loading.Trained`; told whether `validate` has
    seen these weights."""
    example: Sequence[str | Path] = ()
    """What there is to predict on: words of the command line, inputs last."""
    prepare: Callable[[nn.Module], None] = lambda _module: None
    """What a fresh module is given before anything is loaded into it."""
    item: str = "video"
    """What is counted and learnt from."""
    solve: Callable[[nn.Module], Mapping[str, Any]] | None = None
    """For models that are solved in place of trained: puts the solution into a module on its
    device, and tells what to keep of it with the weights and in `metrics.jsonl`."""


@dataclass(frozen=True)
class TrainJob:
    """What `tasks.train` hands to a task."""

    config: RunConfig
    request: TrainRequest
    accelerator: Accelerator
    console: Console
    say: Callable[[str], None]
    """Prints a line, once for all processes."""

    @classmethod
    def open(cls, config: RunConfig, request: TrainRequest, console: Console | None) -> TrainJob:
        """Join the processes, say what the configuration notes."""
        out = console or Console(stderr=True)
        settings = config.train
        accelerator = make_accelerator(
            device=request.device, precision=settings.precision, num_gpus=settings.num_gpus
        )
        share_cores(accelerator.device, config.data.num_workers)
        say = speaker(out, accelerator)
        for note in config.notes:
            say(f"note: {note}")
        if request.valid_interval > 0 and not isinstance(config.data, AnnotatedData):
            say_if_learnt_from(say, config.data, "val")
        return cls(config, request, accelerator, out, say)

    @property
    def batch_size(self) -> int:
        """Videos, or other items, in a batch of this process.

        Raises:
            RunError: The batch cannot be shared evenly.
        """
        return device_batch_size(self.config.train, self.accelerator.num_processes)

    def loader(
        self, dataset: VideoDataset[Any, B], settings: LoaderSettings | None = None
    ) -> TrainLoader[B]:
        """Open the share of this process, by default as the `data:` section says.

        Raises:
            DataError: There is too little to learn from.
            RunError: The batch cannot be shared evenly.
        """
        return TrainLoader(
            dataset,
            settings or self.config.data,
            batch_size=self.batch_size,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )


def say_shared(
    held_out: Iterable[str], learnt: Iterable[str], data: Any, say: Callable[[str], None]
) -> None:
    """Say which videos a model is checked with although it learns from them.

    Where both parts are the same file that has been said already.
    """
    if data.val == data.train:
        return
    checked = dict.fromkeys(held_out)
    known = set(learnt)
    shared = [video for video in checked if video in known]
    if shared:
        say(
            f"note: {len(shared):,} of the {counted(len(checked), 'video')} to check with are also "
            f"learnt from, so that scores say little about new ones: {few(shared)}"
        )


def run_training(
    job: TrainJob, plan: TrainingPlan, *, outer: RunFolder | None = None
) -> TrainResult:
    """Train the configured model into the folder of the request.

    Args:
        job: What was asked for.
        plan: What it learns.
        outer: The folder of the run that this one is a part of.

    Raises:
        VideozooError: The weights, the folder or the machine do not fit.
    """
    config, request = plan.config or job.config, job.request
    accelerator, say = job.accelerator, job.say
    settings = config.train
    can_validate = plan.num_held_out is not None
    if plan.solve is not None:
        settings = settings.model_copy(update={"epochs": 1, "early_stop_epochs": None})
    validates = can_validate and request.valid_interval <= settings.epochs
    check_early_stop(settings, validates=validates)  # before a folder is made
    try_out(config, accelerator.device)
    constants = config.spec.constants(config.model)

    names = plan.vocabulary or plan.class_names
    learnt = Learnt(
        names=names,
        features=plan.features,
        num_train=plan.num_train,
        num_held_out=plan.num_held_out,
    )
    folder = RunFolder.create(
        request.save_dir,
        resume=request.resume,
        overwrite=request.overwrite,
        accelerator=accelerator,
        config=config.to_yaml(),
        start=start_of(config, request, learnt, accelerator),
        outer=outer,
        more=lambda path: keep_encoder(path, plan.features, say, encoders=request.made_with),
    )
    other_measure: tuple[str, ...] = ()
    if request.resume:
        other_measure = check_resumed(folder, config, learnt, accelerator=accelerator, say=say)
    seed_everything(settings.seed)
    module = build(config)
    for key, values in constants.items():
        module.get_buffer(key).copy_(torch.from_numpy(values))
    plan.prepare(module)
    start(module, config, request, say=say, names=names)

    def on_event(name: str, facts: Mapping[str, Any]) -> None:
        if name == "resumed":  # not before: the state may belong to another model
            folder.go_on()
            at = {"epoch": facts["epoch"], "step": facts["step"]}
            folder.log({"kind": "resumed", **at, **circumstances(accelerator)})
            if other_measure and facts["best"] is not None:
                best = metric(plan.best.name, facts["best"])
                say(best_line(plan.metric_title, best, facts["best_epoch"], other_measure))

    def save(path: Path, facts: Mapping[str, Any]) -> None:
        measured = plan.measured(plan.best.name in facts)
        save_trained(path, module, config, names, facts, plan.features, measured=measured)

    say(_opening_line(config, module, accelerator, plan))
    if settings.learning_rate_batch_size is not None:
        say(_rate_line(settings))
    if plan.solve is not None:
        result = _solved(module, plan, folder, accelerator, save)
        return _ended(job, plan, result, folder, can_validate)
    steps_in_epoch = _steps_in_epoch(settings, plan.batches)
    result = fit(
        accelerator=accelerator,
        module=module,
        optimizer=build_optimizer(module, config.spec.parameter_rules(module), settings),
        schedule=make_schedule(settings, steps_in_epoch),
        steps_in_epoch=steps_in_epoch,
        settings=settings,
        batches=lambda epoch, skip: plan.batches.epoch(epoch, skip_batches=skip),
        loss_of=plan.loss_of,
        folder=folder,
        save_weights=save,
        validate=(lambda _epoch: plan.validate(module)) if can_validate else None,
        best=plan.best,
        options=FitOptions(
            valid_interval=request.valid_interval,
            log_interval=request.log_interval,
            save_every_steps=request.save_every_steps,
            tensorboard=request.tensorboard,
            slow_data_advice=_slow_data_advice(config.data.num_workers),
        ),
        resume=request.resume,
        console=job.console,
        on_event=on_event,
    )
    return _ended(job, plan, result, folder, can_validate)


def _ended(
    job: TrainJob, plan: TrainingPlan, result: TrainResult, folder: RunFolder, can_validate: bool
) -> TrainResult:
    """Say what came out, and what to do next."""
    config = plan.config or job.config
    _say_result(result, plan, job.say)
    if not job.request.is_stage:
        for line in after_training(
            config,
            folder.path,
            example=plan.example,
            with_eval=can_validate or _is_there(getattr(config.data, "test", None)),
            features=plan.features,
        ):
            job.say(line)
    finish(job.accelerator)
    return result


def _solved(
    module: nn.Module,
    plan: TrainingPlan,
    folder: RunFolder,
    accelerator: Accelerator,
    save: Callable[[Path, Mapping[str, Any]], None],
) -> TrainResult:
    """Solve a model, and write what a training of one epoch writes. Resuming solves it again."""
    assert plan.solve is not None
    module.to(accelerator.device).eval()
    line: dict[str, Any] = {"kind": "epoch", "epoch": 1, "step": 1, **plan.solve(module)}
    if plan.num_held_out is not None:
        with torch.no_grad():
            measured = plan.validate(module)
        line |= {f"valid_{key}": value for key, value in measured.items()}
    value: float | None = line.get(f"valid_{plan.best.name}")
    if accelerator.is_main_process:
        facts: dict[str, Any] = {"epoch": 1, "step": 1}
        if value is not None:
            facts[plan.best.name] = value
        folder.begin()
        folder.go_on()
        folder.rewind_metrics(lambda _line: False)
        folder.save_epoch(1, lambda aside: save(aside, facts), is_best=True)
        folder.log(line)
        folder.save_last(lambda _path: None)  # there is no state beside the weights
    accelerator.wait_for_everyone()
    return TrainResult(
        path=folder.path,
        weights=folder.best,
        best=value,
        best_epoch=None if value is None else 1,
        history=[line],
    )


def _is_there(path: Path | None) -> bool:
    return path is not None and path.exists()


def _say_result(result: TrainResult, plan: TrainingPlan, say: Callable[[str], None]) -> None:
    bad = plan.batches.bad_videos
    if bad:
        verb = "was" if len(bad) == 1 else "were"
        say(f"{counted(len(bad), plan.item)} could not be read and {verb} replaced, such as:")
        say(f"  {next(iter(bad.values()))}")
    if result.best is not None and plan.solve is None:
        best = metric(plan.best.name, result.best)
        say(f"best {plan.metric_title} {best} after epoch {result.best_epoch}")
    say(f"weights: {result.weights}")


def _steps_in_epoch(settings: TrainSettings, batches: TrainLoader[Any]) -> int:
    """Steps of an epoch as the schedule counts them: those that are taken, or as configured."""
    if settings.videos_per_epoch is None:
        return math.ceil(batches.batches_per_epoch / settings.gradient_accumulation)
    videos = settings.videos_per_epoch
    return steps_per_epoch(videos, settings.batch_size, videos_per_epoch=videos)


def _opening_line(
    config: RunConfig, module: nn.Module, accelerator: Accelerator, plan: TrainingPlan
) -> str:
    size = sum(p.numel() for p in module.parameters()) / 1e6
    held_out = plan.num_held_out
    checked = f"{held_out} to check with" if held_out else "no validation"
    where = f"{accelerator.num_processes} x {accelerator.device.type}"
    return (
        f"{config.spec.title}: {size:.1f} M parameters{_classes(config)}; "
        f"{counted(plan.num_train, plan.item)} to learn from, {checked}; "
        + (
            f"solved on {where}"
            if plan.solve is not None
            else f"{counted(config.train.epochs, 'epoch')} of batches of "
            f"{config.train.batch_size} on {where}, {config.train.precision}"
        )
    )


def _classes(config: RunConfig) -> str:
    """How many classes it tells apart; nothing for models without any."""
    classes = getattr(config.model, "num_classes", None)
    return "" if classes is None else f", {counted(classes, 'class')}"


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
