"""Model files from outside the package: named by their path, or installed as entry points.

Importing a model file runs it. So a file is imported only where the user named it: on the command
line, in a YAML file, in a run folder's own `config.yaml`, or by installing a package that declares
entry points of the group `videozoo.models`.
"""

from __future__ import annotations

import ast
import os
import sys
import traceback
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from videozoo.errors import ConfigError, VideozooError
from videozoo.models._declared import checked
from videozoo.network import code_refusal

if TYPE_CHECKING:
    from videozoo.types import ModelSpec

GROUP = "videozoo.models"
"""Entry points, each a model's name and its module: `mynet = "mypackage.mynet"`."""


def is_model_file(name: str) -> bool:
    """Whether a model is named by its file.

    >>> is_model_file("tsm"), is_model_file("mynet.py"), is_model_file("nets/mynet.py")
    (False, True, True)
    """
    return name.endswith(".py") or "/" in name or os.sep in name


def find_model_file(name: str, *folders: Path) -> str:
    """The absolute path of a model file.

    Args:
        name: As written.
        folders: Where a relative path may start, beside the current folder.

    Raises:
        ConfigError: It is in none of them.
    """
    path = Path(name).expanduser()
    places = dict.fromkeys(os.path.abspath(folder / path) for folder in (*folders, Path()))  # noqa: PTH100
    found = next((place for place in places if Path(place).is_file()), None)
    if found is None:
        raise ConfigError(
            f"no such model file: {' or '.join(places)}; if it was moved, name it where it is now "
            f"(model.name, or --model PATH/{path.name})"
        )
    return found


@cache
def installed() -> dict[str, EntryPoint]:
    """The models of installed packages, by name."""
    return {point.name: point for point in entry_points(group=GROUP)}


_imported: dict[str, tuple[tuple[int, int] | None, ModelSpec]] = {}
"""Path to what was imported, and what the file looked like then."""


def spec_of_file(path: str, *, anew: bool = False) -> ModelSpec:
    """Import a model file and return its SPEC; a file is imported once.

    Args:
        path: Absolute.
        anew: Import it again if it changed since.

    Raises:
        ConfigError: It is missing, not Python, fails, or describes no model; or only a file of
            weights names it.
    """
    if path not in _imported or (anew and _imported[path][0] != _looks(path)):
        if reason := code_refusal():
            raise ConfigError(f"{path}: a model file is code, and {reason}")
        looks = _looks(path)
        _imported[path] = looks, _import(path)
    return _imported[path][1]


def _looks(path: str) -> tuple[int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _import(path: str) -> ModelSpec:
    """Import a model file.

    Raises:
        ConfigError: It is missing, not Python, fails, or describes no model.
    """
    name = f"{Path(path).stem}_{crc32(path.encode()):08x}"
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"{path}: not a Python file, expected NAME.py")
    module = module_from_spec(spec)
    sys.modules[name] = module  # classes find their own module there
    try:
        # compiled here: Python's cache misses an edit of the same second and size
        exec(compile(Path(path).read_bytes(), path, "exec", dont_inherit=True), vars(module))
    except VideozooError:
        del sys.modules[name]
        raise
    except SystemExit as error:
        del sys.modules[name]
        raise ConfigError(
            f"{path}: ends the program while it is imported (exit({error.code!r})); put what runs "
            "under if __name__ == '__main__':"
        ) from None
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(_failed(path, error)) from error
    return checked(getattr(module, "SPEC", None), path, path)


def spec_of_installed(point: EntryPoint) -> ModelSpec:
    """Import the model of an installed package.

    Raises:
        ConfigError: It cannot be imported, or is no model.
    """
    where = f"model {point.name!r} of the entry point {point.value!r}"
    try:
        loaded: Any = point.load()
    except VideozooError:
        raise
    except Exception as error:
        raise ConfigError(f"{where}: {_said(error)}") from error
    file = file_of_installed(point)
    return checked(getattr(loaded, "SPEC", loaded), where, file and str(file))


def summary_of(path: Path | None) -> str:
    """First line of a model file's docstring; empty where there is none. Nothing is imported."""
    try:
        text = ast.get_docstring(ast.parse(path.read_bytes())) if path is not None else ""
    except (OSError, SyntaxError, ValueError):
        return ""
    return (text or "").strip().partition("\n")[0]


def file_of_installed(point: EntryPoint) -> Path | None:
    """Where the module of an installed model lies."""
    try:
        spec = find_spec(point.module)
    except (ImportError, ValueError):
        return None
    return Path(spec.origin) if spec is not None and spec.origin else None


def _failed(path: str, error: Exception) -> str:
    """Say at which line of a file its import failed."""
    if isinstance(error, SyntaxError):
        place = f"{path}:{error.lineno}" if error.lineno else path  # none of a file with NUL bytes
        return f"{place}: not Python: {error.msg}"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename == path]
    line = f":{frames[-1].lineno}" if frames else ""
    return f"{path}{line}: {_said(error)}{_stands_alone(path, error)}"


def _stands_alone(path: str, error: Exception) -> str:
    """What to do where a model file imports the file beside it."""
    name = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
    beside = Path(path).parent / (name or "").partition(".")[0]
    if not name or not (beside.is_dir() or beside.with_suffix(".py").is_file()):
        return ""
    return (
        f"; {beside.name} lies beside it, but a model file stands alone: put that code into "
        f"{Path(path).name}, or install it as a package"
    )


def _said(error: Exception) -> str:
    return f"the import fails: {type(error).__name__}: {' '.join(str(error).split())}"
