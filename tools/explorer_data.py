"""Makes what the grid explorer shows of the plain model on pydocs, so that its first panel encodes nothing.

python -m tools.explorer_data
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from mrl_tutorial import Encoder, GridExplorer, load_task

FOLDER = Path(__file__).resolve().parents[1] / "data" / "explorer"
EXAMPLES = (5, 8)  # as many as lesson 07 asks for, and the explorer by itself


def measure(folder: Path) -> None:
    """Measure in float32 and fill `folder` anew: quality of every cell, the examples, and each example in every cell.

    The cache is that of $MRL_CACHE, whose own folder of the explorer is copied: it should be empty."""
    shutil.rmtree(folder, ignore_errors=True)  # else it would be read
    os.environ["MRL_PRECISION"] = "fp32"
    task, encoder = load_task("pydocs"), Encoder.load()
    for examples in EXAMPLES:
        GridExplorer(task, encoder, examples=examples)
    shutil.copytree(Path(os.environ["MRL_CACHE"]) / "explorer", folder)


def main() -> None:
    """Measure with a cache of its own, so that nothing old is taken over."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["MRL_CACHE"] = cache
        measure(FOLDER)
    made = list(FOLDER.iterdir())
    print(f"{FOLDER}: {len(made)} files, {sum(path.stat().st_size for path in made) / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
