"""Checks of lesson 12: painted recipes, a loss term of one's own, a recipe that can be trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from exercises.mistakes import recognize, unit
from exercises.verdict import exercise
from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import default_dims
from mrl_tutorial.losses import Batch, term
from mrl_tutorial.recipes.recipe_file import RecipeFile

LAYERS, DIMS = 6, default_dims(384)
Paint = Callable[..., np.ndarray]


def _shape(weights: np.ndarray) -> str | None:
    if weights.shape == (LAYERS, len(DIMS)):
        return None
    if weights.shape == (len(DIMS), LAYERS):
        return f"your table is {weights.shape}: the rows are the layers, the columns the dimensions."
    return f"your table has shape {weights.shape}; it needs a row a layer, a column a dimension: {(LAYERS, len(DIMS))}."


def _table(rows: Sequence[int], corner: bool = False) -> np.ndarray:
    weights = np.zeros((LAYERS, len(DIMS)))
    weights[list(rows)] = 1
    weights[-1, -1] = max(weights[-1, -1], corner)
    return weights


@exercise("the last layer at every dimension. That is all of MRL: one painted row.")
def mrl(paint: Paint) -> str | None:
    """Exercise "paint MRL": (n_layers, dims) -> weights (n_layers, len(dims))."""
    got = np.asarray(paint(LAYERS, DIMS), dtype=float)
    if problem := _shape(got):
        return problem
    column = np.zeros((LAYERS, len(DIMS)))
    column[:, -1] = 1
    mistakes = {
        "row 0 is layer 1, the first. The last layer is row -1.": _table([0]),
        "you painted a column: every layer at full width. MRL is about widths: paint the last layer's row.": column,
        "one cell is the usual loss of the full model. MRL gives its shorter prefixes a loss too.": _table([], True),
        "every cell is painted. MRL leaves the layers below the last alone.": np.ones((LAYERS, len(DIMS))),
    }
    if hint := recognize(got > 0, {hint: wrong > 0 for hint, wrong in mistakes.items()}):
        return hint
    if not np.array_equal(got > 0, _table([-1]) > 0):
        return "only the last row should have weight, and all of it."
    return None if len(np.unique(got[-1])) == 1 else "MRL as published gives every dimension the same weight."


@exercise("two rows for the layers that answer, one cell for the model that reranks. Nothing else asks for attention.")
def two_layers(paint: Paint) -> str | None:
    """Exercise "two layers online": (first, second, n_layers, dims) -> weights (n_layers, len(dims))."""
    for first, second in ((2, 4), (1, 5)):
        got = np.asarray(paint(first, second, LAYERS, DIMS), dtype=float)
        if problem := _shape(got):
            return problem
        rows = [first - 1, second - 1]
        mistakes = {
            f"layer {first} is row {first - 1}: Python counts from 0.": _table([first, second], True),
            "the two rows are right, but the full model has no weight. It is the one that reranks.": _table(rows),
            "the whole last row is painted. The reranker uses one cell of it: the full width.": _table([*rows, -1]),
            "only the reranker is painted: the two layers that answer need their rows.": _table([], True),
        }
        if hint := recognize(got > 0, {hint: wrong > 0 for hint, wrong in mistakes.items()}):
            return hint
        if (got < 0).any():
            return "a negative weight would push the loss up: give 0 or more."
        if not np.array_equal(got > 0, _table(rows, True) > 0):
            return f"for layers {first} and {second} paint their two rows and the cell of the full model, nothing else."
    return None


def _drift(batch: Batch, layers: Sequence[int], dims: Sequence[int]) -> np.ndarray:
    """The mean squared distance between a query at a layer and at the last layer, cut, then normalized."""
    rows = batch.queries.detach().numpy()
    of = dict(zip(batch.layers, rows, strict=True))
    last = rows[-1]
    return np.array([[((unit(of[i][:, :d]) - unit(last[:, :d])) ** 2).sum(1).mean() for d in dims] for i in layers])


@exercise("one number for every layer and dimension, in this order. The lab can weigh each of them now.")
def drift(function: Callable[..., torch.Tensor]) -> str | None:
    """Exercise "the refused term": (batch, layers, dims) -> (len(layers), len(dims))."""
    draw = torch.Generator().manual_seed(0)
    batch = Batch(torch.randn(4, 5, 16, generator=draw).requires_grad_(), torch.randn(4, 5, 16, generator=draw))
    for layers, dims in (([1, 2, 3, 4], [2, 4, 16]), ([1, 3], [4, 8])):
        got, want = function(batch, layers, dims), _drift(batch, layers, dims)
        if not torch.is_tensor(got):
            return f"a term returns a tensor, yours a {type(got).__name__}: it could not be learned from."
        if not got.requires_grad:
            return "it has no gradient: compute in torch, without .detach(), .item() or numpy."
        values, at = got.detach().numpy(), f"for {len(layers)} layers and {len(dims)} dimensions"
        if values.shape == want.T.shape != want.shape:
            return f"{at} it returns {values.shape}: they have changed places. Along which axis does `stack` stack?"
        if values.shape in ((*want.shape, batch.size), (*want.T.shape, batch.size)):
            return "there is still a number for each query: take the mean over the queries, the last axis."
        if values.shape != want.shape:
            return f"{at} it returns shape {values.shape}; the lab needs {want.shape}."
        if hint := recognize(values, {"that is the sum over the queries: take their mean.": want * batch.size}):
            return hint
        if not np.allclose(values, want, atol=1e-5):
            return "the shape is right, the numbers are not: leave the distances as they are, and change the last line."
    return None


@exercise("this can be trained. Whether it is better, only dev can say.")
def recipe(make: Callable[[], Mapping[str, np.ndarray]]) -> str | None:
    """Exercise "beat all-cells": () -> {term: weights (6, 7)}, something else than all-cells itself."""
    found = make()
    if not isinstance(found, Mapping) or not found:
        return 'return a dictionary: a term\'s name -> its weights, as in {"main": weights}.'
    for name, weights in found.items():
        if problem := _shape(np.asarray(weights, dtype=float)):
            return f"{name}: {problem}"
    if not np.any(found.get("main", 0)):
        return 'no cell of "main" has weight. It is the one term that knows which document answers a query.'
    # the terms that the lesson writes; any other name is refused with a word of what there is
    own = [term(name)(lambda batch, layers, dims: batch.queries) for name in ("crowd", "drift") if name in found]
    try:
        terms = [{"term": name, "weights": np.asarray(w, dtype=float).tolist()} for name, w in found.items()]
        RecipeFile.of({"name": "yours", "terms": terms}).recipe(LAYERS, 384, own)
    except InputError as error:
        return f"it cannot be trained: {error}"
    if set(found) == {"main"} and len(np.unique(found["main"])) == 1:
        return "every cell has the same weight: that is all-cells itself."
    return None
