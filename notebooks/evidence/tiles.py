"""Many grids in one small figure: colored tiles without printed numbers, for patterns rather than values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import plots

GAP, ROW = 0.03, 205  # between columns, as a share of the width; height of a row in pixels

Tile = tuple[np.ndarray, Sequence[int], Sequence[int]]


def tiles(
    tables: Mapping[str, Tile],
    *,
    bar: str,
    title: str = "",
    limits: tuple[float, float] | None = None,
    columns: int = 4,
    difference: bool = False,
    digits: int = 2,
) -> go.Figure:
    """Layer x dimension tables as rows of tiles on one color scale; the value of a cell shows under the pointer.

    tables: name -> ((L, M) values, layers, dims), each with its own axes; NaN is an empty cell. bar: what the color
    means. difference: blue above 0, vermilion below, the same scale both ways. Raises InputError where a table does not
    fit its axes, or none is given.

    >>> figure = tiles({"plain": (np.array([[0.1, 0.2]]), (1,), (8, 16))}, bar="nDCG@10")
    >>> figure.data[0].name, figure.data[0].zmax
    ('plain', 0.2)
    """
    if not tables:
        raise InputError("no table to draw: give at least one name -> (values, layers, dims)")
    for name, (values, layers, dims) in tables.items():
        if np.shape(values) != (len(layers), len(dims)):
            raise InputError(
                f"table {name!r} of shape {np.shape(values)} does not fit {len(layers)} layers x {len(dims)} dimensions"
            )
    low, high = limits or plots.limits_of([values for values, *_ in tables.values()], difference)
    columns = min(columns, len(tables))
    rows, figure = ceil(len(tables) / columns), go.Figure()
    shared = {
        "zmin": low, "zmax": high, "xgap": 1, "ygap": 1, "colorscale": plots.DIVERGING if difference else plots.SCALE,
        "hovertemplate": f"layer %{{y}}, %{{x}} dimensions: %{{z:.{digits + 1}f}}<extra></extra>",
        "colorbar": {"title": {"text": bar, "side": "right"}, "thickness": 14, "outlinewidth": 0},
    }  # fmt: skip
    for i, (name, (values, layers, dims)) in enumerate(tables.items()):
        z = np.asarray(values, dtype=float).round(digits + 2)
        ticks = {"x": [str(d) for d in dims], "y": [str(layer) for layer in layers]}
        figure.add_heatmap(z=z, name=name, xaxis=f"x{i + 1}", yaxis=f"y{i + 1}", showscale=i == 0, **ticks, **shared)
        x, y, heading = _place(name, i, rows, columns, ticks)
        figure.layout[f"xaxis{i + 1}"], figure.layout[f"yaxis{i + 1}"] = x, y
        figure.add_annotation(**heading)
    figure.update_layout(**plots.style(title), height=70 + ROW * rows + (34 if title else 0))
    return figure.update_layout(margin={"t": 68 if title else 34, "b": 8, "l": 50})


def _place(name: str, i: int, rows: int, columns: int, ticks: Mapping[str, list[str]]) -> tuple[dict[str, Any], ...]:
    """The two axes and the heading of tile i."""
    row, column = divmod(i, columns)
    width, height = (1 - GAP * (columns - 1)) / columns, 1 / rows
    left, top = column * (width + GAP), 1 - row * height
    bare = {"showline": False, "ticks": "", "type": "category"}
    x = {"domain": [left, left + width], "anchor": f"y{i + 1}", "tickangle": 0, "tickvals": ticks["x"][::2]}
    y = {"domain": [top - height + 66 / (ROW * rows), top], "anchor": f"x{i + 1}", "tickvals": ticks["y"]}
    small = {"y": top, "font": {"size": plots.FONT}, "yshift": 2}
    return (
        x | bare,
        y | bare | {"title": {"text": "" if column else "layer"}},
        plots.heading(name, left + width / 2) | small,
    )
