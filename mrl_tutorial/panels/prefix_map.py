"""The prefix map: the same points at every size, as maps that can be laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Panel, Picture, choice_slider
from mrl_tutorial.panels.markup import note, short_name
from mrl_tutorial.panels.prefix_map_layout import MOST, PrefixMaps, Progress, checked, prefix_maps

HUES = (*plots.COLORS, plots.INK, "#A88F00")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "triangle-down", "star")
REST = "#C4C4C4"

# -- what is shown ---------------------------------------------------------------------------------------------------


def colored_labels(labels: np.ndarray, show: Sequence | None = None) -> list:
    """The labels to color: `show`, or the 8 most frequent, in the order of their names.

    Raises InputError for too many or unknown ones.
    """
    names, number = np.unique(labels, return_counts=True)
    if show is None:
        return list(names[np.sort(np.argsort(-number, kind="stable")[: len(HUES)])])
    if not 1 <= len(show) <= len(HUES):
        raise InputError(f"{len(show)} labels to color: choose 1 to {len(HUES)}, more cannot be told apart")
    for label in show:
        if label not in names:
            raise InputError(f"label {label!r} is not among the points: choose from {', '.join(map(str, names[:8]))} …")
    return list(show)


def point_groups(labels: np.ndarray, show: Sequence) -> list[np.ndarray]:
    """Which points (n,) each trace holds: those without a color, then those of every label of `show`."""
    return [~np.isin(labels, show), *(labels == name for name in show)]


def corners(places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners (2,), (2,) that hold the points of every size, so that the axes stay while points move."""
    low, high = np.nanmin(places, axis=(0, 1)), np.nanmax(places, axis=(0, 1))
    room = 0.03 * (high - low)
    return np.round(low - room, 2), np.round(high + room, 2)


def tooltip(label: Any, text: str | None) -> str:
    """What a point shows under the pointer."""
    if text is None:
        return str(label)
    return f"<b>{short_name(str(label), 40)}</b><br>{shorten(text, 70, placeholder=' …')}"


# -- figure and widgets ----------------------------------------------------------------------------------------------


def map_picture(maps: PrefixMaps, labels: np.ndarray, show: Sequence, tips: Sequence[str]) -> Picture:
    """The map at the first size, a trace for each colored label and one for the others, and the curve of accuracy."""
    rest, *groups = point_groups(labels, show)
    others = f"{len(np.unique(labels[rest]))} other labels"
    looks = [(rest, others, REST, "circle", 5)]
    names = (short_name(str(name), 26) for name in show)
    looks += [(g, n, c, s, 7) for g, n, c, s in zip(groups, names, HUES, SYMBOLS, strict=False)]
    data: list[dict[str, Any]] = []
    for group, name, color, symbol, size in looks:
        look: dict[str, Any] = {
            "mode": "markers",
            "marker": {"color": color, "symbol": symbol, "size": size},
            "opacity": 0.85,
        }
        words: dict[str, Any] = {"hovertext": [tips[i] for i in np.flatnonzero(group).tolist()], "hoverinfo": "text"}
        data.append(plots.trace("scatter", [], [], name, **look, **words, visible=bool(group.any())))
    curve = plots.curve(maps.dims, maps.accuracy, "accuracy", plots.INK, place=2)
    tip = "d = %{customdata}: %{y:.3f}<extra></extra>"
    data.append({**curve, "mode": "lines+markers", "marker": {"size": 9}, "showlegend": False, "hovertemplate": tip})
    low, high = (corner.tolist() for corner in corners(maps.places))
    frame = {"showticklabels": False, "ticks": "", "showline": True, "mirror": True, "linecolor": "#BBBBBB"}
    purity = {"range": [0, 1.05], "showgrid": True, "title": {"text": "1-NN label accuracy"}}
    layout = {
        **plots.style(),
        "margin": {"l": 16, "r": 16, "t": 46, "b": 20},
        "height": 600,
        "xaxis": {**frame, "zeroline": False, "domain": [0, 0.64], "range": [low[0], high[0]]},
        "yaxis": {**frame, "zeroline": False, "range": [low[1], high[1]]},
        **plots.subplot(2, (0.73, 1), plots.curve_x(maps.dims, 2), {**purity, "domain": [0.56, 1]}),
        "legend": {"x": 0.68, "y": 0.4, "xanchor": "left", "yanchor": "top", "itemsizing": "constant"},
    }
    return at_size({"data": data, "layout": layout}, maps, labels, show, 0)


def at_size(picture: Picture, maps: PrefixMaps, labels: np.ndarray, show: Sequence, i: int) -> Picture:
    """The picture at the i-th size: only the places of the points, the headings and the marks are new."""
    places, dim, value = np.round(maps.places[i], 2).T, maps.dims[i], float(maps.accuracy[i])
    *points, curve = picture["data"]
    groups = zip(points, point_groups(labels, show), strict=True)
    moved = [{**trace, "x": places[0, group], "y": places[1, group]} for trace, group in groups]
    heads = (
        (f"<b>d = {dim}</b>: {len(labels):,} points, aligned UMAP", 0),
        (
            f"nearest has the same label: <b>{value:.3f}</b>",
            0.7,
        ),
    )
    marks = {
        "annotations": [plots.heading(text, x, "left") for text, x in heads],
        "shapes": [plots.dim_rule(dim, "x2"), plots.point_mark(dim, value, "x2")],
    }
    return {"data": [*moved, curve], "layout": {**picture["layout"], **marks}}


class PrefixMap(Panel):
    """Aligned UMAP of `vectors` (N, D) cut to every size of `dims`, with points colored by `labels` (N,).

    Beside it stands the share of points whose nearest neighbor has their label. texts (N,): shown under the pointer.
    dims: `default_dims` where None. At most `most` points are drawn, thinned out evenly by label. show: the labels to
    color, at most 8; None for the 8 most frequent; the others are gray. The maps are computed once and cached
    (progress: see `prefix_maps`); `maps` holds them. Raises InputError for what does not fit together.
    """

    name = "prefix-map"

    def __init__(
        self,
        vectors: np.ndarray,
        labels: Sequence | np.ndarray,
        texts: Sequence[str] | None = None,
        dims: Sequence[int] | None = None,
        *,
        most: int = MOST,
        show: Sequence | None = None,
        progress: Progress | None = None,
    ) -> None:
        vectors, names, sizes = checked(vectors, labels, dims)
        if texts is not None and len(texts) != len(names):
            raise InputError(f"{len(texts)} texts for {len(names)} vectors: give one text a vector")
        colored_labels(names, show)  # a wrong label is found before minutes of work
        self.maps = prefix_maps(vectors, names, sizes, most=most, progress=progress)
        self.labels = names[self.maps.rows]
        self.colored = colored_labels(self.labels, show)
        tips = [tooltip(names[row], None if texts is None else texts[row]) for row in self.maps.rows]
        self._first = map_picture(self.maps, self.labels, self.colored, tips)
        self.dim = choice_slider("dimension d", [(str(d), i) for i, d in enumerate(sizes)], 0)
        self.start([self.dim])
        if len(self.maps.rows) < self.maps.total:
            self.write(note(f"{len(self.maps.rows):,} of {self.maps.total:,} points, every label in proportion."))

    def picture(self) -> Picture:
        """The map at the present size."""
        return at_size(self._first, self.maps, self.labels, self.colored, self.dim.value)
