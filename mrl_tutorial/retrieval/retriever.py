"""Search over vectors along a path of stages: exact search, shortlist and rerank, and the funnel.

The first stage searches all documents with its own index; later stages read the vectors of survivors only. The query is
encoded once, no deeper than the stages need: an early layer of it may ask the documents of the last.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.metrics import by_cosine
from mrl_tutorial.retrieval import indexes
from mrl_tutorial.retrieval.libraries import Cost
from mrl_tutorial.retrieval.stages import Stage, check_stages, reranking
from mrl_tutorial.topk import rerank


@dataclass(frozen=True)
class SearchResult:
    """What a search found, best first. K = min(k, N).

    rows: (B, K) int64 positions in the corpus, -1 where an approximate index found fewer. scores: (B, K) float64, of
    the last stage. survivors: rows that each stage passed on, in its order. A single query's arrays lack B.
    """

    rows: np.ndarray
    scores: np.ndarray
    survivors: tuple[np.ndarray, ...]
    ids: Sequence[str] | Mapping[int, str] | None = None

    def names(self) -> list:
        """The documents' ids in place of rows (None for -1). Raises InputError where the corpus was given none."""
        if self.ids is None:
            raise InputError("these documents have no ids: give ids= when the retriever is built")
        named = [[self.ids[r] if r >= 0 else None for r in rows] for rows in np.atleast_2d(self.rows)]
        return named[0] if self.rows.ndim == 1 else named


class Retriever:
    """Documents made ready for a path of stages.

    documents: (L, N, D) raw layer-wise vectors, or (N, D) of one layer, which may be memory-mapped. ids: of them,
    unique. cosine: False for inner products of raw prefixes; by default as `encoder` compares its vectors where it is
    given, else True. threads: of every search. Raises InputError: no documents, NaN or infinity, repeated ids, a layer,
    dimension or engine that does not exist, depths that grow.

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
        if threads < 1:
            raise InputError(f"threads {threads} is impossible: give 1 or more")
        self.ids = None if ids is None else indexes.check_ids(ids, self.n)
        self.cosine, self.threads = by_cosine(cosine, encoder), threads
        self._built: dict[tuple, Any] = {}  # indexes and codes, shared by all paths over these documents
        self._use(stages)

    def with_stages(self, stages: Sequence[Stage]) -> Retriever:
        """A retriever over the same documents with another path; what both need is built once."""
        other = copy.copy(self)
        other._use(stages)
        return other

    def _use(self, stages: Sequence[Stage]) -> None:
        self.stages = check_stages(stages, self.n_layers, self.width)
        for row in {stage.row for stage in self.stages}:
            what = f"documents, layer {row + 1}" if self.layered else "documents"
            self._once("checked", row, make=partial(indexes.check_vectors, self.documents[row], what))
        # documents of one layer may be asked by any layer of the query; it then has all of them, the last by default
        self._crossed = self.n_layers == 1 and any(stage.query_layer for stage in self.stages)
        self._asked = [stage.query_row if self.n_layers > 1 or stage.query_layer else -1 for stage in self.stages]
        self.index = self._first(self.stages[0])
        self.rerankers = [self._later(stage) for stage in self.stages[1:]]

    def search(self, queries: np.ndarray, k: int = 10) -> SearchResult:
        """The best `k` documents of each query. queries: (B, D), or (L, B, D) where the documents have layers; without
        B for a single query. Ties rank in the order of rows; a depth of N or more is exact search. Raises InputError
        for k below 1, a depth below k, a wrong shape, NaN or infinity."""
        q, layered = np.asarray(queries), self.layered or self._crossed
        single = q.ndim == 1 + layered
        q = q[..., None, :] if single else q
        q = q if layered else q[None]
        least = 1 + max(self._asked) if self._crossed else self.n_layers
        if q.ndim != 3 or (len(q) < least if self._crossed else len(q) != least) or q.shape[2] != self.width:
            wanted = f"({least}, queries, {self.width})" if layered else f"(queries, {self.width})"
            raise InputError(f"queries have shape {np.shape(queries)}: give {wanted}")
        for row in set(self._asked):
            indexes.check_vectors(q[row], "queries")
        return self._walk([q[row] for row in self._asked], k, single)

    def ask(self, encoder: Any, texts: str | Sequence[str], k: int = 10) -> SearchResult:
        """The same for texts, or one text, which `encoder` reads no deeper than the stages need. Raises InputError also
        where the documents have other layers than the encoder."""
        if self.n_layers not in (1, encoder.n_layers):
            raise InputError(f"documents of {self.n_layers} layers, an encoder of {encoder.n_layers}: use one model")
        layers = [encoder.n_layers if row == -1 else row + 1 for row in self._asked]
        wanted, single = sorted(set(layers)), isinstance(texts, str)
        q = encoder.encode_layers([texts] if single else list(texts), prompt="query", layers=wanted, cache=False)
        if q.shape[2] != self.width:
            raise InputError(f"documents of width {self.width}, an encoder of {q.shape[2]}: use one model")
        for row in q:
            indexes.check_vectors(row, "queries")
        return self._walk([q[wanted.index(layer)] for layer in layers], k, single)

    @property
    def query_layer(self) -> int:
        """The deepest layer that a query has to be encoded to; 0 for the last, whichever it is."""
        return 0 if -1 in self._asked else 1 + max(self._asked)

    def _walk(self, asked: Sequence[np.ndarray], k: int, single: bool) -> SearchResult:
        """asked: the queries (B, D) of each stage."""
        if k != int(k) or k < 1:
            raise InputError(f"k {k} is impossible: give 1 or more")
        k = int(k)
        depths = [stage.depth or k for stage in self.stages]
        if (short := min(depths)) < min(k, self.n):
            raise InputError(f"a shortlist of {short} cannot give {k} documents: hand on more, or ask for fewer")
        rows, scores = self.index.search(asked[0], depths[0])
        survivors = [rows]
        for stage, q, depth, vectors in zip(self.stages[1:], asked[1:], depths[1:], self.rerankers, strict=True):
            rows, scores = rerank(q[:, : stage.dim], rows, vectors, depth, cosine=self.cosine)
            survivors.append(rows)
        if single:
            rows, scores, survivors = rows[0], scores[0], [left[0] for left in survivors]
        return SearchResult(rows[..., :k], scores[..., :k], tuple(survivors), self.ids)

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes kept in memory: "scan" (first stage) and "rerank" (the widest of each layer and type later)."""
        return {"scan": self.index.cost.nbytes, "rerank": reranking(self.stages, self.n)[2]}

    @property
    def cost(self) -> Cost:
        """All bytes kept in memory; of one query, the multiply-adds (the scan's, and K d of every later stage) and the
        bytes of vectors that it reads."""
        flops, read, _ = reranking(self.stages, self.n)
        return Cost(sum(self.nbytes.values()), self.index.cost.flops + flops, self.index.cost.read + read)

    def _first(self, stage: Stage) -> indexes.Index:
        shape = {option: value for option, value in stage.options.items() if option not in indexes.SEARCHED}
        given: dict[str, Any] = {"cosine": self.cosine, "options": stage.options, "threads": self.threads}
        made = partial(indexes.build_index, stage.engine, self.documents[stage.row], stage.dim, **given)
        index: indexes.Index = self._once(stage.layer, stage.dim, stage.engine, *sorted(shape.items()), make=made)
        settings = indexes.all_options(stage.engine, stage.options)
        return index if isinstance(index, indexes.Float32) else index.with_options(settings)

    def _later(self, stage: Stage) -> Callable[[np.ndarray], np.ndarray]:
        # one copy, as wide as any stage needs: a prefix of codes stands for a prefix of the vector
        widest = max(s.dim for s in self.stages[1:] if (s.layer, s.engine) == (stage.layer, stage.engine))
        made = partial(indexes.Vectors, self.documents[stage.row][:, :widest], stage.engine)
        return partial(self._once("vectors", stage.layer, widest, stage.engine, make=made), dim=stage.dim)

    def _once(self, *key: Any, make: Callable[[], Any]) -> Any:
        """What `make` gives on first use, for all paths over these documents."""
        if key not in self._built:
            self._built[key] = make()
        return self._built[key]
