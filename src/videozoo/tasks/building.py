"""Build a network from its configuration, after a check that it fits into memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from videozoo.config import RunConfig
from videozoo.engine.devices import memory_bytes
from videozoo.errors import ConfigError

_FREE_BYTES = 256 * 2**20


def build(config: RunConfig) -> nn.Module:
    """Make the network with fresh weights.

    Raises:
        ConfigError: See `outline`.
    """
    outline(config)
    return config.spec.build(config.model)


def outline(config: RunConfig) -> nn.Module:
    """Make the network without memory for its weights: names and shapes only.

    Raises:
        ConfigError: The weights would not fit into the memory of this machine.
    """
    try:
        with torch.device("meta"):
            module = config.spec.build(config.model)
        state = module.state_dict()
    except (RuntimeError, MemoryError, OverflowError) as error:
        raise ConfigError(_too_large(config, " ".join(str(error).split())[:100])) from None
    wanted, there = bytes_of(state), memory_bytes()
    if wanted > there:
        name = max(state, key=lambda each: state[each].numel())
        raise ConfigError(
            _too_large(
                config,
                f"its weights take {wanted / 1e9:,.0f} GB, {name} {tuple(state[name].shape)} most; "
                f"this machine has {there / 1e9:,.0f} GB",
            )
        )
    return module


@contextmanager
def default_float32() -> Generator[None]:
    """Make tensors of float32 in the block, whatever type the program made PyTorch's default."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def bytes_of(state: Mapping[str, Tensor]) -> int:
    """Bytes of all tensors together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in state.values())


def is_far_larger(module: nn.Module, state: Mapping[str, Tensor]) -> bool:
    """Whether a network needs far more memory than the given tensors, so that they cannot fit."""
    return bytes_of(module.state_dict()) > max(_FREE_BYTES, 4 * bytes_of(state))


def _too_large(config: RunConfig, reason: str) -> str:
    sizes = {
        key: value
        for key, value in config.model.model_dump(exclude_defaults=True).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    given = ", ".join(f"model.{key}={value}" for key, value in sizes.items())
    return (
        f"{config.spec.title} cannot be built with {given or 'these sizes'}: {reason}; "
        "choose smaller sizes"
    )
