"""From a request to the task that can serve it, by the model's name."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import RunError, UsageError
from videozoo.tasks.requests import (
    ConfigSource,
    Device,
    EvalRequest,
    ExportRequest,
    PredictRequest,
    TrainRequest,
)

if TYPE_CHECKING:
    from videozoo.tasks.captioning import Captioner
    from videozoo.tasks.classification import Classifier
    from videozoo.tasks.localisation import Locator
    from videozoo.tasks.moments import Finder
    from videozoo.tasks.tagging import Tagger


_ROOMS = {
    "proposal_scoring": "localisation.proposal_scoring",
    "two_stage_localisation": "localisation.two_stages",
}
"""Task to its module, where that is not called like it."""

_NOT_EXPORTED = {
    "tagging": "that tag features",
    "localisation": "that find segments",
    "two_stage_localisation": "that find segments",
    "proposal_scoring": "that score proposals",
}
"""Task to what its models do, where these cannot be exported."""


def train(request: TrainRequest) -> None:
    """Train a model.

    Raises:
        VideozooError: The configuration, the data, the weights or the machine do not fit.
    """
    from videozoo.tasks.paths import paths_explained
    from videozoo.tasks.resuming import stored_config

    is_known = request.resume and request.source.path is None
    config = stored_config(request) if is_known else request.source.load()
    flags = ("data.train",) if config.spec.task == "classification" else ()
    with paths_explained(config, with_data=flags):
        _task(config.spec.task).train(config, request)


def evaluate(request: EvalRequest) -> None:
    """Score a trained model on labelled data.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights
    from videozoo.tasks.paths import paths_explained

    loaded = config_for_weights(request.source, request.weights)
    with paths_explained(loaded.config, with_data=("data.test", "data.val", "data.train")):
        _task(loaded.config.spec.task).evaluate(loaded, request)


def predict(request: PredictRequest) -> None:
    """Run a trained model on new data.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights
    from videozoo.tasks.paths import paths_explained

    loaded = config_for_weights(request.source, request.weights)
    spec = loaded.config.spec
    if request.sentences and spec.task != "moments":
        raise UsageError(f"--sentence is for models that find moments; {spec.title} does not")
    with paths_explained(loaded.config):
        _task(spec.task).predict(loaded, request)


def export(request: ExportRequest) -> Path:
    """Write a trained model as a file that runs without its Python code.

    Returns:
        The file; where there are two, the first.

    Raises:
        VideozooError: As `train`; or the file's scores are not the model's.
    """
    from videozoo.tasks.loading import config_for_weights

    loaded = config_for_weights(request.source, request.weights)
    spec = loaded.config.spec
    task = _task(spec.task)
    if not hasattr(task, "export"):
        raise RunError(
            f"{spec.title}: models {_NOT_EXPORTED.get(spec.task, spec.task)} cannot be exported "
            f"yet; `predict` and `load` take the weights themselves, {loaded.path}"
        )
    return task.export(loaded, request)


def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    device: Device = "auto",
) -> Classifier | Tagger | Captioner | Finder | Locator:
    """Make a trained model ready to use from Python.

    Args:
        weights: A run folder, one of its `.safetensors` files, a PaddlePaddle file, a file that
            `videozoo export` wrote, a name of `videozoo weights list`, or
            `hf://OWNER/REPOSITORY/FILE`. By default those published for the model of `config`.
        config: The YAML file; not needed for weights that videozoo wrote.
        device: `auto` takes a GPU where PyTorch sees one.

    Raises:
        WeightsError: The weights are missing or do not fit.
        ConfigError: There is no configuration, or it does not describe a run.
    """
    from videozoo.tasks.loading import config_for_weights

    source = ConfigSource(path=Path(config) if config else None)
    trained = config_for_weights(source, None if weights is None else str(weights))
    return _task(trained.config.spec.task).load(trained, device=device)


def _task(name: str) -> Any:
    return import_module(f"videozoo.tasks.{_ROOMS.get(name, name)}")
