"""What the spectrum explorer looks up: the variance of every layer, and what three ways of cutting it leave."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import reduction
from mrl_tutorial.evaluation.embeddings import Progress, embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder

DIMS = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320)
WAYS = ("PCA", "prefix", "random coordinates")
ORDERS = 2  # random orders of the coordinates, averaged
Parts = Mapping[str, np.ndarray]  # queries and documents, each (L, N, D), as `embed_task` gives them


@dataclass(frozen=True)
class SpectrumData:
    """Spectra and quality. Each array starts with the models, then the L layers.

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
        """L."""
        return self.variances.shape[1]

    @property
    def width(self) -> int:
        """D."""
        return self.variances.shape[2]

    def explained(self, model: str, layer: int) -> np.ndarray:
        """Share of the variance in the first 1 ... D principal components: (D,)."""
        return _cumulative(self.variances[self.models.index(model), layer - 1])

    def in_prefix(self, model: str, layer: int) -> np.ndarray:
        """Share of the variance in the first 1 ... D coordinates: (D,)."""
        return _cumulative(self.coordinates[self.models.index(model), layer - 1])

    def effective_rank(self, model: str, layer: int) -> float:
        """Directions that a layer really uses: the exponential of the entropy of its shares of variance."""
        variances = self.variances[self.models.index(model), layer - 1]
        return float(reduction.directions(variances / variances.sum()))


def _cumulative(variances: np.ndarray) -> np.ndarray:
    return variances.cumsum() / variances.sum()


def spectrum_data(
    task: Any,
    models: Mapping[str, Encoder | Parts],
    *,
    split: str = "dev",
    metric: str = "ndcg@10",
    dims: Sequence[int] = DIMS,
    max_queries: int = 400,
    progress: Progress | None = None,
) -> SpectrumData:
    """Encode the task with each model (or take its embeddings) and measure every layer; cached.

    Measured are the spectrum and the quality of prefix, PCA and random coordinates at `dims` and at full width. PCA is
    fitted on the documents. Raises InputError for a task that is not retrieval, no models, and models of different
    sizes.
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
    chosen = tuple(sorted({d for d in dims if d < width} | {width}))
    settings = {"metric": metric, "split": split, "dims": chosen, "max_queries": max_queries}
    measured = []
    for name, parts in given.items():
        key = files.key(*parts.values(), task.qrels, split, chosen, metric, max_queries)
        measure = partial(measure_layers, task, parts, settings, name, progress)
        measured.append(files.remembered("spectrum", key, measure))
    joined = {key: np.stack([one[key] for one in measured]) for key in measured[0]}
    quality = {way: joined[way] for way in WAYS}
    return SpectrumData(tuple(models), chosen, joined["variances"], joined["coordinates"], quality, metric, split)


def measure_layers(
    task: Any, parts: Parts, settings: Mapping[str, Any], name: str, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """Variances, coordinates (both (L, D)) and quality by every way (L, M) of one model's embeddings.

    settings: what evaluate_grid is asked for. name: for the progress.
    """
    documents, width = parts["documents"], parts["documents"].shape[-1]
    rows: dict[str, list[np.ndarray]] = {key: [] for key in ("variances", "coordinates", *WAYS)}
    for layer, x in enumerate(documents):  # a layer at a time: all of them reduced three ways would not be small

        def quality(found: reduction.Reduction, layer: int = layer) -> np.ndarray:
            here = {part: vectors[layer : layer + 1] for part, vectors in parts.items()}
            return evaluate_grid(task, embeddings=found.apply_to(here), **settings).values[0]

        components, coordinates = reduction.pca(x), np.var(x, axis=0, ddof=1, dtype=np.float64)
        rows["variances"].append(components.explained * coordinates.sum())  # the sum is the same in every basis
        rows["coordinates"].append(coordinates)
        rows["PCA"].append(quality(components))
        rows["prefix"].append(quality(reduction.plain(width)))
        orders = [quality(reduction.random_dims(width, seed)) for seed in range(ORDERS)]
        rows["random coordinates"].append(np.mean(orders, axis=0))
        if progress is not None:
            progress(layer + 1, len(documents), f"spectra of {name}")
    return {key: np.stack(values) for key, values in rows.items()}
