import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from videozoo.ops.gated_recurrence import gated_recurrence, gated_step, recurrent_weights

quick = settings(max_examples=20, deadline=None)

sequences = st.lists(st.integers(1, 12), min_size=1, max_size=5)

Inputs = tuple[Tensor, Tensor, Tensor, Tensor]


def made(
    lengths: list[int], *, size: int = 3, many: int = 2, frames: int | None = None
) -> tuple[Inputs, Tensor]:
    """(Inputs, weight, bias, start) and lengths; padding is filled like the rest."""
    generator = torch.Generator().manual_seed(sum(lengths))

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    x = normal(many, len(lengths), frames or max(lengths), 3 * size)
    start = normal(many, len(lengths), size)
    return (x, normal(many, size, 3 * size), normal(many, 3 * size), start), torch.tensor(lengths)


def called(inputs: Inputs, lengths: Tensor) -> Tensor:
    x, weight, bias, start = inputs
    return gated_recurrence(x, weight, bias, lengths, start)


def plain(inputs: Inputs, lengths: Tensor) -> Tensor:
    """Video by video, frame by frame, as the equations are written."""
    x, weight, bias, start = inputs
    size = weight.shape[1]
    out = torch.zeros(*x.shape[:3], size, dtype=x.dtype)
    rows: list[Tensor] = []
    for gru in range(len(weight)):
        flat = weight[gru].flatten()
        both = flat[: 2 * size * size].view(size, 2 * size)
        w_u, w_r = both[:, :size], both[:, size:]
        w_c = flat[2 * size * size :].view(size, size)
        for video, length in enumerate(lengths.tolist()):
            h = start[gru, video]
            for step in range(length):
                x_u, x_r, x_c = (x[gru, video, step] + bias[gru]).chunk(3)
                u, r = torch.sigmoid(x_u + h @ w_u), torch.sigmoid(x_r + h @ w_r)
                h = (1 - u) * h + u * torch.tanh(x_c + (r * h) @ w_c)
                rows.append(h)
    places = torch.arange(out.shape[2]) < lengths[:, None]
    return out.masked_scatter(places[None, :, :, None].expand_as(out), torch.stack(rows))


@quick
@given(sequences)
def test_gives_what_the_equations_say(lengths: list[int]):
    inputs, counts = made(lengths)

    torch.testing.assert_close(called(inputs, counts), plain(inputs, counts))


@quick
@given(sequences, st.integers(0, 3))
def test_gradients_are_those_of_the_equations(lengths: list[int], padding: int):
    inputs, counts = made(lengths, frames=max(lengths) + padding)
    weights = torch.randn(plain(inputs, counts).shape, dtype=torch.float64)

    ours = torch.autograd.grad((called(inputs, counts) * weights).sum(), inputs)
    expected = torch.autograd.grad((plain(inputs, counts) * weights).sum(), inputs)

    torch.testing.assert_close(ours, expected)


def test_gradients_agree_with_finite_differences():
    inputs, counts = made([3, 1, 2], size=2, many=1)

    assert torch.autograd.gradcheck(lambda *some: called(some, counts), inputs)


def test_it_starts_from_nothing_unless_told():
    (x, weight, bias, start), counts = made([4, 2])

    assert torch.equal(
        gated_recurrence(x, weight, bias, counts),
        gated_recurrence(x, weight, bias, counts, torch.zeros_like(start)),
    )


@quick
@given(sequences)
def test_steps_one_by_one_lead_to_the_same(lengths: list[int]):
    inputs, counts = made(lengths)
    x, weight, bias, start = inputs
    whole = called(inputs, counts)

    for gru in range(2):
        for video, length in enumerate(lengths):
            h = start[gru, video]
            for step in range(length):
                h = gated_step(x[gru, video, step] + bias[gru], h, weight[gru])
                torch.testing.assert_close(h, whole[gru, video, step])


@quick
@given(sequences, st.integers(1, 4), st.sampled_from([1e30, float("inf"), float("nan")]))
def test_padding_changes_neither_outputs_nor_gradients(
    lengths: list[int], padding: int, filler: float
):
    inputs, counts = made(lengths)
    x, *others = inputs
    longer = F.pad(x.detach(), (0, 0, 0, padding))
    mask = torch.arange(longer.shape[2]) >= counts[:, None]
    longer = longer.masked_fill(mask[None, :, :, None], filler).requires_grad_()
    weight, bias, start = others

    short, long = called(inputs, counts), called((longer, weight, bias, start), counts)
    ours = torch.autograd.grad(short.square().sum(), inputs)
    padded = torch.autograd.grad(long.square().sum(), (longer, *others))

    assert torch.equal(long[:, :, : x.shape[2]], short)
    assert not long[:, :, x.shape[2] :].any()
    torch.testing.assert_close(padded[1:], ours[1:])
    torch.testing.assert_close(padded[0][:, :, : x.shape[2]], ours[0])
    assert not padded[0][mask.expand(2, *mask.shape)].any()


@quick
@given(sequences)
def test_videos_and_grus_do_not_leak_into_each_other(lengths: list[int]):
    inputs, counts = made(lengths)
    x, weight, bias, start = inputs

    together = called(inputs, counts)

    for gru in range(2):
        for video in range(len(lengths)):
            one = slice(video, video + 1)
            alone = gated_recurrence(
                x[gru, None, one], weight[gru, None], bias[gru, None], counts[one],
                start[gru, None, one],
            )  # fmt: skip
            torch.testing.assert_close(alone[0, 0], together[gru, video])


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
        x, weight, bias, start = (tensor.to(given_as) for tensor in inputs)
        out = gated_recurrence(x, weight, bias, counts, start)
        step = gated_step(x[0, :, 0] + bias[0], start[0], weight[0])

    assert out.dtype == step.dtype == expected
    tolerance = {torch.float64: 1e-9, torch.float32: 1e-5, torch.bfloat16: 5e-2}[given_as]
    expected_states = plain(inputs, counts)
    torch.testing.assert_close(out.double(), expected_states, rtol=tolerance, atol=tolerance)
    first = expected_states[0, :, 0]
    torch.testing.assert_close(step.double(), first, rtol=tolerance, atol=tolerance)


def test_gradients_of_gradients_are_refused_rather_than_wrong():
    inputs, counts = made([3, 2])
    (slope,) = torch.autograd.grad(
        called(inputs, counts).square().sum(), inputs[:1], create_graph=True
    )

    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


@pytest.mark.parametrize("size", [1, 2, 5])
def test_parts_of_a_weight_are_all_of_it_and_share_its_memory(size: int):
    weight = torch.zeros(2, size, 3 * size)

    for part in recurrent_weights(weight):
        part += 1

    assert (weight == 1).all()
