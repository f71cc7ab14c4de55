"""Settings of finding moments by sentences: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from videozoo.settings.shared import (
    MOST_IN_BATCH,
    MOST_RATE,
    MissingFeaturesShare,
    NumWorkers,
    PrefetchBatches,
    RawVideos,
    Streams,
)
from videozoo.types import Settings

HASHED, GIVEN = "hashed", "given"
TRAINED = "sentence-transformers:"
"""Prefix of the name or folder of a model of the package sentence-transformers."""


class SentenceSettings(Settings):
    """How sentences become vectors."""

    encoder: str = HASHED
    """`hashed`: the built-in encoder, of length `model.sentence_dim`. `given`: the vectors in
    `file`, or those beside the clips in files in the 2019 format. `sentence-transformers:NAME`: a
    model of that package, by name or folder. `hf://OWNER/NAME` or a folder: the text tower of a
    CLIP or SigLIP model, whose vectors fit the features of its images."""
    file: Path | None = None
    """For `given`: a pickle with a dict from sentence to vector, or a .npz file with the arrays
    `sentences` and `vectors`."""
    dims: int | None = Field(default=None, ge=1)
    """For `given`: use only the first N numbers of each vector, an option of the 2019 library."""


class WindowSettings(Settings):
    """Which windows are cut from the features of whole videos."""

    seconds: tuple[PositiveFloat, ...] = (4.0, 8.0, 16.0, 32.0)
    """Lengths of the windows. A video shorter than a length is one window as a whole."""
    overlap: float = Field(default=0.8, ge=0, lt=1)
    """Share of a window that the next window of the same length repeats."""
    context_seconds: float = Field(default=4.0, gt=0)
    """Length of the context before and after a window that is seen with it."""


class MomentData(RawVideos):
    """Sentences, the moments they describe, and the windows to search."""

    train: Path | None = None
    """Sentences to learn from: Charades-STA, TACoS, ActivityNet Captions or YouCook2 as JSON,
    QVHighlights as JSON lines, a CSV `video,start,end,sentence`, lists of ETS in the 2019 format,
    or pickles of TALL in the 2019 format (clip names and sentence vectors)."""
    val: Path | None = None
    """Sentences to validate on after each epoch."""
    test: Path | None = None
    """Sentences to evaluate on. By default those of `val`."""
    train_subset: str | None = None
    """Subset of `train` to learn from, where the file names subsets. By default that for
    training."""
    val_subset: str | None = None
    """Subset of `val`. By default that for validation."""
    test_subset: str | None = None
    """Subset of `test`. By default that for testing, or that of `val` if both are one file."""
    features: Path | None = None
    """Features of whole videos, from which windows are cut: a folder of files, or a feature
    pack. With `videos`: where their features are kept, by default in the cache."""
    streams: Streams = ()
    rate: float | None = Field(default=None, gt=0, le=MOST_RATE)
    """Feature vectors per second. By default the rate stored with the features, else 5; with
    `videos` 2."""
    windows: WindowSettings = WindowSettings()
    """How windows are cut from the features of whole videos."""
    clips: Path | None = None
    """Instead of `features`: a folder with one file MOVIE_START_END.npy per window, times in
    frames, as in the 2019 library."""
    test_clips: Path | None = None
    """The same for `val` and `test`. By default `clips`."""
    context_frames: int = Field(default=128, ge=1, le=1_000_000)
    """For `clips`: length of a context clip before or after the window."""
    context_clips: int = Field(default=1, ge=1, le=1000)
    """For `clips`: number of context clips on each side."""
    lengths: Path | None = None
    """For `clips`: pickle in the 2019 format with the number of frames and the frame rate of each
    movie."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Frame rate of the videos, needed where sentences are timed in seconds and windows in frames,
    or the reverse, and `lengths` does not tell. TACoS: 29.4."""
    sentences: SentenceSettings = SentenceSettings()
    """How sentences become vectors, where the files hold text."""
    min_tiou: float = Field(default=0.5, ge=0, le=1)
    """A window is a training example of a sentence if its tIoU with the moment is above this,
    ..."""
    max_outside: float = Field(default=0.15, ge=0, le=1)
    """... and less than this share of the window lies outside the moment."""
    outside: Literal["refuse", "skip"] = "refuse"
    """Sentences whose moment lies outside its video or has no length: `refuse` the file, or `skip`
    them and report how many. A moment that only reaches beyond the end is cut there."""
    num_workers: NumWorkers = 4
    prefetch_batches: PrefetchBatches = 2
    bad_video_share: MissingFeaturesShare = 0.05


class MomentViews(Settings):
    """From the network's outputs to ranked moments."""

    batch_size: int = Field(default=1, ge=1, le=MOST_IN_BATCH)
    """Videos searched at once, each with all its windows."""
    submission_name: str | None = "moments.jsonl"
    """File for the best ten moments per sentence in the form of QVHighlights, which `videozoo
    score` reads; null: not written. Only for moments in seconds."""


class MomentEval(MomentViews):
    """Settings of evaluation."""

    tious: tuple[Annotated[float, Field(ge=0, le=1)], ...] = (0.1, 0.3, 0.5, 0.7)
    """tIoU thresholds: a moment is found if its tIoU is at least this."""
    recall_at: tuple[PositiveInt, ...] = (1, 5, 10)
    """How many moments per sentence count: R@1, R@5, R@10."""
    nms_limit: float | None = Field(default=0.45, ge=0, le=1)
    """Remove moments whose tIoU with a better one is above this; null keeps all. R@N of the 2019
    library does not use it: it has a limit for each tIoU threshold."""
    results_name: str | None = None
    """File for R@1 and R@5 at tIoU 0.5 in the 2019 format; null: not written."""


class MomentPredict(MomentViews):
    """Settings of prediction."""

    top_k: int = Field(default=5, ge=1)
    """Moments listed per sentence."""
    nms_limit: float | None = Field(default=0.45, ge=0, le=1)
    """Remove moments whose tIoU with a better one is above this; null keeps all."""
    inputs: Path | None = None
    """Sentences or features to use when the command line names none."""
    least_score: float | None = Field(default=None, allow_inf_nan=False)
    """A sentence whose best moment scores less is marked: probably not in this video. By default
    the score that the training found with sentences of other videos, where it could."""
    clips: Path | None = None
    """Folder of clips for `inputs`. By default `data.test_clips`."""
    results_name: str | None = None
    """File for the best moment per sentence in the 2019 format; null: not written."""
