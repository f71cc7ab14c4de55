import pytest
import torch
from torch import nn

from videozoo import resnet_names
from videozoo.models import _resnet
from videozoo.models._resnet import ResNet
from videozoo.resnet_names import BLOCKS


@pytest.mark.parametrize(
    ("depth", "millions"), [(18, 11.2), (34, 21.3), (50, 23.5), (101, 42.5), (152, 58.1)]
)
def test_has_the_published_number_of_weights(depth: int, millions: float):
    with torch.device("meta"):
        trunk = ResNet(depth)

    count = sum(p.numel() for p in trunk.parameters()) / 1e6

    assert count == pytest.approx(millions, abs=0.06)


@pytest.mark.parametrize("depth", BLOCKS)
def test_paddle_names_are_those_of_every_tensor(depth: int):
    with torch.device("meta"):
        keys = {k for k in ResNet(depth).state_dict() if "num_batches" not in k}

    assert set(resnet_names.paddle_names(depth)) == keys
    assert set(resnet_names.torchvision_names(depth)) == keys


def test_long_stages_are_counted_and_short_ones_lettered():
    names = [
        resnet_names.block_name(depth, 2, 35 if depth == 152 else 5) for depth in (34, 50, 101, 152)
    ]

    assert names == ["4f", "4f", "4b5", "4b35"]
    assert resnet_names.block_name(152, 1, 7) == "3h"


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("width", [0.05, 0.25, 1.5])
def test_width_scales_the_features(depth: int, width: float):
    trunk = ResNet(depth, width=width).eval()

    features = trunk(torch.zeros(1, 3, 32, 32))

    base = max(8, round(64 * width))
    assert features.shape == (1, trunk.num_features) == (1, base * (32 if depth == 50 else 8))


def test_the_shortcut_does_not_see_what_the_branch_sees():
    block = _resnet.Residual([nn.Identity()], nn.Identity(), branch_input=lambda x: 100 * x)

    assert block(torch.ones(1)).item() == 101


def test_a_still_clip_gives_stacked_kernels_what_its_frame_gave():
    kernel, frame = torch.randn(4, 3, 7, 7), torch.randn(1, 3, 16, 16)

    stacked = torch.from_numpy(_resnet.for_stacked_frames(kernel.numpy(), 5))

    torch.testing.assert_close(
        nn.functional.conv2d(frame.repeat(1, 5, 1, 1), stacked),
        nn.functional.conv2d(frame, kernel),
        atol=1e-4,
        rtol=1e-4,
    )


def test_first_weights_are_spread_by_their_inputs():
    torch.manual_seed(0)
    conv = ResNet(18).stages[3][1].branch[0].conv  # pyright: ignore

    assert conv.weight.std().item() == pytest.approx((2 / (9 * 512)) ** 0.5, rel=0.01)
