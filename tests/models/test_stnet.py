import numpy as np
import pytest
import torch

from videozoo.models.stnet import StNet, StNetSettings, TemporalBlock, from_image_net

CONV_1 = "backbone.stem.conv.weight"
SETTINGS = StNetSettings(num_classes=4, depth=18, width=0.125, num_segments=3, frames_per_segment=2)


@pytest.fixture
def model() -> StNet:
    torch.manual_seed(0)
    return StNet(SETTINGS).eval()


def test_order_of_super_images_matters(model: StNet):
    clip = torch.randn(1, 3, 6, 32, 32)

    assert not torch.allclose(model(clip), model(clip[:, [1, 0, 2]]))


def test_temporal_blocks_see_the_neighbours_and_no_further():
    block = TemporalBlock(8).eval()
    x = torch.randn(4, 8, 2, 2, requires_grad=True)

    block(x, num_segments=4)[0].sum().backward()

    assert x.grad is not None
    assert [bool(frame.any()) for frame in x.grad] == [True, True, False, False]


def test_clips_do_not_leak_into_each_other(model: StNet):
    clips = torch.randn(2, 3, 6, 32, 32)
    other = torch.cat([clips[:1], torch.randn(1, 3, 6, 32, 32)])

    torch.testing.assert_close(model(clips)[0], model(other)[0])


def test_evaluation_may_see_more_segments_than_training(model: StNet):
    assert model(torch.randn(1, 25, 6, 32, 32)).shape == (1, 4)


def test_a_still_grey_clip_gives_the_adapted_kernel_what_its_frame_gave():
    kernel = np.random.default_rng(0).standard_normal((8, 3, 7, 7)).astype(np.float32)

    adapted = from_image_net(SETTINGS, {CONV_1: kernel})[CONV_1]

    grey = torch.randn(1, 1, 16, 16)
    torch.testing.assert_close(
        torch.nn.functional.conv2d(grey.repeat(1, 6, 1, 1), torch.from_numpy(adapted)),
        torch.nn.functional.conv2d(grey.repeat(1, 3, 1, 1), torch.from_numpy(kernel)),
        atol=1e-4,
        rtol=1e-4,
    )
    assert (adapted == adapted[:, :1]).all()


def test_what_an_image_network_lacks_is_not_taken_from_it():
    ours = "backbone.stages.0.0.shortcut.conv.weight"
    others = ["head.weight", "temporal.0.bn.weight", "temporal.0.conv.weight"]
    names = [ours, *others, "temporal_head.bn_in.weight"]

    adapted = from_image_net(SETTINGS, dict.fromkeys(names, np.zeros(1, np.float32)))

    assert list(adapted) == [ours]
