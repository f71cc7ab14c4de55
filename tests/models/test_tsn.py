import pytest
import torch

from videozoo.models.tsn import SPEC, TSN, TSNSettings, from_image_net

SETTINGS = TSNSettings(num_classes=4, depth=18, width=0.125, num_segments=3)


@pytest.fixture
def model() -> TSN:
    torch.manual_seed(0)
    return TSN(SETTINGS).eval()


def test_frame_order_does_not_matter(model: TSN):
    clips = torch.randn(2, 3, 3, 32, 32)

    torch.testing.assert_close(model(clips), model(clips.flip(1)))


def test_logits_are_the_mean_over_frames(model: TSN):
    clips = torch.randn(1, 3, 3, 32, 32)

    apart = torch.stack([model(clips[:, i : i + 1]) for i in range(3)]).mean(dim=0)

    torch.testing.assert_close(model(clips), apart)


def test_evaluation_may_see_more_segments_than_training(model: TSN):
    assert model(torch.randn(1, 7, 3, 32, 32)).shape == (1, 4)


def test_the_classifier_of_the_image_network_is_left_out():
    arrays = from_image_net(
        SETTINGS,
        {"head.weight": torch.zeros(1000, 512).numpy(), "backbone.x": torch.zeros(1).numpy()},
    )

    assert list(arrays) == ["backbone.x"]


def test_everything_follows_the_common_rule(model: TSN):
    assert SPEC.parameter_rules(model) == {}
