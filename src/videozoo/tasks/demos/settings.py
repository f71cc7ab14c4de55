"""The settings of the demos, from the packaged configurations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from videozoo.config import RunConfig, load_config
from videozoo.packaged_configs import config_folder


def demo_config(model: str, folder: Path) -> RunConfig:
    """Read `configs/demo/MODEL.yaml`, with the files of `folder` in place of those of `./demo`.

    Args:
        model: The name of the file, without `.yaml`.
        folder: The demo's folder.
    """
    config = load_config(config_folder() / "demo" / f"{model}.yaml")
    data = config.as_dict()["data"]
    moved = {key: _moved(value, folder) for key, value in data.items()}
    return config.replace(
        "", {f"data.{key}": value for key, value in moved.items() if value != data[key]}
    )


def _moved(value: Any, folder: Path) -> Any:
    if isinstance(value, list | tuple):
        return [_moved(each, folder) for each in cast("list[Any]", value)]
    if isinstance(value, str) and Path(value).parts[:1] == ("demo",):
        return str(folder.joinpath(*Path(value).parts[1:]))
    return value
