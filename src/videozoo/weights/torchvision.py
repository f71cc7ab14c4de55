"""ResNets with the tensor names of torchvision and timm.

conv1.weight, bn1.*                         the stem
layer2.0.conv3.weight, layer2.0.bn3.*       third convolution of the first block of a stage
layer2.0.downsample.0.weight, .1.*          what the first block's shortcut goes through
fc.weight, fc.bias                          the classifier
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from videozoo.errors import WeightsError
from videozoo.resnet_names import BLOCKS, is_bottleneck, torchvision_names
from videozoo.types import FloatArray

_DEPTHS = {(blocks, is_bottleneck(depth)): depth for depth, blocks in BLOCKS.items()}
_BLOCK = re.compile(r"layer([1-4])\.(\d+)\.")


@dataclass(frozen=True)
class ImageNet:
    """The ResNet in a state dict with torchvision's names."""

    depth: int
    groups: int
    """Groups of the 3x3 convolutions; 1 except for ResNeXt."""
    channels: int
    """Channels after the stem; 64 as published."""
    num_classes: int | None
    """None: without a classifier."""

    @property
    def title(self) -> str:
        """Its usual name.

        >>> ImageNet(depth=50, groups=1, channels=64, num_classes=1000).title
        'ResNet-50'
        """
        kind = f"ResNeXt-{self.depth} ({self.groups} groups)" if self.groups > 1 else ""
        width = "" if self.channels == 64 else f", {self.channels} channels in the stem"
        return (kind or f"ResNet-{self.depth}") + width


def recognise(state: Mapping[str, Tensor]) -> ImageNet | None:
    """The ResNet of a state dict, by its names; None: it has other names."""
    if "conv1.weight" not in state or "layer1.0.conv1.weight" not in state:
        return None
    blocks = [0, 0, 0, 0]
    for name in state:
        if found := _BLOCK.match(name):
            stage = int(found[1]) - 1
            blocks[stage] = max(blocks[stage], int(found[2]) + 1)
    bottleneck = "layer1.0.conv3.weight" in state
    depth = _DEPTHS.get(((blocks[0], blocks[1], blocks[2], blocks[3]), bottleneck))
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


def to_our_names(
    state: Mapping[str, Tensor], net: ImageNet, *, source: object = "weights"
) -> dict[str, FloatArray]:
    """Rename the tensors of a ResNet; see `videozoo.resnet_names`. The classifier is left out.

    Args:
        state: With torchvision's names; the counters of batch norms may be there or not.
        net: From `recognise`.
        source: Name of the weights in messages.

    Raises:
        WeightsError: A tensor of this depth is missing, or there is an unknown one.
    """
    names = torchvision_names(net.depth)
    known = {*names.values(), "fc.weight", "fc.bias"}
    missing = [name for name in names.values() if name not in state]
    extra = [n for n in state if n not in known and not n.endswith("num_batches_tracked")]
    if missing or extra:
        problems = [f"missing: {name}" for name in missing[:6]]
        problems += [f"not in a ResNet-{net.depth}: {name}" for name in extra[:6]]
        raise WeightsError(
            "\n  ".join([f"{source}: nearly a torchvision ResNet-{net.depth}, but", *problems])
        )
    return {ours: state[theirs].detach().float().cpu().numpy() for ours, theirs in names.items()}
