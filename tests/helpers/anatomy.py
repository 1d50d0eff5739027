"""Sums over an anatomy's cells, as the browser makes them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mrl_tutorial.recipes.anatomy import Anatomy

Weights = Mapping[str, np.ndarray]


def _stacked(anatomy: Anatomy, weights: Weights) -> np.ndarray:
    return np.stack([weights.get(term, np.zeros(anatomy.values.shape[1:])) for term in anatomy.terms])


def loss_of(anatomy: Anatomy, weights: Weights) -> np.ndarray:
    """Sum over terms of weight times loss, (L, M)."""
    return (_stacked(anatomy, weights) * anatomy.values).sum(0)


def gradient_of(anatomy: Anatomy, weights: Weights) -> np.ndarray:
    """Length of the weighted total's gradient on layer l's embeddings, in block m's coordinates: (L, M)."""
    w = _stacked(anatomy, weights)
    rows = zip(anatomy.landing, anatomy.grams, strict=True)
    squares = [np.einsum("s,mst,t->m", w[tuple(at.T)], gram, w[tuple(at.T)], optimize=True) for at, gram in rows]
    return np.sqrt(np.maximum(squares, 0))
