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
from mrl_tutorial.recipes.recipe import Recipe, Weights, term_name

SCORES = 1 << 24  # scores of cells that are computed together, in numbers: 64 MB, and a few times that with a gradient


class NonFiniteLoss(ArithmeticError):
    """The loss became infinite or not a number; the message names step, term and cell."""


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
        if loss.requires_grad or not all(np.isnan(table).all() for table in found.values()):
            loss.backward()  # else the step's sampler has seen no weighted cell
        total += loss.detach()
        for name, table in found.items():
            tables[name] = np.where(np.isnan(table), tables.get(name, np.float32(np.nan)), table)
    used = [(side, leaf.grad) for side, leaf in zip(joined, cut, strict=True) if leaf.grad is not None]
    if used:
        torch.autograd.backward([side for side, _ in used], [gradient for _, gradient in used])
    return total, tables


def check_finite(loss: Tensor, tables: dict[str, np.ndarray], weights: Weights, recipe: Recipe, step: int) -> None:
    """Raises NonFiniteLoss that names the first term and cell at fault where the loss is not a number."""
    if torch.isfinite(loss):
        return
    for key, grid in weights.items():
        term, table = term_name(key), tables[term_name(key)]
        used = torch.as_tensor(grid).detach().numpy() != 0
        for i, j in np.argwhere(used & ~np.isfinite(table)):
            cell = f"cell (layer {recipe.layers[i]}, dimension {recipe.dims[j]})"
            remedy = "lower the learning rate, raise the temperature, or look at that term"
            raise NonFiniteLoss(f"step {step + 1}: term {term!r} is {table[i, j]} in {cell}: {remedy}")
    raise NonFiniteLoss(f"step {step + 1}: the sum of all terms is {float(loss)}: lower the weights")


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
