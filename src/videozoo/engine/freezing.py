"""Batch norms that keep what they learnt elsewhere: small batches would teach them badly."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Freeze = Literal["none", "statistics", "all", "all_but_first"]


class FrozenBatchNorms:
    """The batch norms of a module that are kept as they start.

    Scale and offset are told from trained parameters by `requires_grad`, so it is set here for
    good; that running statistics are used, not taken, is lost with each `module.train()` and must
    be said again by `hold`.
    """

    def __init__(self, module: nn.Module, how: Freeze):
        """
        Args:
            module: Not wrapped. To be frozen before gradients are shared between processes.
            how: See `TrainSettings.freeze_batch_norm`.
        """
        layers = [layer for layer in module.modules() if isinstance(layer, _BatchNorm)]
        if how == "none":
            layers = []
        elif how == "all_but_first":
            layers = layers[1:]
        self._layers = layers
        if how in ("all", "all_but_first"):
            for layer in layers:
                layer.requires_grad_(False)

    def hold(self) -> None:
        """Use the running statistics as they are; to be called after each `module.train()`."""
        for layer in self._layers:
            layer.eval()

    def __len__(self) -> int:
        return len(self._layers)
