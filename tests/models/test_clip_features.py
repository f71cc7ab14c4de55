"""What clip models offer for extraction: the vector that their classifier reads."""

from typing import Any

import pytest
import torch

from videozoo.models import model_spec

SMALL: dict[str, dict[str, Any]] = {
    "tsn": {"num_segments": 3, "frames_per_segment": 2},
    "tsm": {"num_segments": 4, "dropout": 0.25},
    "stnet": {"num_segments": 3, "frames_per_segment": 2},
    "nonlocal": {"num_frames": 4, "dropout": 0.25, "bn_init_gamma": 1.0},
}
CLIPS = {"tsn": (3, 6), "tsm": (4, 3), "stnet": (3, 6), "nonlocal": (4, 3)}


def build(name: str) -> Any:
    spec = model_spec(name)
    torch.manual_seed(0)
    settings = spec.settings(num_classes=5, depth=18, width=0.125, **SMALL[name])  # pyright: ignore[reportCallIssue]
    return spec.build(settings).eval()


def clips_for(name: str, size: int = 32) -> torch.Tensor:
    torch.manual_seed(1)
    steps, channels = CLIPS[name]
    return torch.randn(2, steps, channels, size, size)


@pytest.mark.parametrize("name", SMALL)
def test_the_classifier_reads_the_features(name: str):
    model, clips = build(name), clips_for(name)

    with torch.no_grad():
        features, logits = model.features(clips), model(clips)

    assert features.shape == (2, model.feature_dim)
    assert features.std() > 0
    kept = 1 - SMALL[name].get("dropout", 0.0)  # evaluation scales by what training keeps
    torch.testing.assert_close(model.head(kept * features), logits)


@pytest.mark.parametrize("name", SMALL)
def test_a_clip_has_features_of_its_own(name: str):
    model, clips = build(name), clips_for(name)

    with torch.no_grad():
        together, alone = model.features(clips), model.features(clips[:1])

    torch.testing.assert_close(together[:1], alone)
    assert not torch.allclose(together[0], together[1])


def test_features_of_a_large_crop_are_the_mean_over_positions():
    model, clips = build("nonlocal"), clips_for("nonlocal", size=320)

    with torch.no_grad():
        features, logits = model.features(clips), model.position_logits(clips)

    assert logits.shape[3] > 1
    torch.testing.assert_close(model.head(0.75 * features), logits.mean(dim=(2, 3, 4)))


def test_features_refuse_clips_of_another_length():
    with pytest.raises(ValueError, match="expected num_segments=4"):
        build("tsm").features(torch.randn(1, 8, 3, 32, 32))
    with pytest.raises(ValueError, match="expected at least num_frames=4"):
        build("nonlocal").features(torch.randn(1, 2, 3, 32, 32))
