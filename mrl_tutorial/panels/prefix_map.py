"""The prefix map: the same points at every size, as maps that can be laid over each other."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import shorten
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.packing import fitting
from mrl_tutorial.panels.panel import Panel, field, slider
from mrl_tutorial.panels.prefix_map_layout import MOST, Progress, checked, prefix_maps

COLORED = 8  # labels; more colors and shapes cannot be told apart
TEXT = 90  # characters of a point's text that are shown


def colored_labels(labels: np.ndarray, show: Sequence | None = None) -> list:
    """The labels to color: `show`, or the 8 most frequent, in the order of their names.

    Raises InputError for too many or unknown ones.
    """
    names, number = np.unique(labels, return_counts=True)
    if show is None:
        return list(names[np.sort(np.argsort(-number, kind="stable")[:COLORED])])
    if not 1 <= len(show) <= COLORED:
        raise InputError(f"{len(show)} labels to color: choose 1 to {COLORED}, more cannot be told apart")
    for label in show:
        if label not in names:
            raise InputError(f"label {label!r} is not among the points: choose from {', '.join(map(str, names[:8]))} …")
    return list(show)


class PrefixMap(Panel):
    """Aligned UMAP of `vectors` (N, D) cut to every size of `dims`, with points colored by `labels` (N,).

    Beside it stands the share of points whose nearest neighbor has their label. texts (N,): shown under the pointer.
    dims: `default_dims` where None. At most `most` points are drawn, thinned out evenly by label. show: the labels to
    color, at most 8; None for the 8 most frequent; the others are gray. The maps are computed once and cached
    (progress: see `prefix_maps`); `maps` holds them, `labels` those of its points. state: dim, and point, a row of the
    map that is marked (-1: none). Raises InputError for what does not fit together.
    """

    view = "map"

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
        **state: Any,
    ) -> None:
        vectors, names, sizes = checked(vectors, labels, dims)
        if texts is not None and len(texts) != len(names):
            raise InputError(f"{len(texts)} texts for {len(names)} vectors: give one text a vector")
        colored_labels(names, show)  # a wrong label is found before minutes of work
        self.maps = prefix_maps(vectors, names, sizes, most=most, progress=progress)
        self.labels = names[self.maps.rows]
        self.colored = colored_labels(self.labels, show)
        short = None if texts is None else [shorten(texts[i], TEXT, placeholder=" …") for i in self.maps.rows]
        controls = [[slider("dim", "dimension", sizes, play=True), field("hidden", "point")]]
        tables = {**self._tables(), "texts": short, "width": vectors.shape[1]}
        super().__init__(controls, {"dim": sizes[0], "point": -1} | state, **tables)

    def _tables(self) -> dict[str, Any]:
        maps = self.maps
        names, label = np.unique(self.labels, return_inverse=True)
        low, high = np.nanmin(maps.places, axis=(0, 1)), np.nanmax(maps.places, axis=(0, 1))
        return {
            "dims": maps.dims,
            "places": maps.places.astype(np.float32),
            "nearest": fitting(maps.nearest),
            "accuracy": maps.accuracy.astype(np.float32),
            "total": maps.total,
            "names": [str(name) for name in names],
            "label": fitting(label),
            "colored": [int(np.flatnonzero(names == name)[0]) for name in self.colored],
            "low": low.tolist(),
            "high": high.tolist(),
        }
