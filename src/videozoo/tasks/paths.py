"""Tell in errors about missing files which configuration key names the path."""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from videozoo.config import RunConfig
from videozoo.errors import ConfigError, DataError, WeightsError


@contextmanager
def paths_explained(config: RunConfig, *, with_data: tuple[str, ...] = ()) -> Generator[None]:
    """A context in which the error about a missing file also names its key and configuration.

    Args:
        config: The configuration of the run.
        with_data: Keys that `--data` sets; for them the advice is `--data PATH`.
    """
    try:
        yield
    except (ConfigError, DataError, WeightsError) as error:
        notes = list(_notes(str(error), config, with_data))
        if not notes:
            raise
        raise type(error)("\n  ".join([str(error), *notes])) from error


def _notes(message: str, config: RunConfig, with_data: tuple[str, ...]) -> Generator[str]:
    relative = config.relative_paths()
    for key, path in config.paths().items():
        origin = config.origin_of(key)
        is_named = re.search(rf"(?<![\w./-]){re.escape(str(path))}(?![\w.-])", message)
        if not origin or origin.startswith("--") or not is_named or path.exists():
            continue
        note = f"{path} is {key} of {origin}"
        if path.is_absolute() and key in relative:
            note += f", which was {relative[key]} there and is not at {Path.cwd()} either"
        elif not path.is_absolute():
            note += f", looked for in {Path.cwd()}"
        flag = "--data PATH" if key in with_data else f"--set {key}=PATH"
        yield f"{note}; name another: {flag}"
