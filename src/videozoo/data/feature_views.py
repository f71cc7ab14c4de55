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
    hit_at_one_2019: bool = False
    """Also give Hit@1 as the 2019 library logged it: each video's best tag is looked up among the
    tags of every video of its batch, which is wrong and depends on `batch_size`."""


class FeaturePredict(Settings):
    """Settings of prediction."""

    batch_size: int = Field(default=16, ge=1)
    """Videos in one forward pass."""
    top_k: int = Field(default=20, ge=1)
    """Tags listed for each video."""
    inputs: Path | None = None
    """Features to use when the command line names none."""
