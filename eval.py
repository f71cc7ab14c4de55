"""The 2019 command line; the same as `videozoo eval`, which has today's flags."""

import sys

from videozoo.cli_v1 import evaluate

if __name__ == "__main__":
    sys.exit(evaluate())
