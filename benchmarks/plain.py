"""TSN and TSM as most people would write them: NCHW, batch norms apart, a shift by slices.

The other side of `bench_step`. Parameters are declared in the order of ours, so that a state_dict
can be poured over.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCKS = (3, 4, 6, 3)


def shift(x: Tensor, num_segments: int) -> Tensor:
    """Move 1/8 of the channels one frame on and 1/8 one frame back, by slice assignment."""
    clips = x.view(-1, num_segments, *x.shape[1:])
    fold = x.shape[1] // 8
    out = torch.zeros_like(clips)
    out[:, 1:, :fold] = clips[:, :-1, :fold]
    out[:, :-1, fold : 2 * fold] = clips[:, 1:, fold : 2 * fold]
    out[:, :, 2 * fold :] = clips[:, :, 2 * fold :]
    return out.view_as(x)


class Bottleneck(nn.Module):
    def __init__(self, c_in: int, c: int, stride: int, num_segments: int | None) -> None:
        super().__init__()
        self.num_segments = num_segments
        self.conv1 = nn.Conv2d(c_in, c, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c)
        self.conv2 = nn.Conv2d(c, c, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c)
        self.conv3 = nn.Conv2d(c, 4 * c, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * c)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != 4 * c:
            self.downsample = nn.Sequential(
                nn.Conv2d(c_in, 4 * c, 1, stride, bias=False), nn.BatchNorm2d(4 * c)
            )

    def forward(self, x: Tensor) -> Tensor:
        out = x if self.num_segments is None else shift(x, self.num_segments)
        out = self.relu(self.bn1(self.conv1(out)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class PlainClipModel(nn.Module):
    """ResNet-50 over the frames, mean over them, linear; with `num_segments` also the shift."""

    def __init__(self, num_classes: int, base: int, num_segments: int | None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, base, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        layers: list[nn.Module] = []
        c_in = base
        for stage, num_blocks in enumerate(BLOCKS):
            for block in range(num_blocks):
                stride = 2 if stage and not block else 1
                layers.append(Bottleneck(c_in, base * 2**stage, stride, num_segments))
                c_in = 4 * base * 2**stage
        self.layers = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(c_in, num_classes)

    def forward(self, clips: Tensor) -> Tensor:
        x = clips.flatten(0, 1)
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.avgpool(self.layers(x)).flatten(1)
        return self.fc(x.view(*clips.shape[:2], -1).mean(dim=1))


def plain_copy(module: nn.Module, num_classes: int, num_segments: int | None) -> PlainClipModel:
    """The same network with the weights of one of ours."""
    theirs = module.state_dict()
    base = next(iter(theirs.values())).shape[0]
    plain = PlainClipModel(num_classes, base, num_segments)
    keys = list(plain.state_dict())
    if len(keys) != len(theirs):
        raise ValueError(f"plain_copy: {len(theirs)} tensors of ours, {len(keys)} here")
    plain.load_state_dict(dict(zip(keys, theirs.values(), strict=True)))
    return plain
