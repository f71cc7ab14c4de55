"""Image networks with torchvision's names, turned into PaddlePaddle's.

torchvision and timm call the tensors of their ResNets alike:

    conv1.weight, bn1.*                         the stem
    layer2.0.conv3.weight, layer2.0.bn3.*       third convolution of the first block of a stage
    layer2.0.downsample.0.weight, .1.*          what the first block's shortcut goes through
    fc.weight, fc.bias                          the classifier

Under PaddlePaddle's names each model's own `adapt_pretrained` knows what to do with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from videozoo.errors import WeightsError
from videozoo.types import FloatArray

_DEPTHS = {
    (2, 2, 2, 2, False): 18,
    (3, 4, 6, 3, False): 34,
    (3, 4, 6, 3, True): 50,
    (3, 4, 23, 3, True): 101,
    (3, 8, 36, 3, True): 152,
}
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")
_NORM = {
    "weight": "scale",
    "bias": "offset",
    "running_mean": "mean",
    "running_var": "variance",
}


@dataclass(frozen=True)
class ImageNet:
    """What a state dict with torchvision's names holds."""

    depth: int
    groups: int
    """Of the 3x3 convolutions; 1 but for ResNeXt."""
    channels: int
    """Out of the stem; 64 as published."""
    num_classes: int | None
    """None: without a classifier."""

    @property
    def title(self) -> str:
        """As people call it.

        >>> ImageNet(depth=50, groups=1, channels=64, num_classes=1000).title
        'ResNet-50'
        """
        kind = f"ResNeXt-{self.depth} ({self.groups} groups)" if self.groups > 1 else ""
        width = "" if self.channels == 64 else f", {self.channels} channels in the stem"
        return (kind or f"ResNet-{self.depth}") + width


def recognise(state: Mapping[str, Tensor]) -> ImageNet | None:
    """Tell which ResNet a state dict is of, by its names; None: not one with torchvision's."""
    if "conv1.weight" not in state or "layer1.0.conv1.weight" not in state:
        return None
    blocks = [0, 0, 0, 0]
    for name in state:
        if found := _BLOCK.match(name):
            stage = int(found[1]) - 1
            blocks[stage] = max(blocks[stage], int(found[2]) + 1)
    bottleneck = "layer1.0.conv3.weight" in state
    depth = _DEPTHS.get((blocks[0], blocks[1], blocks[2], blocks[3], bottleneck))
    if depth is None:
        return None
    middle = state.get("layer1.0.conv2.weight")
    groups = 1 if middle is None or middle.ndim != 4 else middle.shape[0] // middle.shape[1]
    classes = state["fc.bias"].numel() if "fc.bias" in state else None
    return ImageNet(
        depth=depth,
        groups=max(1, groups),
        channels=state["conv1.weight"].shape[0],
        num_classes=classes,
    )


def to_paddle_names(
    state: Mapping[str, Tensor], net: ImageNet, *, source: object = "weights"
) -> dict[str, FloatArray]:
    """Rename the tensors of a ResNet, and lay its classifier out as PaddlePaddle does.

    Args:
        state: With torchvision's names; the counters of batch norms may be there or not.
        net: From `recognise`.
        source: What messages call the weights.

    Raises:
        WeightsError: A tensor that this depth has is missing, or one has no place in it.
    """
    names = dict(_names(state, net.depth))
    missing = [name for name in names if name not in state]
    head = {"fc.weight", "fc.bias"}
    extra = [
        name
        for name in state
        if name not in names and name not in head and not name.endswith("num_batches_tracked")
    ]
    if missing or extra:
        problems = [f"missing: {name}" for name in missing[:6]]
        problems += [f"not in a ResNet-{net.depth}: {name}" for name in extra[:6]]
        raise WeightsError(
            "\n  ".join([f"{source}: nearly a torchvision ResNet-{net.depth}, but", *problems])
        )
    arrays = {theirs: _numbers(state[ours]) for ours, theirs in names.items()}
    if head <= state.keys():
        arrays["fc_0.w_0"] = np.ascontiguousarray(_numbers(state["fc.weight"]).T)
        arrays["fc_0.b_0"] = _numbers(state["fc.bias"])
    return arrays


def _names(state: Mapping[str, Tensor], depth: int) -> Iterator[tuple[str, str]]:
    """torchvision's names, each with PaddlePaddle's."""
    *counts, bottleneck = next(key for key, value in _DEPTHS.items() if value == depth)
    yield from _conv_bn("conv1", "bn1", "conv1", "bn_conv1")
    for stage, num_blocks in enumerate(counts):
        for block in range(num_blocks):
            theirs = f"{stage + 2}{_block_letter(depth, stage, block)}"
            ours = f"layer{stage + 1}.{block}"
            for i in range(3 if bottleneck else 2):
                at = f"{theirs}_branch2{'abc'[i]}"
                yield from _conv_bn(
                    f"{ours}.conv{i + 1}", f"{ours}.bn{i + 1}", f"res{at}", f"bn{at}"
                )
            if block == 0 and (stage > 0 or bottleneck):
                at = f"{theirs}_branch1"
                short = f"{ours}.downsample"
                yield from _conv_bn(f"{short}.0", f"{short}.1", f"res{at}", f"bn{at}")


def _conv_bn(conv: str, norm: str, their_conv: str, their_norm: str) -> Iterator[tuple[str, str]]:
    yield f"{conv}.weight", f"{their_conv}_weights"
    for key, part in _NORM.items():
        yield f"{norm}.{key}", f"{their_norm}_{part}"


def _block_letter(depth: int, stage: int, block: int) -> str:
    """Name of a block within its stage: a, b, c; or a, b1, b2 where there are too many."""
    if depth > 50 and stage == 2 and block > 0:
        return f"b{block}"
    return chr(ord("a") + block)


def _numbers(tensor: Tensor) -> FloatArray:
    return tensor.detach().float().cpu().numpy()
