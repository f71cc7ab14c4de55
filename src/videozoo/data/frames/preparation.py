"""What happens to frames before an image network trained elsewhere sees them, as one description.

preparation = Preparation(short_side=256, crop=(224, 224), interpolation="bicubic")
frames = preparation.apply(frames)              # uint8 (T, H, W, 3) to (T, 224, 224, 3)
pixels = preparation.normalize(windows)         # uint8 (..., 3, 224, 224) to float32
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Literal

from videozoo.data.frames.transforms import (
    Frames,
    Interpolation,
    check_narrow,
    crop,
    resize,
    resized_shape,
)
from videozoo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from videozoo.settings.clips import Colour, ResizeWith

IMAGENET_MEAN: Colour = (0.485, 0.456, 0.406)
"""Mean colour of ImageNet, for pixels in 0..1."""
IMAGENET_STD: Colour = (0.229, 0.224, 0.225)
"""Deviation of the colours of ImageNet, for pixels in 0..1."""

CropOffset = Literal["down", "even"]
"""Where half a pixel goes in a centre crop: up and to the left, as in transformers, or to the even
offset, as in torchvision."""

LongSide = Literal["floor", "round", "fixed_4_3"]
"""What the longer side becomes when the shorter one is given: in proportion, rounded down as in
transformers and torchvision, or to the nearest as in our clip models; or 4/3 of the shorter."""

_MOST_SIDE = 1 << 13


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """Resize, centre crop and normalisation of frames. All sizes are (height, width) in pixels.

    Exactly one of `short_side` and `size` may be set; with neither, frames are not resized.

    Raises:
        ValueError: Two rules at once, or a size, scale or deviation that cannot be.
    """

    short_side: int | None = None
    """Scale frames so that the shorter side has this many pixels; see `long_side`."""
    size: tuple[int, int] | None = None
    """Scale frames to exactly this size, whatever their shape."""
    long_side: LongSide = "floor"
    """With `short_side`: see `LongSide`."""
    crop: tuple[int, int] | None = None
    """Then cut the middle of this size."""
    crop_offset: CropOffset = "down"
    """See `CropOffset`."""
    interpolation: Interpolation = "bilinear"
    """Filter. When shrinking, it is widened (antialias), as Pillow does."""
    resize_with: ResizeWith = "pillow"
    """See `transforms.resize`. `torch` takes a fifth of the time and is within 2 grey levels."""
    pixel_scale: float = 1 / 255
    """Grey levels 0..255 are multiplied by this first."""
    pixel_offset: float = 0.0
    """And this is added."""
    mean: Colour = (0.0, 0.0, 0.0)
    """Then these are subtracted, for red, green and blue."""
    std: Colour = (1.0, 1.0, 1.0)
    """And the result is divided by these."""

    def __post_init__(self) -> None:
        """Check the values."""
        if self.short_side is not None and self.size is not None:
            raise ValueError(f"short_side {self.short_side} and size {self.size}: expected one")
        sides = [self.short_side] if self.short_side is not None else []
        for side in (*sides, *(self.size or ()), *(self.crop or ())):
            if not 1 <= side <= _MOST_SIDE:
                raise ValueError(f"a side of {side} pixels; expected 1 to {_MOST_SIDE}")
        numbers = (self.pixel_scale, self.pixel_offset, *self.mean, *self.std)
        if not all(map(isfinite, numbers)) or self.pixel_scale <= 0 or min(self.std) <= 0:
            raise ValueError(
                f"pixel scale {self.pixel_scale:g}, offset {self.pixel_offset:g}, mean "
                f"{self.mean}, std {self.std}; expected finite numbers, scale and std more than 0"
            )
        smaller = self.size or (self.short_side and (self.short_side, self.short_side))
        if smaller and self.crop and (self.crop[0] > smaller[0] or self.crop[1] > smaller[1]):
            raise ValueError(
                f"a crop of {_by(self.crop)} out of frames that may have {_by(smaller)} pixels"
            )
        if self.resize_with != "pillow" and self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"resize_with {self.resize_with} does not know {self.interpolation}")

    @property
    def shape(self) -> tuple[int, int] | None:
        """Height and width of prepared frames; None where they depend on the frames."""
        return self.crop or self.size

    def apply(self, frames: Frames) -> Frames:
        """Resize and crop.

        Args:
            frames: uint8 (T, H, W, 3), RGB.

        Returns:
            uint8 (T, height, width, 3); perhaps a view.

        Raises:
            DataError: The frames are smaller than the crop, or too narrow a strip to be scaled.

        >>> import numpy as np
        >>> frames = np.zeros((2, 36, 64, 3), np.uint8)
        >>> Preparation(short_side=20, crop=(16, 16)).apply(frames).shape
        (2, 16, 16, 3)
        >>> Preparation(short_side=20).apply(frames).shape
        (2, 20, 35, 3)
        """
        height, width = frames.shape[1:3]
        new = self.size or (height, width)
        if self.short_side is not None:
            new = self._resized(height, width, self.short_side)
            check_narrow(height, width, new)
        frames = resize(frames, *new, backend=self.resize_with, interpolation=self.interpolation)
        if self.crop is None:
            return frames
        if self.crop[0] > new[0] or self.crop[1] > new[1]:
            raise DataError(
                f"frames of {new[1]}x{new[0]} are smaller than the {self.crop[1]}x{self.crop[0]} "
                "that the network sees, and its description says nothing of scaling them"
            )
        top, left = (self._offset(new[axis] - self.crop[axis]) for axis in (0, 1))
        return crop(frames, top=top, left=left, height=self.crop[0], width=self.crop[1])

    def _resized(self, height: int, width: int, short_side: int) -> tuple[int, int]:
        if self.long_side != "floor":
            rule = "keep_aspect" if self.long_side == "round" else "fixed_4_3"
            return resized_shape(height, width, short_side=short_side, rule=rule)
        longer = int(short_side * max(height, width) / min(height, width))
        return (short_side, longer) if height <= width else (longer, short_side)

    def _offset(self, room: int) -> int:
        return room // 2 if self.crop_offset == "down" else round(room / 2)

    def normalize(self, pixels: Tensor) -> Tensor:
        """Turn grey levels into the values that the network was trained with.

        Args:
            pixels: uint8 (..., C, height, width), C = 3 per frame: red, green, blue.

        Returns:
            float32 of the same shape, device and memory layout:
            (pixels * pixel_scale + pixel_offset - mean) / std.

        >>> import torch
        >>> white = torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)
        >>> half = Preparation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
        >>> half.normalize(white).flatten().tolist()
        [1.0, 1.0, 1.0]
        >>> Preparation(pixel_scale=1 / 127.5, pixel_offset=-1).normalize(white).amax().item()
        1.0
        """
        from videozoo.ops.pixels import normalize  # here: all else needs no torch

        return normalize(pixels, *self.whole_scale)

    @property
    def whole_scale(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of the same map for pixels in 0..1: (pixels / 255 - mean) / std."""
        whole = self.pixel_scale * 255
        mean = [(each - self.pixel_offset) / whole for each in self.mean]
        return mean, [each / whole for each in self.std]

    @property
    def facts(self) -> dict[str, Any]:
        """All of it as plain JSON data, for the fingerprint of features."""
        return {
            "short_side": self.short_side,
            "long_side": self.long_side,
            "size": None if self.size is None else list(self.size),
            "crop": None if self.crop is None else list(self.crop),
            "crop_offset": self.crop_offset,
            "interpolation": self.interpolation,
            "resize_with": self.resize_with,
            "pixel_scale": self.pixel_scale,
            "pixel_offset": self.pixel_offset,
            "mean": list(self.mean),
            "std": list(self.std),
        }


def _by(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
