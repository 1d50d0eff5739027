"""The term explorer: switch loss terms on and off, weigh layers, and see where the loss and its gradient lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Panel, Picture, choice_slider, dropdown, row
from mrl_tutorial.panels.markup import table
from mrl_tutorial.recipes.anatomy import Anatomy, recipe_parts
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, Learned, layer_weights
from mrl_tutorial.recipes.registry import get_recipe

RECIPES = ("full-size", "mrl", "2dmse-v1", "ese", "starbucks", "retrieval-2dmse", "all-cells")
OWN = "as the recipe has them"
STRENGTHS = (0, 0.01, 0.1, 0.3, 1, 3, 10, 100, 1000)
GAP = 0.045

# -- what is shown ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class TermState:
    """What the panel shows. weights: term -> (L, M), already multiplied. layer, dim: the cell that is read out."""

    weights: Mapping[str, np.ndarray]
    layer: int
    dim: int


def recipe_patterns(anatomy: Anatomy) -> dict[str, dict[str, np.ndarray]]:
    """recipe -> term -> (L, M): the weights of each recipe that fits the anatomy's grid and batch."""
    found = {}
    for name in RECIPES:
        try:
            found[name] = recipe_parts(get_recipe(name, len(anatomy.layers), anatomy.dims[-1]), anatomy)
        except InputError:
            continue
    return found


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


def term_tables(anatomy: Anatomy, weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Heading -> (L, M) of the three heat maps: weight, weighted loss, gradient."""
    weight = sum(weights.values(), np.zeros(anatomy.values.shape[1:]))
    loss, gradient = anatomy.loss(weights), anatomy.gradient(weights)
    return {
        f"weight, sum {short(weight.sum())}": weight,
        f"weight × loss, sum {short(loss.sum())}": loss,
        f"gradient, length {short(np.sqrt((gradient**2).sum()))}": gradient,
    }


def cell_table(anatomy: Anatomy, state: TermState) -> str:
    """The framed cell in numbers, a row for each term, as html."""
    cell = anatomy.layers.index(state.layer), anatomy.dims.index(state.dim)
    rows = []
    for term, losses in zip(anatomy.terms, anatomy.values, strict=True):
        weight, alone = state.weights[term][cell], anatomy.cell_gradients(term)[cell]
        rows.append([term, *(short(float(x)) for x in (weight, losses[cell], alone, weight * alone))])
    head = ("term", "weight", "loss", "gradient, weight 1", "weight × gradient")
    return f"The framed cell: layer {state.layer}, {state.dim} dimensions{table(head, rows)}"


def short(value: float) -> str:
    """A number in at most five characters.

    >>> [short(x) for x in (0, 0.0004, 0.0021, 0.14, 3.21, 158.3)]
    ['0', '<.001', '0.002', '0.14', '3.2', '158']
    """
    if abs(value) < 0.001:
        return "<.001" if value else "0"
    digits = next((n for n, end in ((3, 0.1), (2, 1), (1, 100)) if abs(value) < end), 0)
    return f"{value:.{digits}f}"


# -- figure and widgets ----------------------------------------------------------------------------------------------


def terms_picture(anatomy: Anatomy, state: TermState) -> Picture:
    """Three heat maps on one row: weight, weighted loss, gradient; the state's cell is framed in each."""
    layers, dims, width = anatomy.layers, anatomy.dims, (1 - GAP * 2) / 3
    frame = plots.cell_frame(state.layer, state.dim, dims)[0]
    data: list[dict[str, Any]] = []
    layout: dict[str, Any] = {**plots.style(), "height": 400, "annotations": [], "shapes": []}
    layout["margin"] = {"t": 50, "l": 50, "r": 10, "b": 60}
    for i, (name, values) in enumerate(term_tables(anatomy, state.weights).items()):
        start, n = i * (width + GAP), str(i + 1) if i else ""
        heat, numbers = plots.heat_traces(values, layers, 0, max(float(values.max()), 1e-6), place=i + 1)
        numbers["text"] = [short(v).removeprefix("0") for v in values.ravel()]  # ".067": a cell is 40 pixels wide
        numbers["textfont"]["size"] = 14
        data += [heat, numbers]
        title = {"title": {"text": "coordinates up to" if i == 2 else "dimension"}}
        bare = {"title": None, "showticklabels": False} if i else {}  # the rows are those of the first
        rows, columns = {**plots.heat_y(layers), **bare}, {**plots.heat_x(dims), **title}
        layout |= plots.subplot(i + 1, (start, start + width), columns, rows)
        layout["annotations"].append(plots.heading(name, start + width / 2))
        layout["shapes"].append({**frame, "xref": f"x{n}", "yref": f"y{n}"})
    return {"data": data, "layout": layout}


class TermExplorer(Panel):
    """Loss terms of 2D training on one real batch, with every number looked up from an `Anatomy`.

    anatomy: what `anatomy.dissect` gives. recipe: where to begin. Raises InputError where it does not fit the grid.
    """

    name = "term-explorer"

    def __init__(self, anatomy: Anatomy, recipe: str = "2dmse-v1") -> None:
        self.anatomy, self.patterns = anatomy, recipe_patterns(anatomy)
        if recipe not in self.patterns:
            fitting = ", ".join(self.patterns) or "none"
            raise InputError(f"recipe {recipe!r} does not fit this batch: there are {fitting}")
        known = [name for name, how in LAYER_WEIGHTS.items() if not isinstance(how, Learned)]
        self.recipe = dropdown("recipe", list(self.patterns), recipe, width="48%")
        self.layers = dropdown("layer weights", [OWN, *known], width="48%")
        strengths = [(f"× {x:g}", x) for x in STRENGTHS]
        self.strengths = {term: choice_slider(term, strengths, 0) for term in anatomy.terms}
        self.layer = choice_slider("layer", anatomy.layers, anatomy.layers[len(anatomy.layers) // 2 - 1])
        self.dim = choice_slider("dimension", anatomy.dims, anatomy.dims[-2])
        for slider in self.strengths.values():  # these have longer names than other panels' controls
            slider.style.description_width = "180px"
        self._set_strengths()
        self.recipe.observe(lambda _: self._set_strengths(), "value")  # before the panel's own observer, which draws
        self.start([row(self.recipe, self.layers), *self.strengths.values(), self.layer, self.dim])

    @property
    def state(self) -> TermState:
        """The controls as weights and a cell."""
        strengths = {term: slider.value for term, slider in self.strengths.items()}
        weights = term_weights(self.anatomy, self.patterns[self.recipe.value], strengths, self.layers.value)
        return TermState(weights, self.layer.value, self.dim.value)

    def picture(self) -> Picture:
        """The three heat maps of the present state; writes the table of the framed cell."""
        state = self.state
        self.write(cell_table(self.anatomy, state))
        return terms_picture(self.anatomy, state)

    def static(self) -> go.Figure:
        """As `Panel.static`, wide enough for three heat maps side by side."""
        return super().static().update_layout(width=1000)

    def _set_strengths(self) -> None:
        """The terms that the recipe has at strength 1, the others off."""
        with self.held():
            for term, slider in self.strengths.items():
                slider.value = 1 if term in self.patterns[self.recipe.value] else 0
            self.layers.value = OWN
