"""The one way a model is run over many videos: batches in, a result per video out.

The work is shared by all processes; each of them gets the results of all, in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from videozoo.data.loader import Batch, EvalLoader, LoaderSettings, VideoDataset
from videozoo.tasks.common import progress_bar

B = TypeVar("B", bound=Batch)
R = TypeVar("R")
C = TypeVar("C")
R_co = TypeVar("R_co", covariant=True)
C_co = TypeVar("C_co", covariant=True)


class Inference(Protocol[R_co, C_co]):
    """A model and the videos that it is run over: what `run` needs of a task.

    R is the result of a video; C counts over all videos, and is None or has a `merge(other)`.
    """

    @property
    def batches(self) -> EvalLoader[Any]:
        """The share of this process."""
        ...

    @property
    def counter(self) -> C_co:
        """Of this process."""
        ...

    def forward(self, batch: Any, /) -> Any:
        """Put a batch on the device and run the model over it; called under autocast."""

    def results(self, batch: Any, outputs: Any, /) -> Mapping[int, R_co]:
        """Results by number, of the videos that are complete with this batch; counts them, too.

        Args:
            batch: As it came.
            outputs: From `forward`.
        """
        ...


@dataclass
class InferenceResults(Generic[R, C]):
    """What a model finds in many videos, over all processes."""

    counter: C
    by_number: dict[int, R] = field(default_factory=dict[int, R])
    """Results by number of the video, in order; empty where they are not kept."""
    skipped: dict[int, str] = field(default_factory=dict[int, str])
    """Videos that could not be used: number, and why."""
    damaged: dict[int, str] = field(default_factory=dict[int, str])
    """Videos with a result that do not decode in full: number, and what is wrong."""

    def merge(self, other: InferenceResults[R, C]) -> None:
        """Add what another process found."""
        if self.counter is not None:
            merged: Any = self.counter
            merged.merge(other.counter)
        self.by_number |= other.by_number
        self.skipped |= other.skipped
        self.damaged |= other.damaged


@dataclass
class MeanLosses:
    """Losses summed over videos; a counter for `Inference`."""

    sums: dict[str, float] = field(default_factory=dict[str, float])
    total: int = 0
    """Videos."""

    def update(self, means: Mapping[str, float], count: int) -> None:
        """Add a batch of `count` videos, of which `means` are known."""
        self.total += count
        for name, mean in means.items():
            self.sums[name] = self.sums.get(name, 0.0) + mean * count

    def merge(self, other: MeanLosses) -> None:
        """Add what another process has seen."""
        self.total += other.total
        for name, value in other.sums.items():
            self.sums[name] = self.sums.get(name, 0.0) + value

    @property
    def means(self) -> dict[str, float]:
        """Per video; empty where there are none."""
        return {name: value / self.total for name, value in self.sums.items()}


def run(
    inference: Inference[R, C],
    accelerator: Accelerator,
    *,
    keep: bool = True,
    progress: tuple[int, str] | None = None,
) -> InferenceResults[R, C]:
    """Run a model over all videos of its task.

    Args:
        inference: The model, in evaluation mode on the accelerator's device, and its videos.
        accelerator: The processes.
        keep: Return the result of each video, not only the counter.
        progress: Show how far it is: how many there are over all processes, and what they are.

    Returns:
        Those of all processes, in each of them.

    Raises:
        DataError: A video cannot be used, and the batches do not go on without it.
    """
    mine = InferenceResults[R, C](inference.counter)
    done = 0
    with progress_bar(progress[0], accelerator, progress[1]) if progress else nullcontext() as bar:
        for batch in inference.batches:
            with torch.inference_mode():
                with accelerator.autocast():
                    outputs = inference.forward(batch)
                found = inference.results(batch, outputs)
            mine.damaged |= batch.damaged
            done += len(found)
            if keep:
                mine.by_number |= found
            if bar is not None:
                bar(done)
    mine.skipped |= inference.batches.skipped
    mine.damaged = {n: why for n, why in mine.damaged.items() if n not in mine.skipped}
    if accelerator.num_processes > 1:
        parts: list[InferenceResults[R, C]] = gather_object([mine])
        mine = parts[0]
        for part in parts[1:]:
            mine.merge(part)
    mine.by_number = dict(sorted(mine.by_number.items()))
    return mine


def eval_loader(
    dataset: VideoDataset[Any, B],
    data: LoaderSettings,
    accelerator: Accelerator,
    *,
    batch_size: int,
    skip_bad: bool = False,
) -> EvalLoader[B]:
    """Open the share of this process; see `EvalLoader`."""
    return EvalLoader(
        dataset,
        data,
        batch_size=batch_size,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        skip_bad=skip_bad,
    )
