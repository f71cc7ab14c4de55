import pytest
import torch

from videozoo.models.tsm import SPEC, TSM, TSMSettings
from videozoo.types import ParameterRule

SETTINGS = TSMSettings(num_classes=4, depth=50, width=0.125, num_segments=4)


@pytest.fixture
def model() -> TSM:
    torch.manual_seed(0)
    return TSM(SETTINGS).eval()


def test_frame_order_matters(model: TSM):
    clip = torch.randn(1, 4, 3, 32, 32)

    assert not torch.allclose(model(clip), model(clip.flip(1)))


def test_clips_do_not_leak_into_each_other(model: TSM):
    clips = torch.randn(2, 4, 3, 32, 32)
    other = torch.cat([clips[:1], torch.randn(1, 4, 3, 32, 32)])

    torch.testing.assert_close(model(clips)[0], model(other)[0])


def test_evaluation_scales_features_by_what_training_keeps(model: TSM):
    clip, half = torch.randn(1, 4, 3, 32, 32), TSM(SETTINGS.model_copy(update={"dropout": 0.0}))
    half.load_state_dict(model.state_dict())
    half.eval()

    without_bias = model(clip) - model.head.bias

    torch.testing.assert_close(without_bias, 0.5 * (half(clip) - half.head.bias))


def test_another_number_of_frames_is_refused(model: TSM):
    with pytest.raises(ValueError, match=r"hold 8 frames, expected num_segments=4"):
        model(torch.randn(1, 8, 3, 32, 32))


def test_the_last_bias_learns_twice_as_fast_and_does_not_decay(model: TSM):
    rules = SPEC.parameter_rules(model)

    assert rules == {"head.bias": ParameterRule(learning_rate_factor=2.0, decay="none")}
