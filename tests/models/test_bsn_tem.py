import pytest
import torch
from torch import Tensor

from videozoo.models.bsn_tem import BsnTem, BsnTemSettings, losses, paddle_names

SMALL = BsnTemSettings(feature_dim=6, num_steps=9, hidden_size=8)


def test_scores_each_step_of_a_sequence_of_any_length():
    module = BsnTem(SMALL)

    curves = module(torch.randn(2, 6, 15))

    assert curves.shape == (2, 3, 15)
    assert ((curves > 0) & (curves < 1)).all()


def test_a_step_knows_two_on_either_side():
    module, features = BsnTem(SMALL).double(), torch.randn(1, 6, 9, dtype=torch.float64)
    other = features.clone()
    other[:, :, 4] += 1

    changed = (module(features) != module(other)).any(1)

    assert changed[0].nonzero().flatten().tolist() == [2, 3, 4, 5, 6]


def batch(*, share: float) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    curves = torch.rand(2, 3, 7, dtype=torch.float64, requires_grad=True)
    targets = {
        name: (torch.rand(2, 7, dtype=torch.float64) < share).double()
        for name in ("start", "end", "action")
    }
    return curves, targets


def test_losses_are_the_formula_of_2019():
    curves, targets = batch(share=0.4)

    found = losses(curves, targets)

    total = torch.zeros((), dtype=torch.float64)
    for i, name in enumerate(("start", "end", "action")):
        p, m = curves[:, i].flatten(), targets[name].flatten()
        n, positives = len(m), m.sum()
        c0, c1 = 0.5 * n / (n - positives + 1), 0.5 * n / positives
        terms = c1 * (m * (p + 1e-6).log()).mean() + c0 * ((1 - m) * (1 - p + 1e-6).log()).mean()
        torch.testing.assert_close(found[name], -terms)
        total = total - terms
    torch.testing.assert_close(found["loss"], total)
    assert list(found) == ["loss", "start", "end", "action"]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_without_a_positive_or_a_negative_losses_stay_finite(share: float):
    curves, targets = batch(share=share)

    loss = losses(curves, targets)["loss"]
    loss.backward()

    assert loss.isfinite()
    assert loss > 0
    assert curves.grad is not None
    assert curves.grad.isfinite().all()


def test_losses_of_low_precision_are_taken_in_float32():
    curves, targets = batch(share=0.4)

    assert losses(curves.bfloat16(), targets)["loss"].dtype == torch.float32


def test_paddle_shapes_are_those_of_2d_convolutions():
    shapes = {name: tuple(t.shape) for name, t in BsnTem(SMALL).state_dict().items()}

    assert shapes["base_1.weight"] == (8, 6, 1, 3)
    assert paddle_names(SMALL).keys() == shapes.keys()
