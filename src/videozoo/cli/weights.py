"""videozoo weights list | show | convert | fetch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from videozoo.cli.parser import Parser, command, config_source


def add(commands: Any) -> None:
    """Describe the commands and their flags."""
    weights = command(
        commands, "weights", None, help_="List, fetch, look into and convert weights."
    )
    verbs = weights.add_subparsers(metavar="VERB", dest="verb", required=True, parser_class=Parser)

    listed = command(verbs, "list", run_list)
    listed.add_argument("--model", metavar="NAME", help="only what this model can use")

    show = command(verbs, "show", run_show)
    show.add_argument("weights", metavar="FILE|NAME")
    show.add_argument("--all", action="store_true", help="list every tensor")

    convert = command(verbs, "convert", run_convert)
    convert.add_argument("weights", metavar="IN", help="file, folder, archive or name")
    convert.add_argument("out", type=Path, metavar="OUT", help="NAME.safetensors or NAME.pdparams")
    convert.add_argument(
        "--config",
        type=Path,
        metavar="FILE|NAME",
        help="the configuration they were trained with; by default the one stored with them",
    )
    convert.add_argument(
        "--model",
        metavar="NAME",
        help="instead of --config, if only the classes differ from the defaults",
    )
    convert.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change any value: --set model.num_segments=16 (repeatable)",
    )
    convert.add_argument("--overwrite", action="store_true", help="replace OUT")

    fetch = command(verbs, "fetch", run_fetch)
    fetch.add_argument("names", nargs="+", metavar="NAME", help="as in `videozoo weights list`")


def run_list(parsed: argparse.Namespace) -> None:
    """List the published weights, and which of them are on this machine."""
    from videozoo.weights.registry import find_published, published_for

    entries = published_for(parsed.model)
    rows = [("NAME", "MODEL", "WHAT", "SCORE IN 2019", "HERE", "")]
    for entry in entries:
        here = "yes" if find_published(entry) else "-"
        rows.append(
            (entry.name, ", ".join(entry.models), entry.kind, entry.score or "-", here, entry.note)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def run_show(parsed: argparse.Namespace) -> None:
    """Tell which model a weights file is for, and what it holds."""
    from videozoo.tasks.weights import show

    print(show(parsed.weights, all_tensors=parsed.all))


def run_convert(parsed: argparse.Namespace) -> None:
    """Write weights of any format as .safetensors, or as .pdparams for the 2019 library."""
    source = config_source(parsed, {})

    from videozoo.tasks.weights import convert

    print(convert(parsed.weights, parsed.out, source=source, overwrite=parsed.overwrite))


def run_fetch(parsed: argparse.Namespace) -> None:
    """Download published weights into the cache."""
    from videozoo.weights.sources import fetch_all

    for path in fetch_all(parsed.names, say=lambda line: print(line, file=sys.stderr)):
        print(path)
