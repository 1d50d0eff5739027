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
from mrl_tutorial.losses import TERMS, Batch, Term
from mrl_tutorial.recipes.recipe import Recipe

Part = tuple[str | Term, dict[str, Any]]  # a name in losses.TERMS or a function like one, and its options

#: the terms of the published 2D methods
PARTS: Mapping[str, Part] = {
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

    def loss(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Sum over terms of weight times loss, (L, M). weights: term -> (L, M). Raises InputError for unknown terms."""
        return (self._stack(weights) * self.values).sum(0)

    def gradient(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        """Length of the weighted total's gradient on layer l's embeddings, in block m's coordinates: (L, M)."""
        return np.sqrt(np.maximum(self._products(weights, weights), 0))

    def cell_gradients(self, term: str) -> np.ndarray:
        """Length of the gradient of each cell's loss by itself, over all embeddings, (L, M)."""
        squares = np.zeros(self.values.shape)
        for where, gram in zip(self.landing, self.grams, strict=True):
            np.add.at(squares, tuple(where.T), np.einsum("mss->s", gram))
        return np.sqrt(squares[self._index(term)])

    def agreement(self, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> np.ndarray:
        """Cosine between the gradients of two weighted losses on each layer's embeddings, (L,).

        1 where they push the same way, -1 where they undo each other, NaN where one of them does not push."""
        both, first, second = (self._products(a, b).sum(1) for a, b in ((one, other), (one, one), (other, other)))
        lengths = np.sqrt(np.maximum(first, 0) * np.maximum(second, 0))
        return np.divide(both, lengths, out=np.full(len(both), np.nan), where=lengths > 0)

    def _products(self, one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> np.ndarray:
        """Inner products of the two weighted gradients on each layer's embeddings, in each block: (L, M)."""
        a, b = self._stack(one), self._stack(other)
        pairs = zip(self.landing, self.grams, strict=True)
        return np.array([np.einsum("s,mst,t->m", a[tuple(w.T)], g, b[tuple(w.T)], optimize=True) for w, g in pairs])

    def _stack(self, weights: Mapping[str, np.ndarray]) -> np.ndarray:
        out = np.zeros(self.values.shape)
        for term, grid in weights.items():
            grid = np.asarray(grid, dtype=float)
            if grid.shape != out.shape[1:]:
                raise InputError(f"weights of {term!r} have shape {grid.shape}: expected {out.shape[1:]}")
            out[self._index(term)] = grid
        return out

    def _index(self, term: str) -> int:
        if term not in self.terms:
            raise InputError(f"term {term!r} was not taken apart: there are {', '.join(self.terms)}")
        return self.terms.index(term)


def dissect(batch: Batch, parts: Mapping[str, Part] | None = None, dims: Sequence[int] | None = None) -> Anatomy:
    """Value and gradient of every (term, layer, dimension) cell on one batch; 42 cells of 5 terms take some seconds.

    parts: label -> part; default `PARTS`. dims: default `default_dims`. The gradient is that of the batch's embeddings
    as they are given, before they are cut and normalized. Raises InputError for an unknown term.

    >>> anatomy = dissect(Batch(torch.randn(2, 3, 8), torch.randn(2, 3, 8)), dims=(4, 8))
    >>> anatomy.loss({"contrastive": np.ones((2, 2))}).shape
    (2, 2)
    """
    parts = PARTS if parts is None else parts
    dims = default_dims(batch.width) if dims is None else tuple(dims)
    layers = tuple(batch.layers)
    texts = [x.detach().clone().requires_grad_() for x in (batch.queries, batch.documents) if x is not None]
    leaves = replace(batch, queries=texts[0], documents=texts[1] if len(texts) > 1 else None)
    # for each layer row the gradients that land there, each (texts, D), and the cells that they come from
    rows: list[list[np.ndarray]] = [[] for _ in layers]
    landing: list[list[tuple[int, int, int]]] = [[] for _ in layers]
    values = np.empty((len(parts), len(layers), len(dims)))
    for t, (term, options) in enumerate(parts.values()):
        if isinstance(term, str) and term not in TERMS:
            raise InputError(f"unknown term {term!r}: give one of {', '.join(TERMS)}")
        function = TERMS[term] if isinstance(term, str) else term
        for i, layer in enumerate(layers):
            table = function(leaves, [layer], dims, **options)[0]  # (M,)
            values[t, i] = table.detach()
            for m, loss in enumerate(table if table.requires_grad else ()):
                found = torch.autograd.grad(loss, texts, retain_graph=True, allow_unused=True, materialize_grads=True)
                for r, row in enumerate(torch.cat(found, 1).numpy()):
                    if row.any():
                        rows[r].append(row)
                        landing[r].append((t, i, m))
    grams = []
    for pushes in rows:
        flat = np.stack(pushes) if pushes else np.zeros((0, 1, batch.width), np.float32)
        blocks = [flat[..., a:b].reshape(len(flat), -1) for a, b in pairwise((0, *dims))]
        grams.append(np.stack([(x @ x.T).astype(np.float64) for x in blocks]))
    where = tuple(np.array(cells, dtype=int).reshape(-1, 3) for cells in landing)
    return Anatomy(tuple(parts), layers, dims, values, where, tuple(grams))


def recipe_parts(recipe: Recipe, anatomy: Anatomy) -> dict[str, np.ndarray]:
    """A recipe's weight grids by the anatomy's terms, (L, M) each; "main" counts as "contrastive".

    Raises InputError where the recipe has a term, a layer or a dimension that the anatomy lacks.
    """
    dims = tuple(recipe.dims) or default_dims(anatomy.dims[-1])
    layers = tuple(recipe.layers) or anatomy.layers
    found: dict[str, np.ndarray] = {}
    for key, given in recipe.weights.items():
        name = "contrastive" if key == "main" else key
        if name not in anatomy.terms:
            raise InputError(f"recipe {recipe.name!r} has the term {name!r}, which was not taken apart")
        grid, found[name] = np.asarray(given, dtype=float), np.zeros(anatomy.values.shape[1:])
        for i, j in np.argwhere(grid):
            if layers[i] not in anatomy.layers or dims[j] not in anatomy.dims:
                raise InputError(f"recipe {recipe.name!r} weighs the cell ({layers[i]}, {dims[j]}), which is not here")
            found[name][anatomy.layers.index(layers[i]), anatomy.dims.index(dims[j])] = grid[i, j]
    return found
