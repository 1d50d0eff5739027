"""The gradient of a batch of any size in bounded memory: cached gradients (GradCache, arXiv 2101.06983).

The loss is made on embeddings that are cut off from the model, a few cells at a time, and each part's scores are
forgotten when their gradient has been added to that of the embeddings. One backward pass then takes the embeddings'
gradient through the model, which computes its micro-batches again where their activations do not fit (`FullBackbone`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrl_tutorial.losses import Batch
from mrl_tutorial.recipes.layer_weights import LayerWeights
from mrl_tutorial.recipes.recipe import Recipe

SCORES = 1 << 24  # scores of cells that are computed together, in numbers: 64 MB, and a few times that with a gradient


def backward(
    recipe: Recipe, batch: Batch, weights: dict[Any, Any], learned: LayerWeights | None = None
) -> tuple[Tensor, dict[str, np.ndarray]]:
    """Add the gradient of a step's loss to everything that the batch was made with. Returns what `Recipe.loss` does:
    the loss, a scalar, and what each cell of each term came to. learned: multiplies the rows of `weights`.
    """
    joined = [side for side in (batch.queries, batch.documents) if side is not None]
    cut = [side.detach().requires_grad_() for side in joined]
    alone = replace(batch, queries=cut[0], documents=cut[1] if len(cut) > 1 else None)
    total, tables = cut[0].new_zeros(()), dict[str, np.ndarray]()
    for part in parts(weights, batch.size * (0 if batch.documents is None else batch.documents.shape[1])):
        loss, found = recipe.loss(alone, part if learned is None else learned.scale(part))
        loss.backward()
        total += loss.detach()
        for name, table in found.items():
            tables[name] = np.where(np.isnan(table), tables.get(name, np.float32(np.nan)), table)
    used = [(side, leaf.grad) for side, leaf in zip(joined, cut, strict=True) if leaf.grad is not None]
    torch.autograd.backward([side for side, _ in used], [gradient for _, gradient in used])
    return total, tables


def parts(weights: dict[Any, Any], scores: int) -> Iterator[dict[Any, Any]]:
    """The grids of a step, or, where their cells have more than `SCORES` scores in all, one row after another, or one
    cell; zero elsewhere. scores: of one cell, B * N.

    >>> len(list(parts({"main": np.ones((6, 7))}, 64 * 64))), len(list(parts({"main": np.ones((6, 7))}, 4096 * 4096)))
    (1, 42)
    """
    grids = {key: np.asarray(torch.as_tensor(grid).detach()) != 0 for key, grid in weights.items()}
    if sum(used.sum() for used in grids.values()) * scores <= SCORES:
        yield weights
        return
    for key, used in grids.items():
        for i, row in enumerate(used):
            whole = row.sum() * scores <= SCORES
            for columns in [row] if whole and row.any() else np.eye(len(row), dtype=bool)[row]:
                part = 0 * weights[key]
                part[i, columns] = weights[key][i, columns]
                yield {key: part}
