"""The tensors of a 2D ResNet: our names, and what torchvision and PaddlePaddle call them.

::

    ours (keys of `ResNet`)        torchvision, timm          PaddlePaddle, 2019
    stem.conv.weight               conv1.weight               conv1_weights
    stem.bn.running_var            bn1.running_var            bn_conv1_variance
    stages.1.0.branch.2.conv...    layer2.0.conv3...          res3a_branch2c_weights
    stages.1.0.shortcut.bn...      layer2.0.downsample.1...   bn3a_branch1_...

The classifier of an image network is not among them: its classes are nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from videozoo.types import PaddleName

BLOCKS: dict[int, tuple[int, int, int, int]] = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
"""Depth to the residual blocks of each stage."""
_NORM = ("weight", "bias", "running_mean", "running_var")


def is_bottleneck(depth: int) -> bool:
    """True where a block is 1x1, 3x3, 1x1; False where it is two 3x3."""
    return depth >= 50


def has_projection(depth: int, stage: int, block: int) -> bool:
    """True where a block's shortcut is a 1x1 convolution: channels or stride change."""
    return block == 0 and (stage > 0 or is_bottleneck(depth))


def num_batch_norms(depth: int, stage: int) -> int:
    """Batch norms within one stage; PaddlePaddle numbers nameless layers by such counts."""
    layers = (3 if is_bottleneck(depth) else 2) * BLOCKS[depth][stage]
    return layers + has_projection(depth, stage, 0)


def block_name(depth: int, stage: int, block: int) -> str:
    """PaddlePaddle's name of a block; stages count from 0 here and from 2 there.

    >>> [block_name(50, 2, 5), block_name(101, 2, 0), block_name(101, 2, 22)]
    ['4f', '4a', '4b22']
    """
    counted = depth > 50 and stage == 2 and block > 0  # too many blocks for an alphabet
    return f"{stage + 2}" + (f"b{block}" if counted else chr(ord("a") + block))


@dataclass(frozen=True)
class _Layer:
    """A convolution and its batch norm."""

    ours: str
    torchvision: tuple[str, str]
    """Convolution, norm."""
    paddle: str
    """Without its leading `res` or `bn`."""


def _layers(depth: int) -> Iterator[_Layer]:
    yield _Layer("stem", ("conv1", "bn1"), "conv1")
    for stage, num_blocks in enumerate(BLOCKS[depth]):
        for block in range(num_blocks):
            ours, theirs = f"stages.{stage}.{block}", f"layer{stage + 1}.{block}"
            at = block_name(depth, stage, block)
            for i, letter in enumerate("abc" if is_bottleneck(depth) else "ab"):
                named = f"{theirs}.conv{i + 1}", f"{theirs}.bn{i + 1}"
                yield _Layer(f"{ours}.branch.{i}", named, f"{at}_branch2{letter}")
            if has_projection(depth, stage, block):
                named = f"{theirs}.downsample.0", f"{theirs}.downsample.1"
                yield _Layer(f"{ours}.shortcut", named, f"{at}_branch1")


def torchvision_names(depth: int) -> dict[str, str]:
    """Our keys to torchvision's.

    >>> torchvision_names(50)["stages.1.0.shortcut.bn.running_var"]
    'layer2.0.downsample.1.running_var'
    """
    names = dict[str, str]()
    for layer in _layers(depth):
        conv, norm = layer.torchvision
        names[f"{layer.ours}.conv.weight"] = f"{conv}.weight"
        names |= {f"{layer.ours}.bn.{key}": f"{norm}.{key}" for key in _NORM}
    return names


def paddle_names(depth: int) -> dict[str, PaddleName]:
    """Our keys to PaddlePaddle's names.

    >>> paddle_names(101)["stages.2.1.branch.0.conv.weight"].name
    'res4b1_branch2a_weights'
    """
    names = dict[str, PaddleName]()
    for layer in _layers(depth):
        conv, norm = (
            (f"{layer.paddle}_weights", f"bn_{layer.paddle}")
            if layer.ours == "stem"
            else (f"res{layer.paddle}_weights", f"bn{layer.paddle}")
        )
        names[f"{layer.ours}.conv.weight"] = PaddleName(conv)
        names |= batch_norm_names(f"{layer.ours}.bn", norm)
    return names


def batch_norm_names(
    ours: str, theirs: str, parts: Sequence[str] = ("_scale", "_offset", "_mean", "_variance")
) -> dict[str, PaddleName]:
    """PaddlePaddle's names of a batch norm's four arrays."""
    return {
        f"{ours}.{key}": PaddleName(theirs + part) for key, part in zip(_NORM, parts, strict=True)
    }
