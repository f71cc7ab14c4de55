"""TSM: shift a few channels along time in a 2D ResNet (Lin et al., ICCV 2019, arXiv:1811.08383).

Reference behaviour: PaddlePaddle/models release/1.8 (shift within the residual branch, offline).

::

                 channels of one block's input
    frame t-1  | a a | b b | c c c c c c c c c c c |       x ──┬───────────────┐
                  ↘     ↗                                      │ shift         │ as it is
    frame t    | a a | b b | c c c c c c c c c c c |           │ 1x1, 3x3, 1x1 │
                  ↘     ↗                                      └───── + ───────┘
    frame t+1  | a a | b b | c c c c c c c c c c c |                  │ relu

A frame's branch sees 1/8 of the channels from the frame before, 1/8 from the one after. No weights
and no multiplications more than in a network for images.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from pydantic import Field
from torch import Tensor, nn

from videozoo import resnet_names
from videozoo.models import _resnet
from videozoo.models._resnet import Depth, ResNet
from videozoo.ops import DowngradeDropout, temporal_shift
from videozoo.types import (
    Classification,
    ClipShape,
    FloatArray,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    ParameterRule,
    ResNetStart,
    Settings,
)

_CONV_1 = "backbone.stem.conv.weight"


class TSMSettings(Settings):
    """Architecture of TSM."""

    num_classes: int = Field(default=400, ge=1)
    """Number of classes."""
    depth: Depth = 50
    """Layers of the ResNet."""
    width: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the channels of every layer; 1 is the paper's. No layer gets fewer than 8."""
    num_segments: int = Field(default=8, ge=1, le=10_000)
    """Frames of a clip, one per equal slice of the video."""
    frames_per_segment: int = Field(default=1, ge=1, le=10_000)
    """Neighbouring frames taken from a slice, stacked as channels."""
    shift_div: int = Field(default=8, ge=2)
    """1/shift_div of the channels look one frame back, and as many look one frame ahead."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of a frame's features dropped in training; evaluation scales by 1 - dropout."""


class TSM(nn.Module):
    """Clip in, class logits out."""

    def __init__(self, settings: TSMSettings) -> None:
        super().__init__()
        self.num_segments = settings.num_segments
        self.backbone = ResNet(
            settings.depth,
            width=settings.width,
            in_channels=3 * settings.frames_per_segment,
            branch_input=partial(
                temporal_shift, num_segments=settings.num_segments, shift_div=settings.shift_div
            ),
        )
        self.dropout = DowngradeDropout(settings.dropout)
        features = self.backbone.num_features
        self.head = _resnet.classifier(features, settings.num_classes, bound=features**-0.5)

    @property
    def feature_dim(self) -> int:
        """Length of a clip's features."""
        return self.head.in_features

    def forward(self, clips: Tensor) -> Tensor:
        """Score each clip.

        Args:
            clips: (N, num_segments, 3 * frames_per_segment, H, W), RGB, normalised.

        Returns:
            Logits (N, num_classes); no softmax.

        Raises:
            ValueError: A clip has another number of frames; neighbours would be shifted wrongly.
        """
        features = self.dropout(self._frame_features(clips))
        return self.head(features.unflatten(0, clips.shape[:2]).mean(dim=1))

    def features(self, clips: Tensor) -> Tensor:
        """What the classifier reads, before dropout: (N, feature_dim), the mean over frames.

        Args:
            clips: As for `forward`.

        Raises:
            ValueError: As `forward`.
        """
        return self._frame_features(clips).unflatten(0, clips.shape[:2]).mean(dim=1)

    def _frame_features(self, clips: Tensor) -> Tensor:
        """(N*T, 2048), the frames of a clip next to each other."""
        if clips.shape[1] != self.num_segments:
            raise ValueError(
                f"TSM: clips of shape {tuple(clips.shape)} hold {clips.shape[1]} frames, "
                f"expected num_segments={self.num_segments}"
            )
        return self.backbone(clips.flatten(0, 1))


def paddle_names(settings: TSMSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    names = {f"backbone.{k}": v for k, v in resnet_names.paddle_names(settings.depth).items()}
    return names | {
        "head.weight": PaddleName("fc_0.w_0", transpose=True),
        "head.bias": PaddleName("fc_0.b_0"),
    }


def from_image_net(
    settings: TSMSettings, arrays: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """From an image ResNet: all but its classifier, the first convolution repeated per frame."""
    kept = _resnet.parts_of(arrays, "backbone")
    if _CONV_1 in kept:
        kept[_CONV_1] = _resnet.for_stacked_frames(kept[_CONV_1], settings.frames_per_segment)
    return kept


def parameter_rules(module: nn.Module) -> dict[str, ParameterRule]:
    """The classifier's bias learns twice as fast and does not decay."""
    return {"head.bias": ParameterRule(learning_rate_factor=2.0, decay="none")}


def clip_shape(settings: TSMSettings) -> ClipShape:
    """One frame (or stack of frames) per segment."""
    return ClipShape(
        sampling="segments",
        num_steps=settings.num_segments,
        frames_per_step=settings.frames_per_segment,
    )


SPEC = ModelSpec(
    title="TSM",
    task=Classification(
        clip_shape=clip_shape,
        features=True,
        explains=True,
        exports=True,
    ),
    settings=TSMSettings,
    build=TSM,
    parameter_rules=parameter_rules,
    resnet=ResNetStart(
        depth=lambda settings: settings.depth,
        width=lambda settings: settings.width,
        part="backbone",
        adapt=from_image_net,
    ),
    paddle=PaddleWeights(names=paddle_names),
)
