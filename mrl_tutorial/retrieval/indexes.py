"""Approximate nearest neighbours in process, through FAISS where it is installed."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.codes import quantize
from mrl_tutorial.retrieval.exact import BLOCK, FullScan, Workers, inverse_lengths


class Faiss:
    """An index of FAISS over the prefixes: "faiss-flat", "hnsw" or "ivfpq". Options and their defaults: OPTIONS."""

    OPTIONS: dict[str, dict[str, int]] = {
        "faiss-flat": {}, "hnsw": {"links": 32, "build": 40, "ef": 64}, "ivfpq": {"lists": 0, "probe": 16, "codes": 0},
    }  # fmt: skip
    SEARCHED = ("ef", "probe")  # options of a search; the others shape the index

    def __init__(self, kind: str, documents: np.ndarray, dim: int, *, cosine: bool, options: Mapping[str, int],
                 workers: Workers):  # fmt: skip
        self.faiss, self.kind, self.cosine = _faiss(kind), kind, cosine
        self.n, self.dim = len(documents), dim
        self.options = {**self.OPTIONS[kind], **check_options(kind, options, self.OPTIONS[kind])}
        self.measured = float("nan")
        with _Threads(self.faiss, workers.threads):
            self.index = self._build(self._unit(documents))

    def _build(self, x: np.ndarray):
        faiss, o = self.faiss, self.options
        metric = faiss.METRIC_L2 if self.cosine else faiss.METRIC_INNER_PRODUCT  # of unit vectors: the same order
        if self.kind == "faiss-flat":
            index = faiss.IndexFlat(self.dim, metric)
        elif self.kind == "hnsw":
            index = faiss.IndexHNSWFlat(self.dim, o["links"], metric)
            index.hnsw.efConstruction = o["build"]
        else:
            least = 39 * 256  # what FAISS asks for to train 256 centroids
            if self.n < least:
                raise InputError(f"engine 'ivfpq' needs {least} documents to train, here are {self.n}: use 'float32'")
            lists = o["lists"] or min(int(4 * self.n**0.5), self.n // 39)
            codes = o["codes"] or next(m for m in range(max(1, self.dim // 4), 0, -1) if self.dim % m == 0)
            if self.dim % codes:
                raise InputError(f"codes {codes} do not divide dimension {self.dim}: give a divisor of it")
            quantizer = faiss.IndexFlat(self.dim, metric)
            index = faiss.IndexIVFPQ(quantizer, self.dim, lists, codes, 8, metric)
            index.train(x[:: max(1, self.n // (256 * max(lists, 256)))])
        index.add(x)
        return index

    def with_options(self, options: Mapping[str, int]) -> Faiss:
        """The same index searched with other SEARCHED options."""
        other = copy.copy(self)
        other.options = {**self.OPTIONS[self.kind], **check_options(self.kind, options, self.OPTIONS[self.kind])}
        return other

    @property
    def nbytes(self) -> int:
        """Bytes of the index: vectors or codes, and links or lists."""
        if self.kind == "hnsw":
            graph = self.index.hnsw
            links = graph.neighbors.size() * 4 + graph.offsets.size() * 8 + graph.levels.size() * 4
            return self.n * self.dim * 4 + links
        if self.kind == "ivfpq":
            return self.n * (self.index.code_size + 8) + self.index.nlist * self.dim * 4 + 256 * self.dim * 4
        return self.n * self.dim * 4

    @property
    def flops(self) -> float:
        """Multiply-adds of a query. hnsw: as the last search needed (nan before); ivfpq: a table look-up is one."""
        if self.kind == "hnsw":
            return self.measured * self.dim
        if self.kind == "ivfpq":
            visited = min(1.0, self.options["probe"] / self.index.nlist) * self.n
            return self.index.nlist * self.dim + 256 * self.dim + visited * self.index.pq.M
        return self.n * self.dim

    @property
    def read(self) -> float:
        """Bytes that a single query reads."""
        if self.kind == "hnsw":
            return self.measured * (self.dim * 4 + 4)
        if self.kind == "ivfpq":
            visited = min(1.0, self.options["probe"] / self.index.nlist) * self.n
            return self.index.nlist * self.dim * 4 + visited * (self.index.code_size + 8)
        return self.nbytes

    def search(self, queries: np.ndarray, keep: int, workers: Workers) -> tuple[np.ndarray, np.ndarray]:
        """queries (B, >= d) raw -> rows (B, K), scores (B, K); row -1, score -inf where the index found fewer."""
        keep, faiss = min(keep, self.n), self.faiss
        q = self._unit(queries)
        if self.kind == "hnsw":
            self.index.hnsw.efSearch = max(self.options["ef"], keep)
            faiss.cvar.hnsw_stats.reset()
        elif self.kind == "ivfpq":
            self.index.nprobe = min(self.options["probe"], self.index.nlist)
        with _Threads(faiss, workers.threads):
            distances, rows = self.index.search(q, keep)
        if self.kind == "hnsw" and len(q):
            self.measured = faiss.cvar.hnsw_stats.ndis / len(q)
        scores = 1 - distances.astype(np.float64) / 2 if self.cosine else distances.astype(np.float64)
        scores[rows < 0] = -np.inf
        return rows.astype(np.int64), scores

    def _unit(self, x: np.ndarray) -> np.ndarray:
        x = np.array(x[:, : self.dim], dtype=np.float32, order="C")
        if self.cosine:
            for a in range(0, len(x), BLOCK):
                x[a : a + BLOCK] *= inverse_lengths(x[a : a + BLOCK])[:, None]
        return x


class FaissInt8(FullScan):
    """int8 codes (codes.quantize) scanned by FAISS without turning a block of them into float32 first: about a pass
    over their bytes.

    Scores are inner products of the (unit) query with the vectors that the codes stand for, in float32, and equal ones
    come in FAISS's order: a first stage's ranking, not an exact one.
    """

    NAME = "faiss-int8"

    def __init__(self, documents: np.ndarray, dim: int, *, cosine: bool, workers: Workers):
        self.faiss, self.cosine = _faiss(self.NAME), cosine
        self.n, self.dim = len(documents), dim
        codes, self.scale = quantize(documents, dim, unit=cosine)
        # trained on these two, its 256 levels are the whole numbers from -128 to 127
        ends = np.repeat(np.float32([[-128.5], [126.5]]), dim, axis=1)
        # a slice of the documents for each thread: FAISS itself shares out queries only, and one query is one thread's
        self.slices = []
        for part in workers.parts(self.n):
            # not QT_8bit_direct_signed: FAISS 1.15.1 rounds the query to whole numbers there where 32 divides dim
            index = self.faiss.IndexScalarQuantizer(
                dim, self.faiss.ScalarQuantizer.QT_8bit_uniform, self.faiss.METRIC_INNER_PRODUCT
            )
            index.train(ends)
            for a in range(part.start, part.stop, BLOCK):
                index.add(codes[a : min(a + BLOCK, part.stop)].astype(np.float32))
            self.slices.append((part.start, index))

    @property
    def nbytes(self) -> int:
        return self.n * self.dim + self.scale.nbytes

    def search(self, queries: np.ndarray, keep: int, workers: Workers) -> tuple[np.ndarray, np.ndarray]:
        """queries (B, >= d) raw -> rows (B, K), scores (B, K), best first, K = min(keep, N)."""
        q = queries[:, : self.dim].astype(np.float32)
        if self.cosine:
            q *= inverse_lengths(q)[:, None]
        q = np.ascontiguousarray(q * self.scale)

        def ask(piece):
            start, index = piece
            scores, rows = index.search(q, min(keep, index.ntotal))
            return scores, rows + start

        if len(q) > 1:  # FAISS shares out the queries
            with _Threads(self.faiss, workers.threads):
                found = [ask(piece) for piece in self.slices]
        else:
            found = workers.map(ask, self.slices)
        scores, rows = (np.hstack(x) for x in zip(*found, strict=True))
        order = np.argsort(-scores, axis=1, kind="stable")[:, :keep]
        return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1).astype(np.float64)


def check_options(name: str, given: Mapping[str, int], known: Mapping[str, int]) -> dict[str, int]:
    """`given`, where all of it is in `known`, whole and from 1 on. Raises InputError naming what is not."""
    for option, value in given.items():
        if option not in known:
            raise InputError(f"engine {name!r} has no option {option!r}: it has {', '.join(known) or 'none'}")
        least = min(known[option], 1)  # 0 leaves the choice to the engine
        if value != int(value) or value < least:
            raise InputError(f"option {option} = {value} is impossible: give a whole number from {least} on")
    return dict(given)


def _faiss(kind: str):
    try:
        import faiss
    except ImportError as error:
        raise InputError(f"engine {kind!r} needs FAISS: pip install faiss-cpu, or use 'float32'") from error
    return faiss


class _Threads:
    """FAISS on so many threads inside the block: its number is one for the process."""

    def __init__(self, faiss, threads: int):
        self.faiss, self.threads = faiss, threads

    def __enter__(self):
        self.before = self.faiss.omp_get_max_threads()
        self.faiss.omp_set_num_threads(self.threads)

    def __exit__(self, *error):
        self.faiss.omp_set_num_threads(self.before)
