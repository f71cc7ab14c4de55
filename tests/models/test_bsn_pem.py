import pytest
import torch
from torch import Tensor

from videozoo.models.bsn_pem import BsnPem, BsnPemSettings, losses, paddle_names

SMALL = BsnPemSettings(feature_dim=6, hidden_size=4)

Draws = tuple[Tensor, Tensor]


def batch(tious: list[list[float]]) -> tuple[Tensor, Tensor, Draws]:
    torch.manual_seed(0)
    wanted = torch.tensor(tious, dtype=torch.float64)
    scores = torch.rand_like(wanted, requires_grad=True)
    return scores, wanted, (torch.rand_like(wanted), torch.rand_like(wanted))


def of_2019(p: Tensor, gt: Tensor, draws: Draws) -> Tensor:
    h, m, low = gt > 0.6, (gt <= 0.6) & (gt > 0.2), gt <= 0.2
    r_m, r_l = h.sum() / m.sum(), 2 * h.sum() / low.sum()
    w = h + (m * draws[0] > 1 - r_m).double() + (low * draws[1] > 1 - r_l)
    return 0.5 * (w * (p - gt) ** 2).sum() / w.sum()


def test_the_second_layer_reads_the_input():
    module, features = BsnPem(SMALL), torch.randn(2, 5, 6)

    scores = module(features)

    line = features @ module.head.weight[0] + module.head.bias
    torch.testing.assert_close(scores, torch.sigmoid(0.1 * line))
    assert scores.shape == (2, 5)


def test_the_hidden_layer_is_kept_and_not_trained():
    module = BsnPem(SMALL)
    module(torch.randn(2, 5, 6)).sum().backward()

    untrained = [name for name, p in module.named_parameters() if not p.requires_grad]

    assert untrained == ["unused.weight", "unused.bias"]
    assert {place.name for place in paddle_names(SMALL).values()} == {
        "fc_0.w_0",
        "fc_0.b_0",
        "fc_1.w_0",
        "fc_1.b_0",
    }


@pytest.mark.parametrize(
    "tious",
    [
        [[0.7, 0.3, 0.5, 0.4], [0.1, 0.0, 0.05, 0.15]],  # few high ones
        [[0.7, 0.9, 0.8, 0.4], [0.1, 0.0, 0.65, 0.15]],  # more high ones than middle ones
        [[0.7, 0.9, 0.8, 0.1], [0.1, 0.0, 0.65, 0.15]],  # no middle one
    ],
)
def test_losses_are_the_formula_of_2019(tious: list[list[float]]):
    scores, wanted, draws = batch(tious)

    loss = losses(scores, wanted, draws=draws)["loss"]

    torch.testing.assert_close(loss, of_2019(scores, wanted, draws))


def test_without_a_good_proposal_nothing_is_learnt():
    scores, wanted, draws = batch([[0.1, 0.3, 0.6]])

    loss = losses(scores, wanted, draws=draws)["loss"]
    loss.backward()

    assert loss == 0
    assert scores.grad is not None
    assert not scores.grad.any()


def test_rows_that_fill_up_count_for_nothing():
    scores, wanted, draws = batch([[0.7, 0.3, 0.9, 0.9], [0.1, 0.8, 0.2, 0.5]])
    mask = torch.tensor([[True, True, False, False], [True] * 4])

    loss = losses(scores, wanted, mask=mask, draws=draws)["loss"]
    loss.backward()

    real = [x[mask] for x in (scores, wanted, *draws)]
    torch.testing.assert_close(loss, of_2019(real[0], real[1], (real[2], real[3])))
    assert scores.grad is not None
    assert not scores.grad[~mask].any()


def test_draws_follow_the_generator():
    torch.manual_seed(0)
    wanted = torch.rand(4, 50)
    scores = torch.rand(4, 50)

    first, again, other = (
        losses(scores, wanted, generator=torch.Generator().manual_seed(seed))["loss"]
        for seed in (1, 1, 2)
    )

    assert first == again
    assert first != other
