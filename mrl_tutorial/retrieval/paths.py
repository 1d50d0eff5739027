"""Paths of search over the grid, and what they cost: what the funnel designer shows, without widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import check_embeddings
from mrl_tutorial.evaluation.measures import subsample
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.evaluation.ranks import one_thread
from mrl_tutorial.grid import default_dims
from mrl_tutorial.retrieval.costs import Geometry, bytes_per_vector, encode_flops, rerank_flops
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import Stage
from mrl_tutorial.retrieval.timing import milliseconds
from mrl_tutorial.topk import inverse_lengths, top_columns

K = 10  # documents that a path returns
LONGEST = 800  # depth


def draw_path(
    first: tuple[int, int], depth: int, last: tuple[int, int], middle: int = 0, dims: Sequence[int] | None = None
) -> tuple[Stage, ...]:
    """The path from cell `first` (layer, dim) to cell `last` with `middle` cells between them, evenly spaced in layer
    and in log2 of dimension and depth, as the MRL paper's funnel halves and doubles (2205.13147, section 4.3.1).

    dims: what the middle stages' dimensions are rounded to (None: whole numbers). Cells that repeat the one before them
    are left out. Raises InputError where the last cell is no larger than the first, and for a depth below 10.

    >>> [(s.layer, s.dim, s.depth) for s in draw_path((1, 16), 160, (3, 64), 1)]
    [(1, 16, 160), (2, 32, 40), (3, 64, None)]
    """
    (l1, d1), (l2, d2) = first, last
    if first == last:
        return (Stage(d1, None, l1),)
    if l2 < l1 or (l1 == l2 and d2 <= d1):
        raise InputError(f"reranking at layer {l2}, {d2} dims what {l1}, {d1} found adds nothing: rerank at more")
    if depth < K:
        raise InputError(f"a shortlist of {depth} cannot give {K} documents: hand on {K} or more")
    path = [Stage(d1, depth, l1)]
    for share in np.linspace(0, 1, middle + 2)[1:-1]:
        layer, dim = round(l1 + share * (l2 - l1)), round(d1 * (d2 / d1) ** share)
        if dims is not None:
            dim = min(dims, key=lambda d: abs(np.log2(d / dim)))
        if (layer, dim) not in ((l2, d2), (path[-1].layer, path[-1].dim)):
            path.append(Stage(dim, max(K, round(depth * (K / depth) ** share)), layer))
    return (*path, Stage(d2, None, l2))


class Paths:
    """Models, queries and documents on which paths are tried.

    task: retrieval. embeddings: name of a model -> {"queries" (L, Q, D), "documents" (L, N, D)} of `split`. queries: at
    most this many, always the same ones. Raises InputError for no model, and models of different shapes."""

    def __init__(
        self, task: Any, embeddings: Mapping[str, Mapping[str, np.ndarray]], *, split: str = "dev", queries: int = 150
    ):
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
        self._parts = {
            name: {"queries": np.ascontiguousarray(x["queries"][:, taken]), "documents": x["documents"]}
            for name, x in checked.items()
        }
        self.n_layers, self.n, self.width = self._parts[self.names[0]]["documents"].shape
        self.dims = default_dims(self.width)
        self.judged = metrics.judge(self.ids, list(task.corpus), task.qrels)
        self.position = self.judged.order[self.judged.column]  # row of each judged pair's document

    def grid(self, name: str) -> np.ndarray:
        """nDCG@10 of a plain search of every cell over these queries, (layers, default dims)."""
        some = replace(self.task, splits={self.split: self.ids})
        return evaluate_grid(some, embeddings=self._parts[name], split=self.split, metric=f"ndcg@{K}").values

    def fingerprint(self, name: str) -> str:
        """A key of all that decides where a model's paths lead."""
        judged = self.judged.query, self.position, self.judged.gain
        return files.key(*self._parts[name].values(), *judged)

    def relevant(self, query: int) -> np.ndarray:
        """Rows of the documents that are relevant to a query."""
        return self.position[self.judged.query == query]

    def full(self, name: str) -> np.ndarray:
        """The full model's ten best documents of every query, best first, (Q, 10)."""
        return self.head(name, self.n_layers, self.width, K)

    def head(self, name: str, layer: int, dim: int, depth: int) -> np.ndarray:
        """The `depth` best rows of a cell, best first, (Q, min(depth, N))."""
        return top_columns(self.scores(name, layer, dim), depth)

    def scores(self, name: str, layer: int, dim: int) -> np.ndarray:
        """Cosines (Q, N) float32 of one cell."""
        q, x = (part[layer - 1][:, :dim] for part in self._parts[name].values())
        with one_thread():
            scores = q @ x.T
        return scores * inverse_lengths(x) * inverse_lengths(q)[:, None]


@dataclass(frozen=True)
class Throughput:
    """How fast a machine searches for a query alone. scan: bytes per second of a first stage; gather: of single rows in
    a rerank; stage: the fixed seconds of each stage."""

    scan: float
    gather: float
    stage: float

    @classmethod
    def measure(cls, documents: int = 2**17) -> Throughput:
        """From milliseconds of four searches of made documents, 256 coordinates wide, on one thread of this machine."""
        x = np.random.default_rng(0).standard_normal((documents, 256), dtype=np.float32)
        base, depth = Retriever(x, [Stage(256)]), min(LONGEST, documents)

        def seconds(*stages: Stage) -> float:
            return milliseconds(partial(base.with_stages(stages).search, k=K), x, "single") / 1e3

        wide, narrow = seconds(Stage(256)), seconds(Stage(64))
        long, short = seconds(Stage(64, depth), Stage(256)), seconds(Stage(64, K), Stage(256))
        tiny = 1e-7  # a clock's step: what is too short to be told from nothing
        scan, gather = documents * 768 / max(wide - narrow, tiny), (depth - K) * 1024 / max(long - short, tiny)
        return cls(scan, gather, max(short - narrow, tiny))


def price(
    stages: Sequence[Stage], n: int, clock: Throughput, geometry: Geometry | None = None, tokens: int = 16
) -> dict[str, float]:
    """What a path over `n` float32 documents costs per query.

    Keys: mflops (multiply-adds of the search), encode_mflops (of encoding `tokens` tokens; nan without a geometry), ms
    (bytes over the clock's rates), gb held (the scanned prefixes, and the widest vector of each layer that reranks).

    >>> cost = price([Stage(64, 100), Stage(384)], 1_000_000, Throughput(scan=1e10, gather=1e9, stage=1e-4))
    >>> cost["mflops"], round(cost["ms"], 2), round(cost["gb"], 3)
    (64.0384, 25.95, 1.792)
    """
    scanned = bytes_per_vector(stages[0].dim)
    steps = [(min(before.depth or K, n), stage) for before, stage in pairwise(stages)]
    moved = sum(left * bytes_per_vector(stage.dim) for left, stage in steps)
    wide: dict[int | None, int] = {}
    for _, stage in steps:
        wide[stage.layer] = max(wide.get(stage.layer, 0), bytes_per_vector(stage.dim))
    encode = float("nan")
    if geometry is not None:
        deepest = max(stage.layer or geometry.n_layers for stage in stages)
        encode = encode_flops(deepest, geometry.width, geometry.intermediate, tokens) / 1e6
    seconds = n * scanned / clock.scan + moved / clock.gather + len(stages) * clock.stage
    flops = rerank_flops(n, stages[0].dim, [(left, stage.dim) for left, stage in steps])
    held = n * (scanned + sum(wide.values()))
    return {"mflops": flops / 1e6, "encode_mflops": encode, "ms": 1e3 * seconds, "gb": held / 1e9}
