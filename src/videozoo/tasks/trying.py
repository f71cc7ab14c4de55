"""Try a model from outside once before it is trained: does it return what its task says?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.errors import ConfigError
from videozoo.models import is_from_outside
from videozoo.types import Classification, Tagging

_VIDEOS = 2


def try_out(config: RunConfig, device: torch.device) -> None:
    """Run a fresh module of a model from outside on an empty batch, if it gives logits.

    Args:
        config: Of the run. The models of the package are not tried.
        device: Where the model will be trained.

    Raises:
        ConfigError: It returns something else than logits, or not the features it declares.
    """
    task, name = config.spec.task, config.name
    if not isinstance(task, Classification | Tagging) or not is_from_outside(name):
        return
    inputs = [_on(device, each) for each in _inputs(config)]
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        module = config.spec.build(config.model).to(device)
        for mode in (False, True):
            module.train(mode)
            _check_logits(module(*inputs), config)
        if isinstance(task, Classification) and task.features:
            _check_features(module.eval(), inputs, name)


def _inputs(config: RunConfig) -> Sequence[Any]:
    task = config.spec.task
    if isinstance(task, Classification):
        shape, side = task.clip_shape(config.model), config.data.crop_size
        return [torch.zeros(_VIDEOS, shape.num_steps, 3 * shape.frames_per_step, side, side)]
    assert isinstance(task, Tagging)
    features = task.feature_shape(config.model)
    frames = features.num_frames or 2
    streams = [torch.zeros(_VIDEOS, frames, stream.dim) for stream in features.streams]
    return [streams, torch.full((_VIDEOS,), frames)]


def _on(device: torch.device, value: Any) -> Any:
    return [each.to(device) for each in value] if isinstance(value, list) else value.to(device)


def _check_logits(found: Any, config: RunConfig) -> None:
    expected = (_VIDEOS, config.model.num_classes)
    wanted = f"expected {expected} logits (N, num_classes)"
    if not isinstance(found, Tensor):
        raise ConfigError(f"{config.name}: returned a {type(found).__name__}, {wanted}")
    if tuple(found.shape) != expected:
        raise ConfigError(f"{config.name}: returned {tuple(found.shape)}, {wanted}")
    if not found.is_floating_point():
        raise ConfigError(f"{config.name}: returned {found.dtype}, {wanted} in floating point")
    if not found.requires_grad:
        raise ConfigError(
            f"{config.name}: returned logits without a gradient, so nothing can be learnt; "
            "expected no detach(), no torch.no_grad() and no argmax on the way"
        )


def _check_features(module: nn.Module, inputs: Sequence[Any], name: str) -> None:
    declared: Any = module
    with torch.no_grad():
        found = declared.features(*inputs)
    expected = (_VIDEOS, declared.feature_dim)
    if not isinstance(found, Tensor) or tuple(found.shape) != expected:
        got = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
        raise ConfigError(f"{name}: features returned {got}, expected {expected} (N, feature_dim)")
