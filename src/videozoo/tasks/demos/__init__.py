"""First runs with nothing to download: one for the clip models, one for each other model.

Those that read features share `long_videos`: the same long videos, and features made of
them by a clip model that was trained on the spot.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from videozoo.errors import UsageError
from videozoo.tasks.requests import Device

_ROOMS = {
    "tsm": "clips",
    "tsn": "clips",
    "attention_cluster": "tagging",
    "attention_lstm": "tagging",
    "nextvlad": "tagging",
    "bmn": "localisation",
    "bsn": "localisation",
    "ctcn": "localisation",
    "ets": "captioning",
    "tall": "moments",
}
"""Which file here shows which model."""

NAMES = tuple(_ROOMS)


def run(
    name: str,
    *,
    folder: Path,
    seed: int = 0,
    device: Device = "auto",
    quick: bool = False,
) -> dict[str, Any]:
    """Show what a model can do; a second call takes up what is already there.

    Args:
        name: One of `NAMES`.
        folder: Gets the videos, the features, the runs and the pictures.
        seed: Of the videos and of the training.
        device: Where to train.
        quick: Half the time: of the two clip models only TSM.

    Returns:
        The scores, and where to look.

    Raises:
        UsageError: There is no demo of that name, or none that is quick.
        VideozooError: The folder cannot be written, or it holds something else.
        RunError: The model is not as much better than its baseline as it should be.
    """
    if name not in _ROOMS:
        raise UsageError(f"no demo of {name!r}; there are {', '.join(NAMES)}")
    if quick and name != "tsm":
        raise UsageError(f"--quick is for the demo of tsm; leave it out: videozoo demo {name}")
    room = import_module(f"{__name__}.{_ROOMS[name]}")
    if quick:
        return room.run(name, folder=folder, seed=seed, device=device, quick=True)
    return room.run(name, folder=folder, seed=seed, device=device)
