"""videozoo config show: what a run will use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import Parser, command


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    config = command(commands, "config", None, help_="Show what a run will use.")
    verbs = config.add_subparsers(metavar="VERB", dest="verb", required=True, parser_class=Parser)
    show = command(verbs, "show", run_config_show)
    show.add_argument("config", type=Path, metavar="FILE")
    show.add_argument("--model", metavar="NAME")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")


def run_config_show(parsed: argparse.Namespace) -> None:
    """Print every value a run will use, and where it came from."""
    from videozoo.config import describe_file

    print(describe_file(parsed.config, model=parsed.model, overrides=parsed.overrides))
