from typing import Any

import pytest
import torch
from torch import nn

from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.settings import TrainSettings
from videozoo.types import ParameterRule


def weight_after(settings: TrainSettings, gradients: list[float]) -> list[float]:
    """Follow one weight that starts at 1."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    optimizer = build_optimizer(module, {}, settings)
    seen: list[float] = []
    for gradient in gradients:
        module.weight.grad = torch.full((1, 1), gradient)
        optimizer.step()
        seen.append(module.weight.item())
    return seen


@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd_is_the_momentum_of_paddle(nesterov: bool):
    rate, momentum, decay = 0.1, 0.9, 0.01
    settings = TrainSettings(
        learning_rate=rate, momentum=momentum, weight_decay=decay, nesterov=nesterov
    )
    p, v, expected = 1.0, 0.0, list[float]()
    for gradient in (1.0, -0.5, 2.0):
        g = gradient + decay * p
        v = momentum * v + g
        p -= rate * (g + momentum * v if nesterov else v)
        expected.append(p)

    assert weight_after(settings, [1.0, -0.5, 2.0]) == pytest.approx(expected, rel=1e-6)


def test_adam_adds_the_decay_to_the_gradient_and_adamw_to_the_weight():
    def first_step(optimizer: Any) -> float:
        settings = TrainSettings(optimizer=optimizer, learning_rate=0.1, weight_decay=0.5)
        return weight_after(settings, [1e-3])[0]

    assert first_step("adam") == pytest.approx(0.9, abs=1e-5)  # the first step is the sign's
    assert first_step("adamw") == pytest.approx(0.85, abs=1e-5)  # and 0.1 * 0.5 * 1 more


@pytest.mark.parametrize("gradient", [0.5, 1e-4])  # a step in proportion where it is tiny
def test_rmsprop_is_the_centred_one_with_epsilon_inside_the_root(gradient: float):
    settings = TrainSettings(optimizer="rmsprop", learning_rate=0.01, weight_decay=0)
    mean, square = 0.05 * gradient, 0.05 * gradient**2

    expected = 1 - 0.01 * gradient / (square - mean**2 + 1e-6) ** 0.5

    assert weight_after(settings, [gradient])[0] == pytest.approx(expected, rel=1e-6)


def decay_of(optimizer: torch.optim.Optimizer, parameter: object) -> float:
    return next(
        group["weight_decay"]
        for group in optimizer.param_groups
        if any(p is parameter for p in group["params"])
    )


def test_norm_layers_take_their_own_decay():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    settings = TrainSettings(weight_decay=0.1, weight_decay_norms=0.0)

    optimizer = build_optimizer(module, {}, settings)

    assert decay_of(optimizer, module[1].weight) == decay_of(optimizer, module[1].bias) == 0.0
    assert decay_of(optimizer, module[0].weight) == decay_of(optimizer, module[0].bias) == 0.1


def test_without_their_own_decay_norm_layers_are_like_the_rest():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))

    optimizer = build_optimizer(module, {}, TrainSettings(weight_decay=0.1))

    assert len(optimizer.param_groups) == 1
    assert decay_of(optimizer, module[1].weight) == 0.1


def test_rules_are_stronger_than_the_kind_of_layer():
    module = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    settings = TrainSettings(weight_decay=0.1, weight_decay_norms=0.2)
    rules = {
        "0.bias": ParameterRule(decay="none", learning_rate_factor=2.0),
        "0.weight": ParameterRule(decay="norms"),
        "1.weight": ParameterRule(decay="weights"),
    }

    optimizer = build_optimizer(module, rules, settings)

    assert decay_of(optimizer, module[0].bias) == 0.0
    assert decay_of(optimizer, module[0].weight) == 0.2
    assert decay_of(optimizer, module[1].weight) == 0.1
    assert decay_of(optimizer, module[1].bias) == 0.2


def test_rule_for_an_unknown_parameter_names_the_nearest():
    with pytest.raises(ValueError, match="'wieght', which is not a parameter; the nearest is"):
        build_optimizer(nn.Linear(1, 1), {"wieght": ParameterRule()}, TrainSettings())


def test_frozen_parameters_are_left_out():
    module = nn.Linear(1, 1)
    module.bias.requires_grad_(False)

    optimizer = build_optimizer(module, {}, TrainSettings())

    assert [p is module.weight for g in optimizer.param_groups for p in g["params"]] == [True]


def test_parameter_without_gradient_is_not_touched():
    module = nn.Linear(1, 1)
    before = module.bias.item()
    module.weight.grad = torch.ones(1, 1)

    build_optimizer(module, {}, TrainSettings(weight_decay=0.5)).step()

    assert module.bias.item() == before


def test_nothing_to_train_is_an_error():
    with pytest.raises(ValueError, match="no trainable parameters"):
        build_optimizer(nn.ReLU(), {}, TrainSettings())


def test_the_rate_suits_the_batch_from_the_first_step():
    settings = TrainSettings(learning_rate=0.08, batch_size=16, learning_rate_batch_size=128)

    optimizer = build_optimizer(nn.Linear(2, 2), {}, settings)

    assert [group["lr"] for group in optimizer.param_groups] == [0.01]
