"""Mean of frames: one convolution sees all frames of a clip at once."""

import torch
from pydantic import Field
from torch import Tensor, nn

from videozoo.types import Classification, ClipShape, ModelSpec, Settings


class MeanFramesSettings(Settings):
    num_classes: int = Field(default=10, ge=1)
    """Classes to tell apart."""
    num_frames: int = Field(default=4, ge=1)
    """Frames of a clip."""


class MeanFrames(nn.Module):
    def __init__(self, settings: MeanFramesSettings) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 7, stride=4)
        self.head = nn.Linear(16, settings.num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        """(N, T, 3, H, W), RGB, normalised, to logits (N, num_classes)."""
        x = torch.relu(self.conv(clips.mean(dim=1)))
        return self.head(x.mean(dim=(2, 3)))


def clip_shape(settings: MeanFramesSettings) -> ClipShape:
    return ClipShape(sampling="segments", num_steps=settings.num_frames)


SPEC = ModelSpec(
    title="Mean of frames",
    task=Classification(clip_shape=clip_shape, exports=True),
    settings=MeanFramesSettings,
    build=MeanFrames,
)
