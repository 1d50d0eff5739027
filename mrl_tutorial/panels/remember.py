"""An encoder that has met most texts before: what the explorer has embedded is not embedded again for training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrl_tutorial.models.encoder import Encoder


class Remembering:
    """Stands in for `encoder` (without heads) where its embeddings are asked for; everything else is the encoder's own.

    known: text -> its place in `raw`, (L, N, D) as `encoder.encode_layers` gave it at the same precision.
    """

    def __init__(self, encoder: Encoder, known: Mapping[str, int], raw: np.ndarray) -> None:
        self._encoder, self._known, self._raw = encoder.with_heads(None), known, raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def with_heads(self, heads, **options: Any):
        """Without heads it still remembers; with heads it is an Encoder like any other."""
        return self if heads is None else self._encoder.with_heads(heads, **options)

    def encode_layers(self, texts: Sequence[str], *, progress=None, precision: str = "auto") -> np.ndarray:
        """(L, N, D) float32 of all layers: known texts are looked up, the others encoded."""
        fresh = list(dict.fromkeys(text for text in texts if text not in self._known))
        n_layers, width = self._encoder.n_layers, self._encoder.width
        encoded = np.empty((n_layers, 0, width), np.float32)
        if fresh:
            encoded = self._encoder.encode_layers(fresh, precision=precision, progress=progress)
        place = {text: i for i, text in enumerate(fresh)}
        new = np.array([text in place for text in texts], dtype=bool)
        out = np.empty((n_layers, len(texts), width), np.float32)
        out[:, new] = encoded[:, [place[text] for text in texts if text in place]]
        out[:, ~new] = self._raw[:, [self._known[text] for text in texts if text not in place]]
        return out
