"""Settings of tagging videos by features: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from videozoo.types import Settings


class FeatureData(Settings):
    """Features of videos, and how they are fed to a model."""

    train: Path | None = None
    """Videos to learn from: TFRecord shards of YouTube-8M, 2019 pickles, feature packs or `.npz`
    files; a file, a folder, a glob, or a list with one of these a line."""
    val: Path | None = None
    """Videos to check with after each epoch."""
    test: Path | None = None
    """Videos to evaluate on. By default those of `val`."""
    root: Path | None = None
    """Where files lie that a list names by a relative path and that are not in the current
    folder."""
    class_names: Path | None = None
    """Names of the classes by number: the vocabulary CSV of YouTube-8M, JSON or text."""
    format: Literal["auto", "tfrecord", "pickle", "pack", "npz"] = "auto"
    """What the files are. `auto` looks; the others take only such files from a folder."""
    max_frames: int | None = Field(default=300, ge=1)
    """Frames beyond that are not used, as in 2019; null uses all."""
    eval_frames: Literal["middle", "random"] = "middle"
    """For models that see a fixed number of frames, one from each equal slice of the video: in
    evaluation and prediction that in the middle, or a drawn one, as in 2019. The draw depends on
    the place of the video in the files only."""
    shuffle_records: int = Field(default=8192, ge=1)
    """Training takes whole shards in drawn order, as many at a time as hold so many videos, and
    shuffles their videos. Smaller numbers read from fewer files at a time."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that read, on each training process; never more than the machine has cores.
    0 reads in the training process itself. Each loads whole pickles."""
    prefetch_batches: int = Field(default=2, ge=1)
    """Batches each worker prepares ahead."""
    bad_video_share: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Training replaces videos that are damaged or empty by others, and stops when more than this
    share was replaced."""


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
