"""videozoo export: a trained model as a file that runs without its Python code."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command, config_flags, config_source, requested, weights_flag


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    export = command(commands, "export", run_export)
    weights_flag(export)
    config_flags(export)
    export.add_argument(
        "--format",
        choices=("onnx", "torch-export"),
        help="onnx (the default): runs in onnxruntime; torch-export: a .pt2 file for PyTorch, of "
        "clip models only",
    )
    export.add_argument(
        "--features",
        action="store_true",
        help="of a clip model: write what gives its features, an encoder (--encoder FILE.onnx), "
        "in place of its scores",
    )
    export.add_argument(
        "--encoder",
        metavar="NAME",
        help="in place of --weights: an encoder by its name, such as efficientnet_lite0; with "
        "--bundle: what makes the features, by default what the run keeps",
    )
    export.add_argument(
        "--bundle",
        action="store_true",
        help="write a folder with the model, what makes its features and its class names: "
        "`python -m videozoo.runtime BUNDLE VIDEO` runs it without PyTorch",
    )
    export.add_argument("--output", type=Path, metavar="FILE", help="by default beside the weights")
    export.add_argument(
        "--video",
        type=Path,
        metavar="PATH",
        help="video or folder to compare on; by default the first of the configured list",
    )
    export.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    export.add_argument(
        "--int8",
        action="store_true",
        help="weights of 8 bits (best.int8.onnx), if the metric on a data set is not much lower",
    )
    export.add_argument(
        "--int8-loss",
        type=float,
        metavar="X",
        help="how much of the metric --int8 may lose: 0.01, the default, is 1 %% of it",
    )
    export.add_argument(
        "--data",
        type=Path,
        metavar="PATH",
        help="for --int8: list or folder to evaluate on instead of data.test",
    )
    export.add_argument(
        "--no-check", action="store_true", help="keep the file without comparing its scores"
    )


def run_export(parsed: argparse.Namespace) -> None:
    """Write a trained model as files that run without its Python code, or as a bundle."""
    from videozoo.errors import UsageError
    from videozoo.tasks.requests import ExportRequest

    if not parsed.int8 and (parsed.int8_loss is not None or parsed.data is not None):
        flag = "--data" if parsed.int8_loss is None else "--int8-loss"
        raise UsageError(f"{flag} is only for --int8, which compares on data; add it, or leave out")
    source = config_source(parsed, {})
    request = requested(ExportRequest, parsed, source=source, check=not parsed.no_check)
    if parsed.bundle and request.int8:
        raise UsageError("--int8 writes single files; leave it out with --bundle")
    if parsed.bundle:
        from videozoo.tasks.bundling import export_bundle

        export_bundle(request)
    elif request.int8:
        from videozoo.tasks.int8 import export_int8

        export_int8(request)
    else:
        from videozoo.tasks import run

        run.export(request)
