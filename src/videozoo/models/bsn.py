"""BSN: likely starts and ends, paired to proposals, which are then scored (arXiv:1806.02964).

Lin, Zhao, Su, Wang, Yang. "BSN: Boundary Sensitive Network for Temporal Action Proposal
Generation", ECCV 2018. Both of its networks and what lies between them, in memory; each is a model
of its own too: `bsn_tem` and `bsn_pem`. Reference behaviour: PaddlePaddle/models release/1.8.

::

    features (N, C, T) ── TEM ── start, end, action ── proposals, 32 numbers each ── PEM ── scores

The stages are trained one after the other.
"""

from __future__ import annotations

from typing import Self

from pydantic import model_validator
from torch import Tensor, nn

from videozoo.models import bsn_pem, bsn_tem
from videozoo.models.bsn_pem import BsnPemSettings
from videozoo.models.bsn_tem import BsnTemSettings
from videozoo.ops.segment_candidates import CURVES
from videozoo.ops.segment_decoders import ScoredProposals, decoded, propose_and_score
from videozoo.types import (
    Candidates,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    SegmentDecoding,
    SegmentGraph,
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


class BSN(nn.Module):
    """Features of a video in, scored proposals out."""

    def __init__(self, settings: BSNSettings) -> None:
        super().__init__()
        self.tem = bsn_tem.BsnTem(settings.tem)
        self.pem = bsn_pem.BsnPem(settings.pem)
        self.options = settings.tem.proposals

    def forward(self, features: Tensor) -> ScoredProposals:
        """Propose and score. The choice of proposals has no gradient.

        Args:
            features: (N, feature_dim, T).
        """
        return propose_and_score(self.tem(features), self.options, self.pem)


def candidates(
    settings: BSNSettings, outputs: ScoredProposals, score_threshold: float
) -> list[Candidates]:
    """All proposals; the score is the product of those of start, end and the second stage."""
    return decoded(outputs._asdict(), decoding(settings), score_threshold)


def decoding(settings: BSNSettings) -> SegmentDecoding:
    """The proposals of the first stage, as the second scores them."""
    return SegmentDecoding(
        form="scored_proposals",
        num_steps=settings.tem.num_steps,
        proposals=settings.tem.proposals,
    )


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
        curves=lambda outputs: bsn_tem.named(outputs.curves),
        candidates=candidates,
        decides="auc",
        exports=SegmentGraph(outputs=bsn_tem.named, curves=CURVES, decoding=decoding),
    ),
    settings=BSNSettings,
    build=BSN,
    paddle=PaddleWeights(names=paddle_names),
)
