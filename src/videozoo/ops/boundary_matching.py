"""Boundary matching: Lin et al., BMN, ICCV 2019, arXiv:1907.09702, section 3.2.

A proposal is a start s and a duration d, in steps of the sequence. Features are sampled at S
points along it and half as far beyond either end, and a convolution as long as S turns the samples
into one vector. In the paper the samples of every proposal are a product with a matrix of
T x (S * D * T) weights, 128 MB of which 1.5 % are not zero, and fill a tensor of (C, S, D, T).

Both steps are linear, so their order may be changed, and nothing of that size is ever made::

    y[n, t, o]   = sum over c of     weight[o, c, n] * features[c, t]      T columns, not D * T
    out[d, s, o] = sum over n, t of  sampling[(d, s), (n, t)] * y[n, t, o]

The second sum picks some rows of a table and adds them up by weights: an embedding bag, whose
kernels read only what is not zero. Cells whose proposal ends past the sequence (s + d >= T) are
not computed: there the result is the bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_BLOCK = 10
"""Starts and durations of a block."""
_COLUMNS = 128
"""Outputs computed at once on a CPU, so that repeated reads stay in its cache."""


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Sparse weights of the steps in each sample of each proposal."""

    cells: NDArray[np.int64]
    """(P,), d * T + s of the proposals inside the sequence, ascending."""
    rows: NDArray[np.int64]
    """(nnz,), ascending: place in `cells`."""
    columns: NDArray[np.int64]
    """(nnz,): step * S + sample."""
    weights: NDArray[np.float64]
    """(nnz,)."""


def proposal_sampling(
    num_steps: int,
    num_durations: int,
    *,
    num_samples: int,
    samples_per_bin: int,
    boundary_ratio: float,
) -> Sampling:
    """Compute where every proposal is sampled.

    Proposal (s, d) covers s to s + d, of length d + 1. From `boundary_ratio` lengths before it to
    as much after it lie num_samples * samples_per_bin points at equal distances, and a sample is
    the mean of `samples_per_bin` neighbours. A point between two steps interpolates them; points
    outside the sequence count as zeros.

    Args:
        num_steps: T.
        num_durations: D.
        num_samples: S.
        samples_per_bin: Points per sample.
        boundary_ratio: How far beyond the ends, in lengths of the proposal.

    Source:
        PaddlePaddle/models release/1.8. A point between -1 and 0 is rounded towards zero there
        and counts as one at 0, in full; one before -1 does not count.

    >>> one = proposal_sampling(3, 1, num_samples=1, samples_per_bin=2, boundary_ratio=0.5)
    >>> one.rows.tolist(), one.columns.tolist(), one.weights.tolist()  # at s - 0.5 and s + 0.5
    ([0, 0, 1, 1, 1, 2, 2], [0, 1, 0, 1, 2, 1, 2], [0.75, 0.25, 0.25, 0.5, 0.25, 0.25, 0.5])
    """
    points = num_samples * samples_per_bin
    durations, starts = np.nonzero(
        np.arange(num_durations)[:, None] + np.arange(num_steps) < num_steps
    )
    beyond = (durations + 1.0) * boundary_ratio
    low, high = starts - beyond, starts + durations + beyond
    distance = (high - low) / (points - 1)
    at = low[:, None] + distance[:, None] * np.arange(points)  # (P, points)
    share, before = np.modf(at)
    keys, weights = list[NDArray[np.int64]](), list[NDArray[np.float64]]()
    place = np.arange(len(starts))[:, None] * num_steps
    for step, weight in ((before, 1 - share), (np.ceil(at), share)):
        counts = (step >= 0) & (step < num_steps) & (weight != 0)
        key = (place + step.astype(np.int64)) * num_samples + np.arange(points) // samples_per_bin
        keys.append(key[counts])
        weights.append(weight[counts])
    key, weight = np.concatenate(keys), np.concatenate(weights)
    order = np.argsort(key, kind="stable")
    key, weight = key[order], weight[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    rows, columns = np.divmod(key[first], num_steps * num_samples)
    return Sampling(
        cells=durations * num_steps + starts,
        rows=rows,
        columns=columns,
        weights=np.add.reduceat(weight, first) / samples_per_bin,
    )


class SamplingBlocks(NamedTuple):
    """The matrix of a `Sampling`, (P, T * S), as B dense blocks of at most R rows, K columns."""

    columns: NDArray[np.int64]
    """(B, K): which columns of the matrix; 0 where a block has fewer."""
    matrices: NDArray[np.float32]
    """(B, R, K); zeros where a block has fewer rows or columns."""
    places: NDArray[np.int64]
    """(P,): where each proposal is among the B * R rows."""


def sampling_blocks(sampling: Sampling, num_steps: int, num_samples: int) -> SamplingBlocks:
    """Cut a matrix, nearly all zeros, into blocks of proposals with near starts and durations.

    They read the same few columns: with T = D = 100 and S = 32, each of 55 blocks reads 585 of
    3,200 or fewer, so that the products are a fifth of those with the whole matrix.

    Args:
        sampling: From `proposal_sampling`.
        num_steps: T.
        num_samples: S.
    """
    width = num_steps * num_samples
    durations, starts = np.divmod(sampling.cells, num_steps)
    near = durations // _BLOCK * num_steps + starts // _BLOCK
    _, block, sizes = np.unique(near, return_inverse=True, return_counts=True)
    row = _places_within(block, sizes)
    key = block[sampling.rows] * width + sampling.columns
    reads, entry = np.unique(key, return_inverse=True)
    of_block, read = np.divmod(reads, width)
    counts = np.bincount(of_block, minlength=len(sizes))
    column = _places_within(of_block, counts)
    columns = np.zeros((len(sizes), counts.max()), dtype=np.int64)
    columns[of_block, column] = read
    matrices = np.zeros((len(sizes), sizes.max(), counts.max()), dtype=np.float32)
    matrices[block[sampling.rows], row[sampling.rows], column[entry]] = sampling.weights
    return SamplingBlocks(columns, matrices, block * sizes.max() + row)


def _places_within(groups: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many members of its group come before each, in order."""
    order = np.argsort(groups, kind="stable")
    places = np.empty_like(order)
    places[order] = np.arange(len(groups)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return places


class BoundaryMatching(nn.Module):
    """One vector per proposal, from S samples of the sequence around it.

    Equals, up to rounding, sampling every proposal to (N, C, S, D, T) and a 3D convolution with a
    kernel of (S, 1, 1). No parameters: the convolution's are passed in.

    Args:
        num_steps: T.
        num_durations: D.
        num_samples: S.
        samples_per_bin: See `proposal_sampling`.
        boundary_ratio: See `proposal_sampling`.
    """

    cells: Tensor
    """int64 (P,): d * T + s of the proposals inside the sequence."""
    rows: Tensor
    columns: Tensor
    weights: Tensor
    offsets: Tensor
    mirrored_rows: Tensor
    mirrored_weights: Tensor
    mirrored_offsets: Tensor

    def __init__(
        self,
        num_steps: int,
        num_durations: int,
        *,
        num_samples: int,
        samples_per_bin: int,
        boundary_ratio: float,
    ) -> None:
        super().__init__()
        self.num_steps, self.num_durations = num_steps, num_durations
        self.num_samples = num_samples
        self._sampling = partial(
            proposal_sampling,
            num_steps,
            num_durations,
            num_samples=num_samples,
            samples_per_bin=samples_per_bin,
            boundary_ratio=boundary_ratio,
        )
        sampling = self._sampling()
        mirrored = np.argsort(sampling.columns, kind="stable")
        for name, array in {
            "cells": sampling.cells,
            "rows": sampling.rows,
            "columns": sampling.columns.astype(np.int32),
            "weights": sampling.weights.astype(np.float32),
            "offsets": _offsets(sampling.rows, len(sampling.cells)),
            "mirrored_rows": sampling.rows[mirrored].astype(np.int32),
            "mirrored_weights": sampling.weights[mirrored].astype(np.float32),
            "mirrored_offsets": _offsets(sampling.columns, num_steps * num_samples),
        }.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def forward(self, features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Match features with every proposal.

        Args:
            features: (N, C, T).
            weight: (O, C, S).
            bias: (O,).

        Returns:
            (N, P, O), of the proposals inside the sequence, in the order of `cells`; elsewhere the
            result is `bias`. float64 where `features` is, else float32.

        Raises:
            ValueError: Another T or S than the module was made for.
        """
        if features.shape[2] != self.num_steps or weight.shape[2] != self.num_samples:
            raise ValueError(
                f"boundary matching: {features.shape[2]} steps and {weight.shape[2]} samples, "
                f"expected {self.num_steps} and {self.num_samples}"
            )
        with torch.autocast(features.device.type, enabled=False):  # sums of about a hundred values
            dtype = features.dtype if features.dtype == torch.float64 else torch.float32
            features, weight, bias = (x.to(dtype) for x in (features, weight, bias))
            if is_exporting():
                return self._in_blocks(features, weight) + bias
            there = self.columns, self.offsets, self.weights.to(dtype)
            back = self.mirrored_rows, self.mirrored_offsets, self.mirrored_weights.to(dtype)
            return _Match.apply(features, weight, bias, there, back)  # pyright: ignore[reportReturnType]

    def _in_blocks(self, features: Tensor, weight: Tensor) -> Tensor:
        """The same with dense products, which exports support: one per block of proposals."""
        blocks = sampling_blocks(self._sampling(), self.num_steps, self.num_samples)
        columns, matrices, places = map(torch.from_numpy, blocks)
        parts: list[Tensor] = []
        for _, kernel in _kernels(weight):
            table = features.transpose(1, 2) @ kernel.flatten(1)  # (N, T, S * O')
            table = table.unflatten(2, (-1, kernel.shape[2])).flatten(1, 2)
            read = table.index_select(1, columns.flatten()).unflatten(1, columns.shape)
            found = matrices.to(table.dtype) @ read  # (N, B, R, O')
            parts.append(found.flatten(1, 2).index_select(1, places))
        return torch.cat(parts, dim=2)


def is_exporting() -> bool:
    """Whether a graph is being recorded for export, which supports common operations only."""
    return torch.compiler.is_exporting() or torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]


def _offsets(rows: NDArray[np.int64], size: int) -> NDArray[np.int32]:
    """Where each row starts once entries are sorted by row, and the end."""
    counts = np.bincount(rows, minlength=size)
    return np.concatenate(([0], np.cumsum(counts))).astype(np.int32)


_Bags = tuple[Tensor, Tensor, Tensor]
"""Which rows of a table are added up, where each bag of them starts, their weights."""


class _Match(torch.autograd.Function):
    """Some outputs at a time, one video after another; backwards the transposed matrix is used."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, bias: Tensor, there: _Bags, back: _Bags
    ) -> Tensor:
        """(N, C, T), (O, C, S), (O,) -> (N, P, O)."""
        ctx.save_for_backward(features, weight, *back)
        out = features.new_empty(len(features), len(there[1]) - 1, len(weight))
        for part, kernel in _kernels(weight):
            for video, matched in zip(features, out, strict=True):
                table = video.t() @ kernel.flatten(1)  # (T, S * O')
                bags = _added_up(table.view(-1, kernel.shape[2]), there)
                torch.add(bags, bias[part], out=matched[:, part])
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """From the gradient of y, which is as small as y, to those of both factors."""
        features, weight, *back = ctx.saved_tensors
        wants_features, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        (d_out,) = grad_outputs
        d_features = torch.zeros_like(features) if wants_features else None
        d_weight = torch.empty_like(weight) if wants_weight else None
        for part, kernel in _kernels(weight) if wants_features or wants_weight else ():
            d_kernel = torch.zeros_like(kernel.flatten(1))
            for i, video in enumerate(features):
                d_table = _added_up(d_out[i, :, part].contiguous(), tuple(back))
                d_table = d_table.view(video.shape[1], -1)  # (T, S * O')
                if d_features is not None:
                    d_features[i].addmm_(kernel.flatten(1), d_table.t())
                if d_weight is not None:
                    d_kernel.addmm_(video, d_table)
            if d_weight is not None:
                d_weight[part] = d_kernel.view_as(kernel).permute(2, 0, 1)
        return d_features, d_weight, d_out.sum((0, 1)) if wants_bias else None, None, None


def _kernels(weight: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Cut (O, C, S) into parts of O' outputs, (C, S, O') each."""
    step = _COLUMNS if weight.device.type == "cpu" else len(weight)
    for start in range(0, len(weight), step):
        part = slice(start, start + step)
        yield part, weight[part].permute(1, 2, 0).contiguous()


_REACH = 2
"""3x3 convolutions one after another that a `ProposalMap` is good for."""


class ProposalMap(nn.Module):
    """3x3 convolutions over the map of proposals that compute repeated cells once.

    Cells without a proposal all start with the same vector. After two convolutions, only cells near
    a proposal or at the map's edges differ from the others. One cell of each kind is enough: 5,449
    cells of a map of 100 x 100, of which 5,050 are proposals. Values and gradients equal those of
    the whole map up to rounding.

    Args:
        num_steps: T.
        num_durations: D.
    """

    own: Tensor
    """int64 (Q,): cells that are computed, the P proposals first."""
    kind: Tensor
    """int64 (D * T,): place in `own` of the cell that stands for each one."""
    neighbours: Tensor
    """int32 (Q * 9,): places in `own` of the 3x3 cells round each; Q beyond the edges."""
    mirrored: Tensor
    mirrored_offsets: Tensor

    def __init__(self, num_steps: int, num_durations: int) -> None:
        super().__init__()
        self.num_steps, self.num_durations = num_steps, num_durations
        shape = num_durations, num_steps
        d, s = np.indices(shape)
        is_proposal = d + s < num_steps
        distances = d, num_durations - 1 - d, s, num_steps - 1 - s
        key = np.stack([np.minimum(distance, _REACH) for distance in distances])
        alike = np.ravel_multi_index(tuple(key), (_REACH + 1,) * 4)
        # a step towards the proposals lowers s + d by at most 2
        is_near = d + s < num_steps + 2 * _REACH
        alike = np.where(is_near, d * num_steps + s + alike.max() + 1, alike)
        alike = np.where(is_proposal, -1 - np.arange(d.size)[::-1].reshape(shape), alike)
        _, own, kind = np.unique(alike, return_index=True, return_inverse=True)
        kind = kind.reshape(shape)
        padded = np.pad(kind, 1, constant_values=len(own))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3))
        neighbours = windows.reshape(-1, 9)[own].ravel()
        inside = np.flatnonzero(neighbours < len(own))
        for name, array in {
            "own": own,
            "kind": kind.ravel(),
            "neighbours": neighbours.astype(np.int32),
            "mirrored": inside[np.argsort(neighbours[inside], kind="stable")].astype(np.int32),
            "mirrored_offsets": _offsets(neighbours[inside], len(own)),
        }.items():
            self.register_buffer(name, torch.from_numpy(array), persistent=False)

    def fill(self, proposals: Tensor, outside: Tensor) -> Tensor:
        """Begin a map: (N, P, C) of proposals and (C,) of all other cells -> (N, Q, C)."""
        rest = len(self.own) - proposals.shape[1]
        others = outside.to(proposals.dtype).expand(proposals.shape[0], rest, -1)
        return torch.cat((proposals, others), dim=1)

    def convolve(self, x: Tensor, conv: nn.Conv2d) -> Tensor:
        """Apply a 3x3 convolution with a padding of 1: (N, Q, C) -> (N, Q, O)."""
        device, bias = x.device.type, conv.bias
        assert bias is not None
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
        with torch.autocast(device, enabled=False):
            weight = conv.weight.flatten(2).permute(2, 1, 0).flatten(0, 1)  # (9 * C, O)
            x, weight, bias = (array.to(dtype) for array in (x, weight, bias))
            if is_exporting():
                return F.linear(_side_by_side(x, self.neighbours), weight.t(), bias)
            back = self.mirrored, self.mirrored_offsets
            return _CellConv.apply(x, weight, bias, self.neighbours, back)  # pyright: ignore[reportReturnType]

    def whole(self, x: Tensor) -> Tensor:
        """Lay the map out: (N, Q, C) -> (N, C, D, T)."""
        shape = self.num_durations, self.num_steps
        return x.transpose(1, 2).index_select(2, self.kind).unflatten(2, shape)


class _CellConv(torch.autograd.Function):
    """A matrix product with each cell's 3x3 neighbours side by side, video after video."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        neighbours: Tensor,
        back: tuple[Tensor, Tensor],
    ) -> Tensor:
        """(N, Q, C), (9 * C, O), (O,) -> (N, Q, O)."""
        ctx.save_for_backward(x, weight, neighbours, *back)
        out = x.new_empty(*x.shape[:2], weight.shape[1])
        for video, convolved in zip(x, out, strict=True):
            torch.addmm(bias, _side_by_side(video, neighbours), weight, out=convolved)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Neighbours are laid out again: cheaper than to keep nine times the input."""
        x, weight, neighbours, mirrored, offsets = ctx.saved_tensors
        (d_out,) = grad_outputs
        wants_x, wants_weight, wants_bias = ctx.needs_input_grad[:3]
        d_x = torch.empty_like(x) if wants_x else None
        d_weight = torch.zeros_like(weight) if wants_weight else None
        for i, d_video in enumerate(d_out):
            if d_weight is not None:
                d_weight.addmm_(_side_by_side(x[i], neighbours).t(), d_video)
            if d_x is not None:
                d_parts = (d_video @ weight.t()).view(-1, x.shape[2])  # (Q * 9, C)
                exact = d_parts if d_parts.dtype == torch.float64 else d_parts.float()
                d_x[i] = F.embedding_bag(
                    mirrored, exact, offsets, mode="sum", include_last_offset=True
                )
        return d_x, d_weight, d_out.sum((0, 1)) if wants_bias else None, None, None


def _side_by_side(x: Tensor, neighbours: Tensor) -> Tensor:
    """(..., Q, C) -> (..., Q, 9 * C), zeros beyond the edges."""
    laid_out = F.pad(x, (0, 0, 0, 1)).index_select(-2, neighbours)
    return laid_out.unflatten(-2, (x.shape[-2], -1)).flatten(-2)


def _added_up(table: Tensor, bags: _Bags) -> Tensor:
    rows, offsets, weights = bags
    return F.embedding_bag(
        rows, table, offsets, mode="sum", per_sample_weights=weights, include_last_offset=True
    )
