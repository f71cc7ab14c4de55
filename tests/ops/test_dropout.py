import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from videozoo.ops import DowngradeDropout

quick = settings(max_examples=25, deadline=None)  # the first call of a kernel is slow

chances = st.floats(0, 0.95)


@quick
@given(p=chances)
def test_training_keeps_values_as_they_were_or_drops_them(p: float):
    x = torch.rand(50) + 1

    kept = DowngradeDropout(p)(x)

    assert bool(((kept == x) | (kept == 0)).all())


@quick
@given(p=chances)
def test_evaluation_gives_what_training_gives_on_average(p: float):
    torch.manual_seed(0)
    layer, x = DowngradeDropout(p), torch.ones(20_000)

    in_training = layer.train()(x).mean()

    torch.testing.assert_close(layer.eval()(x).mean(), in_training, atol=0.02, rtol=0)


def test_nothing_to_drop_is_the_identity_in_both_modes():
    x = torch.rand(5)

    assert torch.equal(DowngradeDropout(0.0)(x), x)
    assert torch.equal(DowngradeDropout(0.0).eval()(x), x)


def test_dropped_values_get_no_gradient():
    x = torch.ones(100, requires_grad=True)

    kept = DowngradeDropout(0.5)(x)
    kept.sum().backward()

    assert x.grad is not None
    assert torch.equal(x.grad, kept.detach())


@pytest.mark.parametrize("p", [-0.1, 1.0, 2.0])
def test_refuses_what_is_not_a_share(p: float):
    with pytest.raises(ValueError, match=f"got {p}"):
        DowngradeDropout(p)
