import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from videozoo.data.frames.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from videozoo.data.frames.transforms import Frames, Interpolation
from videozoo.errors import DataError


def noise(height: int, width: int) -> Frames:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (2, height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]


FILTERS: tuple[Interpolation, ...] = (
    "nearest",
    "box",
    "bilinear",
    "hamming",
    "bicubic",
    "lanczos",
)


@pytest.mark.parametrize("interpolation", FILTERS)
@pytest.mark.parametrize("shape", [(36, 65), (65, 36), (20, 20)])
def test_frames_are_scaled_and_cropped_as_pillow_does(
    interpolation: Interpolation, shape: tuple[int, int]
):
    frames = noise(*shape)
    height, width = shape
    scaled = (int(23 * width / height), 23) if height <= width else (23, int(23 * height / width))
    image = Image.fromarray(frames[1]).resize(scaled, Image.Resampling[interpolation.upper()])
    left, top = (scaled[0] - 20) // 2, (scaled[1] - 18) // 2

    ours = Preparation(short_side=23, crop=(18, 20), interpolation=interpolation).apply(frames)

    assert ours.shape == (2, 18, 20, 3)
    assert ours.dtype == np.uint8
    assert np.array_equal(ours[1], np.asarray(image.crop((left, top, left + 20, top + 18))))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_torch_is_within_two_grey_levels_of_pillow(interpolation: Interpolation):
    frames = noise(72, 131)
    exact = Preparation(size=(32, 40), interpolation=interpolation)
    fast = Preparation(size=(32, 40), interpolation=interpolation, resize_with="torch")

    difference = np.abs(exact.apply(frames).astype(int) - fast.apply(frames).astype(int))

    assert 0 < difference.max() <= 2


def test_half_a_pixel_goes_where_the_description_says():
    row = np.arange(5, dtype=np.uint8).reshape(1, 1, 5, 1).repeat(3, axis=3)

    def cut(**offset: Any) -> int:
        return int(Preparation(crop=(1, 2), **offset).apply(row)[0, 0, 0, 0])

    assert cut() == 1  # 1.5 pixels of room on each side
    assert cut(crop_offset="even") == 2


def test_the_longer_side_follows_the_rule():
    def width(**rule: Any) -> int:
        return Preparation(short_side=16, **rule).apply(noise(20, 37)).shape[2]

    assert width() == 29  # of 29.6
    assert width(long_side="round") == 30
    assert width(long_side="fixed_4_3") == 21


def test_pixels_become_the_values_of_the_training():
    pixels = torch.randint(0, 256, (2, 4, 3, 5, 6), dtype=torch.uint8)
    given = Preparation(
        pixel_scale=1 / 127.5, pixel_offset=-1, mean=IMAGENET_MEAN, std=IMAGENET_STD
    )

    values = given.normalize(pixels)

    mean = torch.tensor(IMAGENET_MEAN, dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor(IMAGENET_STD, dtype=torch.float64).view(3, 1, 1)
    expected = (pixels.double() / 127.5 - 1 - mean) / std
    assert values.dtype == torch.float32
    torch.testing.assert_close(values, expected.float(), atol=1e-5, rtol=0)


def test_facts_are_plain_and_tell_every_difference():
    first = Preparation(short_side=40, crop=(32, 32), mean=IMAGENET_MEAN)
    others = [
        Preparation(short_side=41, crop=(32, 32), mean=IMAGENET_MEAN),
        Preparation(short_side=40, crop=(32, 31), mean=IMAGENET_MEAN),
        Preparation(size=(40, 40), crop=(32, 32), mean=IMAGENET_MEAN),
        Preparation(short_side=40, crop=(32, 32), mean=IMAGENET_STD),
        Preparation(short_side=40, crop=(32, 32), mean=IMAGENET_MEAN, interpolation="bicubic"),
        Preparation(short_side=40, crop=(32, 32), mean=IMAGENET_MEAN, pixel_scale=1.0),
        Preparation(short_side=40, crop=(32, 32), mean=IMAGENET_MEAN, resize_with="torch"),
        Preparation(short_side=40, crop=(32, 32), mean=IMAGENET_MEAN, long_side="round"),
    ]

    assert json.loads(json.dumps(first.facts)) == first.facts
    assert all(other.facts != first.facts for other in others)
    assert first.shape == (32, 32)
    assert Preparation(short_side=40).shape is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"short_side": 40, "size": (40, 40)}, "expected one"),
        ({"short_side": 0}, "a side of 0 pixels"),
        ({"size": (32, 1 << 20)}, "a side of 1048576 pixels"),
        ({"short_side": 32, "crop": (40, 40)}, "a crop of 40x40 out of frames that may have 32x32"),
        ({"std": (1.0, 0.0, 1.0)}, "std more than 0"),
        ({"mean": (float("nan"), 0.0, 0.0)}, "finite"),
        ({"pixel_scale": -1.0}, "more than 0"),
        ({"resize_with": "torch", "interpolation": "lanczos"}, "does not know lanczos"),
    ],
)
def test_a_description_that_cannot_be_is_refused(wrong: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        Preparation(**wrong)


def test_frames_that_cannot_be_prepared_are_named():
    with pytest.raises(DataError, match="frames of 20x10 are smaller than the 16x16"):
        Preparation(crop=(16, 16)).apply(noise(10, 20))
    with pytest.raises(DataError, match="frames of 4000x2 are too narrow"):
        Preparation(short_side=224).apply(noise(2, 4000))
