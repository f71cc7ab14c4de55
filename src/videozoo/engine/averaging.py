"""A moving average of a module's weights, often better than the weights of any step."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class AveragedWeights:
    """Exponential moving average of a module's floating-point parameters and buffers.

    After step n (from 0) the average moves towards the weights by 1 - min(decay, (1+n) / (10+n)),
    so that the fresh weights of the start are soon forgotten. Running statistics of batch norms are
    averaged too, because they belong to the weights. Other buffers, such as counters, are copied
    from the module.

    Source:
        Tarvainen & Valpola, arXiv:1703.01780; the rise of the decay is that of TensorFlow's
        `ExponentialMovingAverage(num_updates=...)`.
    """

    def __init__(self, module: nn.Module, decay: float):
        """
        Args:
            module: The module, already on its device. The average starts with its weights.
            decay: Share of the average that stays at each step, after its rise.
        """
        self._decay = decay
        self._live = {
            name: value
            for name, value in module.state_dict(keep_vars=True).items()
            if value.is_floating_point()
        }
        self.tensors = {name: value.detach().clone() for name, value in self._live.items()}
        """The average, by the names of the module's `state_dict`."""
        self.updates = 0
        """Steps that went into the average."""

    @torch.no_grad()
    def update(self) -> None:
        """Add the weights after a step."""
        keep = min(self._decay, (1 + self.updates) / (10 + self.updates))
        live = [value.detach() for value in self._live.values()]
        get_ema_multi_avg_fn(keep)(list(self.tensors.values()), live, None)
        self.updates += 1

    def load(self, tensors: Mapping[str, Tensor], updates: int) -> None:
        """Restore saved `tensors` and `updates`."""
        for name, value in self.tensors.items():
            value.copy_(tensors[name])
        self.updates = updates

    def restart(self) -> None:
        """Start again from the module's current weights."""
        self.load({name: value.detach() for name, value in self._live.items()}, 0)

    @contextmanager
    def in_place(self) -> Generator[None]:
        """Within the block, the module holds the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self._live.items():
            kept = value.detach().clone()
            value.copy_(self.tensors[name])
            self.tensors[name].copy_(kept)
