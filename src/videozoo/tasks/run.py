"""Pass a request to the task of its model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.errors import ConfigError, RunError
from videozoo.tasks.requests import (
    Device,
    EvalRequest,
    ExportRequest,
    TrainRequest,
)
from videozoo.types import (
    Classification,
    Tagging,
)

if TYPE_CHECKING:
    from rich.console import Console

    from videozoo.config import RunConfig
    from videozoo.encoders.base import Encoder
    from videozoo.engine.loop import TrainResult
    from videozoo.tasks.loading import Trained

_ROOMS = {
    "proposal_scoring": "localisation.proposal_scoring",
    "two_stage_localisation": "localisation.two_stages",
}
"""Task -> its module, if the names differ."""


def train(request: TrainRequest, config: RunConfig | None = None) -> TrainResult:
    """Train a model.

    Args:
        request: What to train, and where the run goes.
        config: Used in place of the configuration of `request`.

    Raises:
        VideozooError: The configuration, the data, the weights or the machine do not fit.
    """
    from videozoo.engine.devices import kept_settings
    from videozoo.engine.run_lock import held_within
    from videozoo.tasks.paths import paths_explained
    from videozoo.tasks.resuming import stored_config

    if config is None:
        is_known = request.resume and request.source.path is None
        config = stored_config(request) if is_known else request.source.load()
    flags = ("data.train",) if isinstance(config.spec.task, Classification) else ()
    if isinstance(config.spec.task, Tagging) and request.data is not None:
        from videozoo.tasks.encoding import with_own_videos

        config, request = with_own_videos(config, request.data), replace(request, data=None)
    with (
        kept_settings(deterministic=request.fixed_seed),
        held_within(request.save_dir),
        paths_explained(config, with_data=flags),
    ):
        opened: list[Encoder] = []
        config = _encoded(config, request.device, run=request.save_dir, on_encoders=opened.extend)
        request = replace(request, made_with=opened)
        return task_module(config.spec.task.name).train(config, request)


def evaluate(request: EvalRequest) -> dict[str, Any]:
    """Score a trained model on labelled data.

    Returns:
        What `eval.json` holds; nothing in processes other than the main one.

    Raises:
        VideozooError: As `train`.
    """
    from videozoo.tasks.loading import config_for_weights
    from videozoo.tasks.paths import paths_explained

    loaded = config_for_weights(request.source, request.weights)
    with paths_explained(loaded.config, with_data=("data.test", "data.val", "data.train")):
        loaded, request = _encoded_to_test(loaded, request)
        return task_module(loaded.config.spec.task.name).evaluate(loaded, request)


def _encoded_to_test(loaded: Trained, request: EvalRequest) -> tuple[Trained, EvalRequest]:
    """The configuration with the features of `data.videos`, which may be other videos here."""
    config = loaded.config
    if isinstance(config.spec.task, Tagging) and config.data.is_raw:
        from videozoo.tasks.encoding import with_other_videos

        config, request = with_other_videos(config, request.data), replace(request, data=None)
    return replace(loaded, config=_encoded(config, request.device, loaded)), request


def _encoded(
    config: RunConfig,
    device: Device,
    trained: Trained | None = None,
    *,
    run: Path | None = None,
    on_encoders: Callable[[Sequence[Encoder]], None] = lambda _encoders: None,
) -> RunConfig:
    """The configuration with the features of `data.videos`, which are made where they are not."""
    data = config.data
    if getattr(data, "videos", None) is None and not getattr(data, "encoder", ()):
        if getattr(data, "mirror", False) and trained is None:
            raise ConfigError(
                "data.mirror is for videos themselves: name them in data.videos, or make features "
                "with `videozoo extract --mirror`"
            )
        return config
    from rich.console import Console

    from videozoo.engine.devices import make_accelerator
    from videozoo.tasks.common import speaker
    from videozoo.tasks.encoding import with_features

    accelerator = make_accelerator(device=device)
    say = speaker(Console(stderr=True), accelerator)
    if run is not None:
        from videozoo.engine.run_folder import RunFolder

        RunFolder.refuse_live(run, accelerator)
    return with_features(config, accelerator, say, trained=trained, on_encoders=on_encoders)


def export(request: ExportRequest) -> Path:
    """Write a trained model as a file that runs without its Python code.

    Returns:
        The file that was written; the first if there are two.

    Raises:
        VideozooError: As `train`; or the file's scores are not the model's.
    """
    if request.features or request.encoder is not None:
        from videozoo.tasks.encoder_export import export_features

        return export_features(request)
    from videozoo.tasks.loading import config_for_weights

    return export_trained(config_for_weights(request.source, request.weights), request)


def export_trained(
    trained: Trained, request: ExportRequest, *, console: Console | None = None
) -> Path:
    """As `export`, for weights that are already found.

    Args:
        trained: The model.
        request: The options of the command.
        console: For messages.

    Raises:
        VideozooError: As `export`.
    """
    spec = trained.config.spec
    if not spec.task.exports and spec is not trained.config.exported:
        raise RunError(
            f"{spec.title}: its model file does not say that it can be exported; `predict` and "
            f"`load` take the weights themselves, {trained.path}"
        )
    return task_module(spec.task.name).export(trained, request, console=console)


def task_module(name: str) -> Any:
    """The module that trains, evaluates and predicts for a task, by the name of the task."""
    return import_module(f"videozoo.tasks.{_ROOMS.get(name, name)}")
