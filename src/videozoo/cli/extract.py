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
    extract.add_argument(
        "--rate", type=float, metavar="X", default=2.0, help="vectors per second (default 2)"
    )
    extract.add_argument(
        "--window-seconds",
        type=float,
        metavar="X",
        help="stretch of video behind each vector; by default 1 / rate, and for models of dense "
        "clips as in training",
    )
    extract.add_argument(
        "--layer",
        choices=("features", "scores"),
        default="features",
        help="features: the classifier's input (default); or its scores, the input of C-TCN",
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


def run_extract(parsed: argparse.Namespace) -> None:
    """Turn videos into sequences of features, with a trained clip model."""
    source = config_source(parsed, {"--batch-size": "predict.batch_size"})

    from videozoo.tasks.extraction import extract_all
    from videozoo.tasks.requests import ExtractRequest

    extract_all(requested(ExtractRequest, parsed, source=source))
