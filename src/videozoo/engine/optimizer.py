"""Optimisers with rules per parameter: other learning rates, other weight decay."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from videozoo.engine.settings import TrainSettings
from videozoo.types import ParameterRule

_COMMON = ParameterRule()
_NORM = ParameterRule(decay="norms")
_NORM_LAYERS = (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def build_optimizer(
    module: nn.Module, rules: Mapping[str, ParameterRule], settings: TrainSettings
) -> Optimizer:
    """Make the optimiser of a run over the trainable parameters of `module`.

    Each group has a `learning_rate_factor`. Its rate is `settings.learning_rate`, scaled to the
    batch size, times this factor, until `LearningRate` sets another.

    Args:
        module: The model.
        rules: Exceptions by parameter name. Other parameters take `weight_decay_norms` in
            normalisation layers and `weight_decay` elsewhere.
        settings: The `train:` section.

    Raises:
        ValueError: A rule names a parameter that `module` does not have.

    Source:
        `sgd` equals the Momentum of PaddlePaddle 1.8, which adds the decay to the gradient:
        v = momentum * v + g, then p = p - rate * v. `adam` and `rmsprop` add their epsilon where
        torch does, not quite where PaddlePaddle does. `rmsprop` is `CentredRMSprop`, with the
        constants of Attention LSTM in the 2019 library.
    """
    parameters = dict(module.named_parameters())
    _check_names(rules, parameters)
    norms = _norm_parameters(module)
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        if not parameter.requires_grad:
            continue
        rule = rules.get(name, _NORM if name in norms else _COMMON)
        key = rule.learning_rate_factor, _decay(rule, settings)
        group = groups.setdefault(key, _empty_group(*key, settings))
        group["params"].append(parameter)
    if not groups:
        raise ValueError("the module has no trainable parameters")
    return _make(list(groups.values()), settings)


def _make(groups: list[dict[str, Any]], settings: TrainSettings) -> Optimizer:
    rate = settings.learning_rate  # of groups that name none; ours all do
    if settings.optimizer == "sgd":
        return torch.optim.SGD(
            groups, lr=rate, momentum=settings.momentum, nesterov=settings.nesterov
        )
    if settings.optimizer == "adam":
        return torch.optim.Adam(groups, lr=rate)
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=rate)
    return CentredRMSprop(groups, lr=rate)


class CentredRMSprop(Optimizer):
    """RMSprop with its epsilon inside the root, as in PaddlePaddle and TensorFlow.

    ::

        m = 0.95 m + 0.05 g^2      a = 0.95 a + 0.05 g      p = p - rate * g / sqrt(m - a^2 + eps)

    `torch.optim.RMSprop` adds epsilon to the root: there even the smallest gradient moves a weight
    by a whole step. Here a gradient well below sqrt(eps) = 1e-3 moves it in proportion.

    Source: fluid.optimizer.RMSProp(centered=True, rho=0.95, epsilon=1e-6).
    """

    def __init__(self, params: Any, *, lr: float, rho: float = 0.95, eps: float = 1e-6) -> None:
        super().__init__(params, {"lr": lr, "rho": rho, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: torch.Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["square_avg"] = torch.zeros_like(parameter)
            state["grad_avg"] = torch.zeros_like(parameter)
        gradient = parameter.grad
        assert gradient is not None
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        rho, square, mean = group["rho"], state["square_avg"], state["grad_avg"]
        square.mul_(rho).addcmul_(gradient, gradient, value=1 - rho)
        mean.mul_(rho).add_(gradient, alpha=1 - rho)
        spread = torch.addcmul(square, mean, mean, value=-1).add_(group["eps"]).sqrt_()
        parameter.addcdiv_(gradient, spread, value=-group["lr"])


def _empty_group(factor: float, decay: float, settings: TrainSettings) -> dict[str, Any]:
    return {
        "params": [],
        "lr": settings.learning_rate * settings.learning_rate_scale * factor,
        "weight_decay": decay,
        "learning_rate_factor": factor,
    }


def _decay(rule: ParameterRule, settings: TrainSettings) -> float:
    if rule.decay == "none":
        return 0.0
    if rule.decay == "norms" and settings.weight_decay_norms is not None:
        return settings.weight_decay_norms
    return settings.weight_decay


def _norm_parameters(module: nn.Module) -> set[str]:
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, layer in module.named_modules()
        if isinstance(layer, _NORM_LAYERS)
        for name, _ in layer.named_parameters(recurse=False)
    }


def _check_names(
    rules: Mapping[str, ParameterRule], parameters: Mapping[str, nn.Parameter]
) -> None:
    for name in rules:
        if name not in parameters:
            close = get_close_matches(name, parameters, n=1)
            hint = f"; the nearest is {close[0]!r}" if close else ""
            raise ValueError(f"a rule is for {name!r}, which is not a parameter{hint}")
