"""Checks of the exercises: each takes what the reader wrote and returns a Verdict, true or false, that says what is still
wrong and why. They never raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mrl_tutorial.grid import Grid, default_dims
from mrl_tutorial.recipes.recipe import Recipe


@dataclass(frozen=True)
class Verdict:
    """What a check found; true where the exercise is solved. A notebook shows its sentence."""

    solved: bool
    sentence: str

    def __bool__(self) -> bool:
        return self.solved

    def __repr__(self) -> str:
        return f"{'Right' if self.solved else 'Not yet'}: {self.sentence}"


def _run(check: Callable[[], str | None], praise: str) -> Verdict:
    try:
        problem = check()
    except NotImplementedError:
        problem = "the stub is still there; replace the line that raises NotImplementedError."
    except Exception as error:
        problem = f"your code stopped with {type(error).__name__}: {error}"
    return Verdict(problem is None, problem or praise)


def truncate(function: Callable[[np.ndarray, int], np.ndarray]) -> Verdict:
    """Exercise "cut a vector": (N, D) and d to (N, d) of unit length, cut first, then normalised."""

    def check() -> str | None:
        x = np.random.default_rng(0).normal(size=(5, 12)) * [[1], [2], [3], [4], [5]]
        given = x.copy()
        got = function(x, 4)
        if got is None or np.shape(got) != (5, 4):
            return f"for (5, 12) and d = 4 the result must have shape (5, 4), yours has {np.shape(got)}."
        if not np.array_equal(x, given):
            return "the vectors that were passed in have changed; make new ones, others may still need the originals."
        want = x[:, :4] / np.linalg.norm(x[:, :4], axis=1, keepdims=True)
        early = (x / np.linalg.norm(x, axis=1, keepdims=True))[:, :4]
        if np.allclose(got, x[:, :4]):
            return "that is the prefix, but not of length 1: a dot product of two such vectors is no cosine."
        if np.allclose(got, early):
            return "you normalised first and cut afterwards; the cut throws length away again, so cut, then normalise."
        if not np.allclose(got, want):
            return "divide every row by its own length: np.linalg.norm(..., axis=1, keepdims=True)."
        return None

    return _run(check, "cut, then normalise; in this order every prefix is a unit vector.")


def smallest_dim(function: Callable[[Grid, int, float], int]) -> Verdict:
    """Exercise "how far can I cut": (grid, layer, share) to the smallest dimension that keeps that share of the quality."""

    def check() -> str | None:
        values = np.array([[0.1, 0.2, 0.3, 0.4], [0.2, 0.46, 0.44, 0.5]])
        grid = Grid("made up", "made up", "ndcg@10", "dev", (1, 2), (8, 16, 32, 64), values)
        for layer, share, want in [(2, 0.9, 16), (2, 0.3, 8), (2, 1.0, 64), (1, 0.2, 8), (1, 0.7, 64)]:
            got = function(grid, layer, share)
            if got != want:
                hint = (
                    "measure against the full model (last layer, full width), not against this layer's own best. "
                    if layer == 1
                    else ""
                )
                return (
                    f"on a made-up grid, layer {layer}, a share of {share} of {values[-1, -1]} first is reached at "
                    f"dimension {want}, yours says {got}. {hint}Quality need not rise with every step: take the smallest that is enough."
                )
        return None

    return _run(check, "the smallest dimension that is enough, measured against the full model.")


def recipe(found: Recipe, n_layers: int, width: int, *, layer: int) -> Verdict:
    """Exercise "your own recipe": weights on one layer at every default dimension, and on the full model."""

    def check() -> str | None:
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

    return _run(check, f"training will push on layer {layer} at every dimension, and keep the full model in sight.")
