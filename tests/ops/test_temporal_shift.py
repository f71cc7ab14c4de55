from functools import partial

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn

from videozoo.ops import temporal_shift

quick = settings(max_examples=25, deadline=None)  # the first call of a kernel is slow

clip_counts, frame_counts = st.integers(1, 3), st.integers(1, 6)
channel_counts, divisors = st.integers(1, 24), st.integers(2, 9)


@quick
@given(n=clip_counts, t=frame_counts, c=channel_counts, div=divisors)
def test_each_value_comes_from_the_frame_the_paper_says(n: int, t: int, c: int, div: int):
    x = torch.rand(n * t, c, 2, 1)

    moved = temporal_shift(x, t, div).view(n, t, c, 2, 1)

    padded = nn.functional.pad(x.view(n, t, c, 2, 1), (0, 0, 0, 0, 0, 0, 1, 1))  # zeros around
    for channel in range(c):
        first, second = int(c / div), int(2 * c / div)
        step = -1 if channel < first else 1 if channel < second else 0
        wanted = padded[:, 1 + step : 1 + step + t, channel]
        assert torch.equal(moved[:, :, channel], wanted)


@quick
@given(n=clip_counts, t=frame_counts, c=channel_counts, div=divisors)
def test_clips_do_not_leak_into_each_other(n: int, t: int, c: int, div: int):
    x = torch.rand(n * t, c, 1, 1)

    together = temporal_shift(x, t, div)
    apart = torch.cat([temporal_shift(clip, t, div) for clip in torch.chunk(x, n)])

    assert torch.equal(together, apart)


@settings(max_examples=10, deadline=None)
@given(t=st.integers(1, 4), c=st.integers(1, 9), div=st.integers(2, 4))
def test_gradients_go_back_to_where_values_came_from(t: int, c: int, div: int):
    x = torch.rand(2 * t, c, 1, 1, dtype=torch.float64, requires_grad=True)

    shift = partial(temporal_shift, num_segments=t, shift_div=div)
    assert torch.autograd.gradcheck(shift, x)
    assert torch.autograd.gradgradcheck(shift, x)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_memory_layout_is_kept_forward_and_backward(layout: torch.memory_format):
    x = torch.rand(6, 16, 3, 3).contiguous(memory_format=layout).requires_grad_()

    moved = temporal_shift(x, 3)
    moved.backward(moved.detach().clone(memory_format=torch.preserve_format))

    assert x.grad is not None
    assert moved.is_contiguous(memory_format=layout)
    assert x.grad.is_contiguous(memory_format=layout)


def test_half_precision_is_kept():
    x = torch.rand(4, 8, 1, 1, dtype=torch.bfloat16)

    moved = temporal_shift(x, 2)

    assert moved.dtype == torch.bfloat16
    assert torch.equal(moved.float(), temporal_shift(x.float(), 2))


class _Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return temporal_shift(x, 3)


def test_exported_programs_shift_alike_for_any_number_of_clips():
    x, more = torch.rand(6, 16, 3, 3), torch.rand(12, 16, 3, 3)
    clips = torch.export.Dim("clips", min=1, max=8)

    program = torch.export.export(_Shift(), (x,), dynamic_shapes={"x": {0: 3 * clips}}).module()

    assert torch.equal(program(more), temporal_shift(more, 3))


def test_says_what_does_not_divide():
    with pytest.raises(ValueError, match="7 frames do not divide into clips of num_segments=8"):
        temporal_shift(torch.zeros(7, 8, 1, 1), num_segments=8)


def test_refuses_to_shift_more_channels_than_there_are():
    with pytest.raises(ValueError, match="shift_div=1, expected at least 2"):
        temporal_shift(torch.zeros(8, 8, 1, 1), num_segments=8, shift_div=1)
