"""Settings of describing events: the `data:`, `eval:` and `predict:` sections."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from videozoo.types import Settings


class CaptionData(Settings):
    """Events of videos, what people say of them, and how they are fed to a model."""

    train: Path | None = None
    """Events to learn from: ActivityNet Captions or TACoS as JSON, QVHighlights, Charades-STA, or
    2019 lists (`VIDEO<tab>START<tab>END<tab>sentence`)."""
    val: Path | None = None
    """Events to check with after each epoch."""
    test: Path | None = None
    """Events to evaluate on. By default those of `val`."""
    references: tuple[Path, ...] = ()
    """What people say of the same videos, one file a person, for scores of dense captioning. By
    default the sentences of `test`."""
    features: Path | None = None
    """Features of whole videos: a folder of 2019, with a pickle named as each video; a folder of
    .npy, .npz, .csv, .h5 or .pkl files; or a feature pack."""
    streams: tuple[str, ...] = ()
    """Arrays of a video to be put side by side. By default the only one, or `rgb` and `flow`."""
    rate: float | None = Field(default=None, gt=0)
    """Vectors a second. By default what the features say of themselves, else 5 as in 2019."""
    vocabulary: Path | None = None
    """Words the model knows, one a line, what follows a blank left out; `<s>` and `<e>` come
    first. By default they are collected from `train`; they are stored with the weights."""
    min_word_count: int = Field(default=3, ge=1)
    """Words that `train` has less often are not collected: they become `<unk>`."""
    outside: Literal["refuse", "skip"] = "refuse"
    """What becomes of events without a single vector, such as those beyond the end of their video:
    refuse them, or leave them out and say how many, as in 2019."""
    num_workers: int = Field(default=4, ge=0)
    """Processes that read, on each training process; never more than the machine has cores.
    0 reads in the training process itself."""
    prefetch_batches: int = Field(default=2, ge=1)
    """Batches each worker prepares ahead."""
    bad_video_share: float = Field(default=0.05, ge=0, le=1)
    """Training goes on without events that have no features, and replaces damaged ones by others;
    it stops when together they are more than this share."""


class CaptionViews(Settings):
    """From a network to sentences."""

    batch_size: int = Field(default=16, ge=1)
    """Events described at once."""
    beam_size: int = Field(default=3, ge=1)
    """Sentences that are followed for each event at a time; 1 takes the likeliest next word."""
    max_length: int = Field(default=80, ge=1)
    """Words of a sentence at most, its end among them."""
    drop_last_word_as_in_2019: bool = False
    """Take the last word off sentences that were cut at `max_length`, as 2019 did."""
    results_name: str = "captions.json"
    """Name of the file with sentences in the form of ActivityNet Captions."""


class CaptionEval(CaptionViews):
    """Settings of evaluation."""

    meteor: bool = True
    """METEOR too, where Java is installed; it takes ten seconds to start."""


class CaptionPredict(CaptionViews):
    """Settings of prediction."""

    top_k: int = Field(default=1, ge=1)
    """Sentences listed for each event, no more than `beam_size`."""
    inputs: Path | None = None
    """Events or features to use when the command line names none."""
