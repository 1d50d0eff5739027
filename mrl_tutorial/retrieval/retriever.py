"""Search over vectors along a path of stages: exact search, shortlist and rerank, and the funnel.

A stage rescores the candidates of the stage before it and passes on the best, at its own dimension and layer. The
first stage searches all documents with its own index; later stages read the vectors of survivors only. The query is
encoded once, no deeper than the stages need: an early layer of it may ask the documents of the last.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.costs import bytes_per_vector
from mrl_tutorial.retrieval.indexes import SEARCHED, Index, Vectors, all_options, build_index, check_ids, check_vectors
from mrl_tutorial.retrieval.stages import Stage, check_stages
from mrl_tutorial.topk import rerank


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first. K = min(k, N).

    rows: (B, K) int64 positions in the corpus, -1 where an approximate index found fewer. scores: (B, K) float64, of
    the last stage. survivors: rows that each stage passed on, in its order. seconds: of each stage; encoding: of the
    queries, where they came as texts. A single query's arrays lack the first axis.
    """

    rows: np.ndarray
    scores: np.ndarray
    survivors: tuple[np.ndarray, ...]
    seconds: tuple[float, ...]
    ids: Sequence[str] | Mapping[int, str] | None = None
    encoding: float = 0.0

    def names(self) -> list:
        """The documents' ids in place of rows (None for -1). Raises InputError where the corpus was given none."""
        if self.ids is None:
            raise InputError("these documents have no ids: give ids= when the retriever is built")
        named = [[self.ids[r] if r >= 0 else None for r in rows] for rows in np.atleast_2d(self.rows)]
        return named[0] if self.rows.ndim == 1 else named


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
        # documents of one layer may be asked by any layer of the query; it then has all of them, the last by default
        self._crossed = self.n_layers == 1 and any(stage.query_layer for stage in self.stages)
        self._asked = [stage.query_row if self.n_layers > 1 or stage.query_layer else -1 for stage in self.stages]
        self._used: set[tuple] = set()
        self.index = self._first(self.stages[0])
        self.rerankers = [self._later(stage) for stage in self.stages[1:]]
        self.build_seconds = sum(self._built[key][1] for key in self._used)

    def search(self, queries: np.ndarray, k: int = 10) -> SearchResult:
        """The best `k` documents of each query. queries: (B, D), or (L, B, D) where the documents have layers; without
        B for a single query.

        Ties rank in the order of rows. A depth of N or more is exact search. Raises InputError for k below 1, a depth
        below k, a wrong shape, NaN or infinity.
        """
        q, single = self._queries(queries)
        return self._walk({row: q[row] for row in self._asked}, k, single)

    def ask(self, encoder: Any, texts: str | Sequence[str], k: int = 10) -> SearchResult:
        """The same for texts, or one text, which `encoder` reads no deeper than the stages need.

        Raises InputError also where the documents have other layers than the encoder.
        """
        if self.n_layers not in (1, encoder.n_layers):
            raise InputError(f"documents of {self.n_layers} layers, an encoder of {encoder.n_layers}: use one model")
        began = time.perf_counter()
        layers = {row: encoder.n_layers if row == -1 else row + 1 for row in self._asked}
        wanted, given = sorted(set(layers.values())), [texts] if isinstance(texts, str) else list(texts)
        q = encoder.encode_layers(given, prompt="query", layers=wanted, cache=False)
        took = time.perf_counter() - began
        found = self._walk({row: q[wanted.index(layer)] for row, layer in layers.items()}, k, isinstance(texts, str))
        return replace(found, encoding=took)

    @property
    def query_layer(self) -> int:
        """The deepest layer that a query has to be encoded to; 0 for the last, whichever it is."""
        return 0 if -1 in self._asked else 1 + max(self._asked)

    def _walk(self, asked: Mapping[int, np.ndarray], k: int, single: bool) -> SearchResult:
        """asked: queries (B, D) by row."""
        if k != int(k) or k < 1:
            raise InputError(f"k {k} is impossible: give 1 or more")
        depths = [stage.depth or k for stage in self.stages]
        if (short := min(depths)) < min(k, self.n):
            raise InputError(f"a shortlist of {short} cannot give {k} documents: hand on more, or ask for fewer")
        scores = np.empty(0)
        survivors: list[np.ndarray] = []
        seconds: list[float] = []
        for row, stage, depth, vectors in zip(self._asked, self.stages, depths, [None, *self.rerankers], strict=True):
            began, q = time.perf_counter(), asked[row]
            if vectors is None:
                rows, scores = self.index.search(q, depth)
            else:
                rows, scores = rerank(q[:, : stage.dim], survivors[-1], vectors, depth, cosine=self.cosine)
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
        settings = all_options(stage.engine, stage.options)
        return index.with_options(settings) if set(settings) & set(SEARCHED) else index

    def _later(self, stage: Stage) -> Callable[[np.ndarray], np.ndarray]:
        # one copy, as wide as any stage needs: a prefix of codes stands for a prefix of the vector
        same = [s.dim for s in self.stages[1:] if (s.layer, s.engine) == (stage.layer, stage.engine)]
        vectors = self._build(
            ("vectors", stage.layer, max(same), stage.engine),
            lambda: Vectors(self.documents[stage.row][:, : max(same)], stage.engine),
        )
        return partial(vectors, dim=stage.dim)

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
        q, layered = np.asarray(queries), self.layered or self._crossed
        single = q.ndim == 1 + layered
        q = q[..., None, :] if single else q
        q = q if layered else q[None]
        least = 1 + max(self._asked) if self._crossed else self.n_layers
        if q.ndim != 3 or (len(q) < least if self._crossed else len(q) != least) or q.shape[2] != self.width:
            wanted = f"({least}, queries, {self.width})" if layered else f"(queries, {self.width})"
            raise InputError(f"queries have shape {np.shape(queries)}: give {wanted}")
        for row in set(self._asked):
            check_vectors(q[row], "queries")
        return q, single


def by_cosine(cosine: bool | None, encoder: Any) -> bool:
    """What was asked for, else what the encoder does, else True."""
    return getattr(encoder, "similarity", "cosine") != "dot" if cosine is None else cosine


def _read(stage: Stage) -> int:
    """Bytes of a vector that a later stage reads; a smaller type has a step of 4 bytes."""
    return bytes_per_vector(stage.dim, stage.engine) + (0 if stage.engine == "float32" else 4)
