"""videozoo push | card: share a trained run, on the hub or in a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command, requested


def add(commands: Any) -> None:
    """Describe the commands and their flags."""
    push = command(commands, "push", run_push)
    push.add_argument("folder", type=Path, metavar="RUN", help="the folder of a finished training")
    push.add_argument(
        "target",
        metavar="TARGET",
        help="hf://OWNER/NAME on the Hugging Face hub, or a folder",
    )
    _card_flags(push)
    push.add_argument(
        "--public",
        action="store_true",
        dest="is_public",
        help="everybody may see a repository that is made; by default you alone",
    )
    push.add_argument(
        "--dry-run",
        action="store_true",
        dest="is_trial",
        help="list what would be sent, and send nothing",
    )
    push.add_argument(
        "--overwrite",
        action="store_true",
        help="replace another model there, and a card that was changed there",
    )
    push.add_argument(
        "--unfinished",
        action="store_true",
        help="share a run that stopped before its last epoch; its card says so",
    )
    push.add_argument("--message", metavar="TEXT", help="what the commit on the hub is called")

    card = command(commands, "card", run_card)
    card.add_argument("folder", type=Path, metavar="RUN", help="the folder of a training")
    card.add_argument("--out", type=Path, metavar="FILE", help="by default it is printed")
    card.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there already"
    )
    card.add_argument(
        "--for",
        dest="name",
        metavar="hf://OWNER/NAME",
        help="where others will find the run; its commands then name it",
    )
    _card_flags(card)


def _card_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--licence",
        "--license",
        metavar="NAME",
        help="under which others may use it, such as apache-2.0; by default the card says that it "
        "is not stated",
    )
    parser.add_argument(
        "--data-name",
        metavar="TEXT",
        help="what the data are, for the card, such as 'UCF101, split 1'; the run does not know",
    )


def run_push(parsed: argparse.Namespace) -> None:
    """Share a run with its encoder, settings and a card: on the hub, or in a folder."""
    from videozoo.tasks.requests import PushRequest
    from videozoo.tasks.sharing import push

    print(
        push(
            requested(PushRequest, parsed, run=parsed.folder), lambda line: print(line, flush=True)
        )
    )


def run_card(parsed: argparse.Namespace) -> None:
    """Write the card of a run: what it does, how to use it, what was measured, its limits."""
    from videozoo.tasks.requests import CardRequest
    from videozoo.tasks.sharing import card, write_card_file

    text = card(requested(CardRequest, parsed, run=parsed.folder))
    if parsed.out is None:
        print(text, end="")
    else:
        print(f"written: {write_card_file(parsed.out, text, overwrite=parsed.overwrite)}")
