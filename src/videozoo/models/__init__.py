"""One public file a model. The file name is the registry."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import ConfigError, brief

if TYPE_CHECKING:
    from torch import nn

    from videozoo.types import ModelSpec


def list_models() -> list[str]:
    """Names accepted by `model_spec`, in alphabetical order.

    >>> "tsm" in list_models()
    True
    """
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(file.stem.removesuffix("_net") for file in files)


def model_summary(name: str) -> str:
    """First line of a model file's docstring, read without importing it (and so torch).

    >>> model_summary("tsm").startswith("TSM")
    True
    """
    with _file_of(model_name(name)).open(encoding="utf-8") as file:
        return file.readline().strip().strip('"')


def model_name(spelling: str) -> str:
    """Our name for any spelling of it: case, `-` and `_` do not count.

    Raises:
        ConfigError: No such model; the message gives the nearest name.

    >>> model_name("STNET"), model_name("NONLOCAL")
    ('stnet', 'nonlocal')
    """
    names = {_plain(name): name for name in list_models()}
    if _plain(spelling) in names:
        return names[_plain(spelling)]
    from difflib import get_close_matches  # here: a listing does without

    close = get_close_matches(_plain(spelling), names, n=1)
    hint = f"did you mean {names[close[0]]!r}?" if close else "see `videozoo models`"
    raise ConfigError(
        f"unknown model {brief(spelling)}; {hint} (known: {', '.join(sorted(names.values()))})"
    )


def model_spec(name: str) -> ModelSpec:
    """Import the file of model `name` (any spelling) and return its SPEC.

    Raises:
        ConfigError: No such model; the message gives the nearest name.
    """
    return import_module(f"{__name__}.{_file_of(model_name(name)).stem}").SPEC


def build_model(name: str, **settings: Any) -> nn.Module:
    """Make a model with fresh weights.

    Args:
        name: As `list_models` gives it; any spelling.
        settings: The keys of the `model:` section, e.g. `num_classes=10, depth=18`.

    Raises:
        ConfigError: No such model.
        pydantic.ValidationError: A setting does not fit.
    """
    spec = model_spec(name)
    return spec.build(spec.settings(**settings))


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _file_of(name: str) -> Path:
    folder = Path(__file__).parent
    plain = folder / f"{name}.py"
    return plain if plain.exists() else folder / f"{name}_net.py"  # `nonlocal` is a keyword
