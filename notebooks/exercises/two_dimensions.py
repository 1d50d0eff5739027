"""Checks of lesson 08: the direction of KL, one step of 2DMSE, the signatures of training runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from exercises.mistakes import recognize
from exercises.verdict import exercise
from mrl_tutorial.grid import default_dims
from mrl_tutorial.recipes.registry import get_recipe

SIGNATURES = ("one dimension", "one layer", "not converging", "overfitting", "healthy")


@exercise("KL(teacher || student): it is the teacher that says which outcomes count.")
def kl(function: Callable[[np.ndarray, np.ndarray], float]) -> str | None:
    """Exercise "the direction of KL": (teacher p, student q), both (N,), to KL(p || q)."""
    p, q = np.array([0.7, 0.2, 0.1]), np.array([0.3, 0.3, 0.4])
    want, back = float((p * np.log(p / q)).sum()), float((q * np.log(q / p)).sum())
    got = function(p, q)
    if got is None or np.ndim(got):
        return f"return one number; for three outcomes yours has shape {np.shape(got)}."
    mistakes = {
        "that is KL(q || p): the weights in front of the logarithm must be the teacher's, p.": back,
        "the sign is wrong: it is log(p / q), and a KL divergence is never negative.": -want,
        "that is in bits; use the natural logarithm, as the losses do.": want / np.log(2),
        "that is the cross-entropy: the logarithm is of p / q, not of q alone.": -float((p * np.log(q)).sum()),
        "add the terms up; you took their mean.": want / 3,
    }
    if hint := recognize(got, mistakes):
        return hint
    if not np.isclose(got, want):
        return f"for p = {p} and q = {q} it should be {want:.4f}, yours is {float(got):.4f}."
    if not np.isclose(function(p, p), 0):
        return "of a distribution to itself it must be 0."
    got = function(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
    if not np.isclose(got, np.log(2)):
        return f"where p is 0 the outcome adds nothing (0 log 0 = 0); for [1, 0] and [.5, .5] yours is {got}."
    return None


@exercise("four contrastive cells and two KL cells: exactly what the course's own recipe samples in a step.")
def v1_step(function: Callable[..., Mapping[str, np.ndarray]]) -> str | None:
    """Exercise "one step of 2DMSE": (layer, dim, n_layers, dims) to {"main": grid, "kl-features": grid}."""
    dims, n_layers = default_dims(384), 6
    for layer, dim in ((2, 32), (5, 8)):
        got = function(layer, dim, n_layers, dims)
        if not isinstance(got, Mapping) or set(got) != {"main", "kl-features"}:
            return 'return a dictionary with the grids "main" and "kl-features".'
        i, j = layer - 1, dims.index(dim)
        main, kl_grid = (np.asarray(got[name], dtype=float) for name in ("main", "kl-features"))
        for name, grid in (("main", main), ("kl-features", kl_grid)):
            if grid.shape != (n_layers, len(dims)):
                return (
                    f"the grid {name!r} has shape {grid.shape}: a row a layer, a column a dimension, "
                    f"{(n_layers, len(dims))}."
                )
        if main[layer, j] and not main[i, j]:
            return (
                f"layer {layer} is row {layer - 1}: Python counts from 0. (A published code base made this very slip.)"
            )
        want = np.zeros((n_layers, len(dims)))
        want[np.ix_([i, n_layers - 1], [j, len(dims) - 1])] = 1
        if not np.array_equal(main, want):
            return (
                f'"main" should have weight 1 in four cells: layers {layer} and {n_layers}, '
                f"dimensions {dim} and {dims[-1]}."
            )
        if kl_grid[-1].any():
            return "the last layer is the teacher: its distance to itself is 0, so give it no KL weight."
        want[-1] = 0
        if not np.array_equal(kl_grid, want):
            return (
                f'"kl-features" should have weight 1 where a student is: layer {layer}, '
                f"at {dim} and at {dims[-1]} dimensions."
            )
    step = get_recipe("2dmse-v1", n_layers, 384).step_weights(np.random.default_rng(3))
    i, j = (int(x[0]) for x in np.nonzero(step["kl-features"][:, :-1]))
    same = function(i + 1, dims[j], n_layers, dims)
    if all(np.array_equal(same[name], step[name]) for name in ("main", "kl-features")):
        return None
    return "it differs from a step that the course's recipe samples."


@exercise("five runs, five signatures: look at the loss first, at train against dev next, then at where the gain lies.")
def diagnose(function: Callable[..., str]) -> str | None:
    """Exercise "recognize the signature": (history (S,), train, dev, before (L, M) each) to one of `SIGNATURES`."""
    for name, case in _cases().items():
        got = function(*case)
        if got not in SIGNATURES:
            return f"return one of {', '.join(map(repr, SIGNATURES))}; yours is {got!r}."
        if got != name:
            return f"a made-up run that is {name!r} was called {got!r}. {_HINTS[name]}"
    return None


_HINTS = {
    "healthy": "Its loss falls, train and dev agree, and every cell gains.",
    "one dimension": "Compare the columns of dev - before: the gain of one is far above that of all the others.",
    "one layer": "Compare the rows of dev - before: the gain of one is far above that of all the others.",
    "not converging": "Compare the mean of the last quarter of the loss with that of the first.",
    "overfitting": "Compare the mean of train with that of dev.",
}


def _cases() -> dict[str, tuple[np.ndarray, ...]]:
    """Made-up runs, one a signature: loss of each step, quality on train, on dev, on dev before training."""
    rng = np.random.default_rng(4)
    before = np.full((6, 7), 0.1)
    falling = 60 * np.exp(-np.arange(80) / 20) + 40 + rng.normal(0, 0.5, 80)

    def grid(gain: np.ndarray | float) -> np.ndarray:
        return before + gain + rng.normal(0, 0.003, before.shape)

    dimension, layer = np.zeros((6, 7)), np.zeros((6, 7))
    dimension[:, 2], layer[0] = 0.2, 0.2
    rising = 100 + 20 * np.sin(np.arange(80)) + 0.2 * np.arange(80)
    return {
        "healthy": (falling, grid(0.2), grid(0.18), before),
        "one dimension": (falling, grid(dimension), grid(dimension), before),
        "one layer": (falling, grid(layer), grid(layer), before),
        "not converging": (rising, grid(0.01), grid(0.01), before),
        "overfitting": (falling, grid(0.8), grid(0.02), before),
    }
