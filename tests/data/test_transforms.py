import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from videozoo.data.frames import transforms
from videozoo.data.frames.transforms import Frames
from videozoo.errors import DataError
from videozoo.settings.clips import ResizeRule, ResizeWith

GOLDEN = Path(__file__).parents[1] / "golden"

sides = st.integers(8, 90)
seeds = st.integers(0, 2**31)
BACKENDS: tuple[ResizeWith, ...] = ("torch", "pillow", "plain")


def noise(height: int, width: int, *, seed: int = 0, frames: int = 2) -> Frames:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (frames, height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)[:, :height, :width]


def largest(ours: Frames, theirs: NDArray[Any]) -> int:
    assert ours.shape == theirs.shape
    return int(np.abs(ours.astype(int) - theirs.astype(int)).max())


def test_kinetics_pixels_are_those_of_2019():
    with np.load(GOLDEN / "reader_kinetics" / "outputs.npz") as recorded:
        frames = recorded["jpeg_decoded/v0"][:2]
        portrait = recorded["jpeg_decoded/v1"][:2]

        def shrink(x: Frames) -> Frames:
            return transforms.resize_short_side(x, 36, rule="fixed_4_3", backend="pillow")

        scaled = shrink(frames)
        assert largest(scaled, recorded["piece/scale_landscape"]) == 0
        assert largest(shrink(portrait), recorded["piece/scale_portrait"]) == 0
        assert largest(transforms.centre_crop(scaled, 32), recorded["piece/center"]) == 0
        for seed in range(6):
            cut = transforms.multi_scale_crop(scaled, 36, random.Random(seed), backend="pillow")
            assert largest(cut, recorded[f"piece/multiscale_seed{seed}"]) == 0
            cut = transforms.random_crop(scaled, 32, random.Random(seed))
            assert largest(cut, recorded[f"piece/random_crop_seed{seed}"]) == 0


@pytest.mark.parametrize("piece", ["piece/resize", "piece/resize_up"])
def test_plain_resize_is_within_a_grey_level_of_opencv(piece: str):
    with np.load(GOLDEN / "reader_nonlocal" / "outputs.npz") as recorded:
        theirs = recorded[piece]
        ours = transforms.resize(recorded["decoded/v0"][:2], *theirs.shape[1:3], backend="plain")

    assert largest(ours, theirs) <= 1


@given(height=sides, width=sides, new_height=sides, new_width=sides, seed=seeds)
def test_torch_resize_is_close_to_pillow(
    height: int, width: int, new_height: int, new_width: int, seed: int
):
    frames = noise(height, width, seed=seed)
    fast = transforms.resize(frames, new_height, new_width, backend="torch")
    exact = transforms.resize(frames, new_height, new_width, backend="pillow")

    assert largest(fast, exact) <= 3
    assert np.abs(fast.astype(float) - exact).mean() < 0.3


@given(height=sides, width=sides, short=sides)
@pytest.mark.parametrize("rule", ["keep_aspect", "fixed_4_3"])
def test_the_short_side_is_what_was_asked_for(
    height: int, width: int, short: int, rule: ResizeRule
):
    shape = transforms.resized_shape(height, width, short_side=short, rule=rule)

    assert min(shape) == short
    if shape[0] != shape[1]:
        assert (shape[0] < shape[1]) == (height <= width)


@pytest.mark.parametrize("backend", BACKENDS)
def test_resize_gives_new_contiguous_frames(backend: ResizeWith):
    mirrored = transforms.mirror(noise(20, 30))
    scaled = transforms.resize(mirrored, 10, 15, backend=backend)

    assert scaled.shape == (2, 10, 15, 3)
    assert scaled.dtype == np.uint8
    assert scaled.flags.c_contiguous
    upright = transforms.resize(noise(20, 30), 10, 15, backend=backend)
    assert largest(transforms.mirror(scaled), upright) <= 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_flat_picture_stays_flat(backend: ResizeWith):
    flat = np.full((1, 31, 17, 3), 77, np.uint8)

    assert np.unique(transforms.resize(flat, 50, 9, backend=backend)).tolist() == [77]


def test_frames_of_the_right_size_are_not_touched():
    frames = noise(36, 60)

    assert transforms.resize_short_side(frames, 36) is frames
    assert transforms.resize_short_side(frames, 36, rule="fixed_4_3") is frames


@given(height=sides, width=sides, size=st.integers(1, 8), seed=seeds)
def test_crops_are_parts_of_the_frame(height: int, width: int, size: int, seed: int):
    frames = np.arange(height * width, dtype=np.int64).reshape(1, height, width, 1)
    frames = frames.repeat(3, axis=3).repeat(2, axis=0)
    rng = random.Random(seed)
    cuts = [
        transforms.centre_crop(frames, size),  # pyright: ignore[reportArgumentType]
        transforms.random_crop(frames, size, rng),  # pyright: ignore[reportArgumentType]
        transforms.random_crop_exclusive(
            frames,  # pyright: ignore[reportArgumentType]
            size,
            np.random.RandomState(seed),
        ),
        *(
            transforms.positioned_crop(frames, size, position)  # pyright: ignore[reportArgumentType]
            for position in range(3)
        ),
    ]

    for cut in cuts:
        assert cut.shape == (2, size, size, 3)
        first = int(cut[0, 0, 0, 0])
        rows, columns = np.mgrid[0:size, 0:size]
        np.testing.assert_array_equal(cut[0, :, :, 0], first + rows * width + columns)
        np.testing.assert_array_equal(cut[0], cut[1])  # all frames share one place


@given(height=sides, width=sides, target=st.integers(6, 60), seed=seeds)
def test_the_multi_scale_box_lies_in_the_frame(height: int, width: int, target: int, seed: int):
    top, left, tall, wide = transforms.multi_scale_box(
        height, width, target=target, rng=random.Random(seed)
    )

    assert min(top, left) >= 0
    assert top + tall <= height
    assert left + wide <= width
    assert min(tall, wide) >= int(min(height, width) * 0.66) - 3


def test_a_target_larger_than_the_frame_does_not_enlarge_the_box():
    for seed in range(40):
        _, _, tall, wide = transforms.multi_scale_box(22, 29, target=24, rng=random.Random(seed))
        assert max(tall, wide) <= 23  # 22, and a pixel of rounding


def test_random_crops_reach_every_place():
    frames = noise(10, 12)
    frames[:] = np.arange(12, dtype=np.uint8)[None, None, :, None]
    rng, old = random.Random(0), np.random.RandomState(0)

    inclusive = {int(transforms.random_crop(frames, 8, rng)[0, 0, 0, 0]) for _ in range(200)}
    exclusive = {
        int(transforms.random_crop_exclusive(frames, 8, old)[0, 0, 0, 0]) for _ in range(200)
    }

    assert inclusive == {0, 1, 2, 3, 4}
    assert exclusive == {0, 1, 2, 3}  # the last place never, as in 2019


def test_six_positions_are_three_and_their_mirrors():
    frames = noise(20, 33)
    views = [transforms.positioned_crop(frames, 20, position) for position in range(6)]

    for plain, mirrored in zip(views[:3], views[3:], strict=True):
        np.testing.assert_array_equal(transforms.mirror(plain), mirrored)
    assert not np.array_equal(views[0], views[2])


def test_jitter_excludes_its_upper_end_and_a_single_value_draws_nothing():
    rng = np.random.RandomState(0)
    drawn = {transforms.jittered_short_side(5, 8, rng) for _ in range(100)}
    alone = np.random.RandomState(1)
    fixed = transforms.jittered_short_side(8, 8, alone)

    assert drawn == {5, 6, 7}
    assert fixed == 8
    assert alone.rand() == np.random.RandomState(1).rand()


def test_a_sliver_is_refused_before_it_fills_the_memory():
    with pytest.raises(DataError, match="frames of 4000x2 are too narrow"):
        transforms.resize_short_side(np.zeros((1, 2, 4000, 3), np.uint8), 256)


def test_a_crop_outside_the_frame_is_refused():
    with pytest.raises(ValueError, match=r"a crop of 40x40 .* frames of 30x20"):
        transforms.centre_crop(noise(20, 30), 40)


def test_mirroring_takes_any_view_and_leaves_the_frames_alone():
    frames = noise(20, 30)
    before = frames.copy()
    locked = frames.copy()
    locked.flags.writeable = False
    turned = frames.transpose(0, 2, 1, 3)

    for view in (frames, frames[:, 3:9, 2:20], frames[:, :, ::-1], locked, turned):
        np.testing.assert_array_equal(transforms.mirror(view), view[:, :, ::-1])
    np.testing.assert_array_equal(frames, before)
