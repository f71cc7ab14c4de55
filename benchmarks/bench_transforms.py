"""Resize, crop and normalise eight frames: ours beside Pillow, which the 2019 readers used.

Values are compared first: within 1 grey level of Pillow when shrinking, 2 when growing;
normalising bit for bit.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tests.data.make_clips import moving_frames

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    as_figures,
    check_close,
    main,
    measure,
    one_thread,
    ratio,
)
from videozoo.data.frames import transforms
from videozoo.ops import normalize

Frames = NDArray[np.uint8]

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def pillow_resize(frames: Frames, height: int, width: int) -> Frames:
    """As the 2019 readers: one image at a time, from and to numpy arrays."""
    images = [Image.fromarray(frame) for frame in frames]
    scaled = [image.resize((width, height), Image.Resampling.BILINEAR) for image in images]
    return np.stack([np.asarray(image) for image in scaled])


def our_train_crop(frames: Frames) -> Frames:
    """Short side 256, multi-scale crop to 224, mirrored, contiguous."""
    frames = transforms.resize_short_side(frames, 256)
    frames = transforms.multi_scale_crop(frames, 224, random.Random(3))
    return transforms.side_by_side(transforms.mirror(frames), 1)


def pillow_train_crop(frames: Frames) -> Frames:
    images = [Image.fromarray(frame) for frame in frames]
    height, width = transforms.resized_shape(*frames.shape[1:3], short_side=256)
    images = [image.resize((width, height), Image.Resampling.BILINEAR) for image in images]
    top, left, tall, wide = transforms.multi_scale_box(
        height, width, target=224, rng=random.Random(3)
    )
    box = (left, top, left + wide, top + tall)
    images = [image.crop(box).resize((224, 224), Image.Resampling.BILINEAR) for image in images]
    mirrored = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in images]
    return np.stack([np.asarray(image) for image in mirrored])


def numpy_normalize(frames: Frames) -> NDArray[np.float32]:
    """As the 2019 readers: frame by frame, then (T, 3, H, W)."""
    chw = [frame.transpose(2, 0, 1).astype(np.float32) / np.float32(255) for frame in frames]
    mean, std = (np.asarray(values, np.float32).reshape(3, 1, 1) for values in (MEAN, STD))
    return np.concatenate([((frame - mean) / std)[None] for frame in chw])


def run(options: Options) -> Outcome:
    one_thread()
    rounds = 2 if options.quick else 100 if options.full else 30
    large = moving_frames(2 if options.quick else 8, height=360, width=640)
    square = np.ascontiguousarray(large[:, :224, :224])
    small = np.ascontiguousarray(large[:, :192, :192])
    figures: dict[str, Any] = {}
    targets: list[Target] = []

    def compare(case: str, ours: Any, theirs: Any, *, most: float, limit: float | None) -> None:
        difference = check_close(case, ours(), theirs(), most=most)
        timings = measure({"videozoo": ours, "2019": theirs}, rounds=rounds, warmup=2)
        figures[case] = {"largest_difference": difference, **as_figures(timings)}
        targets.append(
            Target(name=f"{case}: times as fast", limit=limit, figure=ratio(timings, *_SIDES))
        )

    compare(
        "resize 8 frames 640x360 to short side 256, beside Pillow",
        lambda: transforms.resize_short_side(large, 256),
        lambda: pillow_resize(large, 256, 455),
        most=1,
        limit=5,
    )
    targets.append(
        Target(
            name="resize 8 frames 640x360 to short side 256: largest difference to Pillow",
            limit=1,
            figure=_last_difference(figures),
            is_least=False,
            unit="levels",
        )
    )
    compare(
        "resize 8 frames 192x192 to 224x224, beside Pillow",
        lambda: transforms.resize(small, 224, 224),
        lambda: pillow_resize(small, 224, 224),
        most=2,
        limit=5,
    )
    compare(
        "resize, multi-scale crop and mirror 8 frames, beside Pillow",
        lambda: our_train_crop(large),
        lambda: pillow_train_crop(large),
        most=3,  # 1 of shrinking, 2 of growing
        limit=None,
    )
    # the device gets (T, 3, H, W) whose memory is (T, H, W, 3)
    pixels = torch.from_numpy(square).permute(0, 3, 1, 2)
    compare(
        "normalise 8 frames of 224x224, beside numpy",
        lambda: normalize(pixels, MEAN, STD).numpy(),
        lambda: numpy_normalize(square),
        most=0,
        limit=None,
    )
    return Outcome("transforms", targets, figures, ("numpy", "pillow", "torch"))


_SIDES: Sequence[str] = ("2019", "videozoo")


def _last_difference(figures: dict[str, Any]) -> float:
    return next(reversed(figures.values()))["largest_difference"]


if __name__ == "__main__":
    main(run)
