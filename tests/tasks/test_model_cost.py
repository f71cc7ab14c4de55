"""Costs are those of hand counts and of published tables."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from videozoo.config import RunConfig
from videozoo.errors import ConfigError
from videozoo.models import build_model, list_models, model_spec
from videozoo.tasks.model_cost import (
    PeakBytes,
    configured,
    model_cost,
    published_weights,
    settings_of,
    time_model,
)
from videozoo.types import Classification, Localisation, ProposalScoring, Tagging

MB = 1 << 20
TASKS = {name: model_spec(name).task for name in list_models()}
CLIP_MODELS = [name for name, task in TASKS.items() if isinstance(task, Classification)]
LOCALISERS = [n for n, task in TASKS.items() if isinstance(task, Localisation | ProposalScoring)]
FEATURE_MODELS = [name for name, task in TASKS.items() if isinstance(task, Tagging)]


def test_tsn_costs_a_resnet50_a_frame():
    cost = model_cost(configured("tsn"))

    assert cost.macs / 3 == pytest.approx(4.09e9, rel=0.01)  # He et al.: 3.8 without projections
    assert cost.flops == 2 * cost.macs
    assert cost.parameters == 23_508_032 + 2048 * 400 + 400


def test_the_shift_of_tsm_is_free():
    tsn, tsm = (
        model_cost(configured(name, overrides=["model.depth=18"], clip=(8, 64, 64)))
        for name in ("tsn", "tsm")
    )

    assert (tsm.macs, tsm.parameters) == (tsn.macs, tsn.parameters)


@pytest.mark.parametrize("name", CLIP_MODELS)
def test_parts_add_up_for_every_model(name: str):
    config = configured(name, overrides=["model.depth=18", "model.width=0.25"], clip=None)

    cost = model_cost(config)

    assert sum(part.parameters for part in cost.parts) == cost.parameters
    assert sum(part.macs for part in cost.parts) == cost.macs
    assert len(cost.parts) >= 4
    module = config.spec.build(config.model)
    assert cost.parameters == sum(each.numel() for each in module.parameters())
    stored = sum(each.numel() * each.element_size() for each in module.state_dict().values())
    assert cost.weights_bytes == stored
    assert 0 < cost.inference_bytes < cost.training_bytes


@pytest.mark.parametrize("name", CLIP_MODELS)
def test_a_count_without_numbers_is_that_of_a_real_pass(name: str):
    from torch.utils.flop_counter import FlopCounterMode

    small: dict[str, Any] = {"depth": 18, "width": 0.25, "num_classes": 5}
    overrides = [f"model.{key}={value}" for key, value in small.items()]
    cost = model_cost(configured(name, overrides=overrides, clip=(4, 64, 64)))
    key = "num_frames" if name == "nonlocal" else "num_segments"
    module = build_model(name, **small, **{key: 4}).eval()

    with torch.no_grad(), PeakBytes(module) as memory, FlopCounterMode(display=False) as counter:
        clips = torch.zeros(1, *cost.clip)
        module(clips)

    attention = name == "nonlocal"  # whose kernel on a CPU is counted, and buffered, otherwise
    assert counter.get_total_flops() == cost.flops or attention
    assert memory.peak == pytest.approx(cost.inference_bytes, rel=0.3 if attention else 0.01)


def test_memory_is_what_lives_at_once():
    with torch.device("meta"), PeakBytes() as memory:
        x = torch.empty(MB // 4)  # one MB
        for _ in range(5):
            x = x + 1  # the old and the new one

    assert memory.peak == 2 * MB


def test_training_keeps_what_the_backward_pass_needs():
    from videozoo.tasks.model_cost import _kept_bytes

    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(64, 64), nn.Sigmoid(), nn.Linear(64, 64))
        kept = _kept_bytes(module, (torch.empty(MB, 64),))

    assert kept == 2 * MB * 64 * 4  # the input, and the output of the sigmoid (seen twice)


def test_depth_size_and_length_change_the_cost_as_they_must():
    small = ["model.depth=18", "model.width=0.25"]
    base = model_cost(configured("tsm", overrides=small, clip=(8, 192, 192)))

    def ratio(config: RunConfig) -> float:
        return model_cost(config).macs / base.macs

    longer, smaller = (16, 192, 192), (8, 96, 96)
    assert ratio(configured("tsm", overrides=small, clip=longer)) == pytest.approx(2, rel=0.01)
    assert ratio(configured("tsm", overrides=small, clip=smaller)) == pytest.approx(0.25, rel=0.05)
    deeper = configured("tsm", overrides=["model.depth=34", "model.width=0.25"], clip=(8, 192, 192))
    assert 1.8 < ratio(deeper) < 2
    long = model_cost(configured("nonlocal", overrides=small, clip=(16, 112, 112)))
    assert long.clip == (16, 3, 112, 112)


def test_what_does_not_fit_is_said():
    with pytest.raises(ConfigError, match="did you mean 'tsm'"):
        configured("tsmm")
    with pytest.raises(ConfigError, match="squares"):
        configured("tsm", clip=(8, 224, 200))
    with pytest.raises(ConfigError, match="depht"):
        configured("tsm", overrides=["model.depht=18"])
    with pytest.raises(ConfigError, match="does not take one clip of 8x3x8x8"):
        model_cost(configured("nonlocal", clip=(8, 8, 8)))


def test_settings_come_with_their_help_and_what_was_changed():
    found = {
        each.key: each for each in settings_of(configured("tsm", overrides=["model.depth=18"]))
    }

    assert (found["depth"].default, found["depth"].value) == ("50", "18")
    assert all(each.help for each in found.values())


def test_published_weights_of_a_model_are_known():
    assert any(each.kind == "weights" for each in published_weights("tsm"))
    assert published_weights("nothing") == []


def test_time_is_measured():
    config = configured("tsn", overrides=["model.depth=18", "model.width=0.125"], clip=(2, 32, 32))

    timing = time_model(config, device="cpu")

    assert timing.quartiles[0] <= timing.milliseconds <= timing.quartiles[1]
    assert timing.runs >= 5
    assert "cpu" in timing.device


@pytest.mark.parametrize("name", FEATURE_MODELS)
def test_models_of_features_are_counted_too(name: str):
    streams = "model.streams=[{name: rgb, dim: 32}, {name: audio, dim: 16}]"
    config = configured(name, overrides=[streams, "data.max_frames=20", "model.num_classes=5"])

    cost = model_cost(config)

    assert cost.subject.endswith("frames of features (rgb 32, audio 16)")
    assert sum(part.parameters for part in cost.parts) == cost.parameters
    assert cost.macs > cost.parameters / 2
    its_input = 20 * (32 + 16) * 4
    assert cost.inference_bytes > its_input
    if not getattr(config.spec.task, "is_solved", False):  # else it learns from means over time
        assert cost.training_bytes > its_input


@pytest.mark.parametrize("name", LOCALISERS)
def test_models_of_whole_videos_are_counted_too(name: str):
    cost = model_cost(configured(name))

    assert cost.subject.startswith(("a video of", "1000 proposals of a video"))
    assert sum(part.parameters for part in cost.parts) == cost.parameters
    assert cost.macs > 0
    assert cost.inference_bytes > 0
    assert cost.training_bytes > 0
