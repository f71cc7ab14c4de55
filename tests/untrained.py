"""A run of a tiny clip model that was never trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from videozoo.config import from_layers
from videozoo.data.synthetic.clips import CLASS_NAMES
from videozoo.engine.run_folder import RunFolder
from videozoo.tasks.loading import save_trained


def untrained_tsm(path: Path, *, bias: float = 0.0) -> Path:
    """Write the weights of a TSM for 8 classes, whose names are the usual ones in `<` and `>`.

    Args:
        path: The run folder.
        bias: Of the first class; with 9 the model is sure of it, whatever it sees.

    Returns:
        The weights.
    """
    torch.manual_seed(0)
    settings: dict[str, Any] = {
        "model": {"name": "tsm", "num_classes": 8, "depth": 18, "width": 0.125, "num_segments": 2},
        "data": {"val": "val.list", "short_side": 32, "crop_size": 32, "num_workers": 0},
    }
    config = from_layers([("the test", settings)])
    folder = RunFolder.create(path, config=config.to_yaml())
    module = config.spec.build(config.model)
    module.state_dict()["head.bias"][0] += bias
    save_trained(folder.best, module, config, [f"<{name}>" for name in CLASS_NAMES], {})
    return folder.best
