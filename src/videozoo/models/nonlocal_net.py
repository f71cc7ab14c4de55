"""Non-local: every place in a clip looks at all others (Wang et al., CVPR 2018, arXiv:1711.07971).

A 3D ResNet with a few attention blocks in its third and fourth stage. Reference behaviour:
PaddlePaddle/models release/1.8, `video_arc_choice` 1 and 3 (here `temporal_convs: false`, "C2D")
and 2 and 4 (`temporal_convs: true`, "I3D").

::

    (N, T, 3, H, W)                       non-local block, x (N, C, T, H, W)
      7x7 / 2, max pool 3x3 / 2
      res2, max pool over frame pairs      x ─┬─ theta ──────────────────┐
      res3 with non-local blocks              │                     softmax(theta . phi / sqrt(C/2))
      res4 with non-local blocks              ├─ max pool 2x2 ┬─ phi ────┘        │
      res5                                    │               └─ g ─────────── weighted sum
      mean over T/2 x 7 x 7                   │                                   │ out, norm
      dropout, linear                         └───────────────────────────────────+

Larger crops than 224, or longer clips, end in several positions. Each gives its own softmax, and
the score of a clip is their mean ("fully convolutional" evaluation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Self

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo import resnet_names
from videozoo.models._resnet import Residual, scaled
from videozoo.ops import DowngradeDropout
from videozoo.resnet_names import BLOCKS, has_projection, is_bottleneck
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

GROUP_SIZE = 4
"""Frames that attend to each other in res3 if `use_affine` is set; the 2019 library saved memory
so."""


class NonLocalSettings(Settings):
    """Architecture of the Non-local network."""

    num_classes: int = Field(default=400, ge=1)
    """Number of classes."""
    depth: Literal[18, 34, 50, 101] = 50
    """Layers of the ResNet."""
    width: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the channels of every layer; 1 is the paper's. No layer gets fewer than 8."""
    temporal_convs: bool = False
    """True: convolutions along time as well ("I3D"). False: only the attention and the pools see
    time ("C2D")."""
    num_frames: int = Field(default=8, ge=2, le=10_000)
    """Frames of a clip. Longer clips may be used in evaluation."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the features dropped in training; evaluation scales by 1 - dropout."""
    num_groups: int = Field(default=1, ge=1)
    """Groups of the 3x3 convolutions (as in ResNeXt); depths 50 and 101."""
    width_per_group: int = Field(default=64, ge=1)
    """Channels of each group in res2, doubled at every stage; depths 50 and 101."""
    use_affine: bool = False
    """A trained scale and offset per channel instead of each batch norm, and non-local blocks in
    res3 that look at 4 frames only."""
    bn_epsilon: float = Field(default=1e-5, gt=0)
    """Added to variances."""
    bn_momentum: float = Field(default=0.9, ge=0, le=1)
    """Share of the old running statistics kept at each step."""
    bn_init_gamma: float = 0.0
    """First scale of the last norm of a block; 0 lets every block start as the identity."""
    fc_init_std: float = Field(default=0.01, gt=0)
    """Standard deviation of the classifier's first weights."""

    nonlocal_res3: bool = True
    """Non-local blocks in res3."""
    nonlocal_res4: bool = True
    """Non-local blocks in res4."""
    nonlocal_mod: int = Field(default=2, ge=1)
    """Residual blocks per non-local block. Depth 101 always has 2 in res3, and 4 times as many
    minus 1 in res4."""
    nonlocal_bias: bool = True
    """Biases in the four convolutions of a non-local block."""
    nonlocal_maxpool: bool = True
    """Look at every second row and column only (their 2x2 maxima)."""
    nonlocal_scale: bool = True
    """Divide the affinities by the root of their number of channels."""
    nonlocal_bn: bool = True
    """End a block with a batch norm."""
    nonlocal_affine: bool = False
    """End a block with a trained scale and offset (after the batch norm, if both are set)."""
    nonlocal_init_std: float = Field(default=0.01, ge=0)
    """Standard deviation of the convolutions' first weights."""
    nonlocal_zero_init: bool = False
    """Start the last convolution at 0."""
    nonlocal_bn_epsilon: float = Field(default=1e-5, gt=0)
    """As `bn_epsilon`, within non-local blocks."""
    nonlocal_bn_momentum: float = Field(default=0.9, ge=0, le=1)
    """As `bn_momentum`, within non-local blocks."""
    nonlocal_bn_gamma: float = 0.0
    """First scale of a block's batch norm; 0 lets it start as the identity."""

    @model_validator(mode="after")
    def _groups_fit(self) -> Self:
        steps = self.num_frames // 2
        if self.use_affine and self.nonlocal_res3 and steps % GROUP_SIZE:
            raise ValueError(
                f"num_frames: {self.num_frames} leaves {steps} time steps in res3, and with "
                f"use_affine its non-local blocks look at {GROUP_SIZE} at a time; "
                f"expected a multiple of {2 * GROUP_SIZE}"
            )
        if self.num_groups > 1 and not is_bottleneck(self.depth):
            raise ValueError(f"num_groups: depth {self.depth} has no grouped convolutions, set 1")
        if is_bottleneck(self.depth) and _inner_channels(self) % self.num_groups:
            raise ValueError(
                f"width: {_inner_channels(self)} channels do not divide into "
                f"{self.num_groups} groups"
            )
        return self


class Affine(nn.Module):
    """A trained scale and offset per channel, without statistics."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, T, H, W) -> the same shape."""
        shape = (-1, 1, 1, 1)
        return torch.addcmul(self.bias.view(shape), x, self.weight.view(shape))


class ConvNorm(nn.Module):
    """3D convolution without bias, then batch norm or `Affine`."""

    folds = (("conv", "bn"),)

    def __init__(
        self,
        settings: NonLocalSettings,
        c_in: int,
        c_out: int,
        kernel: tuple[int, int, int],
        *,
        stride: int = 1,
        groups: int = 1,
        gamma: float = 1.0,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(
            c_in,
            c_out,
            kernel,
            (1, stride, stride),
            padding=(kernel[0] // 2, kernel[1] // 2, kernel[2] // 2),
            groups=groups,
            bias=False,
        )
        nn.init.kaiming_uniform_(self.conv.weight, nonlinearity="relu")  # +-sqrt(6 / fan_in)
        self.bn = Affine(c_out) if settings.use_affine else _batch_norm(settings, c_out, gamma)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, T, H, W) -> (N, c_out, T, H/stride, W/stride)."""
        return self.bn(self.conv(x))


class NonLocal(nn.Module):
    """`x + norm(out(softmax(theta(x) . phi(x)) g(x)))`; no relu after.

    Args:
        channels: Of `x`; half of them inside.
        settings: The `nonlocal_...` ones.
        group_size: Frames that see each other; None: all of the clip.
    """

    folds = (("out", "bn"),)

    def __init__(
        self, channels: int, settings: NonLocalSettings, group_size: int | None = None
    ) -> None:
        super().__init__()
        inner, bias = max(1, channels // 2), settings.nonlocal_bias
        self.group_size = group_size
        self.look_at = nn.MaxPool3d((1, 2, 2)) if settings.nonlocal_maxpool else nn.Identity()
        self.scale = inner**-0.5 if settings.nonlocal_scale else 1.0
        self.theta = nn.Conv3d(channels, inner, 1, bias=bias)
        self.phi = nn.Conv3d(channels, inner, 1, bias=bias)
        self.g = nn.Conv3d(channels, inner, 1, bias=bias)
        self.out = nn.Conv3d(inner, channels, 1, bias=bias)
        self.bn = _nonlocal_norm(settings, channels) if settings.nonlocal_bn else nn.Identity()
        self.affine = Affine(channels) if settings.nonlocal_affine else nn.Identity()

        for conv in (self.theta, self.phi, self.g, self.out):
            nn.init.normal_(conv.weight, std=settings.nonlocal_init_std)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        if settings.nonlocal_zero_init:
            nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, H, W) -> (N, C, T, H, W)."""
        num_clips, num_frames = x.shape[0], x.shape[2]
        if self.group_size is None or self.group_size == num_frames:
            return self._attend(x)
        if num_frames % self.group_size:
            raise ValueError(
                f"Non-local: {num_frames} time steps do not divide into groups of {self.group_size}"
            )
        groups = x.unflatten(2, (-1, self.group_size)).transpose(1, 2)  # (N, G, C, 4, H, W)
        groups = self._attend(groups.flatten(0, 1)).unflatten(0, (num_clips, -1))
        return groups.transpose(1, 2).flatten(2, 3)

    def _attend(self, x: Tensor) -> Tensor:
        seen = self.look_at(x)
        queries = self.theta(x)  # (N, C/2, T, H, W)
        # (N, 1, places, C/2): one attention head, a place is a position of a frame
        query, key, value = (
            y.flatten(2).transpose(1, 2).unsqueeze(1)
            for y in (queries, self.phi(seen), self.g(seen))
        )
        y = F.scaled_dot_product_attention(query, key, value, scale=self.scale)
        y = y.squeeze(1).transpose(1, 2).unflatten(2, queries.shape[2:])  # (N, C/2, T, H, W)
        return x + self.affine(self.bn(self.out(y)))


class NonLocalNet(nn.Module):
    """Clip in, class logits out."""

    def __init__(self, settings: NonLocalSettings) -> None:
        super().__init__()
        self.pool_steps = settings.num_frames // 2
        c_in = scaled(64, settings.width)
        stem_kernel = (_kernel_length(settings, None, 0), 7, 7)
        self.stem = ConvNorm(settings, 3, c_in, stem_kernel, stride=2)
        self.stages = nn.ModuleList()
        self.nonlocal_blocks = nn.ModuleDict()
        for stage, num_blocks in enumerate(BLOCKS[settings.depth]):
            blocks = list[nn.Module]()
            for block in range(num_blocks):
                residual, c_in = _residual(settings, c_in, stage, block)
                blocks.append(residual)
                if _has_nonlocal(settings, stage, block):
                    grouped = settings.use_affine and stage == 1
                    self.nonlocal_blocks[_place(stage, block)] = NonLocal(
                        c_in, settings, GROUP_SIZE if grouped else None
                    )
            self.stages.append(nn.Sequential(*blocks))
        self.dropout = DowngradeDropout(settings.dropout)
        self.head = nn.Linear(c_in, settings.num_classes)
        nn.init.normal_(self.head.weight, std=settings.fc_init_std)
        nn.init.zeros_(self.head.bias)

    @property
    def feature_dim(self) -> int:
        """Length of a clip's features."""
        return self.head.in_features

    def forward(self, clips: Tensor) -> Tensor:
        """Score each clip.

        Args:
            clips: (N, T, 3, H, W), RGB, normalised; T is at least `num_frames`, H and W at least 32
                where non-local blocks pool.

        Returns:
            (N, num_classes). Softmax turns them into scores: the mean over positions of each
            position's softmax.
        """
        logits = self.position_logits(clips)
        positions = logits.shape[2:].numel()
        if positions == 1:
            return logits.flatten(1)
        log_scores = logits.flatten(2).log_softmax(dim=1)
        return log_scores.logsumexp(dim=2) - math.log(positions)

    def position_logits(self, clips: Tensor) -> Tensor:
        """Score every position of the last feature map.

        Args:
            clips: As for `forward`.

        Returns:
            Logits (N, num_classes, T', H', W'); T' is 1 for clips of `num_frames`, H' and W' are 1
            for crops of up to 228 pixels.

        Raises:
            ValueError: Clips are shorter than the network was built for.
        """
        x = self.dropout(self._position_features(clips))
        return self.head(x.movedim(1, -1)).movedim(-1, 1)

    def features(self, clips: Tensor) -> Tensor:
        """What the classifier reads, before dropout: (N, feature_dim), the mean over positions.

        Args:
            clips: As for `forward`.

        Raises:
            ValueError: As `position_logits`.
        """
        return self._position_features(clips).mean(dim=(2, 3, 4))

    def _position_features(self, clips: Tensor) -> Tensor:
        """(N, 2048, T', H', W'), a position as in `position_logits`."""
        x = self._features(clips.transpose(1, 2))  # (N, 2048, T/2, H/32, W/32)
        steps, height, width = x.shape[2:]
        if steps < self.pool_steps:
            raise ValueError(
                f"Non-local: clips of shape {tuple(clips.shape)} hold {clips.shape[1]} frames, "
                f"expected at least num_frames={2 * self.pool_steps}"
            )
        # 7x7 is the whole map of a 224 pixel crop; smaller crops have smaller maps.
        window = (self.pool_steps, min(7, height), min(7, width))
        return F.avg_pool3d(x, window, stride=1)

    def _features(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x), inplace=True)
        x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2))  # no padding, unlike the 2D networks
        for stage, blocks in enumerate(self.stages):
            for block, residual in enumerate(blocks.children()):
                x = residual(x)
                place = _place(stage, block)
                if place in self.nonlocal_blocks:
                    x = self.nonlocal_blocks[place](x)
            if stage == 0:
                x = F.max_pool3d(x, (2, 1, 1))
        return x


def _residual(
    settings: NonLocalSettings, c_in: int, stage: int, block: int
) -> tuple[Residual, int]:
    """One residual block and its output channels. The stride sits in the (first) 3x3."""
    length = _kernel_length(settings, stage, block)
    stride = 2 if stage > 0 and block == 0 else 1
    gamma = settings.bn_init_gamma
    if is_bottleneck(settings.depth):
        c = _inner_channels(settings) * 2**stage
        c_out = 4 * scaled(64, settings.width) * 2**stage
        groups = settings.num_groups
        branch = [
            ConvNorm(settings, c_in, c, (length, 1, 1)),
            ConvNorm(settings, c, c, (1, 3, 3), stride=stride, groups=groups),
            ConvNorm(settings, c, c_out, (1, 1, 1), gamma=gamma),
        ]
    else:
        c_out = scaled(64, settings.width) * 2**stage
        branch = [
            ConvNorm(settings, c_in, c_out, (length, 3, 3), stride=stride),
            ConvNorm(settings, c_out, c_out, (1, 3, 3), gamma=gamma),
        ]
    shortcut = nn.Identity()
    if has_projection(settings.depth, stage, block):
        shortcut = ConvNorm(settings, c_in, c_out, (1, 1, 1), stride=stride)
    return Residual(branch, shortcut), c_out


def _kernel_length(settings: NonLocalSettings, stage: int | None, block: int) -> int:
    """Frames the first convolution of a block (stage None: of the network) sees at once.

    All of res2, every other block of res3 to res5.
    """
    if not settings.temporal_convs:
        return 1
    if stage is None:
        return 5
    return 3 if stage == 0 or block % 2 == (stage == 3) else 1


def _has_nonlocal(settings: NonLocalSettings, stage: int, block: int) -> bool:
    """True where a non-local block follows a residual one.

    >>> [i for i in range(23) if _has_nonlocal(NonLocalSettings(depth=101), 2, i)]
    [6, 13, 20]
    """
    every = settings.nonlocal_mod
    if settings.depth == 101:
        every = 2 if stage == 1 else 4 * every - 1
    wanted = {1: settings.nonlocal_res3, 2: settings.nonlocal_res4}.get(stage, False)
    return wanted and block % every == every - 1


def _inner_channels(settings: NonLocalSettings) -> int:
    """Channels of the 3x3 convolutions in res2."""
    return scaled(settings.num_groups * settings.width_per_group, settings.width)


def _batch_norm(settings: NonLocalSettings, channels: int, gamma: float) -> nn.BatchNorm3d:
    norm = nn.BatchNorm3d(channels, settings.bn_epsilon, momentum=1 - settings.bn_momentum)
    nn.init.constant_(norm.weight, gamma)
    return norm


def _nonlocal_norm(settings: NonLocalSettings, channels: int) -> nn.BatchNorm3d:
    norm = nn.BatchNorm3d(
        channels, settings.nonlocal_bn_epsilon, momentum=1 - settings.nonlocal_bn_momentum
    )
    nn.init.constant_(norm.weight, settings.nonlocal_bn_gamma)
    return norm


def _place(stage: int, block: int) -> str:
    """Key of the non-local block after a residual block, e.g. res3_1."""
    return f"res{stage + 2}_{block}"


def paddle_names(settings: NonLocalSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names."""
    names = resnet_names.paddle_names(settings.depth)
    if settings.use_affine:
        names = {ours: theirs for ours, theirs in names.items() if ".running_" not in ours}
    for stage, num_blocks in enumerate(BLOCKS[settings.depth]):
        for block in range(num_blocks):
            if _has_nonlocal(settings, stage, block):
                names |= _nonlocal_names(settings, stage, block)
    return names | {
        "head.weight": PaddleName("pred_w", transpose=True),
        "head.bias": PaddleName("pred_b"),
    }


def _nonlocal_names(settings: NonLocalSettings, stage: int, block: int) -> dict[str, PaddleName]:
    ours = f"nonlocal_blocks.{_place(stage, block)}"
    group = "group_" if settings.use_affine and stage == 1 else ""
    theirs = f"nonlocal_conv{stage + 2}_{group}{block}"
    names = dict[str, PaddleName]()
    for conv in ("theta", "phi", "g", "out"):
        names[f"{ours}.{conv}.weight"] = PaddleName(f"{theirs}_{conv}_w")
        if settings.nonlocal_bias:
            names[f"{ours}.{conv}.bias"] = PaddleName(f"{theirs}_{conv}_b")
    if settings.nonlocal_bn:
        names |= resnet_names.batch_norm_names(f"{ours}.bn", f"{theirs}_bn")
    if settings.nonlocal_affine:
        names[f"{ours}.affine.weight"] = PaddleName(f"{theirs}_affine_s")
        names[f"{ours}.affine.bias"] = PaddleName(f"{theirs}_affine_b")
    return names


def from_image_net(
    settings: NonLocalSettings, arrays: Mapping[str, FloatArray]
) -> dict[str, FloatArray]:
    """All arrays of a 2D ResNet, or of another Non-local network, that fit here.

    2D kernels are repeated along time and divided by their new length, so that a clip of equal
    frames gives the output of one frame. With `use_affine`, the running statistics of batch norms
    are folded into scale and offset. A classifier of other classes is left out.
    """
    adapted = dict(arrays)
    for key, array in arrays.items():
        if key.endswith(".conv.weight") and array.ndim == 4:
            adapted[key] = _inflated(array, _length_of(settings, key))
    if settings.use_affine:
        for name in [n.removesuffix(".running_var") for n in arrays if n.endswith(".running_var")]:
            _fold_statistics(adapted, name, settings.bn_epsilon)
    head = arrays.get("head.bias")
    if head is not None and head.size != settings.num_classes:
        del adapted["head.bias"]
        adapted.pop("head.weight", None)
    return adapted


def _length_of(settings: NonLocalSettings, key: str) -> int:
    """Temporal length of the kernel under a key of the state_dict."""
    if key.startswith("stem."):
        return _kernel_length(settings, None, 0)
    _, stage, block, part, *rest = key.split(".")
    first = part == "branch" and rest[0] == "0"
    return _kernel_length(settings, int(stage), int(block)) if first else 1


def _inflated(kernel: FloatArray, length: int) -> FloatArray:
    """(C_out, C_in, k, k) -> (C_out, C_in, length, k, k)."""
    return np.repeat(kernel[:, :, None], length, axis=2) / np.float32(length)


def _fold_statistics(arrays: dict[str, FloatArray], name: str, epsilon: float) -> None:
    """Let `weight * x + bias` be what the batch norm `name` computed."""
    mean, variance = (arrays.pop(f"{name}.running_{part}") for part in ("mean", "var"))
    scale = (arrays[f"{name}.weight"] / np.sqrt(variance + epsilon)).astype(np.float32)
    arrays[f"{name}.weight"] = scale
    arrays[f"{name}.bias"] = (arrays[f"{name}.bias"] - mean * scale).astype(np.float32)


def parameter_rules(module: nn.Module) -> dict[str, ParameterRule]:
    """Scale and offset of batch norms have their own decay (none in the 2019 library)."""
    return {
        f"{name}.{parameter}": ParameterRule(decay="norms")
        for name, layer in module.named_modules()
        if isinstance(layer, nn.BatchNorm3d)
        for parameter in ("weight", "bias")
    }


def clip_shape(settings: NonLocalSettings) -> ClipShape:
    """Frames in a row, at the data's stride."""
    return ClipShape(sampling="dense", num_steps=settings.num_frames)


SPEC = ModelSpec(
    title="Non-local",
    task=Classification(clip_shape=clip_shape, features=True, explains=True, exports=True),
    settings=NonLocalSettings,
    build=NonLocalNet,
    parameter_rules=parameter_rules,
    resnet=ResNetStart(
        depth=lambda settings: settings.depth,
        width=lambda settings: settings.width,
        adapt=from_image_net,
    ),
    paddle=PaddleWeights(names=paddle_names),
)
