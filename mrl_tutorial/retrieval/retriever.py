"""Search over vectors along a path of stages: exact search, shortlist and rerank, and the funnel.

A stage rescores the candidates of the stage before it and passes on the best, at its own dimension and layer. The
first stage searches all documents with its own index; later stages read the vectors of survivors only. The query is
encoded once: its early layers serve the early stages.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from threadpoolctl import ThreadpoolController

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.faiss_indexes import Approximate, Codes
from mrl_tutorial.retrieval.indexes import SEARCHED, Index, all_options, build_index, check_ids, check_vectors
from mrl_tutorial.retrieval.stages import Stage, check_stages
from mrl_tutorial.topk import rerank


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first. K = min(k, N).

    rows: (B, K) int64 positions in the corpus, -1 where an approximate index found fewer. scores: (B, K) float64, of
    the last stage. survivors: rows that each stage passed on, in its order. seconds: of each stage. A single query's
    arrays lack the first axis.
    """

    rows: np.ndarray
    scores: np.ndarray
    survivors: tuple[np.ndarray, ...]
    seconds: tuple[float, ...]
    ids: Sequence[str] | Mapping[int, str] | None = None

    def names(self) -> list:
        """The documents' ids in place of rows (None for -1). Raises InputError where the corpus was given none."""
        if self.ids is None:
            raise InputError("these documents have no ids: give ids= when the retriever is built")
        named = [[self.ids[r] if r >= 0 else None for r in rows] for rows in np.atleast_2d(self.rows)]
        return named[0] if self.rows.ndim == 1 else named


@dataclass(frozen=True)
class Reranker:
    """How a later stage scores. vectors: rows (c,) -> documents (c, dim). queries: raw (B, D) -> (B, dim)."""

    vectors: Callable[[np.ndarray], np.ndarray]
    queries: Callable[[np.ndarray], np.ndarray]


class Retriever:
    """Documents made ready for a path of stages.

    documents: (L, N, D) raw layer-wise vectors, or (N, D) of one layer; a memory-mapped array is read once to check it,
    then by survivors. stages: at least one Stage. ids: of the documents, unique. cosine: False for inner products of
    raw prefixes; by default as `encoder` compares its vectors where it is given, else True. threads: of every search.
    build_seconds: of building all that the stages need.
    Raises InputError: no documents, NaN or infinity, repeated ids, a layer, dimension or engine that does not exist,
    depths that grow.

    >>> documents = np.array([[1.0, 0.0, 0.2], [0.9, 0.1, 0.9], [0.0, 1.0, 0.0]], dtype=np.float32)
    >>> path = [Stage(2, depth=2), Stage(3)]  # the best two by 2 coordinates, reranked by all 3
    >>> Retriever(documents, path, ids=["a", "b", "c"]).search(np.array([0.8, 0.0, 0.8]), k=1).names()
    ['b']
    """

    def __init__(
        self,
        documents: np.ndarray,
        stages: Sequence[Stage],
        *,
        ids: Sequence[str] | None = None,
        cosine: bool | None = None,
        threads: int = 1,
        encoder: Any = None,
    ):
        if documents.ndim not in (2, 3):
            raise InputError(f"documents have shape {documents.shape}: give (documents, width) or (layers, ...)")
        self.layered = documents.ndim == 3
        self.documents = documents if self.layered else documents[None]
        self.n_layers, self.n, self.width = self.documents.shape
        if not self.n:
            raise InputError("the corpus is empty: give at least one document")
        if threads != int(threads) or threads < 1:
            raise InputError(f"threads {threads} is impossible: give 1 or more")
        self.ids = None if ids is None else check_ids(ids, self.n)
        self.cosine, self.threads = by_cosine(cosine, encoder), int(threads)
        self._pools = ThreadpoolController()  # looking for the libraries takes milliseconds: once
        # indexes and codes with their seconds, shared by all paths over these documents
        self._built: dict[tuple, tuple[Any, float]] = {}
        self._checked: set[int] = set()
        self._use(stages)

    def with_stages(self, stages: Sequence[Stage]) -> Retriever:
        """A retriever over the same documents with another path; what both need is built once."""
        other = copy.copy(self)
        other._use(stages)
        return other

    def _use(self, stages: Sequence[Stage]) -> None:
        self.stages = check_stages(stages, self.n_layers, self.width)
        for row in {stage.row for stage in self.stages} - self._checked:
            check_vectors(self.documents[row], f"documents, layer {row + 1}" if self.layered else "documents")
            self._checked.add(row)
        self._used: set[tuple] = set()
        with self._limited():
            self.index = self._first(self.stages[0])
            self.rerankers = [self._later(stage) for stage in self.stages[1:]]
        self.build_seconds = sum(self._built[key][1] for key in self._used)

    def search(self, queries: np.ndarray, k: int = 10) -> SearchResult:
        """The best `k` documents of each query. queries: (B, D), or (L, B, D) where the documents have layers; without
        B for a single query.

        Ties rank in the order of rows. A depth of N or more is exact search. Raises InputError for k below 1, a depth
        below k, a wrong shape, NaN or infinity.
        """
        if k != int(k) or k < 1:
            raise InputError(f"k {k} is impossible: give 1 or more")
        depths = [stage.depth or k for stage in self.stages]
        if (short := min(depths)) < min(k, self.n):
            raise InputError(f"a shortlist of {short} cannot give {k} documents: hand on more, or ask for fewer")
        q, single = self._queries(queries)
        scores = np.empty(0)
        survivors: list[np.ndarray] = []
        seconds: list[float] = []
        with self._limited():
            for stage, depth, by in zip(self.stages, depths, [None, *self.rerankers], strict=True):
                began, asked = time.perf_counter(), q[stage.query_row]
                if by is None:
                    rows, scores = self.index.search(asked, depth)
                else:
                    rows, scores = rerank(by.queries(asked), survivors[-1], by.vectors, depth, cosine=self.cosine)
                survivors.append(rows)
                seconds.append(time.perf_counter() - began)
        if single:
            scores, survivors = scores[0], [rows[0] for rows in survivors]
        return SearchResult(survivors[-1][..., :k], scores[..., :k], tuple(survivors), tuple(seconds), self.ids)

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes kept in memory: "scan" (first stage) and "rerank" (the widest of each layer and type later)."""
        later: dict[tuple, int] = {}
        for stage in self.stages[1:]:
            key = stage.layer, stage.engine
            later[key] = max(later.get(key, 0), _read(stage))
        return {"scan": self.index.cost.nbytes, "rerank": self.n * sum(later.values())}

    def flops(self) -> float:
        """Multiply-adds of one query: the scan, then K d of every later stage (costs.rerank_flops)."""
        return self.index.cost.flops + sum(left * stage.dim for left, stage in self._reranked())

    def bytes_read(self) -> float:
        """Bytes of vectors that a single query reads."""
        return self.index.cost.read + sum(left * _read(stage) for left, stage in self._reranked())

    def _reranked(self) -> list[tuple[int, Stage]]:
        """(documents that are left, stage) of the stages after the first."""
        return [(min(a.depth or self.n, self.n), b) for a, b in pairwise(self.stages)]

    def _first(self, stage: Stage) -> Index:
        shape = tuple(sorted((option, v) for option, v in stage.options.items() if option not in SEARCHED))
        index = self._build(
            (stage.layer, stage.dim, stage.engine, shape),
            lambda: build_index(
                stage.engine,
                self.documents[stage.row],
                stage.dim,
                cosine=self.cosine,
                options=stage.options,
                threads=self.threads,
            ),
        )
        return index.with_options(all_options(stage.engine, stage.options)) if isinstance(index, Approximate) else index

    def _later(self, stage: Stage) -> Reranker:
        vectors, dim = self.documents[stage.row], stage.dim
        if stage.engine == "float32":
            return Reranker(lambda rows: np.asarray(vectors[rows, :dim], dtype=np.float32), lambda q: q[:, :dim])
        # one set of codes, as wide as any stage needs: a prefix of codes stands for a prefix of the vector
        widest = max(s.dim for s in self.stages[1:] if (s.layer, s.engine) == (stage.layer, stage.engine))
        codes = self._build(
            ("codes", stage.layer, widest, stage.engine),
            lambda: Codes(vectors[:, :widest], cosine=self.cosine, rotated=stage.engine == "int8-rotated"),
        )
        return Reranker(lambda rows: codes.vectors(rows)[:, :dim], lambda q: codes.rotate(q[:, :dim]))

    def _build(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What `make` gives on first use, for all paths over these documents."""
        if key not in self._built:
            began = time.perf_counter()
            made = make()
            self._built[key] = made, time.perf_counter() - began
        self._used.add(key)
        return self._built[key][0]

    def _queries(self, queries: np.ndarray) -> tuple[np.ndarray, bool]:
        """(L, B, D), and whether it was a single query."""
        q = np.asarray(queries)
        single = q.ndim == 1 + self.layered
        q = q[..., None, :] if single else q
        q = q if self.layered else q[None]
        if q.ndim != 3 or q.shape[0] != self.n_layers or q.shape[2] != self.width:
            wanted = f"({self.n_layers}, queries, {self.width})" if self.layered else f"(queries, {self.width})"
            raise InputError(f"queries have shape {np.shape(queries)}: give {wanted}")
        for row in {stage.query_row for stage in self.stages}:
            check_vectors(q[row], "queries")
        return q, single

    @contextmanager
    def _limited(self) -> Iterator[None]:
        """NumPy and PyTorch on one thread inside the block: the index shares its work out itself, and a rerank is many
        short operations, which are slower where threads wait for each other after each."""
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with self._pools.limit(limits=1, user_api="blas"):
                yield
        finally:
            torch.set_num_threads(before)


def by_cosine(cosine: bool | None, encoder: Any) -> bool:
    """What was asked for, else what the encoder does, else True."""
    return getattr(encoder, "similarity", "cosine") != "dot" if cosine is None else cosine


def exact_search(
    queries: np.ndarray,
    documents: np.ndarray,
    k: int = 10,
    *,
    dim: int | None = None,
    cosine: bool = True,
    threads: int = 1,
) -> SearchResult:
    """The best `k` of documents (N, D) for queries (B, D) or (D,) by their first `dim` coordinates (None: all), as an
    exact float64 search would order them. Raises InputError in the same cases as Retriever.

    >>> exact_search(np.array([1.0, 0.0]), np.array([[0.0, 2.0], [3.0, 1.0]]), k=1).rows.tolist()
    [1]
    """
    stages = [Stage(documents.shape[-1] if dim is None else dim)]
    return Retriever(documents, stages, cosine=cosine, threads=threads).search(queries, k)


def _read(stage: Stage) -> int:
    """Bytes of a vector that a later stage reads."""
    return stage.dim * (4 if stage.engine == "float32" else 1)
