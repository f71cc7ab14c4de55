"""The `videozoo` command. Each file here adds its commands; a command is one short function.

Nothing here imports torch or numpy before it must: help and a wrong flag answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from videozoo import __version__
from videozoo.cli import (
    checks,
    config,
    convert,
    demo,
    encoders,
    export,
    extract,
    formats,
    models,
    prepare,
    runs,
    score,
    serve,
    share,
    weights,
)
from videozoo.cli.parser import (
    Parser,
    end_at_once,
    guarded,
    let_threads_sleep,
    terminal_question,
)
from videozoo.network import consent

_ROOMS = (
    *(
        runs,
        score,
        export,
        serve,
        extract,
        encoders,
        prepare,
        convert,
        formats,
        models,
        config,
        weights,
        share,
        checks,
    ),
    demo,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0 done, 1 the user's input is wrong, 2 the command line is wrong,
        130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    let_threads_sleep()
    end_at_once()
    return guarded(lambda: _run(arguments), debug="--debug" in arguments)


def build_parser() -> argparse.ArgumentParser:
    """Every command and flag."""
    parser = Parser(
        prog="videozoo",
        description="Understand video: from mp4 to answer.",
        epilog="First run: videozoo demo",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--version", action="version", version=f"videozoo {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", parser_class=Parser)
    for room in _ROOMS:
        room.add(commands)
    return parser


def _run(arguments: Sequence[str]) -> None:
    parser = build_parser()
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit:  # --help and --version have printed their answer
        return
    if parsed.command is None:
        parser.print_help()
        return
    with consent(agreed=getattr(parsed, "allow_downloads", False), ask=terminal_question()):
        parsed.run(parsed)
