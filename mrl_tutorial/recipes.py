"""The published methods as recipes: weight grids over loss terms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from .errors import InputError
from .grid import check_cells, default_dims
from .layer_weights import LAYER_WEIGHTS, layer_weights, suggestion
from .recipe import Recipe, rectangles, term_name

__all__ = ["LAYER_WEIGHTS", "RECIPES", "Recipe", "get_recipe", "layer_weights", "rectangles", "term_name"]


def full_size(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """ℓ(L, D): the whole model only."""
    dims = _with(dims, width, width)
    return Recipe("full-size", {"main": _cells(n_layers, dims, [(n_layers, width, 1)])}, dims=dims)


def separate(n_layers: int, width: int, layer: int, dim: int, dims: Sequence[int] | None = None) -> Recipe:
    """ℓ(l, d): one sub-model by itself; the backbone stops after block l."""
    check_cells([layer], [dim], n_layers, width)
    dims = _with(dims, width, dim)
    return Recipe(f"separate:{layer},{dim}", {"main": _cells(n_layers, dims, [(layer, dim, 1)])}, dims=dims)


def mrl(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """Σ_d ℓ(L, d): every dimension of the last layer."""
    dims = _dims(dims, width)
    return Recipe("mrl", {"main": _cells(n_layers, dims, [(n_layers, d, 1) for d in dims])}, dims=dims)


def two_d_mse_v1(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """One layer n < L and one d < D a step: ℓ(L,D) + ℓ(n,D) + ℓ(L,d) + ℓ(n,d) + KL(L,D ‖ n,D) + KL(L,d ‖ n,d)."""
    dims = _with(dims, width, width)
    if n_layers < 2 or len(dims) < 2:
        raise InputError("2dmse-v1 draws a layer below the last and a dimension below the width: this grid has none")

    def grids(layer_share: np.ndarray, dim_share: np.ndarray) -> dict[str, np.ndarray]:
        below, cut = np.append(layer_share, 0.0), np.append(dim_share, 0.0)
        last, full = np.eye(n_layers)[-1], np.eye(len(dims))[-1]
        return {"main": np.outer(last + below, full + cut), "kl-features": np.outer(below, full + cut)}

    def sampler(rng: np.random.Generator) -> dict[str, np.ndarray]:
        layer, dim = rng.integers(n_layers - 1), rng.integers(len(dims) - 1)
        return grids(np.eye(n_layers - 1)[layer], np.eye(len(dims) - 1)[dim])

    mean = grids(np.full(n_layers - 1, 1 / (n_layers - 1)), np.full(len(dims) - 1, 1 / (len(dims) - 1)))
    options = {"kl-features": {"teacher": "last-layer", "temperature": 1.0}}
    return Recipe("2dmse-v1", mean, dims=dims, sampler=sampler, options=options)


def ese(n_layers: int, width: int, dims: Sequence[int] = (128,), layer_weights: object = "log") -> Recipe:
    """Σ_l w_l [ℓ(l,k) + align(l,k)], k = 128, w = log: every layer, one width, pulled to its principal components."""
    if max(dims) > width:
        raise InputError(f"ese compresses to {max(dims)} dimensions, but this model has {width}: give dims below that")
    chosen, dims = set(dims), tuple(sorted({*default_dims(width), *dims}))
    grid = np.outer(_weights(layer_weights, n_layers), [d in chosen for d in dims])
    return Recipe("ese", {"main": grid, "align": grid}, dims=dims, options={"align": {"target": "pca"}})


def all_cells(
    n_layers: int, width: int, dims: Sequence[int] | None = None, layer_weights: object = "uniform"
) -> Recipe:
    """Σ_l w_l Σ_d ℓ(l, d): every cell of the grid, every step."""
    dims = _dims(dims, width)
    return Recipe("all-cells", {"main": np.outer(_weights(layer_weights, n_layers), np.ones(len(dims)))}, dims=dims)


class Entry(NamedTuple):
    """A recipe on offer: builder(n_layers, width, dims=…, layer_weights=…) -> Recipe, its source, one line."""

    builder: Callable[..., Recipe]
    source: str
    line: str


# "separate:l,d" is asked for with numbers: separate:3,128
RECIPES: dict[str, Entry] = {
    "full-size": Entry(full_size, "baseline", "the whole model only: loss at (L, D)"),
    "separate:l,d": Entry(separate, "baseline", "one sub-model alone: backbone cut to l blocks, loss at (l, d)"),
    "mrl": Entry(mrl, "arXiv 2205.13147", "last layer, every dimension, summed"),
    "2dmse-v1": Entry(two_d_mse_v1, "arXiv 2402.14776 v1", "each step one random layer and dimension, KL to the last"),
    "ese": Entry(ese, "arXiv 2402.14776 v2", "every layer at k = 128, log weights, aligned to its PCA"),
    "all-cells": Entry(all_cells, "this course", "every layer, every dimension, every step"),
}


def get_recipe(
    name: str,
    n_layers: int,
    width: int,
    dims: Sequence[int] | None = None,
    layer_weights: str | Sequence[float] | Callable | None = None,
    **options,
) -> Recipe:
    """The recipe `name` for a model of `n_layers` x `width`, validated. `dims`, `layer_weights`: instead of its own.

    Raises InputError for an unknown name, cells that the model lacks, or an option that the recipe does not have.
    """
    given = {key: value for key, value in (("dims", dims), ("layer_weights", layer_weights)) if value is not None}
    given |= options
    kind = name
    if name == "separate" or name.startswith("separate:"):
        match = re.fullmatch(r"separate:\s*(\d+)\s*,\s*(\d+)", name)
        if not match:
            raise InputError(f"{name!r}: name the layer and the dimension, as in separate:3,128")
        kind = "separate:l,d"
        given |= {"layer": int(match[1]), "dim": int(match[2])}
    if kind not in RECIPES:
        raise InputError(f"unknown recipe {name!r}{suggestion(name, RECIPES)}")
    entry = RECIPES[kind]
    for key in given:
        if key not in inspect.signature(entry.builder).parameters:
            raise InputError(f"recipe {name!r} has no option {key}: leave it out")
    if dims is not None:
        check_cells(None, dims, n_layers, width)
    built = entry.builder(n_layers, width, **given)
    return replace(built, source=entry.source, line=entry.line).validate(n_layers, width)


def _cells(n_layers: int, dims: Sequence[int], cells: Sequence[tuple[int, int, float]]) -> np.ndarray:
    """(n_layers, len(dims)), zero but in the given (layer, dim, weight) cells."""
    grid = np.zeros((n_layers, len(dims)))
    for layer, dim, weight in cells:
        grid[layer - 1, list(dims).index(dim)] = weight
    return grid


def _dims(dims: Sequence[int] | None, width: int) -> tuple[int, ...]:
    return default_dims(width) if dims is None else tuple(sorted({int(d) for d in dims}))


def _with(dims: Sequence[int] | None, width: int, dim: int) -> tuple[int, ...]:
    """The columns of the grid: `dims`, and `dim` where it is not among them."""
    return tuple(sorted({*_dims(dims, width), dim}))


_weights = layer_weights  # builders have an argument of that name
