"""Fold batch norms into the convolutions before them, for faster evaluation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm  # pyright: ignore[reportPrivateUsage]
from torch.nn.modules.conv import _ConvNd  # pyright: ignore[reportPrivateUsage]


def fold_batch_norms(module: nn.Module) -> int:
    """Fold batch norms into the convolutions before them, in place; for evaluation only.

    In evaluation a batch norm is `scale * x + offset` per channel, which fits into the weights and
    bias of the convolution. A class lists the convolutions that feed only one norm, without an
    operation in between, in an attribute `folds = (("conv", "bn"), ...)`; names alone do not show a
    relu in between (as in StNet). Folded norms become `nn.Identity`, which changes the state_dict:
    never save the weights of a folded module.

    Args:
        module: In evaluation mode, on any device. It cannot be trained any more.

    Returns:
        Number of folded batch norms. Scores change only by rounding, about 1e-6.

    Raises:
        ValueError: The module is in training mode, where batch norms use the batch's statistics.

    Source:
        Jacob et al., arXiv:1712.05877, section 3.2.

    >>> class Pair(nn.Module):
    ...     folds = (("conv", "bn"),)
    ...
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.conv, self.bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
    >>> pair = Pair().eval()
    >>> fold_batch_norms(pair), pair.bn
    (1, Identity())
    """
    if module.training:
        raise ValueError("fold_batch_norms: the module is in training mode; call eval() first")
    num_folded = 0
    for part in module.modules():
        pairs: tuple[tuple[str, str], ...] = getattr(part, "folds", ())
        for conv_name, norm_name in pairs:
            conv, norm = getattr(part, conv_name), getattr(part, norm_name)
            if isinstance(conv, _ConvNd) and _is_fixed(norm):
                _fold(conv, norm)
                setattr(part, norm_name, nn.Identity())
                num_folded += 1
    return num_folded


def _is_fixed(norm: nn.Module) -> bool:
    """Whether a module is a batch norm that uses running statistics."""
    return isinstance(norm, _BatchNorm) and norm.running_mean is not None


@torch.no_grad()
def _fold(conv: _ConvNd, norm: _BatchNorm) -> None:
    weight = conv.weight
    scale, offset = _scale_and_offset(norm)
    if conv.bias is not None:
        offset += _exactly(conv.bias) * scale
    scaled = _exactly(weight) * scale.view(-1, *[1] * (weight.dim() - 1))
    conv.weight = nn.Parameter(scaled.to(weight.device, weight.dtype), requires_grad=False)
    conv.bias = nn.Parameter(offset.to(weight.device, weight.dtype), requires_grad=False)


def _scale_and_offset(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """A batch norm in evaluation as `scale * x + offset` per channel."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = (_exactly(norm.running_var) + norm.eps).rsqrt()
    offset = -_exactly(norm.running_mean) * scale
    if norm.affine:
        gamma, beta = _exactly(norm.weight), _exactly(norm.bias)
        scale, offset = scale * gamma, offset * gamma + beta
    return scale, offset


def _exactly(values: Tensor) -> Tensor:
    """In float64, which not every device has."""
    return values.cpu().double()
