"""Settings of finding segments: the `data:`, `eval:` and `predict:` sections of localisers."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from videozoo.types import Settings

BadSegments = Literal["clip", "drop", "refuse"]


ResizeMethod = Literal["nearest", "linear", "cubic", "area"]


class AnnotatedData(Settings):
    """Videos with what happens in them, and who reads them."""

    annotations: Path | None = None
    """What happens when: ActivityNet's JSON, official or that of 2019; CSV of THUMOS14 or Charades,
    or with the columns video, start, end, label; projects of VIA 3 and exports of Label Studio;
    2019 lists of C-TCN. For all parts, unless the next two say otherwise."""
    val_annotations: Path | None = None
    """Those of the videos to check with after each epoch, where they are in another file."""
    test_annotations: Path | None = None
    """Those of the videos to evaluate on, by default the same as for checking."""
    train_subset: str | None = "training"
    """Subset to learn from; `train_val` takes two. A file that names no subsets is used whole."""
    val_subset: str | None = "validation"
    """Subset to check with after each epoch."""
    test_subset: str | None = "validation"
    """Subset to evaluate on, by default that of `val_subset`."""
    class_names: Path | None = None
    """Names of the classes by number, a line each or as JSON. By default all labels of
    `annotations`, sorted."""
    durations: Path | None = None
    """Lengths of videos in seconds where the annotations do not tell: `NAME ... SECONDS` a line,
    JSON, or other annotations."""
    bad_segments: BadSegments = "clip"
    """What becomes of segments that reach beyond the video: cut them, drop them, or refuse the
    file. Those of which nothing is left are dropped, or refused."""
    ignored_classes: tuple[str, ...] = ()
    """Segments with these labels do not count, such as `Ambiguous` of THUMOS14."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Of the videos, for exports of Label Studio, which count frames."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that read, on each training process; never more than the machine has cores.
    0 reads in the training process itself."""
    prefetch_batches: int = Field(default=2, ge=1)
    """Batches each worker prepares ahead."""
    bad_video_share: float = Field(default=0.05, ge=0, le=1)
    """Training goes on without videos that have no features, and replaces damaged ones by others;
    it stops when together they are more than this share."""

    @model_validator(mode="before")
    @classmethod
    def _test_as_val(cls, given: Any) -> Any:
        """Take the held-out videos for both: another part is a choice."""
        if isinstance(given, dict) and "val_subset" in given and "test_subset" not in given:
            return {**given, "test_subset": given["val_subset"]}
        return cast("Any", given)


class SequenceAugment(Settings):
    """How training makes videos look new: as C-TCN does, if at all."""

    random_move: bool = False
    """Cut the actions out and put them at drawn places of the rest."""
    random_crop: bool = False
    """Keep a drawn part of the video, and the actions whose middle is in it."""
    min_crop_scale: float = Field(default=0.3, gt=0, le=1)
    """Least share of the video that `random_crop` keeps."""
    resize: tuple[ResizeMethod, ...] = ()
    """One of these is drawn for each video in place of `data.resize`."""


class SequenceData(AnnotatedData):
    """Features of whole videos, and how they are fed to a localiser."""

    features: Path | None = None
    """A folder with one file a video (.csv, .npy, .npz, .h5, .pkl), with two of them, `rgb` and
    `flow`, or a feature pack; or one HDF5 file of many videos."""
    streams: tuple[str, ...] = ()
    """Arrays of a video, or subfolders of `features`, to be put side by side in this order. By
    default the only one, or `rgb` and `flow`."""
    resize: ResizeMethod | Literal["refuse"] = "linear"
    """How features of another length are brought to the model's number of steps, as OpenCV's
    `resize` would; `nearest` is what C-TCN does, and `area` takes means of long videos. Features
    of the right length stay as they are, as in 2019. `refuse` accepts no others."""
    snippet_length: int = Field(default=1, ge=1)
    """For 2019 lists, which count in frames: frames from one feature to the next."""
    augment: SequenceAugment = SequenceAugment()
    """How training makes videos look new."""


class ProposalData(AnnotatedData):
    """Proposals of videos with a vector of features each, and how they are fed to BSN's PEM."""

    proposals: Path | None = None
    """A folder with one CSV a video, best proposals first: `xmin, xmax, xmin_score, xmax_score,
    score, match_iou, match_ioa`; times are shares of the video."""
    proposal_features: Path | None = None
    """A folder with one .npy a video: (proposals, values), in the order of the CSV."""
    max_proposals: int = Field(default=1000, ge=1)
    """Proposals of a video that are used, the first of its CSV."""


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
