"""`python -m videozoo` is the `videozoo` command."""

import sys

from videozoo.cli import main

sys.exit(main())
