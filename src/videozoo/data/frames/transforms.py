"""From decoded frames to the square that a network sees: resize, crop, mirror.

Everything takes and returns uint8 RGB frames (T, H, W, 3), and all frames of a clip share one
draw. Functions that draw take their generator and draw in the order of the 2019 readers, so an
equal state gives equal pixels. Results may be views; the caller makes them contiguous once.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from videozoo.errors import DataError
from videozoo.ops.byte_resize import resize_bytes

if TYPE_CHECKING:
    from videozoo.settings.clips import ResizeRule, ResizeWith

Frames = NDArray[np.uint8]
"""RGB frames (T, H, W, 3)."""


Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""How new pixels are computed from old ones: the filters of Pillow, by its names."""

MULTI_SCALES = (1.0, 0.875, 0.75, 0.66)
"""Sides of the multi-scale crop, as parts of the shorter side of the frame."""

_MOST_PIXELS = 1 << 26  # a frame this large comes only from a sliver of 2 x 2000


def resized_shape(
    height: int, width: int, *, short_side: int, rule: ResizeRule = "keep_aspect"
) -> tuple[int, int]:
    """Height and width of a frame once its shorter side is `short_side`.

    A frame that has that short side already keeps its shape under both rules.

    Args:
        height: Of the frame.
        width: Of the frame.
        short_side: In pixels.
        rule: `keep_aspect`, or `fixed_4_3` as the 2019 readers of TSN, TSM and StNet did:
            the longer side becomes 4/3 of the shorter one whatever it was.

    >>> resized_shape(360, 640, short_side=256)
    (256, 455)
    >>> resized_shape(360, 640, short_side=240, rule="fixed_4_3")
    (240, 320)
    >>> resized_shape(640, 360, short_side=240, rule="fixed_4_3")  # portrait
    (320, 240)
    >>> resized_shape(240, 900, short_side=240, rule="fixed_4_3")
    (240, 900)
    """
    if min(height, width) == short_side:
        return height, width
    if rule == "fixed_4_3":
        long_side = int(short_side * 4 / 3)
        return (long_side, short_side) if width < height else (short_side, long_side)
    ratio = short_side / min(height, width)
    return round(height * ratio), round(width * ratio)


def resize_short_side(
    frames: Frames,
    short_side: int,
    *,
    rule: ResizeRule = "keep_aspect",
    backend: ResizeWith = "torch",
) -> Frames:
    """Scale frames so that their shorter side has `short_side` pixels.

    Raises:
        DataError: The frames are such a narrow strip that the result would be huge.

    >>> resize_short_side(np.zeros((8, 30, 40, 3), np.uint8), 15).shape
    (8, 15, 20, 3)
    """
    height, width = frames.shape[1:3]
    shape = resized_shape(height, width, short_side=short_side, rule=rule)
    check_narrow(height, width, shape)
    return resize(frames, *shape, backend=backend)


def check_narrow(height: int, width: int, shape: tuple[int, int]) -> None:
    """Check that frames of `height` x `width` may grow to `shape`, (height, width).

    Raises:
        DataError: They are such a narrow strip that the result would be huge.
    """
    if shape[0] * shape[1] > _MOST_PIXELS:
        raise DataError(
            f"frames of {width}x{height} are too narrow: with a short side of {min(shape)} "
            f"they would be {shape[1]}x{shape[0]}"
        )


def resize(
    frames: Frames,
    height: int,
    width: int,
    *,
    backend: ResizeWith = "torch",
    interpolation: Interpolation = "bilinear",
) -> Frames:
    """Scale frames to `height` x `width`.

    Args:
        frames: uint8 (T, H, W, 3).
        height: Of the result.
        width: Of the result.
        backend: `torch` averages over all pixels that shrink into one (antialias), within 1 grey
            level of `pillow` when shrinking and 2 when growing, about five times as fast.
            `pillow` is what the 2019 readers of TSN, TSM and StNet used, bit for bit. `plain`
            reads only the four nearest pixels, as OpenCV in the 2019 reader of Non-local,
            within 1 grey level; it aliases when shrinking.
        interpolation: Filter. `torch` and `plain` know `bilinear` and `bicubic`.

    Returns:
        uint8 (T, height, width, 3), contiguous; `frames` itself where nothing changes.

    Raises:
        ValueError: The backend does not know the filter.

    >>> row = np.array([0, 100], np.uint8).reshape(1, 1, 2, 1).repeat(3, axis=3)
    >>> resize(row, 1, 4)[0, 0, :, 0].tolist()
    [0, 25, 75, 100]
    """
    if frames.shape[1:3] == (height, width):
        return frames
    if backend == "pillow":
        resampling = Image.Resampling[interpolation.upper()]
        images = [
            Image.fromarray(np.ascontiguousarray(frame)).resize((width, height), resampling)
            for frame in frames
        ]
        return np.stack([np.asarray(image) for image in images])
    if interpolation not in ("bilinear", "bicubic"):
        raise ValueError(f"resize: {interpolation} with {backend}; only pillow knows this filter")
    if not _has_torch():
        return resize_bytes(
            frames, height, width, interpolation=interpolation, antialias=backend == "torch"
        )
    import torch
    from torch.nn import functional as F

    # seen as (T, 3, H, W) the memory is channels-last, for which torch has fast uint8 kernels
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
    scaled = F.interpolate(
        pixels,
        size=(height, width),
        mode=interpolation,
        align_corners=False,
        antialias=backend == "torch",
    )
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def _has_torch() -> bool:
    """Whether PyTorch is here to do the work, as in all that uses it anyway.

    Elsewhere, as in the runtime of bundles, numpy gives the same bytes, more slowly.
    """
    return "torch" in sys.modules


def jittered_short_side(smallest: int, largest: int, rng: np.random.RandomState) -> int:
    """Draw a short side from `smallest` to `largest - 1`; equal bounds draw nothing.

    >>> jittered_short_side(256, 256, np.random.RandomState(0))
    256
    """
    return smallest if smallest == largest else int(rng.randint(smallest, largest))


def crop(frames: Frames, *, top: int, left: int, height: int, width: int) -> Frames:
    """Cut out a rectangle; a view.

    Raises:
        ValueError: It does not lie within the frames.

    >>> crop(np.zeros((8, 30, 40, 3), np.uint8), top=1, left=2, height=20, width=10).shape
    (8, 20, 10, 3)
    """
    if min(top, left) < 0 or top + height > frames.shape[1] or left + width > frames.shape[2]:
        raise ValueError(
            f"a crop of {width}x{height} at x={left}, y={top} does not lie in "
            f"frames of {frames.shape[2]}x{frames.shape[1]}"
        )
    return frames[:, top : top + height, left : left + width]


def centre_crop(frames: Frames, size: int) -> Frames:
    """Cut the middle `size` x `size`; half a pixel is rounded to the even offset, as in the 2019
    library.

    >>> frames = np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1).repeat(3, axis=3)
    >>> [centre_crop(frames[:, :, :n], 1)[0, 0, 0, 0].item() for n in (2, 3, 4, 5)]
    [0, 1, 2, 2]
    """
    height, width = frames.shape[1:3]
    return crop(
        frames,
        top=round((height - size) / 2),
        left=round((width - size) / 2),
        height=size,
        width=size,
    )


def positioned_crop(frames: Frames, size: int, position: int) -> Frames:
    """Cut one of the fixed squares of multi-crop testing.

    Args:
        frames: uint8 (T, H, W, 3).
        size: Side of the square.
        position: 0 to 2: top, middle, bottom of a portrait frame; left, middle, right of a
            landscape frame. 3 to 5: the same mirrored. With room both ways the shift is vertical,
            and the crop is centred horizontally. "Bottom" and "right" are twice the middle
            offset, so one pixel short of the edge when the room is odd.

    Raises:
        ValueError: The frames are smaller than the square.

    Source:
        PaddlePaddle/models release/1.8, non-local reader, `spatial_pos`.

    >>> frames = np.arange(7, dtype=np.uint8).reshape(1, 1, 7, 1).repeat(3, axis=3)
    >>> frames = frames.repeat(3, axis=1)  # 3 high, 7 wide
    >>> [positioned_crop(frames, 3, position)[0, 0, :, 0].tolist() for position in (0, 1, 2, 3)]
    [[0, 1, 2], [2, 3, 4], [4, 5, 6], [2, 1, 0]]
    """
    top, left = (max(0, frames.shape[axis] - size) // 2 for axis in (1, 2))
    if top > 0:
        top *= position % 3
    else:
        left *= position % 3
    square = crop(frames, top=top, left=left, height=size, width=size)
    return mirror(square) if position >= 3 else square


def random_crop(frames: Frames, size: int, rng: random.Random) -> Frames:
    """Cut a `size` x `size` square from anywhere. Draws x, then y, both ends included.

    >>> random_crop(np.zeros((8, 30, 40, 3), np.uint8), 30, random.Random(0)).shape
    (8, 30, 30, 3)
    """
    height, width = frames.shape[1:3]
    left = rng.randint(0, max(0, width - size))
    top = rng.randint(0, max(0, height - size))
    return crop(frames, top=top, left=left, height=size, width=size)


def random_crop_exclusive(frames: Frames, size: int, rng: np.random.RandomState) -> Frames:
    """Cut a square as Non-local of the 2019 library. Draws y, then x, without the last place.

    Where the frame has no room, the offset is 0 (an error in 2019).

    >>> frames = np.zeros((8, 30, 40, 3), np.uint8)
    >>> random_crop_exclusive(frames, 30, np.random.RandomState(0)).shape
    (8, 30, 30, 3)
    """
    height, width = frames.shape[1:3]
    top = int(rng.randint(0, max(1, height - size)))
    left = int(rng.randint(0, max(1, width - size)))
    return crop(frames, top=top, left=left, height=size, width=size)


def multi_scale_box(
    height: int, width: int, *, target: int, rng: random.Random
) -> tuple[int, int, int, int]:
    """Draw the rectangle of TSN's multi-scale crop: one of 10 shapes at one of 13 places.

    Args:
        height: Of the frame.
        width: Of the frame.
        target: Side that the crop is scaled to later; sides within 2 pixels of it are set to it
            (not where the frame is smaller than that).
        rng: Draws the shape, then the place.

    Returns:
        top, left, height, width. Rounding a place of half pixels can add a pixel to a side.

    Source:
        Wang et al., arXiv:1608.00859, section 4.1 (4 corners and the centre; the other 8 places
        came with its code). PaddlePaddle/models release/1.8, TSM.

    >>> multi_scale_box(36, 36, target=36, rng=random.Random(1))  # 31 = int(36 * 0.875)
    (4, 0, 31, 36)
    """
    base = min(height, width)
    sides = [int(base * scale) for scale in MULTI_SCALES]
    if target <= base:
        sides = [target if abs(side - target) < 3 else side for side in sides]
    shapes = [
        (tall, wide)
        for row, tall in enumerate(sides)
        for column, wide in enumerate(sides)
        if abs(row - column) <= 1
    ]
    tall, wide = rng.choice(shapes)
    left, top = rng.choice(_places((width - wide) / 4, (height - tall) / 4))
    # Pillow rounds each edge of a box by itself
    edges = round(top), round(left), round(top + tall), round(left + wide)
    return edges[0], edges[1], edges[2] - edges[0], edges[3] - edges[1]


def _places(step_x: float, step_y: float) -> list[tuple[float, float]]:
    """Upper left corners (x, y) on a 5 x 5 grid; some are left out if there is no room."""
    places = [(0.0, 0.0)]
    if step_x:
        places.append((4 * step_x, 0.0))
    if step_y:
        places.append((0.0, 4 * step_y))
    if step_x and step_y:
        places.append((4 * step_x, 4 * step_y))
    if step_x or step_y:
        places.append((2 * step_x, 2 * step_y))
    more: Sequence[tuple[int, int]] = (
        (0, 2),
        (4, 2),
        (2, 4),
        (2, 0),
        (1, 1),
        (3, 1),
        (1, 3),
        (3, 3),
    )
    return places + [(x * step_x, y * step_y) for x, y in more]


def multi_scale_crop(
    frames: Frames, size: int, rng: random.Random, *, backend: ResizeWith = "torch"
) -> Frames:
    """Cut a drawn rectangle (`multi_scale_box`) and scale it to `size` x `size`.

    >>> frames = np.zeros((8, 30, 40, 3), np.uint8)
    >>> multi_scale_crop(frames, 24, random.Random(0)).shape
    (8, 24, 24, 3)
    """
    height, width = frames.shape[1:3]
    top, left, tall, wide = multi_scale_box(height, width, target=size, rng=rng)
    cut = crop(frames, top=top, left=left, height=tall, width=wide)
    return resize(cut, size, size, backend=backend)


def mirror(frames: Frames) -> Frames:
    """Swap left and right; a copy.

    >>> mirror(np.arange(6, dtype=np.uint8).reshape(1, 1, 2, 3))[0, 0].tolist()
    [[3, 4, 5], [0, 1, 2]]
    """
    if not _has_torch():
        return np.ascontiguousarray(frames[:, :, ::-1])
    import torch

    # torch copies pixel rows backwards several times as fast as numpy does
    pixels = frames if frames.flags.writeable and min(frames.strides) >= 0 else frames.copy()
    return torch.from_numpy(pixels).flip(2).numpy()


def side_by_side(frames: Frames, run: int) -> NDArray[np.uint8]:
    """Put each `run` neighbouring frames on the channels of one step.

    Args:
        frames: uint8 (S * run, H, W, 3).
        run: Frames a step.

    Returns:
        (S, H, W, 3 * run), contiguous: red, green, blue of the first frame, then of the second.

    >>> frames = np.arange(2, dtype=np.uint8).reshape(2, 1, 1, 1).repeat(3, axis=3)
    >>> side_by_side(frames, 2)[0, 0, 0].tolist()
    [0, 0, 0, 1, 1, 1]
    """
    count, height, width, _ = frames.shape
    steps = frames.reshape(count // run, run, height, width, 3).transpose(0, 2, 3, 1, 4)
    return np.ascontiguousarray(steps).reshape(count // run, height, width, 3 * run)
