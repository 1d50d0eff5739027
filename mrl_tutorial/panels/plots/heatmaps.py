"""Heat maps of layer x dimension tables. Data in, plotly figures out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid
from mrl_tutorial.panels.plots.style import (
    DIVERGING,
    FONT,
    LABELS,
    SCALE,
    heading,
    metric_title,
    style,
    subplot,
    trace,
)


def heatmap(
    values: np.ndarray,
    layers: Sequence[int],
    dims: Sequence[int],
    *,
    metric: str = "ndcg@10",
    title: str = "",
    limits: tuple[float, float] | None = None,
    digits: int = 2,
    difference: bool = False,
) -> go.Figure:
    """A layer x dimension heat map with every value printed.

    values: (len(layers), len(dims)), NaN for a cell without a value. limits: (low, high) of the color scale; give the
    same to all figures that are to be compared. difference: blue above 0, vermilion below, white at 0. Raises
    InputError where the shapes disagree.

    >>> figure = heatmap(np.array([[0.1, 0.2], [0.3, 0.4]]), layers=(1, 2), dims=(8, 16))
    >>> list(figure.data[1].text)
    ['0.10', '0.20', '0.30', '0.40']
    """
    values = _checked(values, layers, dims)
    low, high = limits or limits_of([values], difference)
    bar = metric_title(metric)
    figure = go.Figure(heat_traces(values, layers, low, high, digits=digits, bar=bar, difference=difference))
    figure.update_layout(**style(title), height=130 + 48 * len(layers))
    figure.update_xaxes(**heat_x(dims))
    return figure.update_yaxes(**heat_y(layers))


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

    tables: name -> (len(layers), len(dims)). difference: as in `heatmap`. Raises InputError where a shape disagrees or
    nothing is given.
    """
    if not tables:
        raise InputError("no table to draw: give at least one name -> (layers, dims) array")
    arrays = {name: _checked(table, layers, dims) for name, table in tables.items()}
    low, high = limits or limits_of(arrays.values(), difference)
    figure = go.Figure()
    width = (1 - 0.05 * (len(arrays) - 1)) / len(arrays)
    for i, (name, table) in enumerate(arrays.items()):
        bar = metric_title(metric) if i == len(arrays) - 1 else None
        look: dict[str, Any] = {"digits": digits, "bar": bar, "place": i + 1, "difference": difference}
        figure.add_traces(heat_traces(table, layers, low, high, **look))
        start = i * (width + 0.05)
        rows = heat_y(layers) | ({"title": None} if i else {})
        figure.update_layout(subplot(i + 1, (start, start + width), heat_x(dims), rows))
        figure.add_annotation(**heading(name, start + width / 2))
    figure.update_layout(**style(title), height=190 + (24 if title else 0) + 44 * len(layers))
    # a title needs room for the tables' own headings under it
    return figure.update_layout(margin={"t": 84}) if title else figure


def heat_traces(
    values: np.ndarray,
    layers: Sequence[int],
    low: float,
    high: float,
    *,
    digits: int = 2,
    bar: str | None = None,
    place: int = 1,
    difference: bool = False,
) -> list[dict[str, Any]]:
    """The heat map, with its columns at x = 0 … M−1, and its printed numbers, as plain data.

    bar: title of the color bar, None for no bar.
    """
    columns = list(range(values.shape[1]))
    limits = {"zmin": low, "zmax": high, "xgap": 2, "ygap": 2, "hoverinfo": "skip"}
    scale = {"title": {"text": bar, "side": "right"}, "thickness": 14, "outlinewidth": 0}
    colors = {"colorscale": DIVERGING if difference else SCALE, "colorbar": scale, "showscale": bar is not None}
    x, y = columns * len(layers), np.repeat(layers, len(columns))
    inks = ["#000000"] * values.size if difference else number_colors(values, low, high)
    look = {"mode": "text", "textfont": {"size": FONT, "color": inks}, "hoverinfo": "skip"}
    heat = trace("heatmap", columns, list(layers), "", place, z=values, **limits, **colors)
    return [heat, trace("scatter", x, y, "", place, text=printed(values, digits), **look)]


def printed(values: np.ndarray, digits: int = 2) -> list[str]:
    """The values row by row as they are printed in the cells, "" where there is none."""
    return [f"{v:z.{digits}f}" if np.isfinite(v) else "" for v in np.ravel(values)]


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


def heat_x(dims: Sequence[int]) -> dict[str, Any]:
    """The axis of a heat map's columns."""
    ticks = {"tickvals": list(range(len(dims))), "ticktext": [str(d) for d in dims], **LABELS}
    limits = [-0.5, len(dims) - 0.5]
    return {"title": {"text": "dimension"}, **ticks, "range": limits, "showline": False, "ticks": ""}


def heat_y(layers: Sequence[int]) -> dict[str, Any]:
    """The axis of a heat map's rows: layer 1 at the foot, as in drawings of the network."""
    limits = [min(layers) - 0.5, max(layers) + 0.5]
    ticks = {"tickvals": list(layers), **LABELS}
    return {"title": {"text": "layer"}, **ticks, "range": limits, "showline": False, "ticks": ""}


def _checked(values: np.ndarray, layers: Sequence[int], dims: Sequence[int]) -> np.ndarray:
    values = np.asarray(values, dtype=float)
    if values.shape != (len(layers), len(dims)):
        raise InputError(
            f"a table of shape {values.shape} does not fit {len(layers)} layers x {len(dims)} dimensions: "
            f"give an array of shape ({len(layers)}, {len(dims)})"
        )
    return values
