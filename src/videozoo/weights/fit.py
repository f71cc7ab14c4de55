"""Load weights into a module; everything that does not fit is listed at once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.errors import WeightsError, counted, few
from videozoo.types import PaddleName

_COUNTER = "num_batches_tracked"  # which no other library keeps
_LEFTOVER = re.compile(
    r"@|^learning_rate(_\d+)?$"
    r"|_(velocity|momentum|moment[12]|beta[12]_pow_acc|mean_square|mean_grad)_\d+$"
)
_MOST_LINES = 12


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What happened to each tensor."""

    loaded: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """In the module and not in the file; keep their fresh values."""
    extra: tuple[str, ...] = ()
    """In the file and not in the module."""
    dropped: tuple[str, ...] = ()
    """Kept fresh on request."""

    def describe(self) -> str:
        """Sum up in one line.

        >>> LoadReport(loaded=("a", "b"), dropped=("head.weight",)).describe()
        '2 tensors loaded, 1 kept fresh (head.weight)'
        """
        text = f"{counted(len(self.loaded), 'tensor')} loaded"
        fresh = (*self.dropped, *self.missing)
        if fresh:
            text += f", {len(fresh)} kept fresh ({few(fresh)})"
        if self.extra:
            text += f", {len(self.extra)} of the file not used ({few(self.extra)})"
        return text


def fit_paddle(
    arrays: Mapping[str, NDArray[Any]],
    names: Mapping[str, PaddleName],
    module_state: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """Rename PaddlePaddle parameters to ours and turn them into our layout.

    Arrays of other shapes and without a name are returned unchanged, for `load_state` to report.
    States of optimisers are left out.

    Args:
        arrays: From `read_paddle`.
        names: From the model's `paddle_names`.
        module_state: Gives the shapes: `module.state_dict()`.

    Returns:
        Our name (PaddlePaddle's, if we have none) to tensor.
    """
    state: dict[str, Tensor] = {}
    for ours, place in names.items():
        if place.name in arrays:
            state[ours] = _to_our_layout(arrays[place.name], place, module_state.get(ours))
    known = {place.name for place in names.values()}
    for name, array in arrays.items():
        if name not in known and not _LEFTOVER.search(name):
            state[name] = torch.from_numpy(np.ascontiguousarray(array))
    return state


def as_paddle(
    module_state: Mapping[str, Tensor], names: Mapping[str, PaddleName]
) -> dict[str, NDArray[Any]]:
    """Turn a module's tensors into PaddlePaddle parameters; `fit_paddle` the other way round.

    Args:
        module_state: Our name to tensor; the counters of batch norms are left out.
        names: From the model's `paddle_names`.

    Returns:
        PaddlePaddle's name to array, in the shape that library gave it.

    Raises:
        WeightsError: A tensor has no name there, or one is missing.
    """
    missing = [name for name in names if name not in module_state]
    nameless = [n for n in module_state if n not in names and not n.endswith(_COUNTER)]
    if missing or nameless:
        problems = [f"missing: {name}" for name in missing]
        problems += [f"no PaddlePaddle parameter stands for {name}" for name in nameless]
        raise WeightsError(_message("weights", problems, ""))
    arrays: dict[str, NDArray[Any]] = {}
    for ours, place in names.items():
        array = module_state[ours].detach().cpu().numpy()
        if place.transpose:
            array = array.reshape(array.shape[:2]).T
        elif place.reshape and array.ndim == 3:  # convolutions along time were 2D there
            array = array[..., None]
        arrays[place.name] = np.array(array, order="C")
    return arrays


def classifier_of_others(
    module_state: Mapping[str, Tensor], state: Mapping[str, Tensor]
) -> str | None:
    """Name of the last layer, if only its number of classes does not fit.

    Args:
        module_state: The module's tensors.
        state: The file's tensors, under the same names.
    """
    misshapen = [
        name
        for name in module_state
        if name in state and state[name].shape != module_state[name].shape
    ]
    last = _last_layer(module_state)
    if not misshapen or {name.rpartition(".")[0] for name in misshapen} != {last}:
        return None
    same_inputs = all(state[n].shape[1:] == module_state[n].shape[1:] for n in misshapen)
    return last if same_inputs else None


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    *,
    drop: Sequence[str] = (),
    strict: bool = True,
    source: object = "weights",
    names: Mapping[str, str] | None = None,
) -> LoadReport:
    """Load tensors into a module, all or nothing.

    Args:
        module: Changed in place.
        state: Name to tensor.
        drop: Leading parts of names ("head") whose tensors keep their fresh values.
        strict: Missing and extra tensors are errors; otherwise only reported.
        source: Name of the weights in messages: the file, as a rule.
        names: Our name to that in the file, for messages.

    Raises:
        WeightsError: Something does not fit; every problem is listed, and `module` is unchanged.
    """
    ours = module.state_dict()
    _check_drop(drop, ours, source)
    dropped = [name for name in ours if _starts_with(name, drop)]
    state = {name: value for name, value in state.items() if not _starts_with(name, drop)}
    wanted = [name for name in ours if name not in dropped]

    shared = [name for name in wanted if name in state]
    missing = [name for name in wanted if name not in state and not name.endswith(_COUNTER)]
    extra = [name for name in state if name not in ours and not name.endswith(_COUNTER)]
    misshapen = [name for name in shared if state[name].shape != ours[name].shape]
    broken = [name for name in shared if not _is_finite(state[name])]

    theirs = names or {}

    def arrow(name: str) -> str:
        return f"{name} <- {theirs[name]}" if name in theirs else name

    problems = [
        f"{arrow(name)}: file {tuple(state[name].shape)}, model {tuple(ours[name].shape)}"
        for name in misshapen
    ]
    problems += [f"{arrow(name)}: holds values that are not finite" for name in broken]
    if strict or not shared:
        problems += [f"missing: {arrow(name)}" for name in missing]
        problems += [f"not in the model: {name}" for name in extra]
    if problems:
        only_shapes = len(problems) == len(misshapen)
        hint = _hint(misshapen, ours) if only_shapes else ""
        raise WeightsError(_message(source, problems, hint))
    module.load_state_dict({name: state[name] for name in shared}, strict=False)
    return LoadReport(
        loaded=tuple(shared), missing=tuple(missing), extra=tuple(extra), dropped=tuple(dropped)
    )


def _to_our_layout(array: NDArray[Any], place: PaddleName, ours: Tensor | None) -> Tensor:
    if ours is None:  # what this module folds into others
        return torch.from_numpy(np.array(array.T if place.transpose else array, order="C"))
    shape = tuple(ours.shape)
    if place.transpose:
        array = _as_out_in(array, shape)
    fits = array.size == ours.numel()
    if fits and (place.reshape or (place.transpose and _same_but_ones(array.shape, shape))):
        array = array.reshape(shape)
    tensor = torch.from_numpy(np.array(array, order="C"))  # a copy: never memory of the file
    return tensor.to(ours.dtype) if ours.is_floating_point() else tensor


def _as_out_in(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Transpose a fully connected weight, unless it has the layout of a 1x1 convolution.

    The original writes the last layer of Non-local either way: (in, out), or (out, in, 1, 1, 1).
    """
    if array.ndim != 2:
        return array
    is_turned_already = array.shape == shape and array.shape[0] != array.shape[1]
    return array if is_turned_already else array.T


def _same_but_ones(one: Iterable[int], other: Iterable[int]) -> bool:
    return [n for n in one if n != 1] == [n for n in other if n != 1]


def _is_finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(tensor.isfinite().all())


def _starts_with(name: str, prefixes: Sequence[str]) -> bool:
    return any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)


def _check_drop(drop: Sequence[str], ours: Mapping[str, Tensor], source: object) -> None:
    parts = {
        ".".join(name.split(".")[:length]): None
        for name in ours
        for length in range(1, name.count(".") + 2)
    }
    for prefix in drop:
        if prefix not in parts:
            close = get_close_matches(prefix, parts, n=1)
            tops = list(dict.fromkeys(name.partition(".")[0] for name in ours))
            hint = f"did you mean {close[0]!r}?" if close else f"the model has {few(tops)}"
            raise WeightsError(
                f"{source}: --drop {prefix}: no part of the model is called so; {hint}"
            )


def _hint(misshapen: Sequence[str], ours: Mapping[str, Tensor]) -> str:
    """Suggest fine-tuning if only the last layer does not fit."""
    layers = {name.rpartition(".")[0] for name in misshapen}
    last = _last_layer(ours)
    if layers == {last} and last:
        return f"fine-tuning on other classes? pass --drop {last}"
    return "were they made with other settings of the model?"


def _last_layer(ours: Mapping[str, Tensor]) -> str:
    return list(ours)[-1].rpartition(".")[0] if ours else ""


def _message(source: object, problems: Sequence[str], hint: str) -> str:
    lines = [f"{source}: does not fit the model", few(problems, _MOST_LINES, between="\n  ")]
    return "\n  ".join(lines) + (f"\n{hint}" if hint else "")
