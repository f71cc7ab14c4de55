"""What a bundle says of one video: results for Python, and rows for `predictions.json`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from videozoo.results import Result


@dataclass(frozen=True)
class Answer:
    """The answer for one video."""

    results: Sequence[Result]
    """One; of models that look for sentences one per sentence."""
    rows: Sequence[dict[str, Any]]
    """The same for `predictions.json`."""
    damage: str = ""
    """What is wrong with the video, if it could be read all the same."""
