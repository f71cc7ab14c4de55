"""The settings of the demos, from the packaged configurations."""

from __future__ import annotations

from pathlib import Path

from videozoo.config import RunConfig, load_config
from videozoo.packaged_configs import config_folder


def demo_config(model: str, folder: Path) -> RunConfig:
    """Read `configs/demo/MODEL.yaml`, with the files of `folder` in place of those of `./demo`.

    Args:
        model: The name of the file, without `.yaml`.
        folder: The demo's folder.
    """
    config = load_config(config_folder() / "demo" / f"{model}.yaml")
    moved = {
        f"data.{key}": folder.joinpath(*Path(value).parts[1:])
        for key, value in config.as_dict()["data"].items()
        if isinstance(value, str) and Path(value).parts[0] == "demo"
    }
    return config.replace("", moved)
