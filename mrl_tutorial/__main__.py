"""`python -m mrl_tutorial` is `mrl-tutorial`."""

from __future__ import annotations

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
