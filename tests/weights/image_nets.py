"""State dicts as torchvision writes them, made without torchvision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}
BLOCKS[152] = (3, 8, 36, 3)


class Block(nn.Module):
    """One residual block; the layers' names are torchvision's."""

    def __init__(self, c_in: int, c: int, stride: int, *, bottleneck: bool) -> None:
        super().__init__()
        self.bottleneck = bottleneck
        c_out = 4 * c if bottleneck else c
        if bottleneck:
            self.conv1, self.bn1 = _conv(c_in, c, 1, 1), nn.BatchNorm2d(c)
            self.conv2, self.bn2 = _conv(c, c, 3, stride), nn.BatchNorm2d(c)
            self.conv3, self.bn3 = _conv(c, c_out, 1, 1), nn.BatchNorm2d(c_out)
        else:
            self.conv1, self.bn1 = _conv(c_in, c, 3, stride), nn.BatchNorm2d(c)
            self.conv2, self.bn2 = _conv(c, c, 3, 1), nn.BatchNorm2d(c)
        self.downsample = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(_conv(c_in, c_out, 1, stride), nn.BatchNorm2d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, c_in, H, W) -> (B, c_out, H/stride, W/stride)."""
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        if self.bottleneck:
            y = self.bn3(self.conv3(y.relu()))
        return (y + (x if self.downsample is None else self.downsample(x))).relu()


class ImageResNet(nn.Module):
    """A ResNet for images, written from the paper with torchvision's names and order."""

    def __init__(self, depth: int, width: int = 8, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1, self.bn1 = _conv(3, width, 7, 2), nn.BatchNorm2d(width)
        c_in, bottleneck = width, depth >= 50
        for stage, num_blocks in enumerate(BLOCKS[depth]):
            c = width * 2**stage
            blocks: list[nn.Module] = []
            for block in range(num_blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(Block(c_in, c, stride, bottleneck=bottleneck))
                c_in = 4 * c if bottleneck else c
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c_in, num_classes)

    def features(self, images: Tensor, *, pool_padding: int = 1) -> Tensor:
        """(B, 3, H, W) -> (B, C): the mean over positions."""
        x = self.bn1(self.conv1(images)).relu()
        x = nn.functional.max_pool2d(x, 3, 2, padding=pool_padding)
        for stage in range(4):
            x = self.get_submodule(f"layer{stage + 1}")(x)
        return x.mean(dim=(2, 3))


def trained_image_net(depth: int, width: int = 8, num_classes: int = 10) -> ImageResNet:
    """A network whose norms have statistics of their own, as after training."""
    torch.manual_seed(0)
    net = ImageResNet(depth, width, num_classes).eval()
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                assert tensor is not None
                nn.init.uniform_(tensor, 0.4, 0.6)
    return net


def _conv(c_in: int, c_out: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, kernel, stride, padding=kernel // 2, bias=False)
