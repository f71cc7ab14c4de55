"""Dropout as PaddlePaddle 1.8 does it by default."""

import torch
from torch import Tensor, nn


class DowngradeDropout(nn.Module):
    """Drop in training without rescaling; scale by 1 - p in evaluation.

    `nn.Dropout` rescales in training instead and is the identity in evaluation. If weights are
    trained with one and run with the other, the next layer's input is 1 / (1 - p) times too large.

    Args:
        p: Chance of a value to be dropped, in [0, 1).

    Raises:
        ValueError: `p` is outside [0, 1).

    Source: fluid.layers.dropout, dropout_implementation="downgrade_in_infer" (the default).

    >>> DowngradeDropout(0.5).eval()(torch.ones(2)).tolist()
    [0.5, 0.5]
    >>> sorted(set(DowngradeDropout(0.5)(torch.ones(1000)).tolist()))
    [0.0, 1.0]
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p < 1:
            raise ValueError(f"DowngradeDropout: p must be in [0, 1), got {p}")
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; the same shape out."""
        if self.p == 0:
            return x
        if not self.training:
            return x * (1 - self.p)
        # Our own mask instead of F.dropout times (1 - p): kept values stay exactly equal.
        return x * torch.empty_like(x).bernoulli_(1 - self.p)

    def extra_repr(self) -> str:
        """Show p when the module is printed."""
        return f"p={self.p}"
