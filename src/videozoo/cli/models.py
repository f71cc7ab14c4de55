"""videozoo models: what there is, and what one costs."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command, device_flag


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    models = command(commands, "models", run_models)
    models.add_argument(
        "name",
        nargs="?",
        metavar="NAME|FILE",
        help="one of them, or a model file (my_model.py), in detail",
    )
    models.add_argument(
        "--config",
        type=Path,
        metavar="FILE|NAME",
        help="use this configuration instead of the defaults",
    )
    models.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change any value: --set model.depth=101 (repeatable)",
    )
    models.add_argument(
        "--input", type=_clip, metavar="TxHxW", help="frames, height and width of a clip: 8x224x224"
    )
    models.add_argument("--time", action="store_true", help="also measure a clip on this machine")
    device_flag(models)


def _clip(text: str) -> tuple[int, int, int]:
    """Read the size of a clip."""
    parts = text.lower().split("x")
    if len(parts) != 3 or not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected frames x height x width such as 8x224x224, got {text!r}"
        )
    steps, height, width = map(int, parts)
    return steps, height, width


def run_models(parsed: argparse.Namespace) -> None:
    """List the models, or say what one is and costs."""
    if parsed.name is None:
        _list_models(parsed)
        return
    from dataclasses import replace

    from rich.console import Console

    from videozoo.tasks.requests import ConfigSource

    overrides = tuple(parsed.overrides)
    ConfigSource(path=parsed.config, model=parsed.name, overrides=overrides).checked()

    from videozoo.tasks import model_cost

    config = model_cost.configured(
        parsed.name, path=parsed.config, overrides=parsed.overrides, clip=parsed.input
    )
    cost = model_cost.model_cost(config)
    if parsed.time:
        timing = model_cost.time_model(config, device=parsed.device)
        cost = replace(cost, timing=timing)
    model_cost.show(cost, Console())


def _list_models(parsed: argparse.Namespace) -> None:
    from videozoo.errors import UsageError
    from videozoo.models import list_models, model_summary

    if parsed.config or parsed.overrides or parsed.input or parsed.time:
        raise UsageError("models: name the model these flags are for: videozoo models NAME ...")
    names = list_models()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {model_summary(name)}")
    hint = "videozoo models NAME: what one costs, its settings, its published weights"
    print(hint, file=sys.stderr)
