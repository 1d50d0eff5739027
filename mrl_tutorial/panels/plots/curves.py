"""Curves of quality against dimension, on a logarithmic axis. Data in, plotly figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.panels.plots.heatmaps import limits_of
from mrl_tutorial.panels.plots.style import (
    COLORS,
    DASHES,
    INK,
    LABELS,
    legend,
    metric_title,
    outline,
    style,
    trace,
    upright,
)


def curves(
    dims: Sequence[int],
    lines: Mapping[str, np.ndarray],
    *,
    metric: str = "ndcg@10",
    title: str = "",
    trained: Mapping[str, Sequence[int]] | None = None,
    dim: int | None = None,
) -> go.Figure:
    """Quality against dimension: a line for each model, a dot at every trained width, an upright rule at `dim`.

    lines: name -> (len(dims),), NaN where there is no value yet.

    >>> figure = curves((8, 16), {"plain": np.array([0.2, 0.3])}, trained={"plain": (8,)})
    >>> [trace.name for trace in figure.data]
    ['plain', 'plain: trained widths']
    """
    figure = go.Figure(curve_traces(dims, lines, trained or {}))
    figure.update_layout(**style(title), height=400, legend=legend(0.02))
    figure.update_xaxes(**curve_x(dims))
    figure.update_yaxes(**curve_y(metric, limits_of(lines.values())[1]))
    return figure.add_shape(**dim_rule(dim)) if dim else figure


def curve_traces(
    dims: Sequence[int],
    lines: Mapping[str, np.ndarray],
    trained: Mapping[str, Sequence[int]],
    place: int = 1,
) -> list[dict[str, Any]]:
    """Two traces for each model, as plain data: its line over all `dims`, and dots at its trained widths."""
    traces: list[dict[str, Any]] = []
    at = {d: i for i, d in enumerate(dims)}
    for i, (name, values) in enumerate(lines.items()):
        color = COLORS[i % len(COLORS)]
        traces.append(curve(dims, values, name, color, DASHES[i % len(DASHES)], place))
        marked = [d for d in trained.get(name, ()) if d in at]
        look = {"mode": "markers", "marker": {"color": color, "size": 10}, "hoverinfo": "skip"}
        heights = [values[at[d]] for d in marked]
        dots = trace("scatter", curve_place(marked), heights, f"{name}: trained widths", place, **look)
        traces.append({**dots, "showlegend": bool(marked)})
    return traces


def curve(
    dims: Sequence[int],
    values: np.ndarray,
    name: str,
    color: str,
    dash: str = "solid",
    place: int = 1,
    width: float = 3,
) -> dict[str, Any]:
    """One line over dimensions, as plain data. dims, values: (M,)."""
    line = {"mode": "lines", "line": {"color": color, "width": width, "dash": dash}, "customdata": list(dims)}
    tip = f"{name}, d = %{{customdata}}: %{{y:.3f}}<extra></extra>"
    return trace("scatter", curve_place(dims), values, name, place, **line, hovertemplate=tip)


def curve_place(dims: Sequence[int]) -> np.ndarray:
    """Where dimensions lie on a curve's axis: their base-2 logarithms (a linear axis, on which shapes move alike)."""
    return np.log2(np.asarray(dims, dtype=float))


def curve_x(dims: Sequence[int], every: int = 1) -> dict[str, Any]:
    """The logarithmic axis of the dimension, with ticks at the powers of 2**every and at the full width."""
    low, high = np.log2(min(dims)), np.log2(max(dims))
    ticks = [2**i for i in range(0, 13, every) if low <= i <= high - 0.5 * every] + [int(max(dims))]
    places = {"tickvals": curve_place(ticks), "ticktext": [str(t) for t in ticks], **LABELS}
    return {"title": {"text": "dimension (log scale)"}, **places, "range": [low - 0.1, high + 0.15], "showgrid": True}


def curve_y(metric: str, high: float) -> dict[str, Any]:
    """The axis of a quality from 0 to `high`; it is fixed, so that two layers can be compared."""
    return {"title": {"text": metric_title(metric)}, "range": [-0.02 * high, 1.08 * high], "showgrid": True}


def dim_rule(dim: int, axis: str = "x") -> dict[str, Any]:
    """The upright rule at the current dimension of a curve, as a plotly shape."""
    return upright(float(np.log2(dim)), axis)


def point_mark(dim: int, value: float, axis: str = "x") -> dict[str, Any]:
    """The ring around the current point of a curve, as a plotly shape sized in pixels, so that it stays round."""
    known = bool(np.isfinite(value))
    anchor = {"xref": axis, "yref": axis.replace("x", "y"), "xanchor": float(np.log2(dim))}
    size = {"xsizemode": "pixel", "ysizemode": "pixel", "x0": -8, "x1": 8, "y0": -8, "y1": 8}
    return {"type": "circle", **anchor, "yanchor": value if known else 0, **size, "visible": known, **outline(INK, 3)}
