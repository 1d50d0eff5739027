"""The published 2D methods as their papers and libraries run them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.recipes.layer_weights import Choice
from mrl_tutorial.recipes.layer_weights import layer_weights as weights_of
from mrl_tutorial.recipes.recipe import Recipe, columns_of, weight_grid

#: (layers, width) -> the cells that Starbucks trains
STARBUCKS = {
    (6, 384): ((1, 16), (2, 32), (3, 64), (4, 128), (5, 256), (6, 384)),
    (12, 768): ((2, 32), (4, 64), (6, 128), (8, 256), (10, 512), (12, 768)),
}


def two_d_mse_v1(n_layers: int, width: int, dims: Sequence[int] | None = None) -> Recipe:
    """One layer n < L and one d < D per step: ℓ(L,D) + ℓ(n,D) + ℓ(L,d) + ℓ(n,d) + KL(L,D ‖ n,D) + KL(L,d ‖ n,d).

    Source: 2DMSE, arXiv 2402.14776 v1. Raises InputError where there is no such layer or dimension."""
    columns = columns_of(dims, width, width)
    if n_layers < 2 or len(columns) < 2:
        raise InputError("2dmse-v1 samples a layer below the last and a dimension below the width: this grid has none")
    below, cut = n_layers - 1, len(columns) - 1

    def grids(layer_share: np.ndarray, dim_share: np.ndarray) -> dict[str, np.ndarray]:
        layer, dim = np.append(layer_share, 0.0), np.append(dim_share, 0.0)
        last, full = np.eye(n_layers)[-1], np.eye(len(columns))[-1]
        return {"main": np.outer(last + layer, full + dim), "kl-features": np.outer(layer, full + dim)}

    def sampler(rng: np.random.Generator) -> dict[str, np.ndarray]:
        layer, dim = rng.integers(below), rng.integers(cut)
        return grids(np.eye(below)[layer], np.eye(cut)[dim])

    mean = grids(np.full(below, 1 / below), np.full(cut, 1 / cut))
    options = {"kl-features": {"teacher": "last-layer", "temperature": 1.0}}
    return Recipe("2dmse-v1", mean, dims=columns, sampler=sampler, options=options)


def two_d_mse_v1_st(
    n_layers: int, width: int, dims: Sequence[int] | None = None, layers_per_step: int = 1, dims_per_step: int = 1
) -> Recipe:
    """ℓ(L, d) + ℓ(n, d') + 0.3 KL(L,D ‖ n,D), T = 0.3: each step samples d, then n in 0..L-1, then d'.

    layers_per_step, dims_per_step: how many are sampled, -1 for all; ℓ at the sampled layers is averaged over them, the
    KL is not. A step samples what the library does after `random.seed(int(rng.integers(2**32)))`.
    Source: sentence-transformers 6.2, `Matryoshka2dLoss`. Raises InputError for a number that cannot be sampled.
    """
    trained = columns_of(dims, width)
    columns = columns_of(dims, width, width)  # the KL is at full width, whatever is trained
    for what, number in (("layers_per_step", layers_per_step), ("dims_per_step", dims_per_step)):
        if number != int(number) or (number < 1 and number != -1):
            raise InputError(f"2dmse-v1-st: {what} {number} is impossible: give a positive number, or -1 for all")
    n_sampled = layers_per_step if 0 < layers_per_step < n_layers else n_layers
    share = (dims_per_step if 0 < dims_per_step < len(trained) else len(trained)) / len(trained)
    in_trained, full = np.isin(columns, trained).astype(float), np.eye(len(columns))[-1]

    def sample_dims(source: random.Random) -> np.ndarray:
        if share == 1:
            return in_trained
        widest_first = trained[::-1]
        sampled = source.sample(range(len(trained)), dims_per_step)
        return np.isin(columns, [widest_first[i] for i in sampled]).astype(float)

    def sampler(rng: np.random.Generator) -> dict[str, np.ndarray]:
        source = random.Random(int(rng.integers(2**32)))
        main, kl = np.zeros((n_layers + 1, len(columns))), np.zeros((n_layers + 1, len(columns)))
        main[-1] = sample_dims(source)
        for layer in source.sample(range(n_layers), n_sampled) if n_sampled < n_layers else range(n_layers):
            main[layer] = sample_dims(source) / n_sampled
            kl[layer] = 0.3 * full
        return {"main": main, "kl-features": kl}

    main = np.outer(np.append(np.full(n_layers, 1 / n_layers), 1), share * in_trained)
    kl = np.outer(np.append(np.full(n_layers, n_sampled / n_layers), 0), 0.3 * full)
    return Recipe(
        "2dmse-v1-st",
        {"main": main, "kl-features": kl},
        tuple(range(n_layers + 1)),
        columns,
        sampler=None if n_sampled == n_layers and share == 1 else sampler,
        options={"kl-features": {"teacher": "last-layer", "temperature": 0.3}},
        embeddings=True,
    )


def ese(n_layers: int, width: int, dims: Sequence[int] = (128,), layer_weights: Choice = "log") -> Recipe:
    """Σ_l w_l [ℓ(l,k) + align(l,k)], k = 128, w = log: every layer, one width, pulled to its principal components.

    Source: ESE, arXiv 2402.14776 v2. Raises InputError where k exceeds the width."""
    columns = _ese_columns("ese", dims, width)
    grid = np.outer(weights_of(layer_weights, n_layers), np.isin(columns, dims))
    return Recipe("ese", {"main": grid, "align": grid}, dims=columns, options={"align": {"target": "pca"}})


def ese_code(n_layers: int, width: int, dims: Sequence[int] = (128,)) -> Recipe:
    """ℓ(L,D) + ℓ(L,k) + align(L,k) + Σ_{i=0}^{L-2} [ℓ(i,k) + align(i,k)] / (1 + ln(1+i)) / (L-1), k = 128.

    As the code runs, with its own target (`alignment.code_pca`): the embedding table's output, i = 0, counts most, and
    layer L-1 is never trained. Source: AnglE 0.6.1, `AngleESETrainer`. Raises InputError where k exceeds the width.
    """
    columns = _ese_columns("ese-code", dims, width)
    if n_layers < 2:
        raise InputError("ese-code averages over the layers below the last two: this model has one layer")
    below = 1 / (1 + np.log(1 + np.arange(n_layers - 1))) / (n_layers - 1)  # layers 0 .. L-2
    align = np.outer([*below, 0, 1], np.isin(columns, dims))
    main = align.copy()
    main[-1, -1] += 1
    layers, options = tuple(range(n_layers + 1)), {"align": {"target": "code-pca"}}
    return Recipe("ese-code", {"main": main, "align": align}, layers, columns, options=options, embeddings=True)


def _ese_columns(name: str, dims: Sequence[int], width: int) -> tuple[int, ...]:
    if max(dims) > width:
        raise InputError(f"{name} compresses to {max(dims)} dimensions, but this model has {width}: give dims up to it")
    return columns_of(None, width, *dims)


def retrieval_switches(width: int) -> dict[str, dict[str, Any]]:
    """What may follow the name retrieval-2dmse after a +, and the options that it stands for."""
    return {
        "score": {"score": "same-layer"},
        "score-last": {"score": "last-layer"},
        "full-dim": {"full_dim": True},
        "dims": {"dims": default_dims(width)[:-1]},
        "fixed-doc": {"fixed_doc": True},
        "align": {"align": "pca"},
        "align-code": {"align": "code-pca"},
    }


def retrieval_2dmse(
    n_layers: int,
    width: int,
    dims: Sequence[int] = (128,),
    layer_weights: Choice = "log",
    *,
    score: str | None = None,
    full_dim: bool = False,
    fixed_doc: bool = False,
    align: str | None = None,
) -> Recipe:
    """ℓ(L,D) + Σ_d ℓ(L,d) + Σ_{l<L} w_l Σ_d ℓ(l,d) over d in dims, w = log. Source: arXiv 2411.17299.

    Switches, each adding to the cells (l, d): score: `score_align` to the full-width scores of the "same-layer" or the
    "last-layer"; align: `align` to "pca" or "code-pca". full_dim: + w_l ℓ(l, D). dims: which widths, all below D.
    fixed_doc: every document vector from layer L. score and full_dim together (`+score+full-dim`) have no public
    reference: no paper or code that we know of trains them. Raises InputError for a width or switch that cannot be.
    """
    if not len(dims) or max(dims) >= width:
        raise InputError(f"retrieval-2dmse trains {list(dims)} beside the full width {width}: give dims below that")
    for what, value, known in (("score", score, ("same-layer", "last-layer")), ("align", align, ("pca", "code-pca"))):
        if value is not None and value not in known:
            raise InputError(f"retrieval-2dmse: {what}={value!r} is unknown: give {known[0]}, {known[1]} or None")
    columns = columns_of(None, width, *dims)
    layers = weights_of(layer_weights, n_layers)
    short = np.outer(layers, np.isin(columns, dims))
    main = short.copy()
    main[:, -1] = layers if full_dim else np.append(np.zeros(n_layers - 1), layers[-1])
    weights: dict[str, np.ndarray] = {"main": main}
    options: dict[str, dict[str, Any]] = {"main": {"fixed_document": True}} if fixed_doc else {}
    if score:
        teacher = "full-width" if score == "same-layer" else "full"
        weights["score-align"], options["score-align"] = short, {"teacher": teacher, "fixed_document": fixed_doc}
    if align:
        weights["align"], options["align"] = short, {"target": align}
    dims = tuple(sorted(dims))
    given = {"score": score, "full_dim": full_dim, "dims": dims, "fixed_doc": fixed_doc, "align": align}
    on = [switch for switch, means in retrieval_switches(width).items() if means.items() <= given.items()]
    return Recipe("+".join(["retrieval-2dmse", *on]), weights, dims=columns, options=options)


def starbucks(
    n_layers: int,
    width: int,
    dims: Sequence[int] | None = None,
    pairs: Sequence[tuple[int, int]] | None = None,
    kl_weight: float = 1.0,
) -> Recipe:
    """Σ ℓ(l, d) + kl_weight Σ KL over scores from (L, D), over a fixed diagonal of (layer, dimension) pairs.

    pairs: default `STARBUCKS` for 6 x 384 and 12 x 768. Source: arXiv 2410.13230. Raises InputError for another model
    without pairs, or a pair that the model lacks.
    """
    known = STARBUCKS.get((n_layers, width))
    pairs = known if pairs is None else pairs
    if pairs is None:
        dim = min(16, width)
        raise InputError(
            f"starbucks has no pairs for {n_layers} layers x {width}: give (layer, dimension) pairs, by name "
            f"(starbucks:1,{dim}+{n_layers},{width}) or pairs=[(1, {dim}), ({n_layers}, {width})]"
        )
    for layer, dim in pairs:
        check_cells([layer], [dim], n_layers, width)
    columns = columns_of(dims, width, *(dim for _, dim in pairs))
    weights = {"main": weight_grid(n_layers, columns, [(layer, dim, 1) for layer, dim in pairs])}
    students = [(layer, dim, kl_weight) for layer, dim in pairs if (layer, dim) != (n_layers, width)]
    if students and kl_weight:
        weights["kl-scores"] = weight_grid(n_layers, columns, students)
    name = "starbucks" if tuple(pairs) == known else "starbucks:" + "+".join(f"{layer},{d}" for layer, d in pairs)
    options = {"kl-scores": {"teacher": "full"}} if "kl-scores" in weights else {}
    return Recipe(name, weights, dims=columns, options=options)
