"""The spectrum explorer: a layer's variance, and what cutting it in three ways leaves of retrieval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import reduction
from mrl_tutorial.evaluation.embeddings import embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.panel import Panel, slider, switch

DIMS = (4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 320)
WAYS = ("PCA", "prefix", "random coordinates")
ORDERS = 2  # random orders of the coordinates, averaged
METRIC = "ndcg@10"
Parts = Mapping[str, np.ndarray]  # queries and documents, each (L, N, D), as `embed_task` gives them


class SpectrumExplorer(Panel):
    """Slide over layers and dimensions: the spectrum, the variance kept, and quality by PCA, prefix and random choice.

    models: an Encoder, or name -> Encoder or embeddings of `split`; sliding only looks up what is measured once
    (cached), at `dims` and at full width, with at most `max_queries` queries. PCA is fitted on the documents. state:
    model, layer, dim. Raises InputError for a task that is not retrieval, no models, and models of different sizes.
    """

    view = "spectrum"

    def __init__(
        self,
        task: Any,
        models: Encoder | Mapping[str, Encoder | Parts],
        *,
        split: str = "dev",
        dims: Sequence[int] = DIMS,
        max_queries: int = 400,
        **state: Any,
    ) -> None:
        if task.kind != "retrieval":
            raise InputError(f"a {task.kind!r} task has no documents to search: give a retrieval task")
        models = {models.name: models} if isinstance(models, Encoder) else models
        given = {name: m if isinstance(m, Mapping) else embed_task(task, m, split) for name, m in models.items()}
        sizes = {(len(parts["documents"]), parts["documents"].shape[-1]) for parts in given.values()}
        if len(sizes) != 1:
            raise InputError(f"{len(sizes)} sizes of models cannot share a panel: give models of one depth and width")
        ((n_layers, width),) = sizes
        dims = tuple(sorted({d for d in dims if d < width} | {width}))
        measured = []
        for parts in given.values():
            key = files.key(*parts.values(), task.qrels, split, dims, METRIC, max_queries)
            settings = {"metric": METRIC, "split": split, "dims": dims, "max_queries": max_queries}
            measured.append(files.remembered("spectrum", key, partial(spectra, task, parts, settings)))
        # models first, then layers, in every array
        found = {key: np.stack([one[key] for one in measured]) for key in measured[0]}
        share, kept = (found[key] / found[key].sum(-1, keepdims=True) for key in ("variances", "coordinates"))
        controls = [
            [switch("model", "model", list(given))],
            [slider("layer", "layer", range(1, n_layers + 1), play=True), slider("dim", "dimension", dims, play=True)],
        ]
        start = {"model": next(iter(given)), "layer": n_layers, "dim": min(dims, key=lambda d: abs(d - 64))}
        tables = {"models": list(given), "dims": dims, "width": width, "metric": METRIC, "split": split}
        tables |= {"variances": found["variances"].astype("f4"), "rank": reduction.directions(share).astype("f4")}
        tables["shares"] = {"PCA": share.cumsum(-1).astype("f4"), "prefix": kept.cumsum(-1).astype("f4")}
        tables["quality"] = {way: found[way].astype("f4") for way in WAYS}
        super().__init__(controls, start | state, **tables)


def spectra(task: Any, parts: Parts, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The variances of one model's embeddings along the principal components of its documents, largest first, and of
    their coordinates as they come, both (L, D), and quality by every way (L, M); settings: of `evaluate_grid`."""
    rows: dict[str, list[np.ndarray]] = {key: [] for key in ("variances", "coordinates", *WAYS)}
    for layer, x in enumerate(parts["documents"]):  # a layer at a time: all of them reduced three ways are not small
        components, coordinates = reduction.pca(x), np.var(x, axis=0, ddof=1, dtype=np.float64)
        rows["variances"].append(components.explained * coordinates.sum())  # the sum is the same in every basis
        rows["coordinates"].append(coordinates)
        here, width = {part: vectors[layer : layer + 1] for part, vectors in parts.items()}, x.shape[-1]
        orders = [reduction.random_dims(width, seed) for seed in range(ORDERS)]
        for way, found in zip(WAYS, ([components], [reduction.plain(width)], orders), strict=True):
            grids = [evaluate_grid(task, embeddings=one.apply_to(here), **settings).values[0] for one in found]
            rows[way].append(np.mean(grids, axis=0))
    return {key: np.stack(values) for key, values in rows.items()}
