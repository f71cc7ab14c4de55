"""Batch norms that keep their pretrained statistics, because small batches estimate them badly."""

from __future__ import annotations

from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

Freeze = Literal["none", "statistics", "all", "all_but_first"]


class FrozenBatchNorms:
    """The batch norms of a module that stay fixed.

    `requires_grad` of scale and offset is set once, here. The mode that uses the running statistics
    is lost at each `module.train()`; call `hold` after it.
    """

    def __init__(self, module: nn.Module, how: Freeze):
        """
        Args:
            module: Not wrapped. Freeze it before it is wrapped for several processes.
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
        """Use the running statistics without updates; call this after each `module.train()`."""
        for layer in self._layers:
            layer.eval()

    def __len__(self) -> int:
        return len(self._layers)
