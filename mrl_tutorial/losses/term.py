"""What a loss term gets, a batch of layer-wise embeddings, and how it declares itself: its name, and what it needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import at_least_float32, check_pair

if TYPE_CHECKING:
    from mrl_tutorial.losses.classification import NestedClassifier

#: term(batch, layers, dims, **options) -> (len(layers), len(dims)), the loss of every cell, differentiable
Term = Callable[..., Tensor]
SomeTerm = TypeVar("SomeTerm", bound=Term)
Ints = Sequence[int]


@dataclass
class Batch:
    """One training batch. queries (L, B, D); documents (L, N, D), N >= B: document i is query i's positive, the rest
    are extra negatives, several a query or none. Raw pooled vectors: terms cut, then normalize.

    layers: which layer each row is, increasing (default 1..L; 0 is the embedding table's output); the last row counts
    as the model's last layer. labels: (B,) ints for classification, (B,) floats for graded pairs. classifier: heads for
    classification. temperature, symmetric, cosine: of the contrastive score. Half precision is raised to float32.
    Raises InputError where shapes disagree.

    >>> batch = Batch(torch.randn(6, 4, 384), torch.randn(6, 4, 384))
    >>> batch.layers, batch.size, batch.width, batch.query_rows([2, 3]).shape
    ((1, 2, 3, 4, 5, 6), 4, 384, torch.Size([2, 4, 384]))
    """

    queries: Tensor
    documents: Tensor | None = None
    layers: Sequence[int] = ()
    labels: Tensor | None = None
    classifier: NestedClassifier | None = None
    temperature: float = 0.05
    symmetric: bool = False
    cosine: bool = True

    def __post_init__(self) -> None:
        if self.queries.ndim != 3 or 0 in self.queries.shape:
            raise InputError(f"queries {tuple(self.queries.shape)} must be (layers, batch, width), none of them 0")
        count = self.queries.shape[0]
        self.layers = tuple(int(x) for x in self.layers) or tuple(range(1, count + 1))
        if len(self.layers) != count or any(a >= b for a, b in pairwise(self.layers)):
            raise InputError(f"layers {list(self.layers)} must name the {count} rows of the queries, increasing")
        self.queries = at_least_float32(self.queries)
        if self.documents is not None:
            self.documents = at_least_float32(self.documents)
            check_pair(self.queries, self.documents)
            n = self.documents.shape[1]
            if n < self.size:
                raise InputError(f"{n} documents for {self.size} queries: each needs its positive, in order")
        if self.labels is not None and tuple(self.labels.shape) != (self.size,):
            raise InputError(f"labels {tuple(self.labels.shape)} must be ({self.size},): one per query")
        if not self.temperature > 0:
            raise InputError(f"temperature {self.temperature} must be positive: 0.05 is usual")

    @property
    def size(self) -> int:
        """B, the number of queries."""
        return self.queries.shape[1]

    @property
    def width(self) -> int:
        """D, the full width."""
        return self.queries.shape[2]

    def query_rows(self, layers: Sequence[int]) -> Tensor:
        """The queries of these layers, (len(layers), B, D). Raises InputError for a layer that the batch lacks."""
        return self._rows(self.queries, layers)

    def pair_rows(self, layers: Sequence[int], fixed_document: bool = False) -> tuple[Tensor, Tensor]:
        """Queries (len(layers), B, D) and documents (len(layers), N, D) of these layers.

        fixed_document: documents of the last row for every layer. Raises InputError without documents, or the layer."""
        if self.documents is None:
            raise InputError("this term compares queries with documents, and the batch has no documents")
        of = [self.layers[-1]] * len(layers) if fixed_document else layers
        return self.query_rows(layers), self._rows(self.documents, of)

    def text_rows(self, layers: Sequence[int]) -> Tensor:
        """Queries and documents together, (len(layers), B + N, D); queries alone where there are no documents."""
        return self.query_rows(layers) if self.documents is None else torch.cat(self.pair_rows(layers), dim=1)

    def _rows(self, x: Tensor, layers: Sequence[int]) -> Tensor:
        if tuple(layers) == self.layers:
            return x
        for layer in layers:
            if layer not in self.layers:
                raise InputError(f"layer {layer} is not in this batch, which holds layers {list(self.layers)}")
        return x.index_select(0, torch.tensor([self.layers.index(layer) for layer in layers], device=x.device))


def term(
    name: str, *, needs_documents: bool = False, needs_last_layer: bool | Callable[[Mapping[str, Any]], bool] = False
) -> Callable[[SomeTerm], SomeTerm]:
    """Declare a function to be the loss term `name`; returns the same function with three attributes added.

    needs_documents: whether it compares queries with documents, which a classification task does not have.
    needs_last_layer: whether it looks at the model's last layer even for cells of lower layers, as a teacher, or a
    function of the term's options that says so; training stops the forward pass early where nothing does. A function
    without this decorator can be a term too: it is then taken to need the last layer, and no documents.

    >>> @term("length")
    ... def length(batch, layers, dims, power=2):
    ...     return torch.stack([batch.query_rows(layers)[..., :d].pow(power).mean((1, 2)) for d in dims], 1)
    >>> term_name(length), needs_last_layer(length), options_of(length)
    ('length', False, {'power': 2})
    """

    def declare(function: SomeTerm) -> SomeTerm:
        vars(function).update(term_name=name, needs_documents=needs_documents, needs_last_layer=needs_last_layer)
        return function

    return declare


def term_name(key: str | Term) -> str:
    """The name that a term is reported under: itself, the declared one, or its function's."""
    if isinstance(key, str):
        return key
    return getattr(key, "term_name", getattr(key, "__name__", type(key).__name__))


def needs_last_layer(function: Term, options: Mapping[str, Any] | None = None) -> bool:
    """Whether a term with these options looks at the model's last layer even for cells of lower layers."""
    declared = getattr(function, "needs_last_layer", True)
    return declared({**options_of(function), **(options or {})}) if callable(declared) else declared


def options_of(function: Term) -> dict[str, Any]:
    """A term's keyword options and their defaults: everything after batch, layers and dims."""
    parameters = list(inspect.signature(function).parameters.values())[3:]
    return {parameter.name: parameter.default for parameter in parameters}
