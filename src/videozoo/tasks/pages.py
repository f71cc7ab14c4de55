"""What the report pages of all tasks share."""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from videozoo import __version__
from videozoo.config import RunConfig
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import counted
from videozoo.report.charts import Confusion, worst_pairs
from videozoo.tasks.results import run_folder_of

_MOST_CLASSES = 32  # rows of a confusion matrix that can be read
_MOST_SHOWN_CLASSES = 30  # rows if there are more than `_MOST_CLASSES`
_MOST_PAIRS = 20
_OTHERS = "(all others)"

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


def details_of(config: RunConfig, facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What the foot of a page tells of an evaluation; `facts` are those of `eval.json`."""
    return [
        ("Configuration", config.to_yaml()),
        ("Weights", str(facts["weights"])),
        ("Versions", versions()),
    ]


def made_by_eval(facts: Mapping[str, Any]) -> str:
    """When and how a page was made, for its last line."""
    return f"{time.strftime('%Y-%m-%d %H:%M')}, videozoo eval, {facts['seconds']:.0f} s"


def versions() -> str:
    """Versions, platform and threads, as one line for the foot of a page."""
    return (
        f"videozoo {__version__}, PyTorch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.platform()}, "
        f"{torch.get_num_threads()} threads"
    )


def confusion_of(
    counts: NDArray[np.int64], names: Sequence[str], title: str = "Confusion matrix"
) -> Confusion:
    """The confusion matrix (of many classes, the worst), and the most frequent errors.

    Args:
        counts: (C, C); row: true class, column: predicted class.
        names: Names of the C classes.
        title: Title of the section.
    """
    whole = Confusion(title=title, counts=counts, class_names=names)
    if len(names) <= _MOST_CLASSES:
        return whole
    pairs = worst_pairs(whole, _MOST_PAIRS)
    wrong = counts.sum(1) - np.diag(counts)
    chosen = np.argsort(-wrong, kind="stable")[:_MOST_SHOWN_CLASSES]
    chosen.sort()
    part = counts[np.ix_(chosen, chosen)]
    others = counts[chosen].sum(1) - part.sum(1)
    return Confusion(
        title=title,
        counts=np.column_stack([part, others]),
        class_names=[*(names[int(label)] for label in chosen), _OTHERS],
        pairs=pairs,
        note=f"Of {counted(len(names), 'class')}, the {len(chosen)} with the most errors.",
    )
