"""Ready-trained heads for pydocs, for machines on which even a minute of training is too long.

`python -m mrl_tutorial.models.pretrained` makes them: per-layer heads, recipe all-cells, 100 steps of 256 pairs of the train split.
"""

from __future__ import annotations

from pathlib import Path

from mrl_tutorial.files import data_file
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import Heads, load_heads, save_heads

FILE = data_file("heads/pydocs-per-layer.safetensors")


def ready_trained(encoder: Encoder, path: str | Path = FILE) -> Encoder:
    """`encoder` (all-MiniLM-L6-v2) with the heads that ship with the course.

    Raises InputError where the file is missing or the encoder has another size.
    """
    heads = load_heads(path, encoder.n_layers, encoder.width)
    return encoder.with_heads(heads, name=f"{encoder.name} + ready-trained heads", trained_dims=encoder.dims)


def make(path: str | Path = FILE) -> Heads:
    """Train the heads and write them in half precision (the standardisation too; 2 MB)."""
    from mrl_tutorial.tasks.load import load_task
    from mrl_tutorial.training.loop import train

    trained = train(Encoder.load(), load_task("pydocs"), "all-cells", heads="per-layer", steps=100, batch_size=256)
    save_heads(trained.encoder.heads.half(), path)
    return trained.encoder.heads


if __name__ == "__main__":
    make()
    print(f"written: {FILE} ({FILE.stat().st_size / 1e6:.1f} MB)")
