"""The residual trunk of the clip models (He et al., CVPR 2016, arXiv:1512.03385).

::

    frames (B, C, H, W)
      stem       7x7 / 2, max pool 3x3 / 2         (B,   64, H/4,  W/4 )
      stages[0]  "res2"                            (B,  256, H/4,  W/4 )
      stages[1]  "res3", first block / 2           (B,  512, H/8,  W/8 )
      stages[2]  "res4", first block / 2           (B, 1024, H/16, W/16)
      stages[3]  "res5", first block / 2           (B, 2048, H/32, W/32)
      mean over positions                          (B, 2048)

Channels as for depths 50, 101 and 152; depths 18 and 34 end each stage with a quarter of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo.resnet_names import BLOCKS, is_bottleneck

if TYPE_CHECKING:
    from videozoo.types import FloatArray

Depth = Literal[18, 34, 50, 101, 152]


def scaled(channels: int, width: float) -> int:
    """`channels` times `width`, whole and at least 8.

    On a CPU, PyTorch 2.13 damages memory when it trains convolutions of fewer channels in the
    channels-last layout, which batches of frames have.

    >>> scaled(64, 0.25), scaled(64, 0.01)
    (16, 8)
    """
    return max(8, round(channels * width))


class ConvBN(nn.Module):
    """Convolution without bias, then batch norm."""

    folds = (("conv", "bn"),)

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(c_out)
        nn.init.kaiming_normal_(self.conv.weight, nonlinearity="relu")  # std sqrt(2 / (k*k*c_in))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H/stride, W/stride)."""
        return self.bn(self.conv(x))


class Residual(nn.Module):
    """`relu(shortcut(x) + branch(branch_input(x)))`, with a relu between the branch's layers.

    Args:
        branch: Convolutions with their norms, in order.
        shortcut: What `x` itself goes through; the identity where shapes allow it.
        branch_input: Seen by the branch alone. TSM moves channels along time here, so that the
            shortcut still carries what a frame looks like by itself.
    """

    def __init__(
        self,
        branch: Sequence[nn.Module],
        shortcut: nn.Module,
        branch_input: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.branch = nn.ModuleList(branch)
        self.shortcut = shortcut
        self.branch_input = branch_input

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, ...) -> (B, c_out, ...)."""
        y = self.branch_input(x) if self.branch_input else x
        *layers, last = self.branch
        for layer in layers:
            y = F.relu(layer(y), inplace=True)
        y = last(y)
        y += self.shortcut(x)  # in place: a fresh buffer would cost more than the sum
        return F.relu(y, inplace=True)


class ResNet(nn.Module):
    """Frames in, one feature vector per frame out.

    Channels-last weights stay channels-last from layer to layer, whatever the frames' layout.

    Args:
        depth: 18 or 34 (two 3x3 per block), 50, 101 or 152 (1x1, 3x3, 1x1).
        width: Factor on the channels of every layer.
        in_channels: 3 per frame; more if neighbouring frames are stacked.
        branch_input: See `Residual`.
    """

    def __init__(
        self,
        depth: int,
        *,
        width: float = 1.0,
        in_channels: int = 3,
        branch_input: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        base = scaled(64, width)
        self.stem = ConvBN(in_channels, base, 7, 2)
        self.stages = nn.ModuleList()
        c_in, channels = base, list[int]()
        for stage, num_blocks in enumerate(BLOCKS[depth]):
            blocks = list[nn.Module]()
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                branch, c_out = _branch(depth, c_in, base * 2**stage, stride)
                project = stride != 1 or c_in != c_out
                shortcut = ConvBN(c_in, c_out, 1, stride) if project else nn.Identity()
                blocks.append(Residual(branch, shortcut, branch_input))
                c_in = c_out
            self.stages.append(nn.Sequential(*blocks))
            channels.append(c_in)
        self.stage_channels = tuple(channels)
        """Channels out of each of the four stages."""
        self.num_features = c_in

    def stem_of(self, frames: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 64, H/4, W/4)."""
        return F.max_pool2d(F.relu(self.stem(frames), inplace=True), 3, 2, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, num_features)."""
        x = self.stem_of(frames)
        for stage in self.stages:
            x = stage(x)
        return x.mean(dim=(2, 3))


def _branch(depth: int, c_in: int, c: int, stride: int) -> tuple[list[nn.Module], int]:
    """Layers of a block, and their output channels. The stride sits in the (first) 3x3."""
    if is_bottleneck(depth):
        return [ConvBN(c_in, c, 1), ConvBN(c, c, 3, stride), ConvBN(c, 4 * c, 1)], 4 * c
    return [ConvBN(c_in, c, 3, stride), ConvBN(c, c, 3)], c


def classifier(num_features: int, num_classes: int, *, bound: float) -> nn.Linear:
    """Make the last layer: weights uniform in [-bound, bound], biases 0."""
    head = nn.Linear(num_features, num_classes)
    nn.init.uniform_(head.weight, -bound, bound)
    nn.init.zeros_(head.bias)
    return head


def parts_of(arrays: Mapping[str, FloatArray], part: str) -> dict[str, FloatArray]:
    """Keep the arrays of one part of a network, such as `backbone`: other classes, other heads."""
    return {key: array for key, array in arrays.items() if key.startswith(f"{part}.")}


def for_stacked_frames(conv1: FloatArray, frames: int) -> FloatArray:
    """Make a first convolution for one frame see `frames` stacked ones.

    (64, 3, 7, 7) -> (64, 3 * frames, 7, 7). A clip of equal frames gives the output of one frame.
    """
    return np.tile(conv1, (1, frames, 1, 1)) / np.float32(frames)
