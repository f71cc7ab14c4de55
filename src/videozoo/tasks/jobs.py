"""One evaluation or prediction: its request, processes, device and result folder."""

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
    """The configuration of a model, without a `class_names` file that does not exist."""
    return without_absent_names(trained.config)


@dataclass(frozen=True)
class Job(Generic[Q]):
    """One evaluation or prediction, as `tasks.evaluate` and `tasks.predict` pass it to a task."""

    trained: Trained
    request: Q
    config: RunConfig
    """The configuration of this job; the configuration in `trained` may differ."""
    accelerator: Accelerator
    console: Console
    """For tables, on standard output."""
    say: Callable[[str], None]
    """Prints a line to standard error, from the main process only."""
    folder: ResultFolder

    @classmethod
    def open(
        cls, trained: Trained, request: Q, config: RunConfig, console: Console | None
    ) -> Job[Q]:
        """Join the processes, print the notes of the configuration, choose the result folder.

        Raises:
            RunError: The device does not exist, or the folder cannot be written to.
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
        """Print a note for the user."""
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
        """Load weights or an exported graph with `load`, e.g. `classification.scoring.scorer_of`.

        Raises:
            WeightsError: They do not fit; every mismatch is listed.
        """
        trained, request = self.trained, self.request
        wanted = {"drop": request.drop, "device": request.device}
        return load(trained, self.config, self.accelerator, **wanted)

    def run(
        self, inference: Inference[R, C], total: int, items: str = "videos", *, keep: bool = True
    ) -> InferenceResults[R, C]:
        """Run a model over `total` videos (or other `items`) and show the progress."""
        return run(inference, self.accelerator, keep=keep, progress=(total, items))

    @property
    def files_folder(self) -> Path:
        """Where result files of the 2019 library's format go."""
        return self.request.files_dir or self.folder.path

    def write(self, *files: ResultFile | None) -> list[Path]:
        """Move older results away, and write the result files that go beside the JSON file."""
        wanted = [file for file in files if file is not None]
        self.folder.make_room(self.say, *(file.path for file in wanted))
        for file in wanted:
            file.write(file.path)
        return [file.path for file in wanted]

    def close(self, shortfall: Shortfall) -> None:
        """End the work with the other processes, and report what could not be used.

        Raises:
            IncompleteError: Some could not be used, and the request counts that as a failure. Only
                the main process raises it.
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
    """A result file in the format of a challenge or of the 2019 library."""

    path: Path
    write: Callable[[Path], Any]


@dataclass(frozen=True, kw_only=True)
class Shortfall:
    """The inputs without a result."""

    failed: Sequence[str]
    """A line per input that could not be used, with the reason."""
    left_out: Sequence[str] = ()
    """A line per input that was left out on request; no failure."""
    total: int
    """The number of all inputs, with and without a result."""
    num_failed: int | None = None
    """How many could not be used, if that is not the number of lines in `failed`."""
    items: str = "videos"
    """What the inputs are, e.g. "videos"."""
