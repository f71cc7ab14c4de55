"""videozoo convert: annotations from one tool or data set to another."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command

FORMS = ("activitynet", "csv", "labelstudio", "fiftyone")
"""What `--to` takes: the names of `segment_writers.WRITERS`, which is not imported for help."""


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    convert = command(commands, "convert", run_convert)
    convert.add_argument(
        "source",
        type=Path,
        metavar="SRC",
        help="segments in any format of `videozoo formats segments`, or results of `predict` and "
        "`eval`",
    )
    convert.add_argument("target", type=Path, metavar="DST", help="the file to write")
    convert.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help=f"one of {', '.join(FORMS)}",
    )
    convert.add_argument(
        "--videos",
        type=Path,
        metavar="DIR",
        help="folder of the videos: gives frame rates, lengths and paths",
    )
    convert.add_argument(
        "--frames-per-second",
        type=float,
        metavar="RATE",
        help="frame rate of the videos, where frames are counted and no videos are at hand",
    )
    convert.add_argument(
        "--label-from",
        metavar="NAME",
        help="which text of a segment is its class, if there are several: a column, tier or "
        "attribute",
    )
    convert.add_argument(
        "--spot-seconds",
        type=float,
        metavar="SECONDS",
        help="for points in time (SoccerNet, OSL, E2E-Spot): length of the segments around them",
    )
    convert.add_argument(
        "--address",
        metavar="PREFIX",
        help="put before the paths of videos, such as '/data/local-files/?d=' for Label Studio",
    )
    convert.add_argument(
        "--least-score",
        type=float,
        metavar="SCORE",
        help="leave out predicted segments that score less",
    )
    convert.add_argument(
        "--most", type=int, metavar="N", help="keep the best N segments of each video"
    )
    convert.add_argument("--overwrite", action="store_true", help="replace a file that exists")


def run_convert(parsed: argparse.Namespace) -> None:
    """Convert annotations of segments, or predicted ones, to the format of another tool."""
    from videozoo.errors import UsageError

    above_zero = {
        "--frames-per-second": parsed.frames_per_second,
        "--spot-seconds": parsed.spot_seconds,
        "--most": parsed.most,
    }
    for flag, value in above_zero.items():
        if value is not None and not 0 < value < float("inf"):
            raise UsageError(f"{flag} {value:g}: expected more than 0")

    from videozoo.tasks.conversion import ConvertRequest, convert

    done = convert(
        ConvertRequest(
            source=parsed.source,
            target=parsed.target,
            form=parsed.to,
            videos=parsed.videos,
            frames_per_second=parsed.frames_per_second,
            label_from=parsed.label_from,
            spot_seconds=parsed.spot_seconds,
            address=parsed.address,
            least_score=parsed.least_score,
            most=parsed.most,
            overwrite=parsed.overwrite,
        )
    )
    for note in done.notes:
        print(f"note: {note}")
    print(done.line)
