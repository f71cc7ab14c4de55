"""From the outputs of localisers to candidates, the same for networks and for exported graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.ops.anchors import AnchorCoder
from videozoo.ops.proposal_generation import (
    decode_boundary_maps,
    described_proposals,
    generate_proposals,
)
from videozoo.types import Candidates, ProposalGeneration, SegmentDecoding

CURVES = ("start", "end", "action")
"""Names of the scores of steps from which BSN makes proposals."""


def decoded(
    outputs: Mapping[str, Tensor], decoding: SegmentDecoding, score_threshold: float
) -> list[Candidates]:
    """Candidates of each video.

    Args:
        outputs: As `decoding.form` says, on the CPU in float32.
        decoding: How.
        score_threshold: Of candidates with classes, those that score lower are left out.

    Raises:
        KeyError, ValueError, IndexError: The outputs are not such ones.
    """
    match decoding.form:
        case "boundary_maps":
            arrays = (outputs[name].numpy() for name in ("maps", "start", "end"))
            return [decode_boundary_maps(*one) for one in zip(*arrays, strict=True)]
        case "boundary_pairs":
            return _pairs(outputs["start"], outputs["end"], decoding.proposals)
        case "scored_proposals":
            return _scored(outputs)
        case "anchors":
            coder = anchor_coder(decoding.num_steps, decoding.strides)
            scores = outputs["logits"].softmax(2).numpy()
            return [
                coder.decode(*one, score_threshold=score_threshold)
                for one in zip(outputs["offsets"].numpy(), scores, strict=True)
            ]


@cache
def anchor_coder(num_steps: int, strides: tuple[int, ...]) -> AnchorCoder:
    """The anchors of one size, made once.

    Raises:
        ValueError: A stride does not divide `num_steps`.
    """
    return AnchorCoder(num_steps, strides)


def _pairs(start: Tensor, end: Tensor, options: ProposalGeneration) -> list[Candidates]:
    found = [
        generate_proposals(*one, threshold=options.threshold, top_k=options.most)
        for one in zip(start.numpy(), end.numpy(), strict=True)
    ]
    return [Candidates(each.segments, each.scores) for each in found]


def _scored(outputs: Mapping[str, Tensor]) -> list[Candidates]:
    """All proposals; the score is the product of those of start, end and the second stage."""
    scores = (outputs["boundary_scores"] * outputs["scores"]).double().numpy()
    return [
        Candidates(segments[kept], values[kept])
        for segments, values, kept in zip(
            outputs["segments"].double().numpy(), scores, outputs["mask"].numpy(), strict=True
        )
    ]


class ScoredProposals(NamedTuple):
    """The outputs of two stages for a batch."""

    curves: Tensor
    """(N, 3, T): probabilities that an action starts, ends, goes on at each step."""
    segments: Tensor
    """float64 (N, K, 2): proposals, as fractions of the video."""
    boundary_scores: Tensor
    """float64 (N, K): product of the scores of start and end."""
    scores: Tensor
    """(N, K): the tIoU with the action a proposal fits best."""
    mask: Tensor
    """bool (N, K): false in rows of padding."""


def propose_and_score(
    curves: Tensor, options: ProposalGeneration, score: Callable[[Tensor], Tensor]
) -> ScoredProposals:
    """Turn the curves of a first stage into proposals, and score them.

    The choice of proposals has no gradient.

    Args:
        curves: (N, 3, T), in the order of `CURVES`.
        options: Which proposals.
        score: The second stage: (N, K, options.feature_dim) to scores (N, K).
    """
    arrays = curves.detach().float().cpu().numpy()
    found = [described_proposals(*one, options=options, most=options.most) for one in arrays]
    proposals = [each for each, _ in found]
    dtype = torch.promote_types(curves.dtype, torch.float32)
    described_by = _padded([values for _, values in found]).to(curves.device, dtype)
    counts = torch.tensor([len(each.segments) for each in proposals], device=curves.device)
    return ScoredProposals(
        curves=curves,
        segments=_padded([each.segments for each in proposals]),
        boundary_scores=_padded([each.scores for each in proposals]),
        scores=score(described_by),
        mask=torch.arange(described_by.shape[1], device=curves.device) < counts[:, None],
    )


def _padded(arrays: Sequence[NDArray[np.float64]]) -> Tensor:
    """Pad with 0 to the longest: N of (K', ...) -> (N, K, ...)."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True)
