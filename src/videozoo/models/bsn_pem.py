"""BSN-PEM: how well a proposal fits an action, from its features (arXiv:1806.02964).

Lin, Zhao, Su, Wang, Yang. "BSN: Boundary Sensitive Network for Temporal Action Proposal
Generation", ECCV 2018: the proposal evaluation module. Reference behaviour: PaddlePaddle/models
release/1.8.

::

    features of a proposal ── linear ── * 0.1 ── sigmoid ── score

The paper has a hidden layer. The 2019 library gives the second layer the input instead, and so do
we: published weights and numbers depend on it. The hidden layer is in every checkpoint; it is kept
as loaded, and neither computed nor trained.
"""

from __future__ import annotations

import torch
from pydantic import Field
from torch import Tensor, nn

from videozoo.models._localiser import sampled_regression_loss, uniform_draws
from videozoo.ops.frames import linear
from videozoo.types import ModelSpec, PaddleName, PaddleWeights, ProposalScoring, Settings

_SLOPE = 0.1
"""Factor on the layer's output before the sigmoid."""


class BsnPemSettings(Settings):
    """Architecture of BSN's proposal evaluation module."""

    feature_dim: int = Field(default=32, ge=1)
    """Length of a proposal's features."""
    hidden_size: int = Field(default=256, ge=1)
    """Units of the unused layer in checkpoints."""


class BsnPem(nn.Module):
    """Features of proposals in, their scores out."""

    def __init__(self, settings: BsnPemSettings) -> None:
        super().__init__()
        self.unused = linear(settings.feature_dim, settings.hidden_size, init="xavier")
        self.unused.requires_grad_(False)
        self.head = linear(settings.feature_dim, 1, init="xavier")

    def forward(self, features: Tensor) -> Tensor:
        """Score each proposal.

        Args:
            features: (N, K, feature_dim), K proposals per video.

        Returns:
            (N, K), the tIoU with the action it fits best, in [0, 1].
        """
        return torch.sigmoid(_SLOPE * self.head(features).squeeze(2))


def losses(
    scores: Tensor,
    tious: Tensor,
    *,
    mask: Tensor | None = None,
    draws: tuple[Tensor, Tensor] | None = None,
    generator: torch.Generator | None = None,
) -> dict[str, Tensor]:
    """Losses of a batch, over a random sample of its proposals.

    0 if no proposal of the batch is good (tIoU above 0.6); the 2019 library returned nan.

    Args:
        scores: (N, K) from the model.
        tious: (N, K), the tIoU of each proposal with the action it fits best, in [0, 1].
        mask: bool (N, K), False in rows of padding, which are ignored. None: no padding.
        draws: Two of uniform random numbers in [0, 1), (N, K) each; None: drawn here.
        generator: Random generator of the draws; None: the default one of the scores' device.

    Returns:
        `loss`.
    """
    if mask is not None:  # counts are then those of the shorter videos, side by side
        scores, tious = scores[mask], tious[mask]
        draws = draws if draws is None else (draws[0][mask], draws[1][mask])
    if draws is None:
        draws = uniform_draws(scores.shape, generator=generator, device=scores.device)
    loss = sampled_regression_loss(scores, tious, draws, high=0.6, middle=0.2, low_factor=2.0)
    return {"loss": loss}


def paddle_names(settings: BsnPemSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    return {
        "unused.weight": PaddleName("fc_0.w_0", transpose=True),
        "unused.bias": PaddleName("fc_0.b_0"),
        "head.weight": PaddleName("fc_1.w_0", transpose=True),
        "head.bias": PaddleName("fc_1.b_0"),
    }


SPEC = ModelSpec(
    title="BSN-PEM",
    task=ProposalScoring(
        losses=lambda scores, tious, mask, generator: losses(
            scores, tious, mask=mask, generator=generator
        ),
        exports=True,
    ),
    settings=BsnPemSettings,
    build=BsnPem,
    paddle=PaddleWeights(names=paddle_names),
)
