"""Settings of classifying clips: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from videozoo.types import Settings

ResizeRule = Literal["keep_aspect", "fixed_4_3"]
ResizeWith = Literal["torch", "pillow", "plain"]
Share = Annotated[float, Field(ge=0, le=1)]
Colour = tuple[float, float, float]


class ClipData(Settings):
    """Videos and their classes, and how clips are cut from them."""

    train: Path | None = None
    """Videos to learn from: a list (`PATH LABEL` a line), the official Kinetics CSV, or a folder
    with one folder of videos a class."""
    val: Path | None = None
    """Videos to check with after each epoch. Where `train` is a folder and this is not set:
    its `val` subfolder, or `val_share` of its videos."""
    test: Path | None = None
    """Videos to evaluate on. By default those of `val`."""
    root: Path | None = None
    """Where videos lie that a list names by a relative path and that are not in the current folder.
    For the Kinetics CSV: the folder to search."""
    class_names: Path | None = None
    """Names of the classes by number: JSON or text. By default the names of the class folders."""
    first_label: Literal[0, 1] | None = None
    """The number that lists give to the first class: 0, or 1 as in UCF101. By default it is found
    out, and asked for where nothing tells."""
    format: Literal["auto", "list", "csv", "folder"] = "auto"
    """What `train`, `val` and `test` are. `auto` looks."""
    val_share: Share = 0.2
    """Share of a class folder's videos that are kept for checking."""
    split_seed: int = 0
    """Another number keeps others."""
    short_side: int = Field(default=256, ge=1)
    """Shorter side after the resize, pixels."""
    short_side_jitter: tuple[int, int] | None = None
    """In training the shorter side is drawn: from the first number up to, not including, the
    second. By default it is `short_side`."""
    crop_size: int = Field(default=224, ge=1)
    """Side of the square a network sees, pixels."""
    resize: ResizeRule = "keep_aspect"
    """`keep_aspect`, or `fixed_4_3`: squeeze every video to 4:3, as the 2019 TSN, TSM, StNet."""
    resize_with: ResizeWith = "torch"
    """`torch`: smooth and fast. `pillow`: exactly the pixels of the 2019 TSN, TSM and StNet.
    `plain`: four nearest pixels only, as the 2019 Non-local."""
    crops: Literal["random", "multi_scale"] = "random"
    """In training: a square from anywhere; or first a rectangle of drawn size and shape, scaled to
    a square (TSN's multi-scale crop)."""
    flip: Share = 0.5
    """Chance that a training clip is mirrored. 0 where left and right are different answers."""
    frame_stride: int = Field(default=8, ge=1)
    """Distance between the frames of a clip, for models that take them at a fixed stride."""
    mean: Colour = (0.485, 0.456, 0.406)
    """Subtracted from red, green, blue, in units of 0..1."""
    std: Colour = (0.229, 0.224, 0.225)
    """What they are divided by, in units of 0..1."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that decode, on each training process; never more than the machine has cores.
    0 decodes in the training process itself."""
    prefetch_batches: int = Field(default=2, ge=1)
    """Batches each worker prepares ahead."""
    bad_video_share: Share = 0.01
    """Training replaces videos that cannot be read by others, and stops when more than this share
    of the list was replaced."""

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
        return self


class ClipViews(Settings):
    """Several looks at one video, their scores averaged."""

    batch_size: int = Field(default=16, ge=1)
    """Views in one forward pass. Bounds the memory, whatever the number of views a video."""
    num_clips: int = Field(default=1, ge=1)
    """Clips spread evenly over the video."""
    num_crops: Literal[1, 3, 6] = 1
    """Crops of each clip: 1 the centre; 3 along the longer side; 6 the same three and mirrored."""
    num_segments: int | None = Field(default=None, ge=1)
    """Segments a clip, where it differs from training and the model allows it (TSN, StNet)."""
    short_side: int | None = Field(default=None, ge=1)
    """Shorter side after the resize, pixels; by default that of `data`."""
    crop_size: int | None = Field(default=None, ge=1)
    """Side of the crop, pixels; by default that of `data`."""


class ClipEval(ClipViews):
    """Settings of evaluation."""


class ClipPredict(ClipViews):
    """Settings of prediction."""

    batch_size: int = Field(default=8, ge=1)
    """Views in one forward pass."""
    top_k: int = Field(default=5, ge=1)
    """Classes listed for each video."""
    inputs: Path | None = None
    """A list of videos to use when the command line names none."""
