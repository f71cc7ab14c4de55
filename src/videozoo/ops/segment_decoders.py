"""From the outputs of localisers to candidates, the same for networks and for exported graphs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.ops.proposal_generation import described_proposals
from videozoo.ops.segment_candidates import candidates_of
from videozoo.types import Candidates, ProposalGeneration, SegmentDecoding


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
    if decoding.form == "anchors":
        probabilities = outputs["logits"].softmax(2).numpy()
        arrays = {"offsets": outputs["offsets"].numpy(), "probabilities": probabilities}
    else:
        arrays = {name: each.numpy() for name, each in outputs.items()}
    return candidates_of(arrays, decoding, score_threshold)


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
