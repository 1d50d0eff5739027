"""The term explorer: switch loss terms on and off, weigh layers, and see where the loss and its gradient lie."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.panel import Panel, menu, slider
from mrl_tutorial.recipes.anatomy import Anatomy, recipe_parts
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, Learned, layer_weights
from mrl_tutorial.recipes.registry import get_recipe

RECIPES = ("full-size", "mrl", "2dmse-v1", "ese", "starbucks", "retrieval-2dmse", "all-cells")
OWN = "as the recipe has them"
#: layer weights that do not change while a model learns
FIXED_WEIGHTS = [name for name, how in LAYER_WEIGHTS.items() if not isinstance(how, Learned)]
STRENGTHS = (0, 0.01, 0.1, 0.3, 1, 3, 10, 100, 1000)


def term_weights(
    anatomy: Anatomy, pattern: Mapping[str, np.ndarray], strengths: Mapping[str, float], layers: str
) -> dict[str, np.ndarray]:
    """The grids of all terms, (L, M) each: strength times the recipe's pattern.

    A term that the recipe lacks lies where its main loss does, without the full cell. layers: OWN, or the name of the
    layer weights that replace the recipe's.
    """
    below = pattern["contrastive"].copy()
    below[-1, -1] = 0
    grids = {term: pattern.get(term, below) for term in strengths}
    if layers != OWN:
        down = layer_weights(layers, len(anatomy.layers))[:, None]
        grids = {term: (grid > 0) * down for term, grid in grids.items()}
    return {term: strengths[term] * grid for term, grid in grids.items()}


class TermExplorer(Panel):
    """Loss terms of 2D training on one real batch, with every number taken from an `Anatomy`.

    anatomy: what `anatomy.dissect` gives. recipe: where to begin. The strength of term i is the control `s<i>`, and a
    new recipe resets all strengths, as in `panel.set(recipe="ese", s1=10)`. Raises InputError for a recipe that does
    not fit the anatomy's grid.

    >>> from mrl_tutorial.losses import Batch
    >>> from mrl_tutorial.recipes.anatomy import dissect
    >>> import torch
    >>> panel = TermExplorer(dissect(Batch(torch.randn(2, 3, 8), torch.randn(2, 3, 8)), dims=(4, 8)), "mrl", s0=3)
    >>> panel.weights["contrastive"].tolist()
    [[0.0, 0.0], [0.0, 3.0]]
    """

    view = "terms"

    def __init__(self, anatomy: Anatomy, recipe: str = "2dmse-v1", **state: Any) -> None:
        self.anatomy, self.patterns = anatomy, {}
        for name in RECIPES:
            with suppress(InputError):  # it does not fit the anatomy's grid and batch
                found = get_recipe(name, len(anatomy.layers), anatomy.dims[-1])
                self.patterns[name] = recipe_parts(found, anatomy)
        if recipe not in self.patterns:
            there = ", ".join(self.patterns) or "none"
            raise InputError(f"recipe {recipe!r} does not fit this batch: there are {there}")
        controls = [
            [menu("recipe", "recipe", list(self.patterns)), menu("layers", "layer weights", [OWN, *FIXED_WEIGHTS])],
            [slider(f"s{i}", t, STRENGTHS, [f"× {x:g}" for x in STRENGTHS]) for i, t in enumerate(anatomy.terms)],
            [slider("layer", "layer", anatomy.layers), slider("dim", "dimension", anatomy.dims)],
        ]
        cell = {"layer": anatomy.layers[(len(anatomy.layers) - 1) // 2], "dim": anatomy.dims[-2:][0]}
        super().__init__(controls, self._start(recipe) | cell | state, **self._tables())

    @property
    def weights(self) -> dict[str, np.ndarray]:
        """The weight grids of the present state: term -> (L, M)."""
        strengths = {term: self.state[f"s{i}"] for i, term in enumerate(self.anatomy.terms)}
        return term_weights(self.anatomy, self.patterns[self.state["recipe"]], strengths, self.state["layers"])

    def set(self, **changes: Any) -> None:
        """As `Panel.set`; a recipe sets the strengths and the layer weights that are not given with it."""
        new = self._start(changes["recipe"]) if changes.get("recipe") in self.patterns else {}
        super().set(**(new | changes))

    def _start(self, recipe: str) -> dict[str, Any]:
        """The terms that the recipe has at strength 1, the others off."""
        on = {f"s{i}": int(term in self.patterns[recipe]) for i, term in enumerate(self.anatomy.terms)}
        return {"recipe": recipe, "layers": OWN, **on}

    def _tables(self) -> dict[str, Any]:
        a = self.anatomy
        ones = dict.fromkeys(a.terms, 1.0)
        grids = {name: term_weights(a, pattern, ones, OWN).values() for name, pattern in self.patterns.items()}
        return {
            "terms": a.terms,
            "layers": a.layers,
            "dims": a.dims,
            "start": {name: self._start(name) for name in grids},
            "patterns": {name: np.stack(list(grid)).astype("f4") for name, grid in grids.items()},
            "down": {name: layer_weights(name, len(a.layers)).astype("f4") for name in FIXED_WEIGHTS},
            "values": a.values.astype("f4"),
            "alone": np.stack([a.cell_gradients(term) for term in a.terms]).astype("f4"),
            "landing": list(a.landing),
            "grams": [gram.astype("f4") for gram in a.grams],
        }
