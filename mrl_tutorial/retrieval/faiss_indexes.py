"""FAISS's indexes (M. Douze et al., The Faiss library, arXiv 2401.08281)."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.scan import Cost, floats

# engine -> the index in the words of faiss.index_factory
FACTORY = {
    "faiss-flat": "Flat",
    "int8": "SQ8",
    "hnsw": "HNSW{links},Flat",
    "hnsw-int8": "HNSW{links},SQ8",
    "ivf": "IVF{lists},Flat",
    "pq": "PQ{codes}x4fs",
    "ivfpq": "IVF{lists},PQ{codes}x4fs",
    "rabitq": "RaBitQfs",
    "ivf-rabitq": "IVF{lists},RaBitQfs",
}
TRAINED = 39  # documents that FAISS asks for to train a centroid
CENTROIDS = 16  # of a product code of 4 bits


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


class FaissIndex:
    """An index of a kind in FACTORY; equal scores in FAISS's own order."""

    def __init__(self, kind: str, documents: np.ndarray, cosine: bool, threads: int, options: Mapping[str, int]):
        faiss, x = load_faiss(kind), floats(documents, cosine)
        self.kind, self.cosine, self.threads = kind, cosine, threads
        self.n, self.dim = x.shape
        self.compared: dict[int, float] = {}  # ef -> documents that a query of the last such search was compared with
        shape = self._shape(options)
        # Euclidean distances of unit vectors rank as their cosines do, and codes are made to keep distances
        self.near = cosine and kind != "int8"
        metric = faiss.METRIC_L2 if self.near else faiss.METRIC_INNER_PRODUCT
        self.index = faiss.index_factory(self.dim, FACTORY[kind].format(**shape), metric)
        self.lists, self.codes = shape.get("lists", 0), shape.get("codes", 0)
        if "links" in shape:
            self.index.hnsw.efConstruction = shape["build"]
        with faiss_threads(threads):
            self.index.train(x[:: max(1, self.n // max(64 * self.lists, 2**14))])
            self.index.add(x)
        self.nbytes = 0
        faiss.write_index(self.index, faiss.PyCallbackIOWriter(self._count))
        self._set(options)

    def _shape(self, options: Mapping[str, int]) -> dict[str, int]:
        """Options with those that were left open filled in. Raises InputError for what these documents do not allow."""
        shape = dict(options)
        least = TRAINED * CENTROIDS if "codes" in shape else TRAINED if "lists" in shape else 0
        if self.n < least:
            raise InputError(f"engine {self.kind!r} needs {least} documents to train, not {self.n}: use 'float32'")
        if "lists" in shape:
            shape["lists"] = shape["lists"] or max(1, min(int(2 * self.n**0.5), self.n // TRAINED))
        if "codes" in shape:
            shape["codes"] = shape["codes"] or next(m for m in range(-(-self.dim // 2), 0, -1) if self.dim % m == 0)
            if self.dim % shape["codes"]:
                raise InputError(f"codes {shape['codes']} do not divide dimension {self.dim}: give a divisor of it")
        return shape

    def _count(self, piece: bytes) -> int:
        """Count what would be written to a file."""
        self.nbytes += len(piece)
        return len(piece)

    def _set(self, options: Mapping[str, int]) -> None:
        """Take the options of a search."""
        faiss, self.options, self._given = load_faiss(self.kind), dict(options), {}
        if "ef" in options:
            self._given = {"params": faiss.SearchParametersHNSW(efSearch=options["ef"])}
        elif "probe" in options:
            self._given = {"params": faiss.SearchParametersIVF(nprobe=min(options["probe"], self.lists))}

    def with_options(self, options: Mapping[str, int]) -> FaissIndex:
        """The same index, searched with other options."""
        other = copy.copy(self)
        other._set(options)
        return other

    @property
    def cost(self) -> Cost:
        """Graphs: multiply-adds and bytes read as the last search with this ef needed them (nan before one). Product
        codes: a table look-up counts as a multiply-add; RaBitQ's bits: 64 at once."""
        if "ef" in self.options:
            seen = self.compared.get(self.options["ef"], float("nan"))
            return Cost(self.nbytes, seen * self.dim, seen * self.nbytes / self.n)
        seen = self.n * (min(1.0, self.options["probe"] / self.lists) if self.lists else 1.0)
        each = self.codes or (-(-self.dim // 64) if "rabitq" in self.kind else self.dim)
        coarse = (self.lists + CENTROIDS * bool(self.codes)) * self.dim
        return Cost(self.nbytes, coarse + seen * each, 4 * self.lists * self.dim + seen * self.index.sa_code_size())

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """As indexes.py says."""
        faiss, k = load_faiss(self.kind), min(k, self.n)
        if "ef" in self.options:
            faiss.cvar.hnsw_stats.reset()
            self._given["params"].efSearch = max(self.options["ef"], k)
        with faiss_threads(self.threads, len(queries)):
            distances, rows = self.index.search(floats(queries[:, : self.dim], self.cosine), k, **self._given)
        if "ef" in self.options and len(queries):
            self.compared[self.options["ef"]] = faiss.cvar.hnsw_stats.ndis / len(queries)
        scores = 1 - distances.astype(np.float64) / 2 if self.near else distances.astype(np.float64)
        scores[rows < 0] = -np.inf
        return rows, scores
