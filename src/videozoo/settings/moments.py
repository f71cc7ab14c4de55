"""Settings of finding moments by sentences: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from videozoo.types import Settings

HASHED, GIVEN = "hashed", "given"


class SentenceSettings(Settings):
    """How sentences become vectors."""

    encoder: str = HASHED
    """`hashed`: the built-in one, as long as `model.sentence_dim`. `given`: those in `file`, or
    beside the clips in files of 2019. `sentence-transformers:NAME`: a model of that package, or
    the folder of one."""
    file: Path | None = None
    """For `given`: a pickle with a dict from sentence to vector, or a .npz file with the arrays
    `sentences` and `vectors`."""
    dims: int | None = Field(default=None, ge=1)
    """Of given vectors, use only the first so many numbers, as 2019 could."""


class WindowSettings(Settings):
    """Which windows are cut out of the features of whole videos."""

    seconds: tuple[float, ...] = (4.0, 8.0, 16.0, 32.0)
    """Their lengths. A video shorter than one of them is a window as a whole."""
    overlap: float = Field(default=0.8, ge=0, lt=1)
    """Share of a window that the next of the same length shows again."""
    context_seconds: float = Field(default=4.0, gt=0)
    """How much of what comes before and after a window is seen beside it."""


class MomentData(Settings):
    """Sentences, the moments they describe, and the windows these are looked for in."""

    train: Path | None = None
    """Sentences to learn from: Charades-STA, TACoS or ActivityNet Captions as JSON, QVHighlights as
    JSON lines, 2019 lists of ETS, or 2019 pickles of TALL with names of clips and vectors of their
    sentences."""
    val: Path | None = None
    """Sentences to check with after each epoch."""
    test: Path | None = None
    """Sentences to evaluate on. By default those of `val`."""
    features: Path | None = None
    """Features of whole videos, which windows are cut out of: a folder of files, or a pack."""
    streams: tuple[str, ...] = ()
    """Arrays of a video to be put side by side. By default the only one, or `rgb` and `flow`."""
    rate: float | None = Field(default=None, gt=0)
    """Vectors a second. By default what the features say of themselves, else 5."""
    windows: WindowSettings = WindowSettings()
    """How windows are cut out of features of whole videos."""
    clips: Path | None = None
    """In place of `features`: a folder with a file MOVIE_START_END.npy for each window, times in
    frames, as in 2019."""
    test_clips: Path | None = None
    """The same for `val` and `test`; by default `clips`."""
    context_frames: int = Field(default=128, ge=1)
    """For `clips`: length of a clip that stands for what comes before or after."""
    context_clips: int = Field(default=1, ge=1)
    """For `clips`: how many of these, on either side."""
    lengths: Path | None = None
    """For `clips`: 2019 pickle with number of frames and frames a second of each movie."""
    frames_per_second: float | None = Field(default=None, gt=0)
    """Where sentences count in seconds and windows in frames or the other way round, and `lengths`
    does not tell. TACoS: 29.4."""
    sentences: SentenceSettings = SentenceSettings()
    """How sentences become vectors, where the files hold texts."""
    min_tiou: float = Field(default=0.5, ge=0, le=1)
    """Training pairs a sentence with windows that overlap its moment by more than this, ..."""
    max_outside: float = Field(default=0.15, ge=0, le=1)
    """... and of which less than this share lies outside it."""
    outside: Literal["refuse", "skip"] = "refuse"
    """What becomes of sentences whose moment lies outside its video or has no length: refuse them,
    or leave them out and say how many. Moments that only reach beyond the end are cut there."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that read, on each training process; never more than the machine has cores.
    0 reads in the training process itself."""
    prefetch_batches: int = Field(default=2, ge=1)
    """Batches each worker prepares ahead."""
    bad_video_share: float = Field(default=0.05, ge=0, le=1)
    """Training goes on without videos that have no features, and replaces damaged ones by others;
    it stops when together they are more than this share."""


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
