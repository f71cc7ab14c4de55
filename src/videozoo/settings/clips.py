"""Settings of classifying clips: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from videozoo.settings.shared import MOST_IN_BATCH, MOST_SIDE, NumWorkers, PrefetchBatches, Share
from videozoo.types import Settings

ResizeRule = Literal["keep_aspect", "fixed_4_3"]
ResizeWith = Literal["torch", "pillow", "plain"]
Side = Annotated[int, Field(ge=1, le=MOST_SIDE)]
Colour = tuple[float, float, float]


class ClipData(Settings):
    """Videos, their classes, and how clips are cut from them."""

    train: Path | None = None
    """Videos to learn from: a folder with one subfolder of videos per class, or a list: one `PATH
    LABEL` per line, or several labels, or the list of a data set (`videozoo formats`)."""
    val: Path | None = None
    """Videos to validate on after each epoch. By default, where `train` is a folder: its subfolder
    `val`, or `val_share` of its videos; where `train` is a list that says which videos are for
    validation or testing (HMDB51, a column `split`): these."""
    test: Path | None = None
    """Videos to evaluate on. By default those of `val`."""
    root: Path | None = None
    """Folder for relative paths of a list that are not found in the current folder. For the lists
    of Kinetics, Something-Something and Diving48: the folder to search."""
    class_names: Path | None = None
    """Names of the classes in order: JSON or text. By default the names of the class folders."""
    first_label: Literal[0, 1] | None = None
    """Number of the first class in the lists: 0, or 1 as in UCF101. By default it is found from the
    lists, and you are asked if they do not tell."""
    split: int | None = Field(default=None, ge=1)
    """Which split, for lists that divide the videos in several ways: 1, 2 or 3 of HMDB51. Training
    takes its videos for training, validation and evaluation those for testing."""
    format: Literal["auto", "list", "csv", "folder"] = "auto"
    """Format of `train`, `val` and `test`. `auto` detects it."""
    val_share: Share = 0.2
    """Share of a class folder's videos that are kept for validation."""
    split_seed: int = 0
    """Which videos are kept for validation; another number keeps others."""
    short_side: int = Field(default=256, ge=1, le=MOST_SIDE)
    """Shorter side of the frame after the resize, in pixels."""
    short_side_jitter: tuple[Side, Side] | None = None
    """In training the shorter side is drawn from this range; the second number is not included. By
    default it is always `short_side`."""
    crop_size: int = Field(default=224, ge=1, le=MOST_SIDE)
    """Side of the square that the network sees, in pixels."""
    resize: ResizeRule = "keep_aspect"
    """`keep_aspect`, or `fixed_4_3`: squeeze every video to 4:3, as TSN, TSM and StNet did in the
    2019 library."""
    resize_with: ResizeWith = "torch"
    """`torch`: smooth and fast. `pillow`: the exact pixels of TSN, TSM and StNet in the 2019
    library. `plain`: bilinear without smoothing, as its Non-local."""
    crops: Literal["random", "multi_scale"] = "random"
    """In training: `random` takes a square at a random place; `multi_scale` takes a rectangle of
    random size and shape and scales it to a square (TSN)."""
    flip: Share = 0.5
    """Chance that a training clip is mirrored. Use 0 where left and right are different classes."""
    frame_stride: int = Field(default=8, ge=1)
    """Distance between the frames of a clip, for models that sample at a fixed stride."""
    mean: Colour = (0.485, 0.456, 0.406)
    """Mean of red, green and blue, subtracted; for values in 0..1."""
    std: Colour = (0.229, 0.224, 0.225)
    """Standard deviation of red, green and blue; the values are divided by it."""
    num_workers: NumWorkers = 4
    prefetch_batches: PrefetchBatches = 2
    balance: bool = False
    """In training: draw the videos of an epoch so that each class has the same share; videos of
    rare classes come several times, as other clips, and only some of frequent ones."""
    bad_video_share: Share = 0.01
    """Training replaces unreadable videos by others. It stops when more than this share of the list
    was replaced."""

    @model_validator(mode="after")
    def _crops_fit(self) -> Self:
        low, high = self.short_side_jitter or (self.short_side, self.short_side)
        if low > high:
            raise ValueError(f"short_side_jitter: {low} is larger than {high}")
        smallest = self.short_side if self.crops == "multi_scale" else min(low, self.short_side)
        if smallest < self.crop_size:
            raise ValueError(
                f"crop_size {self.crop_size} does not fit into frames with a short side of "
                f"{smallest}; make crop_size smaller or short_side larger"
            )
        if min(self.std) <= 0:
            raise ValueError(f"std: expected numbers above 0, got {list(self.std)}")
        for name, colour in (("mean", self.mean), ("std", self.std)):
            if max(colour) > 1:
                divided = [round(value / 255, 4) for value in colour]
                raise ValueError(
                    f"{name}: expected numbers up to 1, for values in 0..1, got {list(colour)}; "
                    f"if they are for values in 0..255, write {divided}"
                )
        return self


class ClipViews(Settings):
    """Several views of one video, whose scores are averaged."""

    batch_size: int = Field(default=16, ge=1, le=MOST_IN_BATCH)
    """Views per forward pass; bounds the memory, however many views a video has."""
    num_clips: int = Field(default=1, ge=1, le=10_000)
    """Clips per video, spread evenly over it."""
    num_crops: Literal[1, 3, 6] = 1
    """Crops per clip: 1 the centre; 3 along the longer side; 6 these three and their mirror
    images."""
    num_segments: int | None = Field(default=None, ge=1, le=10_000)
    """Segments per clip. By default as in training; only some models allow others (TSN, StNet)."""
    short_side: int | None = Field(default=None, ge=1, le=MOST_SIDE)
    """Shorter side of the frame after the resize, in pixels. By default `data.short_side`."""
    crop_size: int | None = Field(default=None, ge=1, le=MOST_SIDE)
    """Side of the crop, in pixels. By default `data.crop_size`."""


def frame_of(data: ClipData, views: ClipViews) -> tuple[int, int]:
    """The short side and the crop of the views, in pixels: those of `views`, else those of `data`.

    Raises:
        ValueError: The crop does not fit into the frame.
    """
    short_side, crop_size = views.short_side or data.short_side, views.crop_size or data.crop_size
    if crop_size > short_side:
        raise ValueError(
            f"crop_size {crop_size} does not fit into frames with a short side of "
            f"{short_side}; make crop_size smaller or short_side larger"
        )
    return short_side, crop_size


class ClipEval(ClipViews):
    """Settings of evaluation."""


class ClipPredict(ClipViews):
    """Settings of prediction."""

    batch_size: int = Field(default=8, ge=1, le=MOST_IN_BATCH)
    """Views per forward pass."""
    top_k: int = Field(default=5, ge=1)
    """Classes listed per video."""
    inputs: Path | None = None
    """List of videos to use when the command line names none."""
    every_seconds: float | None = Field(default=None, ge=1e-3, allow_inf_nan=False)
    """Score one window per this many seconds along each video, and join windows of one class into
    segments. By default one answer per video."""
    window_seconds: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    """Length of these windows. By default that of the clips that the model learnt from (median);
    where this is not known, `every_seconds`."""
    smooth_windows: int = Field(default=3, ge=1)
    """Scores are averaged over this many neighbouring windows, an odd number; 1: not at all."""
    least_score: float = Field(default=0.5, ge=0, le=1)
    """With `every_seconds`: windows in which no class scores this much belong to no segment. For
    models of several classes per video: a video is said to have the classes that score this much.
    """

    @field_validator("smooth_windows")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError(f"expected an odd number, as many before as after, got {value}")
        return value
