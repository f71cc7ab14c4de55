"""BSN: likely starts and ends, paired to proposals, which are then scored (arXiv:1806.02964).

Lin, Zhao, Su, Wang, Yang. "BSN: Boundary Sensitive Network for Temporal Action Proposal
Generation", ECCV 2018. Both of its networks and what lies between them, in memory; each is a model
of its own too: `bsn_tem` and `bsn_pem`. Reference behaviour: PaddlePaddle/models release/1.8.

::

    features (N, C, T) ── TEM ── start, end, action ── proposals, 32 numbers each ── PEM ── scores

The stages are trained one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import model_validator
from torch import Tensor, nn

from videozoo.models import bsn_pem, bsn_tem
from videozoo.models.bsn_pem import BsnPemSettings
from videozoo.models.bsn_tem import BsnTemSettings
from videozoo.ops.proposal_generation import described_proposals
from videozoo.types import (
    Candidates,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    SequenceShape,
    Settings,
    Stage,
    TwoStageLocalisation,
)


class BSNSettings(Settings):
    """Architecture of BSN."""

    tem: BsnTemSettings = BsnTemSettings()
    """The network that scores steps, and how its curves become proposals."""
    pem: BsnPemSettings = BsnPemSettings()
    """The network that scores proposals."""

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        given, wanted = self.tem.proposals.feature_dim, self.pem.feature_dim
        if given != wanted:
            raise ValueError(
                f"pem.feature_dim is {wanted}, but tem.proposals describes a proposal by {given} "
                "numbers (num_action + num_start + num_end); make them agree"
            )
        return self


class BSNOutput(NamedTuple):
    """BSN's outputs for a batch."""

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


class BSN(nn.Module):
    """Features of a video in, scored proposals out."""

    def __init__(self, settings: BSNSettings) -> None:
        super().__init__()
        self.tem = bsn_tem.BsnTem(settings.tem)
        self.pem = bsn_pem.BsnPem(settings.pem)
        self.options = settings.tem.proposals

    def forward(self, features: Tensor) -> BSNOutput:
        """Propose and score. The choice of proposals has no gradient.

        Args:
            features: (N, feature_dim, T).
        """
        curves = self.tem(features)
        arrays = curves.detach().float().cpu().numpy()
        found = [
            described_proposals(*one, options=self.options, most=self.options.most)
            for one in arrays
        ]
        proposals = [each for each, _ in found]
        described_by = _padded([values for _, values in found]).to(features)
        counts = torch.tensor([len(each.segments) for each in proposals], device=features.device)
        return BSNOutput(
            curves=curves,
            segments=_padded([each.segments for each in proposals]),
            boundary_scores=_padded([each.scores for each in proposals]),
            scores=self.pem(described_by),
            mask=torch.arange(described_by.shape[1], device=features.device) < counts[:, None],
        )


def _padded(arrays: Sequence[NDArray[np.float64]]) -> Tensor:
    """Pad with 0 to the longest: N of (K', ...) -> (N, K, ...)."""
    tensors = [torch.from_numpy(array) for array in arrays]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True)


def candidates(
    settings: BSNSettings, outputs: BSNOutput, score_threshold: float
) -> list[Candidates]:
    """All proposals; the score is the product of those of start, end and the second stage."""
    scores = (outputs.boundary_scores * outputs.scores).double().numpy()
    return [
        Candidates(segments[kept], values[kept])
        for segments, values, kept in zip(
            outputs.segments.double().numpy(), scores, outputs.mask.numpy(), strict=True
        )
    ]


def paddle_names(settings: BSNSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names, which stand in two files there."""
    stages = {
        "tem": bsn_tem.paddle_names(settings.tem),
        "pem": bsn_pem.paddle_names(settings.pem),
    }
    return {
        f"{stage}.{key}": name for stage, names in stages.items() for key, name in names.items()
    }


def sequence_shape(settings: BSNSettings) -> SequenceShape:
    """The whole video."""
    return bsn_tem.sequence_shape(settings.tem)


SPEC = ModelSpec(
    title="BSN",
    task=TwoStageLocalisation(
        first=Stage(model="bsn_tem", part="tem"),
        second=Stage(model="bsn_pem", part="pem"),
        sequence_shape=sequence_shape,
        targets=lambda settings: bsn_tem.targets(settings.tem),
        losses=lambda outputs, targets, _generator: bsn_tem.losses(outputs.curves, targets),
        curves=lambda outputs: dict(zip(bsn_tem.CURVES, outputs.curves.unbind(1), strict=True)),
        candidates=candidates,
        decides="auc",
    ),
    settings=BSNSettings,
    build=BSN,
    paddle=PaddleWeights(names=paddle_names),
)
