"""The same points at every prefix size, as maps that can be laid over each other, and how well neighbours agree."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import SLIDER, Panel, changes, send
from mrl_tutorial.panels.explorer_html import shorten
from mrl_tutorial.panels.plots.figures import COLOURS, INK, curve_place, curve_x, dim_rule, heading, point_mark, style
from mrl_tutorial.panels.prefix_map_layout import MOST, PrefixMaps, Progress, checked, prefix_maps

HUES = (*COLOURS, INK, "#A88F00")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
REST = "#C4C4C4"


class PrefixMap(Panel):
    """Aligned UMAP of `vectors` (N, D) cut to every size of `dims`, points coloured by `labels` (N,), and beside it the
    share of points whose nearest neighbour has their label.

    texts (N,): shown under the pointer. dims: `default_dims` where None. At most `most` points are drawn, thinned out
    evenly by label. show: the labels to colour, at most 8; None for the 8 most frequent; the others are grey. The maps
    are computed once and cached (progress: see `maps.prefix_maps`); `maps` holds them. Raises InputError for what does
    not fit together.
    """

    name = "prefix-map"

    def __init__(
        self, vectors: np.ndarray, labels: Sequence, texts: Sequence[str] | None = None,
        dims: Sequence[int] | None = None, *, most: int = MOST, show: Sequence | None = None,
        progress: Progress | None = None,
    ) -> None:  # fmt: skip
        vectors, labels, dims = checked(vectors, labels, dims)
        if texts is not None and len(texts) != len(labels):
            raise InputError(f"{len(texts)} texts for {len(labels)} vectors: give one text a vector")
        coloured(labels, show)  # a wrong label is found before minutes of work
        self.maps = prefix_maps(vectors, labels, dims, most=most, progress=progress)
        self.labels = labels[self.maps.rows]
        self.coloured = coloured(self.labels, show)
        self.texts = [_tip(label, texts[row] if texts is not None else None)
                      for label, row in zip(self.labels, self.maps.rows, strict=True)]  # fmt: skip
        self.dim = w.SelectionSlider(
            options=[(str(d), i) for i, d in enumerate(dims)], value=0, description="dimension d", **SLIDER
        )
        self._marks = scene(self.maps, self.labels, self.coloured, 0)[1]
        self.start([self.dim])
        self._sent = None  # `show` has a way of its own

    def picture(self) -> go.Figure:
        """The map at the present size."""
        maps = self.maps
        if len(maps.rows) < maps.total:
            self.write(
                f"<div class='note'>{len(maps.rows):,} of {maps.total:,} points, every label in proportion.</div>"
            )
        return map_figure(maps, self.labels, self.coloured, self.texts, self.dim.value)

    def show(self) -> None:
        """Move the points: only places and marks are made and sent, not the whole figure with its texts."""
        places, marks = scene(self.maps, self.labels, self.coloured, self.dim.value)
        send(self.figure, {i: {"x": x, "y": y} for i, (x, y) in enumerate(places)}, dict(changes(self._marks, marks)))
        self._marks = marks


def coloured(labels: np.ndarray, show: Sequence | None = None) -> list:
    """The labels to colour: `show`, or the 8 most frequent, by name where equal. Raises InputError for too many or
    unknown ones."""
    names, number = np.unique(labels, return_counts=True)
    if show is None:
        best = sorted(range(len(names)), key=lambda i: (-number[i], i))[: len(HUES)]
        return [names[i] for i in sorted(best)]
    show = list(show)
    if not 1 <= len(show) <= len(HUES):
        raise InputError(f"{len(show)} labels to colour: choose 1 to {len(HUES)}, more cannot be told apart")
    for label in show:
        if label not in names:
            raise InputError(f"label {label!r} is not among the points: choose from {', '.join(map(str, names[:8]))} …")
    return show


def groups(labels: np.ndarray, show: Sequence) -> list[np.ndarray]:
    """Which points (n,) each trace holds: those without a colour, then those of every label of `show`."""
    return [~np.isin(labels, show), *(labels == name for name in show)]


def scene(maps: PrefixMaps, labels: np.ndarray, show: Sequence, i: int) -> tuple[list[np.ndarray], dict]:
    """What differs from size to size: the places (2, n) of each trace's points, and the layout's headings and marks."""
    places = np.round(maps.places[i], 2).T  # (2, n)
    d, value = maps.dims[i], float(maps.accuracy[i])
    marks = {
        "annotations": [heading(f"<b>d = {d}</b>: {len(labels):,} points, aligned UMAP", 0, "left"),
                        heading(f"nearest has the same label: <b>{value:.3f}</b>", 0.7, "left")],
        "shapes": [dim_rule(d, "x2"), point_mark(d, value, "x2")],
    }  # fmt: skip
    return [places[:, here] for here in groups(labels, show)], marks


def map_figure(maps: PrefixMaps, labels: np.ndarray, show: Sequence, texts: Sequence[str], i: int) -> go.Figure:
    """The map at the i-th size, a trace a coloured label and one for the others, then the curve of accuracy."""
    places, marks = scene(maps, labels, show, i)
    rest, *shown = groups(labels, show)
    traces = [_points(places[0], rest, texts, f"{len(np.unique(labels[rest]))} other labels", REST, "circle", 5)]
    traces[0].visible = bool(rest.any())
    for name, here, xy, colour, symbol in zip(show, shown, places[1:], HUES, SYMBOLS, strict=False):
        traces.append(_points(xy, here, texts, shorten(str(name), 26), colour, symbol, 7))
    traces.append(go.Scatter(
        x=curve_place(maps.dims), y=maps.accuracy, mode="lines+markers", line={"color": INK, "width": 3},
        marker={"size": 9}, xaxis="x2", yaxis="y2", showlegend=False, customdata=list(maps.dims),
        hovertemplate="d = %{customdata}: %{y:.3f}<extra></extra>",
    ))  # fmt: skip
    low, high = bounds(maps.places)
    hidden = {
        "showticklabels": False,
        "ticks": "",
        "showline": True,
        "mirror": True,
        "linecolor": "#BBBBBB",
        "zeroline": False,
    }
    figure = go.Figure(traces)
    figure.layout = dict(
        **style() | {"margin": {"l": 16, "r": 16, "t": 46, "b": 20}}, height=600,
        xaxis={**hidden, "domain": [0, 0.64], "range": [low[0], high[0]]},
        yaxis={**hidden, "range": [low[1], high[1]]},
        xaxis2={**curve_x(maps.dims, 2), "domain": [0.73, 1], "anchor": "y2"},
        yaxis2={"domain": [0.56, 1], "anchor": "x2", "range": [0, 1.05], "showgrid": True,
                "title": {"text": "1-NN label accuracy"}},
        legend={"x": 0.68, "y": 0.4, "xanchor": "left", "yanchor": "top", "itemsizing": "constant"},
        **marks,
    )  # fmt: skip
    return figure


def bounds(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) that hold the points of every size, so that the axes stay while points move."""
    low, high = np.nanmin(places, axis=(0, 1)), np.nanmax(places, axis=(0, 1))
    room = 0.03 * (high - low)
    return np.round(low - room, 2), np.round(high + room, 2)


def _points(xy, here, texts, name: str, colour: str, symbol: str, size: int) -> go.Scatter:
    marker = {"color": colour, "symbol": symbol, "size": size}
    return go.Scatter(  # one opacity for all of them is drawn sooner than one a point
        x=xy[0], y=xy[1], mode="markers", name=name, marker=marker, opacity=0.85,
        hovertext=[texts[i] for i in np.flatnonzero(here)], hoverinfo="text",
    )  # fmt: skip


def _tip(label, text: str | None) -> str:
    return str(label) if text is None else f"<b>{shorten(str(label), 40)}</b><br>{shorten(text, 70)}"
