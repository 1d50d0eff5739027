"""Data in, plotly figures out: no widget, no file, no model. Sizes are for a projector, colours for every eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid
from mrl_tutorial.panels.plots import template

# Okabe and Ito's palette, in the order in which models are drawn; the scale of every heat map is cividis
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
SCALE = "Cividis"
MARK = "#D55E00"
INK = "#1A1A1A"
FONT = 15
LABELS = {"tickangle": 0, "ticklabeloverflow": "allow"}  # plotly need not measure them to see whether they collide

METRIC_TITLES = {"map": "MAP", "spearman": "Spearman", "accuracy": "accuracy", "1nn": "1-NN accuracy"}


def metric_title(metric: str) -> str:
    """How a measure is written on an axis: "ndcg@10" is nDCG@10, "recall@100" stays itself."""
    name, at, k = metric.partition("@")
    return {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP"}.get(name, METRIC_TITLES.get(name, name)) + at + k


def column(dim: float, dims: Sequence[int]) -> float:
    """Where a dimension lies among a heat map's columns 0 … M−1: between two columns on a logarithmic scale."""
    return float(np.interp(np.log2(dim), np.log2(np.asarray(dims, dtype=float)), np.arange(len(dims))))


def heatmap(
    values: np.ndarray,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    metric: str = "ndcg@10",
    title: str = "",
    cell: tuple[int, int] | None = None,
    limits: tuple[float, float] | None = None,
    digits: int = 2,
) -> go.Figure:
    """Layer x dimension heat map with every value printed; `cell` (layer, dim) gets a frame.

    values: (len(layers), len(dims)), NaN for a cell without a value. limits: (low, high) of the colour scale; give the
    same to every figure that is to be compared. Raises InputError where the shapes disagree.
    """
    values = _checked(values, layers, dims)
    low, high = limits or limits_of([values])
    figure = go.Figure(heat_traces(values, layers, low, high, digits=digits, bar=metric_title(metric)))
    figure.update_layout(**style(title), height=130 + 48 * len(layers))
    figure.update_xaxes(**heat_x(dims))
    figure.update_yaxes(**heat_y(layers))
    if cell:
        figure.update_layout(shapes=cell_frame(*cell, dims))
    return figure


def grid_heatmap(grid: Grid, *, title: str | None = None, **options: Any) -> go.Figure:
    """The heat map of a Grid. `options` are those of `heatmap`."""
    title = f"{grid.task}, {grid.split}: {grid.model}" if title is None else title
    return heatmap(grid.values, grid.layers, grid.dims, metric=grid.metric, title=title, **options)


def heatmaps(
    tables: Mapping[str, np.ndarray],
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    metric: str = "ndcg@10",
    title: str = "",
    limits: tuple[float, float] | None = None,
    digits: int = 2,
) -> go.Figure:
    """Several layer x dimension tables side by side on one colour scale: models, loss terms or a recipe's weights.

    tables: name -> (len(layers), len(dims)). Raises InputError where a shape disagrees or nothing is given.
    """
    if not tables:
        raise InputError("no table to draw: give at least one name -> (layers, dims) array")
    arrays = {name: _checked(table, layers, dims) for name, table in tables.items()}
    low, high = limits or limits_of(list(arrays.values()))
    figure = go.Figure()
    width = (1 - 0.05 * (len(arrays) - 1)) / len(arrays)
    for i, (name, table) in enumerate(arrays.items()):
        x, y = f"x{i + 1}", f"y{i + 1}"
        bar = metric_title(metric) if i == len(arrays) - 1 else None
        figure.add_traces(heat_traces(table, layers, low, high, digits=digits, bar=bar, axes=(x, y)))
        start = i * (width + 0.05)
        figure.layout[f"xaxis{i + 1}"] = {**heat_x(dims), "domain": [start, start + width], "anchor": y}
        figure.layout[f"yaxis{i + 1}"] = {**heat_y(layers), "anchor": x, **({"title": None} if i else {})}
        figure.add_annotation(**heading(name, start + width / 2))
    figure.update_layout(**style(title), height=190 + (24 if title else 0) + 44 * len(layers))
    if title:  # room for the tables' own headings under it
        figure.update_layout(margin={"t": 84})
    return figure


def curves(
    dims: Sequence[int],
    lines: Mapping[str, np.ndarray],
    *,
    metric: str = "ndcg@10",
    title: str = "",
    trained: Mapping[str, Sequence[int]] | None = None,
    dim: int | None = None,
) -> go.Figure:
    """Quality against dimension, a line a model, a dot at every trained width, a rule at `dim`.

    lines: name -> (len(dims),), NaN where there is no value yet.
    """
    figure = go.Figure(curve_traces(dims, lines, trained or {}))
    figure.update_layout(**style(title), height=400, legend=legend(0.02))
    figure.update_xaxes(**curve_x(dims))
    figure.update_yaxes(**curve_y(metric, limits_of(list(lines.values()))[1]))
    if dim:
        figure.add_shape(**dim_rule(dim))
    return figure


def cell_frame(layer: int, dim: int, dims: Sequence[int]) -> list[dict[str, Any]]:
    """The mark of a heat map's current cell, as two plotly shapes: a frame around the cell (around both neighbours
    when `dim` lies between two columns), and a tick on its lower edge at the place of `dim` itself."""
    x = column(dim, dims)
    frame = {"x0": np.floor(x) - 0.5, "x1": np.ceil(x) + 0.5, "y0": layer - 0.5, "y1": layer + 0.5}
    tick = {"x0": x, "x1": x, "y0": layer - 0.5, "y1": layer - 0.24}
    return [{"type": "rect", **frame, **_outline(MARK, 5)}, {"type": "line", **tick, **_outline(MARK, 5)}]


def dim_rule(dim: int, axis: str = "x") -> dict[str, Any]:
    """The upright rule at the current dimension of a curve, as a plotly shape."""
    x = float(np.log2(dim))
    y = axis.replace("x", "y")
    place = {"x0": x, "x1": x, "y0": 0, "y1": 1, "xref": axis, "yref": f"{y} domain"}
    return {"type": "line", **place, **_outline(INK, 2, "dot")}


def point_mark(dim: int, value: float, axis: str = "x") -> dict[str, Any]:
    """The ring around the current point of a curve, as a plotly shape (pixels wide, so that it stays round)."""
    return {
        "type": "circle", "xref": axis, "yref": axis.replace("x", "y"), "xsizemode": "pixel", "ysizemode": "pixel",
        "xanchor": float(np.log2(dim)), "yanchor": value if np.isfinite(value) else 0,
        "x0": -8, "x1": 8, "y0": -8, "y1": 8, "visible": bool(np.isfinite(value)), **_outline(INK, 3),
    }  # fmt: skip


def _outline(colour: str, width: int, dash: str = "solid") -> dict[str, Any]:
    line = {"color": colour, "width": width, "dash": dash}
    return {"line": line, "fillcolor": "rgba(0,0,0,0)", "opacity": 1}


def _checked(values: np.ndarray, layers: Sequence[int], dims: Sequence[int]) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.shape != (len(layers), len(dims)):
        raise InputError(
            f"a table of shape {values.shape} does not fit {len(layers)} layers x {len(dims)} dimensions: "
            f"give an array of shape ({len(layers)}, {len(dims)})"
        )
    return values


def limits_of(tables: Sequence[np.ndarray]) -> tuple[float, float]:
    """(low, high) over every finite value of the tables; low is 0 or below, so that a colour means a quality."""
    finite = np.concatenate([np.ravel(t)[np.isfinite(np.ravel(t))] for t in tables]) if tables else np.zeros(0)
    if not len(finite):
        return 0.0, 1.0
    return min(0.0, float(finite.min())), max(1e-6, float(finite.max()))


def heat_traces(values, layers, low, high, *, digits=2, bar: str | None = None, axes=("x", "y")) -> list:
    """The heat map, columns at x = 0 … M−1, and its printed numbers. bar: title of the colour bar, None for no bar."""
    columns, on = list(range(values.shape[1])), {"xaxis": axes[0], "yaxis": axes[1], "hoverinfo": "skip"}
    heat = go.Heatmap(
        z=values, x=columns, y=list(layers), zmin=low, zmax=high, colorscale=SCALE, xgap=2, ygap=2,
        colorbar={"title": {"text": bar, "side": "right"}, "thickness": 14, "outlinewidth": 0},
        showscale=bar is not None, **on,
    )  # fmt: skip
    numbers = go.Scatter(
        x=columns * len(layers), y=np.repeat(layers, len(columns)), mode="text", showlegend=False,
        text=printed(values, digits), textfont={"size": FONT, "color": number_colours(values, low, high)}, **on,
    )  # fmt: skip
    return [heat, numbers]


def printed(values: np.ndarray, digits: int = 2) -> list[str]:
    """The values row by row as they are printed in the cells, "" where there is none."""
    return [f"{v:.{digits}f}" if np.isfinite(v) else "" for v in np.ravel(values)]


def number_colours(values: np.ndarray, low: float, high: float) -> list[str]:
    """White on the dark half of the scale and black on the light one: a contrast of 4 and more everywhere."""
    return ["#FFFFFF" if v < low + 0.48 * (high - low) else "#000000" for v in np.ravel(values)]


def curve_traces(dims, lines, trained, axes: tuple[str, str] = ("x", "y")) -> list[go.Scatter]:
    """Two traces a model: its line over all `dims`, and dots at its trained widths."""
    traces = []
    position = {d: i for i, d in enumerate(dims)}
    on = {"xaxis": axes[0], "yaxis": axes[1]}
    for i, (name, values) in enumerate(lines.items()):
        colour = COLOURS[i % len(COLOURS)]
        line = {"color": colour, "width": 3, "dash": ("solid", "dash", "dot", "dashdot")[i % 4]}
        tip = f"{name}, d = %{{customdata}}: %{{y:.3f}}<extra></extra>"
        dot = {"color": colour, "size": 10}
        marked = [d for d in trained.get(name, ()) if d in position]
        at = [values[position[d]] for d in marked]
        traces += [
            go.Scatter(x=curve_place(dims), y=values, customdata=list(dims), name=name, mode="lines", line=line,
                       hovertemplate=tip, **on),
            go.Scatter(x=curve_place(marked), y=at, name=f"{name}: trained widths", mode="markers", marker=dot,
                       showlegend=bool(marked), hoverinfo="skip", **on),
        ]  # fmt: skip
    return traces


def curve_place(dims: Sequence[int]) -> np.ndarray:
    """Where dimensions lie on a curve's axis: their base-2 logarithms (a linear axis, on which shapes move alike)."""
    return np.log2(np.asarray(dims, dtype=float))


def style(title: str = "") -> dict[str, Any]:
    """Layout that every figure shares: template, font, margins, title."""
    shared: dict[str, Any] = {
        "template": template.NAME, "font": {"size": FONT, "color": INK}, "hoverlabel": {"font": {"size": FONT}},
        "margin": {"l": 60, "r": 20, "t": 60 if title else 40, "b": 60},
    }  # fmt: skip
    if title:
        shared["title"] = {"text": title, "font": {"size": FONT + 3}, "x": 0.01, "xanchor": "left"}
    return shared


def heat_x(dims) -> dict[str, Any]:
    """Axis of a heat map's columns."""
    ticks = {"tickvals": list(range(len(dims))), "ticktext": [str(d) for d in dims]}
    limits = [-0.5, len(dims) - 0.5]
    return {"title": {"text": "dimension"}, **ticks, **LABELS, "range": limits, "showline": False, "ticks": ""}


def heat_y(layers) -> dict[str, Any]:
    """Axis of a heat map's rows: layer 1 at the foot, as in the network's picture."""
    limits = [min(layers) - 0.5, max(layers) + 0.5]
    ticks = {"tickvals": list(layers), **LABELS}
    return {"title": {"text": "layer"}, **ticks, "range": limits, "showline": False, "ticks": ""}


def curve_x(dims: Sequence[int], every: int = 1) -> dict[str, Any]:
    """Logarithmic axis of the dimension: ticks at powers of 2**every, and at the full width."""
    low, high = np.log2(min(dims)), np.log2(max(dims))
    ticks = [2**i for i in range(0, 13, every) if low <= i <= high - 0.5 * every] + [int(max(dims))]
    places = {"tickvals": curve_place(ticks), "ticktext": [str(t) for t in ticks], **LABELS}
    return {"title": {"text": "dimension (log scale)"}, **places, "range": [low - 0.1, high + 0.15], "showgrid": True}


def curve_y(metric: str, high: float) -> dict[str, Any]:
    """Axis of a quality from 0 to `high`; fixed, so that two layers can be compared."""
    return {"title": {"text": metric_title(metric)}, "range": [-0.02 * high, 1.08 * high], "showgrid": True}


def legend(x: float) -> dict[str, Any]:
    """A legend inside the plot, its upper left corner at `x` of the figure's width."""
    return {"x": x, "y": 0.99, "xanchor": "left", "yanchor": "top", "bgcolor": "rgba(255,255,255,0.8)"}


def heading(text: str, x: float, anchor: str = "center") -> dict[str, Any]:
    """A heading above a subplot, as a plotly annotation."""
    place = {"xref": "paper", "yref": "paper", "x": x, "y": 1.0, "xanchor": anchor, "yanchor": "bottom", "yshift": 6}
    return {"text": text, "showarrow": False, "font": {"size": FONT + 1, "color": INK}, **place}
