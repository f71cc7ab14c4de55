"""How a trained localiser answers for a video: the `eval:` and `predict:` sections."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from videozoo.types import Settings


class SoftNms(Settings):
    """How proposals that repeat a better one lose their scores. BSN: 0.75, 0.65, 0.9."""

    alpha: float = Field(default=0.4, gt=0)
    """Width of the Gaussian penalty; larger is gentler."""
    low_threshold: float = Field(default=0.55, ge=0, le=1)
    """tIoU above which something repeats a very short proposal."""
    high_threshold: float = Field(default=0.9, ge=0, le=1)
    """The same of a proposal as long as the video; in between it grows with the length."""
    as_in_2019: bool = False
    """Leave out the very last proposal, and all from the 102nd on, as the 2019 code did."""


class ClassNms(Settings):
    """How detections of one class that repeat a better one go, or lose their scores (C-TCN)."""

    score_threshold: float = Field(default=0.001, ge=0, le=1)
    """Only what scores higher is looked at."""
    nms_threshold: float = Field(default=0.8, ge=0, le=1)
    """Of two that overlap by more, the worse one is dropped."""
    sigma: float = Field(default=0.9, gt=0)
    """Width of the Gaussian penalty of those that are left."""
    least_score: float = Field(default=0.004, ge=0, le=1)
    """What the penalty takes below this is dropped."""


class SequenceViews(Settings):
    """From what a network says of a video to segments."""

    batch_size: int = Field(default=16, ge=1)
    """Videos in one forward pass."""
    max_segments: int | None = Field(default=100, ge=1)
    """Segments kept of each video, the best first; of every class together. Empty: all."""
    soft_nms: SoftNms = SoftNms()
    """For networks that propose segments without a class."""
    class_nms: ClassNms = ClassNms()
    """For networks that give segments a class."""
    labels: Path | None = None
    """Class scores of whole videos, to turn proposals into detections: JSON, or what `videozoo
    predict` wrote of the same videos."""
    classes_per_video: int = Field(default=2, ge=1)
    """For `labels`: so many of the classes of each video are used, the likeliest."""
    streams: tuple[str, ...] = ()
    """Arrays or subfolders of features where they are not `data.streams`; validation takes those
    of `eval`."""
    result_file: Path = Path("results.json")
    """All segments in ActivityNet's form. A bare name lies in the folder of --save-dir."""
    result_form: Literal["activitynet", "bmn_2019", "ctcn_2019"] = "activitynet"
    """How `result_file` is written: as ActivityNet asks, or to the letter as in 2019."""
    score_files: Path | None = None
    """A folder to write a CSV a video into, of what the network says before duplicates are
    removed. Empty: not written, and so with the next two."""
    proposal_files: Path | None = None
    """For BSN's first stage: a folder for the proposals, which the second stage reads."""
    feature_files: Path | None = None
    """For BSN's first stage: a folder for their features."""


class SequenceEval(SequenceViews):
    """Settings of evaluation."""

    average_numbers: tuple[float, ...] = (1, 5, 10, 100)
    """AN to tell AR@AN for: average numbers of proposals a video."""
    tious: tuple[float, ...] = ()
    """tIoU thresholds of mAP and of average recall; by default 0.5, 0.55 ... 0.95."""

    @field_validator("average_numbers", "tious")
    @classmethod
    def _above_zero(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if not all(value > 0 for value in values):
            raise ValueError("must be above 0")
        return values

    @field_validator("tious")
    @classmethod
    def _at_most_one(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(value > 1 for value in values):
            raise ValueError("must be at most 1")
        return values


class SequencePredict(SequenceViews):
    """Settings of prediction."""

    top_k: int = Field(default=5, ge=1)
    """Segments listed for each video."""
    inputs: Path | None = None
    """Features to use when the command line names none; or a list of names of videos, a line each,
    whose features lie in `data.features`."""


class ProposalEval(SequenceEval):
    """Settings of evaluation, for the second of two stages."""

    max_proposals: int | None = Field(default=None, ge=1)
    """Proposals of a video that are used; by default `data.max_proposals`."""


class ProposalPredict(SequencePredict):
    """Settings of prediction, for the second of two stages."""

    max_proposals: int | None = Field(default=None, ge=1)
    """Proposals of a video that are used; by default `data.max_proposals`."""
    proposals: Path | None = None
    """A folder of proposals to score; by default `data.proposals`."""
    proposal_features: Path | None = None
    """Their features; by default `data.proposal_features`."""
