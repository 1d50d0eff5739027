"""Lines with their names at their ends. Data in, plotly figures out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.plots.style import DASHES, FONT, LABELS, colors_of, style

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
    low, high = y_range or _range(np.concatenate([y for _, y in data.values()]))
    figure = go.Figure()
    for name, band in (bands or {}).items():
        at, edge = place(data[name][0]), np.asarray(band, dtype=float)
        around, shade = np.concatenate([at, at[::-1]]), np.concatenate([edge[:, 0], edge[::-1, 1]])
        look = {"fill": "toself", "fillcolor": colors[name], "opacity": 0.15, "mode": "none", "hoverinfo": "skip"}
        figure.add_scatter(x=around, y=shade, **look)
    for i, (name, (at, y)) in enumerate(data.items()):
        dots = {"mode": "lines+markers", "marker": {"size": 8}} if len(at) <= 16 else {"mode": "lines"}
        stroke = {"color": colors[name], "width": 3, "dash": DASHES[i % len(DASHES)]}
        tip = f"{name}, %{{customdata:.6~g}}: %{{y:.3f}}<extra></extra>"
        figure.add_scatter(x=place(at), y=y, name=name, line=stroke, customdata=at, hovertemplate=tip, **dots)
    room = 16 + round(0.56 * FONT * max(map(len, data)))  # of the names
    figure.update_layout(**style(title), margin_r=room, height=400, showlegend=False, meta={"doubling": doubling})
    for name, (end, height) in _ends(data, place, low, high).items():
        beside = {"xanchor": "left", "yanchor": "middle", "xshift": 8, "showarrow": False}
        figure.add_annotation(text=name, x=end, y=height, font={"color": colors[name], "size": FONT}, **beside)
    every = np.unique(np.concatenate([at for at, _ in data.values()]))
    first, last = place(every[[0, -1]])
    limits = [first - 0.04 * (last - first), last + 0.02 * (last - first)] if last > first else None
    figure.update_xaxes(title=x_title, range=limits, showgrid=True)
    if doubling:
        ticks = _ticks(every)
        figure.update_xaxes(tickvals=place(ticks), ticktext=[f"{t:g}" for t in ticks], **LABELS)
    return figure.update_yaxes(title=y_title, range=[low, high], showgrid=True)


def place_names(figure: go.Figure, places: Mapping[str, tuple[float, float]]) -> go.Figure:
    """The figure of `lines`, with names where you put them: name -> (x, y), in the numbers of the axes.

    For lines that end close together: put each name where its line is apart from the others. Raises InputError for a
    name that is not in the figure.

    >>> figure = lines((8, 16), {"plain": [0.2, 0.3], "MRL": [0.25, 0.3]})
    >>> place_names(figure, {"MRL": (8, 0.27)}).layout.annotations[1].x
    3.0
    """
    notes = {note.text: note for note in figure.layout.annotations}
    for name, (x, y) in places.items():
        if name not in notes:
            raise InputError(f"no line is named {name!r}: give one of {', '.join(notes)}")
        notes[name].update(x=float(np.log2(x)) if figure.layout.meta["doubling"] else x, y=y)
    return figure.update_layout(margin_r=20) if len(places) == len(notes) else figure


def _pair(name: str, values: Any, x: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """A line's own places and values, or its values at `x`."""
    at, y = (np.asarray(given, dtype=float) for given in (values if isinstance(values, tuple) else (x, values)))
    if at.shape != y.shape or at.ndim != 1:
        raise InputError(
            f"the line {name!r} has values of shape {y.shape} for places of shape {at.shape}: give one each"
        )
    return at, y


def _range(every: np.ndarray) -> tuple[float, float]:
    """From 0, or a little below the lowest value where that is negative, to a little above the highest."""
    finite = every[np.isfinite(every)]
    if not len(finite):
        return 0.0, 1.0
    low, high = min(0.0, float(finite.min())), max(0.0, float(finite.max()))
    room = 0.06 * (high - low or 1.0)
    return low - room * (low < 0), high + room


def _ticks(every: np.ndarray) -> np.ndarray:
    """The places themselves where they are few, else the powers of two among them and the last; none too close."""
    ticks = every if len(every) <= 10 else np.array([t for t in every if np.log2(t) % 1 == 0 or t == every[-1]])
    near = max(1.35, (ticks[-1] / ticks[0]) ** 0.06)  # on a long axis numbers stand closer
    return np.array([t for t in ticks if t == ticks[-1] or ticks[-1] / t >= near])


def _ends(data: Mapping, place: Any, low: float, high: float) -> dict[str, tuple[float, float]]:
    """Where each line's name goes: beside its last value, moved up or down where two would lie on one another."""
    last = {name: np.flatnonzero(np.isfinite(y))[-1] for name, (_, y) in data.items() if np.isfinite(y).any()}
    ends = {name: (float(place(data[name][0][i])), float(data[name][1][i])) for name, i in last.items()}
    for end in {x for x, _ in ends.values()}:
        level = [name for name, (x, _) in ends.items() if x == end]
        heights = spread_out([ends[name][1] for name in level], GAP * (high - low), high)
        ends |= {name: (end, height) for name, height in zip(level, heights, strict=True)}
    return ends


def spread_out(values: Sequence[float], gap: float, high: float) -> list[float]:
    """The values, moved as little as a simple sweep can, so that neighbors are `gap` apart and none is above `high`.

    >>> [round(v, 2) for v in spread_out([0.5, 0.52, 0.1], gap=0.1, high=0.55)]
    [0.45, 0.55, 0.1]
    """
    order, steps = np.argsort(values, kind="stable"), gap * np.arange(len(values))
    pushed_up = np.maximum.accumulate(np.asarray(values, dtype=float)[order] - steps)
    moved = np.empty(len(order))
    # Nothing goes above the axis: plotly would hide it.
    moved[order] = np.minimum(np.minimum(pushed_up, high - steps[-1]) + steps, high)
    return moved.tolist()
