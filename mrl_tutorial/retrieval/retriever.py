"""Search over vectors: exact, shortlist and rerank, and the funnel, a path of stages across the grid.

A stage scores what the one before it left, at its own dimension and layer, and keeps the best. The first stage scans
all documents with an engine of its own; later stages read the vectors of survivors only. The query is encoded once:
its early layers serve the early stages.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.retrieval.codes import quantize, quantize_turned
from mrl_tutorial.retrieval.engines import Flat, Turned, build_engine
from mrl_tutorial.retrieval.exact import BLOCK, Workers, rescore
from mrl_tutorial.retrieval.indexes import Faiss
from mrl_tutorial.retrieval.stages import Stage, check_stages, funnel, shortlist

__all__ = ["Found", "Retriever", "Stage", "check_vectors", "exact_search", "funnel", "shortlist"]

LARGEST = 1e15


@dataclass(frozen=True)
class Found:
    """What a search found, best first. K = min(k, N).

    rows: (B, K) int64 positions in the corpus, -1 where an approximate index found fewer. scores: (B, K) float64, of
    the last stage. survivors: rows that each stage kept, in its order. seconds: of each stage. A single query's arrays
    lack the first axis.
    """

    rows: np.ndarray
    scores: np.ndarray
    survivors: tuple[np.ndarray, ...]
    seconds: tuple[float, ...]
    ids: tuple[str, ...] | None = None

    def names(self) -> list:
        """The documents' ids in place of rows (None for -1). Raises InputError where the corpus was given none."""
        if self.ids is None:
            raise InputError("these documents have no ids: give ids= when the retriever is built")
        named = [[self.ids[r] if r >= 0 else None for r in rows] for rows in np.atleast_2d(self.rows)]
        return named[0] if self.rows.ndim == 1 else named


class Retriever:
    """Documents made ready for a path of stages.

    documents: (L, N, D) raw layer-wise vectors, or (N, D) of one layer; a memory-mapped array is read once to check it,
    then by survivors. stages: Stage, at least one. ids: of the documents, unique. cosine: False for inner products of
    raw prefixes. threads: used by every search, for scans and for FAISS. build_seconds: of building all that
    the stages need, whenever that was.
    Raises InputError: no documents, NaN or infinity, repeated ids, a layer, dimension or engine that does not exist,
    shortlists that grow.
    """

    def __init__(self, documents: np.ndarray, stages: Sequence[Stage], *, ids: Sequence[str] | None = None,
                 cosine: bool = True, threads: int = 1):  # fmt: skip
        if documents.ndim not in (2, 3):
            raise InputError(f"documents have shape {documents.shape}: give (documents, width) or (layers, ...)")
        self.layered = documents.ndim == 3
        self.documents = documents if self.layered else documents[None]
        self.n_layers, self.n, self.width = self.documents.shape
        if not self.n:
            raise InputError("the corpus is empty: give at least one document")
        if ids is not None and len(ids) != self.n:
            raise InputError(f"{len(ids)} ids for {self.n} documents: give one each")
        if ids is not None and len(set(ids)) != self.n:
            raise InputError("the corpus repeats a document id: ids must be unique")
        self.ids = None if ids is None else tuple(ids)
        self.cosine, self.workers = cosine, Workers(threads)
        self._made: dict[tuple, Any] = {}  # engines and codes, which other paths over the same documents share
        self._use(stages)

    def with_stages(self, stages: Sequence[Stage]) -> Retriever:
        """A retriever over the same documents with another path; what both need is built once."""
        other = object.__new__(Retriever)
        other.__dict__.update(self.__dict__)
        other._use(stages)
        return other

    def _use(self, stages: Sequence[Stage]) -> None:
        self.stages = check_stages(stages, self.n_layers, self.width)
        self.build_seconds, self._counted = 0.0, set()
        with self.workers.alone():
            self.engines = [self._engine(i, stage) for i, stage in enumerate(self.stages)]

    def search(self, queries: np.ndarray, k: int = 10) -> Found:
        """The best `k` documents of each query. queries: (B, D), or (L, B, D) where the documents have layers; without
        B for a single query.

        Ties rank in the order of rows. A shortlist of N or more documents is exact search. Raises InputError for k
        below 1, a shortlist below k, a wrong shape, NaN or infinity.
        """
        if k != int(k) or k < 1:
            raise InputError(f"k {k} is impossible: give 1 or more")
        short = min([stage.keep for stage in self.stages if stage.keep is not None], default=k)
        if short < min(k, self.n):
            raise InputError(f"a shortlist of {short} cannot give {k} documents: keep more, or ask for fewer")
        q, single = self._queries(queries)
        rows, survivors, seconds = None, [], []
        with self.workers.alone():
            for stage, engine in zip(self.stages, self.engines, strict=True):
                began = time.perf_counter()
                asked, keep = q[stage.query_layer - 1], stage.keep or k
                if rows is None:
                    rows, scores = engine.search(asked, keep, self.workers)
                else:
                    rows, scores = rescore(engine, engine.prepare(asked), rows, keep, self.workers)
                survivors.append(rows[0] if single else rows)
                seconds.append(time.perf_counter() - began)
        rows, scores = rows[:, :k], scores[:, :k]
        if single:
            rows, scores = rows[0], scores[0]
        return Found(rows, scores, tuple(survivors), tuple(seconds), self.ids)

    @property
    def nbytes(self) -> dict[str, int]:
        """Bytes that must be at hand: "scan" (first stage) and "rescore" (the widest of each layer and type later)."""
        later: dict[tuple, int] = {}
        for stage in self.stages[1:]:
            key = stage.layer, stage.engine
            later[key] = max(later.get(key, 0), stage.dim * _size(stage))
        return {"scan": self.engines[0].nbytes, "rescore": self.n * sum(later.values())}

    def flops(self) -> float:
        """Multiply-adds of one query: the scan, then K d of every later stage (costs.rerank_flops)."""
        return self.engines[0].flops + sum(left * stage.dim for left, stage in self._later())

    def bytes_read(self) -> float:
        """Bytes of vectors that a single query reads."""
        return self.engines[0].read + sum(left * stage.dim * _size(stage) for left, stage in self._later())

    def _later(self) -> list[tuple[int, Stage]]:
        """(documents that are left, stage) of the stages after the first."""
        lefts = [min(stage.keep, self.n) for stage in self.stages[:-1]]
        return list(zip(lefts, self.stages[1:], strict=True))

    def _engine(self, i: int, stage: Stage):
        vectors = self.documents[stage.layer - 1]
        if ("checked", stage.layer) not in self._made:
            check_vectors(vectors, f"documents, layer {stage.layer}" if self.layered else "documents")
            self._made["checked", stage.layer] = True
        if i == 0:
            shaped = tuple(sorted((o, v) for o, v in stage.options.items() if o not in Faiss.SEARCHED))
            engine = self._build(("scan", stage.layer, stage.dim, stage.engine, shaped), lambda: build_engine(
                stage.engine, vectors, stage.dim, cosine=self.cosine, options=stage.options, workers=self.workers
            ))  # fmt: skip
            return engine.with_options(stage.options) if isinstance(engine, Faiss) else engine
        if stage.engine == "float32":
            values = vectors if vectors.dtype == np.float32 else np.asarray(vectors, dtype=np.float32)
            return Flat(values, stage.dim, cosine=self.cosine)
        if stage.engine == "int8-turned":
            made = ("turned codes", stage.layer)
            codes, scale, turn = self._build(made, lambda: quantize_turned(vectors, unit=self.cosine))
            return Turned(codes, stage.dim, scale=scale, cosine=self.cosine, turn=turn)
        # one set of codes, as wide as any stage needs: a prefix of codes stands for a prefix of the vector
        widest = max(s.dim for s in self.stages[1:] if (s.layer, s.engine) == (stage.layer, "int8"))
        made = ("codes", stage.layer, widest)
        codes, scale = self._build(made, lambda: quantize(vectors, widest, unit=self.cosine))
        return Flat(codes, stage.dim, scale=scale, cosine=self.cosine)

    def _build(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What `make` makes, once for all paths over these documents."""
        if key not in self._made:
            began = time.perf_counter()
            self._made[key] = make(), time.perf_counter() - began
        made, seconds = self._made[key]
        if key not in self._counted:
            self._counted.add(key)
            self.build_seconds += seconds
        return made

    def _queries(self, queries: np.ndarray) -> tuple[np.ndarray, bool]:
        """(L, B, D), and whether it was a single query."""
        q = np.asarray(queries)
        single = q.ndim == (2 if self.layered else 1)
        if single:
            q = q[..., None, :]
        q = q if self.layered else q[None]
        if q.ndim != 3 or q.shape[0] != self.n_layers or q.shape[2] != self.width:
            wanted = f"({self.n_layers}, queries, {self.width})" if self.layered else f"(queries, {self.width})"
            raise InputError(f"queries have shape {np.shape(queries)}: give {wanted}")
        for layer in {stage.query_layer for stage in self.stages}:
            check_vectors(q[layer - 1], "queries")
        return q, single


def exact_search(queries: np.ndarray, documents: np.ndarray, k: int = 10, *, dim: int | None = None,
                 cosine: bool = True, threads: int = 1) -> Found:  # fmt: skip
    """The best `k` of documents (N, D) for queries (B, D) or (D,) by their first `dim` coordinates (None: all), as an
    exact float64 search would order them. Errors as Retriever."""
    stages = [Stage(documents.shape[-1] if dim is None else dim)]
    return Retriever(documents, stages, cosine=cosine, threads=threads).search(queries, k)


def _size(stage: Stage) -> int:
    """Bytes of a coordinate in a later stage."""
    return 4 if stage.engine == "float32" else 1


def check_vectors(x: np.ndarray, what: str) -> None:
    """Raises InputError naming the first row of x (N, D) that holds NaN, infinity, or what float32 cannot square."""
    for a in range(0, len(x), BLOCK):
        block = np.asarray(x[a : a + BLOCK])
        if not max(block.max(), -block.min()) < LARGEST:  # so written, NaN is caught as well
            bad = a + int(np.flatnonzero(~(np.abs(block) < LARGEST).all(axis=1))[0])
            if np.isfinite(x[bad]).all():
                raise InputError(f"{what} hold numbers beyond {LARGEST:g} (row {bad}): bring vectors to unit length")
            raise InputError(f"{what} hold NaN or infinity (row {bad}): mend or drop it")
