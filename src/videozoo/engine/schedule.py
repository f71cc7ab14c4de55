"""Learning rates as functions of the step.

A step is one update of the weights; the first step of a run is number 0.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from functools import partial

from torch.optim import Optimizer

from videozoo.engine.settings import TrainSettings

Schedule = Callable[[int], float]
"""From the number of a step to its learning rate."""


def piecewise(step: int, boundaries: Sequence[float], rates: Sequence[float]) -> float:
    """Return the first rate whose boundary is not reached yet, else the last rate.

    Args:
        step: Number of the step, from 0.
        boundaries: Increasing; need not be whole numbers.
        rates: One more than boundaries.

    Raises:
        ValueError: The numbers of rates and boundaries do not fit.

    Source:
        PaddlePaddle 1.8 `piecewise_decay`: boundary 2 means that steps 0 and 1 take the first rate.

    >>> [piecewise(step, [2, 3.5], [1.0, 0.1, 0.01]) for step in range(5)]
    [1.0, 1.0, 0.1, 0.1, 0.01]
    """
    if len(rates) != len(boundaries) + 1:
        raise ValueError(
            f"{len(boundaries)} boundaries need {len(boundaries) + 1} rates, got {len(rates)}"
        )
    return rates[bisect.bisect_right(boundaries, step)]


def cosine(step: int, *, total_steps: float, start: float, end: float = 0.0) -> float:
    """Half a cosine wave from `start` to `end`; `end` after it.

    Source:
        Loshchilov & Hutter, arXiv:1608.03983, without restarts.

    >>> [round(cosine(step, total_steps=4, start=1.0), 3) for step in range(6)]
    [1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    done = min(step / total_steps, 1.0) if total_steps > 0 else 1.0
    return end + (start - end) * (1 + math.cos(math.pi * done)) / 2


def warm_up(step: int, warmup_steps: float) -> float:
    """Factor in (0, 1] that raises the rate in a straight line at the start.

    >>> [warm_up(step, 4) for step in range(5)]
    [0.25, 0.5, 0.75, 1.0, 1.0]
    >>> warm_up(0, 0)
    1.0
    """
    return min((step + 1) / warmup_steps, 1.0) if warmup_steps > 0 else 1.0


def noam(step: int, *, size: int, warmup_steps: int) -> float:
    """Learning rate that rises in a straight line, then falls as 1 / sqrt(step).

    Source:
        Vaswani et al., arXiv:1706.03762, section 5.3; PaddlePaddle 1.8 `noam_decay`. Steps count
        from 1 there.

    >>> [round(noam(step, size=4, warmup_steps=4), 4) for step in (0, 1, 3, 15)]
    [0.0625, 0.125, 0.25, 0.125]
    """
    return size**-0.5 * min((step + 1) ** -0.5, (step + 1) * warmup_steps**-1.5)


def steps_per_epoch(
    num_videos: int,
    batch_size: int,
    *,
    videos_per_epoch: int | None = None,
    drop_last: bool = False,
) -> int:
    """Count the steps of one epoch, for the schedule.

    Args:
        num_videos: Length of the training list.
        batch_size: Over all devices.
        videos_per_epoch: Counts instead of the list, by the rule of the 2019 library: one step more
            than needed if the batch size divides it.
        drop_last: The last batch is left out if it is smaller.

    >>> steps_per_epoch(10, 4), steps_per_epoch(10, 4, drop_last=True)
    (3, 2)
    >>> steps_per_epoch(10, 4, videos_per_epoch=8)
    3
    """
    if videos_per_epoch is not None:
        return int(videos_per_epoch / batch_size + 1)
    whole, rest = divmod(num_videos, batch_size)
    return max(whole + (rest > 0 and not drop_last), 1)


def make_schedule(settings: TrainSettings, steps_in_epoch: int) -> Schedule:
    """Return the schedule a `train:` section describes.

    Args:
        settings: The section.
        steps_in_epoch: From `steps_per_epoch`.

    >>> rate = make_schedule(
    ...     TrainSettings(learning_rate=1, schedule="steps", decay_at=(1, 1.5), epochs=2), 2)
    >>> [round(rate(step), 3) for step in range(4)]
    [1.0, 1.0, 0.1, 0.01]
    """
    if settings.schedule == "noam":
        assert settings.noam_size is not None  # checked by the settings
        return partial(noam, size=settings.noam_size, warmup_steps=settings.noam_warmup_steps)
    scale = settings.learning_rate_scale
    base, final = scale * settings.learning_rate, scale * settings.final_learning_rate
    unit = steps_in_epoch if settings.decay_unit == "epochs" else 1
    boundaries = [at * unit for at in settings.decay_at]
    rates = [base * settings.decay_factor**drops for drops in range(len(boundaries) + 1)]
    warmup_steps = settings.warmup_epochs * steps_in_epoch
    wave_steps = settings.epochs * steps_in_epoch - warmup_steps

    def rate(step: int) -> float:
        factor = warm_up(step, warmup_steps)
        if settings.schedule == "steps":
            return factor * piecewise(step, boundaries, rates)
        if settings.schedule == "cosine" and step >= warmup_steps:
            return cosine(
                step - math.ceil(warmup_steps),
                total_steps=wave_steps,
                start=base,
                end=final,
            )
        return factor * base

    return rate


def counts_epochs(settings: TrainSettings) -> bool:
    """Whether the schedule depends on the share of the epochs, not on the number of steps."""
    if settings.schedule == "steps":
        return settings.decay_unit == "epochs"
    return settings.schedule != "noam"


class LearningRate:
    """Sets the rates of an optimiser from a schedule, times the factor of each group."""

    def __init__(self, optimizer: Optimizer, schedule: Schedule):
        self._optimizer = optimizer
        self._schedule = schedule

    def set(self, step: int) -> float:
        """Set the rates for `step` and return the common one."""
        rate = self._schedule(step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate * group.get("learning_rate_factor", 1.0)
        return rate
