"""The spectrum explorer: a layer's variance, and what cutting it in three ways leaves of retrieval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Panel, Picture, choice_slider, int_slider, switch
from mrl_tutorial.panels.spectrum_tables import WAYS, Parts, SpectrumData, spectrum_data

DOMAINS = ((0, 0.27), (0.365, 0.62), (0.715, 1))


def in_words(data: SpectrumData, model: str, layer: int, dim: int) -> str:
    """The state of the panel in words, as html."""
    m, at = data.models.index(model), data.dims.index(dim)
    kept = {"PCA": data.explained(model, layer)[dim - 1], "prefix": data.in_prefix(model, layer)[dim - 1]}
    full = data.quality["prefix"][m, layer - 1, -1]
    words = "; ".join(
        f"<b>{way}</b> {data.quality[way][m, layer - 1, at]:.3f}"
        + (f" with {kept[way]:.0%} of the variance" if way in kept else "")
        for way in WAYS
    )
    return (
        f"{plots.metric_title(data.metric)} at {dim} dimensions: {words}. All {data.width} dimensions of this layer: "
        f"{full:.3f}. It uses about <b>{data.effective_rank(model, layer):.0f}</b> directions (effective rank)."
    )


def spectrum_picture(data: SpectrumData, model: str, layer: int, dim: int) -> Picture:
    """Spectrum, cumulative variance and quality of one layer, side by side, with a rule at `dim`.

    Raises InputError for a model, layer or dimension that the data lack.
    """
    if model not in data.models or not 1 <= layer <= data.n_layers or dim not in data.dims:
        dims = ", ".join(map(str, data.dims))
        there = f"models {', '.join(data.models)}; layers 1 to {data.n_layers}; dimensions {dims}"
        raise InputError(f"{model!r}, layer {layer}, dimension {dim} is not here: choose of {there}")
    m = data.models.index(model)
    looks = list(zip(WAYS, plots.COLORS, plots.DASHES, strict=False))
    blue, red = plots.COLORS[:2]
    k = np.unique(np.rint(np.geomspace(1, data.width, 60)).astype(int))  # 60 points draw a smooth line
    top, last = data.variances.max(), f"layer {data.n_layers}"
    lines = [
        _line(k, data.variances[m, layer - 1][k - 1] / top, "this layer", blue, 1),
        _line(k, data.variances[m, -1][k - 1] / top, last, plots.GRAY, 1, "dot"),
        _line(k, data.explained(model, layer)[k - 1], "PCA", blue, 2),
        _line(k, data.in_prefix(model, layer)[k - 1], "prefix", red, 2, "dash"),
        *(_line(data.dims, data.quality[way][m, layer - 1], way, color, 3, dash) for way, color, dash in looks),
    ]
    at = data.dims.index(dim)
    marker = {"color": [color for _, color, _ in looks], "size": 11}
    heights = [float(data.quality[way][m, layer - 1, at]) for way in WAYS]
    places = np.repeat(plots.curve_place([dim]), len(WAYS))
    dots = plots.trace("scatter", places, heights, "", 3, mode="markers", marker=marker, hoverinfo="skip")
    layout = spectrum_layout(data, f"{model}, layer {layer}, {dim} of {data.width} dimensions")
    layout["shapes"] = [plots.dim_rule(dim, axis) for axis in ("x", "x2", "x3")]
    return {"data": [*lines, dots], "layout": layout}


def _line(x: Iterable[int], y: np.ndarray, name: str, color: str, place: int, dash: str = "solid") -> dict[str, Any]:
    line = plots.curve([int(d) for d in x], y, name, color, dash, place)
    return {**line, "showlegend": place == 3, "hovertemplate": f"{name}, %{{customdata}}: %{{y:.3g}}<extra></extra>"}


def spectrum_layout(data: SpectrumData, title: str) -> dict[str, Any]:
    """Axes and headings of the three subplots."""
    best = max(float(q.max()) for q in data.quality.values())
    shares = data.variances[..., : int(0.95 * data.width)] / data.variances.max()
    low = float(np.log10(max(float(shares.min()), 1e-6)))
    upright: tuple[dict[str, Any], ...] = (
        {"type": "log", "range": [low, 0.1], "dtick": 1, "exponentformat": "power"},
        {"range": [0, 1.05], "tickformat": ".0%"},
        {"range": [-0.02 * best, 1.1 * best]},
    )
    measure = f"{plots.metric_title(data.metric)} ({data.split})"
    headings = (f"variance (dotted: layer {data.n_layers})", "share of variance kept", measure)
    layout = {**plots.style(title), "height": 430, "margin": {"l": 70, "r": 15, "t": 90, "b": 65}}
    layout["legend"] = plots.legend(DOMAINS[2][0] + 0.005)
    layout["annotations"] = []
    for i, (start, stop) in enumerate(DOMAINS):
        label = "dimensions (log scale)" if i else "component (log scale)"
        axis = plots.curve_x(data.dims if i == 2 else range(1, data.width + 1), every=2)
        x = {**axis, "title": {"text": label}}
        layout |= plots.subplot(i + 1, (start, stop), x, {**upright[i], "showgrid": True})
        layout["annotations"].append(plots.heading(headings[i], (start + stop) / 2))
    return layout


class SpectrumExplorer(Panel):
    """Slide over layers and dimensions: the spectrum, the variance kept, and quality by PCA, prefix and random choice.

    models: an Encoder, or name -> Encoder or embeddings; all is measured once (cached), and sliding only looks it up.
    Further options and errors are those of `spectrum_data`.
    """

    name = "spectrum-explorer"

    def __init__(
        self,
        task: Any,
        models: Encoder | Mapping[str, Encoder | Parts],
        *,
        layer: int | None = None,
        dim: int = 64,
        **options: Any,
    ) -> None:
        models = {models.name: models} if isinstance(models, Encoder) else models
        self._open(spectrum_data(task, models, **options), layer, dim)

    @classmethod
    def of(cls, data: SpectrumData, *, layer: int | None = None, dim: int = 64) -> SpectrumExplorer:
        """The panel over data that have been measured already."""
        panel = object.__new__(cls)
        panel._open(data, layer, dim)
        return panel

    def _open(self, data: SpectrumData, layer: int | None, dim: int) -> None:
        self.data = data
        self.model = switch("model", data.models)
        self.layer = int_slider("layer", layer or data.n_layers, data.n_layers)
        nearest = min(data.dims, key=lambda d: abs(d - dim))
        self.dim = choice_slider("dimension", data.dims, nearest)
        self.start([self.model, self.layer, self.dim])

    def picture(self) -> Picture:
        """The present layer and dimension; writes them in words below."""
        state = self.model.value, self.layer.value, self.dim.value
        picture = spectrum_picture(self.data, *state)
        self.write(in_words(self.data, *state))
        return picture
