"""FAISS's indexes (M. Douze et al., The Faiss library, arXiv 2401.08281), and int8 codes for reranking."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.topk import EXTRA_CANDIDATES, inverse_lengths, prepared, rerank


class Cost(NamedTuple):
    """nbytes: of all that an index holds. flops: multiply-adds per query. read: bytes read per query."""

    nbytes: int
    flops: float
    read: float


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


class Codes:
    """int8 codes (N, D) of documents, a byte each coordinate: 256 even steps between its smallest and largest.

    rotated: codes of the vectors after a random rotation. It makes all coordinates alike, even
    where their spreads differed widely (after PCA, say), so that a few extreme values no longer make the steps coarse
    (cf. J. Gao and C. Long, RaBitQ, arXiv 2405.12497). Queries are rotated alike, so products stay.
    Raises InputError where FAISS is not installed.

    >>> x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    >>> codes = Codes(x, cosine=False, rotated=True)
    >>> codes.codes.dtype, bool(np.allclose(codes.vectors(np.arange(5)), codes.rotate(x[:5]), atol=0.02))
    (dtype('uint8'), True)
    """

    def __init__(self, documents: np.ndarray, *, cosine: bool = True, rotated: bool = False):
        faiss, x = load_faiss("int8-rotated" if rotated else "int8"), floats(documents, cosine)
        self.n, self.dim = x.shape
        self.rotation = None
        if rotated:
            self.rotation = faiss.RandomRotationMatrix(self.dim, self.dim)
            self.rotation.init(0)
            x = self.rotation.apply(x)
        self.index = faiss.index_factory(self.dim, "SQ8", faiss.METRIC_INNER_PRODUCT)
        self.index.train(x)
        self.index.add(x)
        self.codes = faiss.rev_swig_ptr(self.index.codes.data(), x.size).reshape(x.shape)  # the index's own memory
        self.reach = float(np.sqrt(np.einsum("nd,nd->n", x, x).max()))  # the longest vector's length

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors that the codes of rows (c,) stand for, (c, D) float32; rotated ones stay rotated."""
        with faiss_threads(1):  # a few rows at a time: threads would wait for each other
            return self.index.sa_decode(self.codes[rows])

    def rotate(self, queries: np.ndarray) -> np.ndarray:
        """Queries (B, D) as they are compared with `vectors`."""
        if self.rotation is None:
            return queries
        return self.rotation.apply(np.ascontiguousarray(queries, dtype=np.float32))


class Int8(Codes):
    """A score is the inner product of the (unit) query with the vector that the codes stand for. settled: in float64,
    equal scores in the order of rows; else as FAISS gives them, in float32."""

    def __init__(self, documents: np.ndarray, *, cosine: bool, threads: int, settled: bool):
        super().__init__(documents, cosine=cosine)
        self.cosine, self.threads, self.settled = cosine, threads, settled

    @property
    def cost(self) -> Cost:
        nbytes = self.n * self.dim + 8 * self.dim  # and the range of each coordinate
        return Cost(nbytes, self.n * self.dim, nbytes)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As indexes.py says."""
        k, q = min(k, self.n), prepared(queries[:, : self.dim], self.cosine)
        small, width = q.astype(np.float32), min(k + EXTRA_CANDIDATES * self.settled, self.n)
        with faiss_threads(self.threads, len(q)):
            rough, candidates = self.index.search(small, width)
        if not self.settled:
            return candidates, rough.astype(np.float64)
        rows, scores = rerank(q, candidates, self.vectors, k, cosine=False)
        floor = rough[:, k - 1] - 2.0**-20 * (self.dim + 8) * self.reach * np.sqrt((q**2).sum(1))
        for i in np.flatnonzero((rough[:, -1] >= floor) & (width < self.n)):  # too close to tell from what was left out
            below = float(np.nextafter(floor[i], -np.inf, dtype=np.float32))  # FAISS gives what lies above
            _, _, near = self.index.range_search(small[i : i + 1], below)
            best = rerank(q[i : i + 1], near[None], self.vectors, k, cosine=False)
            rows[i], scores[i] = best[0][0], best[1][0]
        return rows, scores


class Binary:
    """A bit a coordinate, set above 0; the score is the number of agreeing signs less that of differing ones. Equal
    scores, of which there are many, rank in the order of rows."""

    def __init__(self, documents: np.ndarray, threads: int):
        self.n, self.dim = documents.shape
        self.threads = threads
        bits = np.packbits(documents > 0, axis=1)  # padded with zeros, which always agree
        self.index = load_faiss("binary").IndexBinaryFlat(8 * bits.shape[1])
        self.index.add(bits)

    @property
    def cost(self) -> Cost:
        nbytes = self.n * self.index.code_size
        return Cost(nbytes, self.n * -(-self.dim // 64), nbytes)  # 64 bits at once count as one multiply-add

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As indexes.py says."""
        with faiss_threads(self.threads, len(queries)):
            far, rows = self.index.search(np.packbits(queries[:, : self.dim] > 0, axis=1), min(k, self.n))
        return rows, (self.dim - 2 * far).astype(np.float64)


class Approximate:
    """An index of kind "faiss-flat" (all vectors, ties in FAISS's own order), "hnsw" (a graph of neighbors, arXiv
    1603.09320) or "ivfpq" (lists of product codes). Row -1 and score -inf where fewer than k documents were found."""

    def __init__(self, kind: str, documents: np.ndarray, cosine: bool, threads: int, options: Mapping[str, int]):
        faiss, x = load_faiss(kind), floats(documents, cosine)
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
        """As indexes.py says."""
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
