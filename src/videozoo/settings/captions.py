"""Settings of describing events: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

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


class CaptionData(RawVideos):
    """Events of videos, their sentences, and how they reach the model."""

    train: Path | None = None
    """Events to learn from: ActivityNet Captions, YouCook2 or TACoS as JSON, QVHighlights,
    Charades-STA, a CSV, or a list in the 2019 format (`VIDEO<tab>START<tab>END<tab>sentence`). Or
    captions of whole videos: MSR-VTT, MSVD, VATEX, a CSV `video,caption`."""
    val: Path | None = None
    """Events to validate on after each epoch."""
    test: Path | None = None
    """Events to evaluate on. By default those of `val`."""
    references: tuple[Path, ...] = ()
    """Sentences of other people for the same videos, one file per person, for the scores of dense
    captioning. By default the sentences of `test`."""
    train_subset: str | None = None
    """Subset of `train` to learn from, where the file names subsets. By default that for
    training."""
    val_subset: str | None = None
    """Subset of `val`. By default that for validation."""
    test_subset: str | None = None
    """Subset of `test`. By default that for testing, or that of `val` if both are one file."""
    features: Path | None = None
    """Features of whole videos: a folder in the 2019 format (one pickle per video, named after it);
    a folder of .npy, .npz, .csv, .h5 or .pkl files; or a feature pack.
    With `videos`: where their features are kept, by default in the cache."""
    streams: Streams = ()
    rate: float | None = Field(default=None, gt=0, le=MOST_RATE)
    """Feature vectors per second. By default the rate stored with the features, else 5 as in the
    2019 library; with `videos` 2."""
    vocabulary: Path | None = None
    """Words that the model knows, one per line; anything after a blank is ignored; `<s>` and
    `<e>` come first. By default the words are collected from `train`. They are stored with the
    weights."""
    min_word_count: int = Field(default=3, ge=1)
    """Words that occur less often than this in `train` become `<unk>`. Only for words that are
    collected from `train`."""
    outside: Literal["refuse", "skip"] = "refuse"
    """Events without a single feature vector, such as those after the end of their video: `refuse`
    the file, or `skip` them and report how many, as the 2019 library did."""
    num_workers: NumWorkers = 4
    prefetch_batches: PrefetchBatches = 2
    bad_video_share: MissingFeaturesShare = 0.05


class CaptionViews(Settings):
    """From the network's outputs to sentences."""

    batch_size: int = Field(default=16, ge=1, le=MOST_IN_BATCH)
    """Events described at once."""
    beam_size: int = Field(default=3, ge=1, le=1000)
    """Sentences followed at a time per event; 1 always takes the most likely next word."""
    max_length: int = Field(default=80, ge=1, le=10_000)
    """Most words per sentence, the end mark included."""
    drop_last_word_as_in_2019: bool = False
    """Remove the last word of sentences that were cut at `max_length`, as the 2019 library did."""
    results_name: str = "captions.json"
    """Name of the file with the sentences, in the format of ActivityNet Captions."""


class CaptionEval(CaptionViews):
    """Settings of evaluation."""

    meteor: bool = True
    """Also compute METEOR, where Java is installed; it takes ten seconds to start."""


class CaptionPredict(CaptionViews):
    """Settings of prediction."""

    top_k: int = Field(default=1, ge=1)
    """Sentences listed per event; at most `beam_size`."""
    inputs: Path | None = None
    """Events or features to use when the command line names none."""
