"""What every engine shares, and the libraries' indexes.

FAISS: M. Douze et al., arXiv 2401.08281. Intel's scalable-vs: graphs over vectors in few bits (LVQ: C. Aguerrebere et
al., 2304.04759) or over a learned reduction of them, with its own rerank (LeanVec: M. Tepper et al., 2312.16335), the
nearest rival of a Matryoshka prefix.
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.topk import Found, inverse_lengths, on_threads

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
LIBRARIES = {"faiss": ("FAISS", "ann"), "svs": ("scalable-vs", "svs"), "pymilvus": ("pymilvus", "milvus")}


class Cost(NamedTuple):
    """nbytes: of all that is held. flops: multiply-adds per query. read: bytes read per query. nan where unknown."""

    nbytes: int
    flops: float
    read: float


def load_library(module: str, what: str) -> Any:
    """An optional library. Raises InputError, with `what` needs it, where it is not installed."""
    name, extra = LIBRARIES[module]
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f'{what} needs {name}: pip install "mrl-tutorial[{extra}]"') from error


def on_intel() -> bool:
    """Whether /proc/cpuinfo names a processor of Intel's; True where there is no such file."""
    try:
        return "GenuineIntel" in Path("/proc/cpuinfo").read_text()
    except OSError:
        return True


class Engine:
    """What engines share. kind: the engine's name. documents: (N, d) raw vectors. options: all of the engine's."""

    def __init__(self, kind: str, documents: np.ndarray, cosine: bool = True, threads: int = 1, options: Any = None):
        self.kind, self.cosine, self.threads, self.options = kind, cosine, threads, dict(options or {})
        self.n, self.dim = documents.shape

    def with_options(self, options: Mapping[str, int]) -> Self:
        """The same index, searched with other options."""
        other = copy.copy(self)
        other.options = self.options | dict(options)
        return other

    def floats(self, x: np.ndarray) -> np.ndarray:
        """The first d coordinates of x (N, >= d) as libraries take them: float32, for cosines at length 1 (or 0)."""
        x = np.ascontiguousarray(x[:, : self.dim], dtype=np.float32)
        return x * inverse_lengths(x)[:, None] if self.cosine else x


class FaissEngine(Engine):
    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        self.faiss = load_library("faiss", f"engine {kind!r}")

    def on_threads(self, most: int) -> AbstractContextManager[None]:
        """FAISS on this engine's threads inside the block, but no more than `most`: it divides work by query."""
        faiss = self.faiss  # whose number of threads is one for the whole process
        return on_threads(max(1, min(self.threads, most)), faiss.omp_get_max_threads, faiss.omp_set_num_threads)


class Binary(FaissEngine):
    """A bit a coordinate, set above 0; the score is the number of agreeing signs less that of differing ones. Equal
    scores, of which there are many, rank in the order of rows."""

    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        bits = self._bits(documents)
        self.index = self.faiss.IndexBinaryFlat(8 * bits.shape[1])
        self.index.add(bits)

    def _bits(self, x: np.ndarray) -> np.ndarray:
        return np.packbits(x[:, : self.dim] > 0, axis=1)  # padded with zeros, which always agree

    @property
    def cost(self) -> Cost:
        nbytes = self.n * self.index.code_size
        return Cost(nbytes, self.n * -(-self.dim // 64), nbytes)  # 64 bits at once count as one multiply-add

    def search(self, queries: np.ndarray, k: int) -> Found:
        """As indexes.py says."""
        with self.on_threads(len(queries)):
            far, rows = self.index.search(self._bits(queries), min(k, self.n))
        return rows, (self.dim - 2 * far).astype(np.float64)


class FaissIndex(FaissEngine):
    """An index of a kind in FACTORY; equal scores in FAISS's own order."""

    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        faiss, x, shape = self.faiss, self.floats(documents), self._shape()
        self.lists, self.codes = shape.get("lists", 0), shape.get("codes", 0)
        # Euclidean distances of unit vectors (a zero vector is none) rank as their cosines do, and codes keep distances
        self.near = self.cosine and kind != "int8" and bool(x.any(1).all())
        metric = faiss.METRIC_L2 if self.near else faiss.METRIC_INNER_PRODUCT
        try:
            self.index = faiss.index_factory(self.dim, FACTORY[kind].format(**shape), metric)
        except RuntimeError as error:
            version = f"FAISS {faiss.__version__} does not make it for {self.dim} dimensions"
            raise InputError(f"engine {kind!r}: {version}; install a newer one, or use 'float32'") from error
        if "links" in shape:
            self.index.hnsw.efConstruction = shape["build"]
        with self.on_threads(self.n):
            self.index.train(x[:: max(1, self.n // max(64 * self.lists, 2**14))])
            self.index.add(x)
        self.nbytes = faiss.serialize_index(self.index).nbytes

    def _shape(self) -> dict[str, int]:
        """Options with those that were left open filled in. Raises InputError for what these documents do not allow."""
        shape = dict(self.options)
        least = TRAINED * CENTROIDS if "codes" in shape else TRAINED if "lists" in shape else 0
        if self.n < least:
            raise InputError(f"engine {self.kind!r} needs {least} documents to train, not {self.n}: use 'float32'")
        if "lists" in shape:
            shape["lists"] = shape["lists"] or max(1, min(int(2 * self.n**0.5), self.n // TRAINED))
            if shape["lists"] > self.n:
                raise InputError(f"{shape['lists']} lists for {self.n} documents: give fewer, or 0 to leave it open")
        if "codes" in shape:
            shape["codes"] = shape["codes"] or next(m for m in range(-(-self.dim // 2), 0, -1) if self.dim % m == 0)
            if self.dim % shape["codes"]:
                raise InputError(f"codes {shape['codes']} do not divide dimension {self.dim}: give a divisor of it")
        return shape

    @property
    def cost(self) -> Cost:
        """A table look-up of product codes counts as a multiply-add; RaBitQ's bits: 64 at once. How many documents a
        graph is compared with is not known (nan)."""
        if "ef" in self.options:
            return Cost(self.nbytes, float("nan"), float("nan"))
        seen = self.n * (min(1.0, self.options["probe"] / self.lists) if self.lists else 1.0)
        each = self.codes or (-(-self.dim // 64) if "rabitq" in self.kind else self.dim)
        coarse = (self.lists + CENTROIDS * bool(self.codes)) * self.dim
        return Cost(self.nbytes, coarse + seen * each, 4 * self.lists * self.dim + seen * self.index.sa_code_size())

    def search(self, queries: np.ndarray, k: int) -> Found:
        """As indexes.py says."""
        faiss, k, given = self.faiss, min(k, self.n), {}
        if "ef" in self.options:
            given = {"params": faiss.SearchParametersHNSW(efSearch=max(self.options["ef"], k))}
        elif "probe" in self.options:
            given = {"params": faiss.SearchParametersIVF(nprobe=min(self.options["probe"], self.lists))}
        q = self.floats(queries)
        with self.on_threads(len(q)):
            distances, rows = self.index.search(q, k, **given)
        scores = 1 - distances.astype(np.float64) / 2 if self.near else distances.astype(np.float64)
        scores[~q.any(1)] = 0.0
        scores[rows < 0] = -np.inf
        return rows, scores


class SvsIndex(Engine):
    """A graph of kind "vamana" (float32), "vamana-lvq" or "leanvec"; equal scores in its own order.

    options: links and build shape the graph, window is how widely a search looks; reduced: dimensions of "leanvec".
    """

    def __init__(self, kind: str, documents: np.ndarray, *shared: Any):
        super().__init__(kind, documents, *shared)
        self.svs = load_library("svs", f"engine {kind!r}")
        if kind != "vamana" and not on_intel():  # the library would print a line and end the process
            why = "scalable-vs compresses vectors on Intel's processors only"
            raise InputError(f"engine {kind!r} does not work here ({why}): use 'vamana' or 'hnsw'")
        shape = {"graph_max_degree": self.options["links"], "window_size": self.options["build"]}
        self.reduced = min(self.options.get("reduced") or max(1, self.dim // 3), self.dim)
        x = self.floats(documents)
        self.first = x[0].copy()
        with tempfile.TemporaryDirectory() as folder:
            try:
                source = x if kind == "vamana" else self._coded(x, Path(folder, "x.fvecs"))
                given = self.svs.VamanaBuildParameters(**shape), source, self.svs.DistanceType.MIP
                self.index = self.svs.Vamana.build(*given, num_threads=self.threads)
            except RuntimeError as error:
                raise InputError(f"engine {kind!r} does not work here ({error}): use 'vamana' or 'hnsw'") from error

    def _coded(self, x: np.ndarray, path: Path) -> Any:
        """What compresses the vectors while it reads them from a file."""
        svs = self.svs
        svs.write_vecs(x, str(path))
        source = svs.VectorDataLoader(str(path), svs.DataType.float32, self.dim)
        if self.kind == "vamana-lvq":
            return svs.LVQLoader(source, primary=4, residual=8)  # bits of the search, and of its own rerank
        return svs.LeanVecLoader(source, self.reduced, svs.LeanVecKind.lvq8, svs.LeanVecKind.lvq8)

    @property
    def cost(self) -> Cost:
        """Bytes by arithmetic: the library does not tell, nor how many documents a search is compared with (nan)."""
        bits = {"vamana": 32 * self.dim, "vamana-lvq": 12 * self.dim, "leanvec": 8 * (self.reduced + self.dim)}
        links = 4 * (self.options["links"] + 1)
        return Cost(self.n * (-(-bits[self.kind] // 8) + links), float("nan"), float("nan"))

    def search(self, queries: np.ndarray, k: int) -> Found:
        """As indexes.py says."""
        svs, k = self.svs, min(k, self.n)
        self.index.num_threads = max(1, min(self.threads, len(queries)))
        buffer = svs.SearchBufferConfig(max(self.options["window"], k))
        self.index.search_parameters = svs.VamanaSearchParameters(buffer)
        q = self.floats(queries)
        found, scores = self.index.search(q, k)
        rows, scores = found.astype(np.int64), scores.astype(np.float64)
        filled = (rows == 0) & (scores == 0)  # what it fills up with where it found fewer, or row 0 itself, once
        missing = filled & ((filled.cumsum(1) > 1) | (q @ self.first != 0)[:, None])
        rows[missing], scores[missing] = -1, -np.inf
        return rows, scores
