"""The GRU of PaddlePaddle 1.8, for sequences of any length.

::

    u = sigmoid(x_u + h W_u)      r = sigmoid(x_r + h W_r)      x_t: the input, already multiplied
    c = tanh(x_c + (r h) W_c)     h' = (1 - u) h + u c

It differs from `nn.GRU` in two things: u weighs the new candidate, not the old state, and r is
applied before the product with W_c, not after. The loop over time and its backward pass are our
own: frames are packed step by step without padding, and the gradients of the weights are one
product over all steps at the end.

Source: Cho et al., arXiv:1406.1078; `fluid.layers.dynamic_gru` and `gru_unit`, origin_mode=False.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from videozoo.ops.peephole import _packed, _row_before, _steps


def recurrent_weights(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Split a recurrent weight of PaddlePaddle 1.8 into its two matrices.

    Its shape looks like three blocks of columns, but its memory holds two matrices, one after the
    other: (W_u | W_r), H rows of 2H, and then W_c, H rows of H.

    Args:
        weight: (..., H, 3H).

    Returns:
        Views (..., H, 2H) of update and reset, and (..., H, H) of the candidate.

    >>> [part.tolist() for part in recurrent_weights(torch.arange(12).view(2, 6))]
    [[[0, 1, 2, 3], [4, 5, 6, 7]], [[8, 9], [10, 11]]]
    """
    size = weight.shape[-2]
    gates, candidate = weight.flatten(-2).split((2 * size * size, size * size), dim=-1)
    return gates.unflatten(-1, (size, 2 * size)), candidate.unflatten(-1, (size, size))


def gated_step(inputs: Tensor, hidden: Tensor, weight: Tensor) -> Tensor:
    """One step of the GRU.

    Args:
        inputs: (..., 3H), bias included, in the order update, reset, candidate.
        hidden: (..., H), the state before.
        weight: (H, 3H), as `recurrent_weights` reads it.

    Returns:
        (..., H), the state after. float64 where `inputs` is, else float32.

    >>> gated_step(torch.tensor([0.0, 0.0, 9.0]), torch.tensor([0.5]), torch.zeros(1, 3))
    tensor([0.7500])
    """
    with torch.autocast(inputs.device.type, enabled=False):
        inputs, hidden, weight = _precise(inputs, hidden, weight)
        to_gates, to_candidate = recurrent_weights(weight)
        size = hidden.shape[-1]
        gates, candidate = inputs.split((2 * size, size), dim=-1)
        update, reset = torch.sigmoid(gates + hidden @ to_gates).chunk(2, dim=-1)
        candidate = torch.tanh(candidate + (reset * hidden) @ to_candidate)
        return torch.lerp(hidden, candidate, update)


def gated_recurrence(
    inputs: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor, start: Tensor | None = None
) -> Tensor:
    """Run several GRUs of one size side by side over the same sequences.

    Args:
        inputs: (L, N, T, 3H), the inputs of L GRUs times their input weights, in the order update,
            reset, candidate. Padding may hold anything.
        weight: (L, H, 3H), recurrent, as `recurrent_weights` reads it.
        bias: (L, 3H).
        lengths: int64 (N,), 1 to T.
        start: (L, N, H), states before the first step; zeros by default.

    Returns:
        h, (L, N, T, H); zeros past the end of a sequence. float64 where `inputs` is, else float32.
    """
    with torch.autocast(inputs.device.type, enabled=False):  # a long recurrence needs float32
        many, videos, frames = inputs.shape[:3]
        if start is None:
            start = inputs.new_zeros(many, videos, weight.shape[1])
        inputs, weight, bias, start = _precise(inputs, weight, bias, start)
        rows, running = _packed(lengths, frames)
        start = start.index_select(1, rows[:videos] // frames)
        hidden: Any = _Recurrence.apply(inputs.flatten(1, 2), weight, bias, start, rows, running)
        return hidden.unflatten(1, (videos, frames))


def _precise(*tensors: Tensor) -> list[Tensor]:
    """All tensors in the precision of the first, at least float32."""
    dtype = tensors[0].dtype if tensors[0].dtype == torch.float64 else torch.float32
    return [tensor.to(dtype) for tensor in tensors]


class _Recurrence(torch.autograd.Function):
    """Inputs and outputs are padded; everything else is in packed rows."""

    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        weight: Tensor,
        bias: Tensor,
        start: Tensor,
        rows: Tensor,
        running: list[int],
    ) -> Tensor:
        """(L, N * T, 3H) -> (L, N * T, H)."""
        size = weight.shape[1]
        to_gates, to_candidate = recurrent_weights(weight)
        acts = inputs.index_select(1, rows).add_(bias[:, None])  # gates after sigmoid or tanh, soon
        hidden = acts.new_empty(*acts.shape[:2], size)
        before = start
        for first, stop in _steps(running):
            before = before[:, : stop - first]
            gates, candidate = acts[:, first:stop].split((2 * size, size), dim=2)
            update, reset = gates.baddbmm_(before, to_gates).sigmoid_().chunk(2, dim=2)
            candidate.baddbmm_(reset * before, to_candidate).tanh_()
            before = torch.lerp(before, candidate, update, out=hidden[:, first:stop])
        ctx.save_for_backward(weight, start, rows, acts, hidden)
        ctx.running, ctx.places = running, inputs.shape[1]
        return hidden.new_zeros(len(weight), inputs.shape[1], size).index_copy_(1, rows, hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """From the last step to the first; gradients of the weights in one product at the end."""
        weight, start, rows, acts, hidden = ctx.saved_tensors
        size = weight.shape[1]
        to_gates, to_candidate = (part.transpose(1, 2) for part in recurrent_weights(weight))
        earlier = torch.cat(
            (start, hidden.index_select(1, _row_before(ctx.running, rows.device))), dim=1
        )
        update, reset, candidate = acts.split(size, dim=2)
        d_acts = torch.empty_like(acts)  # slopes at first, then gradients
        d_update, d_reset, d_candidate = d_acts.split(size, dim=2)
        torch.mul(1 - update, update, out=d_update).mul_(candidate - earlier)
        torch.mul(1 - reset, reset, out=d_reset).mul_(earlier)
        torch.mul(1 - candidate * candidate, update, out=d_candidate)
        d_hidden, kept = grad_outputs[0].index_select(1, rows), 1 - update
        carry = hidden[:, :0]  # gradient of the state, from the step after
        for first, stop in reversed(_steps(ctx.running)):
            here = slice(first, stop)
            d_out = d_hidden[:, here]
            d_out[:, : carry.shape[1]].add_(carry)
            d_update[:, here].mul_(d_out)
            d_product = torch.bmm(d_candidate[:, here].mul_(d_out), to_candidate)
            d_reset[:, here].mul_(d_product)
            carry = kept[:, here].mul_(d_out).addcmul_(reset[:, here], d_product)
            carry.baddbmm_(d_acts[:, here, : 2 * size], to_gates)
        d_weight = torch.cat(
            (
                torch.bmm(earlier.transpose(1, 2), d_acts[:, :, : 2 * size]).flatten(1),
                torch.bmm((reset * earlier).transpose(1, 2), d_candidate).flatten(1),
            ),
            dim=1,
        )
        whole = d_acts.new_zeros(len(weight), ctx.places, 3 * size).index_copy_(1, rows, d_acts)
        return whole, d_weight.view_as(weight), d_acts.sum(1), carry, None, None
