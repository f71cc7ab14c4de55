"""videozoo formats: the formats of files that can be read and written."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from videozoo.cli.parser import command


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    formats = command(commands, "formats", run_formats)
    formats.add_argument(
        "group",
        nargs="?",
        metavar="GROUP",
        help="one kind of data with all examples: clips, multi-label, segments, captions, "
        "moments, labels, tags, features, results",
    )
    formats.add_argument("--json", action="store_true", help="print everything as JSON")


def run_formats(parsed: argparse.Namespace) -> None:
    """List the formats of files that can be read and written, with examples."""
    from videozoo.tasks.formats import as_json, chosen_groups, details, listing

    groups = chosen_groups(parsed.group)
    if parsed.json:
        print(json.dumps(as_json(groups), indent=1))
        return
    if parsed.group is not None:
        print("\n\n".join("\n".join(details(group)) for group in groups))
        return
    print("\n".join(listing(groups)).rstrip())
    print("videozoo formats GROUP: what each is, with an example", file=sys.stderr)
