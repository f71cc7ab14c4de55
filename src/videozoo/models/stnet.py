"""StNet: stacked frames, a 2D ResNet and convolutions along time (He et al., arXiv:1811.01549).

He et al. "StNet: Local and Global Spatial-Temporal Modeling for Action Recognition", AAAI 2019.
Reference behaviour: PaddlePaddle/models release/1.8.

::

    T super-images, each of 5 neighbouring frames as 15 channels       (local: within a super-image)
      stem, res2, res3 ── temporal block ── res4 ── temporal block ── res5 ── mean over positions
                          3x1x1 along T             3x1x1 along T                    │
    (global: across super-images)                                                (N, 2048, T)
                                                                                     │ norm
                       ┌─────────────────────────────────────────────────────────────┤
                       │ 1                                3 depthwise, 1, norm, relu, 3 depthwise, 1
                       └───────────────────────────── + ─────────────────────────────┘
                                                      │ norm, relu, max over T, linear
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

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


class StNetSettings(Settings):
    """Architecture of StNet."""

    num_classes: int = Field(default=400, ge=1)
    """Number of classes."""
    depth: Depth = 50
    """Layers of the ResNet."""
    width: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the channels of every layer; 1 is the paper's. No layer gets fewer than 8."""
    num_segments: int = Field(default=7, ge=1, le=10_000)
    """Equal slices of the video, one super-image from each. More may be used in evaluation."""
    frames_per_segment: int = Field(default=5, ge=1, le=10_000)
    """Neighbouring frames in a super-image, stacked as channels."""


class TemporalBlock(nn.Module):
    """Let neighbouring super-images see each other: `x + norm(relu(conv(x)))`, no relu after."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels, channels, (3, 1, 1), padding=(1, 0, 0))
        self.bn = nn.BatchNorm3d(channels)
        _init_uniform(self.conv)

    def forward(self, x: Tensor, num_segments: int) -> Tensor:
        """(N*T, C, H, W) -> (N*T, C, H, W)."""
        clips = x.unflatten(0, (-1, num_segments)).transpose(1, 2)  # (N, C, T, H, W)
        clips = clips + self.bn(F.relu(self.conv(clips)))
        return clips.transpose(1, 2).flatten(0, 1)


class TemporalHead(nn.Module):
    """The "temporal Xception" block: what happens over the whole clip, from pooled features."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.bn_in = nn.BatchNorm1d(c_in)
        self.depthwise_1 = nn.Conv1d(c_in, c_in, 3, padding=1, groups=c_in)
        self.pointwise_1 = nn.Conv1d(c_in, c_out, 1)
        self.bn_mid = nn.BatchNorm1d(c_out)
        self.depthwise_2 = nn.Conv1d(c_out, c_out, 3, padding=1, groups=c_out)
        self.pointwise_2 = nn.Conv1d(c_out, c_out, 1)
        self.shortcut = nn.Conv1d(c_in, c_out, 1)
        self.bn_out = nn.BatchNorm1d(c_out)
        for layer in self.modules():
            if isinstance(layer, nn.Conv1d):
                _init_uniform(layer)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, T) -> (N, c_out)."""
        x = self.bn_in(x)
        y = self.pointwise_1(self.depthwise_1(x))  # nothing between depthwise and pointwise
        y = F.relu(self.bn_mid(y))
        y = self.pointwise_2(self.depthwise_2(y))
        return F.relu(self.bn_out(y + self.shortcut(x))).amax(dim=2)


class StNet(nn.Module):
    """Clip in, class logits out."""

    def __init__(self, settings: StNetSettings) -> None:
        super().__init__()
        self.backbone = ResNet(
            settings.depth, width=settings.width, in_channels=3 * settings.frames_per_segment
        )
        _, after_res3, after_res4, features = self.backbone.stage_channels
        self.temporal = nn.ModuleList([TemporalBlock(after_res3), TemporalBlock(after_res4)])
        self.temporal_head = TemporalHead(features, features // 2)
        # The bound of the 2019 library: from the trunk's features, not from the head's inputs.
        self.head = _resnet.classifier(features // 2, settings.num_classes, bound=features**-0.5)

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
        """What the classifier reads: (N, feature_dim), the maxima over time of the temporal head.

        Args:
            clips: As for `forward`.
        """
        num_segments = clips.shape[1]
        res2, res3, res4, res5 = self.backbone.stages
        temporal_3, temporal_4 = self.temporal

        x = res3(res2(self.backbone.stem_of(clips.flatten(0, 1))))  # (N*T, 512, H/8, W/8)
        x = res4(temporal_3(x, num_segments))  # (N*T, 1024, H/16, W/16)
        x = res5(temporal_4(x, num_segments))  # (N*T, 2048, H/32, W/32)
        features = x.mean(dim=(2, 3)).unflatten(0, (-1, num_segments))  # (N, T, 2048)
        return self.temporal_head(features.transpose(1, 2))


def _init_uniform(conv: nn.Conv1d | nn.Conv3d) -> None:
    """He's uniform initialisation, +-sqrt(6 / fan_in); no bias at first."""
    nn.init.kaiming_uniform_(conv.weight, nonlinearity="relu")
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


HEAD_NAMES = {
    "depthwise_1": "xception_att_conv",
    "pointwise_1": "xception_att_2",
    "depthwise_2": "xception_att1",
    "pointwise_2": "xception_att1_2",
    "shortcut": "xception_dw",
}
HEAD_NORM_NAMES = {"bn_in": "xception_bn", "bn_mid": "xception_bndw", "bn_out": "xception_bn2"}


def paddle_names(settings: StNetSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    names = {f"backbone.{k}": v for k, v in resnet_names.paddle_names(settings.depth).items()}
    for i, number in enumerate(_batch_norm_numbers(settings.depth)):
        names |= _conv_names(f"temporal.{i}.conv", f"conv3d_{i}")
        names |= _norm_names(f"temporal.{i}.bn", f"batch_norm_{number}")
    for ours, theirs in HEAD_NAMES.items():
        names |= _conv_names(f"temporal_head.{ours}", theirs, reshape=True)  # (..., k, 1) there
    for ours, theirs in HEAD_NORM_NAMES.items():
        names |= _norm_names(f"temporal_head.{ours}", theirs)
    return names | {
        "head.weight": PaddleName("fc_0.w_0", transpose=True),
        "head.bias": PaddleName("fc_0.b_0"),
    }


def _batch_norm_numbers(depth: int) -> tuple[int, int]:
    """Numbers of the two temporal blocks' norms, counted over every norm made before.

    >>> [_batch_norm_numbers(depth) for depth in (50, 101, 152)]
    [(24, 44), (24, 95), (36, 146)]
    """
    first = 1 + sum(resnet_names.num_batch_norms(depth, stage) for stage in (0, 1))
    return first, first + 1 + resnet_names.num_batch_norms(depth, 2)


def _conv_names(ours: str, theirs: str, *, reshape: bool = False) -> dict[str, PaddleName]:
    return {
        f"{ours}.weight": PaddleName(f"{theirs}.w_0", reshape=reshape),
        f"{ours}.bias": PaddleName(f"{theirs}.b_0"),
    }


def _norm_names(ours: str, theirs: str) -> dict[str, PaddleName]:
    return resnet_names.batch_norm_names(ours, theirs, (".w_0", ".b_0", ".w_1", ".w_2"))


def from_image_net(
    settings: StNetSettings, arrays: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """From an image ResNet, without StNet's own layers; the first convolution sees grey.

    Its kernel is averaged over the three colours, repeated for every channel of the super-image and
    divided by the frames.
    """
    kept = _resnet.parts_of(arrays, "backbone")
    if _CONV_1 in kept:
        frames = settings.frames_per_segment
        grey = kept[_CONV_1].mean(axis=1, keepdims=True) / np.float32(frames)
        kept[_CONV_1] = np.repeat(grey, 3 * frames, axis=1)
    return kept


def clip_shape(settings: StNetSettings) -> ClipShape:
    """One super-image per segment."""
    return ClipShape(
        sampling="segments",
        num_steps=settings.num_segments,
        frames_per_step=settings.frames_per_segment,
    )


SPEC = ModelSpec(
    title="StNet",
    task=Classification(
        clip_shape=clip_shape,
        features=True,
        explains=True,
        exports=True,
    ),
    settings=StNetSettings,
    build=StNet,
    resnet=ResNetStart(
        depth=lambda settings: settings.depth,
        width=lambda settings: settings.width,
        part="backbone",
        adapt=from_image_net,
    ),
    paddle=PaddleWeights(names=paddle_names),
)
