"""Averages of losses and counts, over some steps and over an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from accelerate import Accelerator
from torch import Tensor

TOTAL = "total"
"""Name of the count of examples behind a mean loss."""
_LOSS = "loss"


def pack(loss: Tensor, counts: Mapping[str, Tensor | float]) -> tuple[list[str], Tensor]:
    """Put a loss and its counts into one vector, to copy them from the device together.

    Returns:
        The names, and a float32 vector of the loss and the counts.
    """
    counts = {TOTAL: 1.0, **counts}
    values = [loss.detach().float().reshape(())]
    values += [
        torch.as_tensor(value, dtype=torch.float32, device=loss.device).detach().reshape(())
        for value in counts.values()
    ]
    return [_LOSS, *counts], torch.stack(values)


class Meter:
    """Sums in one process; averages over all of them.

    The loss counts once per example; every other count is reported as a share of the examples.
    """

    def __init__(self, sums: Mapping[str, float] | None = None):
        self.sums = dict(sums or {})

    def add(self, names: list[str], values: list[float]) -> None:
        """Add what `pack` returned."""
        counts = dict(zip(names, values, strict=True))
        counts[_LOSS] *= counts[TOTAL]
        for name, value in counts.items():
            self.add_sum(name, value)

    def add_sum(self, name: str, value: float) -> None:
        """Add `value` to one sum."""
        self.sums[name] = self.sums.get(name, 0.0) + value

    def averages(self, accelerator: Accelerator, times: tuple[str, ...] = ()) -> dict[str, float]:
        """Averages over all processes; all of them must call this.

        Args:
            accelerator: Of the run.
            times: Names of sums in seconds; returned as means over the processes.

        Returns:
            `loss`, the shares, `total` as a number of examples, and the times.
        """
        names = sorted(self.sums)
        if not names:
            return {}
        sums = dict(zip(names, sum_over(accelerator, [self.sums[n] for n in names]), strict=True))
        total = sums.pop(TOTAL, 0.0)
        spent: dict[str, float] = {
            name: sums.pop(name, 0.0) / accelerator.num_processes for name in times
        }
        loss = sums.pop(_LOSS, 0.0)
        if not total:
            return spent
        shares = {name: value / total for name, value in sums.items()}
        return {_LOSS: loss / total, **shares, TOTAL: total, **spent}


def sum_over(accelerator: Accelerator, values: list[float]) -> list[float]:
    """Sum each number over all processes, which must all call this."""
    if accelerator.num_processes == 1:
        return values
    exact = torch.float32 if accelerator.device.type == "mps" else torch.float64
    vector = torch.tensor(values, dtype=exact, device=accelerator.device)
    reduced = accelerator.reduce(vector, "sum")
    assert isinstance(reduced, Tensor)
    return reduced.tolist()
