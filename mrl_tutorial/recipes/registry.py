"""The published methods as recipes: weight grids over loss terms."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, layer_weights, suggestion
from mrl_tutorial.recipes.learned_weights import Learned
from mrl_tutorial.recipes.recipe import Recipe, rectangles, term_name
from mrl_tutorial.recipes.two_dimensional import ese_code, retrieval_2dmse, starbucks, two_d_mse_v1_st
from mrl_tutorial.recipes.weight_grids import cells, columns, columns_with

__all__ = ["LAYER_WEIGHTS", "RECIPES", "Recipe", "get_recipe", "layer_weights", "rectangles", "term_name"]


def full_size(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """ℓ(L, D): the whole model only."""
    dims = columns_with(dims, width, width)
    return Recipe("full-size", {"main": cells(n_layers, dims, [(n_layers, width, 1)])}, dims=dims)


def separate(n_layers: int, width: int, layer: int, dim: int, dims: Sequence[int] | None = None) -> Recipe:
    """ℓ(l, d): one sub-model by itself; the backbone stops after block l."""
    check_cells([layer], [dim], n_layers, width)
    dims = columns_with(dims, width, dim)
    return Recipe(f"separate:{layer},{dim}", {"main": cells(n_layers, dims, [(layer, dim, 1)])}, dims=dims)


def mrl(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """Σ_d ℓ(L, d): every dimension of the last layer."""
    dims = columns(dims, width)
    return Recipe("mrl", {"main": cells(n_layers, dims, [(n_layers, d, 1) for d in dims])}, dims=dims)


def two_d_mse_v1(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """One layer n < L and one d < D a step: ℓ(L,D) + ℓ(n,D) + ℓ(L,d) + ℓ(n,d) + KL(L,D ‖ n,D) + KL(L,d ‖ n,d)."""
    dims = columns_with(dims, width, width)
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
    n_layers: int, width: int, dims: Sequence[int] | None = None, layer_weights: object = "uniform", *,
    kl: str | None = None, detach: bool = True, without: int | None = None,
) -> Recipe:  # fmt: skip
    """Σ_l w_l Σ_d ℓ(l, d): every cell of the grid, every step. kl: + w_l KL from (L, d) to (l, d) for l < L, over
    "features" or "scores"; detach=False lets the teacher learn too. without: a layer whose cells have no loss (the last one
    still teaches where there is a kl). Raises InputError for another kl, and for a layer that the model lacks or that
    would leave none."""
    if kl not in (None, "features", "scores"):
        raise InputError(f"all-cells: kl={kl!r} is unknown: give features, scores or None")
    dims, layers = columns(dims, width), np.arange(1, n_layers + 1)
    if without is not None and (without not in layers or n_layers == 1):
        raise InputError(f"all-cells without layer {without} is impossible: this model has layers 1 to {n_layers}")
    name = "all-cells" if without is None else f"all-cells+without-{without}"
    weights = {"main": np.outer(_weights(layer_weights, n_layers) * (layers != without), np.ones(len(dims)))}
    if kl is None:
        return Recipe(name, weights, dims=dims)
    weights[f"kl-{kl}"] = weights["main"] * (layers < n_layers)[:, None]
    options = {f"kl-{kl}": {"teacher": "last-layer", "detach": detach}}
    return Recipe(f"{name}+kl-{kl}" + ("" if detach else "+attached"), weights, dims=dims, options=options)


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
    "2dmse-v1-st": Entry(
        two_d_mse_v1_st,
        "sentence-transformers 6.2, Matryoshka2dLoss",
        "as 2dmse-v1, but each layer draws one dimension, layer 0 (the embedding table) among them",
    ),
    "ese": Entry(ese, "arXiv 2402.14776 v2", "every layer at k = 128, log weights, aligned to its PCA"),
    "ese-code": Entry(
        ese_code,
        "AnglE 0.6.1, AngleESETrainer",
        "ese as its code runs: layers 0 to L-2, averaged, and (L, D); its own PCA",
    ),
    "retrieval-2dmse": Entry(
        retrieval_2dmse,
        "arXiv 2411.17299",
        "every layer at 128, log weights, and (L, D); switches +score +score-last +full-dim +dims +fixed-doc +align",
    ),
    "starbucks": Entry(
        starbucks,
        "arXiv 2410.13230",
        "a fixed diagonal of cells, KL over scores from (L, D); other cells as starbucks:1,32+2,64+6,384",
    ),
    "all-cells": Entry(
        all_cells,
        "this course",
        "every layer, every dimension, every step; switches +without-3 (any layer), +kl-features or +kl-scores, +attached",
    ),
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

    layer_weights="learned" or `Learned(rate)` trains them. Names may carry options: separate:3,128,
    starbucks:1,32+6,384, retrieval-2dmse+score+dims.

    Raises InputError for an unknown name, cells that the model lacks, or an option that the recipe does not have.
    """
    given = {key: value for key, value in (("dims", dims), ("layer_weights", layer_weights)) if value is not None}
    given |= options
    kind, named = _parse(name, width)
    given = named | given
    if kind not in RECIPES:
        raise InputError(f"unknown recipe {name!r}{suggestion(name, RECIPES)}")
    entry = RECIPES[kind]
    for key in given:
        if key not in inspect.signature(entry.builder).parameters:
            raise InputError(f"recipe {name!r} has no option {key}: leave it out")
    if dims is not None:
        check_cells(None, dims, n_layers, width)
    built = entry.builder(n_layers, width, **given)
    learned = LAYER_WEIGHTS.get(layer_weights) if isinstance(layer_weights, str) else layer_weights
    learned = learned if isinstance(learned, Learned) else None
    return replace(built, source=entry.source, line=entry.line, learned=learned).validate(n_layers, width)


# what may follow a recipe's name, each after a +; dims needs the width, see _parse
SWITCHES: dict[str, dict[str, dict]] = {
    "retrieval-2dmse": {
        "score": {"score": "same-layer"}, "score-last": {"score": "last-layer"}, "full-dim": {"full_dim": True},
        "dims": {}, "fixed-doc": {"fixed_doc": True}, "align": {"align": "pca"}, "align-code": {"align": "code-pca"},
    },
    "all-cells": {"kl-features": {"kl": "features"}, "kl-scores": {"kl": "scores"}, "attached": {"detach": False}},
}  # fmt: skip


def _parse(name: str, width: int) -> tuple[str, dict]:
    """A recipe's name as written to its entry in RECIPES and the builder's options that the name carries."""
    if name == "separate" or name.startswith("separate:"):
        match = re.fullmatch(r"separate:\s*(\d+)\s*,\s*(\d+)", name)
        if not match:
            raise InputError(f"{name!r}: name the layer and the dimension, as in separate:3,128")
        return "separate:l,d", {"layer": int(match[1]), "dim": int(match[2])}
    if name.startswith("starbucks:"):
        pairs = [re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", pair) for pair in name[10:].split("+")]
        if not all(pairs):
            raise InputError(f"{name!r}: name each cell's layer and dimension, as in starbucks:1,32+2,64+6,384")
        return "starbucks", {"pairs": [(int(pair[1]), int(pair[2])) for pair in pairs]}
    kind, *switches = name.split("+")
    if kind not in SWITCHES:
        return name, {}
    options: dict = {}
    for switch in switches:
        left_out = re.fullmatch(r"without-(\d+)", switch)
        if left_out and kind == "all-cells":
            if "without" in options:
                raise InputError(f"{name!r} leaves out two layers: give one +without-…")
            options["without"] = int(left_out[1])
            continue
        if switch not in SWITCHES[kind]:
            known = [*SWITCHES[kind], *(["without-3"] if kind == "all-cells" else [])]
            raise InputError(f"{name!r}: unknown switch {switch!r}{suggestion(switch, known)}")
        options |= {"dims": default_dims(width)[:-1]} if switch == "dims" else SWITCHES[kind][switch]
    if options.get("detach") is False and "kl" not in options:
        raise InputError(f"{name!r}: without a KL there is no teacher to attach; write all-cells+kl-features+attached")
    return kind, options


_weights = layer_weights  # builders have an argument of that name
