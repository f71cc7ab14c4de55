"""videozoo doctor | check-data: what is wrong with this machine, or with these videos."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command, config_flags, config_source


def add(commands: Any) -> None:
    """Describe the commands and their flags."""
    doctor = command(commands, "doctor", run_doctor)
    doctor.add_argument(
        "weights",
        nargs="?",
        metavar="RUN|FILE",
        help="also check whether these weights can be used",
    )
    doctor.add_argument("--json", action="store_true", help="print everything, for a bug report")

    check = command(commands, "check-data", run_check_data)
    check.add_argument(
        "path",
        nargs="?",
        type=Path,
        metavar="PATH",
        help="videos (a folder, a list, a file), annotations, captions, moments, features or "
        "records; by default what --config names",
    )
    check.add_argument(
        "--kind",
        choices=("videos", "segments", "sentences", "features", "records"),
        help="what PATH is; by default found from what is in it",
    )
    check.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="also compare annotations or features with these videos: names and lengths",
    )
    check.add_argument(
        "--features",
        type=Path,
        metavar="DIR",
        help="also compare annotations with these features: names, lengths and rates",
    )
    config_flags(check, default="also checks what the configuration needs")
    check.add_argument("--deep", action="store_true", help="decode every frame, not only three")
    check.add_argument(
        "--workers", type=int, metavar="N", help="processes; by default one per core"
    )
    check.add_argument(
        "--timeout",
        type=float,
        metavar="SECONDS",
        help="time limit for a small file; large files get more (default 60)",
    )
    check.add_argument("--json", type=Path, metavar="FILE", help="write everything, file by file")
    check.add_argument(
        "--write-good",
        type=Path,
        metavar="FILE",
        help="write a list of the videos that can be used",
    )
    check.add_argument(
        "--no-cache", action="store_true", help="also open files that have not changed"
    )


def run_doctor(parsed: argparse.Namespace) -> None:
    """Say what is installed, what works, and what to do about the rest."""
    from videozoo.tasks.doctor import run

    run(weights=parsed.weights, as_json=parsed.json)


def run_check_data(parsed: argparse.Namespace) -> None:
    """Check videos, annotations, sentences or features: counts, and what cannot be used."""
    from videozoo.errors import UsageError

    if parsed.workers is not None and parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: expected 1 or more")
    if parsed.timeout is not None and not parsed.timeout > 0:
        raise UsageError(f"--timeout {parsed.timeout:g}: expected more than 0 seconds")
    source = config_source(parsed, {})

    from videozoo.tasks.check_data import CheckRequest, run

    run(
        CheckRequest(
            path=parsed.path,
            kind=parsed.kind,
            videos=parsed.videos,
            features=parsed.features,
            source=source,
            deep=parsed.deep,
            workers=parsed.workers,
            base_seconds=parsed.timeout,
            json_path=parsed.json,
            write_good=parsed.write_good,
            use_cache=not parsed.no_cache,
        )
    )
