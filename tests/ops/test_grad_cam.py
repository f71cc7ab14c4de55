"""Heat lies where the evidence is, and looking leaves no trace."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from videozoo.models import build_model
from videozoo.ops.grad_cam import grad_cam

SETTINGS: dict[str, dict[str, Any]] = {
    "tsn": {"num_segments": 3},
    "tsm": {"num_segments": 4},
    "stnet": {"num_segments": 3, "frames_per_segment": 2},
    "nonlocal": {"num_frames": 4, "temporal_convs": True},
}
STEPS = {"tsn": 3, "tsm": 4, "stnet": 3, "nonlocal": 2}


def tiny(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    module = build_model(name, num_classes=5, depth=18, width=0.125, **SETTINGS[name]).eval()
    settings = SETTINGS[name]
    frames = settings.get("num_segments") or settings["num_frames"]
    return module, torch.randn(2, frames, 3 * settings.get("frames_per_segment", 1), 64, 64)


class Blobs(nn.Module):
    """Class k likes colour k; what is near counts as well. 2D over frames, or 3D."""

    def __init__(self, *, is_3d: bool) -> None:
        super().__init__()
        self.conv = (
            nn.Conv3d(3, 3, (1, 4, 4), (1, 4, 4), bias=False)
            if is_3d
            else nn.Conv2d(3, 3, 4, 4, bias=False)
        )
        with torch.no_grad():
            self.conv.weight.zero_()
            for colour in range(3):
                self.conv.weight[colour, colour] = 1 / 16
        self.is_3d = is_3d

    def forward(self, clips: Tensor) -> Tensor:
        if self.is_3d:
            return self.conv(clips.transpose(1, 2)).mean((2, 3, 4))
        maps = self.conv(clips.flatten(0, 1))
        return maps.mean((2, 3)).unflatten(0, clips.shape[:2]).mean(1)


@pytest.mark.parametrize("is_3d", [False, True])
def test_heat_is_where_and_when_the_evidence_is_and_only_for_its_class(is_3d: bool):
    net = Blobs(is_3d=is_3d).eval()
    clips = torch.zeros(2, 4, 3, 32, 32)
    clips[0, 1, 0, 8:12, 20:24] = 1.0  # red, frame 1, row 2, column 5
    clips[0, 1:, 1, 28:, :4] = 1.0  # green, all but the first frame
    clips[1, 3, 0, :4, :4] = 0.5

    heat, shares = grad_cam(net, clips, torch.tensor([0, 0]))

    assert heat.shape == (2, 4, 8, 8)
    assert heat[0, 1, 2, 5] == 1
    assert heat[1, 3, 0, 0] == 1  # every clip has its own scale
    assert heat[0].sum() == heat[1].sum() == 1
    assert shares.tolist() == [[0, 1, 0, 0], [0, 0, 0, 1]]

    green, spread = grad_cam(net, clips, torch.tensor([1, 1]))
    assert green[0, 1:, 7, 0].tolist() == [1, 1, 1]
    assert spread[0].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert not green[1].any()  # nothing speaks for it
    assert not spread[1].any()


@pytest.mark.parametrize("name", SETTINGS)
def test_it_works_on_every_clip_model_and_leaves_no_trace(name: str):
    module, clips = tiny(name)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    with torch.no_grad():
        logits = module(clips)

    with torch.inference_mode():  # as a caller that only scores may have it
        heat, shares = grad_cam(module, clips, logits.argmax(1))

    assert heat.shape[:2] == (2, STEPS[name])
    assert heat.shape[2] == heat.shape[3] == 2
    assert heat.amax() == 1
    assert shares.sum(1).tolist() == pytest.approx([1, 1])
    assert not module.training
    assert all(part.grad is None and part.requires_grad for part in module.parameters())
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert not any(part._forward_hooks for part in module.modules())
    with torch.no_grad():
        assert torch.equal(module(clips), logits)


def test_a_clip_is_explained_alike_alone_and_in_a_batch():
    module, clips = tiny("stnet")

    together = grad_cam(module, clips, torch.tensor([1, 2])).heat[1:]
    alone = grad_cam(module, clips[1:], torch.tensor([2])).heat

    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


@settings(max_examples=30, deadline=None)
@example(1, 2, 0, False, 1e-43)  # heat that float32 can hardly hold
@example(1, 2, 0, True, -3e-42)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 2), st.booleans(), st.floats(-1e3, 1e3))
def test_heat_and_shares_stay_in_range(
    num_clips: int, frames: int, wanted: int, is_3d: bool, scale: float
):
    torch.manual_seed(frames)
    clips = scale * torch.randn(num_clips, frames, 3, 12, 8)
    net = Blobs(is_3d=is_3d).eval()

    heat, shares = grad_cam(net, clips, torch.full((num_clips,), wanted))

    assert heat.shape == (num_clips, frames, 3, 2)
    assert shares.shape == (num_clips, frames)
    assert torch.isfinite(heat).all()
    assert 0 <= heat.amin() <= heat.amax() <= 1
    assert all(total == pytest.approx(1, abs=1e-4) or total == 0 for total in shares.sum(1))


def test_what_cannot_be_explained_says_why():
    with pytest.raises(ValueError, match=r"call \.eval"):
        grad_cam(Blobs(is_3d=False), torch.zeros(1, 1, 3, 4, 4), torch.tensor([0]))
    with pytest.raises(ValueError, match="no 2D or 3D convolution"):
        grad_cam(
            nn.Sequential(nn.Flatten(), nn.Linear(3, 2)).eval(),
            torch.zeros(1, 1, 3, 1, 1),
            torch.tensor([0]),
        )
