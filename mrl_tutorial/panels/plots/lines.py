"""Lines with their names at their ends. Data in, plotly figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.plots.style import DASHES, FONT, LABELS, colors_of, style, trace

HEIGHT = 400
GAP = 0.07  # between two names, as a share of the axis


def lines(
    x: Sequence[float],
    values: Mapping[str, Any],
    *,
    title: str = "",
    x_title: str = "dimension",
    y_title: str = "nDCG@10",
    doubling: bool = True,
    y_range: tuple[float, float] | None = None,
    bands: Mapping[str, Any] | None = None,
) -> go.Figure:
    """Lines over `x`, each with its name at its right end; a name has the same color in every figure and panel.

    values: name -> (M,), NaN where there is none, or a pair (x, values) for a line with places of its own; at most
    six. doubling: every step of the axis doubles x, as dimensions do; False: a linear axis. y_range: from 0 to a little
    above the highest value unless given. bands: name -> (M, 2), low and high, shaded behind its line.
    Raises InputError for more than six lines or for values that do not fit x.

    >>> figure = lines((8, 16), {"plain": [0.2, 0.3], "MRL": [0.3, 0.35]}, title="MRL keeps more")
    >>> [note.text for note in figure.layout.annotations]
    ['plain', 'MRL']
    """
    if not 0 < len(values) <= 6:
        raise InputError(f"{len(values)} lines in one figure: give between 1 and 6, or draw several figures")
    colors, data = colors_of(values), {name: _pair(name, line, x) for name, line in values.items()}
    place = np.log2 if doubling else np.asarray
    low, high = y_range or _range([y for _, y in data.values()])
    figure = go.Figure()
    for name, band in (bands or {}).items():
        edge = np.asarray(band, dtype=float)
        around = np.concatenate([place(data[name][0]), place(data[name][0])[::-1]])
        shade: dict[str, Any] = {
            "fill": "toself",
            "fillcolor": colors[name],
            "opacity": 0.15,
            "mode": "none",
            "hoverinfo": "skip",
        }
        figure.add_trace(trace("scatter", around, np.concatenate([edge[:, 0], edge[::-1, 1]]), **shade))
    for i, (name, (at, y)) in enumerate(data.items()):
        figure.add_trace(_line(name, at, place(at), y, colors[name], DASHES[i % len(DASHES)]))
    figure.update_layout(**style(title), height=HEIGHT, showlegend=False)
    figure.update_layout(
        margin={"r": 16 + round(0.56 * FONT * max(map(len, data)))},
        annotations=_names(data, colors, place, (low, high)),
    )
    every = np.unique(np.concatenate([at for at, _ in data.values()]))
    ticks = (
        {"tickvals": place(_ticks(every)), "ticktext": [f"{t:g}" for t in _ticks(every)], **LABELS} if doubling else {}
    )
    first, last = place(every[[0, -1]])
    limits = [first - 0.04 * (last - first), last + 0.02 * (last - first)] if last > first else None
    figure.update_xaxes(title={"text": x_title}, range=limits, showgrid=True, **ticks)
    return figure.update_yaxes(title={"text": y_title}, range=[low, high], showgrid=True)


def _pair(name: str, values: Any, x: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """A line's own places and values, or its values at `x`."""
    at, y = values if isinstance(values, tuple) else (x, values)
    at, y = np.asarray(at, dtype=float), np.asarray(y, dtype=float)
    if at.shape != y.shape or at.ndim != 1:
        raise InputError(
            f"the line {name!r} has values of shape {y.shape} for places of shape {at.shape}: give one each"
        )
    return at, y


def _range(values: Sequence[np.ndarray]) -> tuple[float, float]:
    """From 0, or a little below the lowest value where that is negative, to a little above the highest."""
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = min(0.0, float(every.min())), max(0.0, float(every.max()))
    room = 0.06 * (high - low or 1.0)
    return low - room * (low < 0), high + room


def _line(name: str, at: np.ndarray, place: np.ndarray, y: np.ndarray, color: str, dash: str) -> dict[str, Any]:
    dots = {"mode": "lines+markers", "marker": {"size": 8}} if len(at) <= 16 else {"mode": "lines"}
    look: dict[str, Any] = {**dots, "line": {"color": color, "width": 3, "dash": dash}, "customdata": at}
    tip = f"{name}, %{{customdata:.6~g}}: %{{y:.3f}}<extra></extra>"
    return trace("scatter", place, y, name, **look, hovertemplate=tip) | {"showlegend": False}


def _ticks(every: np.ndarray) -> np.ndarray:
    """The places themselves where they are few, else the powers of two among them and the last; none too close."""
    ticks = every if len(every) <= 10 else np.array([t for t in every if np.log2(t) % 1 == 0 or t == every[-1]])
    return np.array([t for t in ticks if t == ticks[-1] or ticks[-1] / t >= 1.35])


def _names(data: Mapping, colors: Mapping[str, str], place: Any, limits: tuple[float, float]) -> list[dict[str, Any]]:
    """A name beside the last value of every line, moved up or down where two would lie on one another."""
    ends = {}
    for name, (at, y) in data.items():
        there = np.flatnonzero(np.isfinite(y))
        if len(there):
            ends[name] = (float(place(at[there[-1]])), float(y[there[-1]]))
    heights: dict[str, float] = {}
    for end in {x for x, _ in ends.values()}:
        level = [name for name, (x, _) in ends.items() if x == end]
        apart = spread_out([ends[name][1] for name in level], GAP * (limits[1] - limits[0]), limits[1])
        heights |= dict(zip(level, apart, strict=True))
    look = {"xanchor": "left", "yanchor": "middle", "xshift": 8, "showarrow": False}
    return [
        {"text": name, "x": x, "y": heights[name], "font": {"color": colors[name], "size": FONT}, **look}
        for name, (x, _) in ends.items()
    ]


def spread_out(values: Sequence[float], gap: float, high: float) -> list[float]:
    """The values, moved as little as a simple sweep can, so that neighbors are `gap` apart and none is above `high`.

    >>> [round(v, 2) for v in spread_out([0.5, 0.52, 0.1], gap=0.1, high=0.55)]
    [0.45, 0.55, 0.1]
    """
    order, placed = np.argsort(values, kind="stable"), np.sort(np.asarray(values, dtype=float))
    for i in range(1, len(placed)):
        placed[i] = max(placed[i], placed[i - 1] + gap)
    for i in reversed(range(len(placed))):
        placed[i] = min(
            placed[i], high - gap * (len(placed) - 1 - i), placed[i + 1] - gap if i + 1 < len(placed) else high
        )
    moved = np.empty(len(placed))
    moved[order] = placed
    return [float(v) for v in moved]
