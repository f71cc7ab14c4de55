from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from videozoo.models.nonlocal_net import (
    SPEC,
    NonLocal,
    NonLocalNet,
    NonLocalSettings,
    from_image_net,
    paddle_names,
)
from videozoo.types import ParameterRule
from videozoo.weights.fit import fit_paddle

SMALL: dict[str, Any] = {"num_classes": 4, "depth": 50, "width": 0.0625, "num_frames": 4}
ALIVE: dict[str, Any] = {"bn_init_gamma": 1.0, "nonlocal_bn_gamma": 1.0, "nonlocal_init_std": 0.3}
"""Fresh weights switch blocks off; these switch them on."""


def build(**changes: Any) -> NonLocalNet:
    torch.manual_seed(0)
    return NonLocalNet(NonLocalSettings(**(SMALL | ALIVE | changes))).eval()


def test_frame_order_matters_to_convolutions_along_time():
    clip = torch.randn(1, 4, 3, 32, 32)

    model = build(temporal_convs=True)

    assert not torch.allclose(model(clip), model(clip.flip(1)))


def test_frame_order_within_pairs_does_not_matter_to_the_2d_form():
    clip = torch.randn(1, 4, 3, 32, 32)

    model = build(temporal_convs=False)

    torch.testing.assert_close(model(clip), model(clip[:, [1, 0, 3, 2]]))


def test_scores_are_the_mean_of_the_softmax_at_every_position():
    model, clip = build(depth=18, fc_init_std=0.002), torch.randn(2, 6, 3, 256, 229)

    positions = model.position_logits(clip)

    assert positions.shape == (2, 4, 2, 2, 2)
    scores = positions.softmax(dim=1).mean(dim=(2, 3, 4))
    torch.testing.assert_close(model(clip).exp(), scores)
    assert not torch.allclose(positions.mean(dim=(2, 3, 4)).softmax(dim=1), scores)


@pytest.mark.parametrize(("size", "positions"), [(197, 1), (228, 1), (229, 2), (260, 2), (64, 1)])
def test_crops_end_in_the_positions_of_2019(size: int, positions: int):
    model = build(num_frames=2, width=0.02)

    assert model.position_logits(torch.zeros(1, 2, 3, size, size)).shape[2:] == (
        1,
        positions,
        positions,
    )


def test_shorter_clips_are_refused():
    with pytest.raises(ValueError, match=r"hold 2 frames, expected at least num_frames=4"):
        build()(torch.zeros(1, 2, 3, 32, 32))


def test_every_place_sees_every_other():
    block = NonLocal(8, NonLocalSettings(**ALIVE)).eval()
    x = torch.randn(1, 8, 4, 4, 4, requires_grad=True)

    block(x)[0, :, 0, 0, 0].sum().backward()

    assert x.grad is not None
    assert bool((x.grad.abs().sum(dim=1) > 0).float().mean() > 0.2)  # one of four passes the pool
    assert bool((x.grad[0, :, 3] != 0).any())


def test_groups_of_frames_do_not_see_each_other():
    block = NonLocal(8, NonLocalSettings(**ALIVE), group_size=4).eval()
    x = torch.randn(2, 8, 8, 4, 4)

    together, first = block(x), block(x[:, :, :4])

    torch.testing.assert_close(together[:, :, :4], first)


def test_attention_is_the_papers_formula():
    block = NonLocal(8, NonLocalSettings(**ALIVE, nonlocal_maxpool=False)).eval()
    x = torch.randn(1, 8, 2, 3, 3)

    theta, phi, g = (layer(x).flatten(2) for layer in (block.theta, block.phi, block.g))
    attention = (theta.transpose(1, 2) @ phi / 4**0.5).softmax(dim=2)  # (1, places, places)
    y = (g @ attention.transpose(1, 2)).unflatten(2, (2, 3, 3))

    torch.testing.assert_close(block(x), x + block.bn(block.out(y)))


def test_fresh_non_local_blocks_are_the_identity():
    block, x = NonLocal(8, NonLocalSettings()).eval(), torch.randn(1, 8, 2, 4, 4)

    assert torch.equal(block(x), x)


@pytest.mark.parametrize(
    ("changes", "places"),
    [
        ({"depth": 50}, ["res3_1", "res3_3", "res4_1", "res4_3", "res4_5"]),
        ({"depth": 101}, ["res3_1", "res3_3", "res4_6", "res4_13", "res4_20"]),
        ({"depth": 101, "nonlocal_mod": 3}, ["res3_1", "res3_3", "res4_10", "res4_21"]),
        ({"nonlocal_res3": False, "nonlocal_mod": 3}, ["res4_2", "res4_5"]),
        ({"nonlocal_res3": False, "nonlocal_res4": False}, []),
    ],
)
def test_blocks_stand_where_they_did_in_2019(changes: dict[str, Any], places: list[str]):
    assert list(build(**changes).nonlocal_blocks) == places


AFFINE: dict[str, Any] = {"use_affine": True, "num_frames": 8}


@pytest.mark.parametrize(
    "changes",
    [
        AFFINE | {"nonlocal_bn": False, "nonlocal_affine": True},
        AFFINE,
        {"nonlocal_affine": True},
        {"nonlocal_bias": False},
    ],
)
def test_paddle_names_cover_every_option(changes: dict[str, Any]):
    settings = NonLocalSettings(**(SMALL | changes))

    keys = {k for k in NonLocalNet(settings).state_dict() if "num_batches" not in k}

    assert set(paddle_names(settings)) == keys


def test_longer_affine_networks_attend_in_groups():
    model = build(**AFFINE | {"num_frames": 16})

    assert model(torch.randn(1, 16, 3, 32, 32)).isfinite().all()


def test_affine_networks_need_frames_for_whole_groups():
    with pytest.raises(ValidationError, match=r"num_frames: 12 leaves 6 time steps"):
        NonLocalSettings(use_affine=True, num_frames=12)


def test_grouped_convolutions_need_depths_that_have_them():
    with pytest.raises(ValidationError, match="num_groups: depth 18 has no grouped convolutions"):
        NonLocalSettings(depth=18, num_groups=2)


def test_only_batch_norms_have_a_decay_of_their_own():
    model = build()
    norms = {n for n, layer in model.named_modules() if isinstance(layer, nn.BatchNorm3d)}

    rules = SPEC.parameter_rules(model)

    assert {n.rpartition(".")[0] for n in rules} == norms
    assert set(rules.values()) == {ParameterRule(decay="norms")}


def test_a_still_clip_gives_inflated_kernels_what_its_frame_gave():
    kernel = np.random.default_rng(0).standard_normal((4, 3, 7, 7)).astype(np.float32)
    settings = NonLocalSettings(temporal_convs=True)

    adapted = from_image_net(settings, {"stem.conv.weight": kernel})["stem.conv.weight"]

    frame = torch.randn(1, 3, 16, 16)
    assert adapted.shape == (4, 3, 5, 7, 7)
    torch.testing.assert_close(
        nn.functional.conv3d(frame[:, :, None].repeat(1, 1, 5, 1, 1), torch.from_numpy(adapted))[
            :, :, 0
        ],
        nn.functional.conv2d(frame, torch.from_numpy(kernel)),
        atol=1e-4,
        rtol=1e-4,
    )


def test_affine_networks_take_over_what_batch_norms_computed():
    rng = np.random.default_rng(0)
    parts = {
        f"stem.bn.{part}": rng.uniform(0.5, 2, 64).astype(np.float32)
        for part in ("weight", "bias", "running_mean", "running_var")
    }
    scale, offset, mean, variance = parts.values()

    adapted = from_image_net(NonLocalSettings(use_affine=True), parts)

    x = rng.standard_normal(64)
    assert set(adapted) == {"stem.bn.weight", "stem.bn.bias"}
    np.testing.assert_allclose(
        x * adapted["stem.bn.weight"] + adapted["stem.bn.bias"],
        (x - mean) / np.sqrt(variance + 1e-5) * scale + offset,
        rtol=1e-4,
        atol=1e-4,
    )


def test_a_classifier_is_taken_over_only_for_as_many_classes():
    weights = np.arange(8, dtype=np.float32).reshape(2, 4)
    arrays = {"pred_w": weights, "pred_b": np.zeros(4, np.float32)}
    convolution = arrays | {"pred_w": weights.T.reshape(4, 2, 1, 1, 1)}
    same, other = NonLocalSettings(num_classes=4), NonLocalSettings(num_classes=5)
    state = {"head.weight": torch.zeros(4, 2), "head.bias": torch.zeros(4)}
    places = {key: paddle_names(same)[key] for key in state}

    for file in (arrays, convolution):
        ours = {key: each.numpy() for key, each in fit_paddle(file, places, state).items()}
        np.testing.assert_array_equal(from_image_net(same, ours)["head.weight"], weights.T)
        assert from_image_net(other, ours) == {}
