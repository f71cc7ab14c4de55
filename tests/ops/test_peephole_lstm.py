import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from videozoo.ops.peephole import peephole_lstm, reversed_in_time

quick = settings(max_examples=25, deadline=None)

sequences = st.lists(st.integers(1, 20), min_size=1, max_size=5)


def made(
    lengths: list[int], *, size: int = 3, many: int = 2, frames: int | None = None
) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """(Gates, weight, bias) and lengths; padding is filled like the rest."""
    generator = torch.Generator().manual_seed(sum(lengths))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    gates = normal(many, len(lengths), frames or max(lengths), 4 * size)
    return (gates, normal(many, 4 * size, size), normal(many, 7 * size)), torch.tensor(lengths)


def plain(gates: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor) -> Tensor:
    """Video by video, frame by frame, as the equations are written."""
    out = torch.zeros(*gates.shape[:3], weight.shape[2], dtype=gates.dtype)
    rows: list[Tensor] = []
    for lstm in range(gates.shape[0]):
        size = weight.shape[2]
        offset, p_i, p_f, p_o = bias[lstm].split((4 * size, size, size, size))
        for video, length in enumerate(lengths.tolist()):
            h = c = torch.zeros(size, dtype=gates.dtype)
            for step in range(length):
                g, i, f, o = (gates[lstm, video, step] + F.linear(h, weight[lstm]) + offset).chunk(
                    4
                )
                i, f = torch.sigmoid(i + p_i * c), torch.sigmoid(f + p_f * c)
                c = f * c + i * torch.tanh(g)
                o = torch.sigmoid(o + p_o * c)
                h = o * torch.tanh(c)
                rows.append(h)
    places = torch.arange(out.shape[2]) < lengths[:, None]
    return out.masked_scatter(places[None, :, :, None].expand_as(out), torch.stack(rows))


@quick
@given(sequences)
def test_gives_what_the_equations_say(lengths: list[int]):
    inputs, counts = made(lengths)

    torch.testing.assert_close(peephole_lstm(*inputs, counts), plain(*inputs, counts))


@quick
@given(sequences, st.integers(0, 3))
def test_gradients_are_those_of_the_equations(lengths: list[int], padding: int):
    inputs, counts = made(lengths, frames=max(lengths) + padding)
    weights = torch.randn(plain(*inputs, counts).shape, dtype=torch.float64)

    ours = torch.autograd.grad((peephole_lstm(*inputs, counts) * weights).sum(), inputs)
    expected = torch.autograd.grad((plain(*inputs, counts) * weights).sum(), inputs)

    torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("size", [1, 3, 8])  # PaddlePaddle's are wrong for multiples of 8
def test_gradients_agree_with_finite_differences(size: int):
    inputs, counts = made([3, 1], size=size, many=1)

    assert torch.autograd.gradcheck(peephole_lstm, (*inputs, counts))


@quick
@given(sequences, st.integers(1, 4), st.sampled_from([1e30, float("inf"), float("nan")]))
def test_padding_changes_neither_outputs_nor_gradients(
    lengths: list[int], padding: int, filler: float
):
    inputs, counts = made(lengths)
    gates, weight, bias = inputs
    longer = F.pad(gates.detach(), (0, 0, 0, padding))
    mask = torch.arange(longer.shape[2]) >= counts[:, None]
    longer = longer.masked_fill(mask[None, :, :, None], filler).requires_grad_()

    short, long = peephole_lstm(*inputs, counts), peephole_lstm(longer, weight, bias, counts)
    ours = torch.autograd.grad(short.square().sum(), inputs)
    padded = torch.autograd.grad(long.square().sum(), (longer, weight, bias))

    assert torch.equal(long[:, :, : gates.shape[2]], short)
    assert not long[:, :, gates.shape[2] :].any()
    torch.testing.assert_close(padded[1:], ours[1:])
    torch.testing.assert_close(padded[0][:, :, : gates.shape[2]], ours[0])
    assert not padded[0][mask.expand(2, *mask.shape)].any()


@quick
@given(sequences)
def test_videos_and_lstms_do_not_leak_into_each_other(lengths: list[int]):
    (gates, weight, bias), counts = made(lengths)

    together = peephole_lstm(gates, weight, bias, counts)

    for lstm in range(2):
        for video in range(len(lengths)):
            alone = peephole_lstm(
                gates[lstm, None, video, None],
                weight[lstm, None],
                bias[lstm, None],
                counts[video, None],
            )
            torch.testing.assert_close(alone[0, 0], together[lstm, video])


def test_long_sequences_go_back_as_they_came():
    inputs, counts = made([100, 33, 16, 17], size=2, many=1)

    ours = torch.autograd.grad(peephole_lstm(*inputs, counts).sum(), inputs)

    torch.testing.assert_close(ours, torch.autograd.grad(plain(*inputs, counts).sum(), inputs))


@pytest.mark.parametrize(
    ("given_as", "expected"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_computes_in_single_precision_at_least(given_as: torch.dtype, expected: torch.dtype):
    inputs, counts = made([3, 5])

    with torch.autocast("cpu", dtype=torch.bfloat16):
        gates, weight, bias = (tensor.to(given_as) for tensor in inputs)
        out = peephole_lstm(gates, weight, bias, counts)

    assert out.dtype == expected
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 5e-2}[given_as]
    torch.testing.assert_close(out.double(), plain(*inputs, counts), rtol=tolerance, atol=tolerance)


def test_without_gradients_the_answer_is_the_same_and_nothing_is_kept():
    inputs, counts = made([7, 2, 7])

    with torch.no_grad():
        out = peephole_lstm(*inputs, counts)

    assert out.grad_fn is None
    assert torch.equal(out, peephole_lstm(*inputs, counts))


def test_the_way_back_can_be_gone_twice():
    inputs, counts = made([3, 2])
    total = peephole_lstm(*inputs, counts).sum()

    first = torch.autograd.grad(total, inputs, retain_graph=True)

    torch.testing.assert_close(torch.autograd.grad(total, inputs), first)


def test_gradients_of_gradients_are_refused_rather_than_wrong():
    inputs, counts = made([3, 2])
    (slope,) = torch.autograd.grad(
        peephole_lstm(*inputs, counts).square().sum(), inputs[:1], create_graph=True
    )

    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@quick
@given(sequences)
def test_a_sequence_turned_round_twice_is_itself(lengths: list[int]):
    counts = torch.tensor(lengths)
    frames = torch.rand(len(lengths), max(lengths), 2)

    back = reversed_in_time(frames, counts)

    assert torch.equal(reversed_in_time(back, counts), frames)
    for video, length in enumerate(lengths):
        assert torch.equal(back[video, :length], frames[video, :length].flip(0))
        assert torch.equal(back[video, length:], frames[video, length:])
