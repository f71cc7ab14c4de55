"""Save and load the state of a run, so that it continues as if it had never stopped.

A state is a folder of safetensors and JSON files; nothing in it is executable.

    module.safetensors      the module's parameters and buffers
    optimizer.safetensors   the optimiser's tensors, as PARAMETER//KEY
    average.safetensors     the averaged weights, if the run keeps them
    state.json              the position, the history, and the random generators of each process
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from videozoo.engine.averaging import AveragedWeights
from videozoo.errors import RunError
from videozoo.safe_json import parse_json
from videozoo.safe_tensors import READING_ERRORS

_FORMAT = 1
_AVERAGE = "average.safetensors"
_SPLIT = "//"  # between a parameter's name and its optimiser's key


@dataclass(kw_only=True)
class Position:
    """How far a run is."""

    epoch: int = 0
    """The current epoch, from 0."""
    step_in_epoch: int = 0
    """Steps done in the current epoch."""
    step: int = 0
    """Steps done since the start."""
    schedule_step: int | None = None
    """Place in a schedule that counts epochs, in steps of the current length. It differs from
    `step` after the run continued with epochs of another length. None: not saved; as `step`."""
    steps_in_epoch: int | None = None
    """Steps per epoch as the schedule counts them; None if not saved."""
    batch_size: int | None = None
    """Batch size over all devices; None if not saved."""
    best: float | None = None
    best_epoch: int | None = None
    """The best epoch, from 1 as in file names."""
    history: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The epoch lines of `metrics.jsonl`."""

    def fit_to(self, *, batch_size: int, steps_in_epoch: int | None) -> bool:
        """Keep the finished share of the run when the length of an epoch has changed.

        Args:
            batch_size: Over all devices. The place within the epoch is counted in examples, so that
                another batch size leaves nothing out.
            steps_in_epoch: Steps per epoch as the schedule counts them; None if it does not count
                epochs.

        Returns:
            Whether the place in the schedule changed.

        >>> at = Position(epoch=2, step_in_epoch=5, step=25, schedule_step=25)
        >>> at.fit_to(batch_size=8, steps_in_epoch=10)
        False
        >>> at.fit_to(batch_size=4, steps_in_epoch=20)
        True
        >>> at.step, at.step_in_epoch, at.schedule_step
        (25, 10, 50)
        """
        before = 0 if self.schedule_step is None else self.schedule_step
        if self.batch_size is not None:
            self.step_in_epoch = self.step_in_epoch * self.batch_size // batch_size
        if steps_in_epoch is not None and self.steps_in_epoch is not None:
            self.schedule_step = round(before * steps_in_epoch / self.steps_in_epoch)
        self.batch_size, self.steps_in_epoch = batch_size, steps_in_epoch
        return self.schedule_step not in (None, before)


def save_state(
    folder: Path,
    *,
    module: nn.Module,
    optimizer: Optimizer,
    position: Position,
    processes: list[dict[str, Any]],
    scaler: Mapping[str, Any] | None = None,
    average: AveragedWeights | None = None,
) -> None:
    """Write a run's state into an empty folder.

    Args:
        folder: Where.
        module: Not wrapped.
        optimizer: Over parameters of `module`.
        position: How far the run is.
        processes: State of each process (JSON values), in the order of ranks.
        scaler: State of the loss scaler of fp16.
        average: The averaged weights of the run.
    """
    tensors, rest = _optimizer_state(module, optimizer)
    save_file(_for_file(module.state_dict()), folder / "module.safetensors")
    save_file(_for_file(tensors), folder / "optimizer.safetensors")
    if average is not None:
        save_file(_for_file(average.tensors), folder / _AVERAGE)
    state = {
        "format": _FORMAT,
        "position": asdict(position),
        "optimizer": rest,
        "processes": processes,
        "scaler": dict(scaler) if scaler is not None else None,
        "averaged_steps": None if average is None else average.updates,
    }
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")


@dataclass(frozen=True, kw_only=True)
class Restored:
    """What `load_state` returns for the caller to restore."""

    position: Position
    processes: list[dict[str, Any]]
    scaler: dict[str, Any] | None


def load_state(
    folder: Path,
    *,
    module: nn.Module,
    optimizer: Optimizer,
    average: AveragedWeights | None = None,
) -> Restored:
    """Load a saved state into a module, its optimiser and its averaged weights, in place.

    If the state has no averaged weights, `average` starts from the restored module.

    Raises:
        RunError: The folder holds no readable state, or one of another model or optimiser.
    """
    try:
        state = parse_json((folder / "state.json").read_text(encoding="utf-8"))
        weights = load_file(folder / "module.safetensors")
        moments = load_file(folder / "optimizer.safetensors")
        updates = state.get("averaged_steps")
        averaged = load_file(folder / _AVERAGE) if average is not None and updates else None
    except READING_ERRORS as error:
        raise RunError(
            f"{folder}: cannot be read ({type(error).__name__}: {error}); "
            "start from weights/ instead"
        ) from None
    if state.get("format") != _FORMAT:
        raise RunError(
            f"{folder}: written in format {state.get('format')}, this version reads {_FORMAT}"
        )
    _check_fit(folder, "weights", weights, module.state_dict())
    module.load_state_dict(weights)
    _restore_optimizer(folder, module, optimizer, moments, state["optimizer"])
    if average is not None:
        _restore_average(folder, average, averaged, updates)
    return Restored(
        position=Position(**state["position"]),
        processes=state["processes"],
        scaler=state["scaler"],
    )


def _restore_average(
    folder: Path, average: AveragedWeights, saved: Mapping[str, Tensor] | None, updates: int
) -> None:
    if saved is None:
        average.restart()
        return
    _check_fit(folder, "averaged weights", saved, average.tensors)
    average.load(saved, updates)


def _optimizer_state(
    module: nn.Module, optimizer: Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors: dict[str, Tensor] = {}
    rest: dict[str, Any] = {}
    for name, parameter in module.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{name}{_SPLIT}{key}"] = value
            else:
                rest[f"{name}{_SPLIT}{key}"] = value
    return tensors, rest


def _restore_optimizer(
    folder: Path,
    module: nn.Module,
    optimizer: Optimizer,
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
) -> None:
    parameters = dict(module.named_parameters())
    optimizer.state.clear()
    for name, value in {**tensors, **rest}.items():
        owner, _, key = name.rpartition(_SPLIT)
        if owner not in parameters:
            raise RunError(
                f"{folder}: the optimiser knows {owner!r}, which the model does not have"
            )
        parameter = parameters[owner]
        if isinstance(value, Tensor) and value.dim() > 0:
            if value.shape != parameter.shape:
                raise RunError(
                    f"{folder}: optimiser's {name}: shape {tuple(value.shape)} there, "
                    f"{tuple(parameter.shape)} here"
                )
            # same memory layout as the parameter, which a file does not keep
            value = torch.empty_like(parameter, dtype=value.dtype).copy_(value)
        optimizer.state[parameter][key] = value


def _check_fit(
    folder: Path, what: str, saved: Mapping[str, Tensor], ours: Mapping[str, Tensor]
) -> None:
    problems = [f"  missing: {name}" for name in sorted(ours.keys() - saved.keys())]
    problems += [f"  not in the model: {name}" for name in sorted(saved.keys() - ours.keys())]
    problems += [
        f"  {name}: shape {tuple(saved[name].shape)} there, {tuple(ours[name].shape)} here"
        for name in sorted(saved.keys() & ours.keys())
        if saved[name].shape != ours[name].shape
    ]
    if problems:
        shown = problems[:10] + ([f"  and {len(problems) - 10} more"] if problems[10:] else [])
        raise RunError(
            f"{folder}: {what} of another model; was the configuration changed?\n"
            + "\n".join(shown)
        )


def _for_file(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # clones, because safetensors refuses tensors that share memory
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
