"""What the report pages of all tasks share."""

from __future__ import annotations

import importlib.util
import platform
from pathlib import Path

import torch

from videozoo import __version__
from videozoo.engine.run_folder import RunFolder
from videozoo.tasks.results import run_folder_of

CHARTS_HINT = (
    "no report.html: drawing its charts needs matplotlib; "
    "get it with: pip install 'videozoo[report]'"
)


def can_draw() -> bool:
    """Whether matplotlib, which draws the charts, is installed; does not import it."""
    return importlib.util.find_spec("matplotlib") is not None


def run_of(weights: Path) -> RunFolder | None:
    """The run folder that holds these weights; None for weights elsewhere."""
    folder = run_folder_of(weights)
    run = None if folder is None else RunFolder(folder)
    return run if run is not None and run.metrics.is_file() else None


def versions() -> str:
    """Versions, platform and threads, as one line for the foot of a page."""
    return (
        f"videozoo {__version__}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.platform()}, "
        f"{torch.get_num_threads()} threads"
    )
