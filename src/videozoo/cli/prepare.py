"""videozoo prepare: convert a data set to the format that is read fastest."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    prepare = command(commands, "prepare", run_prepare)
    prepare.add_argument("dataset", choices=("youtube8m",), metavar="DATASET", help="youtube8m")
    prepare.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="TFRecord shards, 2019 pickles, packs; files, folders, globs or lists of them",
    )
    prepare.add_argument("--output", type=Path, required=True, metavar="DIR")
    prepare.add_argument(
        "--format",
        choices=("pack", "tfrecord", "pickle"),
        default="pack",
        help="pack: ours, the fastest to read (default); tfrecord: as YouTube-8M is published; "
        "pickle: for the 2019 library",
    )
    prepare.add_argument(
        "--num-classes",
        type=int,
        metavar="N",
        help="ignore labels from N on, as the 2019 library does (3862)",
    )
    prepare.add_argument(
        "--workers", type=int, metavar="N", help="processes; by default one per core"
    )
    prepare.add_argument("--overwrite", action="store_true", help="replace files that exist")
    prepare.add_argument("--skip-bad", action="store_true", help="skip damaged records")


def run_prepare(parsed: argparse.Namespace) -> None:
    """Convert the files of a data set between the formats that can be read."""
    from videozoo.errors import UsageError
    from videozoo.tasks.preparation import PrepareRequest, prepare

    for flag, value in (("--workers", parsed.workers), ("--num-classes", parsed.num_classes)):
        if value is not None and value < 1:
            raise UsageError(f"{flag} {value}: expected 1 or more")
    prepare(
        PrepareRequest(
            inputs=[Path(text) for text in parsed.inputs],
            output=parsed.output,
            kind=parsed.format,
            num_classes=parsed.num_classes,
            workers=parsed.workers,
            overwrite=parsed.overwrite,
            skip_bad=parsed.skip_bad,
        )
    )
