"""videozoo encoders: what `--encoder` takes."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Sequence
from typing import Any

from videozoo.cli.parser import command


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    encoders = command(commands, "encoders", run_encoders)
    encoders.add_argument("--json", action="store_true", help="print the list as JSON")
    encoders.add_argument(
        "--onnx",
        action="store_true",
        help="print the keys of the JSON file that describes an ONNX encoder, NAME.json beside "
        "NAME.onnx",
    )


def run_encoders(parsed: argparse.Namespace) -> None:
    """List networks that make features of videos: what `--encoder` takes."""
    if parsed.onnx:
        _print_keys()
        return
    from videozoo.encoders.recommended import OTHERS, RECOMMENDED, as_json, how_to_get, is_ready

    if parsed.json:
        print(json.dumps(as_json(), indent=2))
        return
    rows = [("NAME", "DIM", "SIZE", "LICENCE", "SEES", "FOR")]
    rows += [
        (
            entry.name,
            str(entry.dim),
            f"{entry.megabytes} MB",
            entry.licence,
            entry.sees,
            "; ".join(filter(None, (entry.use, entry.note))),
        )
        for entry in RECOMMENDED
    ]
    _print_table(rows)
    missing = {how_to_get(entry): entry for entry in RECOMMENDED if not is_ready(entry)}
    for line, entry in missing.items():
        which = "names with hf://" if entry.name.startswith("hf://") else entry.name
        print(f"not installed, needed for {which}: {line}")
    print("\n--encoder also takes:")
    _print_table([(f"  {name}", what) for name, what in OTHERS])


def _print_keys() -> None:
    from videozoo.encoders.onnx import description_keys

    keys = description_keys()
    width = max(len(name) for name, _, _ in keys)
    for name, default, meaning in keys:
        print(f"{name:<{width}}  {default}")
        indent = " " * (width + 2)
        print(textwrap.fill(meaning, 100, initial_indent=indent, subsequent_indent=indent))


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())
