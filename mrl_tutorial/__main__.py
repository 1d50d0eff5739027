"""`python -m mrl_tutorial` is `mrl-tutorial`."""

from __future__ import annotations

import sys

from mrl_tutorial.cli.parser import main

if __name__ == "__main__":
    sys.exit(main())
