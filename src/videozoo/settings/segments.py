"""Settings of finding segments: the `data:`, `eval:` and `predict:` sections of localisers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import Field, field_validator, model_validator

from videozoo.settings.shared import (
    MOST_IN_BATCH,
    MissingFeaturesShare,
    NumWorkers,
    PrefetchBatches,
    RawVideos,
    StreamNames,
)
from videozoo.types import Settings

SegmentForm = Literal["activitynet", "csv", "labelstudio", "fiftyone"]
"""Forms that segments are written in: `data.annotations.segment_writers`."""
BadSegments = Literal["clip", "drop", "refuse"]


ResizeMethod = Literal["nearest", "linear", "cubic", "area"]


class AnnotatedData(Settings):
    """Annotated videos, and how they are read."""

    annotations: Path | None = None
    """Segments and their labels, in a format that `videozoo formats` lists: a CSV with the columns
    video, start, end, label; JSON of ActivityNet, HACS, FineAction; THUMOS14, Charades,
    EPIC-Kitchens; exports of Label Studio, CVAT, VIA 3, ELAN, FiftyOne, OSL; lists of C-TCN in the
    2019 format. Used for training, validation and test unless the next two keys say otherwise."""
    val_annotations: Path | None = None
    """Annotations of the validation videos, where they are in another file."""
    test_annotations: Path | None = None
    """Annotations of the test videos. By default those of validation."""
    train_subset: str | None = "training"
    """Subset to train on; `train_val` takes both. A file without subsets is used whole."""
    val_subset: str | None = "validation"
    """Subset to validate on after each epoch."""
    test_subset: str | None = "validation"
    """Subset to evaluate on. By default `val_subset`."""
    class_names: Path | None = None
    """Names of the classes in order: text, one per line, or JSON. By default all labels of
    `annotations`, sorted."""
    durations: Path | None = None
    """Lengths of the videos in seconds, where the annotations do not tell: lines `NAME ...
    SECONDS`, JSON, or other annotations."""
    bad_segments: BadSegments = "clip"
    """Segments that reach beyond their video: `clip` them to it, `drop` them, or `refuse` the file.
    A segment of which nothing is left is dropped, or refused."""
    ignored_classes: tuple[str, ...] = ()
    """Labels whose segments are ignored, such as `Ambiguous` of THUMOS14."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Frame rate of the videos, for annotations in frames (Label Studio, CVAT, FiftyOne). By
    default that of the videos, where they are at hand."""
    label_from: str | None = None
    """Which text of a segment is its class, where there are several: a column of a CSV,
    `verb_class`, `noun_class` or `action` of EPIC-Kitchens, an attribute of VIA or CVAT, a tier of
    ELAN (or `tier`: the names of the tiers), a key of JSON, a head of OSL."""
    spot_seconds: float | None = Field(default=None, gt=0)
    """For annotations that are points in time (SoccerNet, OSL): the length of the segments around
    them, whose middle they are."""
    num_workers: NumWorkers = 4
    prefetch_batches: PrefetchBatches = 2
    bad_video_share: MissingFeaturesShare = 0.05

    @model_validator(mode="before")
    @classmethod
    def _test_as_val(cls, given: Any) -> Any:
        """Take the held-out videos for both: another part is a choice."""
        if isinstance(given, dict) and "val_subset" in given and "test_subset" not in given:
            return {**given, "test_subset": given["val_subset"]}
        return cast("Any", given)


class SequenceAugment(Settings):
    """Augmentation in training, as C-TCN does it. By default none."""

    random_move: bool = False
    """Cut the actions out and put them back at random places."""
    random_crop: bool = False
    """Keep a random part of the video, and the actions whose middle is in it."""
    min_crop_scale: float = Field(default=0.3, gt=0, le=1)
    """Smallest share of the video that `random_crop` keeps."""
    resize: tuple[ResizeMethod, ...] = ()
    """Draw one of these for each video, instead of `data.resize`."""


class SequenceData(AnnotatedData, RawVideos):
    """Features of whole videos, and how they reach a localiser."""

    features: Path | None = None
    """A folder with one file per video (.csv, .npy, .npz, .h5, .pkl); a folder with two such
    subfolders, `rgb` and `flow`; a feature pack; or one HDF5 file of many videos. With `videos`:
    where their features are kept, by default in the cache."""
    streams: StreamNames = ()
    """Arrays of a video, or subfolders of `features`, to join in this order. By default the only
    one, or `rgb` and `flow`."""
    resize: ResizeMethod | Literal["refuse"] = "linear"
    """How features of another length are brought to the model's number of steps. The methods are
    those of OpenCV's `resize`: C-TCN uses `nearest`; `area` averages long videos. `refuse`
    accepts the right length only. Features of the right length are never changed, as in the 2019
    library."""
    snippet_length: int = Field(default=1, ge=1)
    """For lists in the 2019 format, which count frames: frames from one feature vector to the
    next."""
    window_seconds: float | None = Field(default=None, gt=0)
    """For long videos with short actions, such as THUMOS14: the model sees windows of this length,
    each resized to its steps, and what it finds in them is merged. null: the whole video at
    once."""
    stride_seconds: float | None = Field(default=None, gt=0)
    """Seconds from the start of one window to the next. By default half a window."""
    least_inside: float = Field(default=0.9, gt=0, le=1)
    """With windows: an action counts in a window if at least this share of it is inside. Training
    uses the windows with such an action."""
    background_windows: float = Field(default=0.0, ge=0, lt=1)
    """With windows: share of the training windows that hold no action, drawn anew each epoch."""
    augment: SequenceAugment = SequenceAugment()
    """Augmentation in training."""

    @model_validator(mode="after")
    def _windows_leave_no_gaps(self) -> Self:
        if self.stride_seconds is None:
            return self
        if self.window_seconds is None:
            raise ValueError(
                f"stride_seconds is {self.stride_seconds:g}, but there are no windows; set "
                "window_seconds too"
            )
        if self.stride_seconds > self.window_seconds:
            raise ValueError(
                f"stride_seconds is {self.stride_seconds:g}, longer than window_seconds "
                f"{self.window_seconds:g}: nothing would see what lies between two windows; "
                f"expected at most {self.window_seconds:g}, such as {self.window_seconds / 2:g}"
            )
        return self


class ProposalData(AnnotatedData):
    """Proposals of videos with one feature vector each, and how they reach BSN's PEM."""

    proposals: Path | None = None
    """A folder with one CSV per video, best proposals first: `xmin, xmax, xmin_score, xmax_score,
    score, match_iou, match_ioa`. Times are fractions of the video."""
    proposal_features: Path | None = None
    """A folder with one .npy per video: (proposals, values), in the order of the CSV."""
    max_proposals: int = Field(default=1000, ge=1)
    """Proposals used per video: the first of its CSV."""


class SoftNms(Settings):
    """Soft-NMS: lowers the scores of proposals that repeat a better one. BSN: 0.75, 0.65, 0.9."""

    alpha: float = Field(default=0.4, gt=0)
    """Width of the Gaussian penalty; larger is gentler."""
    low_threshold: float = Field(default=0.55, ge=0, le=1)
    """tIoU above which another proposal repeats a very short one."""
    high_threshold: float = Field(default=0.9, ge=0, le=1)
    """The same for a proposal as long as the video; between the two, the threshold grows with the
    length."""
    as_in_2019: bool = False
    """Leave out the very last proposal, and all from the 102nd on, as the 2019 library did."""


class ClassNms(Settings):
    """NMS per class (C-TCN): removes detections that repeat a better one, or lowers their
    scores."""

    score_threshold: float = Field(default=0.001, ge=0, le=1)
    """Only detections that score higher are used."""
    nms_threshold: float = Field(default=0.8, ge=0, le=1)
    """Of two detections with a higher tIoU than this, the worse one is removed."""
    sigma: float = Field(default=0.9, gt=0)
    """Width of the Gaussian penalty on the detections that are left."""
    least_score: float = Field(default=0.004, ge=0, le=1)
    """Detections that the penalty brings below this score are removed."""


class SequenceViews(Settings):
    """From the network's outputs to segments."""

    batch_size: int = Field(default=16, ge=1, le=MOST_IN_BATCH)
    """Videos per forward pass; with `data.window_seconds`, windows."""
    max_segments: int | None = Field(default=100, ge=1)
    """Keep the best N segments per video, over all classes; null keeps all."""
    soft_nms: SoftNms = SoftNms()
    """For models that propose segments without a class."""
    class_nms: ClassNms = ClassNms()
    """For models that give each segment a class."""
    labels: Path | None = None
    """What names proposals: class scores of whole videos (JSON, or the output of `videozoo predict`
    for the same videos), or a run of a model that classifies clips, which looks at each proposal.
    The scores of proposal and class are multiplied."""
    classes_per_video: int = Field(default=2, ge=1)
    """For `labels`: use the N most likely classes of each video, or of each proposal if a run names
    them."""
    videos: Path | None = None
    """For `labels` that is a run: the folder of the videos. By default their files are where the
    features were made of them."""
    streams: StreamNames = ()
    """Arrays or subfolders of features, where they are not `data.streams`. Validation uses those of
    `eval`."""
    result_file: Path = Path("results.json")
    """All segments as JSON. A name without a folder is put into the folder of --save-dir."""
    result_form: Literal["activitynet", "bmn_2019", "ctcn_2019"] = "activitynet"
    """Format of `result_file`: that of ActivityNet, or exactly that of the 2019 library."""
    result_forms: tuple[SegmentForm, ...] = ()
    """Also write the segments as these, beside `result_file`: `csv`, `labelstudio` (to correct them
    there), `fiftyone`, or `activitynet` (annotations). `videozoo convert` does it later."""
    score_files: Path | None = None
    """Folder for one CSV per video with the network's outputs before NMS; null: not written."""
    proposal_files: Path | None = None
    """For BSN's first stage: folder for the proposals, which the second stage reads; null: not
    written."""
    feature_files: Path | None = None
    """For BSN's first stage: folder for the features of the proposals; null: not written."""


class SequenceEval(SequenceViews):
    """Settings of evaluation."""

    average_numbers: tuple[Annotated[float, Field(gt=0, le=100_000)], ...] = (1, 5, 10, 100)
    """Average numbers of proposals per video (AN) at which AR@AN is reported."""
    tious: tuple[float, ...] = ()
    """tIoU thresholds of mAP and average recall. By default 0.5, 0.55 ... 0.95."""

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
    """Segments listed per video."""
    inputs: Path | None = None
    """Features to use when the command line names none; or a list of video names, one per line,
    whose features are in `data.features`."""


class ProposalEval(SequenceEval):
    """Settings of evaluation for BSN's second stage."""

    max_proposals: int | None = Field(default=None, ge=1)
    """Proposals used per video. By default `data.max_proposals`."""


class ProposalPredict(SequencePredict):
    """Settings of prediction for BSN's second stage."""

    max_proposals: int | None = Field(default=None, ge=1)
    """Proposals used per video. By default `data.max_proposals`."""
    proposals: Path | None = None
    """Folder of proposals to score. By default `data.proposals`."""
    proposal_features: Path | None = None
    """Folder of their features. By default `data.proposal_features`."""
