"""A recipe: a loss-weight grid for each term, and how a step samples from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.losses import TERMS, Batch, Term
from mrl_tutorial.losses.term import needs_last_layer, options_of, term_name
from mrl_tutorial.recipes.layer_weights import LayerWeights, Learned, as_numbers, check_weights, suggestion

#: term (by name, or a function) -> grid (L, M): an array, nested lists or a tensor
Weights = Mapping[Any, Any]


@dataclass(frozen=True)
class Recipe:
    """The loss weight of every grid cell: the total loss is the sum over terms and cells of weight * loss.

    weights: term -> (len(layers), len(dims)) grid. A term is "main" (the task's own loss), a name in `losses.TERMS`, or
    your function with a term's signature. layers: default 1..L; dims: default `grid.default_dims`.
    sampler(rng) -> weights: those of one step; `weights` is then their mean. options: term -> keyword arguments.
    embeddings: layer 0, the embedding table's output, is among `layers`. learned: rows of layers below the last are
    further multiplied by weights that training learns. source, line: where it comes from, and what it is in one line.
    Raises InputError for weights that are no numbers.

    >>> weights = np.zeros((6, 7))
    >>> weights[5], weights[2, 4] = 1, 2
    >>> mine = Recipe("mine", {"main": weights})  # then: train(encoder, task, mine)
    >>> mine.deepest_layer, mine.validate(n_layers=6, width=384).dims
    (6, (8, 16, 32, 64, 128, 256, 384))
    """

    name: str
    weights: Weights
    layers: Sequence[int] = ()
    dims: Sequence[int] = ()
    sampler: Callable[[np.random.Generator], Weights] | None = None
    options: Mapping[Any, dict[str, Any]] = field(default_factory=dict)
    source: str = ""
    line: str = ""
    embeddings: bool = False
    learned: Learned | None = None

    def __post_init__(self) -> None:
        grids = {key: as_numbers(grid, self._place(key)) for key, grid in self.weights.items()}
        object.__setattr__(self, "weights", grids)

    def validate(self, n_layers: int, width: int) -> Recipe:
        """Check against a model and return the recipe with layers and dims filled in.

        Raises InputError that says which layer, dimension, term, shape, weight or option is wrong."""
        who = f"recipe {self.name!r}"
        layers, dims = self._axes(n_layers, width)
        blocks = tuple(layer for layer in layers if layer or not self.embeddings)
        if check_cells(blocks, dims, n_layers, width) != (blocks, dims) or 0 in layers[1:]:
            raise InputError(f"{who}: layers {list(layers)} and dims {list(dims)} must increase: sort, drop repeats")
        names = [term_name(key) for key in self.weights]
        for key, grid in self.weights.items():
            _function(key)
            if names.count(term_name(key)) > 1:
                raise InputError(f"{who}: two terms are called {term_name(key)!r}: rename one function")
            self._check_shape(key, grid, layers, dims)
            check_weights(grid, self._place(key))
        if not any(grid.any() for grid in self.weights.values()):
            raise InputError(f"{who}: all weights are zero, so nothing would be trained")
        for key, given in self.options.items():
            if key not in self.weights:
                raise InputError(f"{who}: options for {term_name(key)!r}, which has no weights")
            losses = ("contrastive", "cosent", "classification") if key == "main" else (key,)
            known = {name for loss in losses if loss in TERMS for name in options_of(TERMS[loss])} or given
            for option in given:
                if option not in known:
                    raise InputError(f"{who}: {key!r} has no option {option!r}{suggestion(option, known)}")
        self.layer_weights()
        return replace(self, layers=layers, dims=dims)

    def layer_weights(self) -> LayerWeights | None:
        """New trainable layer weights if the recipe is `learned`, else None. Raises InputError as in `LayerWeights`."""
        return None if self.learned is None else LayerWeights(self._weighted_rows())

    def step_weights(self, rng: np.random.Generator) -> dict[str | Term, Any]:
        """The grids of one step: what the sampler takes with `rng`, else the fixed ones."""
        return dict(self.weights if self.sampler is None else self.sampler(rng))

    @property
    def deepest_layer(self) -> int:
        """The largest layer with any weight. Training may stop the forward pass there unless `needs_last_layer`."""
        row = int(np.flatnonzero(self._weighted_rows()).max())
        return int(self.layers[row]) if len(self.layers) else row + 1

    @property
    def needs_documents(self) -> bool:
        """Whether a weighted term compares queries with documents; "main" does where it has options of such a loss."""
        used = [key for key, grid in self.weights.items() if grid.any() and (key != "main" or self.options.get(key))]
        return any(getattr(_function(key), "needs_documents", False) for key in used)

    @property
    def needs_last_layer(self) -> bool:
        """Whether a weighted term looks at the model's last layer even where that has no weight (a teacher)."""
        used = [key for key, grid in self.weights.items() if grid.any()]
        return any(needs_last_layer(_function(key), self.options.get(key)) for key in used)

    def loss(self, batch: Batch, weights: Weights | None = None) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Total loss of a batch, a scalar, and what each cell of each term came to: (L, M) float32, NaN at weight 0.

        weights: this step's grids (default: the recipe's); a tensor may require grad. "main" is classification with a
        classifier, CoSENT with float labels, else contrastive. A cell of weight 0 is never computed, so nothing in it
        can reach the gradient. Scores are in float32, also under autocast. Raises InputError where grids, terms and
        batch disagree."""
        total, tables = batch.queries.new_zeros(()), {}
        for key, given in (self.weights if weights is None else weights).items():
            grid = as_numbers(given, self._place(key))
            layers, dims = self._axes(len(grid), batch.width)
            self._check_shape(key, grid, layers, dims)
            table = tables[term_name(key)] = np.full(grid.shape, np.nan, np.float32)
            exact = torch.as_tensor(given, dtype=total.dtype, device=total.device)
            for rows, columns in rectangles(grid != 0):
                chosen = [layers[i] for i in rows], [dims[j] for j in columns]
                with torch.autocast(total.device.type, enabled=False):
                    values = _function(key, batch)(batch, *chosen, **self.options.get(key, {}))
                if tuple(values.shape) != (len(rows), len(columns)):
                    what = f"for layers {chosen[0]} and dimensions {chosen[1]}: expected {(len(rows), len(columns))}"
                    raise InputError(f"term {term_name(key)!r} returned shape {tuple(values.shape)} {what}")
                total = total + (exact[rows][:, columns] * values).sum()
                table[np.ix_(rows, columns)] = values.detach().float().cpu().numpy()
        return total, tables

    def _weighted_rows(self) -> np.ndarray:
        return np.any([grid.any(axis=1) for grid in self.weights.values()], axis=0)

    def _axes(self, n_layers: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The layers of the rows and the dimensions of the columns, the default ones where none are given."""
        return tuple(self.layers) or tuple(range(1, n_layers + 1)), tuple(self.dims) or default_dims(width)

    def _place(self, key: str | Term) -> str:
        return f"recipe {self.name!r}: weights of {term_name(key)!r}"

    def _check_shape(self, key: str | Term, grid: np.ndarray, layers: Sequence[int], dims: Sequence[int]) -> None:
        if grid.shape != (len(layers), len(dims)):
            right = f"{(len(layers), len(dims))}, layers {list(layers)} by dimensions {list(dims)}"
            raise InputError(f"{self._place(key)} have shape {grid.shape}: expected {right}")


def _function(key: str | Term, batch: Batch | None = None) -> Term:
    """The function that a term is; "main" depends on the batch. Raises InputError for an unknown name."""
    if key == "main" and batch is not None and batch.classifier is not None:
        return TERMS["classification"]
    if key == "main":
        graded = batch is not None and batch.labels is not None and batch.labels.is_floating_point()
        return TERMS["cosent" if graded else "contrastive"]
    if not callable(key) and key not in TERMS:
        raise InputError(f"unknown term {key!r}{suggestion(str(key), ['main', *TERMS])}, or a function")
    return key if callable(key) else TERMS[key]


def rectangles(mask: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """Cover the true cells of a (L, M) mask exactly by (rows, columns) products: rows with equal columns together.

    >>> rectangles(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]) > 0)
    [([0, 2], [0, 2]), ([1], [1])]
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(mask):
        if row.any():
            groups.setdefault(tuple(int(j) for j in np.flatnonzero(row)), []).append(i)
    return [(rows, list(columns)) for columns, rows in groups.items()]


def weight_grid(n_layers: int, dims: Sequence[int], cells: Sequence[tuple[int, int]]) -> np.ndarray:
    """(n_layers, len(dims)): 1 in the given (layer, dim) cells, else 0."""
    grid = np.zeros((n_layers, len(dims)))
    for layer, dim in cells:
        grid[layer - 1, list(dims).index(dim)] = 1
    return grid


def columns_of(dims: Sequence[int] | None, width: int, *needed: int) -> tuple[int, ...]:
    """The columns of a recipe's grids: `dims` or the default ones, and those needed, sorted."""
    return tuple(sorted({*(default_dims(width) if dims is None else map(int, dims)), *needed}))
