"""Notebook 05: fewer bits a coordinate on top of fewer coordinates, what each way to store vectors costs and keeps."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import statistics
from mrl_tutorial.files import key, remembered
from mrl_tutorial.retrieval.costs import bytes_per_vector
from mrl_tutorial.retrieval.planner import Judged
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage

STORES = ("float32", "int8", "binary")
VERSION = 3  # of how stores are measured: what the cache holds from another one is not read
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Store:
    """A way to store document vectors: `dim` coordinates as "float32", "int8" (a byte each) or "binary" (a bit each,
    set above 0), scanned for every query.

    rerank: "float32" or "int8" copies of the same `dim` coordinates that settle the order of the `depth` best; None
    where the scan's own order stands. Raises InputError for anything else.
    """

    dim: int
    kind: str = "float32"
    rerank: str | None = None
    depth: int = 100

    def __post_init__(self) -> None:
        if self.kind not in STORES or self.rerank not in (None, "float32", "int8"):
            raise InputError(f"store {self.kind!r}, reranked by {self.rerank!r}: choose of {', '.join(STORES)}, None")
        if self.dim < 1 or self.depth < 1:
            raise InputError(f"{self.dim} coordinates, depth {self.depth}: give 1 or more of each")

    def __str__(self) -> str:
        return f"{self.kind}, {self.dim} dims" + (f", best {self.depth} by {self.rerank}" if self.rerank else "")

    @property
    def scanned(self) -> int:
        """Bytes a vector that every query reads."""
        return bytes_per_vector(self.dim, self.kind)

    @property
    def held(self) -> int:
        """Bytes a vector in all: scanned, and the copies for reranking, which may lie on a slower disk."""
        return self.scanned + (bytes_per_vector(self.dim, self.rerank) if self.rerank else 0)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The path of search, for `Retriever`."""
        first = Stage(self.dim, self.depth if self.rerank else None, engine=self.kind)
        return (first, Stage(self.dim, engine=self.rerank)) if self.rerank else (first,)


@dataclass(frozen=True)
class Measured:
    """A store and its quality. items: the measure of each query. dev: quality where the choice is made."""

    store: Store
    items: np.ndarray
    dev: float = float("nan")

    @property
    def value(self) -> float:
        """The mean measure."""
        return float(self.items.mean(dtype=np.float64))

    @property
    def scanned(self) -> int:
        """As Store.scanned."""
        return self.store.scanned

    @property
    def held(self) -> int:
        """As Store.held."""
        return self.store.held

    def compare(self, other: Measured, *, samples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
        """(difference, low, high) of self - other: a paired 95 % bootstrap over the same queries. Raises InputError as
        statistics.paired."""
        return statistics.paired(self.items, other.items, samples=samples, seed=seed)[:3]


def measure_stores(
    task: Any,
    embeddings: Mapping[str, np.ndarray],
    stores: Sequence[Store],
    *,
    metric: str = "ndcg@10",
    split: str = "test",
    cache: bool = False,
    progress: Progress | None = None,
) -> list[Measured]:
    """The quality of retrieval with each way to store the documents of the last layer.

    embeddings: queries (L, Q, D) and documents (L, N, D) of this split. metric: with a cut-off. cache: what was
    measured before is read from the cache. Raises InputError as `plan_retrieval` does.
    """
    part = Judged.of(task, {split: embeddings}, split, metric)
    queries, documents = part.queries[-1], part.documents[-1]

    def measure() -> dict[str, np.ndarray]:
        base, table = Retriever(documents, [Stage(documents.shape[1])]), []
        for done, store in enumerate(stores, start=1):
            table.append(part.items(base.with_stages(store.stages).search(queries, part.k).rows))
            if progress is not None:
                progress(done, len(stores), "searching")
        return {"items": np.array(table)}  # (stores, Q)

    if cache:
        name = key(VERSION, task.fingerprint(), split, metric, list(map(repr, stores)), queries, documents)
        table = remembered("stores", name, measure)
    else:
        table = measure()
    return [Measured(store, items) for store, items in zip(stores, table["items"], strict=True)]


def signs(x: np.ndarray) -> np.ndarray:
    """The vectors that bits stand for: +1 above 0, else -1. x (..., N, D) -> (..., N, D) float32.

    With signs on both sides a cosine is 1 - 2 Hamming / d; with signs of documents only, the query keeps its floats.
    """
    return np.where(np.asarray(x) > 0, np.float32(1), np.float32(-1))
