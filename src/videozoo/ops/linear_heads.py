"""Linear classifiers that are solved, not trained step by step: convex, so that order and chance
play no part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

_MOST_STEPS = 200
_TOLERANCE = 1e-7

Loss = Literal["softmax", "sigmoid"]


def solve_linear(
    features: Tensor, targets: Tensor, penalties: Sequence[float], *, loss: Loss
) -> list[tuple[Tensor, Tensor]]:
    """Fit logistic regression for each of some penalties, by L-BFGS.

    Minimises the mean loss plus penalty / 2 times the squared weights; the bias is free.

    Args:
        features: (N, D), standardised.
        targets: (N, C): 1 for the classes of an example, else 0; for `softmax` one per row.
        penalties: Above 0; the largest first is fastest.
        loss: `softmax`: each example is of one class. `sigmoid`: of any number.

    Returns:
        For each penalty the weight (C, D) and the bias (C,), in the type of `features`.
    """
    points, wanted = features.double(), targets.double()
    # fewer examples than values: the best weights lie in the span of the examples
    left, sizes, right = torch.linalg.svd(points, full_matrices=False)
    inside = left * sizes
    weight = torch.zeros(targets.shape[1], inside.shape[1], dtype=torch.float64)
    bias = torch.zeros(targets.shape[1], dtype=torch.float64)
    weight, bias = weight.to(points.device), bias.to(points.device)
    found: list[tuple[Tensor, Tensor]] = []
    for penalty in penalties:  # each starts from the one before
        _minimise(inside, wanted, weight, bias, penalty, loss)
        whole = (weight @ right).to(features.dtype)
        found.append((whole, bias.to(features.dtype, copy=True)))
    return found


def _minimise(
    points: Tensor, wanted: Tensor, weight: Tensor, bias: Tensor, penalty: float, loss: Loss
) -> None:
    weight.requires_grad_(True)
    bias.requires_grad_(True)
    solver = torch.optim.LBFGS(
        [weight, bias],
        max_iter=_MOST_STEPS,
        tolerance_grad=_TOLERANCE,
        tolerance_change=1e-12,
        line_search_fn="strong_wolfe",
    )

    def value() -> Tensor:
        solver.zero_grad()
        logits = points @ weight.T + bias
        total = mean_loss(logits, wanted, loss) + penalty / 2 * weight.square().sum()
        total.backward()  # pyright: ignore[reportUnknownMemberType]
        return total

    solver.step(value)  # pyright: ignore[reportArgumentType, reportUnknownMemberType]
    weight.requires_grad_(False)
    bias.requires_grad_(False)


def mean_loss(logits: Tensor, targets: Tensor, loss: Loss) -> Tensor:
    """Mean over examples of the cross-entropy, or of its sum over independent classes."""
    if loss == "softmax":
        return -(targets * F.log_softmax(logits, dim=1)).sum(dim=1).mean()
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dim=1).mean()
