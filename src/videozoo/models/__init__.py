"""One public file per model. The file name is the registry.

Models from outside are named by the path of their file, or come with installed packages that
declare entry points of the group `videozoo.models`.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import ConfigError, brief
from videozoo.models import _outside
from videozoo.models._declared import own_fault
from videozoo.models._outside import find_model_file, is_model_file

if TYPE_CHECKING:
    from torch import nn

    from videozoo.models._outline import Outline
    from videozoo.types import ModelSpec

__all__ = [
    "build_model",
    "find_model_file",
    "is_from_outside",
    "is_model_file",
    "list_models",
    "model_name",
    "model_outline",
    "model_spec",
    "model_summary",
    "own_fault",
    "same_model",
    "task_family",
]

_FAMILIES = {"two_stage_localisation": "localisation", "proposal_scoring": "localisation"}
"""Tasks of `ModelSpec` that are one to a user."""


def list_models(task: str | None = None) -> list[str]:
    """Names accepted by `model_spec`, in alphabetical order; those of installed packages too.

    Args:
        task: Only models for it: classification, tagging, localisation, captioning or moments.

    Raises:
        ConfigError: There is no such task.

    >>> "tsm" in list_models()
    True
    >>> list_models(task="moments")
    ['tall']
    """
    names = sorted({*_own_models(), *_outside.installed()})
    if task is None:
        return names
    tasks = {name: task_family(model_outline(name).task) for name in names}
    if task not in tasks.values():
        known = ", ".join(sorted(set(tasks.values())))
        raise ConfigError(f"unknown task {brief(task)} (known: {known})")
    return [name for name in names if tasks[name] == task]


def task_family(task: str) -> str:
    """What a user calls the task of a `ModelSpec`.

    >>> task_family("two_stage_localisation"), task_family("tagging")
    ('localisation', 'tagging')
    """
    return _FAMILIES.get(task, task)


def model_summary(name: str) -> str:
    """First line of a model file's docstring, read without importing it (and so torch).

    >>> model_summary("tsm").startswith("TSM")
    True
    """
    name = model_name(name)
    if is_model_file(name):
        return _outside.summary_of(Path(name))
    if name not in _own_models():
        return _outside.summary_of(_outside.file_of_installed(_outside.installed()[name]))
    with _file_of(name).open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def model_name(spelling: str) -> str:
    """Our name for any spelling of it: case, `-` and `_` do not count. Of a file, its whole path.

    Raises:
        ConfigError: No such model, the message gives the nearest name; or no such file.

    >>> model_name("STNET"), model_name("NONLOCAL")
    ('stnet', 'nonlocal')
    """
    if is_model_file(spelling):
        return find_model_file(spelling)
    names = {_plain(name): name for name in _own_models()}
    if _plain(spelling) not in names:
        names |= {_plain(name): name for name in _outside.installed()}
    if _plain(spelling) in names:
        return names[_plain(spelling)]
    from difflib import get_close_matches  # here: a listing does without

    close = get_close_matches(_plain(spelling), names, n=1)
    hint = f"did you mean {names[close[0]]!r}?" if close else "see `videozoo models`"
    raise ConfigError(
        f"unknown model {brief(spelling)}; {hint} (known: {', '.join(sorted(names.values()))})"
    )


def is_from_outside(name: str) -> bool:
    """Whether a model is not one of the package.

    >>> is_from_outside("tsm"), is_from_outside("nets/mynet.py")
    (False, True)
    """
    return is_model_file(name) or name not in _own_models()


def same_model(one: str, other: str) -> bool:
    """Whether two names may mean one model: files may have been moved; the shapes will tell."""
    return one == other or (is_model_file(one) and is_model_file(other))


def model_spec(name: str) -> ModelSpec:
    """Import the file of model `name` (any spelling, or a path) and return its SPEC.

    Raises:
        ConfigError: No such model, the message gives the nearest name; or the file of a model from
            outside cannot be used.
    """
    name = model_name(name)
    if is_model_file(name):
        return _outside.spec_of_file(name)
    if name not in _own_models():
        return _outside.spec_of_installed(_outside.installed()[name])
    return import_module(f"{__name__}.{_file_of(name).stem}").SPEC


def model_outline(name: str) -> Outline:
    """Task and settings class of model `name` (any spelling, or a path), without importing torch.

    A model from outside is imported, its file again if it changed.

    Raises:
        ConfigError: No such model; the message gives the nearest name.
    """
    from videozoo.models._outline import Outline, read_outline

    name = model_name(name)
    file = _file_of(name)
    if name in _own_models() and f"{__name__}.{file.stem}" not in sys.modules:
        with suppress(Exception):  # the import does without these rules, or says what is wrong
            return read_outline(file)
    spec = _outside.spec_of_file(name, anew=True) if is_model_file(name) else model_spec(name)
    return Outline(spec.task.name, spec.settings)


def build_model(name: str, **settings: Any) -> nn.Module:
    """Make a model with fresh weights.

    Args:
        name: As `list_models` gives it, any spelling; or the path of a model file.
        settings: The keys of the `model:` section, e.g. `num_classes=10, depth=18`.

    Raises:
        ConfigError: No such model.
        pydantic.ValidationError: A setting does not fit.
    """
    spec = model_spec(name)
    return spec.build(spec.settings(**settings))


@cache
def _own_models() -> tuple[str, ...]:
    """Those of this folder; it is listed once, for `RunConfig.spec` is asked for often."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return tuple(sorted(file.stem.removesuffix("_net") for file in files))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _file_of(name: str) -> Path:
    folder = Path(__file__).parent
    plain = folder / f"{name}.py"
    return plain if plain.exists() else folder / f"{name}_net.py"  # `nonlocal` is a keyword
