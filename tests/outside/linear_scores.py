"""Linear scores: how well a proposal fits an action, from one layer."""

from pydantic import Field
from torch import Generator, Tensor, nn

from videozoo.types import ModelSpec, ProposalScoring, Settings


class LinearScoresSettings(Settings):
    feature_dim: int = Field(default=32, ge=1)
    """Numbers that describe a proposal."""


class LinearScores(nn.Module):
    def __init__(self, settings: LinearScoresSettings) -> None:
        super().__init__()
        self.head = nn.Linear(settings.feature_dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, K, feature_dim) to scores (N, K)."""
        return self.head(features).squeeze(2).sigmoid()


def losses(scores: Tensor, tious: Tensor, mask: Tensor, generator: Generator) -> dict[str, Tensor]:
    return {"loss": (scores - tious)[mask].square().mean()}


SPEC = ModelSpec(
    title="Linear scores",
    task=ProposalScoring(losses=losses),
    settings=LinearScoresSettings,
    build=LinearScores,
)
