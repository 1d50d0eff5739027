"""Many grids in one small figure: coloured tiles without printed numbers, for patterns rather than values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.plots import figures

# a loss is vermilion, a gain blue, no difference white: two colours that every eye tells apart
DIVERGING = [[0, "#D55E00"], [0.5, "#FFFFFF"], [1, "#0072B2"]]

Tile = tuple[np.ndarray, Sequence[int], Sequence[int]]


def tiles(
    tables: Mapping[str, Tile], *, bar: str, title: str = "", limits: tuple[float, float] | None = None, columns: int = 4,
    difference: bool = False, digits: int = 2,
) -> go.Figure:  # fmt: skip
    """Layer x dimension tables as rows of tiles on one colour scale; the value of a cell shows under the pointer.

    tables: name -> ((L, M) values, layers, dims), each with its own axes; NaN is an empty cell. bar: what the colour
    means. difference: blue above 0, vermilion below, the same scale both ways. Raises InputError where a table does not
    fit its axes, or none is given.
    """
    if not tables:
        raise InputError("no table to draw: give at least one name -> (values, layers, dims)")
    for name, (values, layers, dims) in tables.items():
        if np.shape(values) != (len(layers), len(dims)):
            raise InputError(
                f"table {name!r} of shape {np.shape(values)} does not fit {len(layers)} layers x {len(dims)} dimensions"
            )
    low, high = limits or figures.limits_of([t[0] for t in tables.values()])
    if difference:
        high = max(abs(low), abs(high))
        low = -high
    columns = min(columns, len(tables))
    rows = ceil(len(tables) / columns)
    figure, pixels = go.Figure(), 70 + 205 * rows + (34 if title else 0)
    wide, tall, gap = (1 - 0.03 * (columns - 1)) / columns, 1 / rows, 66 / (205 * rows)
    for i, (name, (values, layers, dims)) in enumerate(tables.items()):
        row, place = divmod(i, columns)
        suffix = "" if i == 0 else str(i + 1)
        left, top = place * (wide + 0.03), 1 - row * tall
        figure.add_heatmap(
            z=np.asarray(values, dtype=float).round(digits + 2), x=[str(d) for d in dims], y=[str(x) for x in layers], zmin=low, zmax=high, xgap=1, ygap=1,
            colorscale=DIVERGING if difference else figures.SCALE, xaxis=f"x{suffix}", yaxis=f"y{suffix}", name=name,
            hovertemplate=f"layer %{{y}}, %{{x}} dimensions: %{{z:.{digits + 1}f}}<extra></extra>", showscale=i == 0,
            colorbar={"title": {"text": bar, "side": "right"}, "thickness": 14, "outlinewidth": 0},
        )  # fmt: skip
        shown = range(0, len(dims), 2)
        figure.layout[f"xaxis{suffix}"] = {
            "domain": [left, left + wide], "anchor": f"y{suffix}", "showline": False, "ticks": "", "tickangle": 0,
            "type": "category", "tickvals": [str(dims[j]) for j in shown],
        }  # fmt: skip
        figure.layout[f"yaxis{suffix}"] = {
            "domain": [top - tall + gap, top], "anchor": f"x{suffix}", "showline": False, "ticks": "",
            "type": "category", "tickvals": [str(x) for x in layers],
            "title": {"text": "" if place else "layer"},
        }  # fmt: skip
        figure.add_annotation(
            **{**figures.heading(name, left + wide / 2), "y": top, "font": {"size": figures.FONT}, "yshift": 2}
        )
    figure.update_layout(**figures.style(title), height=pixels)
    figure.update_layout(margin={"t": 68 if title else 34, "b": 8, "l": 50})
    return figure
