"""`python -m videozoo.runtime BUNDLE VIDEO...`: predict from a bundle, without torch."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from videozoo.errors import VideozooError
from videozoo.runtime.model import load
from videozoo.safe_names import any_encoding, json_pieces, shown
from videozoo.safe_write import written_aside


def main(argv: Sequence[str] | None = None) -> int:
    """Predict; the exit status is 1 if a video could not be used, 2 if the flags are wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m videozoo.runtime",
        description="Predict from a bundle that `videozoo export --bundle` wrote. Prints JSON, in "
        "the form of predictions.json.",
        allow_abbrev=False,
    )
    parser.add_argument("bundle", type=Path, metavar="BUNDLE", help="the folder of the bundle")
    parser.add_argument("videos", nargs="+", metavar="VIDEO", help="video or folder")
    parser.add_argument(
        "--sentence",
        action="append",
        default=[],
        metavar="TEXT",
        help="what to look for, with a model that finds moments; may be repeated",
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the JSON there; by default it is printed"
    )
    asked = parser.parse_args(argv)
    with any_encoding(sys.stdout, sys.stderr):
        try:
            return _run(asked.bundle, asked.videos, asked.sentence, asked.output)
        except VideozooError as error:
            print(f"error: {shown(str(error))}", file=sys.stderr)
            return error.exit_status
        except KeyboardInterrupt:
            return 130
        except BrokenPipeError:  # whoever read the output has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            print(f"error: {error.filename or asked.output}: {error.strerror}", file=sys.stderr)
            return 1


def _run(bundle: Path, videos: Sequence[str], sentences: Sequence[str], output: Path | None) -> int:
    model = load(bundle)
    found = model.answers(videos, sentences=sentences, strict=False)
    for line in found.skipped:
        print(f"failed: {line}", file=sys.stderr)
    for line in found.damaged:
        print(f"note: damaged: {line}", file=sys.stderr)
    pieces = json_pieces(model.facts(videos, found, sentences=sentences), indent=1)
    if output is None:
        for piece in pieces:
            sys.stdout.write(piece.decode())
        print(flush=True)
    else:
        with written_aside(output) as aside, aside.open("wb") as file:
            file.writelines(pieces)
            file.write(b"\n")
        print(f"written: {output}", file=sys.stderr)
    return 1 if found.skipped else 0


if __name__ == "__main__":
    sys.exit(main())
