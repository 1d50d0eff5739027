"""The explorer's picture: heat map and curve as one plotly figure that a slide changes in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.panels import explorer_html as text
from mrl_tutorial.panels.explorer_model import Ranking
from mrl_tutorial.panels.plots import figures

HEAT, CURVE = (0.0, 0.52), (0.61, 1.0)


@dataclass(frozen=True)
class View:
    """Everything that the picture shows.

    tables: model -> (layers, width) quality at every dimension, NaN where not measured (yet). dims: the heat map's
    columns. trained: model -> widths that its training pushed. items: what was averaged, as in "300 dev queries".
    """

    layers: tuple[int, ...]
    dims: tuple[int, ...]
    tables: Mapping[str, np.ndarray]
    model: str
    metric: str
    layer: int
    dim: int
    trained: Mapping[str, Sequence[int]] = field(default_factory=dict)
    items: str = ""

    @property
    def value(self) -> float:
        """Quality of the current cell, NaN where not measured."""
        return float(self.tables[self.model][self.layers.index(self.layer), self.dim - 1])

    @property
    def limits(self) -> tuple[float, float]:
        """One colour scale for every model, so that a switch between them can be compared."""
        return figures.limits_of([table[:, np.array(self.dims) - 1] for table in self.tables.values()])

    def line(self, model: str) -> np.ndarray:
        """Quality of `model` at the current layer, every dimension, shape (width,)."""
        return self.tables[model][self.layers.index(self.layer)]


def build(view: View, slots: Sequence[str]) -> go.Figure:
    """The figure of a state. `slots` names every model that may come to be shown: each keeps its colour for good."""
    first = view.tables[view.model]
    empty = np.full(first.shape[1], np.nan)
    every = range(1, first.shape[1] + 1)
    figure = go.Figure(
        [
            *figures.heat_traces(first[:, np.array(view.dims) - 1], view.layers, *view.limits),
            *figures.curve_traces(every, dict.fromkeys(slots, empty), view.trained, axes=("x2", "y2")),
        ]
    )
    figure.update_layout(
        **figures.style(), height=430, autosize=True,
        xaxis={**figures.heat_x(view.dims), "domain": HEAT}, yaxis=figures.heat_y(view.layers),
        xaxis2={**figures.curve_x(every, 2), "domain": CURVE, "anchor": "y2"},
        yaxis2={**figures.curve_y(view.metric, 1), "anchor": "x2"},
        legend=figures.legend(CURVE[0] + 0.005), shapes=_shapes(view), annotations=[
            figures.heading("", HEAT[0], "left"), figures.heading("", CURVE[0], "left"),
        ],
    )  # fmt: skip
    change(figure, view, None, slots)
    return figure


def change(figure: go.Figure, view: View, before: View | None, slots: Sequence[str]) -> None:
    """Bring `figure` (a FigureWidget or a plain Figure) from the state `before` to `view`; a slide is one message.

    Only what differs is touched: along the dimension shapes and one heading; along the layer the curves too. (Assigning
    to the figure's attributes would cost ten times the time in Python.)
    """
    # tables are never written into, so the same dict is the same data
    if before is None or view.tables is not before.tables or (view.metric, view.model) != (before.metric, before.model):
        with figure.batch_update():
            _change_data(figure, view, slots)
        before = before if before is None else replace(before, layer=view.layer)  # the curves are drawn
    layout = _marks(view)
    if before is not None:
        old = _marks(before)
        layout = {key: value for key, value in layout.items() if value != old[key]}
    if before is None or view.layer == before.layer:
        figure.plotly_relayout(layout)
    else:
        heights = [y for name in slots for y in _heights(view, name)]
        figure.plotly_update({"y": heights}, layout, list(range(2, 2 + 2 * len(slots))))


def _change_data(figure: go.Figure, view: View, slots: Sequence[str]) -> None:
    """Another model, measure or table: heat map, curves, scales."""
    heat, numbers = figure.data[:2]
    table = view.tables[view.model][:, np.array(view.dims) - 1]
    heat.z, heat.zmin, heat.zmax = table, *view.limits
    numbers.text, numbers.textfont.color = figures.printed(table), figures.number_colours(table, *view.limits)
    figure.layout.annotations[0].text = f"<b>{view.model}</b>: {figures.metric_title(view.metric)}, {view.items}"
    axis = figures.curve_y(view.metric, figures.limits_of(list(view.tables.values()))[1])
    figure.layout.yaxis2.range, figure.layout.yaxis2.title.text = axis["range"], axis["title"]["text"]
    for i, name in enumerate(slots):
        line, dots = figure.data[2 + 2 * i], figure.data[3 + 2 * i]
        line.y, dots.y = _heights(view, name)
        dots.x = figures.curve_place(_trained(view, name))
        line.showlegend, dots.showlegend = name in view.tables, bool(len(dots.y))


def _heights(view: View, name: str) -> tuple[np.ndarray, list[float]]:
    """The y of a model's line and of its dots at the current layer; nothing for a model that is not there yet."""
    if name not in view.tables:
        return np.full(view.tables[view.model].shape[1], np.nan), []
    line = view.line(name)
    return line, [float(line[d - 1]) for d in _trained(view, name)]


def _trained(view: View, name: str) -> list[int]:
    return list(view.trained.get(name, ())) if name in view.tables else []


def _marks(view: View) -> dict[str, Any]:
    """What marks the current cell, as the leaves of plotly's layout: "shapes[0].x0" and so on."""
    leaves = {f"shapes[{i}].{key}": value for i, shape in enumerate(_shapes(view)) for key, value in shape.items()
              if not isinstance(value, dict)}  # fmt: skip
    return {**leaves, "annotations[1].text": readout(view)}


def readout(view: View) -> str:
    """The current cell in words and its value, over the curve."""
    value = f"{view.value:.3f}" if np.isfinite(view.value) else "not measured yet"
    return f"layer {view.layer}, d = {view.dim}: {figures.metric_title(view.metric)} <b>{value}</b>"


def _shapes(view: View) -> list[dict]:
    return [
        *figures.cell_frame(view.layer, view.dim, view.dims),
        figures.dim_rule(view.dim, "x2"),
        figures.point_mark(view.dim, view.value, "x2"),
    ]


def static(
    view: View, slots: Sequence[str], ranking: Ranking | None, price: Sequence[tuple[str, str, float]]
) -> go.Figure:
    """The panel's state as one plain figure: the picture, the price in a line, the ranked documents as a table."""
    figure = build(view, slots)
    words = "; ".join(f"{what} <b>{amount}</b> ({text.percent(share)})" for what, amount, share in price)
    table = 30 * (len(ranking.hits) + 1) if ranking else 0  # pixels, a row 30
    inner = 310 + 110 + table  # the picture, its axis with the price below it, the documents
    foot = 1 - 310 / inner
    margin = {**figures.style()["margin"], "b": 10}
    figure.update_layout(height=inner + margin["t"] + margin["b"], width=1080, margin=margin)
    figure.update_layout(yaxis_domain=[foot, 1], yaxis2_domain=[foot, 1])
    figure.add_annotation(
        text="<br>".join(_halves(words)), xref="paper", yref="paper", x=0, y=foot, yshift=-58, xanchor="left",
        yanchor="top", showarrow=False, align="left", font={"size": 14},
    )  # fmt: skip
    if ranking:
        figure.add_trace(_table(ranking, (view.layers[-1], view.tables[view.model].shape[1]), table / inner))
    return figure


def _halves(words: str) -> list[str]:
    parts = words.split("; ")
    return [";  ".join(parts[: len(parts) // 2]), ";  ".join(parts[len(parts) // 2 :])]


def _table(ranking: Ranking, full: tuple[int, int], share: float) -> go.Table:
    hits = ranking.hits
    arrows = [f"{h.full:,}" if h.full == h.rank else f"{h.full:,}  {'▲▼'[h.rank > h.full]} {abs(h.full - h.rank):,}"
              for h in hits]  # fmt: skip
    documents = [text.shorten(f"{text.short_name(h.document)}: {h.text}", 95) for h in hits]
    marks = ["" if h.relevant is None else "✔ yes" if h.relevant else "no" for h in hits]
    titles = ["rank", f"rank at ({full[0]}, {full[1]})", "relevant", f"for: {text.shorten(ranking.query, 80)}"]
    shades = ["#FDF1D0" if h.relevant else "#FFFFFF" for h in hits]
    font = {"size": 14, "color": figures.INK}
    return go.Table(
        domain={"x": [0, 1], "y": [0, share]}, columnwidth=[50, 130, 75, 800],
        header={"values": titles, "align": "left", "font": font, "height": 30, "fill": {"color": "#E8E8E8"}},
        cells={"values": [[h.rank for h in hits], arrows, marks, documents],
               "align": "left", "font": font, "height": 30, "fill": {"color": [shades]}},
    )  # fmt: skip
