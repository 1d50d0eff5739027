"""Fewer bits a coordinate, on top of fewer coordinates: what each way of storing vectors costs and keeps.

The engines and codes are those of `engines`; here they are measured on a task, a way of storing after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics, statistics
from mrl_tutorial.evaluation.embeddings import check_embeddings
from mrl_tutorial.files import key, remembered
from mrl_tutorial.retrieval.costs import bytes_per_vector
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage

STORES = ("float32", "int8", "binary")
VERSION = 1  # of how stores are measured: what the cache holds from another one is not read
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Store:
    """A way of storing document vectors: `dim` coordinates as "float32", "int8" (a byte each) or "binary" (a bit each,
    set above 0), scanned for every query.

    rescore: "float32" or "int8" copies of the same `dim` coordinates that settle the order of the `keep` best; None
    where the scan's own order stands. Raises InputError for anything else.
    """

    dim: int
    kind: str = "float32"
    rescore: str | None = None
    keep: int = 100

    def __post_init__(self) -> None:
        if self.kind not in STORES or self.rescore not in (None, "float32", "int8"):
            raise InputError(f"store {self.kind!r}, rescored by {self.rescore!r}: choose of {', '.join(STORES)}, None")
        if self.dim < 1 or self.keep < 1:
            raise InputError(f"{self.dim} coordinates, {self.keep} kept: give 1 or more of each")

    def __str__(self) -> str:
        return f"{self.kind}, {self.dim} dims" + (f", best {self.keep} by {self.rescore}" if self.rescore else "")

    @property
    def scanned(self) -> int:
        """Bytes a vector that every query reads."""
        return bytes_per_vector(self.dim, self.kind)

    @property
    def held(self) -> int:
        """Bytes a vector in all: scanned, and the copies for rescoring, which may lie on a slower disk."""
        return self.scanned + (bytes_per_vector(self.dim, self.rescore) if self.rescore else 0)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The path of search, for `Retriever`."""
        first = Stage(self.dim, self.keep if self.rescore else None, engine=self.kind)
        return (first, Stage(self.dim, engine=self.rescore)) if self.rescore else (first,)


@dataclass(frozen=True)
class Measured:
    """A store and its quality. items: the measure of each query. dev: quality where the choice is made (`pareto`)."""

    store: Store
    items: np.ndarray
    dev: float = float("nan")

    @property
    def value(self) -> float:
        return float(self.items.mean(dtype=np.float64))

    @property
    def scanned(self) -> int:
        return self.store.scanned

    @property
    def held(self) -> int:
        return self.store.held

    def compare(self, other: Measured, *, samples: int = 2000, seed: int = 0) -> tuple[float, float, float]:
        """(difference, low, high) of self - other: paired 95 % bootstrap over the same queries. Raises
        InputError as statistics.paired."""
        return statistics.paired(self.items, other.items, samples=samples, seed=seed)[:3]


def measure_stores(
    task: Any, embeddings: Mapping[str, np.ndarray], stores: Sequence[Store], *, metric: str = "ndcg@10",
    split: str = "test", threads: int = 1, cache: bool = False, progress: Progress | None = None,
) -> list[Measured]:  # fmt: skip
    """The quality of retrieval with each way of storing the documents of the last layer.

    embeddings: queries (L, Q, D) and documents (L, N, D) of this split. metric: with a cut-off. cache: what was measured
    before is read from the cache. Raises InputError for a task that is not retrieval, a measure without cut-off, and as
    `Retriever` does.
    """
    if task.kind != "retrieval":
        raise InputError(f"a {task.kind!r} task has no documents to store: give a retrieval task")
    k = metrics.cutoff(metric)
    ids = task.judged(split)
    judged = metrics.judge(ids, list(task.corpus), task.qrels)
    parts = check_embeddings(embeddings, {"queries": len(ids), "documents": len(task.corpus)})
    queries, documents = parts["queries"][-1], parts["documents"][-1]

    def measure() -> dict[str, np.ndarray]:
        base, table = Retriever(documents, [Stage(documents.shape[1])], threads=threads), []
        for done, store in enumerate(stores, start=1):
            rows = base.with_stages(store.stages).search(queries, k).rows  # (Q, k)
            table.append(metrics.retrieval_metric(metric, metrics.found_ranks(rows, judged), judged))
            if progress is not None:
                progress(done, len(stores), "searching")
        return {"items": np.array(table)}  # (stores, Q)

    if cache:
        name = key(
            VERSION, np.__version__, task.fingerprint(), split, metric, list(map(repr, stores)), queries, documents
        )
        table = remembered("stores", name, measure)
    else:
        table = measure()
    return [Measured(store, items) for store, items in zip(stores, table["items"], strict=True)]


def signs(x: np.ndarray) -> np.ndarray:
    """The vectors that bits stand for: +1 above 0, else -1. x (..., N, D) -> (..., N, D) float32.

    With signs on both sides a cosine is 1 - 2 Hamming / d; with signs of documents only, the query keeps its floats.
    """
    return np.where(np.asarray(x) > 0, np.float32(1), np.float32(-1))
