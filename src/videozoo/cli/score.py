"""videozoo score: metrics of result files, without a model."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    score = command(commands, "score", run_score)
    score.add_argument(
        "results",
        type=Path,
        metavar="RESULTS",
        help="file of results of any model, or a folder that `videozoo predict` wrote",
    )
    score.add_argument(
        "--truth",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="what is true: annotations, sentences or labels (repeat it for several people's "
        "sentences)",
    )
    score.add_argument("--subset", metavar="NAME", help="the part of the truth to score")
    score.add_argument(
        "--tious",
        type=float,
        nargs="+",
        metavar="X",
        help="tIoU thresholds; by default those of the data set",
    )
    score.add_argument(
        "--class-names",
        type=Path,
        metavar="FILE",
        help="names of the classes by number, if only one of the two files has names",
    )
    score.add_argument(
        "--first-label",
        type=int,
        default=0,
        metavar="N",
        help="number of the first class in a list of truth (default 0)",
    )
    score.add_argument(
        "--durations",
        type=Path,
        metavar="FILE",
        help="lengths of the videos in seconds, if the truth has none",
    )
    score.add_argument(
        "--label-from",
        metavar="NAME",
        help="which text of a true segment is its class, if there are several: a column, tier or "
        "attribute",
    )
    score.add_argument(
        "--spot-seconds",
        type=float,
        metavar="SECONDS",
        help="for truth of points in time (SoccerNet, OSL, E2E-Spot): length of the segments "
        "around them",
    )
    score.add_argument(
        "--frames-per-second",
        type=float,
        metavar="RATE",
        help="frame rate of the videos, if the truth counts in frames",
    )
    score.add_argument("--json", type=Path, metavar="FILE", help="write all numbers")


def run_score(parsed: argparse.Namespace) -> None:
    """Score a file of results of any model against the truth."""
    from videozoo.errors import UsageError

    tious = tuple(parsed.tious or ())
    for tiou in tious:
        if not 0 < tiou <= 1:
            raise UsageError(f"--tious {tiou:g}: expected numbers above 0, at most 1")

    for flag in ("spot_seconds", "frames_per_second"):
        value = getattr(parsed, flag)
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"--{flag.replace('_', '-')} {value:g}: expected more than 0")

    from videozoo.tasks.score import ScoreRequest, score

    score(
        ScoreRequest(
            results=parsed.results,
            truth=tuple(parsed.truth),
            subset=parsed.subset,
            tious=tious,
            class_names=parsed.class_names,
            durations=parsed.durations,
            first_label=parsed.first_label,
            label_from=parsed.label_from,
            spot_seconds=parsed.spot_seconds,
            frames_per_second=parsed.frames_per_second,
            json_path=parsed.json,
        )
    )
