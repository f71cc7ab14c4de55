"""Run a model over many videos: batches in, one result per video out.

All processes share the work; each of them gets all results, in order.
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
    """A model and the videos to run it over; each task supplies one to `run`.

    R is the result of one video; C counts over all videos: None, or an object with
    `merge(other)`.
    """

    @property
    def batches(self) -> EvalLoader[Any]:
        """The batches of this process."""
        ...

    @property
    def counter(self) -> C_co:
        """The counter of this process."""
        ...

    def forward(self, batch: Any, /) -> Any:
        """Move a batch to the device and run the model on it; called under autocast."""

    def results(self, batch: Any, outputs: Any, /) -> Mapping[int, R_co]:
        """Return the results of the videos that this batch completes, and count them.

        Args:
            batch: The batch as the loader gave it.
            outputs: From `forward`.

        Returns:
            Number of the video -> its result.
        """
        ...


@dataclass
class InferenceResults(Generic[R, C]):
    """The results of a model for many videos, from all processes."""

    counter: C
    by_number: dict[int, R] = field(default_factory=dict[int, R])
    """Number of the video -> its result, in order; empty if results are not kept."""
    skipped: dict[int, str] = field(default_factory=dict[int, str])
    """Number of each video that could not be used -> the reason."""
    damaged: dict[int, str] = field(default_factory=dict[int, str])
    """Number of each video that has a result but is damaged -> what is wrong."""

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
    """Mean losses over videos; a counter for `Inference`."""

    sums: dict[str, float] = field(default_factory=dict[str, float])
    total: int = 0
    """Videos."""

    def update(self, means: Mapping[str, float], count: int) -> None:
        """Add a batch of `count` videos with the mean losses `means`."""
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
        """Mean losses per video; empty if there are none."""
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
        progress: Show a progress bar: the total over all processes, and the word for them.

    Returns:
        The results of all processes, in every process.

    Raises:
        DataError: A video cannot be used, and the loader was not told to skip such videos.
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
    """Open the batches of this process; see `EvalLoader`."""
    return EvalLoader(
        dataset,
        data,
        batch_size=batch_size,
        rank=accelerator.process_index,
        world=accelerator.num_processes,
        skip_bad=skip_bad,
    )
