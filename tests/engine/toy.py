"""A model and data small enough to train in a blink, with everything that has a state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from rich.console import Console
from safetensors.torch import save_file
from torch import Tensor, nn

from videozoo.engine.devices import device_batch_size, make_accelerator, seed_everything
from videozoo.engine.loop import Best, FitOptions, TrainResult, fit
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.run_folder import RunFolder
from videozoo.engine.schedule import make_schedule
from videozoo.engine.settings import TrainSettings

NUM_EXAMPLES = 24
Example = tuple[Tensor, Tensor]


def toy_module(dropout: float = 0.5) -> nn.Module:
    """Has weights with two and four dimensions, a batch norm and dropout."""
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1),
        nn.BatchNorm2d(4) if dropout else nn.Identity(),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16, 3),
    )


class ToyBatches:
    """One process's share of an epoch."""

    def __init__(self, settings: TrainSettings, accelerator: Accelerator, epoch: int, skip: int):
        generator = torch.Generator().manual_seed(0)
        self.clips = torch.rand(NUM_EXAMPLES, 2, 5, 5, generator=generator)
        self.labels = torch.randint(3, (NUM_EXAMPLES,), generator=generator)
        self.size = device_batch_size(settings, accelerator.num_processes)
        order = torch.randperm(NUM_EXAMPLES, generator=torch.Generator().manual_seed(epoch))
        parts = order.split(self.size)
        self.parts = parts[accelerator.process_index :: accelerator.num_processes][skip:]

    def __len__(self) -> int:
        return len(self.parts)

    def __iter__(self) -> Iterator[Example]:
        for part in self.parts:
            yield self.clips[part], self.labels[part]


def toy_loss(module: nn.Module, batch: Example) -> tuple[Tensor, dict[str, Tensor | float]]:
    logits = module(batch[0])
    right = (logits.argmax(1) == batch[1]).sum()
    return F.cross_entropy(logits, batch[1]), {"total": len(batch[1]), "top1": right}


def train_toy(
    path: Path,
    settings: TrainSettings,
    *,
    module: nn.Module | None = None,
    accelerator: Accelerator | None = None,
    resume: bool = False,
    overwrite: bool = False,
    options: FitOptions | None = None,
    batches: Callable[[int, int], Any] | None = None,
    loss_of: Callable[[nn.Module, Any], tuple[Tensor, Mapping[str, Tensor | float]]] = toy_loss,
    save_weights: Callable[[Path, Mapping[str, Any]], None] | None = None,
    validate: Callable[[int], Mapping[str, float]] | None = None,
    best: Best | None = None,
    console: Console | None = None,
    on_event: Callable[[str, Mapping[str, Any]], None] | None = None,
) -> tuple[nn.Module, TrainResult]:
    """Train for `settings` and return the module and the result."""
    accelerator = accelerator or make_accelerator(device="cpu")
    seed_everything(settings.seed)
    module = module or toy_module()
    whole = module

    def save_tensors(to: Path, facts: Mapping[str, Any]) -> None:
        save_file({k: v.clone().contiguous() for k, v in whole.state_dict().items()}, to)

    steps = NUM_EXAMPLES // settings.batch_size
    result = fit(
        accelerator=accelerator,
        module=module,
        optimizer=build_optimizer(module, {}, settings),
        schedule=make_schedule(settings, steps),
        steps_in_epoch=steps,
        settings=settings,
        batches=batches or (lambda epoch, skip: ToyBatches(settings, accelerator, epoch, skip)),
        loss_of=loss_of,
        folder=RunFolder.create(path, resume=resume, overwrite=overwrite, accelerator=accelerator),
        save_weights=save_weights or save_tensors,
        options=options or FitOptions(log_interval=2),
        resume=resume,
        validate=validate,
        best=best,
        console=console or Console(quiet=True),
        on_event=on_event,
    )
    return module, result
