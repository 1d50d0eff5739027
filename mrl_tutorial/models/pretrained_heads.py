"""Heads for pydocs that come with the course, for machines on which even a minute of training is too long."""

from __future__ import annotations

from pathlib import Path

from mrl_tutorial.files import data_file
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.heads import load_heads


def pretrained_heads(encoder: Encoder, path: str | Path | None = None) -> Encoder:
    """`encoder` (all-MiniLM-L6-v2) with per-layer heads that `tools/train_pretrained_heads.py` trained on pydocs.

    Raises InputError where the file is missing or the encoder has another size.

    >>> pretrained_heads(Encoder.load())
    Encoder(all-MiniLM-L6-v2 + pretrained heads: 6 layers x 384, mean pooling, per-layer heads)
    """
    heads = load_heads(path or data_file("heads/pydocs-per-layer.safetensors"), encoder.n_layers, encoder.width)
    return encoder.with_heads(heads, name=f"{encoder.name} + pretrained heads", trained_dims=encoder.dims)
