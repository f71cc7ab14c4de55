"""Mixup: blended training examples, and the loss and hits for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class MixedLabels:
    """Labels of blended examples: `labels` with weight `share`, `others` with the rest."""

    labels: Tensor
    """(N,) class numbers; or (N, num_classes), 1 for each class of an example."""
    others: Tensor
    """The same of the examples blended in."""
    share: float
    """In [0, 1]; 1 where nothing was blended."""


def mixup(clips: Tensor, labels: Tensor, alpha: float) -> tuple[Tensor, MixedLabels]:
    """Blend each example with another of the batch, with one weight from Beta(alpha, alpha).

    Draws from torch's global CPU generator on any device, so nothing waits for a GPU.

    Args:
        clips: (N, ...) floating, normalised, because bytes would be rounded. Changed in place.
        labels: (N,) class numbers, or (N, num_classes).
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
    logits: Tensor,
    mixed: MixedLabels,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Mean cross-entropy with blended labels.

    Args:
        logits: (N, num_classes).
        mixed: From `mixup`.
        label_smoothing: Share of each label spread evenly over all classes.
        class_weights: (num_classes,), factors on the terms of each class; the mean is still over
            the N examples, so that a weight means the same in every batch.

    >>> logits, labels = torch.tensor([[2.0, 0.0]]), torch.tensor([0])
    >>> mixed = MixedLabels(labels, 1 - labels, share=0.75)
    >>> round(mixed_cross_entropy(logits, mixed).item(), 4)  # 0.75 * 0.1269 + 0.25 * 2.1269
    0.6269
    """

    def mean_loss(labels: Tensor) -> Tensor:
        if class_weights is None:
            return F.cross_entropy(logits, labels, label_smoothing=label_smoothing)
        options: Any = {"label_smoothing": label_smoothing, "reduction": "none"}
        return F.cross_entropy(logits, labels, weight=class_weights, **options).mean()

    loss = mean_loss(mixed.labels)
    if mixed.share == 1:
        return loss
    return loss * mixed.share + mean_loss(mixed.others) * (1 - mixed.share)


def mixed_binary_cross_entropy(
    logits: Tensor,
    mixed: MixedLabels,
    *,
    label_smoothing: float = 0.0,
    class_weights: Tensor | None = None,
) -> Tensor:
    """Binary cross-entropy of every class, summed over the classes; the mean over the examples.

    Args:
        logits: (N, num_classes).
        mixed: From `mixup`, with labels (N, num_classes).
        label_smoothing: Share of each label that becomes 1/2.
        class_weights: (num_classes,), factors on the terms of each class.

    >>> labels = torch.tensor([[1.0, 0.0]])
    >>> mixed = MixedLabels(labels, labels, 1)
    >>> round(mixed_binary_cross_entropy(torch.zeros(1, 2), mixed).item(), 4)
    1.3863
    """
    targets = mixed.labels
    if mixed.share != 1:
        targets = targets * mixed.share + mixed.others * (1 - mixed.share)
    if label_smoothing:
        targets = targets * (1 - label_smoothing) + label_smoothing / 2
    losses = F.binary_cross_entropy_with_logits(
        logits, targets, weight=class_weights, reduction="none"
    )
    return losses.sum(dim=1).mean()


def mixed_hits(logits: Tensor, mixed: MixedLabels) -> Tensor:
    """Count the examples whose best class is right; blended ones count by the label's weight.

    A model that always finds the stronger half of a blend gets max(share, 1 - share), not 1.

    >>> logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    >>> mixed_hits(logits, MixedLabels(labels, torch.tensor([1, 1]), share=0.75)).item()
    1.0
    """
    best = logits.argmax(1)

    def count(labels: Tensor) -> Tensor:
        return labels.gather(1, best[:, None]).sum() if labels.ndim > 1 else (best == labels).sum()

    hits = count(mixed.labels)
    if mixed.share == 1:
        return hits
    return hits * mixed.share + count(mixed.others) * (1 - mixed.share)
