"""How a trained clip model looks at a whole video: the `eval:` and `predict:` sections."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from videozoo.types import Settings


class ClipViews(Settings):
    """Several looks at one video, their scores averaged."""

    batch_size: int = Field(default=16, ge=1)
    """Views in one forward pass. Bounds the memory, whatever the number of views a video."""
    num_clips: int = Field(default=1, ge=1)
    """Clips spread evenly over the video."""
    num_crops: Literal[1, 3, 6] = 1
    """Crops of each clip: 1 the centre; 3 along the longer side; 6 the same three and mirrored."""
    num_segments: int | None = Field(default=None, ge=1)
    """Segments a clip, where it differs from training and the model allows it (TSN, StNet)."""
    short_side: int | None = Field(default=None, ge=1)
    """Shorter side after the resize, pixels; by default that of `data`."""
    crop_size: int | None = Field(default=None, ge=1)
    """Side of the crop, pixels; by default that of `data`."""


class ClipEval(ClipViews):
    """Settings of evaluation."""


class ClipPredict(ClipViews):
    """Settings of prediction."""

    batch_size: int = Field(default=8, ge=1)
    """Views in one forward pass."""
    top_k: int = Field(default=5, ge=1)
    """Classes listed for each video."""
    inputs: Path | None = None
    """A list of videos to use when the command line names none."""
