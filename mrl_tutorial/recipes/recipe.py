"""A recipe: a loss-weight grid for each term, and how a step draws from them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import default_dims
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.losses.terms import DOCUMENT_TERMS, TERMS, needs_last_layer
from mrl_tutorial.recipes.layer_weights import check_weights, suggestion
from mrl_tutorial.recipes.learned_weights import LayerWeights, Learned

Term = Callable[..., Tensor]
Weights = Mapping[str | Term, "np.ndarray | Tensor"]


@dataclass(frozen=True)
class Recipe:
    """Where on the grid training pushes, and how hard: total loss = sum over terms and cells of weight * loss.

    weights: term -> (len(layers), len(dims)) grid. A term is "main" (the task's own loss), a name in `losses.TERMS`, or
    your function with a term's signature. layers: default 1..rows; dims: default `grid.default_dims`.
    sampler(rng) -> weights: what one step draws; `weights` is then its mean. options: term -> keyword arguments.
    learned: rows of layers below the last are further multiplied by weights that training learns.

        weights = np.zeros((6, 7)); weights[5] = 1; weights[2, 4] = 2
        mine = Recipe("mine", {"main": weights, my_term: weights})
        train(encoder, task, mine)
    """

    name: str
    weights: Weights
    layers: Sequence[int] | None = None
    dims: Sequence[int] | None = None
    sampler: Callable[[np.random.Generator], Weights] | None = None
    options: Mapping[str | Term, dict] = field(default_factory=dict)
    source: str = ""
    line: str = ""
    embeddings: bool = False  # layer 0, the embedding table's output, is among `layers`
    learned: Learned | None = None

    def validate(self, n_layers: int, width: int) -> Recipe:
        """Check against a model and return the recipe with layers, dims and float64 grids filled in.

        Raises InputError that says which: unknown layer or term, dimension beyond the width, wrong shape, negative or
        non-finite or all-zero weights, options that a term does not have.
        """
        if not self.weights:
            raise InputError(f'recipe {self.name!r} has no weights: give {{"main": grid}}')
        grids = {key: _array(self._place(key), grid) for key, grid in self.weights.items()}
        rows = {grid.shape[0] for grid in grids.values() if grid.ndim == 2}
        if self.layers is None and max(rows, default=0) > n_layers:
            raise InputError(
                f"recipe {self.name!r} has a row for layer {max(rows)}: this model has layers 1 to {n_layers}"
            )
        layers = tuple(range(1, n_layers + 1)) if self.layers is None else tuple(self.layers)
        dims = default_dims(width) if self.dims is None else tuple(self.dims)
        _check_axis(self.name, "layer", layers, 0 if self.embeddings else 1, n_layers, f"layers 1 to {n_layers}")
        _check_axis(self.name, "dimension", dims, 1, width, f"vectors of {width} coordinates")
        names = [term_name(key) for key in grids]
        for key, grid in grids.items():
            if isinstance(key, str) and key != "main" and key not in TERMS:
                raise InputError(f"recipe {self.name!r}: unknown term {key!r}{suggestion(key, ['main', *TERMS])}")
            if not isinstance(key, str) and not callable(key):
                raise InputError(f"recipe {self.name!r}: term {key!r} must be a name or a function")
            if names.count(term_name(key)) > 1:
                raise InputError(f"recipe {self.name!r}: two terms are called {term_name(key)!r}: rename one function")
            if grid.shape != (len(layers), len(dims)):
                raise InputError(
                    f"{self._place(key)} have shape {grid.shape}: expected {(len(layers), len(dims))}, "
                    f"layers {list(layers)} by dimensions {list(dims)}"
                )
            check_weights(grid, self._place(key))
        if not any(grid.any() for grid in grids.values()):
            raise InputError(f"recipe {self.name!r}: all weights are zero, so nothing would be trained")
        for key in self.options:
            if key not in grids:
                raise InputError(f"recipe {self.name!r}: options for {term_name(key)!r}, which has no weights")
            known = list(inspect.signature(TERMS[key]).parameters)[3:] if key in TERMS else self.options[key]
            for option in self.options[key]:
                if option not in known:
                    what = f"recipe {self.name!r}: {key!r} has no option {option!r}"
                    raise InputError(what + suggestion(option, known))
        checked = replace(self, weights=grids, layers=layers, dims=dims)
        checked.layer_weights()
        return checked

    def layer_weights(self) -> LayerWeights | None:
        """The trainable layer weights of a `learned` recipe, fresh; else None. Raises InputError as `LayerWeights`."""
        if self.learned is None:
            return None
        used = np.any([_array(self.name, grid).any(axis=1) for grid in self.weights.values()], axis=0)
        return LayerWeights(used)

    def step_weights(self, rng: np.random.Generator) -> dict[str | Term, np.ndarray]:
        """The grids of one step: what the sampler draws with `rng`, else the fixed ones."""
        drawn = self.weights if self.sampler is None else self.sampler(rng)
        return {key: grid if torch.is_tensor(grid) else np.asarray(grid, np.float64) for key, grid in drawn.items()}

    @property
    def deepest_layer(self) -> int:
        """The largest layer with any weight. Training may stop the forward pass there unless `needs_last_layer`."""
        used = max(i for grid in self.weights.values() for i in np.flatnonzero(_array(self.name, grid).any(axis=1)))
        return int(used) + 1 if self.layers is None else int(self.layers[used])

    @property
    def needs_documents(self) -> bool:
        """Whether a weighted term, "main" apart, compares queries with documents."""
        own = bool(self.options.get("main", {}).get("fixed_document"))
        return own or any(key in DOCUMENT_TERMS and _array(key, grid).any() for key, grid in self.weights.items())

    @property
    def needs_last_layer(self) -> bool:
        """Whether a weighted term looks at the model's last layer even where that has no weight (a teacher)."""
        return any(
            needs_last_layer(TERMS.get(key, key), self.options.get(key, {}))
            for key, grid in self.weights.items()
            if key != "main" and _array(self.name, grid).any()
        ) or bool(self.options.get("main", {}).get("fixed_document"))

    def loss(
        self, batch: Batch, weights: Weights | None = None, terms: Mapping[str, Term] | None = None
    ) -> tuple[Tensor, dict[str, np.ndarray]]:
        """Total loss of a batch, a scalar, and what each cell of each term came to: (L, M) float32, NaN at weight 0.

        weights: this step's grids (default: the recipe's); a tensor may require grad. terms: functions by name, among
        them "main"; default by the batch: classification with a classifier, CoSENT with float labels, else contrastive.
        A cell of weight 0 is never computed, so nothing in it can reach the gradient. Scores are in float32, also
        under autocast. Raises InputError where grids, terms and batch disagree.
        """
        weights = self.weights if weights is None else weights
        total, tables = batch.queries.new_zeros(()), {}
        for key, given in weights.items():
            grid = _array(self._place(key), given)
            layers = tuple(range(1, len(grid) + 1) if self.layers is None else self.layers)
            dims = default_dims(batch.width) if self.dims is None else tuple(self.dims)
            if grid.shape != (len(layers), len(dims)):
                raise InputError(f"{self._place(key)} have shape {grid.shape}: expected {(len(layers), len(dims))}")
            exact = torch.as_tensor(given, dtype=total.dtype, device=total.device)
            term, table = self._term(key, batch, terms or {}), np.full(grid.shape, np.nan, np.float32)
            for rows, columns in rectangles(grid != 0):
                chosen = [layers[i] for i in rows], [dims[j] for j in columns]
                with torch.autocast(total.device.type, enabled=False):
                    values = term(batch, *chosen, **self.options.get(key, {}))
                if tuple(values.shape) != (len(rows), len(columns)):
                    raise InputError(
                        f"term {term_name(key)!r} returned shape {tuple(values.shape)} for layers {chosen[0]} and "
                        f"dimensions {chosen[1]}: expected {(len(rows), len(columns))}"
                    )
                total = total + (exact[rows][:, columns] * values).sum()
                table[np.ix_(rows, columns)] = values.detach().float().cpu().numpy()
            tables[term_name(key)] = table
        return total, tables

    def _term(self, key: str | Term, batch: Batch, terms: Mapping[str, Term]) -> Term:
        if callable(key):
            return key
        if key in terms:
            return terms[key]
        if key == "main":
            if batch.classifier is not None:
                return TERMS["classification"]
            return TERMS["cosent" if batch.labels is not None and batch.labels.is_floating_point() else "contrastive"]
        if key not in TERMS:
            raise InputError(f"recipe {self.name!r}: unknown term {key!r}{suggestion(key, ['main', *TERMS, *terms])}")
        return TERMS[key]

    def _place(self, key: str | Term) -> str:
        return f"recipe {self.name!r}: weights of {term_name(key)!r}"


def term_name(key: str | Term) -> str:
    """The name that a term is reported under: itself, or its function's."""
    return key if isinstance(key, str) else getattr(key, "__name__", type(key).__name__)


def rectangles(mask: np.ndarray) -> list[tuple[list[int], list[int]]]:
    """Cover the true cells of a (L, M) mask exactly by (rows, columns) products: rows with equal columns together."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for i, row in enumerate(mask):
        if row.any():
            groups.setdefault(tuple(int(j) for j in np.flatnonzero(row)), []).append(i)
    return [(rows, list(columns)) for columns, rows in groups.items()]


def _array(place: str, grid) -> np.ndarray:
    try:
        return np.asarray(grid.detach().cpu() if torch.is_tensor(grid) else grid, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{place} are not a grid of numbers") from None


def _check_axis(recipe: str, what: str, values: tuple, low: int, high: int, have: str) -> None:
    for value in values:
        if value != int(value) or not low <= value <= high:
            raise InputError(f"recipe {recipe!r}: {what} {value} does not exist: this model has {have}")
    if any(a >= b for a, b in pairwise(values)):
        raise InputError(f"recipe {recipe!r}: {what}s {list(values)} must increase: sort them and drop repeats")
