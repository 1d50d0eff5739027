"""Heat maps of layer x dimension tables. Data in, plotly figures out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid
from mrl_tutorial.panels.plots.style import DIVERGING, FONT, LABELS, SCALE, metric_title, style


def heatmap(values: np.ndarray, layers: Sequence[int], dims: Sequence[int], **options: Any) -> go.Figure:
    """A layer x dimension heat map with every value printed. values: (len(layers), len(dims)), NaN for a cell without
    a value. options and errors: those of `heatmaps`.

    >>> figure = heatmap(np.array([[0.1, 0.2], [0.3, 0.4]]), layers=(1, 2), dims=(8, 16))
    >>> list(figure.data[1].text)
    ['0.10', '0.20', '0.30', '0.40']
    """
    return heatmaps({"": values}, layers, dims, **options)


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
    difference: bool = False,
) -> go.Figure:
    """Several layer x dimension tables side by side on one color scale: models, loss terms or a recipe's weights.

    tables: heading -> (len(layers), len(dims)). limits: (low, high) of the color scale; give the same to all figures
    that are to be compared. difference: blue above 0, vermilion below, white at 0. Raises InputError where a shape
    disagrees or nothing is given.
    """
    if not tables:
        raise InputError("no table to draw: give at least one name -> (layers, dims) array")
    arrays = [np.asarray(table, dtype=float) for table in tables.values()]
    for values in arrays:
        if values.shape != (len(layers), len(dims)):
            raise InputError(
                f"a table of shape {values.shape} does not fit {len(layers)} layers x {len(dims)} dimensions: "
                f"give an array of shape ({len(layers)}, {len(dims)})"
            )
    low, high = limits or limits_of(arrays, difference)
    bar = {"title": {"text": metric_title(metric), "side": "right"}, "thickness": 14, "outlinewidth": 0}
    scale = {"zmin": low, "zmax": high, "colorscale": DIVERGING if difference else SCALE, "colorbar": bar}
    # the columns lie at 0 … M−1, whatever the dimensions; layer 1 is at the foot, as in drawings of the network
    columns, rows = list(range(len(dims))), list(layers)
    headings = [*tables] if any(tables) else None
    figure = make_subplots(1, len(arrays), subplot_titles=headings, horizontal_spacing=0.05)
    for i, values in enumerate(arrays, start=1):
        cells = {"xgap": 2, "ygap": 2, "hoverinfo": "skip", "showscale": i == len(arrays)}
        figure.add_heatmap(x=columns, y=rows, z=values, row=1, col=i, **cells, **scale)
        printed = [f"{v:z.{digits}f}" if np.isfinite(v) else "" for v in values.ravel()]
        ink = ["#000000"] * values.size if difference else number_colors(values, low, high)
        look = {"mode": "text", "textfont": {"size": FONT, "color": ink}, "hoverinfo": "skip", "showlegend": False}
        figure.add_scatter(x=columns * len(rows), y=np.repeat(rows, len(dims)), text=printed, row=1, col=i, **look)
    bare = {"showline": False, "ticks": "", **LABELS}
    ends = [-0.5, len(dims) - 0.5]
    figure.update_xaxes(title="dimension", tickvals=columns, ticktext=[str(d) for d in dims], range=ends, **bare)
    figure.update_yaxes(tickvals=rows, range=[min(rows) - 0.5, max(rows) + 0.5], **bare)
    figure.update_yaxes(title="layer", col=1)
    figure.update_layout(**style(title), height=130 + 48 * len(rows) + 60 * bool(headings))
    # a title needs room for the tables' own headings under it
    return figure.update_layout(margin={"t": 84}) if title and headings else figure


def number_colors(values: np.ndarray, low: float, high: float) -> list[str]:
    """White on the dark half of the scale and black on the light one: a contrast of 4 or more everywhere."""
    return ["#FFFFFF" if v < low + 0.48 * (high - low) else "#000000" for v in np.ravel(values)]


def limits_of(tables: Iterable[np.ndarray], difference: bool = False) -> tuple[float, float]:
    """(low, high) over every finite value of the tables; low is 0 or below, so that a color stands for a quality; of
    differences -high, so that white stands for none."""
    values = np.concatenate([np.zeros(0), *map(np.ravel, tables)])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low, high = min(0.0, float(finite.min())), max(1e-6, float(finite.max()))
    return (-max(-low, high), max(-low, high)) if difference else (low, high)
