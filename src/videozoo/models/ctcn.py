"""C-TCN: finds and names actions of all lengths in one shot (PaddlePaddle, arXiv:1512.02325).

A detector over the class scores of snippets ("concepts"): a ResNet-50 that convolves along time
alone, a feature pyramid (arXiv:1612.03144), and two heads shared by its levels with the anchors
and losses of SSD (Liu et al., ECCV 2016). Reference behaviour: PaddlePaddle/models release/1.8.

::

    features (N, W, T) as an image (N, 1, T, W)
       │ two convolutions, T/4
       ├─ stage 1 ── T/4 ──────── + ── conv ── level 0
       ├─ stage 2 ── T/8 ──────── + ── conv ── level 1       a level: 7 anchors a position, and
       ├─ stage 3 ── T/16 ─────── + ── conv ── level 2       for each an offset in centre and
       └─ stage 4 ── T/32 ──── conv ────────── level 3       length, and a logit a class
             └─ conv, T/64 ─────────────────── level 4
                  └─ relu, conv ... T/512 ──── levels 5, 6, 7

Every concept keeps its own column up to the heads' last layers, which read all W at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo.errors import ConfigError
from videozoo.models._localiser import exact
from videozoo.ops import DowngradeDropout
from videozoo.ops.segment_candidates import anchor_coder
from videozoo.ops.segment_decoders import decoded
from videozoo.types import (
    Candidates,
    Localisation,
    ModelSpec,
    PaddleName,
    PaddleWeights,
    SegmentDecoding,
    SegmentGraph,
    SequenceShape,
    Settings,
    Targets,
)

ANCHORS = 7
"""At each position of each level."""
NUM_LEVELS = 8
_PLANES, _BLOCKS, _WIDTH = (64, 128, 256, 512), (3, 4, 6, 3), 512
_REACH = 5.0
"""Offsets are between plus and minus this."""
_NEGATIVES = 3
"""Hard negatives kept per positive of a video."""


class CTCNSettings(Settings):
    """Architecture of C-TCN."""

    num_classes: int = Field(default=201, ge=2)
    """Number of classes, including the background as the first one."""
    feature_dim: int = Field(default=402, ge=1)
    """W, length of a step's feature vector: class scores of all streams."""
    num_steps: int = Field(default=512, ge=1, le=100_000)
    """T, steps that a video is resized to."""
    width: float = Field(default=1.0, gt=0, le=1000)
    """Factor on the channels of every layer; 1 as in the 2019 library. No layer gets fewer than
    8."""
    dropout: float = Field(default=0.5, ge=0, lt=1)
    """Share of the heads' inputs dropped in training; evaluation scales by 1 - dropout."""


class CTCNOutput(NamedTuple):
    """C-TCN's outputs for a batch, in the order of anchors: level, position, anchor of the
    position."""

    offsets: Tensor
    """(N, A, 2) in [-5, 5]: of the centre and of the length, as they are encoded."""
    logits: Tensor
    """(N, A, C), class 0 is the background; their softmax are the scores."""


class Bottleneck(nn.Module):
    """A residual block whose middle convolution sees three steps."""

    def __init__(self, c_in: int, planes: int, stride: int) -> None:
        super().__init__()
        c_out = 4 * planes
        self.conv1, self.bn1 = _conv(c_in, planes, 1, bias=False), nn.BatchNorm2d(planes)
        self.conv2 = _conv(planes, planes, 3, stride, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3, self.bn3 = _conv(planes, c_out, 1, bias=False), nn.BatchNorm2d(c_out)
        self.shortcut: nn.Sequential | None = None
        if stride != 1 or c_in != c_out:
            conv = _conv(c_in, c_out, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, T, W) -> (N, 4 * planes, T / stride, W)."""
        out = torch.relu(self.bn1(self.conv1(x)))
        out = torch.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return torch.relu(out + (x if self.shortcut is None else self.shortcut(x)))


class Backbone(nn.Module):
    """A ResNet-50 along time; gives the outputs of its four stages."""

    def __init__(self, width: float) -> None:
        super().__init__()
        c_1, c_in = _scaled(32, width), _scaled(64, width)
        self.conv1, self.bn1 = _conv(1, c_1, 7, 2, bias=False), nn.BatchNorm2d(c_1)
        self.conv2, self.bn2 = _conv(c_1, c_in, 7, 2, bias=False), nn.BatchNorm2d(c_in)
        self.stages = nn.ModuleList()
        for number, (full, blocks) in enumerate(zip(_PLANES, _BLOCKS, strict=True)):
            planes = _scaled(full, width)
            stage = list[nn.Module]()
            for block in range(blocks):
                stage.append(Bottleneck(c_in, planes, 2 if number and not block else 1))
                c_in = 4 * planes
            self.stages.append(nn.Sequential(*stage))

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N, 1, T, W) -> (N, C, T / 4, W) and so on, each half as long."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        stages = list[Tensor]()
        for stage in self.stages:
            x = stage(x)
            stages.append(x)
        return stages


class Pyramid(nn.Module):
    """Eight levels of one width, each half as long as the one before."""

    def __init__(self, width: float) -> None:
        super().__init__()
        c_in, c_out = [4 * _scaled(planes, width) for planes in _PLANES], _scaled(_WIDTH, width)
        self.coarser = nn.ModuleList(_conv(c, c_out, 3, 2) for c in (c_in[3], *(c_out,) * 3))
        self.lateral = nn.ModuleList(_conv(c, c_out, 1) for c in reversed(c_in))
        self.smooth = nn.ModuleList(_conv(c_out, c_out, 3) for _ in range(3))

    def forward(self, stages: Sequence[Tensor]) -> list[Tensor]:
        """The stages' outputs -> 8 of (N, 512, T', W), the longest first."""
        coarse = list[Tensor]()
        for conv in self.coarser:
            coarse.append(conv(torch.relu(coarse[-1]) if coarse else stages[3]))
        fine = list[Tensor]()
        for lateral, stage in zip(self.lateral, reversed(stages), strict=True):
            x = lateral(stage)
            if fine:
                above = F.interpolate(fine[-1], x.shape[2:], mode="bilinear", align_corners=True)
                x = x + above
            fine.append(x)
        smoothed = [conv(x) for conv, x in zip(self.smooth, fine[1:], strict=True)]
        return [*reversed(smoothed), fine[0], *coarse]


class Head(nn.Module):
    """Reads all concepts of a position and returns `values` numbers for each of its anchors."""

    def __init__(self, hidden: int, values: int, settings: CTCNSettings) -> None:
        super().__init__()
        self.dropout = DowngradeDropout(settings.dropout)
        hidden = _scaled(hidden, settings.width)
        self.conv1 = _conv(_scaled(_WIDTH, settings.width), hidden, 3)
        self.conv2 = nn.Conv2d(hidden, ANCHORS * values, (1, settings.feature_dim))
        _init(self.conv2)
        self.values = values

    def forward(self, level: Tensor) -> Tensor:
        """(N, 512, T', W) -> (N, T' * 7, values)."""
        x = self.conv2(self.conv1(self.dropout(level))).squeeze(3)  # (N, 7 * values, T')
        return x.transpose(1, 2).unflatten(2, (ANCHORS, self.values)).flatten(1, 2)


class CTCN(nn.Module):
    """Features of a video in, offsets and class logits of every anchor out."""

    def __init__(self, settings: CTCNSettings) -> None:
        super().__init__()
        self.backbone, self.pyramid = Backbone(settings.width), Pyramid(settings.width)
        self.offsets = Head(256, 2, settings)
        self.classes = Head(512, settings.num_classes, settings)

    def forward(self, features: Tensor) -> CTCNOutput:
        """Place and classify each anchor.

        Args:
            features: (N, feature_dim, T).
        """
        levels = self.pyramid(self.backbone(features.transpose(1, 2).unsqueeze(1)))
        offsets = torch.cat([self.offsets(level) for level in levels], dim=1)
        logits = torch.cat([self.classes(level) for level in levels], dim=1)
        return CTCNOutput(2 * _REACH * torch.sigmoid(offsets) - _REACH, logits)


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width))


def _conv(c_in: int, c_out: int, kernel: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """Make a convolution along time; columns never meet."""
    padding = (kernel // 2, 0)
    conv = nn.Conv2d(c_in, c_out, (kernel, 1), (stride, 1), padding, bias=bias)
    _init(conv)
    return conv


def _init(conv: nn.Conv2d) -> None:
    bound = conv.weight[0].numel() ** -0.5
    nn.init.uniform_(conv.weight, -bound, bound)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)


def level_lengths(num_steps: int) -> list[int]:
    """Positions of each level; there are 7 anchors at each.

    >>> level_lengths(512)
    [128, 64, 32, 16, 8, 4, 2, 1]
    """
    lengths = [-(-num_steps // 4)]  # halved twice, rounded up each time
    while len(lengths) < NUM_LEVELS:
        lengths.append(-(-lengths[-1] // 2))
    return lengths


def losses(outputs: CTCNOutput, targets: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Losses of a batch, over its positive anchors and, of each video, the hardest others.

    0 if no anchor of the batch is positive; the 2019 library returned nan.

    Args:
        outputs: From the model.
        targets: offsets (N, A, 2), of which those of positive anchors count; labels int (N, A),
            0 background, below 0 ignored.

    Returns:
        `loss`: localisation + classification, and these two.
    """
    labels = targets["labels"].long()
    positive = labels > 0
    num_positive = positive.sum().clamp(min=1)
    wanted = targets["offsets"].to(outputs.offsets.dtype)
    off = F.smooth_l1_loss(exact(outputs.offsets), exact(wanted), reduction="none")
    localisation = 2 * (off * positive[:, :, None]).sum() / num_positive
    entropy = F.cross_entropy(
        exact(outputs.logits).transpose(1, 2), labels.clamp(min=0), reduction="none"
    )
    entropy = entropy * (labels >= 0)
    hard = _hardest(entropy.detach().masked_fill(positive, 0), _NEGATIVES * positive.sum(1))
    classification = (entropy * (positive | hard)).sum() / num_positive
    return {
        "loss": localisation + classification,
        "localisation": localisation,
        "classification": classification,
    }


def _hardest(entropy: Tensor, counts: Tensor) -> Tensor:
    """Mark as many of each row's largest values: (N, A) and (N,) -> bool (N, A)."""
    order = entropy.argsort(dim=1, descending=True, stable=True)
    ranks = order.argsort(dim=1)
    return ranks < counts[:, None]


def paddle_names(settings: CTCNSettings) -> dict[str, PaddleName]:
    """Keys of the state_dict to their PaddlePaddle names, numbered in the order of creation."""
    names, number = dict[str, PaddleName](), count()

    def normed(conv: str, norm: str) -> None:
        i = next(number)
        names[f"{conv}.weight"] = PaddleName(f"conv2d_{i}.w_0")
        keys = ("weight", "w_0"), ("bias", "b_0"), ("running_mean", "w_1"), ("running_var", "w_2")
        for key, part in keys:
            names[f"{norm}.{key}"] = PaddleName(f"batch_norm_{i}.{part}")

    for i in (1, 2):
        normed(f"backbone.conv{i}", f"backbone.bn{i}")
    for stage, blocks in enumerate(_BLOCKS):
        for block in range(blocks):
            ours = f"backbone.stages.{stage}.{block}"
            for i in (1, 2, 3):
                normed(f"{ours}.conv{i}", f"{ours}.bn{i}")
            if not block:
                normed(f"{ours}.shortcut.0", f"{ours}.shortcut.1")
    for part, convs in (("coarser", 4), ("lateral", 4), ("smooth", 3)):
        for i in range(convs):
            theirs = f"conv2d_{next(number)}"
            names[f"pyramid.{part}.{i}.weight"] = PaddleName(f"{theirs}.w_0")
            names[f"pyramid.{part}.{i}.bias"] = PaddleName(f"{theirs}.b_0")
    for ours, theirs in (("offsets", "loc"), ("classes", "cls")):
        for i in (1, 2):
            names[f"{ours}.conv{i}.weight"] = PaddleName(f"{theirs}_pred_conv{i}_weights")
            names[f"{ours}.conv{i}.bias"] = PaddleName(f"{theirs}_pred_conv{i}_bias")
    return names


def sequence_shape(settings: CTCNSettings) -> SequenceShape:
    """The whole video."""
    return SequenceShape(feature_dim=settings.feature_dim, num_steps=settings.num_steps)


def decoding(settings: CTCNSettings) -> SegmentDecoding:
    """Anchors of all levels.

    Raises:
        ConfigError: They do not fit into `num_steps`.
    """
    strides = tuple(4 << level for level in range(NUM_LEVELS))
    if settings.num_steps % strides[-1]:
        raise ConfigError(
            f"model.num_steps is {settings.num_steps}; the anchors of C-TCN need a multiple of "
            f"{strides[-1]}"
        )
    return SegmentDecoding(form="anchors", num_steps=settings.num_steps, strides=strides)


def targets(settings: CTCNSettings) -> Targets:
    """Training targets of every anchor, for `losses`; None if no anchor is positive."""
    coder = anchor_coder(settings.num_steps, decoding(settings).strides)

    def of_video(
        segments: NDArray[np.float64], labels: NDArray[np.int64], num_steps: int
    ) -> dict[str, NDArray[Any]] | None:
        offsets, classes = coder.encode(segments * num_steps, labels + 1)
        if not (classes > 0).any():
            return None
        return {"offsets": offsets.astype(np.float32), "labels": classes}

    return of_video


def candidates(
    settings: CTCNSettings, outputs: CTCNOutput, score_threshold: float
) -> list[Candidates]:
    """Every anchor with every class that scores higher than the threshold."""
    return decoded(outputs._asdict(), decoding(settings), score_threshold)


SPEC = ModelSpec(
    title="C-TCN",
    task=Localisation(
        sequence_shape=sequence_shape,
        targets=targets,
        losses=lambda outputs, targets, _generator: losses(outputs, targets),
        candidates=candidates,
        decides="map",
        background=True,
        exports=SegmentGraph(outputs=lambda outputs: outputs._asdict(), decoding=decoding),
    ),
    settings=CTCNSettings,
    build=CTCN,
    paddle=PaddleWeights(names=paddle_names),
)
