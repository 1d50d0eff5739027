"""The recipes by their formulas: baselines, and the published 2D methods as their papers and libraries run them.

Each is a function of a model's (n_layers, width) and of what may be chosen: `dims`, `layer_weights`, and the `switches`
or `cells` that its name carries (`registry.parse`). ℓ is the task's own loss, L the last layer, D the full width. To
add one, write the function here under the decorator `recipe`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import default_dims
from mrl_tutorial.recipes.layer_weights import Choice, switch_of
from mrl_tutorial.recipes.layer_weights import layer_weights as weights_of
from mrl_tutorial.recipes.recipe import Recipe, columns_of, weight_grid

Cells = Sequence[tuple[int, int]]  # (layer, dimension) pairs
Dims = Sequence[int] | None

#: (layers, width) -> the cells that Starbucks trains
STARBUCKS: dict[tuple[int, int], Cells] = {
    (6, 384): ((1, 16), (2, 32), (3, 64), (4, 128), (5, 256), (6, 384)),
    (12, 768): ((2, 32), (4, 64), (6, 128), (8, 256), (10, 512), (12, 768)),
}
RETRIEVAL_SWITCHES = ("score", "score-last", "full-dim", "dims", "fixed-doc", "align", "align-code")


class Entry(NamedTuple):
    """A recipe on offer."""

    builder: Callable[..., Recipe]
    source: str
    line: str


RECIPES: dict[str, Entry] = {}


def recipe(name: str, source: str, line: str) -> Callable[[Callable[..., Recipe]], Callable[..., Recipe]]:
    """Declare a function to build the recipe `name`."""

    def declare(builder: Callable[..., Recipe]) -> Callable[..., Recipe]:
        RECIPES[name] = Entry(builder, source, line)
        return builder

    return declare


@recipe("full-size", "baseline", "the whole model only: loss at (L, D)")
def full_size(n_layers: int, width: int, dims: Dims = None) -> Recipe:
    """ℓ(L, D): the whole model only."""
    return replace(separate(n_layers, width, [(n_layers, width)], dims), name="full-size")


@recipe("separate:l,d", "baseline", "one sub-model alone: backbone cut to l blocks, loss at (l, d)")
def separate(n_layers: int, width: int, cells: Cells, dims: Dims = None) -> Recipe:
    """ℓ(l, d): one sub-model by itself; the backbone stops after block l."""
    ((layer, dim),) = cells
    columns = columns_of(dims, width, dim)
    return Recipe(f"separate:{layer},{dim}", {"main": weight_grid(n_layers, columns, cells)}, dims=columns)


@recipe("mrl", "arXiv 2205.13147", "last layer, every dimension, summed")
def mrl(n_layers: int, width: int, dims: Dims = None) -> Recipe:
    """Σ_d ℓ(L, d): every dimension of the last layer."""
    columns = columns_of(dims, width)
    return Recipe("mrl", {"main": weight_grid(n_layers, columns, [(n_layers, d) for d in columns])}, dims=columns)


def one_layer_one_dim(grids: Mapping[Any, np.ndarray]) -> tuple[dict, Callable]:
    """What a step of 2dmse-v1 sees of grids (L, M): the last row and column, and one other row and column. Returns the
    mean over steps and sampler(rng). Raises InputError for grids of one row or column."""
    below, cut = (n - 1 for n in next(iter(grids.values())).shape)
    if not below or not cut:
        raise InputError("a layer below the last and a dimension below the width are sampled: this grid has none")

    def sampler(rng: np.random.Generator) -> dict[Any, np.ndarray]:
        layer, dim = rng.integers(below), rng.integers(cut)
        seen = np.outer([*np.eye(below)[layer], 1], [*np.eye(cut)[dim], 1])
        return {key: grid * seen for key, grid in grids.items()}

    mean = np.outer([*np.full(below, 1 / below), 1], [*np.full(cut, 1 / cut), 1])
    return {key: grid * mean for key, grid in grids.items()}, sampler


@recipe("2dmse-v1", "arXiv 2402.14776 v1", "each step one random layer and dimension, KL to the last")
def two_d_mse_v1(n_layers: int, width: int, dims: Dims = None) -> Recipe:
    """One layer n < L and one d < D per step: ℓ(L,D) + ℓ(n,D) + ℓ(L,d) + ℓ(n,d) + KL(L,D ‖ n,D) + KL(L,d ‖ n,d)."""
    columns = columns_of(dims, width, width)
    main, kl = np.ones((n_layers, len(columns))), np.ones((n_layers, len(columns)))
    kl[-1] = 0
    mean, sample = one_layer_one_dim({"main": main, "kl-features": kl})

    def sampler(rng: np.random.Generator) -> dict[str, np.ndarray]:  # trained models are cached under its name
        return sample(rng)

    options = {"kl-features": {"teacher": "last-layer", "temperature": 1.0}}
    return Recipe("2dmse-v1", mean, dims=columns, sampler=sampler, options=options)


@recipe(
    "2dmse-v1-st",
    "sentence-transformers 6.2, Matryoshka2dLoss",
    "as 2dmse-v1, but each layer samples one dimension, layer 0 (the embedding table) among them",
)
def two_d_mse_v1_st(n_layers: int, width: int, dims: Dims = None) -> Recipe:
    """ℓ(L, d) + ℓ(n, d') + 0.3 KL(L,D ‖ n,D), T = 0.3: each step samples d, then n in 0..L-1, then d'.

    A step samples what the library with its defaults does after `random.seed(int(rng.integers(2**32)))`."""
    trained = columns_of(dims, width)
    columns = columns_of(dims, width, width)  # the KL is at full width, whatever is trained
    full = 0.3 * np.eye(len(columns))[-1]

    def one_of(values: Sequence[int], source: random.Random) -> int:
        return source.choice(values) if len(values) > 1 else values[0]

    def sampler(rng: np.random.Generator) -> dict[str, np.ndarray]:
        source = random.Random(int(rng.integers(2**32)))
        main, kl = np.zeros((2, n_layers + 1, len(columns)))
        main[-1, columns.index(one_of(trained[::-1], source))] = 1  # the library lists the widest first
        layer = one_of(range(n_layers), source)
        main[layer, columns.index(one_of(trained[::-1], source))] = 1
        kl[layer] = full
        return {"main": main, "kl-features": kl}

    share = 1 / len(trained) * np.isin(columns, trained)
    shares = np.full(n_layers, 1 / n_layers)
    mean = {"main": np.outer([*shares, 1], share), "kl-features": np.outer([*shares, 0], full)}
    options = {"kl-features": {"teacher": "last-layer", "temperature": 0.3}}
    layers = tuple(range(n_layers + 1))
    return Recipe("2dmse-v1-st", mean, layers, columns, sampler=sampler, options=options, embeddings=True)


@recipe("ese", "arXiv 2402.14776 v2", "every layer at k = 128, log weights (or e.g. +linear), aligned to its PCA")
def ese(n_layers: int, width: int, dims: Sequence[int] = (128,), layer_weights: Choice = "log") -> Recipe:
    """Σ_l w_l [ℓ(l,k) + align(l,k)], k = 128, w = log: every layer, one width, pulled to its principal components."""
    columns = columns_of(None, width, *dims)
    grid = np.outer(weights_of(layer_weights, n_layers), np.isin(columns, dims))
    name, options = "+".join(["ese", *switch_of(layer_weights, "log")]), {"align": {"target": "pca"}}
    return Recipe(name, {"main": grid, "align": grid}, dims=columns, options=options)


@recipe(
    "ese-code",
    "AnglE 0.6.1, AngleESETrainer",
    "ese as its code runs: layers 0 to L-2, averaged, and (L, D); its own PCA",
)
def ese_code(n_layers: int, width: int, dims: Sequence[int] = (128,)) -> Recipe:
    """ℓ(L,D) + ℓ(L,k) + align(L,k) + Σ_{i=0}^{L-2} [ℓ(i,k) + align(i,k)] / (1 + ln(1+i)) / (L-1), k = 128.

    As the code runs, with its own target (`distillation.code_pca`): the embedding table's output, i = 0, counts most,
    and layer L-1 is never trained."""
    columns = columns_of(None, width, *dims)
    below = 1 / (1 + np.log(1 + np.arange(n_layers - 1))) / (n_layers - 1)  # layers 0 .. L-2
    align = np.outer([*below, 0, 1], np.isin(columns, dims))
    main = align.copy()
    main[-1, -1] += 1
    layers, options = tuple(range(n_layers + 1)), {"align": {"target": "code-pca"}}
    return Recipe("ese-code", {"main": main, "align": align}, layers, columns, options=options, embeddings=True)


@recipe(
    "retrieval-2dmse",
    "arXiv 2411.17299",
    f"every layer at 128, log weights (or e.g. +linear), and (L, D); switches +{' +'.join(RETRIEVAL_SWITCHES)}",
)
def retrieval_2dmse(
    n_layers: int, width: int, dims: Dims = None, layer_weights: Choice = "log", switches: Sequence[str] = ()
) -> Recipe:
    """ℓ(L,D) + Σ_d ℓ(L,d) + Σ_{l<L} w_l Σ_d ℓ(l,d) over d in dims = {128}, w = log.

    Switches, each adding to the cells (l, d): score, score-last: `score_align` to the full-width scores of the same or
    the last layer; align, align-code: `align` to "pca" or "code-pca". full-dim: + w_l ℓ(l, D). dims: every default
    width below D. fixed-doc: every document vector from layer L. No paper or code that we know of trains score with
    full-dim. Raises InputError for a width that is not below D."""
    below = default_dims(width)[:-1]
    chosen = tuple(sorted(dims)) if dims is not None else below if "dims" in switches else (128,)
    if not chosen or max(chosen) >= width:
        raise InputError(f"retrieval-2dmse trains {list(chosen)} beside the full width {width}: give dims below that")
    columns, layers = columns_of(None, width, *chosen), weights_of(layer_weights, n_layers)
    short, fixed = np.outer(layers, np.isin(columns, chosen)), "fixed-doc" in switches
    weights: dict[str, np.ndarray] = {"main": short.copy()}
    weights["main"][:, -1] = layers if "full-dim" in switches else np.append(np.zeros(n_layers - 1), layers[-1])
    options: dict[str, dict[str, Any]] = {"main": {"fixed_document": True}} if fixed else {}
    if "score" in switches or "score-last" in switches:
        teacher = "full" if "score-last" in switches else "full-width"
        weights["score-align"], options["score-align"] = short, {"teacher": teacher, "fixed_document": fixed}
    if "align" in switches or "align-code" in switches:
        weights["align"], options["align"] = short, {"target": "pca" if "align" in switches else "code-pca"}
    on = [name for name in RETRIEVAL_SWITCHES if (chosen == below if name == "dims" else name in switches)]
    name = "+".join(["retrieval-2dmse", *on, *switch_of(layer_weights, "log")])
    return Recipe(name, weights, dims=columns, options=options)


@recipe(
    "starbucks",
    "arXiv 2410.13230",
    "a fixed diagonal of cells, KL over scores from (L, D); other cells as starbucks:1,32+2,64+6,384",
)
def starbucks(n_layers: int, width: int, dims: Dims = None, cells: Cells | None = None) -> Recipe:
    """Σ ℓ(l, d) + Σ KL over scores from (L, D), over cells: by default those of `STARBUCKS` for the model.

    Raises InputError for another model without cells."""
    known = STARBUCKS.get((n_layers, width))
    pairs = tuple(cells or known or ())
    if not pairs:
        example = f"starbucks:1,{min(16, width)}+{n_layers},{width}"
        raise InputError(f"starbucks has no cells for {n_layers} layers x {width}: name them, as in {example}")
    columns = columns_of(dims, width, *(dim for _, dim in pairs))
    weights, options = {"main": weight_grid(n_layers, columns, pairs)}, {}
    students = [cell for cell in pairs if cell != (n_layers, width)]
    if students:
        weights["kl-scores"], options["kl-scores"] = weight_grid(n_layers, columns, students), {"teacher": "full"}
    name = "starbucks" if pairs == known else "starbucks:" + "+".join(f"{layer},{dim}" for layer, dim in pairs)
    return Recipe(name, weights, dims=columns, options=options)


@recipe(
    "all-cells",
    "this course",
    "every layer, every dimension, every step; "
    "switches +without-3 (any layer), +kl-features, +kl-scores or +kl-full, +attached; weights of the layers: "
    "+inverse, +log, +linear, +exponential or +learned",
)
def all_cells(
    n_layers: int, width: int, dims: Dims = None, layer_weights: Choice = "uniform", switches: Sequence[str] = ()
) -> Recipe:
    """Σ_l w_l Σ_d ℓ(l, d).

    Switches: kl-features, kl-scores: + w_l KL from (L, d) to (l, d) for l < L. kl-full: + w_l KL over scores from the
    one cell (L, D) to all the others. attached: the teacher learns too. without-3: no loss at layer 3; the last layer
    still teaches. Raises InputError for attached without a KL, and a layer that cannot be left out."""
    columns, layers, rows = columns_of(dims, width), np.arange(1, n_layers + 1), weights_of(layer_weights, n_layers)
    without = [switch for switch in switches if switch.startswith("without-")]
    kl = [switch for switch in switches if switch.startswith("kl-")]
    attached = [switch for switch in switches if switch == "attached"]
    if attached and not kl:
        raise InputError("all-cells: no teacher to attach without a KL; give e.g. all-cells+kl-features+attached")
    for layer in [int(switch.removeprefix("without-")) for switch in without]:
        if layer not in layers or n_layers == 1:
            raise InputError(f"all-cells without layer {layer} is impossible: this model has layers 1 to {n_layers}")
        rows = rows * (layers != layer)
    weights, options = {"main": np.outer(rows, np.ones(len(columns)))}, {}
    if kl:
        term, full = "kl-features" if "kl-features" in kl else "kl-scores", "kl-full" in kl
        students = (layers < n_layers)[:, None] | (full & (np.array(columns) < width))
        weights[term] = weights["main"] * students
        options = {term: {"teacher": "full" if full else "last-layer", "detach": not attached}}
    name = "+".join(["all-cells", *without, *switch_of(layer_weights, "uniform"), *kl, *attached])
    return Recipe(name, weights, dims=columns, options=options)
