"""Figures of lesson 10: spectra by layer, quality by way of cutting, quality against bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from evidence.curve_figures import Lines, Look, curve, curve_x, curve_y, default_look, side_by_side
from mrl_tutorial.panels import plots

LOOKS = {
    "PCA": Look(plots.COLORS[0], "solid"),
    "prefix": Look(plots.COLORS[1], "dash"),
    "random coordinates": Look(plots.COLORS[2], "dot"),
    "PCA, mean kept": Look(plots.COLORS[3], "dashdot"),
    "SVD": Look(plots.COLORS[4], "longdash"),
}
"""The look of each way of reducing, the same in every figure."""


def spectra(values: Mapping[str, np.ndarray], *, title: str = "") -> go.Figure:
    """Cumulative share of variance against the number of components, a line each.

    values: name -> (D,) variances of any scale, the largest first.

    >>> spectra({"layer 1": np.array([3.0, 1.0])}).data[0].y.tolist()
    [0.75, 1.0]
    """
    figure, width = go.Figure(), max(len(v) for v in values.values())
    k = np.unique(np.rint(np.geomspace(1, width, 50)).astype(int)).tolist()
    for i, (name, v) in enumerate(values.items()):
        share, look = np.cumsum(v)[np.minimum(k, len(v)) - 1] / np.sum(v), default_look(i)
        figure.add_trace(curve(k, share, name, look.color, look.dash))
    figure.update_layout(**plots.style(title), height=400, legend=plots.legend(0.02))
    figure.update_xaxes(**curve_x(range(1, width + 1)) | {"title": {"text": "components kept (log scale)"}})
    return figure.update_yaxes(title="share of variance kept", range=[0, 1.05], tickformat=".0%", showgrid=True)


def ways(tables: Mapping[str, Lines], dims: Sequence[int], *, metric: str = "ndcg@10", title: str = "") -> go.Figure:
    """A panel a model, a line a way of reducing, on one scale. tables: model -> way -> (len(dims),)."""
    high = max(float(np.max(v)) for table in tables.values() for v in table.values())
    return side_by_side(dims, tables, y=curve_y(metric, high), looks=LOOKS, title=title)


def front(
    points: Mapping[str, Sequence[tuple[int, float, str]]],
    best: Sequence[tuple[int, float]],
    *,
    metric: str = "ndcg@10",
    title: str = "",
    x: str = "bytes a vector (log scale)",
) -> go.Figure:
    """Quality against bytes, a color and symbol a way of storing; a step line joins the front.

    points: way -> (bytes, quality, label). best: (bytes, quality) of the front, cheapest first.
    """
    figure, symbols = go.Figure(), ("circle", "square", "diamond", "triangle-up", "cross", "x")
    step = {"color": plots.GRAY, "width": 6, "shape": "hv"}
    sizes, qualities = zip(*best, strict=True)
    figure.add_scatter(
        x=np.log2(sizes), y=qualities, mode="lines", name="front", hoverinfo="skip", line=step, opacity=0.5
    )
    for i, (way, row) in enumerate(points.items()):
        sizes, qualities, labels = zip(*row, strict=True)
        color = plots.COLORS[i % len(plots.COLORS)]
        marker = {"color": color, "symbol": symbols[i % len(symbols)], "size": 11}
        figure.add_scatter(x=np.log2(sizes), y=qualities, text=labels, name=way, marker=marker)
        figure.data[-1].update(
            mode="lines+markers+text", textposition="top center", line={"color": color, "width": 1.5}
        )
        figure.data[-1].update(textfont={"size": 14, "color": color})
    every = np.log2([size for row in points.values() for size, *_ in row])
    ticks = np.arange(np.ceil(every.min()), np.floor(every.max()) + 1)
    figure.update_layout(**plots.style(title), height=480, legend={"orientation": "h", "y": -0.22, "x": 0})
    figure.update_xaxes(title=x, tickvals=ticks, ticktext=[f"{2**t:,.0f}" for t in ticks], showgrid=True)
    return figure.update_yaxes(title=plots.metric_title(metric), showgrid=True, rangemode="tozero")
