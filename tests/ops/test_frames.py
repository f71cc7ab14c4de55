import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from videozoo.ops import FrameBatchNorm, frame_mask, l2_normalize, softmax_over_frames
from videozoo.ops.frames import attended, linear, multi_label_loss

quick = settings(max_examples=25, deadline=None)

sequences = st.lists(st.integers(1, 9), min_size=1, max_size=5)


@quick
@given(sequences, st.integers(0, 3))
def test_the_mask_is_true_for_as_many_frames_as_there_are(lengths: list[int], padding: int):
    mask = frame_mask(torch.tensor(lengths), max(lengths) + padding)

    assert mask.sum(1).tolist() == lengths
    assert torch.equal(mask, mask.sort(dim=1, descending=True, stable=True).values)


@quick
@given(sequences, st.sampled_from([0.0, 1e30, float("inf"), float("nan")]))
def test_padding_gets_no_weight_whatever_stands_in_it(lengths: list[int], filler: float):
    mask = frame_mask(torch.tensor(lengths), max(lengths))
    scores = torch.randn(*mask.shape, 2).masked_fill(~mask[:, :, None], filler)

    weights = softmax_over_frames(scores, mask)

    torch.testing.assert_close(weights.sum(1), torch.ones(len(lengths), 2))
    assert not weights[~mask].any()
    for video, length in enumerate(lengths):
        torch.testing.assert_close(weights[video, :length], scores[video, :length].softmax(0))


def test_the_length_is_1_and_nothing_becomes_nothing():
    x = torch.randn(3, 5)

    torch.testing.assert_close(l2_normalize(x, dim=1).norm(dim=1), torch.ones(3))
    assert not l2_normalize(torch.zeros(4), dim=0).any()


def test_the_guard_against_zero_stands_inside_the_root():
    assert l2_normalize(torch.tensor([1e-6]), dim=0).item() == pytest.approx(0.5**0.5)


@quick
@given(sequences)
def test_norm_of_padded_frames_is_that_of_the_frames_by_themselves(lengths: list[int]):
    lengths = [*lengths, 2]  # a norm needs two
    mask = frame_mask(torch.tensor(lengths), max(lengths))
    x = torch.randn(*mask.shape, 3).masked_fill(~mask[:, :, None], 1e4).requires_grad_()
    ours, plain = FrameBatchNorm(3), torch.nn.BatchNorm1d(3)

    out, expected = ours(x, mask), plain(x[mask])

    torch.testing.assert_close(out[mask], expected)
    torch.testing.assert_close(ours.running_mean, plain.running_mean)
    torch.testing.assert_close(ours.running_var, plain.running_var)
    assert out.isfinite().all()
    (slope,) = torch.autograd.grad((out * torch.randn(out.shape)).sum(), x)
    assert not slope[~mask].any()
    assert slope[mask].any()


@pytest.mark.parametrize("training", [True, False])
def test_norm_without_padding_needs_no_mask(training: bool):
    x = torch.randn(2, 4, 3)
    module = FrameBatchNorm(3).train(training)

    torch.testing.assert_close(module(x, torch.ones(2, 4, dtype=torch.bool)), module(x))


def test_frames_are_summed_by_their_weights():
    weights, frames = torch.rand(2, 5, 3), torch.rand(2, 5, 4)

    torch.testing.assert_close(
        attended(weights, frames), (weights[..., None] * frames[:, :, None]).sum(1)
    )


@pytest.mark.parametrize(
    ("init", "std"), [("xavier", (2 / 1200) ** 0.5), ("msra", (2 / 400) ** 0.5)]
)
def test_layers_start_as_paddle_starts_them(init: str, std: float):
    torch.manual_seed(0)

    layer = linear(400, 800, init=init)

    assert layer.weight.std().item() == pytest.approx(std, rel=0.02)
    if init == "xavier":
        assert layer.weight.abs().max().item() <= (6 / 1200) ** 0.5
    assert not layer.bias.any()
    assert linear(2, 3, init=init, bias=False).bias is None


def test_the_loss_of_a_video_is_the_sum_over_its_classes():
    logits, labels = torch.randn(3, 5), (torch.rand(3, 5) < 0.3).float()
    scores = torch.sigmoid(logits.double())

    loss = multi_label_loss(logits, labels)

    expected = -(labels * scores.log() + (1 - labels) * (1 - scores).log()).sum(1)
    torch.testing.assert_close(loss, expected.float())


def test_the_loss_of_sure_answers_stays_finite():
    logits = torch.tensor([[1000.0, -1000.0]])

    assert multi_label_loss(logits, torch.tensor([[1.0, 0.0]])).item() == 0
    assert multi_label_loss(logits, torch.tensor([[0.0, 1.0]])).item() == 2000
    assert F.softplus(torch.tensor(0.0)).item() == multi_label_loss(
        torch.zeros(1, 1), torch.zeros(1, 1)
    )
