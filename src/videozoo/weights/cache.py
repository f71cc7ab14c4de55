"""The folders of downloaded weights."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Return `$VIDEOZOO_CACHE`, or ~/.cache/videozoo. It need not exist."""
    given = os.environ.get("VIDEOZOO_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "videozoo"


def weights_folder() -> Path:
    """Folder of downloaded files, each with NAME.json beside it."""
    return cache_folder() / "weights"


def unpacked_folder() -> Path:
    """Folder of unpacked archives."""
    return cache_folder() / "unpacked"


def left_by_2019(file_name: str) -> Path | None:
    """A file that the 2019 library downloaded: ~/.paddle/weights/NAME, archives as a folder.

    Args:
        file_name: As published, e.g. "TSM.pdparams" or "ResNet50_pretrained.tar.gz".
    """
    folder = Path.home() / ".paddle" / "weights"
    for name in (file_name, file_name.removesuffix(".tar.gz")):
        found = folder / name
        if found.is_file() or (found.is_dir() and any(found.iterdir())):
            return found
    return None
