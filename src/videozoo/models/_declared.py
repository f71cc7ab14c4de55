"""What the SPEC of a model from outside declares, checked in one place.

Its mistakes are errors that name the model's file and what was expected.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from videozoo.errors import ConfigError, RunError, VideozooError, brief

if TYPE_CHECKING:
    from torch import nn

    from videozoo.types import ModelSpec, Task

_FILES: set[str] = set()
"""Model files from outside that were imported."""
_TOO_LARGE = ("memory", "overflow", "storage size")


def own_fault(error: BaseException) -> str | None:
    """Where a model from outside failed: its file, line and function; None if it was not one.

    Args:
        error: Any exception with its traceback.
    """
    frames = [one for one in traceback.extract_tb(error.__traceback__) if one.filename in _FILES]
    if not frames:
        return None
    said = " ".join(str(error).split())
    place = f"{frames[-1].filename}, line {frames[-1].lineno}, in {frames[-1].name}"
    return f"{place}: {type(error).__name__}: {said}"


def checked(found: Any, where: str, file: str | None) -> ModelSpec:
    """Return the SPEC of a model from outside, which says what is wrong when it is used wrongly.

    Args:
        found: What the file calls SPEC.
        where: How messages name the model.
        file: Its file.

    Raises:
        ConfigError: It is not a SPEC, or a part of it is not what it must be.
    """
    from videozoo.types import ClipShape, FeatureShape, ModelSpec, SequenceShape, Settings, Task

    if file is not None:
        _FILES.add(file)
    if not isinstance(found, ModelSpec):
        got = "no SPEC" if found is None else f"a SPEC that is {brief(found)}"
        raise ConfigError(
            f"{where}: has {got}; a model file ends in SPEC = ModelSpec(title=..., task=..., "
            "settings=..., build=...)"
        )
    parts: dict[str, Any] = vars(found)
    task, settings = parts["task"], parts["settings"]
    if not isinstance(parts["title"], str):
        raise _wrong(where, "title", parts["title"], "a text")
    if not isinstance(task, Task):
        raise _wrong(where, "task", task, "a task such as Classification(clip_shape=...)")
    if not (isinstance(settings, type) and issubclass(settings, Settings)):
        raise _wrong(where, "settings", settings, "a class made from videozoo.types.Settings")
    _check_functions(found, where, "")
    _check_functions(task, where, "task.")
    missing = [key for key in task.needs if key not in settings.model_fields]
    if missing:
        raise ConfigError(
            f"{where}: {settings.__name__} has no {' and no '.join(missing)}, which models "
            f"for {type(task).__name__} need"
        )
    shapes = {
        "clip_shape": ClipShape,
        "feature_shape": FeatureShape,
        "sequence_shape": SequenceShape,
    }
    changes = {
        name: _returning(kind, getattr(task, name), where, name)
        for name, kind in shapes.items()
        if hasattr(task, name)
    }
    return replace(found, task=replace(task, **changes), build=_building(found, where))


def _wrong(where: str, part: str, got: Any, expected: str) -> ConfigError:
    return ConfigError(f"{where}: {part} is {brief(got)}, expected {expected}")


def _check_functions(owner: Any, where: str, before: str) -> None:
    for field in fields(owner):
        value, kind = getattr(owner, field.name), str(field.type)
        if kind.startswith("Callable") and not callable(value):
            if value is None and kind.endswith("None"):
                continue
            raise _wrong(where, f"{before}{field.name}", value, "a function")


def _returning(
    kind: type[Any], function: Callable[[Any], Any], where: str, name: str
) -> Callable[[Any], Any]:
    """A function of the SPEC whose results are checked."""

    def shape_of(settings: Any) -> Any:
        try:
            shape = function(settings)
        except ConfigError as error:
            raise ConfigError(f"{where}: {name}: {error}") from error
        if not isinstance(shape, kind):
            raise ConfigError(
                f"{where}: {name} returned {brief(shape)}, expected a {kind.__name__}"
            )
        for part in fields(shape):
            value = getattr(shape, part.name)
            if str(part.type).startswith("int") and not _is_count(value):
                if value is None and str(part.type).endswith("None"):
                    continue
                place = f"{name} returned a {kind.__name__} whose {part.name}"
                raise _wrong(where, place, value, "a number from 1")
        return shape

    return shape_of


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _building(spec: ModelSpec, where: str) -> Callable[[Any], nn.Module]:
    """`build` of a SPEC, whose faults and results are those of the model file."""

    def made(settings: Any) -> Any:
        try:
            return spec.build(settings)
        except (VideozooError, MemoryError, OverflowError):
            raise
        except Exception as error:
            if isinstance(error, RuntimeError) and any(one in str(error) for one in _TOO_LARGE):
                raise
            said = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise RunError(own_fault(error) or f"{where}: build fails: {said}") from error

    def build(settings: Any) -> nn.Module:
        import torch

        if torch.empty(0).device.type != "meta":
            return _checked_module(made(settings), spec, where)
        try:
            module = made(settings)
        except RunError:  # it reads values of tensors, which have none on the meta device
            with torch.random.fork_rng(devices=[]), torch.device("cpu"):
                module = _checked_module(made(settings), spec, where)
            return module.to("meta")
        return _checked_module(module, spec, where)

    return build


def _checked_module(module: Any, spec: ModelSpec, where: str) -> nn.Module:
    from torch import nn
    from torch.nn.parameter import is_lazy

    if not isinstance(module, nn.Module):
        raise ConfigError(f"{where}: build returned {brief(module)}, expected a torch.nn.Module")
    lazy = [
        name
        for values in (module.named_parameters(), module.named_buffers())
        for name, value in values
        if is_lazy(value)
    ]
    if lazy:
        raise ConfigError(
            f"{where}: {lazy[0]} has no shape until the first batch (a layer such as "
            "nn.LazyLinear); expected layers with all their sizes, such as nn.Linear"
        )
    if next(module.parameters(), None) is None:
        raise ConfigError(
            f"{where}: {type(module).__name__} has no parameters, so there is nothing to train; "
            "assign its layers to attributes of the module"
        )
    for declared, names in _offers(spec.task):
        for name in names:
            if not hasattr(module, name):
                raise ConfigError(
                    f"{where}: declares {declared}, and {type(module).__name__} has no {name}; "
                    f"{type(spec.task).__name__} in videozoo.types says what it must be"
                )
    if _lacks_places(module, spec):
        raise ConfigError(
            f"{where}: declares explains=True, and {type(module).__name__} has no 2D or 3D "
            "convolution whose map could show where it looked"
        )
    return module


def _offers(task: Task) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What a task declares, and what the module must have for that."""
    from videozoo.types import Captioning, Classification, MomentRetrieval, Tagging

    if isinstance(task, Classification) and task.features:
        yield "features=True", ("features", "feature_dim")
    if isinstance(task, Tagging) and task.explains:
        yield "explains=True", ("frame_weights",)
    if isinstance(task, Captioning):
        yield "Captioning", ("caption",)
    if isinstance(task, MomentRetrieval) and task.exports:
        yield "exports=True", ("pairs",)


def _lacks_places(module: nn.Module, spec: ModelSpec) -> bool:
    """Whether there is no map that Grad-CAM, which a classifier declares, could read."""
    from torch import nn

    from videozoo.types import Classification

    if not (isinstance(spec.task, Classification) and spec.task.explains):
        return False
    return not any(isinstance(part, nn.Conv2d | nn.Conv3d) for part in module.modules())
