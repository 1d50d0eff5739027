"""A loss taken apart: what each term comes to in each cell of the grid, and where on the embeddings it pushes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import default_dims
from mrl_tutorial.losses import TERMS, Batch
from mrl_tutorial.losses.term import options_of
from mrl_tutorial.recipes.recipe import Recipe

#: the terms of the published 2D methods: label -> name in `losses.TERMS`, options
PARTS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "contrastive": ("contrastive", {}),
    "kl-features": ("kl-features", {}),
    "kl-features, attached": ("kl-features", {"detach": False}),
    "kl-scores": ("kl-scores", {}),
    "align": ("align", {}),
}


@dataclass(frozen=True)
class Anatomy:
    """Every cell of every term by itself, on one batch. T terms, L layers, M dimensions.

    values: (T, L, M), the loss. landing: for each layer row, which (term, layer, dim) cells push on its embeddings,
    (S, 3) indices; grams: for each layer row (M, S, S), inner products of their gradients within each dimension block.
    A block is what a dimension adds to the one before it: coordinates 1-8, 9-16, 17-32 and so on.
    """

    terms: tuple[str, ...]
    layers: tuple[int, ...]
    dims: tuple[int, ...]
    values: np.ndarray
    landing: tuple[np.ndarray, ...]
    grams: tuple[np.ndarray, ...]

    def cell_gradients(self, term: str) -> np.ndarray:
        """Length of the gradient of each cell's loss by itself, over all embeddings, (L, M)."""
        squares = np.zeros(self.values.shape)
        for where, gram in zip(self.landing, self.grams, strict=True):
            np.add.at(squares, tuple(where.T), np.einsum("mss->s", gram))
        return np.sqrt(squares[self.terms.index(term)])


def dissect(batch: Batch, dims: Sequence[int] | None = None) -> Anatomy:
    """Value and gradient of every (term, layer, dimension) cell on one batch; 42 cells of 5 terms take some seconds.

    dims: default `default_dims`. The gradient is that of the batch's embeddings as they are given, before they are cut
    and normalized. Raises InputError for a batch without documents.

    >>> dissect(Batch(torch.randn(2, 3, 8), torch.randn(2, 3, 8)), dims=(4, 8)).cell_gradients("contrastive").shape
    (2, 2)
    """
    if batch.documents is None:
        raise InputError("this batch has no documents, and terms that compare them cannot be taken apart")
    dims, layers = default_dims(batch.width) if dims is None else tuple(dims), tuple(batch.layers)
    texts = [x.detach().clone().requires_grad_() for x in (batch.queries, batch.documents)]
    leaves = replace(batch, queries=texts[0], documents=texts[1])
    # for each layer row the gradients that land there, each (texts, D), and the cells that they come from
    rows: list[list[np.ndarray]] = [[] for _ in layers]
    landing: list[list[tuple[int, int, int]]] = [[] for _ in layers]
    values = np.empty((len(PARTS), len(layers), len(dims)))
    for t, (term, options) in enumerate(PARTS.values()):
        for i, layer in enumerate(layers):
            table = TERMS[term](leaves, [layer], dims, **options)[0]  # (M,)
            values[t, i] = table.detach()
            for m, loss in enumerate(table):
                found = torch.autograd.grad(loss, texts, retain_graph=True, allow_unused=True, materialize_grads=True)
                for r, row in enumerate(torch.cat(found, 1).numpy()):
                    if row.any():
                        rows[r].append(row)
                        landing[r].append((t, i, m))
    grams = []
    for pushes in rows:
        blocks = [np.stack(pushes)[..., a:b].reshape(len(pushes), -1) for a, b in pairwise((0, *dims))]
        grams.append(np.stack([(x @ x.T).astype(np.float64) for x in blocks]))
    return Anatomy(tuple(PARTS), layers, dims, values, tuple(map(np.array, landing)), tuple(grams))


def recipe_parts(recipe: Recipe, anatomy: Anatomy) -> dict[str, np.ndarray]:
    """A validated recipe's weight grids by the anatomy's terms, (L, M) each; "main" counts as "contrastive".

    Raises InputError where the recipe has a term, a layer or a dimension that the anatomy lacks.
    """
    found: dict[str, np.ndarray] = {}
    for key, grid in recipe.weights.items():
        term = "contrastive" if key == "main" else str(key)
        usual = options_of(TERMS[term]) if term in TERMS else {}
        options = {name: value for name, value in recipe.options.get(key, {}).items() if value != usual.get(name)}
        name = next(
            (label for label, part in PARTS.items() if part == (term, options)), f"{term} {options or ''}".strip()
        )
        if name not in anatomy.terms:
            raise InputError(f"recipe {recipe.name!r} has the term {name!r}, which was not taken apart")
        found[name] = np.zeros(anatomy.values.shape[1:])
        for i, j in np.argwhere(grid):
            layer, dim = recipe.layers[i], recipe.dims[j]
            if layer not in anatomy.layers or dim not in anatomy.dims:
                raise InputError(f"recipe {recipe.name!r} weighs the cell ({layer}, {dim}), which is not here")
            found[name][anatomy.layers.index(layer), anatomy.dims.index(dim)] = grid[i, j]
    return found
