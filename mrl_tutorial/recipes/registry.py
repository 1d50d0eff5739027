"""The recipes by name, and the short form in which a command line writes them with their switches."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, Choice, Learned, suggestion
from mrl_tutorial.recipes.methods import RECIPES, RETRIEVAL_SWITCHES
from mrl_tutorial.recipes.recipe import Recipe

#: recipe -> what may follow its name after a +
SWITCHES: dict[str, Sequence[str]] = {
    "ese": tuple(LAYER_WEIGHTS),
    "retrieval-2dmse": (*RETRIEVAL_SWITCHES, *LAYER_WEIGHTS),
    "all-cells": ("without-3", "kl-features", "kl-scores", "kl-full", "attached", *LAYER_WEIGHTS),
}


def get_recipe(
    name: str, n_layers: int, width: int, dims: Sequence[int] | None = None, layer_weights: Choice | None = None
) -> Recipe:
    """The recipe `name` for a model of `n_layers` x `width`, validated. `dims`, `layer_weights`: instead of its own.

    layer_weights="learned" or `Learned(rate)` trains them. A name may carry switches or cells, as on the command line:
    retrieval-2dmse+score+dims, separate:3,128, starbucks:1,32+6,384.

    Raises InputError for an unknown name or switch, cells that the model lacks, or what the recipe does not take.

    >>> get_recipe("mrl", 6, 384).weights["main"].sum(axis=1).tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 7.0]
    """
    kind, given = parse(name)
    if kind not in RECIPES:
        raise InputError(f"unknown recipe {name!r}{suggestion(name, RECIPES)}")
    entry = RECIPES[kind]
    if layer_weights is not None:
        if "layer_weights" not in inspect.signature(entry.builder).parameters:
            raise InputError(f"recipe {name!r} has no option layer_weights: leave it out")
        given["layer_weights"] = layer_weights
    for layer, dim in given.get("cells", ()):
        check_cells([layer], [dim], n_layers, width)
    if dims is not None:
        check_cells(None, dims, n_layers, width)
        given["dims"] = dims
    built = entry.builder(n_layers, width, **given)
    weights = given.get("layer_weights")
    weights = LAYER_WEIGHTS.get(weights) if isinstance(weights, str) else weights
    learned = weights if isinstance(weights, Learned) else None
    return replace(built, source=entry.source, line=entry.line, learned=learned).validate(n_layers, width)


def parse(name: str) -> tuple[str, dict[str, Any]]:
    """A recipe's name as written to its entry in RECIPES and what it carries for the builder.

    Raises InputError for cells that are no pairs of numbers, an unknown switch, or two switches of one kind.

    >>> parse("all-cells+without-2+kl-scores+log")
    ('all-cells', {'switches': ['without-2', 'kl-scores'], 'layer_weights': 'log'})
    >>> parse("starbucks:1,32+6,384")
    ('starbucks', {'cells': [(1, 32), (6, 384)]})
    """
    kind, colon, cells = name.partition(":")
    if kind == "separate" or (kind == "starbucks" and colon):
        found = [re.fullmatch(r"\s*(\d+)\s*,\s*(\d+)\s*", cell) for cell in cells.split("+")]
        pairs = [(int(pair[1]), int(pair[2])) for pair in found if pair]
        if len(pairs) < len(found) or (kind == "separate" and len(pairs) > 1):
            one, several = "the layer and the dimension, as in separate:3,128", "each cell, as in starbucks:1,32+6,384"
            raise InputError(f"{name!r}: name {one if kind == 'separate' else several}")
        return "separate:l,d" if kind == "separate" else kind, {"cells": pairs}
    kind, *switches = name.split("+")
    if kind not in SWITCHES:
        return name, {}
    known = SWITCHES[kind]
    for switch in switches:
        if switch not in known and not ("without-3" in known and re.fullmatch(r"without-\d+", switch)):
            raise InputError(f"{name!r}: unknown switch {switch!r}{suggestion(switch, known)}")
    weights = [switch for switch in switches if switch in LAYER_WEIGHTS]
    others = [switch for switch in switches if switch not in LAYER_WEIGHTS]
    kinds = [switch.partition("-")[0] for switch in others]
    if len(set(kinds)) < len(kinds) or len(weights) > 1:
        raise InputError(f"{name!r} has two switches of one kind: leave one out")
    return kind, ({"switches": others} if others else {}) | ({"layer_weights": weights[0]} if weights else {})
