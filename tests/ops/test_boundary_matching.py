import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.ops import boundary_matching
from videozoo.ops.boundary_matching import (
    BoundaryMatching,
    ProposalMap,
    Sampling,
    proposal_sampling,
    sampling_blocks,
)

quick = settings(max_examples=20, deadline=None)  # the first call of a kernel is slow
step_counts, duration_counts = st.integers(1, 12), st.integers(1, 12)
ratios = st.sampled_from([0.0, 0.25, 0.5, 1.0])


def by_hand(
    num_steps: int, num_durations: int, *, samples: int, per_bin: int, ratio: float
) -> NDArray[np.float64]:
    """The matrix (T, S, D, T), point by point as it was made in 2019."""
    matrix = np.zeros((num_steps, samples, num_durations, num_steps))
    for s in range(num_steps):
        for d in range(min(num_durations, num_steps - s)):
            low, high = s - (d + 1.0) * ratio, s + d + (d + 1.0) * ratio
            distance = (high - low) / (samples * per_bin - 1.0)
            for point in range(samples * per_bin):
                share, before = math.modf(low + distance * point)
                after = math.ceil(low + distance * point)
                for step, weight in ((int(before), 1 - share), (after, share)):
                    if 0 <= step < num_steps:
                        matrix[step, point // per_bin, d, s] += weight / per_bin
    return matrix


def dense(sampling: Sampling, *shape: int) -> NDArray[np.float64]:
    num_steps, samples, num_durations = shape
    matrix = np.zeros((num_steps, samples, num_durations * num_steps))
    step, sample = np.divmod(sampling.columns, samples)
    matrix[step, sample, sampling.cells[sampling.rows]] = sampling.weights
    return matrix.reshape(num_steps, samples, num_durations, num_steps)


def made(num_steps: int, num_durations: int, ratio: float = 0.5) -> BoundaryMatching:
    return BoundaryMatching(
        num_steps, num_durations, num_samples=3, samples_per_bin=2, boundary_ratio=ratio
    )


def random_inputs(num_steps: int, *, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 5, num_steps), (4, 5, 3), (4,)
    return [
        torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes
    ]


@quick
@given(t=step_counts, d=duration_counts, samples=st.integers(1, 4), ratio=ratios)
def test_samples_lie_where_they_lay_in_2019(t: int, d: int, samples: int, ratio: float):
    ours = proposal_sampling(t, d, num_samples=samples, samples_per_bin=3, boundary_ratio=ratio)

    wanted = by_hand(t, d, samples=samples, per_bin=3, ratio=ratio)
    np.testing.assert_allclose(dense(ours, t, samples, d), wanted, atol=1e-14)
    assert (np.diff(ours.rows * t * samples + ours.columns) > 0).all()  # each once, in order


def test_a_point_just_before_the_sequence_counts_in_full():
    # s = 0, d = 0: points at -0.5 and 0.5
    ours = proposal_sampling(3, 1, num_samples=2, samples_per_bin=1, boundary_ratio=0.5)

    assert dense(ours, 3, 2, 1)[:, :, 0, 0].T.tolist() == [[1, 0, 0], [0.5, 0.5, 0]]


def test_a_whole_map_is_sparse_and_knows_its_proposals():
    ours = proposal_sampling(100, 100, num_samples=32, samples_per_bin=3, boundary_ratio=0.5)

    assert (len(ours.cells), len(ours.weights)) == (5050, 476_827)
    assert (ours.cells // 100 + ours.cells % 100 < 100).all()


@quick
@given(t=step_counts, d=duration_counts, ratio=ratios)
def test_equals_sampling_and_then_convolving_in_3d(t: int, d: int, ratio: float):
    matching = made(t, d, ratio).double()
    features, weight, bias = random_inputs(t)
    matrix = torch.from_numpy(by_hand(t, d, samples=3, per_bin=2, ratio=ratio))

    ours = matching(features, weight, bias)

    samples = torch.einsum("nct,tsde->ncsde", features, matrix)
    wanted = nn.functional.conv3d(samples, weight[..., None, None], bias).flatten(2)
    wanted = wanted[:, :, matching.cells].transpose(1, 2)
    torch.testing.assert_close(ours, wanted, atol=1e-6, rtol=1e-6)  # its weights are float32
    arriving = torch.randn_like(wanted)
    slopes = [
        torch.autograd.grad(out, (features, weight, bias), arriving) for out in (ours, wanted)
    ]
    torch.testing.assert_close(*slopes, atol=1e-5, rtol=1e-6)


@quick
@given(t=st.integers(1, 26), d=st.integers(1, 24), ratio=ratios)
def test_blocks_hold_the_whole_matrix(t: int, d: int, ratio: float):
    sampling = proposal_sampling(t, d, num_samples=3, samples_per_bin=2, boundary_ratio=ratio)

    columns, matrices, places = sampling_blocks(sampling, t, 3)

    rows = matrices @ np.eye(t * 3)[columns]
    wanted = np.zeros((len(sampling.cells), t * 3))
    wanted[sampling.rows, sampling.columns] = sampling.weights
    np.testing.assert_allclose(rows.reshape(-1, t * 3)[places], wanted, atol=1e-7)


def test_blocks_read_a_fifth_of_a_large_map():
    sampling = proposal_sampling(100, 100, num_samples=32, samples_per_bin=3, boundary_ratio=0.5)

    blocks, rows, columns = sampling_blocks(sampling, 100, 32).matrices.shape

    assert blocks * rows * columns < 0.2 * 5050 * 3200


@quick
@given(t=st.integers(1, 26), d=st.integers(1, 24))
def test_what_is_exported_computes_the_same(t: int, d: int):
    matching, short = made(t, d).double(), ProposalMap(t, d).double()
    features, weight, bias = random_inputs(t)
    conv = nn.Conv2d(4, 3, 3, padding=1).double()

    def answer() -> tuple[Tensor, Tensor]:
        matched = matching(features, weight, bias)
        return matched, short.convolve(short.fill(matched, bias), conv)

    eager = answer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boundary_matching, "is_exporting", lambda: True)
        torch.testing.assert_close(answer(), eager, atol=1e-6, rtol=1e-6)  # weights are float32


def test_gradients_are_those_of_what_is_computed():
    assert torch.autograd.gradcheck(made(5, 4).double(), random_inputs(5))


@pytest.mark.parametrize("wanted", range(3))
def test_a_gradient_may_be_wanted_alone(wanted: int):
    matching, inputs = made(5, 4).double(), random_inputs(5)
    whole = torch.autograd.grad(matching(*inputs).square().sum(), inputs)[wanted]

    frozen = [x if i == wanted else x.detach() for i, x in enumerate(inputs)]
    matching(*frozen).square().sum().backward()

    torch.testing.assert_close(inputs[wanted].grad, whole)


def test_more_outputs_than_are_computed_at_once():
    matching, features = made(6, 6), torch.randn(2, 5, 6)
    weight, bias = torch.randn(300, 5, 3), torch.randn(300)

    whole = matching(features, weight, bias)

    torch.testing.assert_close(
        whole[:, :, 250:], matching(features, weight[250:], bias[250:]), atol=1e-5, rtol=1e-5
    )


def test_low_precision_sums_in_float32():
    matching, inputs = made(6, 6), random_inputs(6, dtype=torch.float32)
    low = [x.bfloat16() for x in inputs]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours = matching(*low)

    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, matching(*(x.float() for x in low)))


def test_other_lengths_are_refused():
    features, weight, bias = random_inputs(5)

    with pytest.raises(ValueError, match="5 steps and 3 samples, expected 6 and 3"):
        made(6, 6)(features, weight, bias)


def test_tables_are_not_in_checkpoints():
    assert not made(5, 5).state_dict()
    assert not ProposalMap(5, 5).state_dict()


@quick
@given(t=step_counts, d=duration_counts)
def test_the_shortened_map_equals_the_whole_one(t: int, d: int):
    short, cells = ProposalMap(t, d).double(), made(t, d).cells
    torch.manual_seed(0)
    convs = [nn.Conv2d(3, 4, 3, padding=1).double(), nn.Conv2d(4, 2, 3, padding=1).double()]
    proposals = torch.randn(2, len(cells), 3, dtype=torch.float64, requires_grad=True)
    outside = torch.randn(3, dtype=torch.float64, requires_grad=True)

    x = short.fill(proposals, outside)
    whole = outside.expand(2, d * t, 3).index_copy(1, cells, proposals)
    whole = whole.unflatten(1, (d, t)).permute(0, 3, 1, 2)
    torch.testing.assert_close(short.whole(x), whole)
    for conv in convs:
        x, whole = torch.relu(short.convolve(x, conv)), torch.relu(conv(whole))

    torch.testing.assert_close(short.whole(x), whole)
    weights = [proposals, outside, *convs[0].parameters(), *convs[1].parameters()]
    arriving = torch.randn_like(whole)
    slopes = [torch.autograd.grad(out, weights, arriving) for out in (short.whole(x), whole)]
    torch.testing.assert_close(*slopes)


def test_the_shortened_map_is_short():
    assert len(ProposalMap(100, 100).own) < 5500
