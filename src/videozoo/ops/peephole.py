"""An LSTM whose gates see the cell (Gers and Schmidhuber, 2000), for sequences of any length.

::

    g = x_t + W h_{t-1} + b                              x_t: the input, already multiplied
    i = sigmoid(g_i + p_i c_{t-1})    f = sigmoid(g_f + p_f c_{t-1})
    c_t = f c_{t-1} + i tanh(g_c)
    o = sigmoid(g_o + p_o c_t)        h_t = o tanh(c_t)

cuDNN and `nn.LSTM` have no peepholes. The loop over time and its backward pass are our own. Frames
are packed step by step, without padding. Values that do not depend on a later step are computed for
many steps at once, so a backward step is one matrix product and five small operations. The gradient
of W is one product over all steps at the end, where autograd would add one per step.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_STEPS_AT_ONCE = 16
"""Steps computed at once in the backward pass: enough to save calls, few enough for the cache."""


def peephole_lstm(gates: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor) -> Tensor:
    """Run several LSTMs of one size side by side over the same sequences.

    Args:
        gates: (L, N, T, 4H), the inputs of L LSTMs times their input weights, in the order
            candidate, input, forget, output. Padding may hold anything.
        weight: (L, 4H, H), recurrent.
        bias: (L, 7H): 4H for the gates, then the peepholes of input, forget and output.
        lengths: int64 (N,), 1 to T.

    Returns:
        h, (L, N, T, H); zeros past the end of a sequence. float64 where `gates` is, else float32.

    Source: fluid.layers.dynamic_lstm with use_peepholes. The CPU gradients of PaddlePaddle 1.8.5
    are wrong if H is a multiple of 8; these are right.
    """
    with torch.autocast(gates.device.type, enabled=False):  # a long recurrence needs float32
        dtype = gates.dtype if gates.dtype == torch.float64 else torch.float32
        gates, weight, bias = (tensor.to(dtype) for tensor in (gates, weight, bias))
        keep = torch.is_grad_enabled() and any(x.requires_grad for x in (gates, weight, bias))
        rows, running = _packed(lengths, gates.shape[2])
        hidden: Any = _Recurrence.apply(gates.flatten(1, 2), weight, bias, rows, running, keep)
        return hidden.unflatten(1, gates.shape[1:3])


def reversed_in_time(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Reverse every sequence within its own length; padding stays in place.

    Args:
        sequences: (N, T, ...).
        lengths: int64 (N,).

    >>> reversed_in_time(torch.tensor([[1, 2, 0], [3, 4, 5]]), torch.tensor([2, 3])).tolist()
    [[2, 1, 0], [5, 4, 3]]
    """
    times = torch.arange(sequences.shape[1], device=sequences.device)
    back = lengths[:, None] - 1 - times
    index = torch.where(back >= 0, back, times)
    index = index.view(*index.shape, *(1,) * (sequences.dim() - 2)).expand_as(sequences)
    return sequences.gather(1, index)


def _packed(lengths: Tensor, num_frames: int) -> tuple[Tensor, list[int]]:
    """Order the real frames step by step, within a step the longest sequence first.

    Returns:
        Place of each frame in the flat (N * T); number of sequences still running at each step.

    >>> _packed(torch.tensor([1, 3]), 3)
    (tensor([3, 0, 4, 5]), [2, 1, 1])
    """
    order = lengths.argsort(descending=True, stable=True)
    times = torch.arange(num_frames, device=lengths.device)[:, None]
    runs = lengths[order] > times
    running = [count for count in runs.sum(1).tolist() if count]
    return (order * num_frames + times)[runs], running


def _steps(running: list[int]) -> list[tuple[int, int]]:
    """First packed row of each step, and the row after its last."""
    stops = [0]
    for count in running:
        stops.append(stops[-1] + count)
    return list(pairwise(stops))


class _Recurrence(torch.autograd.Function):
    """Inputs and outputs are padded; everything else is in packed rows."""

    @staticmethod
    def forward(
        ctx: Any,
        gates: Tensor,
        weight: Tensor,
        bias: Tensor,
        rows: Tensor,
        running: list[int],
        keep: bool,
    ) -> Tensor:
        """(L, N * T, 4H) -> (L, N * T, H)."""
        many, size = weight.shape[0], weight.shape[2]
        offset, peep_if, peep_o = bias[:, None].split((4 * size, 2 * size, size), dim=2)
        peep_if, turned = peep_if.unflatten(2, (2, size)), weight.transpose(1, 2)
        out = gates.new_zeros(many, gates.shape[1], size)
        room = len(rows) if keep else running[0]  # without a backward pass, one step is enough
        acts = gates.new_empty(many, room, 4 * size)  # gates after their sigmoid or tanh
        cells, hidden = (gates.new_empty(many, room, size) for _ in range(2))
        before = cell = gates.new_zeros(many, running[0], size)
        for start, stop in _steps(running):
            n, here = stop - start, rows[start:stop]
            place = slice(start, stop) if keep else slice(n)
            act = acts[:, place]
            torch.add(gates.index_select(1, here), offset, out=act)
            i_f, o = act[:, :, size : 3 * size].unflatten(2, (2, size)), act[:, :, 3 * size :]
            if start:
                act.baddbmm_(before[:, :n], turned)
                i_f.addcmul_(cell[:, :n, None], peep_if)
            i, f = i_f.sigmoid_().unbind(2)
            cell = torch.mul(f, cell[:, :n], out=cells[:, place])
            cell.addcmul_(i, act[:, :, :size].tanh_())
            o.addcmul_(cell, peep_o).sigmoid_()
            before = torch.tanh(cell, out=hidden[:, place]).mul_(o)
            out.index_copy_(1, here, before)
        if keep:
            ctx.save_for_backward(weight, bias, rows, acts, cells, hidden)
            ctx.running = running
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """From the last step to the first; gradients of the weights in one product at the end."""
        weight, bias, rows, acts, cells, hidden = ctx.saved_tensors
        running: list[int] = ctx.running
        size, first, steps = weight.shape[2], running[0], _steps(running)
        peepholes = bias[:, None, 4 * size :].split(size, dim=2)
        previous = _row_before(running, rows.device)
        last = torch.zeros_like(cells)
        last[:, first:] = cells.index_select(1, previous)
        d_hidden = grad_outputs[0].index_select(1, rows)
        d_gates = torch.empty_like(acts)
        carry, later = cells[:, :0], 0  # gradient of the cells, from the step after
        for begin in reversed(range(0, len(steps), _STEPS_AT_ONCE)):
            some = steps[begin : begin + _STEPS_AT_ONCE]
            part = slice(some[0][0], some[-1][1])
            to_cell, to_last = _slopes(
                acts[:, part], cells[:, part], last[:, part], peepholes, out=d_gates[:, part]
            )
            for start, stop in reversed(some):
                d_gate, d_out = d_gates[:, start:stop], d_hidden[:, start:stop]
                d_out[:, :later].baddbmm_(d_gates[:, stop : stop + later], weight)
                inside = slice(start - part.start, stop - part.start)
                d_cell = to_cell[:, inside].mul_(d_out)
                d_cell[:, :later].add_(carry)
                d_gate[:, :, : 3 * size].unflatten(2, (3, size)).mul_(d_cell[:, :, None])
                d_gate[:, :, 3 * size :].mul_(d_out)
                carry, later = to_last[:, inside].mul_(d_cell), stop - start
        earlier = hidden.index_select(1, previous)
        d_weight = torch.bmm(d_gates[:, first:].transpose(1, 2), earlier)
        _, d_i, d_f, d_o = d_gates.split(size, dim=2)
        sums = (d_gates, d_i * last, d_f * last, d_o * cells)
        d_bias = torch.cat([terms.sum(1) for terms in sums], dim=1)
        whole = d_gates.new_zeros(*grad_outputs[0].shape[:2], 4 * size)
        return whole.index_copy_(1, rows, d_gates), d_weight, d_bias, None, None, None


def _slopes(
    acts: Tensor, cells: Tensor, last: Tensor, peepholes: Sequence[Tensor], *, out: Tensor
) -> tuple[Tensor, Tensor]:
    """Derivatives within a step; (L, M, 4H) and (L, M, H) for any rows.

    Args:
        acts: Gates after their sigmoid or tanh.
        cells: Cells after the step.
        last: Cells before it.
        peepholes: (L, 1, H) of input, forget and output.
        out: Filled with slopes of the cell by the first three gates, and of h by the last.

    Returns:
        Slopes of h by the cell, and of the cell by the cell before.
    """
    size = cells.shape[2]
    (g, i, f, o), (s_g, s_i, s_f, s_o) = acts.split(size, dim=2), out.split(size, dim=2)
    squashed = cells.tanh()
    torch.mul(1 - g * g, i, out=s_g)
    torch.mul(1 - i, i, out=s_i).mul_(g)
    torch.mul(1 - f, f, out=s_f).mul_(last)
    torch.mul(1 - o, o, out=s_o).mul_(squashed)
    peep_i, peep_f, peep_o = peepholes
    by_cell = (1 - squashed * squashed).mul_(o).addcmul_(s_o, peep_o)
    return by_cell, torch.addcmul(f, s_i, peep_i).addcmul_(s_f, peep_f)


def _row_before(running: list[int], device: torch.device) -> Tensor:
    """Row of the same sequence at the step before, for all rows after the first step."""
    counts = torch.tensor(running, device=device)
    rows = torch.arange(running[0], sum(running), device=device)
    return rows - counts[:-1].repeat_interleave(counts[1:])
