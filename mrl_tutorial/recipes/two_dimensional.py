"""The published 2D methods as their libraries and papers run them: builders for `recipes.RECIPES`."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.recipes.layer_weights import layer_weights as weights_of
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.weight_grids import cells, columns, columns_with

#: (layers, width) -> the cells that Starbucks trains
STARBUCKS = {
    (6, 384): ((1, 16), (2, 32), (3, 64), (4, 128), (5, 256), (6, 384)),
    (12, 768): ((2, 32), (4, 64), (6, 128), (8, 256), (10, 512), (12, 768)),
}


def two_d_mse_v1_st(
    n_layers: int, width: int, dims: Sequence[int] | None = None, layers_per_step: int = 1, dims_per_step: int = 1
) -> Recipe:
    """ℓ(L, d) + ℓ(n, d') + 0.3 KL(L,D ‖ n,D), T = 0.3: d, then n in 0..L-1, then d' are drawn each step.

    layers_per_step, dims_per_step: how many are drawn, -1 for all; ℓ at the drawn layers is averaged over them, the KL
    is not. A step draws what the library draws from `random.seed(int(rng.integers(2**32)))`.
    Source: sentence-transformers 6.2, `Matryoshka2dLoss`. Raises InputError for a number that cannot be drawn.
    """
    trained = columns(dims, width)
    dims = columns_with(dims, width, width)  # the KL is at full width, whatever is trained
    for what, number in (("layers_per_step", layers_per_step), ("dims_per_step", dims_per_step)):
        if number != int(number) or (number < 1 and number != -1):
            raise InputError(f"2dmse-v1-st: {what} {number} is impossible: give a positive number, or -1 for all")
    n_drawn = layers_per_step if 0 < layers_per_step < n_layers else n_layers
    share = (dims_per_step if 0 < dims_per_step < len(trained) else len(trained)) / len(trained)
    in_trained, full = np.isin(dims, trained).astype(float), np.eye(len(dims))[-1]

    def draw_dims(source: random.Random) -> np.ndarray:
        if share == 1:
            return in_trained
        widest_first = trained[::-1]
        drawn = source.sample(range(len(trained)), dims_per_step)
        return np.isin(dims, [widest_first[i] for i in drawn]).astype(float)

    def sampler(rng: np.random.Generator) -> dict[str, np.ndarray]:
        source = random.Random(int(rng.integers(2**32)))
        main, kl = np.zeros((n_layers + 1, len(dims))), np.zeros((n_layers + 1, len(dims)))
        main[-1] = draw_dims(source)
        for layer in source.sample(range(n_layers), n_drawn) if n_drawn < n_layers else range(n_layers):
            main[layer] = draw_dims(source) / n_drawn
            kl[layer] = 0.3 * full
        return {"main": main, "kl-features": kl}

    main = np.outer(np.append(np.full(n_layers, 1 / n_layers), 1), share * in_trained)
    mean = {"main": main, "kl-features": np.outer(np.append(np.full(n_layers, n_drawn / n_layers), 0), 0.3 * full)}
    drawn = None if n_drawn == n_layers and share == 1 else sampler
    options = {"kl-features": {"teacher": "last-layer", "temperature": 0.3}}
    layers = tuple(range(n_layers + 1))
    return Recipe("2dmse-v1-st", mean, layers, dims, sampler=drawn, options=options, embeddings=True)


def ese_code(n_layers: int, width: int, dims: Sequence[int] = (128,)) -> Recipe:
    """ℓ(L,D) + ℓ(L,k) + align(L,k) + Σ_{i=0}^{L-2} [ℓ(i,k) + align(i,k)] / (1 + ln(1+i)) / (L-1), k = 128.

    As the code runs, with its own target (`alignment.code_pca`): the embedding table's output, i = 0, counts most, and
    layer L-1 is never trained. Source: AnglE 0.6.1, `AngleESETrainer`. Raises InputError where k exceeds the width.
    """
    if max(dims) > width:
        raise InputError(f"ese-code compresses to {max(dims)} dimensions, this model has {width}: give dims below that")
    if n_layers < 2:
        raise InputError("ese-code averages over the layers below the last two: this model has one layer")
    chosen, dims = columns(dims, width), columns_with((*default_dims(width), *dims), width)
    below = 1 / (1 + np.log(1 + np.arange(n_layers - 1))) / (n_layers - 1)  # layers 0 .. L-2
    align = np.outer([*below, 0, 1], np.isin(dims, chosen))
    main = align.copy()
    main[-1, -1] += 1
    layers, options = tuple(range(n_layers + 1)), {"align": {"target": "code-pca"}}
    return Recipe("ese-code", {"main": main, "align": align}, layers, dims, options=options, embeddings=True)


def retrieval_2dmse(
    n_layers: int, width: int, dims: Sequence[int] = (128,), layer_weights: object = "log", *,
    score: str | None = None, full_dim: bool = False, fixed_doc: bool = False, align: str | None = None,
) -> Recipe:  # fmt: skip
    """ℓ(L,D) + Σ_d ℓ(L,d) + Σ_{l<L} w_l Σ_d ℓ(l,d) over d in dims, w = log. Source: arXiv 2411.17299.

    Switches, each adding to the cells (l, d): score: `score_align` to the full-width scores of the "same-layer" or the
    "last-layer"; align: `align` to "pca" or "code-pca". full_dim: + w_l ℓ(l, D). dims: which widths, all below D.
    fixed_doc: every document vector from layer L. Raises InputError for a width or switch that cannot be.
    """
    if not len(dims) or max(dims) >= width:
        raise InputError(f"retrieval-2dmse trains {list(dims)} beside the full width {width}: give dims below that")
    for what, value, known in (
        ("score", score, ("same-layer", "last-layer")), ("align", align, ("pca", "code-pca")),
    ):  # fmt: skip
        if value is not None and value not in known:
            raise InputError(f"retrieval-2dmse: {what}={value!r} is unknown: give {known[0]}, {known[1]} or None")
    chosen, dims = columns(dims, width), columns_with((*default_dims(width), *dims), width)
    layers = weights_of(layer_weights, n_layers)
    short = np.outer(layers, np.isin(dims, chosen))
    main = short.copy()
    main[:, -1] = layers if full_dim else np.append(np.zeros(n_layers - 1), layers[-1])
    weights, options = {"main": main}, {"main": {"fixed_document": True}} if fixed_doc else {}
    if score:
        weights["score-align"] = short
        options["score-align"] = {
            "teacher": "full-width" if score == "same-layer" else "full", "fixed_document": fixed_doc,
        }  # fmt: skip
    if align:
        weights["align"], options["align"] = short, {"target": align}
    switches = {
        "score": score == "same-layer", "score-last": score == "last-layer", "full-dim": full_dim,
        "dims": chosen == default_dims(width)[:-1], "fixed-doc": fixed_doc, "align": align == "pca",
        "align-code": align == "code-pca",
    }  # fmt: skip
    name = "+".join(["retrieval-2dmse", *(switch for switch, on in switches.items() if on)])
    return Recipe(name, weights, dims=dims, options=options)


def starbucks(
    n_layers: int, width: int, dims: Sequence[int] | None = None, pairs: Sequence[tuple[int, int]] | None = None,
    kl_weight: float = 1.0,
) -> Recipe:  # fmt: skip
    """Σ ℓ(l, d) + kl_weight Σ KL over scores from (L, D), over a fixed diagonal of (layer, dimension) pairs.

    pairs: default `STARBUCKS` for 6 x 384 and 12 x 768. Source: arXiv 2410.13230. Raises InputError for another model
    without pairs, or a pair that the model lacks.
    """
    if pairs is None:
        if (n_layers, width) not in STARBUCKS:
            first = f"1, {min(16, width)}"
            raise InputError(
                f"starbucks has no pairs for {n_layers} layers x {width}: give (layer, dimension) pairs, by name "
                f"(starbucks:{first.replace(' ', '')}+{n_layers},{width}) or pairs=[({first}), ({n_layers}, {width})]"
            )
        pairs = STARBUCKS[n_layers, width]
    for layer, dim in pairs:
        check_cells([layer], [dim], n_layers, width)
    dims = columns_with(dims, width, *(dim for _, dim in pairs))
    weights = {"main": cells(n_layers, dims, [(layer, dim, 1) for layer, dim in pairs])}
    students = [(layer, dim, kl_weight) for layer, dim in pairs if (layer, dim) != (n_layers, width)]
    if students and kl_weight:
        weights["kl-scores"] = cells(n_layers, dims, students)
    known = STARBUCKS.get((n_layers, width))
    name = "starbucks" if tuple(pairs) == known else "starbucks:" + "+".join(f"{layer},{d}" for layer, d in pairs)
    options = {"kl-scores": {"teacher": "full"}} if "kl-scores" in weights else {}
    return Recipe(name, weights, dims=dims, options=options)
