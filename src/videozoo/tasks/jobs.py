"""One evaluation or prediction: what was asked for, where it is computed and written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from accelerate import Accelerator
from rich.console import Console
from torch import nn

from videozoo.config import RunConfig
from videozoo.tasks.common import speaker, without_absent_names
from videozoo.tasks.exporting import accelerator_for
from videozoo.tasks.inference import Inference, InferenceResults, run
from videozoo.tasks.loading import Trained, build_trained
from videozoo.tasks.requests import EvalRequest, PredictRequest
from videozoo.tasks.results import ResultFolder, conclude

R = TypeVar("R")
C = TypeVar("C")
Q = TypeVar("Q", EvalRequest, PredictRequest)


def usual_config(trained: Trained) -> RunConfig:
    """The configuration of a model, without class names that are not there."""
    return without_absent_names(trained.config)


@dataclass(frozen=True)
class Job(Generic[Q]):
    """What `tasks.evaluate` and `tasks.predict` hand to a task."""

    trained: Trained
    request: Q
    config: RunConfig
    """For this job; that of `trained` may differ."""
    accelerator: Accelerator
    console: Console
    """For tables, on standard output."""
    say: Callable[[str], None]
    """Prints a line to standard error, once for all processes."""
    folder: ResultFolder

    @classmethod
    def open(
        cls, trained: Trained, request: Q, config: RunConfig, console: Console | None
    ) -> Job[Q]:
        """Join the processes, say what the configuration notes, choose the folder of the results.

        Raises:
            RunError: The device is not there, or the folder cannot be written to.
        """
        accelerator = accelerator_for(trained, request.device)
        say = speaker(Console(stderr=True), accelerator)
        for note in config.notes:
            say(f"note: {note}")
        folder = ResultFolder.choose(trained, request, accelerator, say)
        return cls(trained, request, config, accelerator, console or Console(), say, folder)

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.accelerator.is_main_process

    @property
    def skip_bad(self) -> bool:
        """Whether to go on without videos that cannot be used."""
        return not self.request.strict

    def note(self, lines: Iterable[str]) -> None:
        """Say what a person should know."""
        for line in lines:
            self.say(f"note: {line}")

    def module(self) -> nn.Module:
        """Build the network with its weights, ready to compute.

        Raises:
            WeightsError: They do not fit; every mismatch is listed.
        """
        module = build_trained(self.trained, self.config, drop=self.request.drop)
        return module.to(self.accelerator.device).eval()

    def model(self, load: Callable[..., R]) -> R:
        """Load weights or an exported graph; `load` is such as `classification.scoring.scorer_of`.

        Raises:
            WeightsError: They do not fit; every mismatch is listed.
        """
        trained, request = self.trained, self.request
        wanted = {"drop": request.drop, "device": request.device}
        return load(trained, self.config, self.accelerator, **wanted)

    def run(
        self, inference: Inference[R, C], total: int, items: str = "videos", *, keep: bool = True
    ) -> InferenceResults[R, C]:
        """Run a model over `total` videos, or other `items`, in sight of the user."""
        return run(inference, self.accelerator, keep=keep, progress=(total, items))

    @property
    def files_folder(self) -> Path:
        """Where the files go that 2019 wrote."""
        return self.request.files_dir or self.folder.path

    def write(self, file: ResultFile | None) -> list[Path]:
        """Make room for the results, and write the file that comes beside the JSON file."""
        self.folder.make_room(self.say, None if file is None else file.path)
        if file is None:
            return []
        file.write(file.path)
        return [file.path]

    def close(self, shortfall: Shortfall) -> None:
        """Leave the other processes; say what could not be used.

        Raises:
            IncompleteError: Some could not be used, and that is a failure; in the main process.
        """
        conclude(
            self.accelerator,
            self.request,
            shortfall.failed,
            self.say,
            total=shortfall.total,
            num_failed=shortfall.num_failed,
            what=shortfall.items,
        )


@dataclass(frozen=True)
class ResultFile:
    """A file of results in the form of a challenge or of 2019."""

    path: Path
    write: Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """What has no result."""

    failed: Sequence[str]
    """What could not be used, and why."""
    left_out: Sequence[str] = ()
    """What was left out as asked; no failure."""
    total: int
    """With those that have a result."""
    num_failed: int | None = None
    """How many could not be used, where these are not the lines of `failed`."""
    items: str = "videos"
    """What is counted."""
