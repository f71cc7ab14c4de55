"""One process of several, started by torchrun: a command of `videozoo` a line of the file named."""

import shlex
import sys
from pathlib import Path

from videozoo import cli


def main(path: str) -> int:
    for line in Path(path).read_text().splitlines():
        status = cli.main(shlex.split(line))
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
