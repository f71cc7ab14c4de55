"""Run a trained localiser over many videos, and find their segments."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray

from videozoo.config import RunConfig
from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.features.by_name import VideoFact
from videozoo.data.loader import EvalLoader
from videozoo.ops.windows import Window
from videozoo.runtime.segments import without_duplicates
from videozoo.settings.segments import SequenceViews
from videozoo.tasks.inference import InferenceResults, MeanLosses
from videozoo.tasks.localisation.results import VideoProposals
from videozoo.tasks.localisation.score_files import (
    ScoreFiles,
    VideoPart,
    whole_candidates,
    whole_curves,
)
from videozoo.types import Candidates

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class NetworkOutput:
    """The outputs of a network for the videos, or windows of videos, of one batch."""

    candidates: Sequence[Candidates]
    """Per video or window: scored segments, before duplicates are removed."""
    curves: Sequence[Mapping[str, NDArray[np.float32]]]
    """Per video or window: name -> scores of its steps; may be empty."""
    tables: Sequence[Columns]
    """Per video or window: the columns of its score file."""
    losses: Mapping[str, float] = field(default_factory=dict[str, float])
    """Means over the batch; empty unless requested."""


LocalisationResults = InferenceResults[VideoProposals, MeanLosses]
"""Results by the number of the video in `VideoSource.present`; losses only if requested."""


class VideoSource(ABC):
    """Some videos, with their batches and the decoding of network outputs for them."""

    config: RunConfig
    views: SequenceViews
    annotations: Annotations
    present: tuple[Annotation, ...]
    """The videos that have features; batches number them from 0. A batch may hold windows of them,
    as its `windows` says; all windows of a video come one after another."""
    missing: tuple[str, ...]
    """Names of the videos without features."""
    extractor: Mapping[str, Any] | None = None
    """What made their features; None if unknown."""
    video_files: Mapping[str, VideoFact] = MappingProxyType({})
    """Names of videos -> the files that their features were made of, as far as these tell."""

    @abstractmethod
    def batches(self, accelerator: Accelerator, *, skip_bad: bool) -> EvalLoader[Any]:
        """The batches of this process."""

    @abstractmethod
    def decode(self, batch: Any, outputs: Any) -> NetworkOutput:
        """Turn the outputs for a batch into scored segments; both are on the device."""


class LocalisationInference:
    """A localiser and the videos to run it over; see `tasks.inference`."""

    def __init__(
        self,
        module: Callable[[Any], Any],
        source: VideoSource,
        accelerator: Accelerator,
        *,
        skip_bad: bool = False,
        keep_curves: bool = False,
        files: ScoreFiles | None = None,
    ) -> None:
        """Prepare the run.

        Args:
            module: The network in evaluation mode, on the device of the accelerator, or an exported
                graph.
            source: The videos.
            accelerator: The processes.
            skip_bad: Continue without videos that cannot be read.
            keep_curves: Return the scores of the steps too.
            files: Also writes files of single videos.
        """
        self.module, self.source = module, source
        self.batches: EvalLoader[Any] = source.batches(accelerator, skip_bad=skip_bad)
        self.counter = MeanLosses()
        self._parts: dict[int, list[VideoPart]] = {}  # of videos whose windows are not all done
        self._device = accelerator.device
        self._keep_curves, self._files = keep_curves, files

    def forward(self, batch: Any) -> tuple[Any, Any]:
        """Return the batch on the device, and the outputs of the network."""
        on_device = batch.to(self._device)
        return on_device, self.module(on_device.features)

    def results(self, batch: Any, outputs: tuple[Any, Any]) -> Mapping[int, VideoProposals]:
        """Return the segments of each video that is done, without duplicates."""
        output = self.source.decode(*outputs)
        numbers: list[int] = batch.videos.tolist()
        self.counter.update(output.losses, len(numbers))
        windows: Sequence[Window | None] = batch.windows or [None] * len(numbers)
        found: dict[int, VideoProposals] = {}
        for place, (number, window) in enumerate(zip(numbers, windows, strict=True)):
            part = VideoPart(
                window,
                output.candidates[place],
                output.curves[place] if self._keep_curves or self._files is not None else {},
                output.tables[place] if self._files is not None else {},
            )
            parts = self._parts.setdefault(number, [])
            parts.append(part)
            if window is None or len(parts) == window.count:
                found[number] = self._video(number, batch.names[place], self._parts.pop(number))
        return found

    def _video(self, number: int, name: str, parts: Sequence[VideoPart]) -> VideoProposals:
        """The answer for a whole video, out of those for its parts."""
        annotation = self.source.present[number]
        if self._files is not None:
            self._files.write(annotation, parts)
        return VideoProposals(
            name,
            annotation.duration_seconds,
            without_duplicates(whole_candidates(parts), self.source.views),
            whole_curves(parts) if self._keep_curves else {},
        )


def generator_of(*key: int) -> torch.Generator:
    """Random numbers that depend on `key` alone, the same on every machine."""
    seed = int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:6], "big")
    return torch.Generator().manual_seed(seed)


def candidate_table(candidates: Candidates) -> Columns:
    """The columns of a score file: segments, scores, and classes from 0 for detectors."""
    columns: dict[str, NDArray[Any]] = {
        "xmin": candidates.segments[:, 0],
        "xmax": candidates.segments[:, 1],
        "score": candidates.scores.astype(np.float32),
    }
    return columns if candidates.labels is None else columns | {"label": candidates.labels}
