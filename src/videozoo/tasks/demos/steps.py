"""The steps that all demos share: train, or go on with the run of an earlier demo, and evaluate."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from videozoo.config import RunConfig
from videozoo.engine.run_folder import RunFolder
from videozoo.safe_yaml import parse_yaml
from videozoo.tasks import run as tasks
from videozoo.tasks.requests import ConfigSource, Device, EvalRequest, TrainRequest


def train(
    config: RunConfig, run: Path, device: Device, *, valid_interval: int, log_interval: int = 0
) -> bool:
    """Train a model; if an earlier demo began the same run, resume it.

    Args:
        config: The settings, with features in place of videos.
        run: The run folder.
        device: Where to train.
        valid_interval: Epochs between validations.
        log_interval: Steps between lines; 0: none.

    Returns:
        Whether the run is new.
    """
    there = RunFolder(run)
    RunFolder.refuse_live(run)
    stored = parse_yaml(there.config.read_text("utf-8")) if there.config.exists() else None
    states = (there, *(RunFolder(stage) for stage in run.glob("*/")))  # BSN has two stages
    same = any(_is_same(each.as_dict(), stored) for each in (config, config.absolute()))
    resume = same and any(each.last() for each in states)
    request = TrainRequest(
        source=ConfigSource(),
        save_dir=run,
        device=device,
        resume=resume,
        overwrite=not resume,
        valid_interval=valid_interval,
        log_interval=log_interval,
    )
    tasks.train(request, config)
    return not resume


def _is_same(asked: Any, stored: Any) -> bool:
    """Whether a run was begun with these settings; a training settles some that are None."""
    if isinstance(asked, dict) and isinstance(stored, dict):
        wanted, found = cast("dict[str, Any]", asked), cast("dict[str, Any]", stored)
        return all(_is_same(value, found.get(key)) for key, value in wanted.items())
    if isinstance(asked, list | tuple) and isinstance(stored, list):
        wanted, found = list(cast("list[Any]", asked)), cast("list[Any]", stored)
        return len(wanted) == len(found) and all(map(_is_same, wanted, found))
    return asked is None or str(asked) == str(stored)


def evaluate(run: Path, device: Device) -> dict[str, Any]:
    """Score a run on its held-out videos; return what `eval.json` holds."""
    request = EvalRequest(
        source=ConfigSource(), weights=str(run), save_dir=run, device=device, report=False
    )
    return tasks.evaluate(request)
