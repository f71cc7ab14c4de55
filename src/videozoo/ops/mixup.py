"""Mixup: blended training examples, and the loss and hits for them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class MixedLabels:
    """Labels of blended examples: `labels` with weight `share`, `others` with the rest."""

    labels: Tensor
    """(N,) class numbers."""
    others: Tensor
    """(N,) class numbers of the examples blended in."""
    share: float
    """In [0, 1]; 1 where nothing was blended."""


def mixup(clips: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, MixedLabels]:
    """Blend each example with another of the batch, with one weight from Beta(alpha, alpha).

    Draws from torch's global CPU generator on any device, so nothing waits for a GPU.

    Args:
        clips: (N, ...) floating, normalised, because bytes would be rounded. Changed in place.
        labels: (N,) class numbers.
        alpha: 0 blends nothing and draws nothing; 1 draws from a uniform distribution.

    Returns:
        `clips`, and their labels.

    Raises:
        ValueError: `clips` holds whole numbers.

    Source:
        Zhang et al., arXiv:1710.09412: one weight and one permutation per batch.

    >>> clips, mixed = mixup(torch.ones(2, 3), torch.tensor([4, 7]), alpha=0.0)
    >>> mixed.share, mixed.labels.tolist()
    (1.0, [4, 7])
    """
    if not clips.is_floating_point():
        raise ValueError(f"mixup: expected normalised, floating clips, got {clips.dtype}")
    if alpha == 0:
        return clips, MixedLabels(labels, labels, 1.0)
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(labels)).to(labels.device, non_blocking=True)
    partners = clips[order]
    return clips.mul_(share).add_(partners, alpha=1 - share), MixedLabels(
        labels, labels[order], share
    )


def mixed_cross_entropy(
    logits: Tensor, mixed: MixedLabels, *, label_smoothing: float = 0.0
) -> Tensor:
    """Mean cross-entropy with blended labels.

    Args:
        logits: (N, num_classes).
        mixed: From `mixup`.
        label_smoothing: Share of each label spread evenly over all classes.

    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> mixed = MixedLabels(labels, 1 - labels, share=0.75)
    >>> round(mixed_cross_entropy(logits, mixed).item(), 4)  # 0.75 * 0.1269 + 0.25 * 2.1269
    0.6269
    """
    loss = F.cross_entropy(logits, mixed.labels, label_smoothing=label_smoothing)
    if mixed.share == 1:
        return loss
    other = F.cross_entropy(logits, mixed.others, label_smoothing=label_smoothing)
    return loss * mixed.share + other * (1 - mixed.share)


def mixed_hits(logits: Tensor, mixed: MixedLabels) -> Tensor:
    """Count the examples whose best class is right; blended ones count by the label's weight.

    A model that always finds the stronger half of a blend gets max(share, 1 - share), not 1.

    >>> logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    >>> mixed_hits(logits, MixedLabels(labels, torch.tensor([1, 1]), share=0.75)).item()
    1.0
    """
    best = logits.argmax(1)
    hits = (best == mixed.labels).sum()
    if mixed.share == 1:
        return hits
    return hits * mixed.share + (best == mixed.others).sum() * (1 - mixed.share)
