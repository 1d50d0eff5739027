"""Lines over dimensions, for several lessons: panels side by side on one scale, and differences with their bounds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import MARGIN, Difference
from mrl_tutorial.panels import plots

Lines = Mapping[str, np.ndarray]
SHARE = {"title": {"text": "kept of full width"}, "range": [0, 1.05], "tickformat": ".0%", "showgrid": True}
"""The vertical axis of a quality as a share of full width's."""


@dataclass(frozen=True)
class Look:
    """How a line is drawn; symbol: of its markers, None for a line without any."""

    color: str
    dash: str = "solid"
    symbol: str | None = None


def default_look(i: int) -> Look:
    """The look of the i-th line where none is chosen."""
    return Look(plots.COLORS[i % len(plots.COLORS)], plots.DASHES[i % len(plots.DASHES)])


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
    return plots.trace("scatter", curve_place(dims), values, name, place, **line, hovertemplate=tip)


def curve_place(dims: Sequence[int]) -> np.ndarray:
    """Where dimensions lie on a curve's axis: their base-2 logarithms (a linear axis, on which shapes move alike)."""
    return np.log2(np.asarray(dims, dtype=float))


def curve_x(dims: Sequence[int], every: int = 1) -> dict[str, Any]:
    """The logarithmic axis of the dimension, with ticks at the powers of 2**every and at the full width."""
    low, high = np.log2(min(dims)), np.log2(max(dims))
    ticks = [2**i for i in range(0, 13, every) if low <= i <= high - 0.5 * every] + [int(max(dims))]
    places = {"tickvals": curve_place(ticks), "ticktext": [str(t) for t in ticks], **plots.LABELS}
    return {"title": {"text": "dimension (log scale)"}, **places, "range": [low - 0.1, high + 0.15], "showgrid": True}


def side_by_side(
    dims: Sequence[int],
    panels: Mapping[str, Lines],
    *,
    y: Mapping[str, Any],
    looks: Mapping[str, Look] | None = None,
    spread: Mapping[str, Lines] | None = None,
    x_title: str = "dimension (log scale)",
    title: str = "",
) -> go.Figure:
    """Lines against dimension, a panel each heading, all on one scale; a name has the same look in every panel.

    panels: heading -> name -> (len(dims),). y: the vertical axis. spread: of the form of panels, half the length of
    error bars. Raises InputError where there is nothing to draw, or a line has another length.

    >>> line = np.array([0.5, 1.0])
    >>> figure = side_by_side((8, 16), {"plain": {"search": line}, "mrl": {"search": line}}, y=SHARE)
    >>> [(trace.name, trace.xaxis) for trace in figure.data]
    [('search', 'x'), ('search', 'x2')]
    """
    names = list(dict.fromkeys(name for lines in panels.values() for name in lines))
    if not names:
        raise InputError("nothing to draw: give at least one heading -> {name: values}")
    if any(np.shape(line) != (len(dims),) for lines in panels.values() for line in lines.values()):
        raise InputError(f"every line needs {len(dims)} values, one a dimension")
    figure, gap, shown = go.Figure(), 0.07, set()
    width = (1 - gap * (len(panels) - 1)) / len(panels)
    for i, (head, lines) in enumerate(panels.items()):
        start = i * (width + gap)
        for name, values in lines.items():
            look = (looks or {}).get(name) or default_look(names.index(name))
            bars = (spread or {}).get(head, {}).get(name)
            figure.add_trace(_line(dims, values, name, look, i + 1, bars) | {"showlegend": name not in shown})
            shown.add(name)
        crowded = len(panels) * len(dims) > 18
        x_axis = curve_x(dims, every=2 if crowded else 1) | {"title": {"text": x_title}}
        figure.layout[f"xaxis{i + 1}"] = {**x_axis, "domain": [start, min(1.0, start + width)], "anchor": f"y{i + 1}"}
        figure.layout[f"yaxis{i + 1}"] = {**y, **({"title": None} if i else {}), "anchor": f"x{i + 1}"}
        figure.add_annotation(**plots.heading(head, start + width / 2))
    figure.update_layout(**plots.style(title), height=460)
    below = {"orientation": "h", "x": 0, "y": -0.27, "yanchor": "top", "xanchor": "left"}
    return figure.update_layout(legend=below, margin={"t": 90 if title else 50, "b": 130})


def _line(
    dims: Sequence[int], values: np.ndarray, name: str, look: Look, place: int, bars: np.ndarray | None
) -> dict[str, Any]:
    trace = curve(dims, np.round(values, 4), name, look.color, look.dash, place) | {"legendgroup": name}
    if look.symbol:
        trace |= {"mode": "lines+markers", "marker": {"symbol": look.symbol, "size": 9, "color": look.color}}
    if bars is not None:
        trace["error_y"] = {"array": np.round(bars, 4), "thickness": 1.5, "width": 4}
    return trace


def difference_lines(
    differences: Mapping[str, Mapping[int, Difference]],
    *,
    dim: int | None = None,
    title: str = "",
    what: str = "difference in nDCG@10",
) -> go.Figure:
    """Differences against dimension, a line each, its bounds as bars; in the band of ±0.01 a difference is too small
    to care about, the upright rule stands at `dim`.

    differences: name -> dimension -> Difference. Raises InputError where there is nothing to draw.
    """
    if not differences or not all(differences.values()):
        raise InputError("no differences to draw: give at least one name -> {dimension: Difference}")
    figure = go.Figure()
    for i, (name, line) in enumerate(differences.items()):
        dims, look = sorted(line), default_look(i)
        mean, low, high = (np.array([getattr(line[d], part) for d in dims]) for part in ("mean", "low", "high"))
        trace = curve(dims, mean, name, look.color, look.dash)
        aside = 0.04 * (i - (len(differences) - 1) / 2)  # bars of different lines do not lie on each other
        bars = {"symmetric": False, "array": high - mean, "arrayminus": mean - low, "thickness": 2, "width": 5}
        figure.add_trace(
            trace | {"x": trace["x"] + aside, "mode": "lines+markers", "marker": {"size": 9}, "error_y": bars}
        )
    inside = {"x": 0.99, "y": 0.99, "xanchor": "right", "yanchor": "top"}
    figure.update_layout(**plots.style(title), height=430, legend=inside)
    figure.add_hline(y=0, line={"color": plots.INK, "width": 1})
    figure.add_hrect(y0=-MARGIN, y1=MARGIN, fillcolor=plots.INK, opacity=0.1, line_width=0)
    figure.update_xaxes(**curve_x(sorted({d for line in differences.values() for d in line})))
    figure.update_yaxes(title_text=what, showgrid=True)
    upright = {"color": plots.INK, "width": 2, "dash": "dot"}
    return figure.add_vline(x=float(np.log2(dim)), line=upright) if dim else figure
