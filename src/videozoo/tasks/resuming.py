"""What a run began with, and what has changed when it is resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from videozoo import __version__
from videozoo.config import RunConfig, leaves, read_yaml
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import RunError, VideozooError, brief, few
from videozoo.tasks.circumstances import changed_circumstances, circumstances
from videozoo.tasks.features import refuse_other_features
from videozoo.tasks.loading import names_key, stored_names
from videozoo.tasks.requests import TrainRequest
from videozoo.weights import hub, hub_runs
from videozoo.weights.files import read_metadata

_OF_THE_MACHINE = (
    "model.name",
    "data.num_workers",
    "data.prefetch_batches",
    "train.num_gpus",
    "predict.",
)
"""Beginnings of keys that change neither the training nor the validation."""
_OF_TRAINING = (
    *("train.", "data.bad_video_share", "data.crops", "data.flip", "data.shuffle_records"),
    *("data.short_side_jitter", "data.augment"),
)
"""Beginnings of keys that change the training but not the validation."""
_KNOWN_OF_WEIGHTS = ("class_names", "vocabulary", "features")


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What a training learns from, as far as resuming depends on it."""

    names: Sequence[str] | None
    """Names of the classes, or the words of a captioning model."""
    features: Mapping[str, Any] | None
    """What made the features."""
    num_train: int
    num_held_out: int | None


def stored_config(request: TrainRequest) -> RunConfig:
    """The configuration of the resumed run, with the values of the command line.

    Raises:
        RunError: There is no run.
        ConfigError: Its configuration, or a value of the command line, does not fit.
    """
    folder = RunFolder(request.save_dir)
    if not folder.config.is_file():
        raise RunError(
            f"--resume {folder.path}: holds no run; expected a folder that training wrote"
        )
    config = replace(request.source, path=folder.config).load()
    relative = _mapping_in(folder, "relative_paths", str)
    return replace(config, stored=str(folder.config), is_of_run=True).found_here(relative)


def options_of(path: Path) -> dict[str, Any]:
    """The options of a run besides its configuration, as in `TrainRequest`; empty if they are
    not stored.

    Raises:
        RunError: They are not numbers and switches.
    """
    return _mapping_in(RunFolder(path), "options", int, type(None))


def _mapping_in(folder: RunFolder, name: str, *kinds: type) -> dict[str, Any]:
    """A part of `start.json` whose values are of some types; empty if it is not there.

    Raises:
        RunError: It is something else.
    """
    found: Any = (folder.read_start() or {}).get(name) or {}
    right = isinstance(found, dict) and all(
        isinstance(value, kinds) for value in cast("dict[str, Any]", found).values()
    )
    if not right:
        raise RunError(
            f"{folder.path}/start.json: {name} is {brief(found)}, which is not as it was saved; "
            "take the file from a copy, or remove it"
        )
    return cast("dict[str, Any]", found)


def start_of(
    config: RunConfig, request: TrainRequest, learnt: Learnt, accelerator: Accelerator
) -> dict[str, Any]:
    """Describe the start of a run, to repeat it and for `check_resumed`; JSON values."""
    return {
        "videozoo": __version__,
        "config": config.absolute().as_dict(),
        "relative_paths": config.relative_paths(),
        names_key(config): None if learnt.names is None else list(learnt.names),
        "features": None if learnt.features is None else dict(learnt.features),
        "num_train": learnt.num_train,
        "num_held_out": learnt.num_held_out,
        "options": {
            "log_interval": request.log_interval,
            "valid_interval": request.valid_interval,
            "save_every_steps": request.save_every_steps,
            "fixed_seed": request.fixed_seed,
            "tensorboard": request.tensorboard,
        },
        "pretrain": _as_absolute(request.pretrain),
        "drop": list(request.drop),
        "circumstances": circumstances(accelerator),
    }


def _as_absolute(weights: str | None) -> str | None:
    """Where a file of weights is, wherever the run is repeated; other names stay.

    A run of the hub is named with its commit.
    """
    if weights and hub.is_model(weights):
        return hub_runs.pinned(weights)
    return str(Path(weights).resolve()) if weights and Path(weights).exists() else weights


def check_resumed(
    folder: RunFolder,
    config: RunConfig,
    learnt: Learnt,
    *,
    accelerator: Accelerator,
    say: Callable[[str], None],
) -> tuple[str, ...]:
    """Compare a resumed run with its start; print what has changed.

    Returns:
        A few words for each change in how validation measures.

    Raises:
        RunError: The classes or their order have changed. Raised in every process.
        DataError: The features were made in another way.
    """
    found: list[Any] = [None, None, None]
    if accelerator.is_main_process:
        start = folder.read_start() or _start_of_older_run(folder)
        try:
            _refuse_other_classes(folder, stored_names(start, config), learnt.names)
            refuse_other_features(learnt.features, start.get("features"), "these", str(folder.path))
        except VideozooError as error:
            found[0] = error
        found[1] = list(_changes(start, config, learnt))
        found[2] = list(
            changed_circumstances(start.get("circumstances"), circumstances(accelerator))
        )
    if accelerator.num_processes > 1:
        broadcast_object_list(found)
    if found[0] is not None:
        raise found[0]
    changes: list[tuple[str, str]] = found[1]
    lines = [f"{key}: {text}" for key, text in changes] + found[2]
    if lines:
        say("changed since the run began:")
    for line in lines:
        say(f"  {line}")
    return tuple(key for key, _ in changes if not key.startswith(_OF_TRAINING))


def best_line(title: str, best: str, epoch: int, other_measure: Sequence[str]) -> str:
    """Warn that the best epoch so far was measured in another way."""
    changed = ", ".join(other_measure)
    return (
        f"WARNING: the best {title} so far, {best} after epoch {epoch}, was measured before "
        f"{changed} changed; epochs from here on are compared with it, though they are measured "
        "otherwise. Each epoch's weights are in weights/; `videozoo eval` measures any of them"
    )


def _start_of_older_run(folder: RunFolder) -> dict[str, Any]:
    """The start of a run that an earlier version wrote: its configuration and newest weights."""
    start: dict[str, Any] = {}
    try:
        start["config"] = read_yaml(folder.config)
        weights = folder.newest_weights()
        if weights is not None:
            metadata = read_metadata(weights)
            start |= {key: metadata.get(key) for key in _KNOWN_OF_WEIGHTS}
    except VideozooError:
        pass  # resuming does not need any of these
    return start


def _refuse_other_classes(folder: RunFolder, before: object, names: Sequence[str] | None) -> None:
    if not isinstance(before, list) or names is None:
        return
    then, now = [str(name) for name in cast(list[Any], before)], list(names)
    if then == now:
        return
    longest = max(len(then), len(now))
    rows = [
        f"{number}: {_at(then, number)} then, {_at(now, number)} now"
        for number in range(longest)
        if _at(then, number) != _at(now, number)
    ]
    order = "in another order" if sorted(then) == sorted(now) else "other ones"
    raise RunError(
        f"{folder.path}: its classes are now {order}, so the trained weights would get wrong names:"
        "\n  " + few(rows, between="\n  ") + "\n"
        "restore the earlier names and their order; or train on these classes in a new run that "
        f"starts from this one: --pretrain {folder.top} --save-dir ANOTHER_FOLDER"
    )


def _at(names: Sequence[str], number: int) -> str:
    return names[number] if number < len(names) else "none"


def _changes(
    start: Mapping[str, Any], config: RunConfig, learnt: Learnt
) -> Iterator[tuple[str, str]]:
    """What is different now: key, value at the start, value now."""
    now = dict(leaves(config.absolute().as_dict()))
    before = dict(leaves(start.get("config") or {}))
    for key, value in now.items():
        if key in before and before[key] != value and not key.startswith(_OF_THE_MACHINE):
            yield key, f"{_shown(before[key])} -> {_shown(value)}"
    for key, words, count in (
        ("num_train", "number of videos to learn from", learnt.num_train),
        ("num_held_out", "number of videos to check with", learnt.num_held_out),
    ):
        if key in start and start[key] != count:
            yield words, f"{start[key] or 0} -> {count or 0}"


def _shown(value: object) -> str:
    return "none" if value is None else str(value)
