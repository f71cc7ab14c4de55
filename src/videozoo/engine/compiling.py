"""`torch.compile` on request."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from videozoo.errors import RunError


def compiled(model: nn.Module, device: torch.device) -> nn.Module:
    """Return `model` with its forward pass compiled; the parameters are the same objects.

    Args:
        model: Already wrapped, in runs of several processes.
        device: The device of the model.

    Raises:
        RunError: This machine cannot compile.
    """
    _try_out(device)
    return cast(nn.Module, torch.compile(model))


def _try_out(device: torch.device) -> None:
    """Compile something small, so that missing tools show now and not in the first step."""

    def probe(x: torch.Tensor) -> torch.Tensor:
        return (x * 2).relu()

    try:
        cast(Any, torch.compile(probe))(torch.ones(8, device=device))
    except Exception as error:
        needs = "Triton" if device.type == "cuda" else "a C++ compiler such as g++"
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise RunError(
            f"train.compile: PyTorch {torch.__version__} cannot compile on this machine: {reason}; "
            f"it needs {needs}; install that, or train without (--set train.compile=false)"
        ) from None
