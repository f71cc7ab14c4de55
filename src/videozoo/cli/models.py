"""videozoo models: what there is."""

from __future__ import annotations

import argparse
from typing import Any

from videozoo.cli.parser import command


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    command(commands, "models", run_models)


def run_models(parsed: argparse.Namespace) -> None:
    """List the models."""
    from videozoo.models import list_models, model_summary

    names = list_models()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {model_summary(name)}")
