"""The configurations that come with videozoo, by name: `tsm`, `demo/folder`."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from videozoo.errors import ConfigError

FOLDER_CONFIG = "demo/folder"
"""A clip model for a folder with one folder of videos per class, where no other is named."""
PROBE_CONFIG = "probe"
"""The same on features of a pretrained network; taken first, as it needs few videos."""


def config_folder() -> Path:
    """Their folder: in the installed package, or beside `src/` in the source tree."""
    installed = Path(__file__).parent / "configs"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def config_names() -> list[str]:
    """Names that `--config` takes in place of a file; those of the demos last."""
    folder = config_folder()
    found = (path.relative_to(folder) for path in folder.rglob("*.yaml"))
    return sorted((path.with_suffix("").as_posix() for path in found), key=lambda n: ("/" in n, n))


def find_config(given: Path) -> Path:
    """Return the file that `given` names: an existing file wins over a packaged name.

    Raises:
        ConfigError: It is neither; the message lists what is nearest.
    """
    if given.exists() and not given.is_dir():  # a pipe will do, too
        return given
    if (run := given / "config.yaml").is_file():
        return run
    names = config_names()
    if given.as_posix() in names:
        return config_folder() / f"{given.as_posix()}.yaml"
    reason = "a folder, not a file" if given.is_dir() else "no such file or packaged configuration"
    raise ConfigError(f"{given}: cannot be read: {reason}; {_nearest(given, names)}")


def _nearest(given: Path, names: list[str]) -> str:
    beside = [str(path) for path in given.parent.glob("*.yaml")] if given.parent.is_dir() else []
    name = given.as_posix().removeprefix("configs/").removesuffix(".yaml").lower()
    near = get_close_matches(str(given), beside, n=2) + get_close_matches(name, names, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return "`videozoo config list` shows the packaged ones"
