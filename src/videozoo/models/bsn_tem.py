"""BSN-TEM: where actions start, end and go on, step by step (Lin et al., arXiv:1806.02964).

Lin, Zhao, Su, Wang, Yang. "BSN: Boundary Sensitive Network for Temporal Action Proposal
Generation", ECCV 2018: the temporal evaluation module. Reference behaviour: PaddlePaddle/models
release/1.8.

::

    features (N, C, T) ── conv 3, relu ── conv 3, relu ── conv 1, sigmoid ── start, end, action
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from videozoo.models._localiser import TimeConv, balanced_log_loss
from videozoo.ops.boundary_targets import boundary_targets
from videozoo.ops.segment_candidates import CURVES
from videozoo.ops.segment_decoders import decoded
from videozoo.types import (
    Candidates,
    Localisation,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    ProposalGeneration,
    SegmentDecoding,
    SegmentGraph,
    SequenceShape,
    Settings,
    Targets,
)

_LAYERS = {"base_1": "Base_1", "base_2": "Base_2", "head": "Pred"}


class BsnTemSettings(Settings):
    """Architecture of BSN's temporal evaluation module."""

    feature_dim: int = Field(default=400, ge=1)
    """Length of a step's feature vector."""
    num_steps: int = Field(default=100, ge=1, le=100_000)
    """T, steps that a video is resized to."""
    hidden_size: int = Field(default=512, ge=1)
    """Channels of the two hidden layers."""
    region_ratio: float = Field(default=0.1, ge=0, le=1000)
    """Width of the region around a start or an end that counts as positive, in lengths of the
    action; at least one step."""
    proposals: ProposalGeneration = ProposalGeneration()
    """How the curves become proposals."""


class BsnTem(nn.Module):
    """Features of a video in, three probability curves out."""

    def __init__(self, settings: BsnTemSettings) -> None:
        super().__init__()
        hidden = settings.hidden_size
        self.base_1 = TimeConv(settings.feature_dim, hidden, 3)
        self.base_2 = TimeConv(hidden, hidden, 3)
        self.head = TimeConv(hidden, len(CURVES), 1)

    def forward(self, features: Tensor) -> Tensor:
        """Score each step.

        Args:
            features: (N, feature_dim, T).

        Returns:
            Probabilities (N, 3, T) that an action starts, ends, goes on there.
        """
        x = torch.relu(self.base_1(features))
        x = torch.relu(self.base_2(x))
        return torch.sigmoid(self.head(x))


def losses(outputs: Tensor, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Losses of a batch.

    A curve without a positive step in the batch is trained on the negatives only; the 2019 library
    returned nan.

    Args:
        outputs: (N, 3, T) from the model.
        targets: start, end and action, (N, T) each: how much of the step lies in such a region,
            in [0, 1]. Above 0.5 is positive.

    Returns:
        `loss`, the sum, and one of each curve: start, end, action.
    """
    parts = {
        name: balanced_log_loss(curve, targets[name] > 0.5, extra=1)
        for name, curve in zip(CURVES, outputs.unbind(1), strict=True)
    }
    return {"loss": torch.stack(list(parts.values())).sum(), **parts}


def paddle_names(settings: BsnTemSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    return {
        f"{ours}.{key}": PaddleName(f"{theirs}.{part}")
        for ours, theirs in _LAYERS.items()
        for key, part in (("weight", "w_0"), ("bias", "b_0"))
    }


def sequence_shape(settings: BsnTemSettings) -> SequenceShape:
    """The whole video."""
    return SequenceShape(feature_dim=settings.feature_dim, num_steps=settings.num_steps)


def targets(settings: BsnTemSettings) -> Targets:
    """The three curves, as `losses` takes them."""

    def of_video(
        segments: NDArray[np.float64], labels: NDArray[np.int64], num_steps: int
    ) -> dict[str, NDArray[Any]]:
        curves = boundary_targets(
            segments, num_steps, width_steps=1, width_share=settings.region_ratio
        )
        return {name: curve.astype(np.float32) for name, curve in zip(CURVES, curves, strict=True)}

    return of_video


def candidates(
    settings: BsnTemSettings, outputs: Tensor, score_threshold: float
) -> list[Candidates]:
    """Proposals, before the second stage scores them."""
    return decoded(named(outputs), decoding(settings), score_threshold)


def named(outputs: Tensor) -> dict[str, Tensor]:
    """The curves, (N, T) each, by name."""
    return dict(zip(CURVES, outputs.unbind(1), strict=True))


def decoding(settings: BsnTemSettings) -> SegmentDecoding:
    """Pairs of a likely start and a likely end."""
    return SegmentDecoding(
        form="boundary_pairs", num_steps=settings.num_steps, proposals=settings.proposals
    )


SPEC = ModelSpec(
    title="BSN-TEM",
    task=Localisation(
        sequence_shape=sequence_shape,
        targets=targets,
        losses=lambda outputs, targets, _generator: losses(outputs, targets),
        curves=named,
        candidates=candidates,
        decides="loss",
        proposals=lambda settings: settings.proposals,
        exports=SegmentGraph(outputs=named, curves=CURVES, decoding=decoding),
    ),
    settings=BsnTemSettings,
    build=BsnTem,
    paddle=PaddleWeights(names=paddle_names),
)
