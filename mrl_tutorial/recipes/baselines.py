"""What a two-dimensional method is compared with: the whole model, one sub-model, MRL, and every cell at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.recipes.layer_weights import Choice
from mrl_tutorial.recipes.layer_weights import layer_weights as weights_of
from mrl_tutorial.recipes.recipe import Recipe, columns_of, weight_grid


def full_size(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """ℓ(L, D): the whole model only."""
    return replace(separate(n_layers, width, n_layers, width, dims), name="full-size")


def separate(n_layers: int, width: int, layer: int, dim: int, dims: Sequence[int] | None = None) -> Recipe:
    """ℓ(l, d): one sub-model by itself; the backbone stops after block l.

    Raises InputError for a cell that the model lacks."""
    check_cells([layer], [dim], n_layers, width)
    columns = columns_of(dims, width, dim)
    return Recipe(f"separate:{layer},{dim}", {"main": weight_grid(n_layers, columns, [(layer, dim, 1)])}, dims=columns)


def mrl(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """Σ_d ℓ(L, d): every dimension of the last layer. Source: MRL, arXiv 2205.13147."""
    columns = columns_of(dims, width)
    return Recipe("mrl", {"main": weight_grid(n_layers, columns, [(n_layers, d, 1) for d in columns])}, dims=columns)


def all_cells(
    n_layers: int,
    width: int,
    dims: Sequence[int] | None = None,
    layer_weights: Choice = "uniform",
    *,
    kl: str | None = None,
    detach: bool = True,
    without: int | None = None,
) -> Recipe:
    """Σ_l w_l Σ_d ℓ(l, d): every cell of the grid, every step.

    kl: + w_l KL from (L, d) to (l, d) for l < L, over "features" or "scores", or + w_l KL over scores from the one cell
    (L, D) to all the others, "full"; detach=False lets the teacher learn too.
    without: a layer whose cells have no loss (the last one still teaches where there is a kl). Raises InputError for
    another kl, detach=False without one, and a layer that the model lacks or that would leave none.
    """
    if kl not in (None, "features", "scores", "full"):
        raise InputError(f"all-cells: kl={kl!r} is unknown: give features, scores, full or None")
    if kl is None and not detach:
        raise InputError("all-cells: no teacher to attach without a KL; give kl, or all-cells+kl-features+attached")
    columns, layers = columns_of(dims, width), np.arange(1, n_layers + 1)
    if without is not None and (without not in layers or n_layers == 1):
        raise InputError(f"all-cells without layer {without} is impossible: this model has layers 1 to {n_layers}")
    name = "all-cells" if without is None else f"all-cells+without-{without}"
    name += f"+{layer_weights}" if isinstance(layer_weights, str) and layer_weights != "uniform" else ""
    main = np.outer(weights_of(layer_weights, n_layers) * (layers != without), np.ones(len(columns)))
    if kl is None:
        return Recipe(name, {"main": main}, dims=columns)
    term, students = "kl-features" if kl == "features" else "kl-scores", (layers < n_layers)[:, None]
    if kl == "full":
        students = students | (np.array(columns) < width)
    weights = {"main": main, term: main * students}
    options = {term: {"teacher": "full" if kl == "full" else "last-layer", "detach": detach}}
    return Recipe(f"{name}+kl-{kl}" + ("" if detach else "+attached"), weights, dims=columns, options=options)
