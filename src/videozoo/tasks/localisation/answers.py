"""From a trained network to the segments of many videos, shared by all processes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import nn

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.ops.soft_nms import soft_nms, suppress_by_class
from videozoo.settings.segments import SequenceViews
from videozoo.tasks.localisation.results import VideoProposals
from videozoo.tasks.localisation.score_files import ScoreFiles
from videozoo.types import Candidates

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NetworkOutput:
    """What a network says of the videos of one batch."""

    candidates: Sequence[Candidates]
    """Of each video, before duplicates are removed."""
    curves: Sequence[Mapping[str, NDArray[np.float32]]]
    """Of each video: scores of its steps by name; may be empty."""
    tables: Sequence[Columns]
    """Of each video: what score files hold."""
    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    """Means over the batch; empty where they are not asked for."""


@dataclass
class Answers:
    """Those of many videos, over all processes."""

    by_number: dict[int, VideoProposals] = field(default_factory=dict[int, VideoProposals])
    """By number of the video among `Source.present`."""
    skipped: dict[int, str] = field(default_factory=dict[int, str])
    """Videos that could not be used: number, and why."""
    sums: dict[str, float] = field(default_factory=dict[str, float])
    """Of the losses, over videos."""

    @property
    def losses(self) -> dict[str, float]:
        """Means over the videos; empty where they were not asked for."""
        count = len(self.by_number)
        return {name: total / count for name, total in self.sums.items()} if count else {}


class Batch(Protocol):
    """What all batches of videos have."""

    @property
    def videos(self) -> torch.Tensor:
        """Numbers of the videos."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the videos."""
        ...


class Batches(Protocol):
    """A pass over the videos of this process."""

    @property
    def skipped(self) -> dict[int, str]:
        """Videos left out: number, and why."""
        ...

    def __iter__(self) -> Any:
        """Batches."""
        ...


class Source(ABC):
    """Some videos, and how a network is asked about them."""

    config: RunConfig
    views: SequenceViews
    annotations: Annotations
    present: tuple[Annotation, ...]
    """Those that can be read; batches number them from 0."""
    missing: tuple[str, ...]
    """Names of the others."""
    extractor: Mapping[str, Any] | None = None
    """What made their features, where that is known."""

    @abstractmethod
    def batches(self, accelerator: Accelerator, *, skip_bad: bool) -> Batches:
        """The share of this process."""

    @abstractmethod
    def ask(self, module: nn.Module, batch: Any, accelerator: Accelerator) -> NetworkOutput:
        """Run the network over a batch."""


def answer(
    module: nn.Module,
    source: Source,
    *,
    accelerator: Accelerator,
    skip_bad: bool = False,
    keep_curves: bool = False,
    files: ScoreFiles | None = None,
    on_video: Callable[[int], None] | None = None,
) -> Answers:
    """Find the segments of every video.

    Args:
        module: In evaluation mode, on the accelerator's device.
        source: The videos.
        accelerator: The processes.
        skip_bad: Go on without videos that cannot be read.
        keep_curves: Return the scores of the steps too.
        files: Where else what the network says goes.
        on_video: Called with the number of videos done by this process.

    Raises:
        DataError: A video cannot be used.
    """
    mine = Answers()
    batches = source.batches(accelerator, skip_bad=skip_bad)
    for batch in _each(batches):
        said = source.ask(module, batch, accelerator)
        numbers = batch.videos.tolist()
        for name, value in said.losses.items():
            mine.sums[name] = mine.sums.get(name, 0.0) + value * len(numbers)
        for place, number in enumerate(numbers):
            annotation, curves = source.present[number], said.curves[place]
            if files is not None:
                files.write(annotation, said.tables[place], curves)
            mine.by_number[number] = VideoProposals(
                batch.names[place],
                annotation.duration_seconds,
                without_duplicates(said.candidates[place], source.views),
                curves if keep_curves else {},
            )
        if on_video is not None:
            on_video(len(mine.by_number))
    mine.skipped.update(batches.skipped)
    return _merged(mine, accelerator)


def _each(batches: Iterable[Any]) -> Iterable[Batch]:
    return batches


def without_duplicates(candidates: Candidates, views: SequenceViews) -> Candidates:
    """Lower or drop what repeats something better, as `views` say; best first."""
    if candidates.labels is None:
        count = len(candidates.scores)
        return soft_nms(
            candidates,
            alpha=views.soft_nms.alpha,
            low_threshold=views.soft_nms.low_threshold,
            high_threshold=views.soft_nms.high_threshold,
            max_out=count if views.max_segments is None else views.max_segments,
            as_in_2019=views.soft_nms.as_in_2019,
        )
    options = views.class_nms
    found = suppress_by_class(
        picked(candidates, np.flatnonzero(candidates.scores > options.score_threshold)),
        nms_threshold=options.nms_threshold,
        sigma=options.sigma,
        least_score=options.least_score,
    )
    if views.result_form == "ctcn_2019":  # class by class, as it came
        return picked(found, np.arange(len(found.scores))[: views.max_segments])
    return picked(found, np.argsort(-found.scores, kind="stable")[: views.max_segments])


def picked(candidates: Candidates, places: NDArray[np.int64]) -> Candidates:
    """Some of them, in that order."""
    labels = None if candidates.labels is None else candidates.labels[places]
    return Candidates(candidates.segments[places], candidates.scores[places], labels)


def generator_of(*key: int) -> torch.Generator:
    """Random numbers that depend on `key` alone, the same on every machine."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big")
    return torch.Generator().manual_seed(seed)


def candidate_table(candidates: Candidates) -> Columns:
    """Columns of a score file: segments, scores and, for detectors, classes from 0."""
    columns: dict[str, NDArray[Any]] = {
        "xmin": candidates.segments[:, 0],
        "xmax": candidates.segments[:, 1],
        "score": candidates.scores.astype(np.float32),
    }
    return columns if candidates.labels is None else columns | {"label": candidates.labels}


def _merged(mine: Answers, accelerator: Accelerator) -> Answers:
    """Put together what the processes have found; answers come in the order of the videos."""
    if accelerator.num_processes > 1:
        parts: list[Answers] = gather_object([mine])
        mine = parts[0]
        for part in parts[1:]:
            mine.by_number |= part.by_number
            mine.skipped |= part.skipped
            for name, value in part.sums.items():
                mine.sums[name] = mine.sums.get(name, 0.0) + value
    mine.by_number = dict(sorted(mine.by_number.items()))
    return mine
