"""How the documents of a first stage are stored and searched, and the int8 codes that a later stage may rerank with.

Every index takes raw vectors (N, D), uses their first `dim` coordinates in a compact copy, and scores
by the cosine of those prefixes, or with cosine=False by their inner product. "float32" is exact and needs nothing; all
others are FAISS's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.approximate import Approximate, Cost, faiss_threads, floats, load_faiss
from mrl_tutorial.topk import EXTRA_CANDIDATES, ExactIndex, prepared, rerank

RERANKING = ("float32", "int8", "int8-rotated")
# engine -> its options and their defaults; 0 leaves the choice to the number of documents
OPTIONS: dict[str, dict[str, int]] = {
    "float32": {},
    "int8": {},
    "binary": {},
    "faiss-int8": {},
    "faiss-flat": {},
    "hnsw": {"links": 32, "build": 40, "ef": 64},
    "ivfpq": {"lists": 0, "probe": 16, "codes": 0},
}
ENGINES = tuple(OPTIONS)
SEARCHED = ("ef", "probe")  # options of a search; the others shape the index


class Index(Protocol):
    """Documents (N, dim) of a first stage."""

    @property
    def cost(self) -> Cost:
        """Bytes held, and what a query costs."""

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Raw queries (B, >= dim) -> rows (B, K) int64, scores (B, K) float64, best first, K = min(k, N)."""


def build_index(
    name: str,
    documents: np.ndarray,
    dim: int,
    *,
    cosine: bool = True,
    options: Mapping[str, int] | None = None,
    threads: int = 1,
) -> Index:
    """The index `name` (one of ENGINES) over the first `dim` coordinates of documents (N, D).

    options: of "hnsw" links, build, ef; of "ivfpq" lists, probe, codes. threads: of every search. Raises InputError for
    an unknown engine or option, too few documents to train on, and where FAISS is not installed.

    >>> index = build_index("float32", np.eye(3), 2)
    >>> index.search(np.array([[0.1, 1.0, 0.0]]), 1)[0].tolist(), index.cost.flops
    ([[1]], 6)
    """
    if name not in ENGINES:
        raise InputError(f"engine {name!r} is unknown: choose one of {', '.join(ENGINES)}")
    settings, prefixes = all_options(name, options or {}), documents[:, :dim]
    if name == "float32":
        return Float32(prefixes, cosine=cosine, threads=threads)
    if name == "binary":
        return Binary(prefixes, threads=threads)
    if name in ("int8", "faiss-int8"):
        return Int8(prefixes, cosine=cosine, threads=threads, settled=name == "int8")
    return Approximate(name, floats(prefixes, cosine), cosine=cosine, threads=threads, options=settings)


def all_options(name: str, given: Mapping[str, int]) -> dict[str, int]:
    """Every option of an engine, as given or by default. Raises InputError for one that is unknown or impossible."""
    known = OPTIONS[name]
    for option, value in given.items():
        if option not in known:
            raise InputError(f"engine {name!r} has no option {option!r}: it has {', '.join(known) or 'none'}")
        least = min(known[option], 1)
        if value != int(value) or value < least:
            raise InputError(f"option {option} = {value} is impossible: give a whole number from {least} on")
    return {**known, **given}


class Float32(ExactIndex):
    """Exact search over float32 vectors; for cosines, the inverse length of each is kept too."""

    @property
    def cost(self) -> Cost:
        """Every document at every coordinate."""
        nbytes = self.documents.nbytes + (0 if self.inverse is None else self.inverse.nbytes)
        return Cost(nbytes, self.n * self.dim, nbytes)


class Int8:
    """A byte a coordinate, FAISS's scalar quantizer: 256 even steps between each coordinate's smallest and largest.

    A score is the inner product of the (unit) query with the vector that the codes stand for. settled: in float64,
    equal scores in the order of rows; else as FAISS gives them, in float32.

    >>> index = build_index("int8", np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]), 2)
    >>> index.search(np.array([[0.5, 0.9]]), 2)[0].tolist()
    [[1, 2]]
    """

    def __init__(self, documents: np.ndarray, *, cosine: bool, threads: int, settled: bool):
        faiss, x = load_faiss("int8" if settled else "faiss-int8"), floats(documents, cosine)
        self.n, self.dim = x.shape
        self.cosine, self.threads, self.settled = cosine, threads, settled
        self.index = faiss.index_factory(self.dim, "SQ8", faiss.METRIC_INNER_PRODUCT)
        with faiss_threads(threads):
            self.index.train(x)
            self.index.add(x)
        self.reach = float(np.sqrt(np.square(x).sum(1).max()))

    @property
    def cost(self) -> Cost:
        """A byte for each coordinate, and the range of each."""
        nbytes = self.n * self.dim + 8 * self.dim
        return Cost(nbytes, self.n * self.dim, nbytes)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As Index.search."""
        k, q = min(k, self.n), prepared(queries[:, : self.dim], self.cosine)
        small, width = q.astype(np.float32), min(k + EXTRA_CANDIDATES * self.settled, self.n)
        with faiss_threads(self.threads, len(q)):
            rough, candidates = self.index.search(small, width)
        if not self.settled:
            return candidates, rough.astype(np.float64)
        rows, scores = rerank(q, candidates, self._vectors, k, cosine=False)
        floor = rough[:, k - 1] - 2.0**-20 * (self.dim + 8) * self.reach * np.sqrt((q**2).sum(1))
        for i in np.flatnonzero((rough[:, -1] >= floor) & (width < self.n)):  # too close to tell from what was left out
            below = float(np.nextafter(floor[i], -np.inf, dtype=np.float32))  # FAISS gives what lies above
            _, _, near = self.index.range_search(small[i : i + 1], below)
            best = rerank(q[i : i + 1], near[None], self._vectors, k, cosine=False)
            rows[i], scores[i] = best[0][0], best[1][0]
        return rows, scores

    def _vectors(self, rows: np.ndarray) -> np.ndarray:
        with faiss_threads(1):
            return self.index.reconstruct_batch(rows)


class Binary:
    """A bit a coordinate, set above 0; the score is the number of agreeing signs less that of differing ones.

    Equal scores, of which there are many, rank in the order of rows.

    >>> index = build_index("binary", np.array([[1.0, -2.0, 3.0], [-1.0, -1.0, -1.0], [5.0, -1.0, 2.0]]), 3)
    >>> [found.tolist() for found in index.search(np.array([[1.0, 1.0, 1.0]]), 3)]
    [[[0, 2, 1]], [[1.0, 1.0, -3.0]]]
    """

    def __init__(self, documents: np.ndarray, *, threads: int):
        self.n, self.dim = documents.shape
        self.threads = threads
        bits = np.packbits(documents > 0, axis=1)  # padded with zeros, which always agree
        self.index = load_faiss("binary").IndexBinaryFlat(8 * bits.shape[1])
        self.index.add(bits)

    @property
    def cost(self) -> Cost:
        """An operation on 64 bits counts as one multiply-add."""
        nbytes = self.n * self.index.code_size
        return Cost(nbytes, self.n * -(-self.dim // 64), nbytes)

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As Index.search."""
        with faiss_threads(self.threads, len(queries)):
            far, rows = self.index.search(np.packbits(queries[:, : self.dim] > 0, axis=1), min(k, self.n))
        return rows, (self.dim - 2 * far).astype(np.float64)


class Codes:
    """int8 codes (N, D), one byte per coordinate, of documents that a later stage reranks.

    rotated: codes of the vectors after a random rotation. It makes all coordinates alike, even
    where their spreads differed widely (after PCA, say), so that a few extreme values no longer make the steps coarse
    (cf. J. Gao and C. Long, RaBitQ, arXiv 2405.12497). Queries are rotated alike, so products stay.
    Raises InputError where FAISS is not installed.

    >>> x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    >>> codes = Codes(x, cosine=False, rotated=True)
    >>> codes.codes.dtype, bool(np.allclose(codes.vectors(np.arange(5)), codes.rotate(x[:5]), atol=0.02))
    (dtype('uint8'), True)
    """

    def __init__(self, documents: np.ndarray, *, cosine: bool = True, rotated: bool = False, seed: int = 0):
        faiss, width = load_faiss("int8-rotated" if rotated else "int8"), documents.shape[1]
        self.rotation = None
        x = floats(documents, cosine)
        if rotated:
            self.rotation = faiss.RandomRotationMatrix(width, width)
            self.rotation.init(seed)
            x = self.rotation.apply(x)
        self.quantizer = faiss.IndexScalarQuantizer(width, faiss.ScalarQuantizer.QT_8bit)
        self.quantizer.train(x)
        self.codes = self.quantizer.sa_encode(x)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """The vectors that the codes of rows (c,) stand for, (c, D) float32; rotated ones stay rotated."""
        with faiss_threads(1):  # a few rows at a time: threads would wait for each other
            return self.quantizer.sa_decode(self.codes[rows])

    def rotate(self, queries: np.ndarray) -> np.ndarray:
        """Queries (B, D) as they are compared with `vectors`."""
        if self.rotation is None:
            return queries
        return self.rotation.apply(np.ascontiguousarray(queries, dtype=np.float32))
