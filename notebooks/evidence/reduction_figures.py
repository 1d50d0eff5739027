"""Pictures of reductions: spectra by layer, quality by way of cutting, quality against bytes. Data in, figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.panels.plots import figures

#: one colour and dash for each way of reducing, the same in every figure
LOOKS = {
    "PCA": (figures.COLOURS[0], "solid"), "prefix": (figures.COLOURS[1], "dash"),
    "random coordinates": (figures.COLOURS[2], "dot"), "PCA, mean kept": (figures.COLOURS[3], "dashdot"),
    "SVD": (figures.COLOURS[4], "longdash"),
}  # fmt: skip


def spectra(values: Mapping[str, np.ndarray], *, title: str = "") -> go.Figure:
    """Cumulative share of variance against the number of components, a line each. values: name -> (D,) variances,
    largest first, of any scale."""
    figure, width = go.Figure(), max(len(v) for v in values.values())
    k = np.unique(np.rint(np.geomspace(1, width, 50)).astype(int))
    for i, (name, v) in enumerate(values.items()):
        look = {"color": figures.COLOURS[i % 6], "width": 3, "dash": ("solid", "dash", "dot", "dashdot")[i % 4]}
        share = np.cumsum(v)[np.minimum(k, len(v)) - 1] / np.sum(v)
        figure.add_scatter(x=figures.curve_place(k), y=share, name=name, mode="lines", line=look)
    figure.update_layout(**figures.style(title), height=400, legend=figures.legend(0.02))
    figure.update_xaxes(**(figures.curve_x(range(1, width + 1)) | {"title": {"text": "components kept (log scale)"}}))
    return figure.update_yaxes(title="share of variance kept", range=[0, 1.05], tickformat=".0%", showgrid=True)


def ways(tables: Mapping[str, Mapping[str, np.ndarray]], dims: Sequence[int], *, metric: str = "ndcg@10",
         title: str = "", spread: Mapping[str, Mapping[str, np.ndarray]] | None = None) -> go.Figure:  # fmt: skip
    """Side by side, a plot a model, a line a way of reducing, on one scale. tables: model -> way -> (len(dims),).

    spread: of the same form, half the length of error bars.
    """
    figure, n, high = go.Figure(), len(tables), max(float(np.max(v)) for t in tables.values() for v in t.values())
    width, shown = (1 - 0.06 * (n - 1)) / n, set()
    layout: dict[str, Any] = {}
    for i, (model, table) in enumerate(tables.items()):
        axes, start = (f"x{i + 1}", f"y{i + 1}"), i * (width + 0.06)
        for way, values in table.items():
            colour, dash = LOOKS.get(way, (figures.INK, "solid"))
            bars = (spread or {}).get(model, {}).get(way)
            figure.add_scatter(
                x=figures.curve_place(dims), y=values, name=way, legendgroup=way, showlegend=way not in shown,
                mode="lines",
                line={"color": colour, "width": 3, "dash": dash}, xaxis=axes[0], yaxis=axes[1],
                error_y=None if bars is None else {"array": bars, "thickness": 1.5, "width": 4},
            )  # fmt: skip
            shown.add(way)
        layout[f"xaxis{i + 1}"] = {
            **figures.curve_x(dims, every=2 if n > 1 else 1), "domain": [start, start + width], "anchor": axes[1],
        }  # fmt: skip
        layout[f"yaxis{i + 1}"] = {**figures.curve_y(metric, high), "anchor": axes[0], **({"title": None} if i else {})}
        figure.add_annotation(**figures.heading(model, start + width / 2))
    below = {"orientation": "h", "x": 0, "y": -0.2, "yanchor": "top"}
    figure.update_layout(**figures.style(title), height=460, legend=below, **layout)
    return figure.update_layout(margin={"t": 90 if title else 50})


def front(points: Mapping[str, Sequence[tuple[int, float, str]]], best: Sequence[tuple[int, float]], *,
          metric: str = "ndcg@10", title: str = "", x: str = "bytes a vector (log scale)") -> go.Figure:  # fmt: skip
    """Quality against bytes, a colour and symbol a way of storing; a step line joins the front.

    points: way -> (bytes, quality, label). best: (bytes, quality) of the front, cheapest first.
    """
    figure = go.Figure()
    figure.add_scatter(
        x=np.log2([b for b, _ in best]), y=[q for _, q in best], mode="lines", name="front", hoverinfo="skip",
        line={"color": "#8C8C8C", "width": 6, "shape": "hv"}, opacity=0.5,
    )  # fmt: skip
    symbols = ("circle", "square", "diamond", "triangle-up", "cross", "x")
    for i, (way, row) in enumerate(points.items()):
        figure.add_scatter(
            x=np.log2([b for b, _, _ in row]), y=[q for _, q, _ in row], text=[label for _, _, label in row], name=way,
            mode="lines+markers+text", textposition="top center",
            textfont={"size": 14, "color": figures.COLOURS[i % 6]},
            marker={"color": figures.COLOURS[i % 6], "symbol": symbols[i % 6], "size": 11},
            line={"color": figures.COLOURS[i % 6], "width": 1.5},
        )  # fmt: skip
    every = np.concatenate([np.log2([b for b, _, _ in row]) for row in points.values()])
    ticks = np.arange(np.ceil(every.min()), np.floor(every.max()) + 1)
    figure.update_layout(**figures.style(title), height=480, legend={"orientation": "h", "y": -0.22, "x": 0})
    figure.update_xaxes(title=x, tickvals=ticks, ticktext=[f"{2**t:,.0f}" for t in ticks], showgrid=True)
    return figure.update_yaxes(title=figures.metric_title(metric), showgrid=True, rangemode="tozero")
