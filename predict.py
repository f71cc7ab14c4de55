"""The 2019 command line; the same as `videozoo predict`, which has today's flags."""

import sys

from videozoo.cli_v1 import predict

if __name__ == "__main__":
    sys.exit(predict())
