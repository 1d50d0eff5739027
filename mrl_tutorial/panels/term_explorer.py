"""The panel of loss terms: switch each on and off, weigh layers, and see where on the grid the loss and its gradient lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import SLIDER, Panel, send
from mrl_tutorial.panels.plots import figures
from mrl_tutorial.recipes.anatomy import Anatomy, recipe_parts
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, layer_weights
from mrl_tutorial.recipes.learned_weights import Learned
from mrl_tutorial.recipes.registry import get_recipe

RECIPES = ("full-size", "mrl", "2dmse-v1", "ese", "starbucks", "retrieval-2dmse", "all-cells")
OWN = "as the recipe has them"
STRENGTHS = (0, 0.01, 0.1, 0.3, 1, 3, 10, 100, 1000)
GAP = 0.045
WIDE = {**SLIDER, "style": {"description_width": "180px"}}  # the longest term's name


@dataclass(frozen=True)
class TermState:
    """What the panel shows: the weights of a moment and the cell that is read out.

    weights: term -> (L, M), already multiplied. layer, dim: the cell."""

    weights: Mapping[str, np.ndarray]
    layer: int
    dim: int


def patterns(anatomy: Anatomy) -> dict[str, dict[str, np.ndarray]]:
    """recipe -> term -> (L, M): the weights of each recipe that the anatomy's grid can hold."""
    found = {}
    for name in RECIPES:
        try:
            recipe = get_recipe(name, len(anatomy.layers), anatomy.dims[-1])
            found[name] = recipe_parts(recipe, anatomy)
        except InputError:
            continue  # a grid or a batch on which that recipe has no meaning
    return found


def term_weights(
    anatomy: Anatomy, pattern: Mapping[str, np.ndarray], strengths: Mapping[str, float], layers: str
) -> dict:
    """The grids of all terms, (L, M) each: strength times the recipe's pattern; a term that the recipe lacks lies where
    its main loss does, without the full cell. layers: OWN, or the name of layer weights that replace the recipe's."""
    main = pattern["contrastive"]
    below = main.copy()
    below[-1, -1] = 0
    out = {}
    for term, strength in strengths.items():
        grid = pattern.get(term, below)
        if layers != OWN:
            grid = (grid > 0) * layer_weights(layers, len(anatomy.layers))[:, None]
        out[term] = strength * grid
    return out


def tables(anatomy: Anatomy, state: TermState) -> dict[str, np.ndarray]:
    """Heading -> (L, M) of the three heat maps: weight, weighted loss, gradient."""
    weight = sum(state.weights.values(), np.zeros(anatomy.values.shape[1:]))
    loss, gradient = anatomy.loss(state.weights), anatomy.gradient(state.weights)
    return {
        f"weight, sum {short(weight.sum())}": weight,
        f"weight × loss, sum {short(loss.sum())}": loss,
        f"gradient, length {short(np.sqrt((gradient**2).sum()))}": gradient,
    }


def draw(anatomy: Anatomy, state: TermState) -> go.Figure:
    """Three heat maps on one row: weight, weighted loss, gradient; the state's cell is framed in each."""
    figure = go.Figure()
    width = (1 - GAP * 2) / 3
    for i, (name, table) in enumerate(tables(anatomy, state).items()):
        x, y = f"x{i + 1}" if i else "x", f"y{i + 1}" if i else "y"
        heat, numbers = figures.heat_traces(table, anatomy.layers, 0, _top(table), axes=(x, y))
        numbers.text, numbers.textfont.size = _printed(table), 14
        figure.add_traces([heat, numbers])
        start = i * (width + GAP)
        labels = {"title": {"text": "coordinates up to" if i == 2 else "dimension"}}
        axis = {**figures.heat_x(anatomy.dims), **labels, "domain": [start, start + width], "anchor": y}
        figure.layout[f"xaxis{i + 1}" if i else "xaxis"] = axis
        rows = {**figures.heat_y(anatomy.layers), "anchor": x}
        if i:  # the rows are those of the first
            rows |= {"title": None, "showticklabels": False}
        figure.layout[f"yaxis{i + 1}" if i else "yaxis"] = rows
        figure.add_annotation(**figures.heading(name, start + width / 2))
    figure.update_layout(**figures.style(), height=400, shapes=_frames(anatomy, state))
    figure.update_layout(margin={"t": 50, "l": 50, "r": 10})
    return figure


def change(figure: go.Figure, anatomy: Anatomy, state: TermState, cell_only: bool) -> None:
    """Bring `figure` to `state` by what differs alone, which costs much less than drawing anew; one message."""
    layout, traces = {}, []
    for i, frame in enumerate(_frames(anatomy, state)):
        layout |= {f"shapes[{i}].{key}": frame[key] for key in ("x0", "x1", "y0", "y1")}
    for i, (name, table) in enumerate({} if cell_only else tables(anatomy, state).items()):
        top = _top(table)
        traces.append({"z": table, "zmax": top})
        traces.append({"text": _printed(table), "textfont.color": figures.number_colours(table, 0, top)})
        layout[f"annotations[{i}].text"] = name
    send(figure, dict(enumerate(traces)), layout)


def _top(table: np.ndarray) -> float:
    return max(float(table.max()), 1e-6)


def _printed(table: np.ndarray) -> list[str]:
    return [short(v).removeprefix("0") for v in table.ravel()]  # ".067": a cell is 40 pixels wide


def _frames(anatomy: Anatomy, state: TermState) -> list[dict]:
    frame = figures.cell_frame(state.layer, state.dim, anatomy.dims)[0]
    return [{**frame, "xref": x, "yref": x.replace("x", "y")} for x in ("x", "x2", "x3")]


def short(value: float) -> str:
    """A number in at most five characters: 0.0021, 0.14, 3.2, 158."""
    if value == 0:
        return "0"
    if abs(value) < 0.001:
        return "<.001"
    return (
        f"{value:.3f}"
        if abs(value) < 0.1
        else f"{value:.2f}"
        if abs(value) < 1
        else f"{value:.1f}"
        if abs(value) < 100
        else f"{value:.0f}"
    )


class TermExplorer(Panel):
    """Loss terms of 2D training on one real batch, every number looked up from an `Anatomy`.

    anatomy: what `anatomy.dissect` gives. recipe: where to begin. Raises InputError where no recipe fits its grid.
    """

    name = "term-explorer"

    def __init__(self, anatomy: Anatomy, recipe: str = "2dmse-v1"):
        self.anatomy = anatomy
        self.patterns = patterns(anatomy)
        if recipe not in self.patterns:
            raise InputError(
                f"recipe {recipe!r} does not fit this batch: there are {', '.join(self.patterns) or 'none'}"
            )
        known = [name for name, how in LAYER_WEIGHTS.items() if not isinstance(how, Learned)]
        wide = {"style": WIDE["style"], "layout": {"width": "48%"}}
        self.recipe = w.Dropdown(options=list(self.patterns), value=recipe, description="recipe", **wide)
        self.layers = w.Dropdown(options=[OWN, *known], value=OWN, description="layer weights", **wide)
        self.strengths = {
            term: w.SelectionSlider(options=[(f"× {x:g}", x) for x in STRENGTHS], value=0, description=term, **WIDE)
            for term in anatomy.terms
        }
        middle = anatomy.layers[len(anatomy.layers) // 2 - 1]
        self.layer = w.SelectionSlider(options=anatomy.layers, value=middle, description="layer", **WIDE)
        self.dim = w.SelectionSlider(options=anatomy.dims, value=anatomy.dims[-2], description="dimension", **WIDE)
        self._preset()
        self.recipe.observe(lambda _: self._preset(), "value")  # before start(), so that it is drawn once, after this
        pair = w.HBox([self.recipe, self.layers])
        self._shown = self.state
        self.start([pair, *self.strengths.values(), self.layer, self.dim])
        self.write(cell_table(anatomy, self._shown))
        self._sent = None  # `show` has a way of its own

    def show(self) -> None:
        """Bring picture and table to the controls; once for a recipe that moves several sliders."""
        if self._presetting:
            return
        state, before = self.state, self._shown
        same = all(np.array_equal(state.weights[term], before.weights[term]) for term in state.weights)
        self.write(cell_table(self.anatomy, state))  # first: it is on the screen while the figure is drawn
        change(self.figure, self.anatomy, state, cell_only=same)
        self._shown = state

    def _preset(self) -> None:
        """The terms that the recipe has at strength 1, the others off."""
        self._presetting = True
        for term, slider in self.strengths.items():
            slider.value = 1 if term in self.patterns[self.recipe.value] else 0
        self.layers.value = OWN
        self._presetting = False

    @property
    def state(self) -> TermState:
        """The controls as weights and a cell."""
        strengths = {term: slider.value for term, slider in self.strengths.items()}
        weights = term_weights(self.anatomy, self.patterns[self.recipe.value], strengths, self.layers.value)
        return TermState(weights, self.layer.value, self.dim.value)

    def picture(self) -> go.Figure:
        """The present state as a plotly figure."""
        return draw(self.anatomy, self.state)

    def static(self) -> go.Figure:
        """As `Panel.static`, wide enough for three heat maps side by side."""
        return super().static().update_layout(width=1000)


def cell_table(anatomy: Anatomy, state: TermState) -> str:
    """The framed cell in numbers, a row a term, as html."""
    i, m = anatomy.layers.index(state.layer), anatomy.dims.index(state.dim)
    head = "".join(f"<th>{x}</th>" for x in ("term", "weight", "loss", "gradient, weight 1", "weight × gradient"))
    rows = []
    for t, term in enumerate(anatomy.terms):
        weight = state.weights[term][i, m] if term in state.weights else 0.0
        alone = anatomy.cell_gradients(term)[i, m]
        cells = [term, short(weight), short(anatomy.values[t, i, m]), short(alone), short(weight * alone)]
        rows.append("<tr>" + "".join(f"<td>{x}</td>" for x in cells) + "</tr>")
    return (f"The framed cell: layer {state.layer}, {state.dim} dimensions<table><thead><tr>{head}</tr></thead>"
            f"<tbody>{''.join(rows)}</tbody></table>")  # fmt: skip
