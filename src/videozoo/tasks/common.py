"""What all tasks share: messages, class names, progress and JSON files."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from videozoo.config import RunConfig
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.sentences import has_subsets
from videozoo.data.clips import class_names
from videozoo.data.files import absolute
from videozoo.data.labelled_videos import class_names as classes_of_videos
from videozoo.errors import ConfigError, RunError, counted, few
from videozoo.safe_names import json_pieces
from videozoo.safe_write import written_aside
from videozoo.settings.captions import CaptionData
from videozoo.settings.clips import ClipData
from videozoo.settings.moments import MomentData
from videozoo.settings.tags import FeatureData
from videozoo.tasks.loading import Trained


def without_absent_names(config: RunConfig) -> RunConfig:
    """Go on with bare numbers where a configuration file names class names that are not there.

    They are only for people. A file that the command line names must exist.
    """
    data = config.data
    asked = config.origins.get("data.class_names", "").startswith("--")
    if getattr(data, "class_names", None) is None or data.class_names.exists() or asked:
        return config
    changed = config.replace("", {"data.class_names": None})
    note = f"no class names at {data.class_names}; classes go by their numbers"
    return replace(changed, notes=(*config.notes, note))


def with_test_data(config: RunConfig, data: Path | None) -> RunConfig:
    """Evaluate on the data that `--data` names; its format may differ from the run's own data."""
    if data is None:
        return config
    changes: dict[str, Any] = {"data.test": data}
    if "format" in type(config.data).model_fields:
        changes["data.format"] = "auto"
    return config.replace("--data", changes)


def configured_class_names(config: RunConfig) -> list[str] | None:
    """Names of the classes by number, or None where nothing tells them.

    Raises:
        ConfigError: They are more or fewer than the model has.
        DataError: The file with the names, or the folder of classes, cannot be read.
    """
    data = config.data
    if isinstance(data, ClipData):
        names = class_names(data)
    elif isinstance(data, FeatureData) and data.is_raw:
        names = classes_of_videos(data)
    else:
        names = None if data.class_names is None else read_class_names(data.class_names)
    if names is not None and len(names) != config.model.num_classes:
        where = data.class_names or data.train or getattr(data, "videos", None)
        raise ConfigError(
            f"{where}: names {counted(len(names), 'class')}, but model.num_classes is "
            f"{config.model.num_classes}; make them agree (--set model.num_classes={len(names)})"
        )
    return names


def names_of_classes(trained: Trained, config: RunConfig) -> list[str]:
    """Class names: stored with the weights, else configured, else the class numbers.

    Ask for them after the weights are loaded: only these prove that there are so many classes.
    """
    found = trained.class_names or configured_class_names(config)
    return list(found) if found else [str(number) for number in range(config.model.num_classes)]


def speaker(console: Console, accelerator: Accelerator) -> Callable[[str], None]:
    """Return a function that prints a line from the main process only."""

    def say(text: str) -> None:
        if accelerator.is_main_process:
            console.print(text, markup=False, highlight=False, soft_wrap=True)

    return say


def say_not_checked(say: Callable[[str], None], reasons: Collection[str]) -> None:
    """Warn of what could not be read for a validation: its figures are of the others."""
    if reasons:
        say(
            f"WARNING: this validation is without {counted(len(reasons), 'item')} that could not "
            f"be read: {few(reasons, 2)}"
        )


def say_if_learnt_from(say: Callable[[str], None], data: Any, part: Literal["val", "test"]) -> None:
    """Warn where validation or test data is the same file as the training data.

    A folder of class folders is not checked: it is divided into parts of its own. So are files of
    sentences that name subsets.
    """
    path = data.val if part == "val" else data.test or data.val
    if path is None or data.train is None or (isinstance(data, ClipData) and path.is_dir()):
        return
    is_same = absolute(path) == absolute(data.train)
    if is_same and not (isinstance(data, CaptionData | MomentData) and has_subsets(path)):
        say(
            f"WARNING: data.{part} is data.train ({path}): the figures say little about what was "
            f"not learnt from; choose another: --set data.{part}=PATH"
        )


@contextmanager
def progress_bar(
    total: int, accelerator: Accelerator, what: str = "videos"
) -> Generator[Callable[[float], None]]:
    """Show the progress of this process; the others are about as far."""
    share = -(-total // accelerator.num_processes)
    shown = accelerator.is_main_process and sys.stderr.isatty()
    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not shown,
        transient=True,
    ) as progress:
        bar = progress.add_task(what, total=share)
        yield lambda done: progress.update(bar, completed=done)


def write_json(path: Path, facts: Mapping[str, Any]) -> Path:
    """Write a JSON file; a write that fails leaves no half file.

    Raises:
        RunError: The disk refuses.
    """
    try:
        with written_aside(path) as aside, aside.open("wb") as file:
            file.writelines(json_pieces(facts, indent=1))
            file.write(b"\n")
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}") from None
    return path
