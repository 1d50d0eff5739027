"""A path of search over the grid, evaluated for many queries at once: what the funnel designer shows, without widgets.

Scores of a cell are one matrix product, made when first needed and kept for the cells used last; so is the sorted head
of each cell's ranking, of which a first stage takes the best. Later stages look the survivors' scores up.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import check_embeddings
from mrl_tutorial.evaluation.quality import evaluate_grid, subsample
from mrl_tutorial.evaluation.ranks import one_thread
from mrl_tutorial.grid import default_dims
from mrl_tutorial.retrieval.costs import Geometry, bytes_per_vector, encode_flops, rerank_flops
from mrl_tutorial.retrieval.exact import inverse_lengths
from mrl_tutorial.retrieval.stages import Stage, check_stages, funnel

K = 10  # documents that a path returns
LONGEST = 800  # of a shortlist
HELD = 32  # score matrices kept: 32 x 150 queries x 6,306 documents are 120 MB


@dataclass(frozen=True)
class Walk:
    """What a path does. stages: with their layers filled in.

    survivors: rows that each stage kept, best first, (Q, keep). recall: share of the full model's ten that the path
    returns. ndcg: nDCG@10 against the judgements. kept: after each stage, the share of relevant documents still there.
    """

    stages: tuple[Stage, ...]
    survivors: tuple[np.ndarray, ...]
    recall: float
    ndcg: float
    kept: tuple[float, ...]


def drawn(first: tuple[int, int], keep: int, last: tuple[int, int], middle: int = 0,
          dims: Sequence[int] | None = None) -> tuple[Stage, ...]:  # fmt: skip
    """The path from cell `first` (layer, dim) to cell `last` with `middle` cells between them, evenly spaced in layer
    and in log2 of dimension and shortlist, as the MRL paper's funnel halves and doubles (2205.13147, section 4.3.1).

    dims: what the middle stages' dimensions are rounded to (None: whole numbers). Cells that repeat the one before them
    are left out; first == last is a plain search of that cell. Raises InputError where the last cell is no larger than
    the first (its layer lower, or its dimension at the same layer), and for a shortlist below 10.
    """
    (l1, d1), (l2, d2) = first, last
    if first == last:
        return (Stage(d1, None, l1),)
    if l2 < l1 or (l1 == l2 and d2 <= d1):
        raise InputError(
            f"reranking at layer {l2}, {d2} dims what layer {l1}, {d1} dims found adds nothing: rerank at more"
        )
    if keep < K:
        raise InputError(f"a shortlist of {keep} cannot give {K} documents: keep {K} or more")
    path = [(l1, d1, keep)]
    for share in np.linspace(0, 1, middle + 2)[1:-1]:
        layer = round(l1 + share * (l2 - l1))
        dim = _between(d1, d2, share)
        if dims is not None:
            dim = min(dims, key=lambda d: abs(np.log2(d / dim)))
        if (layer, dim) not in ((l2, d2), path[-1][:2]):
            path.append((layer, dim, max(K, _between(keep, K, share))))
    path.append((l2, d2, None))
    return funnel([d for _, d, _ in path], [k for *_, k in path[:-1]], layers=[layer for layer, *_ in path])


def _between(a: int, b: int, share: float) -> int:
    return round(a * (b / a) ** share)


class Paths:
    """Models, queries and documents on which paths are tried.

    task: retrieval. embeddings: name of a model -> {"queries" (L, Q, D), "documents" (L, N, D)} of `split`, as
    embed_task gives them. queries: at most so many, the same for every model, always the same ones.
    Raises InputError for no model, models of different shapes, and what check_embeddings refuses.
    """

    def __init__(self, task: Any, embeddings: Mapping[str, Mapping[str, np.ndarray]], *, split: str = "dev",
                 queries: int = 150):  # fmt: skip
        if task.kind != "retrieval":
            raise InputError(f"a {task.kind!r} task has no documents to search: give a retrieval task")
        if not embeddings:
            raise InputError("no model to search with: give at least one name -> embeddings")
        ids = task.judged(split)
        sizes = {"queries": len(ids), "documents": len(task.corpus)}
        checked = {name: check_embeddings(parts, sizes) for name, parts in embeddings.items()}
        if len({parts["documents"].shape for parts in checked.values()}) > 1:
            raise InputError("the models differ in layers or width: give embeddings of one shape")
        taken = subsample(ids, queries)
        self.task, self.split, self.ids = task, split, [ids[i] for i in taken]
        self.names = tuple(checked)
        self._documents = {name: parts["documents"] for name, parts in checked.items()}
        self._queries = {name: np.ascontiguousarray(parts["queries"][:, taken]) for name, parts in checked.items()}
        self.n_layers, self.n, self.width = next(iter(self._documents.values())).shape
        self.dims = default_dims(self.width)
        self._judged = metrics.judge(self.ids, list(task.corpus), task.qrels)
        self._position = self._judged.order[self._judged.column]  # row of each judged pair's document
        self._held: OrderedDict[tuple, np.ndarray] = OrderedDict()
        self._heads: dict[tuple, np.ndarray] = {}
        self._grids: dict[str, np.ndarray] = {}
        self._full: dict[str, np.ndarray] = {}

    def grid(self, name: str) -> np.ndarray:
        """nDCG@10 of a plain search of every cell over these queries, (layers, default dims)."""
        if name not in self._grids:
            parts = {"queries": self._queries[name], "documents": self._documents[name]}
            some = _Some(self.task, self.split, self.ids)
            self._grids[name] = evaluate_grid(some, embeddings=parts, split=self.split, metric=f"ndcg@{K}").values
        return self._grids[name]

    def full(self, name: str) -> np.ndarray:
        """The full model's ten best documents of every query, best first, (Q, 10)."""
        if name not in self._full:
            self._full[name] = self._head(name, self.n_layers, self.width, K)
        return self._full[name]

    def walk(self, name: str, stages: Sequence[Stage]) -> Walk:
        """Send every query down the path. Raises InputError as stages.check_stages does."""
        stages = check_stages(stages, self.n_layers, self.width)
        rows, survivors = None, []
        for stage in stages:
            keep = min(stage.keep or K, self.n)
            if rows is None:
                rows = self._head(name, stage.layer, stage.dim, keep)
            else:
                rows = np.sort(rows, axis=1)  # ties rank in the order of rows
                left = np.take_along_axis(self._scores(name, stage.layer, stage.dim), rows, 1)
                rows = np.take_along_axis(rows, _best(left, min(keep, left.shape[1])), 1)
            survivors.append(rows)
        truth = self.full(name)
        recall = float((truth[:, :, None] == rows[:, None, :K]).any(2).mean())
        kept = tuple(float(self._hits(found).any(1).mean()) for found in survivors)
        ranks = metrics.found_ranks(rows[:, :K], self._judged)
        ndcg = float(metrics.retrieval_metric(f"ndcg@{K}", ranks, self._judged).mean())
        return Walk(stages, tuple(survivors), recall, ndcg, kept)

    def warm(self, name: str) -> None:
        """Rank every cell now, so that no move of a slider has to."""
        for layer in range(1, self.n_layers + 1):
            for dim in self.dims:
                self._head(name, layer, dim, K)

    def relevant(self, query: int) -> np.ndarray:
        """Rows of the documents that are relevant to a query."""
        return self._position[self._judged.query == query]

    def _hits(self, rows: np.ndarray) -> np.ndarray:
        """(P, keep): where each judged pair's document stands in the rows of its query."""
        return rows[self._judged.query] == self._position[:, None]

    def _head(self, name: str, layer: int, dim: int, keep: int) -> np.ndarray:
        """The `keep` best rows of a cell, best first, (Q, keep)."""
        cell = name, layer, dim
        if cell not in self._heads or self._heads[cell].shape[1] < keep:
            self._heads[cell] = _best(self._scores(*cell), min(max(keep, LONGEST), self.n)).astype(np.int32)
        return self._heads[cell][:, :keep].astype(np.int64)

    def _scores(self, name: str, layer: int, dim: int) -> np.ndarray:
        """Cosines (Q, N) float32 of one cell."""
        cell = name, layer, dim
        if cell not in self._held:
            q = self._queries[name][layer - 1][:, :dim]
            x = np.asarray(self._documents[name][layer - 1][:, :dim])
            with one_thread():
                scores = q @ x.T
            scores *= inverse_lengths(x)
            scores *= inverse_lengths(q)[:, None]
            self._held[cell] = scores
            if len(self._held) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(cell)
        return self._held[cell]


@dataclass(frozen=True)
class _Some:
    """A retrieval task with some of its queries, for evaluate_grid."""

    task: Any
    split: str
    ids: list[str]
    kind: str = "retrieval"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.task, name)

    def judged(self, split: str) -> list[str]:
        return self.ids


def _best(scores: np.ndarray, keep: int) -> np.ndarray:
    """Columns of the `keep` largest of each line, best first, ties in the order of columns: (Q, N) -> (Q, keep)."""
    n = scores.shape[1]
    if keep < n:
        taken = np.sort(np.argpartition(scores, n - keep, axis=1)[:, n - keep :], axis=1)
        worst = np.take_along_axis(scores, taken, 1).min(1, keepdims=True)
        for i in np.flatnonzero((scores >= worst).sum(1) > keep):  # a tie across the edge
            taken[i] = np.sort(np.argsort(-scores[i], kind="stable")[:keep])
    else:
        taken = np.broadcast_to(np.arange(n), scores.shape)
    order = np.argsort(-np.take_along_axis(scores, taken, 1), axis=1, kind="stable")
    return np.take_along_axis(taken, order, 1)


@dataclass(frozen=True)
class Clock:
    """How fast a machine reads vectors: scan, bytes a second from end to end; gather, bytes a second of single rows;
    stage, seconds that each stage costs whatever it does."""

    scan: float
    gather: float
    stage: float

    @classmethod
    def measure(cls, megabytes: int = 96) -> Clock:
        """Time this machine: one thread, best of five."""
        x = np.ones((megabytes * 2**20 // 1024, 256), dtype=np.float32)
        q, rng = np.ones(256, dtype=np.float32), np.random.default_rng(0)
        some = min(2000, len(x) // 5)
        rows = iter(rng.permutation(len(x))[: 5 * some].reshape(5, some))  # others each time: none is in the cache
        with one_thread():
            scan = _quickest(lambda: [x[a : a + 4096] @ q for a in range(0, len(x), 4096)])
            gather = _quickest(lambda: x[next(rows)] @ q)
            small = _quickest(lambda: np.argsort(x[:20] @ q))
        return cls(x.nbytes / scan, some * 1024 / gather, 10 * small)


def _quickest(job, times: int = 5) -> float:
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def price(stages: Sequence[Stage], n: int, clock: Clock, geometry: Geometry | None = None,
          tokens: int = 16) -> dict[str, float]:  # fmt: skip
    """What a path over `n` float32 documents costs a query: mflops (multiply-adds of the search), encode_mflops (of
    encoding the query of `tokens` tokens; nan without a geometry), ms (bytes over the clock's rates), and gb held
    (10^9 bytes: the scanned prefixes, and the widest vector of each layer that rescores)."""
    first, *later = stages
    lefts = [min(stage.keep or K, n) for stage in stages[:-1]]
    moved = sum(left * bytes_per_vector(stage.dim) for left, stage in zip(lefts, later, strict=True))
    wide: dict[int, int] = {}
    for stage in later:
        wide[stage.layer or 0] = max(wide.get(stage.layer or 0, 0), stage.dim)
    held = n * (bytes_per_vector(first.dim) + sum(bytes_per_vector(dim) for dim in wide.values()))
    encode = float("nan")
    if geometry is not None:
        deepest = max(stage.layer or geometry.n_layers for stage in stages)
        encode = encode_flops(deepest, geometry.width, geometry.intermediate, tokens) / 1e6
    seconds = n * bytes_per_vector(first.dim) / clock.scan + moved / clock.gather + len(stages) * clock.stage
    flops = rerank_flops(n, first.dim, [(left, stage.dim) for left, stage in zip(lefts, later, strict=True)])
    return {"mflops": flops / 1e6, "encode_mflops": encode, "ms": 1e3 * seconds, "gb": held / 1e9}
