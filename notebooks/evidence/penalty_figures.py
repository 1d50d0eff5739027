"""Figures of notebook 03: penalty curves side by side, differences with their bounds. Data in, plotly figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import MARGIN, Difference
from mrl_tutorial.panels.plots.figures import COLOURS, INK, curve_place, curve_traces, curve_x, dim_rule, style


def penalty_panels(
    dims: Sequence[int], panels: Mapping[str, Mapping[str, np.ndarray]], *, title: str = ""
) -> go.Figure:
    """Shares of full-width quality against dimension, a panel a model, a line a task, one axis for all.

    panels: heading -> task -> (len(dims),), 1 being full width. The same tasks in every panel: colours stand for tasks.
    Raises InputError where a shape disagrees, or the panels hold different tasks.
    """
    names = [list(lines) for lines in panels.values()]
    if not names or any(n != names[0] for n in names) or not names[0]:
        raise InputError("every panel needs the same tasks in the same order: their colours are shared")
    if any(np.shape(line) != (len(dims),) for lines in panels.values() for line in lines.values()):
        raise InputError(f"every line needs {len(dims)} values, one a dimension")
    figure = make_subplots(cols=len(panels), shared_yaxes=True, subplot_titles=list(panels), horizontal_spacing=0.04)
    for column, lines in enumerate(panels.values(), 1):
        axes = ("x", "y") if column == 1 else (f"x{column}", f"y{column}")
        for trace in curve_traces(dims, lines, {}, axes)[::2]:
            figure.add_trace(trace.update(showlegend=column == 1, legendgroup=trace.name))
    figure.update_layout(**style(title), height=460, legend={"orientation": "h", "y": -0.27, "x": 0})
    figure.update_layout(margin={"l": 60, "r": 20, "t": 90 if title else 50, "b": 100})
    figure.update_xaxes(**curve_x(dims))
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%", showgrid=True)
    figure.update_yaxes(title_text="kept of full width", col=1)
    return figure


def difference_lines(
    differences: Mapping[str, Mapping[int, Difference]],
    *,
    dim: int | None = None,
    title: str = "",
    what: str = "difference in nDCG@10",
) -> go.Figure:
    """Differences against dimension, a line each with its bounds as bars; the band of +-0.01 is "no difference worth
    the name", the upright rule stands at `dim`. Raises InputError where there is nothing to draw."""
    if not differences or not all(differences.values()):
        raise InputError("no differences to draw: give at least one name -> {dimension: Difference}")
    dims = sorted({d for line in differences.values() for d in line})
    figure = go.Figure()
    for i, (name, line) in enumerate(differences.items()):
        found = [line[d] for d in sorted(line)]
        colour = COLOURS[i % len(COLOURS)]
        figure.add_trace(
            go.Scatter(
                x=curve_place(sorted(line)) + 0.04 * (i - (len(differences) - 1) / 2), y=[f.mean for f in found], name=name,
                mode="lines+markers", line={"color": colour, "width": 3, "dash": ("solid", "dash", "dot", "dashdot")[i % 4]},
                marker={"size": 9}, customdata=sorted(line), hovertemplate=f"{name}, d = %{{customdata}}: %{{y:+.3f}}<extra></extra>",
                error_y={"symmetric": False, "array": [f.high - f.mean for f in found], "arrayminus": [f.mean - f.low for f in found],
                         "color": colour, "thickness": 2, "width": 5},
            )
        )  # fmt: skip
    figure.update_layout(
        **style(title), height=430, legend={"x": 0.99, "y": 0.99, "xanchor": "right", "yanchor": "top"}
    )
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.add_hrect(y0=-MARGIN, y1=MARGIN, fillcolor=INK, opacity=0.1, line_width=0)
    figure.update_xaxes(**curve_x(dims))
    figure.update_yaxes(title_text=what, showgrid=True)
    if dim:
        figure.add_shape(**dim_rule(dim))
    return figure
