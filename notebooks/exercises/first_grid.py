"""Checks of lesson 07: read a grid, whiten vectors, write a recipe."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exercises.mistakes import recognize
from exercises.verdict import exercise
from mrl_tutorial.grid import Grid, default_dims
from mrl_tutorial.recipes.recipe import Recipe


@exercise("a share of the full model, so that layers can be compared.")
def share(function: Callable[[Grid, int, int], float]) -> str | None:
    """Exercise "read the grid": (grid, layer, dim) to the cell's quality as a share of the full model's."""
    values = np.array([[0.1, 0.2, 0.3], [0.2, 0.25, 0.15], [0.25, 0.55, 0.5]])
    grid = Grid("made up", "made up", "ndcg@10", "dev", (1, 2, 3), (8, 16, 32), values)
    got = function(grid, 2, 8)
    if np.ndim(got) or got is None:
        return "the result must be one number."
    mistakes = {
        "that is the quality itself; divide it by the full model's.": 0.2,
        "that is in percent; a share of all is 1.": 40.0,
        "divide by the quality of the last layer at full width, even where another cell is better.": 0.2 / 0.55,
        "divide by the last layer at full width, not by this layer's own.": 0.2 / 0.15,
        "divide by the last layer at full width, not by the last layer at this dimension.": 0.8,
        "you divided the full model's quality by the cell's: the other way round.": 2.5,
        "row 2 of grid.values is layer 3 (Python counts from 0): grid.at(layer, dim) takes the layer's number.": 0.5,
    }
    if (hint := recognize(got, mistakes)) is not None:
        return hint
    for layer, dim in [(2, 8), (1, 16), (3, 32)]:
        want, got = grid.at(layer, dim) / grid.at(3, 32), function(grid, layer, dim)
        if not np.isclose(got, want):
            return f"on a made-up grid cell ({layer}, {dim}) has {want:.2f} of the full model's quality, not {got}."
    return None


@exercise("mean 0, variance 1 in every direction, the loudest first: whitened.")
def whiten(function: Callable[[np.ndarray], np.ndarray]) -> str | None:
    """Exercise "whitening in five lines": (N, D) to (N, D), centered, uncorrelated, variance 1, loudest first."""
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    x = rng.normal(size=(400, 4)) * [1.0, 8.0, 2.0, 4.0] @ rotation + [5.0, 0.0, -3.0, 1.0]
    given = x.copy()
    got = function(x)
    if got is None or np.shape(got) != x.shape:
        return f"for {x.shape} the result must have the same shape, yours has {np.shape(got)}."
    if not np.array_equal(x, given):
        return "the vectors that were passed in have changed; make new ones, others may still need the originals."
    got, covariance = np.asarray(got), np.cov(np.asarray(got).T)
    if not np.isfinite(got).all():
        return "the result holds NaN or infinity: is a variance that you take the root of negative?"
    if np.abs(got.mean(0)).max() > 0.01:
        return "the mean is still there: take x.mean(0) off before anything else."
    variances, directions = np.linalg.eigh(np.cov(x.T))
    widest_first = directions[:, ::-1]
    agree = np.abs(np.corrcoef(got.T, (x @ widest_first).T)[:4, 4:])  # of each column with each principal direction
    correlated = np.abs(covariance - np.diag(np.diag(covariance))).max() > 0.01 * np.diag(covariance).max()
    if correlated and np.allclose(np.diag(covariance), 1, atol=0.01):
        return "every coordinate has variance 1, but they still correlate: rotate to the principal directions first."
    if correlated:
        return "the coordinates still correlate: are the directions the columns of what eigh returns (x @ directions)?"
    return _scaled(covariance, agree, variances)


def _scaled(covariance: np.ndarray, agree: np.ndarray, variances: np.ndarray) -> str | None:
    """What is wrong with uncorrelated coordinates; agree (D, D): their correlation with each principal direction."""
    found = np.diag(covariance)
    if np.allclose(np.sort(found), variances, rtol=0.01):
        return "nothing correlates now, but loud directions are still loud: divide by the standard deviation."
    if np.allclose(np.sort(found), np.sort(1 / variances), rtol=0.01):
        return "you divided by the variance; divide by its root, the standard deviation."
    if not np.allclose(found, 1, atol=0.01):
        return f"every coordinate should have variance 1, yours have {found.round(2).tolist()}."
    if np.allclose(np.diag(agree[::-1]), 1, atol=0.01):
        return (
            "eigh returns the smallest variance first; reverse the columns, or prefixes keep the faintest directions."
        )
    if not np.allclose(np.diag(agree), 1, atol=0.01):
        return "white, but the directions are not in order: leave them as principal components, loudest first."
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
