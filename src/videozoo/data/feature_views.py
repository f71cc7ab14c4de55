"""How a trained tagging model looks at videos: the `eval:` and `predict:` sections."""

from pathlib import Path

from pydantic import Field

from videozoo.types import Settings


class FeatureEval(Settings):
    """Settings of evaluation."""

    batch_size: int = Field(default=64, ge=1)
    """Videos in one forward pass."""
    top_k: int = Field(default=20, ge=1)
    """Tags of each video that count in GAP and in the average precision of a class."""


class FeaturePredict(Settings):
    """Settings of prediction."""

    batch_size: int = Field(default=16, ge=1)
    """Videos in one forward pass."""
    top_k: int = Field(default=20, ge=1)
    """Tags listed for each video."""
    inputs: Path | None = None
    """Features to use when the command line names none."""
