"""videozoo config list | show | new: which configurations there are, what a run will use."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import Parser, command


def add(commands: Any) -> None:
    """Describe the commands and their flags."""
    config = command(commands, "config", None, help_="List, show and write configurations.")
    verbs = config.add_subparsers(metavar="VERB", dest="verb", required=True, parser_class=Parser)
    command(verbs, "list", run_list)
    show = command(verbs, "show", run_show)
    show.add_argument("config", type=Path, metavar="FILE|NAME")
    show.add_argument("--model", metavar="NAME")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    new = command(verbs, "new", run_new)
    new.add_argument("config", type=Path, metavar="NAME|FILE", help="what to start from")


def run_list(parsed: argparse.Namespace) -> None:
    """List the configurations that come with videozoo; --config takes their names."""
    from videozoo.tasks.config_files import listing

    print(listing())


def run_show(parsed: argparse.Namespace) -> None:
    """Print every value a run will use, and where it came from."""
    from videozoo.config import describe_file

    print(describe_file(parsed.config, model=parsed.model, overrides=parsed.overrides))


def run_new(parsed: argparse.Namespace) -> None:
    """Print a configuration with the meaning of every key: videozoo config new tsm > my.yaml."""
    from videozoo.tasks.config_files import new_file

    print(new_file(parsed.config))
