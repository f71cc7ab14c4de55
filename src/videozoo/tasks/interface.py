"""The functions for Python programs: `videozoo.create_model`, `load`, `train`, `write_page`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from torch import Tensor, nn

from videozoo.commands import words_for_python
from videozoo.config import RunConfig, from_layers, load_config
from videozoo.engine.loop import TrainResult
from videozoo.errors import UsageError, WeightsError
from videozoo.models import list_models, model_name, task_family
from videozoo.report import answer_table, subtitles
from videozoo.report.answer_page import write_answer_page
from videozoo.report.answers import Results, Videos, answers_of, by_video, rows_of
from videozoo.tasks import run
from videozoo.tasks.answers import file_names
from videozoo.tasks.building import build, outline
from videozoo.tasks.loading import (
    Trained,
    build_trained,
    config_for_weights,
    paddle_arrays,
    paddle_names,
    resolve_weights,
)
from videozoo.tasks.requests import ConfigSource, Device, TrainRequest
from videozoo.tasks.starting import initialise
from videozoo.weights.exported import exported_kind
from videozoo.weights.files import read_metadata, read_weights
from videozoo.weights.fit import classifier_of_others, fit_paddle
from videozoo.weights.kinds import sniff
from videozoo.weights.torchvision import recognise

if TYPE_CHECKING:
    from videozoo.tasks.captioning import Captioner
    from videozoo.tasks.classification import Classifier
    from videozoo.tasks.localisation import SegmentPredictor
    from videozoo.tasks.moments import MomentRetriever
    from videozoo.tasks.predictors import Predictor
    from videozoo.tasks.tagging import Tagger

_IMAGE_NET = 1000  # classes


# --- models --------------------------------------------------------------------------------------


@words_for_python()
def create_model(
    name: str | Path,
    *,
    num_classes: int | None = None,
    weights: str | Path | None = None,
    **settings: Any,
) -> nn.Module:
    """Make a model as a PyTorch module: with fresh, pretrained or trained weights.

    A clip model takes normalised clips (N, T, C, H, W) and gives logits (N, num_classes); the
    docstring of each module says what the others take.

    Args:
        name: As `list_models` gives it, any spelling; or the path of a model file.
        num_classes: Number of classes. By default that of trained weights, else of the model's
            settings.
        weights: None: fresh ones. Otherwise a path, a name of `videozoo weights list`, or
            `hf://OWNER/NAME` of a shared run, or `hf://OWNER/REPOSITORY/FILE`:

            * trained weights of this model (a run folder, `.safetensors`, PaddlePaddle files):
              all of them, and the settings that are stored with them;
            * a ResNet trained on images (torchvision, timm, PaddlePaddle): all that has a place
              in the model; its classifier starts fresh.
        settings: Other keys of the `model:` section, such as `depth=18`.

    Returns:
        The module, on the CPU and in training mode, as a new PyTorch module is: call `.eval()`
        before asking it.

    Raises:
        ConfigError: No such model, or a setting does not fit.
        WeightsError: The weights are missing, or have another model or number of classes.

    >>> model = create_model("tsm", num_classes=5, depth=18, width=0.125, num_segments=4)
    >>> import torch
    >>> model.eval()(torch.zeros(2, 4, 3, 32, 32)).shape
    torch.Size([2, 5])
    """
    name = str(name)
    if num_classes is not None:
        settings["num_classes"] = num_classes
    if weights is None:
        return build(_model_config(name, settings))
    path = resolve_weights(str(weights))
    if exported_kind(path) is not None:
        raise WeightsError(
            f"{path}: an exported graph, which is no PyTorch module; videozoo.load runs it, and "
            "the weights it was made from give a module"
        )
    if isinstance(read_metadata(path).get("config"), dict):
        return _as_stored(name, path, settings, num_classes)
    config = _model_config(name, settings)
    held = _classes_held(config, path, num_classes)
    if held is None:
        module = build(config)
        initialise(module, config, str(path))
        return module
    if num_classes is None and held:
        config = _model_config(name, {**settings, "num_classes": held})
    _check_classes(path, held, num_classes)
    return build_trained(Trained(config, path))


def _model_config(name: str, settings: Mapping[str, Any]) -> RunConfig:
    name = model_name(name)
    return from_layers([(f"create_model({name!r})", {"model": {"name": name, **settings}})])


def _as_stored(
    name: str, path: Path, settings: Mapping[str, Any], num_classes: int | None
) -> nn.Module:
    """Load weights that hold the settings of their model."""
    trained = config_for_weights(ConfigSource(model=name), str(path))
    held = getattr(trained.config.model, "num_classes", None)
    if held is not None:
        _check_classes(path, held, num_classes)
    changes = {f"model.{key}": value for key, value in settings.items()}
    config = trained.config.replace("create_model", changes) if changes else trained.config
    return build_trained(trained, config)


def _check_classes(path: Path, held: int, asked: int | None) -> None:
    if asked is not None and asked != held:
        raise WeightsError(
            f"{path}: trained on {held} classes, but num_classes is {asked}; leave num_classes "
            f"out, or learn {asked} classes from these weights: videozoo.train(..., weights=...)"
        )


def _classes_held(config: RunConfig, path: Path, asked: int | None) -> int | None:
    """Number of classes of this model in a weights file; None for files of other networks.

    A model without classes counts 0.
    """
    sketch = outline(config).state_dict()
    if sniff(path).startswith("paddle"):
        if config.spec.paddle is None:
            return None
        state = fit_paddle(paddle_arrays(path, config), paddle_names(config, path), sketch)
    else:
        state, _ = read_weights(path)
        if recognise(state) is not None:
            return None
    if not all(name in state for name in sketch if not name.endswith("num_batches_tracked")):
        return None
    held: int = getattr(config.model, "num_classes", 0)
    classifier = classifier_of_others(sketch, state)
    if classifier is not None:
        held = _rows_of(classifier, state)
    # PaddlePaddle gives the classifiers of image ResNets and clip models the same name
    is_image_net = held == _IMAGE_NET != asked and config.spec.resnet is not None
    return None if is_image_net else held


def _rows_of(layer: str, state: Mapping[str, Tensor]) -> int:
    return next(len(tensor) for name, tensor in state.items() if name.startswith(f"{layer}."))


# --- trained models ------------------------------------------------------------------------------


@overload
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: Literal["classification"],
) -> Classifier: ...
@overload
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: Literal["tagging"],
) -> Tagger: ...
@overload
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: Literal["localisation"],
) -> SegmentPredictor: ...
@overload
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: Literal["captioning"],
) -> Captioner: ...
@overload
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: Literal["moments"],
) -> MomentRetriever: ...
@overload
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: None = None,
) -> Predictor: ...
@words_for_python()
def load(
    weights: str | Path | None = None,
    *,
    config: str | Path | None = None,
    model: str | Path | None = None,
    device: Device = "auto",
    task: str | None = None,
) -> Any:
    """Make a trained model ready to use from Python.

    Args:
        weights: A run folder, one of its `.safetensors` files, a PaddlePaddle file, a file that
            `videozoo export` wrote, a name of `videozoo weights list`, or
            `hf://OWNER/NAME` of a shared run, or `hf://OWNER/REPOSITORY/FILE`. By default those
            published for the model of `config`.
        config: The YAML file; not needed for weights that videozoo wrote.
        model: The Python file of the model, if it was moved or if only the weights name it:
            Python code that only a weights file names is not run.
        device: `auto` takes a GPU where PyTorch sees one; else `cpu`, `cuda`, `cuda:N` or a
            `torch.device`.
        task: The task that the model must have, as in `list_models`. A type checker then knows
            the returned class.

    Raises:
        WeightsError: The weights are missing, do not fit, or are of a model for another task.
        ConfigError: There is no configuration, or it does not describe a run; or there is no such
            task.
        UsageError: Neither weights nor a configuration are named.
    """
    if task is not None:
        list_models(task_family(task))  # refuses unknown tasks
    if weights is None and config is None:
        raise UsageError(
            "load: no weights; pass a run folder, a weights file or a name of `videozoo weights "
            "list`, or config= for the published weights of its model"
        )
    source = ConfigSource(
        path=Path(config) if config else None, model=None if model is None else str(model)
    )
    trained = config_for_weights(source, None if weights is None else str(weights))
    spec = trained.config.spec
    family = task_family(spec.task.name)
    if task is not None and family != task_family(task):
        raise WeightsError(f"{trained.path}: {spec.title} is a model for {family}, not for {task}")
    return run.task_module(spec.task.name).load(trained, device=device)


# --- training ------------------------------------------------------------------------------------


@words_for_python(has_settings=True)
def train(
    config: str | Path | Mapping[str, Any] | RunConfig | None = None,
    *,
    data: str | Path | None = None,
    save_dir: str | Path = "runs/train",
    weights: str | Path | None = None,
    settings: Mapping[str, Any] | None = None,
    device: Device = "auto",
    resume: bool = False,
    overwrite: bool = False,
) -> TrainResult:
    """Train a model, as `videozoo train` does.

    Args:
        config: A packaged name (`videozoo config list`), a YAML file, its sections as a dict, or
            what `load_config` returned. Not needed to resume.
        data: A folder with one folder of videos per class, in place of the lists in `config`.
        save_dir: The run folder.
        weights: Weights to start from, as in `create_model`. None: fresh weights.
        settings: Values by dotted key, which override `config`:
            `{"train.epochs": 2, "model.depth": 18}`.
        device: `auto` takes a GPU where PyTorch sees one; else `cpu`, `cuda`, `cuda:N` or a
            `torch.device`.
        resume: Continue the run in `save_dir`.
        overwrite: If `save_dir` holds a run, move it aside.

    Returns:
        `.path` is the run folder, which `load` takes; `.weights` the best weights; `.best` the
        best validation metric, `.best_epoch` its epoch; `.history` a dict per epoch.

    Raises:
        VideozooError: The configuration, the data, the weights or the machine do not fit.
    """
    if settings is not None and not isinstance(settings, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(
            f"train: settings is a {type(settings).__name__}, expected values by dotted key: "
            'settings={"train.epochs": 2}'
        )
    changes = dict(settings or {})
    flags = {key: (f"--set {key}", value) for key, value in changes.items()}
    request = TrainRequest(
        source=ConfigSource(flags=flags),
        save_dir=Path(save_dir),
        data=None if data is None else Path(data),
        device=device,
        pretrain=None if weights is None else str(weights),
        resume=resume,
        overwrite=overwrite,
    )
    if config is None:
        if not resume:
            raise UsageError(
                "train: no configuration; pass a packaged name such as 'tsm', a YAML file or a "
                "dict of sections (resume=True goes on with the run in save_dir)"
            )
        return run.train(request)
    chosen = _run_config(config)
    return run.train(request, chosen.replace("--set", changes) if changes else chosen)


def _run_config(config: str | Path | Mapping[str, Any] | RunConfig) -> RunConfig:
    if isinstance(config, RunConfig):
        return config
    if isinstance(config, Mapping):
        return from_layers([("config", config)])
    return load_config(Path(config))


# --- what .predict returned, for readers ---------------------------------------------------------


def write_page(
    results: Results,
    path: str | Path,
    *,
    videos: Videos | None = None,
    embed_frames: bool = False,
    title: str = "Answers",
) -> Path:
    """Write results as one HTML file: each video with its answers along the time.

    Args:
        results: What `.predict` returned; of several models a dict, title of the model -> results.
        path: The file to write.
        videos: The files of the videos: a list, or a dict from the name of the video in the results
            to its file. A video whose name is itself the path of a file need not be there. Videos
            without a file are shown without pictures.
        embed_frames: Put small pictures into the page, in place of links to the videos.
        title: Heading of the page.

    Returns:
        `path`.

    Raises:
        UsageError: `results` is something else, or empty.
        RunError: The file cannot be written.
    """
    return write_answer_page(
        Path(path),
        answers_of(results, videos=videos),
        media="frames" if embed_frames else "video",
        title=title,
    )


def write_csv(results: Results, path: str | Path, *, videos: Videos | None = None) -> Path:
    """Write results as a table with the columns video, model, start_seconds, end_seconds, name,
    score, rank; one row per answer, the same for all tasks.

    Times are empty for whole videos, and where they are not seconds. A name that a spreadsheet
    would compute (`=...`) gets an apostrophe in front.

    Args:
        results: See `write_page`.
        path: The file to write.
        videos: See `write_page`; their lengths turn shares of a video into seconds.

    Raises:
        UsageError: `results` is something else, or empty.
        RunError: The file cannot be written.
    """
    return answer_table.write_csv(Path(path), rows_of(answers_of(results, videos=videos)))


def write_subtitles(
    results: Results, folder: str | Path, *, videos: Videos | None = None
) -> list[Path]:
    """Write captions, named segments and moments as subtitles, `NAME.vtt` and `NAME.srt`.

    Args:
        results: See `write_page`.
        folder: Where to; the files have the names of the videos.
        videos: See `write_page`.

    Returns:
        The files; none for videos of which nothing with words and seconds is said.

    Raises:
        UsageError: `results` is something else, or empty.
        RunError: A file cannot be written.
    """
    found = by_video(answers_of(results, videos=videos))
    return [
        file
        for video, name in zip(found, file_names(found), strict=True)
        for file in subtitles.write_subtitles(Path(folder), name, video.rows)
    ]
