"""videozoo demo: a first run with nothing to download."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command, device_flag


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    demo = command(commands, "demo", run_demo)
    demo.add_argument(
        "model",
        nargs="?",
        default="tsm",
        metavar="MODEL",
        help="what to show: tsm and tsn (the default, both in one), attention_cluster, "
        "attention_lstm, nextvlad, bmn, bsn, ctcn, ets, tall; or all: twelve models, one table",
    )
    demo.add_argument("--folder", type=Path, default=Path("demo"), metavar="DIR")
    demo.add_argument("--seed", type=int, default=0, metavar="N")
    demo.add_argument(
        "--quick", action="store_true", help="tsm alone: about two minutes on two cores"
    )
    device_flag(demo)


def run_demo(parsed: argparse.Namespace) -> None:
    """Make videos, train on them, predict on new ones: a first run with nothing to download."""
    from videozoo.tasks.demos import run

    run(
        parsed.model,
        folder=parsed.folder,
        seed=parsed.seed,
        device=parsed.device,
        quick=parsed.quick,
    )
