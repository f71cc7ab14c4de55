"""Shared by the localisers: convolutions along time, and losses for rare positives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_SMALL = 1e-6
"""Added to a probability before its logarithm."""


class TimeConv(nn.Conv2d):
    """1D convolution along time with the weight shape of the 2019 library: (out, in, 1, kernel).

    Args:
        c_in: Channels in.
        c_out: Channels out.
        kernel: Steps seen at once, odd; the length stays.
        groups: Parts the channels are cut into.
        initial_inputs: Input channels as the initialisation counts them; by default the real
            number. Weight and bias start uniform in +-1 / sqrt(initial_inputs * kernel).
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        kernel: int,
        *,
        groups: int = 1,
        initial_inputs: int | None = None,
    ) -> None:
        super().__init__(c_in, c_out, (1, kernel), padding=(0, kernel // 2), groups=groups)
        bound = ((initial_inputs or c_in // groups) * kernel) ** -0.5
        assert self.bias is not None
        for parameter in (self.weight, self.bias):
            nn.init.uniform_(parameter, -bound, bound)

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, T) -> (N, C', T)."""
        return super().forward(input.unsqueeze(2)).squeeze(2)


def exact(scores: Tensor) -> Tensor:
    """At least float32, because losses take logarithms."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def balanced_log_loss(
    scores: Tensor, positive: Tensor, *, counts: Tensor | None = None, extra: int = 0
) -> Tensor:
    """Binary cross-entropy in which all positives together weigh as much as all negatives.

    ::

        -1/2 (mean over positives of log(p + 1e-6) + mean over negatives of log(1 - p + 1e-6))

    If one kind is missing, its mean is 0; the 2019 library returned nan.

    Args:
        scores: Probabilities p, any shape.
        positive: bool, of that shape.
        counts: bool, of that shape; where False, the entry is neither. Empty: all count.
        extra: Added to the number of negatives.

    Source: TEM of BSN (with extra=1) and of BMN, and BMN's classification of proposals.
    """
    p = exact(scores)
    negative = ~positive if counts is None else ~positive & counts
    num_positive, num_negative = positive.sum(), negative.sum()
    of_positive = (torch.log(p + _SMALL) * positive).sum() / num_positive.clamp(min=1)
    of_negative = (torch.log(1 - p + _SMALL) * negative).sum()
    return -0.5 * (of_positive + of_negative / (num_negative + extra).clamp(min=1))


def uniform_draws(
    shape: Sequence[int], *, generator: torch.Generator | None, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw two of uniform random numbers in [0, 1).

    Args:
        shape: Of each.
        generator: On any device; None: the default one of `device`.
        device: Where they are wanted.
    """
    where = device if generator is None else generator.device
    first, second = torch.rand((2, *shape), generator=generator, device=where).to(device)
    return first, second


def sampled_regression_loss(
    scores: Tensor,
    tious: Tensor,
    draws: tuple[Tensor, Tensor],
    *,
    high: float,
    middle: float,
    low_factor: float,
    counts: Tensor | None = None,
) -> Tensor:
    """Half the mean square error of predicted tIoUs, over a balanced sample.

    Every high proposal is drawn, and about as many middle and low ones (times `low_factor` for the
    low ones). If there are fewer middle, or low, proposals, 1 is added to the weight of every
    proposal instead: the 2019 library did so, and its trained weights depend on it. A batch without
    a high proposal gives 0; the 2019 library returned nan.

    Args:
        scores: Predicted tIoUs, any shape.
        tious: True ones, of that shape.
        draws: Two of uniform random numbers in [0, 1), for the middle and the low proposals, of a
            shape that broadcasts to it.
        high: tIoUs above are high.
        middle: tIoUs above, up to `high`, are middle ones; from 0 up to it, low ones.
        low_factor: Low proposals drawn per high one.
        counts: bool, of a shape that broadcasts to it; where False, proposals are of no kind.
            None: all are of one.

    Source: PEM of BSN (arXiv:1806.02964) and of BMN, as in PaddlePaddle/models release/1.8.
    """
    p, tious = exact(scores), exact(tious)
    counts = torch.ones_like(tious, dtype=torch.bool) if counts is None else counts
    is_high = (tious > high) & counts
    is_middle = (tious <= high) & (tious > middle) & counts
    is_low = (tious <= middle) & (tious >= 0) & counts
    weights = is_high.to(p.dtype)
    for kind, draw, factor in ((is_middle, draws[0], 1.0), (is_low, draws[1], low_factor)):
        ratio = factor * is_high.sum() / kind.sum()  # inf and nan compare as in the 2019 library
        weights = weights + (kind * draw > 1 - ratio)
    return 0.5 * (weights * (p - tious).square()).sum() / weights.sum().clamp(min=1)
