"""The 2019 command line; the same as `videozoo export`, which has today's flags."""

import sys

from videozoo.cli_v1 import inference

if __name__ == "__main__":
    sys.exit(inference())
