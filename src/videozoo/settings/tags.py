"""Settings of tagging videos by features: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from videozoo.settings.shared import MOST_IN_BATCH, NumWorkers, PrefetchBatches, RawVideos, Share
from videozoo.types import Settings


class FeatureData(RawVideos):
    """Features of videos, their tags, and how they reach the model.

    With `videos` or `encoder`, videos themselves: then `videos` is divided into parts, and `train`,
    `val` and `test` are folders or lists of videos, where they are not parts of `videos`.
    """

    train: Path | None = None
    """Videos to learn from: TFRecord shards of YouTube-8M, pickles in the 2019 format, feature
    packs or `.npz` files; given as a file, a folder, a glob, or a list with one of these per
    line. With `encoder`: a folder or a list of videos."""
    val: Path | None = None
    """Videos to validate on after each epoch."""
    test: Path | None = None
    """Videos to evaluate on. By default those of `val`."""
    root: Path | None = None
    """Folder for relative paths of a list that are not found in the current folder."""
    class_names: Path | None = None
    """Names of the classes in order: the vocabulary CSV of YouTube-8M, JSON or text. By default,
    with videos themselves, those of the class folders or of `labels`."""
    first_label: Literal[0, 1] | None = None
    """Number of the first class in lists of videos themselves: 0, or 1 as in UCF101. By default it
    is found from the lists, and you are asked if they do not tell."""
    split: int | None = Field(default=None, ge=1)
    """Which split, for lists that divide videos themselves in several ways: 1, 2 or 3 of HMDB51."""
    labels: Path | None = None
    """Classes of videos themselves, any number per video: lines `PATH LABEL[,LABEL...]`, or JSON
    `{PATH: [LABEL, ...]}`. By default `videos` has one folder per class."""
    features: Path | None = None
    """Where features of `videos` are kept; by default in the cache."""
    val_share: Share = 0.2
    """Share of `videos` that is kept for validation; of each class, where each video has one, the
    last share by name. A probe on fewer than 100 videos, or 10 per class, keeps none, unless
    this is set."""
    split_seed: int = 0
    """Which of `videos` are kept for validation; another number keeps others."""
    groups: str | None = None
    """Videos of one group, such as a person or a day, are held out together: a regular expression
    that finds the group in the path of a video, such as `person[0-9]+`. By default neighbours by
    name, and clips of one source (`v_run_g01_c01`, `v_run_g01_c02`)."""
    format: Literal["auto", "tfrecord", "pickle", "pack", "npz"] = "auto"
    """Format of the files. `auto` detects it; the others take only such files from a folder."""
    max_frames: int | None = Field(default=300, ge=1)
    """Use only the first N frames of a video, as the 2019 library did; null uses all. Evaluation
    and prediction on features that `videozoo` made read longer videos in parts of so many frames,
    and average the scores."""
    eval_frames: Literal["middle", "random"] = "middle"
    """For models that see a fixed number of frames, one from each equal slice of the video: the
    frame that evaluation and prediction take, the middle one or a random one, as the 2019 library
    did. The draw depends only on the place of the video in the files."""
    segments: bool = False
    """Learn from, evaluate and tag segments of videos in place of whole videos, as the YouTube-8M
    challenge of 2019 did. Training and evaluation take the segments that people rated, each with
    its rated classes alone; prediction takes all, one after the other."""
    segment_frames: int = Field(default=5, ge=1, le=100_000)
    """With `segments`: frames of a segment, one per second as in YouTube-8M."""
    balance: bool = False
    """In training: draw the videos of an epoch so that each class has the same share; videos of
    rare classes come several times, and only some of frequent ones. With `segments`: so that each
    class is rated in the same share of the segments."""
    shuffle_records: int = Field(default=8192, ge=1)
    """Training reads whole shards in random order and shuffles together as many shards as hold this
    many videos. A smaller number reads fewer files at a time."""
    num_workers: NumWorkers = 4
    prefetch_batches: PrefetchBatches = 2
    bad_video_share: Share = 0.01
    """Training replaces damaged or empty videos by others. It stops when more than this share was
    replaced."""

    @field_validator("groups")
    @classmethod
    def _is_pattern(cls, value: str | None) -> str | None:
        try:
            re.compile(value or "")
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return value

    @property
    def is_raw(self) -> bool:
        """Whether the section names videos themselves, whose features are made first."""
        return self.videos is not None or bool(self.encoder)

    @model_validator(mode="after")
    def _has_videos(self) -> Self:
        if not self.is_raw:
            for name in ("features", "labels"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name}: is for videos themselves; name them in `videos`")
        elif self.segments:
            raise ValueError(
                "segments: is for records with segments that people rated, as in YouTube-8M of "
                "2019; videos themselves have none"
            )
        return self


class FeatureEval(Settings):
    """Settings of evaluation."""

    batch_size: int = Field(default=64, ge=1, le=MOST_IN_BATCH)
    """Videos per forward pass."""
    top_k: int = Field(default=20, ge=1)
    """Tags per video that count in GAP and in the average precision of a class; with
    `data.segments` every rated class counts."""
    hit_at_one_2019: bool = False
    """Also report Hit@1 as the 2019 library computed it: the best tag of a video counts if any
    video of its batch has it, which is wrong and depends on `batch_size`."""


class FeaturePredict(Settings):
    """Settings of prediction."""

    batch_size: int = Field(default=16, ge=1, le=MOST_IN_BATCH)
    """Videos per forward pass."""
    top_k: int = Field(default=20, ge=1)
    """Tags listed per video; with `data.segments`, tags ranked per segment."""
    inputs: Path | None = None
    """Features to use when the command line names none."""
    segment_classes: Path | None = None
    """With `data.segments`: the classes to look for, a number per line, as the challenge's
    `segment_label_ids.csv`. By default all classes."""
    submission_name: str | None = "submission.csv"
    """With `data.segments`: file in the form of the YouTube-8M challenge of 2019, with the best
    segments of each class; null writes none."""
    least_score: float = Field(default=0.5, ge=0, le=1)
    """With `data.segments`: a segment is said to show a class that scores this much."""
