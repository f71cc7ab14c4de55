"""The commands to run next, printed complete, ready to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.data.features.records import SOURCE, fingerprint
from videozoo.tasks.requests import ConfigSource
from videozoo.tasks.results import run_folder_of
from videozoo.weights.files import read_metadata


def source_of_features(
    weights: Path, source: ConfigSource, videos: Sequence[Path]
) -> dict[str, Any]:
    """What is stored beside the fingerprint of features, to make more features in the same way.

    Args:
        weights: The weights of the extractor.
        source: The configuration of the extractor.
        videos: The videos that the features are made of.
    """
    config = source.path
    if config is not None and config.is_file():
        config = config.absolute()
    return {
        "weights": str(weights.absolute()),
        "config": None if config is None else str(config),
        "set": list(source.overrides),
        "video": str(videos[0].absolute()) if videos else None,
    }


def extract_again(features: Mapping[str, Any] | None, output: Path) -> str | None:
    """The command that makes features of another video in the same way.

    Args:
        features: What made the features, as stored with the weights; None if unknown.
        output: The folder to write to.

    Returns:
        None if it is not known how, or if the weights or the video no longer exist.
    """
    features = visual_features(features)
    source = cast("Mapping[str, Any]", (features or {}).get(SOURCE) or {})
    weights, video = source.get("weights"), source.get("video")
    if features is None or not weights or not video:
        return None
    if not Path(weights).exists() or not Path(video).exists():
        return None
    words: list[str | Path] = ["extract", "--weights", Path(weights)]
    if source.get("config"):
        words += ["--config", Path(source["config"])]
    for override in source.get("set") or ():
        words += ["--set", str(override)]
    words += ["--rate", _number(features["rate"])]
    if features.get("window_seconds") is not None:
        words += ["--window-seconds", _number(features["window_seconds"])]
    if features.get("layer") == "class scores":
        words += ["--layer", "scores"]
    return command(*words, "--output", output, Path(video))


def train_tagger(data: Path, streams: Mapping[str, int], num_classes: int | None) -> str:
    """The command that trains a model on labelled features.

    Args:
        data: The features.
        streams: Stream name -> dimension.
        num_classes: None: the configured number.
    """
    listed = ", ".join(f"{{name: {name}, dim: {dim}}}" for name, dim in streams.items())
    settings = [f"data.train={data}", "data.val=null", "data.class_names=null"]
    settings.append(f"model.streams=[{listed}]")
    if num_classes is not None:
        settings.append(f"model.num_classes={num_classes}")
    words: list[str | Path] = ["train", "--config", "attention_lstm"]
    for setting in settings:
        words += ["--set", setting]
    run, number = Path("runs", "tags"), 2
    while run.exists():
        run, number = Path("runs", f"tags-{number}"), number + 1
    return command(*words, "--save-dir", run)


def a_file_of(data: Any) -> Path | None:
    """A file of the `data:` section to predict on; None if no such file exists."""
    files: list[Path | None] = [data.test, data.val, data.train]
    return next((path for path in files if path is not None and path.exists()), None)


def after_extraction(features: Mapping[str, Any], output: Path) -> str:
    """What features without labels can be used for."""
    run = output.parent
    weights = run / "best.safetensors"
    if run_folder_of(weights) is not None and weights.is_file():
        learnt = visual_features(read_metadata(weights).get("features"))
        if learnt is not None and fingerprint(learnt) == fingerprint(features):
            return f"next: {command('predict', '--weights', run, output)}"
    return "models learn from such features, and predict on others that are made alike"


def visual_features(features: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What made the video features, also for models that read sentences as well."""
    if features is not None and "visual" in features:
        return cast("Mapping[str, Any] | None", features["visual"])
    return features


def after_training(
    config: RunConfig,
    run: Path,
    *,
    example: Sequence[str | Path],
    with_eval: bool,
    features: Mapping[str, Any] | None = None,
) -> list[str]:
    """Commands that evaluate the trained model and predict with it.

    Args:
        config: The configuration of the run.
        run: The run folder.
        example: Something to predict on, as words of the command line, inputs last.
        with_eval: Whether there is data to evaluate on.
        features: What made the training features; None for models that read videos, and if
            unknown.
    """
    lines = [command("eval", "--weights", run)] if with_eval else []
    again = extract_again(features, run / "features")
    if again is not None:
        lines.append(again)
        example = [*example[:-1], run / "features"]
    lines.append(command("predict", "--weights", run, *example))
    return [f"{'      ' if number else 'next: '}{line}" for number, line in enumerate(lines)]


def _number(value: float) -> str:
    return repr(int(value)) if value == int(value) else repr(value)
