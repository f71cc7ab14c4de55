"""The one flow of a training; a task supplies what differs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from videozoo.config import RunConfig
from videozoo.engine.loop import TrainResult
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import UsageError
from videozoo.tasks.common import without_absent_names
from videozoo.tasks.fitting import TrainingPlan, TrainJob, run_training
from videozoo.tasks.requests import TrainRequest


def _usual(config: RunConfig, _request: TrainRequest, /) -> RunConfig:
    return without_absent_names(config)


@dataclass(frozen=True, kw_only=True)
class Training:
    """How a task trains; call it to do so."""

    plan: Callable[[TrainJob], TrainingPlan]
    """Reads the data, checks that they suit the model, and says what is learnt."""
    configured: Callable[[RunConfig, TrainRequest], RunConfig] = _usual
    """Gives the configuration to train with; called before anything is read."""
    learns_from: str | None = None
    """What stands in place of `--data`, for models that take no folders of videos."""

    def __call__(
        self,
        config: RunConfig,
        request: TrainRequest,
        *,
        console: Console | None = None,
        outer: RunFolder | None = None,
    ) -> TrainResult:
        """Train a model as `config` says, into the folder of `request`.

        Args:
            config: The run.
            request: What was asked for.
            console: Where it speaks; standard error when None.
            outer: The folder of the run that this one is a part of.

        Raises:
            VideozooError: The data, the weights, the folder or the machine do not fit.
        """
        self.refuse_data(config, request)
        job = TrainJob.open(self.configured(config, request), request, console)
        return run_training(job, self.plan(job), outer=outer)

    def refuse_data(self, config: RunConfig, request: TrainRequest) -> None:
        """Raise UsageError for `--data`, unless the model learns from folders of videos."""
        if request.data is not None and self.learns_from is not None:
            raise UsageError(
                f"--data is for folders of videos; {config.spec.title} learns from "
                f"{self.learns_from}"
            )
