"""An LSTM whose gates see the cell (Gers and Schmidhuber, 2000), for sequences of any length.

::

    g = x_t + W h_{t-1} + b                              x_t: the input, already multiplied
    i = sigmoid(g_i + p_i c_{t-1})    f = sigmoid(g_f + p_f c_{t-1})
    c_t = f c_{t-1} + i tanh(g_c)
    o = sigmoid(g_o + p_o c_t)        h_t = o tanh(c_t)

cuDNN and `nn.LSTM` have no peepholes. The loop over time is ours, and so is its way back: one
step needs one matrix product, and the gradient of W is one product over all steps at the end,
where autograd would make one, and add it up, at every step.
"""

from typing import Any

import torch
from torch import Tensor


def peephole_lstm(gates: Tensor, weight: Tensor, bias: Tensor, lengths: Tensor) -> Tensor:
    """Run several LSTMs of one size side by side over the same sequences.

    Args:
        gates: (L, N, T, 4H), the inputs of L LSTMs times their input weights, in the order
            candidate, input, forget, output.
        weight: (L, 4H, H), recurrent.
        bias: (L, 7H): 4H for the gates, then the peepholes of input, forget and output.
        lengths: int64 (N,), 1 to T.

    Returns:
        h, (L, N, T, H); zeros past the end of a sequence.

    Source: fluid.layers.dynamic_lstm with use_peepholes. Its CPU gradients are wrong in
    PaddlePaddle 1.8.5 where H is a multiple of 8; these are not.
    """
    with torch.autocast(gates.device.type, enabled=False):  # a long recurrence needs float32
        gates, weight, bias = gates.float(), weight.float(), bias.float()
        order = lengths.argsort(descending=True, stable=True)
        running = _running(lengths, gates.shape[2])
        inner = gates.index_select(1, order).transpose(1, 2)  # (L, T, N, 4H)
        hidden: Any = _Recurrence.apply(inner, weight, bias, running)
        return hidden.transpose(1, 2).index_select(1, order.argsort())


def reversed_in_time(sequences: Tensor, lengths: Tensor) -> Tensor:
    """Turn every sequence round within its own length; padding stays where it is.

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


def _running(lengths: Tensor, num_frames: int) -> list[int]:
    """How many sequences still run at each step, the longest first."""
    times = torch.arange(num_frames, device=lengths.device)
    return (lengths[None] > times[:, None]).sum(1).tolist()


class _Recurrence(torch.autograd.Function):
    """Sequences sorted by length, longest first; step t works on those that still run."""

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor, bias: Tensor, running: list[int]):
        """(L, T, N, 4H) -> (L, T, N, H)."""
        many, steps, videos, size = gates.shape
        size //= 4
        out = gates.new_zeros(many, steps, videos, size)
        cells = torch.zeros_like(out)
        acts = torch.empty_like(gates)  # gates after their sigmoid or tanh
        offset, peep_i, peep_f, peep_o = bias[:, None].split((4 * size, size, size, size), dim=2)
        turned = weight.transpose(1, 2)
        before = cell = gates.new_zeros(many, videos, size)
        for step in range(steps):
            n = running[step]
            if not n:
                break
            cell = cell[:, :n]
            pre = torch.baddbmm(gates[:, step, :n] + offset, before[:, :n], turned)
            g, i, f, o = pre.split(size, dim=2)
            g, i = torch.tanh(g), torch.sigmoid(torch.addcmul(i, cell, peep_i))
            f = torch.sigmoid(torch.addcmul(f, cell, peep_f))
            cell = torch.addcmul(f * cell, i, g)
            o = torch.sigmoid(torch.addcmul(o, cell, peep_o))
            acts[:, step, :n] = torch.cat((g, i, f, o), dim=2)
            before = o * torch.tanh(cell)
            out[:, step, :n] = before
            cells[:, step, :n] = cell
        ctx.save_for_backward(weight, bias, out, cells, acts)
        ctx.running = running
        return out

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        """From the last step to the first; gradients of weights at the end, in one product."""
        weight, bias, out, cells, acts = ctx.saved_tensors
        (grad_out,) = grad_outputs
        size = out.shape[3]
        _, peep_i, peep_f, peep_o = bias[:, None].split((4 * size, size, size, size), dim=2)
        grad_pre = torch.zeros_like(acts)
        to_hidden = torch.zeros_like(out[:, 0])
        to_cell = torch.zeros_like(to_hidden)
        nothing = torch.zeros_like(to_hidden)
        for step in reversed(range(out.shape[1])):
            n = ctx.running[step]
            if not n:
                continue
            g, i, f, o = acts[:, step, :n].split(size, dim=2)
            cell = cells[:, step, :n]
            last = cells[:, step - 1, :n] if step else nothing[:, :n]
            squashed = torch.tanh(cell)
            hidden = grad_out[:, step, :n] + to_hidden[:, :n]
            d_o = hidden * squashed * o * (1 - o)
            d_cell = to_cell[:, :n] + hidden * o * (1 - squashed * squashed) + d_o * peep_o
            d_i = d_cell * g * i * (1 - i)
            d_f = d_cell * last * f * (1 - f)
            d_g = d_cell * i * (1 - g * g)
            pre = grad_pre[:, step, :n]
            pre.copy_(torch.cat((d_g, d_i, d_f, d_o), dim=2))
            to_cell[:, :n] = d_cell * f + d_i * peep_i + d_f * peep_f
            to_hidden[:, :n] = torch.bmm(pre, weight)
        return grad_pre, *_weight_gradients(grad_pre, out, cells), None


def _weight_gradients(grad_pre: Tensor, out: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    size = out.shape[3]
    later, earlier = grad_pre[:, 1:].flatten(1, 2), out[:, :-1].flatten(1, 2)
    weight = torch.bmm(later.transpose(1, 2), earlier)
    _, d_i, d_f, d_o = grad_pre.split(size, dim=3)
    peepholes = [
        (d_i[:, 1:] * cells[:, :-1]).sum((1, 2)),
        (d_f[:, 1:] * cells[:, :-1]).sum((1, 2)),
        (d_o * cells).sum((1, 2)),
    ]
    return weight, torch.cat((grad_pre.sum((1, 2)), *peepholes), dim=1)
