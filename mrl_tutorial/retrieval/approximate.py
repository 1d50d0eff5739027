"""FAISS (M. Douze et al., The Faiss library, arXiv 2401.08281): its approximate indexes, and what every use shares."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.topk import inverse_lengths


class Cost(NamedTuple):
    """nbytes: of all that an index holds. flops: multiply-adds per query. read: bytes read per query."""

    nbytes: int
    flops: float
    read: float


class Approximate:
    """An index of kind "faiss-flat" (all vectors, ties in FAISS's own order), "hnsw" (a graph of neighbors, arXiv
    1603.09320) or "ivfpq" (lists of product codes). Row -1 and score -inf where fewer than k documents were found.

    x: (N, d) as `floats` gives them. options: as in indexes.OPTIONS, all of them. Raises InputError for too few
    documents to train on.

    >>> x = floats(np.random.default_rng(0).normal(size=(200, 8)), cosine=True)
    >>> graph = Approximate("hnsw", x, cosine=True, threads=1, options={"links": 8, "build": 40, "ef": 32})
    >>> graph.search(x[[7]], 1)[0].tolist(), graph.cost.flops < 200 * 8
    ([[7]], True)
    """

    def __init__(self, kind: str, x: np.ndarray, *, cosine: bool, threads: int, options: Mapping[str, int]):
        faiss = load_faiss(kind)
        self.kind, self.cosine, self.threads, self.options = kind, cosine, threads, dict(options)
        self.n, self.dim = x.shape
        self.compared: dict[int, float] = {}  # ef -> documents that a query of the last such search was compared with
        # Euclidean distances of unit vectors rank as their cosines do
        metric = faiss.METRIC_L2 if cosine else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(self.dim, self._recipe(), metric)
        if kind == "hnsw":
            self.index.hnsw.efConstruction = options["build"]
        with faiss_threads(threads):
            if kind == "ivfpq":
                self.index.train(x[:: max(1, self.n // (256 * max(self.index.nlist, 256)))])
            self.index.add(x)

    def _recipe(self) -> str:
        """The index in the words of faiss.index_factory."""
        o = self.options
        if self.kind != "ivfpq":
            return "Flat" if self.kind == "faiss-flat" else f"HNSW{o['links']}"
        least = 39 * 256  # what FAISS asks for to train 256 centroids
        if self.n < least:
            raise InputError(f"engine 'ivfpq' needs {least} documents to train, here are {self.n}: use 'float32'")
        codes = o["codes"] or next(m for m in range(max(1, self.dim // 4), 0, -1) if self.dim % m == 0)
        if self.dim % codes:
            raise InputError(f"codes {codes} do not divide dimension {self.dim}: give a divisor of it")
        return f"IVF{o['lists'] or min(int(4 * self.n**0.5), self.n // 39)},PQ{codes}x8"

    def with_options(self, options: Mapping[str, int]) -> Approximate:
        """The same index, searched with other options."""
        other = copy.copy(self)
        other.options = dict(options)
        return other

    @property
    def cost(self) -> Cost:
        """hnsw: multiply-adds and bytes read as the last search with this ef needed them (nan before one). ivfpq: a
        table look-up counts as a multiply-add."""
        index, floats = self.index, self.dim * 4
        if self.kind == "hnsw":
            graph, seen = index.hnsw, self.compared.get(self.options["ef"], float("nan"))
            links = graph.neighbors.size() * 4 + graph.offsets.size() * 8 + graph.levels.size() * 4
            return Cost(self.n * floats + links, seen * self.dim, seen * (floats + 4))
        if self.kind == "ivfpq":
            visited, one = min(1.0, self.options["probe"] / index.nlist) * self.n, index.code_size + 8
            flops = (index.nlist + 256) * self.dim + visited * index.pq.M
            return Cost(self.n * one + (index.nlist + 256) * floats, flops, index.nlist * floats + visited * one)
        return Cost(self.n * floats, self.n * self.dim, self.n * floats)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Raw queries (B, >= dim) -> rows (B, K) int64, scores (B, K) float64, best first, K = min(k, N)."""
        faiss, k, parameters = load_faiss(self.kind), min(k, self.n), None
        if self.kind == "hnsw":
            parameters = faiss.SearchParametersHNSW(efSearch=max(self.options["ef"], k))
            faiss.cvar.hnsw_stats.reset()
        elif self.kind == "ivfpq":
            parameters = faiss.SearchParametersIVF(nprobe=min(self.options["probe"], self.index.nlist))
        with faiss_threads(self.threads, len(queries)):
            distances, rows = self.index.search(floats(queries[:, : self.dim], self.cosine), k, params=parameters)
        if self.kind == "hnsw" and len(queries):
            self.compared[self.options["ef"]] = faiss.cvar.hnsw_stats.ndis / len(queries)
        scores = 1 - distances.astype(np.float64) / 2 if self.cosine else distances.astype(np.float64)
        scores[rows < 0] = -np.inf
        return rows, scores


def load_faiss(name: str) -> Any:
    """The module. Raises InputError where it is not installed; name: of the engine that needs it."""
    try:
        import faiss
    except ImportError as error:
        raise InputError(f"engine {name!r} needs FAISS: pip install \"mrl-tutorial[ann]\", or use 'float32'") from error
    return faiss


@contextmanager
def faiss_threads(threads: int, queries: int | None = None) -> Iterator[None]:
    """FAISS on this many threads inside the block, but no more than there are queries: it divides work by query."""
    faiss = load_faiss("faiss")
    before = faiss.omp_get_max_threads()  # one number for the whole process
    faiss.omp_set_num_threads(threads if queries is None else max(1, min(threads, queries)))
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def floats(x: np.ndarray, cosine: bool) -> np.ndarray:
    """x (N, d) as FAISS takes it: float32 in one piece, for cosines at length 1 (zero vectors stay zero)."""
    x = np.ascontiguousarray(x, dtype=np.float32)
    return x * inverse_lengths(x)[:, None] if cosine else x
