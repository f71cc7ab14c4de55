"""The training loop. It knows no model and no data: a task hands it functions.

    for each epoch
        for each step:  loss_of(module, batch), backward, update
        validate, save

Every process of a run calls `fit` with the same arguments and its own share of the batches.
Epochs count from 0 in calls and from 1 in files and on the screen.
"""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Generic, Literal, NoReturn, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from rich.console import Console
from torch import Tensor, nn
from torch.optim import Optimizer

from videozoo.commands import command
from videozoo.engine.averaging import AveragedWeights
from videozoo.engine.checkpoint import Position, load_state, save_state
from videozoo.engine.compiling import compiled
from videozoo.engine.devices import (
    keep_random_state,
    random_state,
    seed_everything,
    set_random_state,
    use_channels_last,
)
from videozoo.engine.freezing import FrozenBatchNorms
from videozoo.engine.interrupts import Interrupts, RunInterrupted
from videozoo.engine.meter import TOTAL, Meter, pack, sum_over
from videozoo.engine.progress import RunProgress, describe, metric
from videozoo.engine.ranks import dead, death, explained, watched
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.schedule import LearningRate, Schedule, counts_epochs
from videozoo.engine.settings import TrainSettings
from videozoo.engine.stopping import check_early_stop, has_stalled
from videozoo.engine.summing import sum_in_order_of_ranks
from videozoo.engine.waiting import DataWait
from videozoo.errors import RunError, VideozooError, counted

Batch = TypeVar("Batch")
Counts = Mapping[str, "Tensor | float"]
_TIMES = ("data_seconds", "compute_seconds", "steps")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """The result of a run."""

    path: Path
    """The run folder."""
    weights: Path | None
    """The best weights, or the newest ones if there was no validation."""
    best: float | None
    """The best validation metric."""
    best_epoch: int | None
    """From 1."""
    history: list[dict[str, Any]]
    """The epoch lines of `metrics.jsonl`."""


@dataclass(frozen=True, kw_only=True)
class Best:
    """The validation metric that selects the best epoch."""

    name: str
    direction: Literal["max", "min"] = "max"

    def is_better(self, value: float, than: float | None) -> bool:
        """Compare two values of the metric; nan is never better."""
        if math.isnan(value):
            return False
        if than is None:
            return True
        return value > than if self.direction == "max" else value < than


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How often a run validates, logs and saves."""

    valid_interval: int = 1
    """Epochs between validations; 0: never."""
    log_interval: int = 10
    """Steps between log lines; 0: none within epochs."""
    save_every_steps: int | None = None
    """Also save `last/` within epochs, after this many steps each."""
    tensorboard: bool = False
    """Write TensorBoard files beside `metrics.jsonl`."""
    slow_data_advice: str = ""
    """Advice to print when training waits for its data; the loop knows no data."""


def fit(
    *,
    accelerator: Accelerator,
    module: nn.Module,
    optimizer: Optimizer,
    schedule: Schedule,
    settings: TrainSettings,
    batches: Callable[[int, int], Iterable[Batch]],
    loss_of: Callable[[nn.Module, Batch], tuple[Tensor, Counts]],
    folder: RunFolder,
    save_weights: Callable[[Path, Mapping[str, Any]], None],
    steps_in_epoch: int | None = None,
    validate: Callable[[int], Mapping[str, float]] | None = None,
    best: Best | None = None,
    options: FitOptions | None = None,
    resume: bool = False,
    console: Console | None = None,
    on_event: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> TrainResult:
    """Train `module` in place until `settings.epochs` are done.

    Args:
        accelerator: From `make_accelerator`.
        module: Not wrapped; moved to the accelerator's device.
        optimizer: From `build_optimizer`, over parameters of `module`.
        schedule: From `make_schedule`.
        settings: The `train:` section.
        batches: From (epoch, skip) to this process's batches of that epoch, without the first
            `skip` of them. One batch is `device_batch_size` examples, and `gradient_accumulation`
            batches are one step. The same call gives the same batches, and every process gets the
            same number. Until the first batch, the global random generators are seeded from
            `settings.seed` and the epoch, equally in every process; after that `batches` must not
            use them.
        loss_of: From the module (wrapped: call it, once) and a batch to the mean loss and the
            counts to report. The count `total` is the number of examples behind the mean; every
            other count is reported as a share of `total`.
        folder: From `RunFolder.create`.
        save_weights: From a path and facts (`epoch`, `step` and the metrics) to a file of the
            module's weights. Called in the main process. Where `settings.ema_decay` is set, the
            module holds the averaged weights meanwhile, as it does in `validate`.
        steps_in_epoch: Steps per epoch that `schedule` was made for. With it, a resumed run with
            epochs of another length keeps its place in the schedule; None: the place is the step.
        validate: From the epoch to metrics over all processes; called in every process, with
            `module` in evaluation mode and without gradients.
        best: The metric of `validate` by which `best.safetensors` is chosen.
        options: How often to validate, log and save.
        resume: Go on from `folder.last()`.
        console: Where progress is shown; standard error when None.
        on_event: Called in the main process with "resumed", "log", "epoch", "saved" or
            "interrupted", and facts.

    Raises:
        RunError: The loss or the weights are not finite, there are no batches, the saved state does
            not fit, this run or machine does not support a setting, another process of the run has
            died, or what is shown cannot be written. Earlier files stay untouched.
        RunInterrupted: Ctrl-C, SIGTERM or SIGHUP; the state is saved.
    """
    run = _Run(
        accelerator=accelerator,
        module=module,
        optimizer=optimizer,
        schedule=schedule,
        settings=settings,
        batches=batches,
        loss_of=loss_of,
        folder=folder,
        save_weights=save_weights,
        steps_in_epoch=steps_in_epoch,
        validate=validate,
        best=best,
        options=options or FitOptions(),
        console=console,
        on_event=on_event or (lambda _name, _facts: None),
    )
    with watched(run.going_on()):
        try:
            return run.train(resume=resume)
        except VideozooError:
            raise
        except Exception as error:
            if why := explained(error):
                raise RunError(f"{why}; {run.going_on()}") from error
            raise


@dataclass(kw_only=True)
class _Run(Generic[Batch]):
    """One call of `fit`; its methods are in the order of a run."""

    accelerator: Accelerator
    module: nn.Module
    optimizer: Optimizer
    schedule: Schedule
    settings: TrainSettings
    batches: Callable[[int, int], Iterable[Batch]]
    loss_of: Callable[[nn.Module, Batch], tuple[Tensor, Counts]]
    folder: RunFolder
    save_weights: Callable[[Path, Mapping[str, Any]], None]
    steps_in_epoch: int | None
    validate: Callable[[int], Mapping[str, float]] | None
    best: Best | None
    options: FitOptions
    console: Console | None
    on_event: Callable[[str, Mapping[str, Any]], None]

    def train(self, *, resume: bool) -> TrainResult:
        self.at = Position(
            schedule_step=0,
            steps_in_epoch=self.steps_in_epoch,
            batch_size=self.settings.batch_size,
        )
        self.epoch_meter, self.window = Meter(), Meter()
        self.pending: list[tuple[list[_Vector], int]] = []
        self.step_seconds, self.wait = _RunningMean(), DataWait()
        check_early_stop(self.settings, validates=self._validates())
        self.open_board = self._tensorboard()
        self._prepare()
        self.rate = LearningRate(self.optimizer, self.schedule)
        with ExitStack() as stack:
            self.interrupts = stack.enter_context(Interrupts())
            self.progress = stack.enter_context(
                RunProgress(
                    epochs=self.settings.epochs,
                    shown=self.accelerator.is_main_process,
                    console=self.console,
                )
            )
            self.closing = stack
            self.board: Any = None
            self._restore() if resume else self._start()
            while not self._is_done():
                self._train_epoch()
                self._end_epoch()
        return self._result()

    # --- beginning

    def _prepare(self) -> None:
        """Wrap the module for training; saving and validation use the bare module."""
        if self.settings.channels_last:
            use_channels_last(self.module)
        # before DDP registers the trained parameters
        self.frozen = FrozenBatchNorms(self.module, self.settings.freeze_batch_norm)
        self.wrapped, self.stepper = self.accelerator.prepare(self.module, self.optimizer)
        sum_in_order_of_ranks(self.wrapped, self.accelerator.device)
        self.model: nn.Module = self.wrapped
        if self.settings.compile:
            self.model = compiled(self.wrapped, self.accelerator.device)
        decay = self.settings.ema_decay
        self.average = None if decay is None else AveragedWeights(self.module, decay)

    def _start(self) -> None:
        if self.accelerator.process_index > 0:  # else all processes would drop the same activations
            seed_everything((self.settings.seed + self.accelerator.process_index) % 2**32)

    def _restore(self) -> None:
        last = self.folder.last_whole()
        if last is None:
            raise RunError(
                f"{self.folder.path}: holds no state to go on from; run without --resume"
            )
        try:
            restored = load_state(
                last, module=self.module, optimizer=self.optimizer, average=self.average
            )
            self.at = restored.position
            if restored.scaler is not None and self.accelerator.scaler is not None:
                self.accelerator.scaler.load_state_dict(restored.scaler)
            self._restore_process(restored.processes)
            self._fit_position()
            if self.accelerator.is_main_process:
                self.folder.rewind_metrics(self._is_past)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise RunError(
                f"{last}: is not as it was saved ({type(error).__name__}: {error}); start from "
                "weights/ instead (--pretrain)"
            ) from error
        self.accelerator.wait_for_everyone()
        if self.average is not None and not self.average.updates and self.at.step:
            self.progress.say("the saved state holds no averaged weights: they start here")
        self.progress.say(self._where_it_goes_on())
        self._tell(
            "resumed",
            {
                "epoch": self.at.epoch + 1,
                "step": self.at.step,
                "best": self.at.best,
                "best_epoch": self.at.best_epoch,
            },
        )

    def _fit_position(self) -> None:
        """Continue at the same share of the epochs if their length has changed."""
        at = self.at
        if at.schedule_step is None:  # saved by an earlier version, which counted all steps alike
            at.schedule_step = at.step
            if at.epoch and not at.step_in_epoch and self.settings.videos_per_epoch is None:
                at.steps_in_epoch = at.step // at.epoch
        before = at.steps_in_epoch
        moved = at.fit_to(batch_size=self.settings.batch_size, steps_in_epoch=self.steps_in_epoch)
        if moved and self.settings.schedule != "constant" and counts_epochs(self.settings):
            self.progress.say(
                f"an epoch has {self.steps_in_epoch} steps, not {before} as before: the "
                "schedule of the learning rate goes on at the same share of the epochs"
            )

    def _where_it_goes_on(self) -> str:
        done = f"{self.at.epoch} of {counted(self.settings.epochs, 'epoch')} are done"
        if self._has_stalled():
            return f"nothing left to do: {done}, and {self._why_it_stops()}"
        if self._is_done():
            return f"nothing left to do: {done}"
        return f"going on at epoch {self.at.epoch + 1}/{self.settings.epochs}, step {self.at.step}"

    def _restore_process(self, processes: list[dict[str, Any]]) -> None:
        rank = self.accelerator.process_index
        if len(processes) == self.accelerator.num_processes:
            own = processes[rank]
            set_random_state(own["random"])
            self.epoch_meter, self.window = Meter(own["epoch_sums"]), Meter(own["window_sums"])
            return
        # another number of processes: not exactly repeatable
        self.progress.say(
            f"saved by {counted(len(processes), 'process')}, going on with "
            f"{self.accelerator.num_processes}: what is drawn at random is not what it would have "
            "been"
        )
        seed_everything((self.settings.seed + self.at.step + rank) % 2**32)
        for process in processes:
            for name, value in process["epoch_sums"].items():
                self.epoch_meter.add_sum(name, value if rank == 0 else 0.0)

    def _is_past(self, line: Mapping[str, Any]) -> bool:
        if line.get("kind") == "epoch":
            return line["epoch"] <= self.at.epoch
        return line.get("step", 0) <= self.at.step

    # --- one epoch

    def _train_epoch(self) -> None:
        self._train_mode()
        parts = self.settings.gradient_accumulation
        done = self.at.step_in_epoch
        # seeded by the epoch, then restored, so that a run resumed within an epoch draws the same
        with keep_random_state():
            seed_everything((self.settings.seed + 1_000_003 * (self.at.epoch + 1)) % 2**32)
            iterable = self.batches(self.at.epoch, done * parts)
            total = self._total_steps(iterable, done)
            iterator = iter(iterable)
            started = time.perf_counter()
            group = list(islice(iterator, parts))
        if not group and not done:
            raise RunError(
                "the training data gave no batch; is the list empty, or shorter than the batch "
                f"of {self.settings.batch_size}?"
            )
        self.progress.begin_epoch(self.at.epoch + 1, done=done, total=total)
        is_first = True
        while group:
            fetched = time.perf_counter()
            rate = self._step(group)
            self._note_times(fetched - started, time.perf_counter() - fetched, is_first=is_first)
            if is_first:
                self._begin_folder()
            is_first = False
            self._after_step(rate, total)
            started = time.perf_counter()
            group = self._fetch(iterator, parts)
        self._settle()

    def _begin_folder(self) -> None:
        """Make the run folder after the first step, so that a failed start leaves none."""
        self._settle()  # a loss that is not finite raises here
        if self.accelerator.is_main_process:
            self.folder.begin()
            if self.open_board is not None:
                self.board = self.closing.enter_context(self.open_board())
                self.open_board = None

    def _train_mode(self) -> None:
        self.model.train()
        self.frozen.hold()

    def _fetch(self, iterator: Iterator[Batch], parts: int) -> list[Batch]:
        try:
            return list(islice(iterator, parts))
        except Exception:
            # Ctrl-C reaches a loader's workers as well
            if self.interrupts.requested and self.accelerator.num_processes == 1:
                self._stop()
            raise

    def _total_steps(self, iterable: Iterable[Batch], done: int) -> int | None:
        length = operator.length_hint(iterable, -1)
        counts = sum_over(self.accelerator, [float(length), float(length) ** 2])
        processes = self.accelerator.num_processes
        if counts[1] * processes != counts[0] ** 2:
            raise RunError(
                f"the processes have different numbers of batches (process "
                f"{self.accelerator.process_index}: {length}); each needs the same"
            )
        return (
            None if length < 0 else done + math.ceil(length / self.settings.gradient_accumulation)
        )

    def _step(self, group: list[Batch]) -> float:
        """One optimiser step from the batches of `group`."""
        rate = self.rate.set(self._place_in_schedule())
        self.stepper.zero_grad(set_to_none=True)
        vectors: list[_Vector] = []
        for index, batch in enumerate(group):
            is_last = index == len(group) - 1
            # processes exchange gradients only once per step
            with nullcontext() if is_last else self.accelerator.no_sync(self.wrapped):
                loss, counts = self.loss_of(self.model, batch)
                vectors.append(_Vector(loss, counts))
                self.accelerator.backward(loss / len(group))
        if self.settings.clip_gradient_norm is not None:
            self.accelerator.clip_grad_norm_(
                self.module.parameters(), self.settings.clip_gradient_norm
            )
        self._settle()  # of the previous step, whose numbers have arrived by now
        self.stepper.step()
        if self.average is not None:
            self.average.update()
        self.pending.append((vectors, self.at.step))
        self.at.step += 1
        self.at.step_in_epoch += 1
        if self.at.schedule_step is not None:
            self.at.schedule_step += 1
        self.progress.step()
        return rate

    def _place_in_schedule(self) -> int:
        if self.at.schedule_step is None or not counts_epochs(self.settings):
            return self.at.step
        return self.at.schedule_step

    def _settle(self) -> None:
        """Count the steps whose losses have arrived from the device.

        A GPU runs one step while the next is queued; reading the loss at once would make it wait.
        """
        for vectors, step in self.pending:
            for vector in vectors:
                values = vector.values()
                if not math.isfinite(values[0]):
                    raise RunError(
                        f"the loss is {values[0]} at step {step + 1} (epoch {self.at.epoch + 1}); "
                        "try a lower learning_rate, a warm-up (warmup_epochs) or "
                        "clip_gradient_norm"
                        + ("" if self.settings.precision == "fp32" else ", or precision: fp32")
                        + f"; what was saved in {self.folder.path} before is untouched"
                    )
                self.epoch_meter.add(vector.names, values)
                self.window.add(vector.names, values)
        self.pending.clear()

    def _note_times(self, data: float, compute: float, *, is_first: bool) -> None:
        for name, value in zip(_TIMES, (data, compute, 1.0), strict=True):
            self.window.add_sum(name, value)
        self.step_seconds.add(data + compute)
        if not is_first:
            self.wait.add(data, compute)

    def _after_step(self, rate: float, total: int | None) -> None:
        done, every = self.at.step_in_epoch, self.options.save_every_steps
        if self.options.log_interval and done % self.options.log_interval == 0:
            self._log(rate, total)
        if self._asked_to_stop():
            self._stop()
        if every is not None and self.at.step % every == 0:
            self._save_state()

    def _log(self, rate: float, total: int | None) -> None:
        self._settle()
        window, self.window = self.window, Meter()
        averages = window.averages(self.accelerator, times=_TIMES)
        if not self.accelerator.is_main_process:
            return
        examples, steps = averages.pop(TOTAL), averages.pop("steps")
        data, compute = (averages.pop(name) for name in ("data_seconds", "compute_seconds"))
        line = {
            "kind": "train",
            "epoch": self.at.epoch + 1,
            "step": self.at.step,
            **averages,
            "learning_rate": rate,
            "data_seconds": data / steps,
            "compute_seconds": compute / steps,
            "examples_per_second": examples / max(data + compute, 1e-9),
            "eta_seconds": self._eta(total),
        }
        self.folder.log(line)
        self.progress.log(line, done=self.at.step_in_epoch, total=total)
        self._complain()
        self._tell("log", line)

    def _complain(self) -> None:
        complaint = self.wait.complaint(self.options.slow_data_advice)
        if complaint is not None:
            self.progress.say(complaint)

    def _eta(self, total: int | None) -> float | None:
        if total is None:
            return None
        epochs = self.settings.epochs - self.at.epoch
        return self.step_seconds.mean * (total * epochs - self.at.step_in_epoch)

    # --- between epochs

    def _end_epoch(self) -> None:
        metrics = self._validated()
        averages = self.epoch_meter.averages(self.accelerator)
        is_best = self._note_best(metrics)
        line = {
            "kind": "epoch",
            "epoch": self.at.epoch + 1,
            "step": self.at.step,
            **averages,
            **{f"valid_{name}": value for name, value in metrics.items()},
        }
        self.at.history.append(line)
        self._check_weights()
        if self.accelerator.is_main_process:
            facts = {"epoch": self.at.epoch + 1, "step": self.at.step, **metrics}
            with self._averaged():
                path = self.folder.save_epoch(
                    self.at.epoch + 1,
                    lambda aside: self.save_weights(aside, facts),
                    is_best=is_best,
                )
            self.folder.log(line)
            mark = " (best so far)" if is_best else ""
            self.progress.say(
                f"epoch {line['epoch']}/{self.settings.epochs} done: {describe(line)}{mark}"
            )
            self._complain()
            self._tell("epoch", line)
            self._tell("saved", {"path": path, "is_best": is_best})
        self.at.epoch, self.at.step_in_epoch = self.at.epoch + 1, 0
        self.epoch_meter, self.window = Meter(), Meter()
        self._save_state()
        if self._has_stalled() and self.at.epoch < self.settings.epochs:
            self.progress.say(f"stopping early: {self._why_it_stops()}")
        if self._asked_to_stop(now=True) and not self._is_done():
            self._stop(is_saved=True)

    def _is_done(self) -> bool:
        return self.at.epoch >= self.settings.epochs or self._has_stalled()

    def _has_stalled(self) -> bool:
        return (
            self.best is not None
            and self.at.step_in_epoch == 0
            and has_stalled(self.at, self.best.name, self.settings.early_stop_epochs)
        )

    def _why_it_stops(self) -> str:
        assert self.best is not None
        epochs = self.at.epoch - (self.at.best_epoch or 0)
        best = self.at.best
        since = "" if best is None else f" on {metric(self.best.name, best)}"
        return (
            f"{self.best.name} has not improved{since} for {counted(epochs, 'epoch')} "
            f"(early_stop_epochs: {self.settings.early_stop_epochs})"
        )

    def _validated(self) -> dict[str, float]:
        every = self.options.valid_interval
        if self.validate is None or every <= 0 or (self.at.epoch + 1) % every:
            return {}
        self._save_state()  # an interrupted validation then loses no training
        try:
            with self.progress.checking(), self._averaged():
                self._share_buffers()
                self.module.eval()
                # validation must not change the random draws of training
                with self.interrupts.at_once(), keep_random_state(), torch.no_grad():
                    metrics = dict(self.validate(self.at.epoch))
        except KeyboardInterrupt:
            self._stop(is_saved=True)
        finally:
            self._train_mode()
        self.accelerator.wait_for_everyone()
        return metrics

    def _validates(self) -> bool:
        every = self.options.valid_interval
        return (
            self.validate is not None
            and self.best is not None
            and 0 < every <= self.settings.epochs
        )

    def _averaged(self) -> AbstractContextManager[None]:
        """Within the block, the module holds the averaged weights, if the run keeps them."""
        return nullcontext() if self.average is None else self.average.in_place()

    def _share_buffers(self) -> None:
        """Give every process the running statistics of the main process, which are saved."""
        if self.accelerator.num_processes > 1:
            for buffer in self.module.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def _note_best(self, metrics: Mapping[str, float]) -> bool:
        if self.best is None or not metrics:
            return False
        if self.best.name not in metrics:
            raise ValueError(f"validate gave {sorted(metrics)}, without {self.best.name!r}")
        value = metrics[self.best.name]
        if not self.best.is_better(value, self.at.best):
            return False
        self.at.best, self.at.best_epoch = value, self.at.epoch + 1
        return True

    # --- saving and stopping

    def _check_weights(self) -> None:
        """Refuse to save weights that are not finite."""
        for name, value in self.module.state_dict().items():
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise RunError(
                    f"{name} holds values that are not finite after step {self.at.step} (epoch "
                    f"{self.at.epoch + 1}); try a lower learning_rate, a warm-up "
                    "(warmup_epochs) or clip_gradient_norm; what was saved in "
                    f"{self.folder.path} before is untouched"
                )

    def _save_state(self) -> None:
        self._settle()
        self._check_weights()
        own = {
            "random": random_state(),
            "epoch_sums": self.epoch_meter.sums,
            "window_sums": self.window.sums,
        }
        several = self.accelerator.num_processes > 1
        processes = gather_object([own]) if several else [own]
        if self.accelerator.is_main_process:
            scaler = self.accelerator.scaler
            self.folder.save_last(
                lambda path: save_state(
                    path,
                    module=self.module,
                    optimizer=self.optimizer,
                    position=self.at,
                    processes=processes,
                    scaler=None if scaler is None else scaler.state_dict(),
                    average=self.average,
                )
            )
        self.accelerator.wait_for_everyone()

    def _asked_to_stop(self, *, now: bool = False) -> bool:
        """Whether any process was asked to stop. All processes must call this at the same step."""
        wants = self.interrupts.requested or self.progress.broken is not None
        if self.accelerator.num_processes == 1:
            return wants
        # agreeing makes a GPU wait, so there it happens with the log lines only
        often = now or self.accelerator.device.type == "cpu"
        if not often and self.at.step_in_epoch % (self.options.log_interval or 10):
            return False
        return sum_over(self.accelerator, [float(wants)])[0] > 0

    def _stop(self, *, is_saved: bool = False) -> NoReturn:
        if gone := dead():  # what started the processes then stops the others
            raise RunError(f"{death(gone)}; {self.going_on()}")
        if not is_saved:
            self._save_state()
        self._tell("interrupted", {"epoch": self.at.epoch + 1, "step": self.at.step})
        where = f"in epoch {self.at.epoch + 1} after step {self.at.step}"
        go_on = f"go on: {command('train', '--resume', self.folder.top)}"
        if self.progress.broken is not None and not self.interrupts.requested:
            raise RunError(
                f"what a run shows cannot be written ({self.progress.broken}), so this one stopped "
                f"{where}; {self.folder.path} is saved; {go_on}"
            )
        raise RunInterrupted(
            f"stopped by {self.interrupts.name} {where}; {self.folder.path} is saved; {go_on}"
        )

    def going_on(self) -> str:
        """What to do after an end without a save."""
        return (
            f"what was saved in {self.folder.path} before is untouched; go on from there: "
            f"{command('train', '--resume', self.folder.top)}"
        )

    # --- the rest

    def _tell(self, name: str, facts: Mapping[str, Any]) -> None:
        if not self.accelerator.is_main_process:
            return
        self.on_event(name, facts)
        if self.board is not None and name in ("log", "epoch"):
            kind = facts["kind"]
            for key, value in facts.items():
                if isinstance(value, float) and math.isfinite(value):
                    self.board.add_scalar(f"{kind}/{key}", value, facts["step"])
            self.board.flush()

    def _tensorboard(self) -> Callable[[], AbstractContextManager[Any]] | None:
        """A function that opens a writer of TensorBoard files, if they are wanted."""
        if not (self.options.tensorboard and self.accelerator.is_main_process):
            return None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise RunError(
                "TensorBoard is not installed; pip install 'videozoo[tensorboard]', or run "
                "without it: metrics.jsonl holds the same numbers"
            ) from None
        return lambda: SummaryWriter(str(self.folder.path / "tensorboard"))

    def _result(self) -> TrainResult:
        newest = self.folder.epoch_weights(self.at.epoch)
        weights = self.folder.best if self.at.best_epoch is not None else newest
        return TrainResult(
            path=self.folder.path,
            weights=weights if weights.exists() else None,
            best=self.at.best,
            best_epoch=self.at.best_epoch,
            history=self.at.history,
        )


class _Vector:
    """A loss and its counts, copied from the device in the background."""

    def __init__(self, loss: Tensor, counts: Counts):
        self.names, packed = pack(loss, counts)
        self._host = packed.to("cpu", non_blocking=True)
        self._arrival: torch.cuda.Event | None = None
        if packed.is_cuda:
            self._arrival = torch.cuda.Event()
            self._arrival.record()

    def values(self) -> list[float]:
        if self._arrival is not None:
            self._arrival.synchronize()
        return self._host.tolist()


class _RunningMean:
    """A mean of the latest values, for the estimate of the remaining time."""

    def __init__(self) -> None:
        self.mean = 0.0
        self._count = 0

    def add(self, value: float) -> None:
        self._count += 1
        self.mean += (value - self.mean) / min(self._count, 50)
