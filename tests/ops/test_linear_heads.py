"""Solved linear classifiers: at their optimum, for few and for many examples."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from videozoo.ops.linear_heads import Loss, mean_loss, solve_linear


@pytest.mark.parametrize("loss", ["softmax", "sigmoid"])
@pytest.mark.parametrize(("examples", "values"), [(12, 40), (60, 5)])
def test_the_solution_has_no_slope(loss: Loss, examples: int, values: int):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(examples, values, generator=generator, dtype=torch.float64)
    targets = F.one_hot(torch.arange(examples) % 3, 3).double()
    penalties = [0.1, 1e-3]

    for penalty, (weight, bias) in zip(
        penalties, solve_linear(features, targets, penalties, loss=loss), strict=True
    ):
        weight.requires_grad_(True)
        bias.requires_grad_(True)
        value = mean_loss(features @ weight.T + bias, targets, loss)
        (value + penalty / 2 * weight.square().sum()).backward()
        assert weight.grad is not None
        assert bias.grad is not None
        assert weight.grad.abs().max() < 1e-5
        assert bias.grad.abs().max() < 1e-5


def test_a_huge_penalty_leaves_the_shares_of_the_classes():
    features = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    targets = F.one_hot(torch.tensor([0] * 7 + [1] * 3), 2).float()

    ((weight, bias),) = solve_linear(features, targets, [1e6], loss="softmax")

    assert weight.abs().max() < 1e-5
    torch.testing.assert_close(bias.softmax(0), torch.tensor([0.7, 0.3]), atol=1e-4, rtol=0)
