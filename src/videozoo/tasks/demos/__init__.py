"""First runs with nothing to download: one for the clip models, one per other model, one for all.

The demos of feature models share `long_videos`: the same long videos, and features that a clip
model, trained in the demo, makes of them.
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
    "all": "everything",
}
"""Model, or all of them -> the module here with its demo."""

NAMES = tuple(_ROOMS)


def run(
    name: str,
    *,
    folder: Path,
    seed: int = 0,
    device: Device = "auto",
    quick: bool = False,
) -> dict[str, Any]:
    """Show what a model can do; a second call continues from the files of the first.

    Args:
        name: One of `NAMES`; `all` trains every model.
        folder: For the videos, the features, the runs and the pictures.
        seed: For the videos and the training.
        device: Where to train.
        quick: Train only TSM of the two clip models, in half the time.

    Returns:
        The scores, and where to look.

    Raises:
        UsageError: There is no demo of that name, or it has no quick form.
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
    demo = getattr(room, "DEMO", None)
    if demo is None:
        return room.run(name, folder=folder, seed=seed, device=device)
    from videozoo.tasks.demos import long_videos

    return long_videos.run(demo, name, folder=folder, seed=seed, device=device)
