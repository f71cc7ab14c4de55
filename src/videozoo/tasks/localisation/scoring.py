"""From a trained network to the segments of many videos, shared by all processes."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import nn

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.loader import EvalLoader
from videozoo.ops.soft_nms import soft_nms, suppress_by_class
from videozoo.settings.segments import SequenceViews
from videozoo.tasks.inference import InferenceResults, MeanLosses
from videozoo.tasks.localisation.results import VideoProposals
from videozoo.tasks.localisation.score_files import ScoreFiles
from videozoo.types import Candidates

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NetworkOutput:
    """What a network gives for the videos of one batch."""

    candidates: Sequence[Candidates]
    """Of each video, before duplicates are removed."""
    curves: Sequence[Mapping[str, NDArray[np.float32]]]
    """Of each video: scores of its steps by name; may be empty."""
    tables: Sequence[Columns]
    """Of each video: what score files hold."""
    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    """Means over the batch; empty where they are not asked for."""


LocalisationResults = InferenceResults[VideoProposals, MeanLosses]
"""By number of the video among `VideoSource.present`; losses where they are asked for."""


class VideoSource(ABC):
    """Some videos, and how what a network gives for them is read."""

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
    def batches(self, accelerator: Accelerator, *, skip_bad: bool) -> EvalLoader[Any]:
        """The share of this process."""

    @abstractmethod
    def decode(self, batch: Any, outputs: Any) -> NetworkOutput:
        """Read what the network gives for a batch, both on the device."""


class LocalisationInference:
    """A localiser over videos."""

    def __init__(
        self,
        module: nn.Module,
        source: VideoSource,
        accelerator: Accelerator,
        *,
        skip_bad: bool = False,
        keep_curves: bool = False,
        files: ScoreFiles | None = None,
    ) -> None:
        """Say what is done.

        Args:
            module: In evaluation mode, on the accelerator's device.
            source: The videos.
            accelerator: The processes.
            skip_bad: Go on without videos that cannot be read.
            keep_curves: Return the scores of the steps too.
            files: Where else what the network gives goes.
        """
        self.module, self.source = module, source
        self.batches: EvalLoader[Any] = source.batches(accelerator, skip_bad=skip_bad)
        self.counter = MeanLosses()
        self._device = accelerator.device
        self._keep_curves, self._files = keep_curves, files

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """The batch on the device, and what the network makes of it."""
        on_device = batch.to(self._device)
        return on_device, self.module(on_device.features)

    def results(self, batch: Any, outputs: tuple[Any, Any]) -> Mapping[int, VideoProposals]:
        """Segments of each video, duplicates removed."""
        output = self.source.decode(*outputs)
        numbers: list[int] = batch.videos.tolist()
        self.counter.update(output.losses, len(numbers))
        found: dict[int, VideoProposals] = {}
        for place, number in enumerate(numbers):
            annotation, curves = self.source.present[number], output.curves[place]
            if self._files is not None:
                self._files.write(annotation, output.tables[place], curves)
            found[number] = VideoProposals(
                batch.names[place],
                annotation.duration_seconds,
                without_duplicates(output.candidates[place], self.source.views),
                curves if self._keep_curves else {},
            )
        return found


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
