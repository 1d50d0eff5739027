"""The recipes by name, and the short form in which a command line writes them with their options."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.recipes import two_dimensional as two
from mrl_tutorial.recipes.baselines import all_cells, full_size, mrl, separate
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, Choice, Learned, suggestion
from mrl_tutorial.recipes.recipe import Recipe


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
    "2dmse-v1": Entry(
        two.two_d_mse_v1, "arXiv 2402.14776 v1", "each step one random layer and dimension, KL to the last"
    ),
    "2dmse-v1-st": Entry(
        two.two_d_mse_v1_st,
        "sentence-transformers 6.2, Matryoshka2dLoss",
        "as 2dmse-v1, but each layer samples one dimension, layer 0 (the embedding table) among them",
    ),
    "ese": Entry(two.ese, "arXiv 2402.14776 v2", "every layer at k = 128, log weights, aligned to its PCA"),
    "ese-code": Entry(
        two.ese_code,
        "AnglE 0.6.1, AngleESETrainer",
        "ese as its code runs: layers 0 to L-2, averaged, and (L, D); its own PCA",
    ),
    "retrieval-2dmse": Entry(
        two.retrieval_2dmse,
        "arXiv 2411.17299",
        "every layer at 128, log weights, and (L, D); switches +score +score-last +full-dim +dims +fixed-doc +align",
    ),
    "starbucks": Entry(
        two.starbucks,
        "arXiv 2410.13230",
        "a fixed diagonal of cells, KL over scores from (L, D); other cells as starbucks:1,32+2,64+6,384",
    ),
    "all-cells": Entry(
        all_cells,
        "this course",
        "every layer, every dimension, every step; "
        "switches +without-3 (any layer), +kl-features, +kl-scores or +kl-full, +attached; weights of the layers: "
        "+inverse, +log, +linear, +exponential or +learned",
    ),
}

# recipe -> width -> what may follow its name after a +, and the builder's options that it stands for
SWITCHES: dict[str, Callable[[int], dict[str, dict[str, Any]]]] = {
    "retrieval-2dmse": two.retrieval_switches,
    "all-cells": lambda width: {
        "without-3": {"without": 3},
        "kl-features": {"kl": "features"},
        "kl-scores": {"kl": "scores"},
        "kl-full": {"kl": "full"},
        "attached": {"detach": False},
        **{weights: {"layer_weights": weights} for weights in LAYER_WEIGHTS},
    },
}


def get_recipe(
    name: str,
    n_layers: int,
    width: int,
    dims: Sequence[int] | None = None,
    layer_weights: Choice | None = None,
    **options: Any,
) -> Recipe:
    """The recipe `name` for a model of `n_layers` x `width`, validated. `dims`, `layer_weights`: instead of its own.

    layer_weights="learned" or `Learned(rate)` trains them. options: what the recipe's builder takes, as in
    `get_recipe("retrieval-2dmse", 6, 384, score="same-layer")`; a name may carry them too, as on the command line:
    separate:3,128, starbucks:1,32+6,384, retrieval-2dmse+score+dims.

    Raises InputError for an unknown name, cells that the model lacks, or an option that the recipe does not have.

    >>> get_recipe("mrl", 6, 384).weights["main"].sum(axis=1).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 7.0]
    >>> get_recipe("separate", 6, 384, layer=3, dim=128).name
    'separate:3,128'
    """
    kind, named = parse(name, width)
    given = {"dims": dims, "layer_weights": layer_weights}
    given = named | {key: value for key, value in given.items() if value is not None} | options
    if kind == "separate:l,d" and not {"layer", "dim"} <= given.keys():
        raise InputError(f"{name!r}: name the layer and the dimension, as in separate:3,128")
    if kind not in RECIPES:
        raise InputError(f"unknown recipe {name!r}{suggestion(name, RECIPES)}")
    entry = RECIPES[kind]
    for key in given:
        if key not in inspect.signature(entry.builder).parameters:
            raise InputError(f"recipe {name!r} has no option {key}: leave it out")
    if dims is not None:
        check_cells(None, dims, n_layers, width)
    built = entry.builder(n_layers, width, **given)
    weights = given.get("layer_weights")
    learned = LAYER_WEIGHTS.get(weights) if isinstance(weights, str) else weights
    learned = learned if isinstance(learned, Learned) else None
    return replace(built, source=entry.source, line=entry.line, learned=learned).validate(n_layers, width)


def parse(name: str, width: int) -> tuple[str, dict[str, Any]]:
    """A recipe's name as written to its entry in RECIPES and the builder's options that the name carries.

    Raises InputError for a switch that the recipe does not have.

    >>> parse("all-cells+without-2+kl-scores", 384)
    ('all-cells', {'without': 2, 'kl': 'scores'})
    >>> parse("starbucks:1,32+6,384", 384)
    ('starbucks', {'pairs': [(1, 32), (6, 384)]})
    """
    kind, colon, cells = name.partition(":")
    if colon and kind in ("separate", "starbucks"):
        pairs = [re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", pair) for pair in cells.split("+")]
        found = [(int(pair[1]), int(pair[2])) for pair in pairs if pair]
        if len(found) < len(pairs) or (kind == "separate" and len(pairs) > 1):
            example = "the layer and the dimension, as in separate:3,128"
            if kind == "starbucks":
                example = "each cell's layer and dimension, as in starbucks:1,32+2,64+6,384"
            raise InputError(f"{name!r}: name {example}")
        if kind == "starbucks":
            return kind, {"pairs": found}
        return "separate:l,d", {"layer": found[0][0], "dim": found[0][1]}
    kind, *switches = name.split("+")
    if kind not in SWITCHES:
        return "separate:l,d" if name == "separate" else name, {}
    known, options = SWITCHES[kind](width), dict[str, Any]()
    for switch in switches:
        left_out = re.fullmatch(r"without-(\d+)", switch) if kind == "all-cells" else None
        if left_out and "without" in options:
            raise InputError(f"{name!r} leaves out two layers: give one +without-…")
        if not left_out and switch not in known:
            raise InputError(f"{name!r}: unknown switch {switch!r}{suggestion(switch, known)}")
        options |= {"without": int(left_out[1])} if left_out else known[switch]
    return kind, options
