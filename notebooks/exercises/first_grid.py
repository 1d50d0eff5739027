"""Checks of notebook 00: cut a vector, read a grid, write a recipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exercises.mistakes import recognize, unit
from exercises.verdict import exercise
from mrl_tutorial.grid import Grid, default_dims
from mrl_tutorial.recipes.recipe import Recipe


@exercise("cut, then normalize; in this order every prefix is a unit vector.")
def truncate(function: Callable[[np.ndarray, int], np.ndarray]) -> str | None:
    """Exercise "cut a vector": (N, D) and d to (N, d) of unit length, cut first, then normalized."""
    x = np.random.default_rng(0).normal(size=(5, 12)) * [[1], [2], [3], [4], [5]]
    given = x.copy()
    got = function(x, 4)
    if got is None or np.shape(got) != (5, 4):
        return f"for (5, 12) and d = 4 the result must have shape (5, 4), yours has {np.shape(got)}."
    if not np.array_equal(x, given):
        return "the vectors that were passed in have changed; make new ones, others may still need the originals."
    if np.allclose(got, unit(x[:, :4])):
        return None
    cut_last = unit(x)[:, :4]
    mistakes = {
        "that is the prefix, but not of length 1: a dot product of two such vectors is no cosine.": x[:, :4],
        "you normalized first and cut afterwards, and the cut changes the length again: cut, then normalize.": cut_last,
    }
    return recognize(got, mistakes) or "divide every row by its own length: np.linalg.norm(..., axis=1, keepdims=True)."


@exercise("the smallest dimension that is enough, measured against the full model.")
def smallest_dim(function: Callable[[Grid, int, float], int]) -> str | None:
    """Exercise "how far can I cut": (grid, layer, share) to the smallest dimension that keeps that share of the
    quality."""
    values = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.46, 0.44, 0.5]])
    grid = Grid("made up", "made up", "ndcg@10", "dev", (1, 2), (8, 16, 32, 64), values)
    for layer, share, want in [(2, 0.9, 16), (2, 0.3, 8), (2, 1.0, 64), (1, 0.2, 8), (1, 0.7, 64)]:
        got = function(grid, layer, share)
        if got == want:
            continue
        own_best = "measure against the full model (last layer, full width), not against this layer's own best. "
        return (
            f"on a made-up grid, layer {layer} first reaches a share of {share} of {values[-1, -1]} "
            f"at dimension {want}, yours says {got}. {own_best if layer == 1 else ''}"
            "Quality need not rise with every step: take the smallest that is enough."
        )
    return None


@exercise("training will push on your layer at every dimension, and keep the full model in sight.")
def recipe(found: Recipe, n_layers: int, width: int, *, layer: int) -> str | None:
    """Exercise "your own recipe": weights on one layer at every default dimension, and on the full model."""
    if not isinstance(found, Recipe):
        return f'make a Recipe("a name", {{"main": weights}}); yours is {type(found).__name__}.'
    grid = np.asarray(found.validate(n_layers, width).weights.get("main", np.zeros((n_layers, 1))))
    if grid.shape != (n_layers, len(default_dims(width))):
        return f"the weights have shape {grid.shape}: a row for each of {n_layers} layers, a column for each dimension."
    if not grid[layer - 1].all():
        return f"layer {layer} is row {layer - 1} (Python counts from 0): give every dimension in it a weight."
    if not grid[-1, -1]:
        return "without a weight on (last layer, full width) nothing protects the full model: give it one too."
    others = grid.copy()
    others[layer - 1], others[-1, -1] = 0, 0
    return "other cells have weights too; set only the ones asked for." if others.any() else None
