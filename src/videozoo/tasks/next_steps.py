"""The commands to run next, printed complete, ready to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from videozoo.commands import command
from videozoo.config import RunConfig
from videozoo.data.features.records import fingerprint
from videozoo.tasks.kept_encoder import example_video, visual_features
from videozoo.tasks.results import run_folder_of
from videozoo.weights.files import read_metadata


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
    video = example_video(features)
    if video is not None:
        example = [*example[:-1], video]
    lines.append(command("predict", "--weights", run, *example))
    return [f"{'      ' if number else 'next: '}{line}" for number, line in enumerate(lines)]
