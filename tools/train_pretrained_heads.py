"""Makes the heads that come with the course: per layer, all-cells, 100 steps of 256 training pairs of pydocs.

python -m tools.train_pretrained_heads
"""

from __future__ import annotations

from pathlib import Path

from mrl_tutorial import Encoder, load_task, train
from mrl_tutorial.models.heads import save_heads

FILE = Path(__file__).resolve().parents[1] / "data" / "heads" / "pydocs-per-layer.safetensors"


def main() -> None:
    """Train the heads and write them in half precision (what they standardize with, too): 2 MB."""
    trained = train(Encoder.load(), load_task("pydocs"), "all-cells", heads="per-layer", steps=100, batch_size=256)
    heads = trained.encoder.heads
    assert heads is not None  # that is what was trained
    save_heads(heads.half(), FILE)
    print(f"{FILE}: {FILE.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
