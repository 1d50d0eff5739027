"""What a loss term looks at: one batch of layer-wise embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import at_least_float32, check_pair

if TYPE_CHECKING:
    from mrl_tutorial.losses.classification import NestedClassifier


@dataclass
class Batch:
    """One training batch. queries (L, B, D); documents (L, N, D), N >= B: document i is query i's positive, the rest
    are extra negatives, several a query or none. Raw pooled vectors: terms cut, then normalize.

    layers: which layer each row is, increasing (default 1..L; 0 is the embedding table's output). Terms that look at
    the model's last layer take the last row. labels: (B,) ints for classification, (B,) floats for graded pairs.
    classifier: heads for classification. temperature, symmetric, cosine: of the contrastive score. Half precision is
    raised to float32. Raises InputError where shapes disagree.

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
