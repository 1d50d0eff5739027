"""The spectrum explorer: what a layer's variance looks like, and what cutting it in three ways leaves of retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets as w
import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import reduction
from mrl_tutorial.evaluation.embeddings import Progress, embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.base import SLIDER, Panel
from mrl_tutorial.panels.plots import figures

DIMS = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320)
WAYS = ("PCA", "prefix", "random coordinates")
DRAWS = 2  # random orders of the coordinates, averaged
Parts = Mapping[str, np.ndarray]  # queries and documents, each (L, N, D), as `embed_task` gives them
PLACES = ((0, 0.27), (0.365, 0.62), (0.715, 1))


@dataclass(frozen=True)
class SpectrumData:
    """What the panel looks up. Each array starts with the models, then the L layers.

    variances (m, L, D): along the principal components of the documents, largest first. coordinates (m, L, D): of their
    coordinates as they come. quality: way -> (m, L, len(dims)), `metric` on `split`.
    """

    models: tuple[str, ...]
    dims: tuple[int, ...]
    variances: np.ndarray
    coordinates: np.ndarray
    quality: dict[str, np.ndarray]
    metric: str
    split: str

    @property
    def n_layers(self) -> int:
        return self.variances.shape[1]

    @property
    def width(self) -> int:
        return self.variances.shape[2]

    def explained(self, model: str, layer: int) -> np.ndarray:
        """Share of the variance in the first 1 ... D principal components: (D,)."""
        return _shares(self.variances[self.models.index(model), layer - 1])

    def in_prefix(self, model: str, layer: int) -> np.ndarray:
        """Share of the variance in the first 1 ... D coordinates: (D,)."""
        return _shares(self.coordinates[self.models.index(model), layer - 1])

    def effective_rank(self, model: str, layer: int) -> float:
        """Directions that a layer really uses: the exponential of the entropy of its shares of variance."""
        variances = self.variances[self.models.index(model), layer - 1]
        return float(reduction.directions(variances / variances.sum()))


def _shares(variances: np.ndarray) -> np.ndarray:
    return variances.cumsum() / variances.sum()


def spectrum_data(
    task: Any, models: Mapping[str, Encoder | Parts], *, split: str = "dev", metric: str = "ndcg@10",
    dims: Sequence[int] = DIMS, max_queries: int = 400, progress: Progress | None = None,
) -> SpectrumData:  # fmt: skip
    """Encode the task with each model (or take its embeddings) and measure every layer: spectrum, and quality of
    prefix, PCA and random coordinates at `dims` and at full width. PCA is fitted on the documents. Cached.

    Raises InputError for a task that is not retrieval, no models, and models of different sizes.
    """
    if task.kind != "retrieval":
        raise InputError(f"a {task.kind!r} task has no documents to search: give a retrieval task")
    if not models:
        raise InputError("no model to look into: give at least one name -> Encoder")
    given = {name: m if isinstance(m, Mapping) else embed_task(task, m, split) for name, m in models.items()}
    sizes = {(len(parts["documents"]), parts["documents"].shape[-1]) for parts in given.values()}
    if len(sizes) > 1:
        raise InputError(f"models of {len(sizes)} sizes cannot share a panel: give models of one depth and width")
    ((_, width),) = sizes
    dims = tuple(sorted({d for d in dims if d < width} | {width}))
    every = []
    for name, parts in given.items():
        key = files.key(*parts.values(), task.qrels, split, dims, metric, max_queries)
        options = task, parts, split, metric, dims, max_queries, name, progress
        every.append(files.remembered("spectrum", key, partial(_measure, *options)))
    joined = {key: np.stack([one[key] for one in every]) for key in every[0]}
    quality = {way: joined[way] for way in WAYS}
    return SpectrumData(tuple(models), dims, joined["variances"], joined["coordinates"], quality, metric, split)


def _measure(task, parts, split, metric, dims, most, name, progress) -> dict[str, np.ndarray]:
    documents, width = parts["documents"], parts["documents"].shape[-1]
    rows: dict[str, list[np.ndarray]] = {key: [] for key in ("variances", "coordinates", *WAYS)}
    for layer, x in enumerate(documents):  # a layer at a time: all of them reduced three ways would not be small
        here = {part: vectors[layer : layer + 1] for part, vectors in parts.items()}

        def quality(found: reduction.Reduction, here=here) -> np.ndarray:
            options = {"metric": metric, "split": split, "dims": dims, "max_queries": most}
            return evaluate_grid(task, embeddings=found.apply_to(here), **options).values[0]

        components, coordinates = reduction.pca(x), np.var(x, axis=0, ddof=1, dtype=np.float64)
        rows["variances"].append(components.explained * coordinates.sum())  # the sum is the same in every basis
        rows["coordinates"].append(coordinates)
        rows["PCA"].append(quality(components))
        rows["prefix"].append(quality(reduction.plain(width)))
        orders = [quality(reduction.random_dims(width, seed)) for seed in range(DRAWS)]
        rows["random coordinates"].append(np.mean(orders, axis=0))
        if progress is not None:
            progress(layer + 1, len(documents), f"spectra of {name}")
    return {key: np.stack(values) for key, values in rows.items()}


def spectrum_figure(data: SpectrumData, model: str, layer: int, dim: int) -> dict:
    """Spectrum, cumulative variance and quality of one layer, side by side, with a rule at `dim`. Raises InputError for
    a model, layer or dimension that the data lack."""
    if model not in data.models or not 1 <= layer <= data.n_layers or dim not in data.dims:
        dims = ", ".join(map(str, data.dims))
        there = f"models {', '.join(data.models)}; layers 1 to {data.n_layers}; dimensions {dims}"
        raise InputError(f"{model!r}, layer {layer}, dimension {dim} is not here: choose of {there}")
    m, traces = data.models.index(model), []
    k = np.unique(np.rint(np.geomspace(1, data.width, 60)).astype(int))  # 60 points draw a smooth line
    top = data.variances.max()
    blue, red, green = figures.COLOURS[:3]

    def line(x, y, name, colour, axis, dash="solid", legend=False):
        traces.append({
            "type": "scatter", "x": figures.curve_place(x), "y": y, "name": name, "mode": "lines", "xaxis": f"x{axis}",
            "yaxis": f"y{axis}", "line": {"color": colour, "width": 3, "dash": dash}, "showlegend": legend,
            "customdata": list(x), "hovertemplate": f"{name}, %{{customdata}}: %{{y:.3g}}<extra></extra>",
        })  # fmt: skip

    line(k, data.variances[m, layer - 1][k - 1] / top, "this layer", blue, 1)
    line(k, data.variances[m, -1][k - 1] / top, f"layer {data.n_layers}", "#8C8C8C", 1, "dot")
    line(k, data.explained(model, layer)[k - 1], "PCA", blue, 2)
    line(k, data.in_prefix(model, layer)[k - 1], "prefix", red, 2, "dash")
    for way, colour, dash in zip(WAYS, (blue, red, green), ("solid", "dash", "dot"), strict=True):
        line(data.dims, data.quality[way][m, layer - 1], way, colour, 3, dash, True)
    at = data.dims.index(dim)
    traces.append({
        "type": "scatter", "x": np.repeat(figures.curve_place([dim]), 3), "xaxis": "x3", "yaxis": "y3",
        "y": [data.quality[way][m, layer - 1, at] for way in WAYS], "mode": "markers", "showlegend": False,
        "marker": {"color": [blue, red, green], "size": 11}, "hoverinfo": "skip",
    })  # fmt: skip
    title = f"{model}, layer {layer}, {dim} of {data.width} dimensions"
    layout: dict[str, Any] = {**figures.style(title), "height": 430}
    layout["margin"] = {"l": 70, "r": 15, "t": 90, "b": 65}
    best = max(float(q.max()) for q in data.quality.values())
    low = np.log10(max(float((data.variances[..., : int(0.95 * data.width)] / top).min()), 1e-6))
    upright = (
        {"type": "log", "range": [low, 0.1], "showgrid": True, "dtick": 1, "exponentformat": "power"},
        {"range": [0, 1.05], "tickformat": ".0%", "showgrid": True},
        {"range": [-0.02 * best, 1.1 * best], "showgrid": True},
    )
    measure = f"{figures.metric_title(data.metric)} ({data.split})"
    headings = (f"variance (dotted: layer {data.n_layers})", "share of variance kept", measure)
    labels = ("component (log scale)", "dimensions (log scale)", "dimensions (log scale)")
    for i, (start, stop) in enumerate(PLACES):
        n = str(i + 1)
        axis = figures.curve_x(data.dims if i == 2 else range(1, data.width + 1), every=2)
        layout[f"xaxis{n}"] = {**axis, "title": {"text": labels[i]}, "domain": [start, stop], "anchor": f"y{n}"}
        layout[f"yaxis{n}"] = {**upright[i], "anchor": f"x{n}"}
    middle = [(start + stop) / 2 for start, stop in PLACES]
    layout["annotations"] = [figures.heading(title, x) for title, x in zip(headings, middle, strict=True)]
    layout["shapes"] = [figures.dim_rule(dim, axis) for axis in ("x", "x2", "x3")]
    layout["legend"] = figures.legend(PLACES[2][0] + 0.005)
    return {"data": traces, "layout": layout}


class SpectrumExplorer(Panel):
    """Slide over layers and dimensions: the spectrum, the variance kept, and quality by PCA, prefix and random choice.

    models: an Encoder, or name -> Encoder or embeddings; all is measured once (cached), sliding only looks it up.
    Raises InputError as `spectrum_data` does.
    """

    name = "spectrum-explorer"

    def __init__(self, task: Any, models: Encoder | Mapping[str, Encoder | Parts], *, layer: int | None = None,
                 dim: int = 64, **options: Any) -> None:  # fmt: skip
        models = {models.name: models} if isinstance(models, Encoder) else models
        self._open(spectrum_data(task, models, **options), layer, dim)

    @classmethod
    def of(cls, data: SpectrumData, *, layer: int | None = None, dim: int = 64) -> SpectrumExplorer:
        """The panel over data that are already there."""
        panel = object.__new__(cls)
        panel._open(data, layer, dim)
        return panel

    def _open(self, data: SpectrumData, layer: int | None, dim: int) -> None:
        self.data = data
        near = min(data.dims, key=lambda d: abs(d - dim))
        self.model = w.ToggleButtons(options=data.models, value=data.models[0], style={"button_width": "auto"})
        self.layer = w.IntSlider(value=layer or data.n_layers, min=1, max=data.n_layers, description="layer", **SLIDER)
        dims = [(str(d), d) for d in data.dims]
        self.dim = w.SelectionSlider(options=dims, value=near, description="dimension", **SLIDER)
        self.start([w.HBox([w.Label("model"), self.model]), self.layer, self.dim])

    def picture(self) -> dict:
        model, layer, dim = self.model.value, self.layer.value, self.dim.value
        figure = spectrum_figure(self.data, model, layer, dim)
        self.write(describe(self.data, model, layer, dim))
        return figure


def describe(data: SpectrumData, model: str, layer: int, dim: int) -> str:
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
        f"{figures.metric_title(data.metric)} at {dim} dimensions: {words}. All {data.width} dimensions of this layer: "
        f"{full:.3f}. It uses about <b>{data.effective_rank(model, layer):.0f}</b> directions (effective rank)."
    )
