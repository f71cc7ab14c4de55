"""How a trained model finds moments: the `eval:` and `predict:` sections of moment retrieval."""

from pathlib import Path

from pydantic import Field

from videozoo.types import Settings


class MomentViews(Settings):
    """From a network to ranked moments."""

    batch_size: int = Field(default=1, ge=1)
    """Videos looked through at once, each with all its windows."""


class MomentEval(MomentViews):
    """Settings of evaluation."""

    tious: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)
    """Overlaps at which a moment counts as found."""
    recall_at: tuple[int, ...] = (1, 5, 10)
    """How many moments of each sentence count."""
    nms_limit: float | None = Field(default=0.45, ge=0, le=1)
    """Moments that overlap a better one by more than this are left out, but for the numbers of
    2019, which have a limit of their own for each tIoU. null keeps all."""
    results_name: str | None = None
    """Name of a file with R@1 and R@5 at tIoU 0.5 in the form of 2019, if any."""


class MomentPredict(MomentViews):
    """Settings of prediction."""

    top_k: int = Field(default=5, ge=1)
    """Moments listed for each sentence."""
    nms_limit: float | None = Field(default=0.45, ge=0, le=1)
    """Moments that overlap a better one by more than this are left out; null keeps all."""
    inputs: Path | None = None
    """Sentences or features to use when the command line names none."""
    clips: Path | None = None
    """Folder of clips for `inputs`, in place of `data.test_clips`."""
    results_name: str | None = None
    """Name of a file with the best moment of each sentence in the form of 2019, if any."""
