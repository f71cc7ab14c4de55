"""TSN: average a 2D ResNet over a few distant frames (Wang et al., ECCV 2016, arXiv:1608.00859).

Reference behaviour: PaddlePaddle/models release/1.8 (RGB stream, consensus before the classifier).

::

    video |-----s1-----|-----s2-----|-----s3-----|      num_segments equal slices
              frame        frame        frame           frames_per_segment from each
                |            |            |
              ResNet       ResNet       ResNet          one network, shared
                 \\           |           /
                  '------- mean --------'               the order of frames is not seen
                             |
                           linear
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor, nn

from videozoo import resnet_names
from videozoo.models import _resnet
from videozoo.models._resnet import Depth, ResNet
from videozoo.types import (
    Classification,
    ClipShape,
    FloatArray,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    ResNetStart,
    Settings,
)

_CONV_1 = "backbone.stem.conv.weight"


class TSNSettings(Settings):
    """Architecture of TSN."""

    num_classes: int = Field(default=400, ge=1)
    """Number of classes."""
    depth: Depth = 50
    """Layers of the ResNet."""
    width: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the channels of every layer; 1 is the paper's. No layer gets fewer than 8."""
    num_segments: int = Field(default=3, ge=1, le=10_000)
    """Equal slices of the video, one snippet from each. More may be used in evaluation."""
    frames_per_segment: int = Field(default=1, ge=1, le=10_000)
    """Neighbouring frames in a snippet, stacked as channels."""


class TSN(nn.Module):
    """Clip in, class logits out."""

    def __init__(self, settings: TSNSettings) -> None:
        super().__init__()
        self.backbone = ResNet(
            settings.depth, width=settings.width, in_channels=3 * settings.frames_per_segment
        )
        features = self.backbone.num_features
        self.head = _resnet.classifier(features, settings.num_classes, bound=features**-0.5)

    @property
    def feature_dim(self) -> int:
        """Length of a clip's features."""
        return self.head.in_features

    def forward(self, clips: Tensor) -> Tensor:
        """Score each clip.

        Args:
            clips: (N, T, 3 * frames_per_segment, H, W), RGB, normalised; any T.

        Returns:
            Logits (N, num_classes); no softmax.
        """
        return self.head(self.features(clips))

    def features(self, clips: Tensor) -> Tensor:
        """What the classifier reads: (N, feature_dim), the mean over frames and places.

        Args:
            clips: As for `forward`.
        """
        features = self.backbone(clips.flatten(0, 1))  # (N*T, 2048)
        return features.unflatten(0, clips.shape[:2]).mean(dim=1)


def paddle_names(settings: TSNSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    names = {f"backbone.{k}": v for k, v in resnet_names.paddle_names(settings.depth).items()}
    return names | {
        "head.weight": PaddleName("fc_0.w_0", transpose=True),
        "head.bias": PaddleName("fc_0.b_0"),
    }


def from_image_net(
    settings: TSNSettings, arrays: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """From an image ResNet: all but its classifier, the first convolution repeated per frame."""
    kept = _resnet.parts_of(arrays, "backbone")
    if _CONV_1 in kept:
        kept[_CONV_1] = _resnet.for_stacked_frames(kept[_CONV_1], settings.frames_per_segment)
    return kept


def clip_shape(settings: TSNSettings) -> ClipShape:
    """One snippet per segment."""
    return ClipShape(
        sampling="segments",
        num_steps=settings.num_segments,
        frames_per_step=settings.frames_per_segment,
    )


SPEC = ModelSpec(
    title="TSN",
    task=Classification(
        clip_shape=clip_shape,
        features=True,
        features_of_images=True,
        explains=True,
        exports=True,
    ),
    settings=TSNSettings,
    build=TSN,
    resnet=ResNetStart(
        depth=lambda settings: settings.depth,
        width=lambda settings: settings.width,
        part="backbone",
        adapt=from_image_net,
    ),
    paddle=PaddleWeights(names=paddle_names),
)
