"""videozoo extract."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import (
    bad_flags,
    command,
    config_flags,
    config_source,
    device_flag,
    download_flag,
    encoder_flags,
    requested,
    weights_flag,
)


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    extract = command(commands, "extract", run_extract)
    extract.add_argument("inputs", nargs="+", metavar="VIDEO", help="video, folder, glob or list")
    extract.add_argument(
        "--output",
        type=Path,
        metavar="DIR",
        required=True,
        help="an existing extraction there is continued",
    )
    config_flags(extract)
    weights_flag(extract)
    encoder_flags(extract, purpose="what makes the vectors", rate="2")
    extract.add_argument(
        "--mirror",
        action="store_true",
        help="features: mean of each picture and its mirror image (not where left and right "
        "matter; up to twice the time)",
    )
    extract.add_argument(
        "--for",
        dest="for_run",
        metavar="RUN",
        help="make features as those that this run of a feature model learnt from",
    )
    extract.add_argument(
        "--format",
        choices=("pack", "tfrecord", "npz", "npy", "csv"),
        default="pack",
        help="pack, tfrecord: many videos per file; the others: one (default pack)",
    )
    extract.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="classes: lines `PATH LABEL[,LABEL...]`, or JSON {PATH: [LABEL, ...]}",
    )
    extract.add_argument("--batch-size", type=int, metavar="N", help="windows in one forward pass")
    extract.add_argument("--overwrite", action="store_true", help="remove what DIR holds first")
    bad_flags(extract)
    device_flag(extract)
    download_flag(extract)


def run_extract(parsed: argparse.Namespace) -> None:
    """Turn videos into sequences of features."""
    source = config_source(parsed, {})

    from videozoo.tasks.extraction import extract_all
    from videozoo.tasks.requests import ExtractRequest

    extract_all(requested(ExtractRequest, parsed, source=source))
