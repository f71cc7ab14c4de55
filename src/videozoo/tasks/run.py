"""From a request to the task that can serve it, by the model's name."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from videozoo.tasks.requests import EvalRequest, PredictRequest, TrainRequest


def train(request: TrainRequest) -> None:
    """Train a model.

    Raises:
        VideozooError: The configuration, the data, the weights or the machine do not fit.
    """
    config = request.source.load()
    _task(config.spec.task).train(config, request)


def evaluate(request: EvalRequest) -> None:
    """Score a trained model on labelled data.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights

    loaded = config_for_weights(request.source, request.weights)
    _task(loaded.config.spec.task).evaluate(loaded, request)


def predict(request: PredictRequest) -> None:
    """Run a trained model on new data.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights

    loaded = config_for_weights(request.source, request.weights)
    _task(loaded.config.spec.task).predict(loaded, request)


def _task(name: str) -> Any:
    return import_module(f"videozoo.tasks.{name}")
