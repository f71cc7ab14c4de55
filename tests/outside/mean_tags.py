"""Mean of features: a small network tags the mean vector of a video."""

from collections.abc import Sequence

import torch
from pydantic import Field
from torch import Tensor, nn

from videozoo.ops import frame_mask
from videozoo.types import FeatureShape, ModelSpec, Settings, Stream, Tagging


class MeanTagsSettings(Settings):
    num_classes: int = Field(default=10, ge=1)
    """Tags; a video may have several."""
    streams: tuple[Stream, ...] = (Stream(name="rgb", dim=8),)
    """Features of a video: name, dim."""


class MeanTags(nn.Module):
    def __init__(self, settings: MeanTagsSettings) -> None:
        super().__init__()
        dim = sum(stream.dim for stream in settings.streams)
        self.layers = nn.Sequential(nn.Linear(dim, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())
        self.head = nn.Linear(16, settings.num_classes)

    def forward(self, streams: Sequence[Tensor], lengths: Tensor) -> Tensor:
        mask = frame_mask(lengths, streams[0].shape[1])[:, :, None]
        means = [frames.masked_fill(~mask, 0).sum(1) / lengths[:, None] for frames in streams]
        return self.head(self.layers(torch.cat(means, dim=1)))


SPEC = ModelSpec(
    title="Mean of features",
    task=Tagging(feature_shape=lambda settings: FeatureShape(streams=settings.streams)),
    settings=MeanTagsSettings,
    build=MeanTags,
)
