"""Curves of steps: where actions start, end and go on, from one convolution along time."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from videozoo.ops.boundary_targets import boundary_targets
from videozoo.ops.proposal_generation import generate_proposals
from videozoo.types import (
    Candidates,
    Localisation,
    ModelSpec,
    ProposalGeneration,
    SequenceShape,
    Settings,
    Targets,
)

CURVES = ("start", "end", "action")


class StepCurvesSettings(Settings):
    feature_dim: int = Field(default=8, ge=1)
    """Length of a step's feature vector."""
    num_steps: int = Field(default=20, ge=1)
    """Steps that a video is brought to."""


class StepCurves(nn.Module):
    def __init__(self, settings: StepCurvesSettings) -> None:
        super().__init__()
        self.conv = nn.Conv1d(settings.feature_dim, 16, 3, padding=1)
        self.head = nn.Conv1d(16, len(CURVES), 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, feature_dim, T) to probabilities (N, 3, T)."""
        return self.head(self.conv(features).relu()).sigmoid()


def targets(settings: StepCurvesSettings) -> Targets:
    def of_video(
        segments: NDArray[np.float64], labels: NDArray[np.int64], num_steps: int
    ) -> dict[str, NDArray[Any]]:
        curves = boundary_targets(segments, num_steps, width_steps=1)
        return {"curves": np.stack(curves).astype(np.float32)}

    return of_video


def losses(
    outputs: Tensor, targets: Mapping[str, Tensor], generator: Generator
) -> dict[str, Tensor]:
    return {"loss": F.binary_cross_entropy(outputs, (targets["curves"] > 0.5).float())}


def candidates(
    settings: StepCurvesSettings, outputs: Tensor, score_threshold: float
) -> list[Candidates]:
    found = [
        generate_proposals(start, end, threshold=0.5, top_k=100)
        for start, end, _ in outputs.numpy()
    ]
    return [Candidates(each.segments, each.scores) for each in found]


def sequence_shape(settings: StepCurvesSettings) -> SequenceShape:
    return SequenceShape(feature_dim=settings.feature_dim, num_steps=settings.num_steps)


def curves(outputs: Tensor) -> dict[str, Tensor]:
    return dict(zip(CURVES, torch.unbind(outputs, 1), strict=True))


SPEC = ModelSpec(
    title="Curves of steps",
    task=Localisation(
        sequence_shape=sequence_shape,
        targets=targets,
        losses=losses,
        curves=curves,
        candidates=candidates,
        decides="auc",
        proposals=lambda _settings: ProposalGeneration(),
    ),
    settings=StepCurvesSettings,
    build=StepCurves,
)
