"""Product of both: a clip and a sentence, each through a layer, are multiplied and compared."""

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo.types import ModelSpec, MomentRetrieval, Settings


class ProductMomentsSettings(Settings):
    visual_dim: int = Field(default=24, ge=1)
    """Length of a clip's features, those before and after it included."""
    sentence_dim: int = Field(default=64, ge=1)
    """Length of a sentence's vector."""


class ProductMoments(nn.Module):
    def __init__(self, settings: ProductMomentsSettings) -> None:
        super().__init__()
        self.clips = nn.Linear(settings.visual_dim, 32)
        self.sentences = nn.Linear(settings.sentence_dim, 32)
        self.head = nn.Linear(32, 3)

    def forward(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """(C, visual_dim) and (S, sentence_dim) to (3, S, C): similarity, start, end."""
        product = self.clips(visual)[None] * self.sentences(sentences)[:, None]
        return self.head(product.relu()).permute(2, 0, 1)

    def pairs(self, visual: Tensor, sentences: Tensor) -> Tensor:
        """As many clips as sentences, (P, ...) each, to (P, 3)."""
        return self.head((self.clips(visual) * self.sentences(sentences)).relu())


def losses(outputs: Tensor, offsets: Tensor) -> dict[str, Tensor]:
    own = F.cross_entropy(outputs[0], torch.arange(len(offsets), device=offsets.device))
    distance = F.l1_loss(outputs[1:].diagonal(dim1=1, dim2=2).T, offsets)
    return {"loss": own + distance, "regression_loss": distance}


SPEC = ModelSpec(
    title="Product of both",
    task=MomentRetrieval(losses=losses, exports=True),
    settings=ProductMomentsSettings,
    build=ProductMoments,
)
