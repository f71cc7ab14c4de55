import numpy as np
import pytest
import torch

from videozoo.ops import dequantize

EVERY_BYTE = torch.arange(256, dtype=torch.uint8)


@pytest.mark.parametrize(("half_step", "offset"), [(True, 4 / 512 - 2), (False, -2.0)])
def test_bytes_become_features_as_2019_made_them(half_step: bool, offset: float):
    expected = np.arange(256) * 4 / 255 + offset

    ours = dequantize(EVERY_BYTE, half_step=half_step)

    assert ours.dtype == torch.float32
    np.testing.assert_allclose(ours.numpy(), expected, rtol=0, atol=5e-7)


def test_the_bytes_themselves_stay_as_they_were():
    stored = torch.tensor([0, 7, 255], dtype=torch.uint8)

    dequantize(stored)

    assert stored.tolist() == [0, 7, 255]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_floats_need_nothing(dtype: torch.dtype):
    features = torch.tensor([[-3.0, 0.0, 200.0]], dtype=dtype)

    ours = dequantize(features)

    assert ours.dtype == torch.float32
    assert torch.equal(ours, features.float())


def test_any_shape_keeps_its_shape():
    assert dequantize(torch.zeros(2, 0, 3, dtype=torch.uint8)).shape == (2, 0, 3)
