"""Pass a request to the task of its model."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import RunError, UsageError
from videozoo.tasks.requests import (
    EvalRequest,
    ExportRequest,
    PredictRequest,
    TrainRequest,
)
from videozoo.types import Classification, MomentRetrieval

if TYPE_CHECKING:
    from videozoo.config import RunConfig
    from videozoo.engine.loop import TrainResult
    from videozoo.tasks.loading import Trained

_ROOMS = {
    "proposal_scoring": "localisation.proposal_scoring",
    "two_stage_localisation": "localisation.two_stages",
}
"""Task -> its module, if the names differ."""

_NOT_EXPORTED = {
    "tagging": "that tag features",
    "localisation": "that find segments",
    "two_stage_localisation": "that find segments",
    "proposal_scoring": "that score proposals",
}
"""Tasks whose models cannot be exported -> what these models do."""


def train(request: TrainRequest, config: RunConfig | None = None) -> TrainResult:
    """Train a model.

    Args:
        request: What to train, and where the run goes.
        config: Used in place of the configuration of `request`.

    Raises:
        VideozooError: The configuration, the data, the weights or the machine do not fit.
    """
    from videozoo.tasks.paths import paths_explained
    from videozoo.tasks.resuming import stored_config

    if config is None:
        is_known = request.resume and request.source.path is None
        config = stored_config(request) if is_known else request.source.load()
    flags = ("data.train",) if isinstance(config.spec.task, Classification) else ()
    with paths_explained(config, with_data=flags):
        return task_module(config.spec.task.name).train(config, request)


def evaluate(request: EvalRequest) -> None:
    """Score a trained model on labelled data.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights
    from videozoo.tasks.paths import paths_explained

    loaded = config_for_weights(request.source, request.weights)
    with paths_explained(loaded.config, with_data=("data.test", "data.val", "data.train")):
        task_module(loaded.config.spec.task.name).evaluate(loaded, request)


def predict(request: PredictRequest) -> None:
    """Run a trained model on new data.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights
    from videozoo.tasks.paths import paths_explained

    loaded = config_for_weights(request.source, request.weights)
    spec = loaded.config.spec
    if request.sentences and not isinstance(spec.task, MomentRetrieval):
        raise UsageError(f"--sentence is for models that find moments; {spec.title} does not")
    draws_times = getattr(loaded.config.predict, "every_seconds", None) is not None
    can_explain = spec.task.explains or spec is loaded.config.exported or draws_times
    if request.explain and not can_explain:
        raise UsageError(
            f"--explain: {spec.title} does not tell where it looked (its model file says nothing "
            "of `explains`); leave it out"
        )
    with paths_explained(loaded.config):
        task_module(spec.task.name).predict(loaded, request)


def export(request: ExportRequest) -> Path:
    """Write a trained model as a file that runs without its Python code.

    Returns:
        The file that was written; the first if there are two.

    Raises:
        VideozooError: As `train`; or the file's scores are not the model's.
    """
    from videozoo.tasks.loading import config_for_weights

    return export_trained(config_for_weights(request.source, request.weights), request)


def export_trained(trained: Trained, request: ExportRequest) -> Path:
    """As `export`, for weights that are already found.

    Raises:
        VideozooError: As `export`.
    """
    spec = trained.config.spec
    if not spec.task.exports and spec is not trained.config.exported:
        doing = _NOT_EXPORTED.get(spec.task.name)
        what = f"models {doing} cannot" if doing else "its model file does not say that it can"
        raise RunError(
            f"{spec.title}: {what} be exported{' yet' if doing else ''}; `predict` and `load` take "
            f"the weights themselves, {trained.path}"
        )
    return task_module(spec.task.name).export(trained, request)


def task_module(name: str) -> Any:
    """The module that trains, evaluates and predicts for a task, by the name of the task."""
    return import_module(f"videozoo.tasks.{_ROOMS.get(name, name)}")
