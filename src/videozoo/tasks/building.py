"""Build a network from its configuration, after a check that it fits into memory."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

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
        with torch.device("meta"), _NoDraws():
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


class _NoDraws(TorchFunctionMode):
    """Leave weights undrawn in the block: without memory there is nothing to fill.

    PyTorch draws for such weights all the same, in Python, and imports its compiler to do so: two
    seconds in the first command of every process.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func in (torch.rand, torch.randn) and "out" not in kwargs:
            return torch.empty(*args, **{k: v for k, v in kwargs.items() if k != "generator"})
        if func is Tensor.mul and isinstance(args[1], int | float) and args[0].is_meta:
            return torch.empty_like(args[0])
        if func in _DRAWS or getattr(func, "__module__", None) == nn.init.__name__:
            tensor = args[0] if args else kwargs.get("tensor")  # as `nn.init` calls it
            if isinstance(tensor, Tensor) and tensor.is_meta:
                return tensor
        return func(*args, **kwargs)


_DRAWS = frozenset(
    {Tensor.normal_, Tensor.uniform_, Tensor.bernoulli_, Tensor.exponential_, Tensor.random_}
)


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
