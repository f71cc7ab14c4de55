import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings

from videozoo.ops import normalize

quick = settings(max_examples=25, deadline=None)  # the first call of a kernel is slow

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@quick
@given(frames=st.integers(1, 5), seed=st.integers(0, 100))
def test_equals_the_formula_bit_for_bit(frames: int, seed: int):
    pixels = np.random.default_rng(seed).integers(0, 256, (2, 4, 3 * frames, 3, 2), dtype=np.uint8)

    ours = normalize(torch.from_numpy(pixels), MEAN, STD)

    mean, std = (np.float32(np.tile(v, frames)).reshape(-1, 1, 1) for v in (MEAN, STD))
    wanted = (pixels.astype(np.float32) / np.float32(255) - mean) / std
    np.testing.assert_array_equal(ours.numpy(), wanted)


def test_stacked_frames_are_normalised_like_single_ones():
    clip = torch.randint(0, 256, (5, 3, 4, 4), dtype=torch.uint8)

    stacked = normalize(clip.flatten(0, 1), MEAN, STD)

    assert torch.equal(stacked, normalize(clip, MEAN, STD).flatten(0, 1))


def test_channels_last_frames_stay_channels_last():
    frames = torch.zeros(2, 3, 4, 5, dtype=torch.uint8).to(memory_format=torch.channels_last)

    assert normalize(frames, MEAN, STD).is_contiguous(memory_format=torch.channels_last)


def test_the_bytes_themselves_are_not_changed():
    frames = torch.full((1, 3, 1, 1), 7, dtype=torch.uint8)

    normalize(frames, MEAN, STD)

    assert frames.flatten().tolist() == [7, 7, 7]


def test_refuses_what_was_normalised_before():
    with pytest.raises(ValueError, match=r"expected uint8 pixels, got torch\.float32"):
        normalize(torch.zeros(1, 3, 1, 1), MEAN, STD)


def test_refuses_channels_that_are_no_whole_frames():
    with pytest.raises(ValueError, match="4 channels with 3 means and 3 deviations"):
        normalize(torch.zeros(1, 4, 1, 1, dtype=torch.uint8), MEAN, STD)
