"""Paths of search over the grid, what they cost and what they find: what the funnel designer shows, without widgets.

Every path that a few choices can draw is one of a tree: paths that begin alike share their first stages.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import check_embeddings
from mrl_tutorial.evaluation.measures import subsample
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.grid import default_dims
from mrl_tutorial.retrieval.costs import Geometry, bytes_per_vector, encode_flops, search_flops
from mrl_tutorial.retrieval.indexes import check_vectors
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import K, Stage, draw_path, reranking
from mrl_tutorial.retrieval.timing import found_share, milliseconds
from mrl_tutorial.topk import inverse_lengths, top_columns

LONGEST = 800  # depth
SHOWN = 4  # documents that are remembered of each followed query after each stage
VERSION = 1  # of what is cached: to be raised when paths are walked in another way


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
        for name, parts in checked.items():
            for what, layer in ((f"{part} of {name}", layer) for part, x in parts.items() for layer in x):
                check_vectors(layer, what)
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
        with metrics.one_thread():
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
    scanned = n * bytes_per_vector(stages[0].dim)
    flops, moved, held = reranking(stages, n)
    encode = float("nan")
    if geometry is not None:
        deepest = max(stage.layer or geometry.n_layers for stage in stages)
        encode = encode_flops(deepest, geometry.width, geometry.intermediate, tokens) / 1e6
    seconds = scanned / clock.scan + moved / clock.gather + len(stages) * clock.stage
    mflops = (search_flops(n, stages[0].dim) + flops) / 1e6
    return {"mflops": mflops, "encode_mflops": encode, "ms": 1e3 * seconds, "gb": (scanned + held) / 1e9}


@dataclass(frozen=True)
class PathTree:
    """Stages that hang on the stages before them; those without one scan all documents.

    ends (layers, dims, depths, dims, stages between): the last stage of the path that `draw_path` draws from a
    shortlist of that layer, dimension and depth to that dimension of the last layer; -1 where it refuses.
    before (n,): the stage before each one, or -1; never a later one. layer, dim, depth (n,): of each stage.

    >>> tree = PathTree.draw(2, [8, 16], [10, 20], between=1)
    >>> [str(stage) for stage in tree.stages(tree.ends[0, 0, 1, 1, 0])]
    ['layer 1, 8 dims float32 -> 20', 'layer 2, 16 dims float32 -> 10']
    """

    ends: np.ndarray
    before: np.ndarray
    layer: np.ndarray
    dim: np.ndarray
    depth: np.ndarray

    @classmethod
    def draw(cls, n_layers: int, dims: Sequence[int], depths: Sequence[int], between: int = 3) -> PathTree:
        """All paths with up to `between` stages between the first and the last."""
        known: dict[tuple[int, ...], int] = {}
        ends = np.full((n_layers, len(dims), len(depths), len(dims), between + 1), -1, np.int32)
        for place in np.ndindex(ends.shape):
            layer, first, depth, last, middle = place
            try:
                path = draw_path((layer + 1, dims[first]), depths[depth], (n_layers, dims[last]), middle, dims)
            except InputError:
                continue  # it makes no sense, and stays -1
            node = -1
            for stage in path:
                node = known.setdefault((node, stage.layer or n_layers, stage.dim, stage.depth or K), len(known))
            ends[place] = node
        return cls(ends, *np.array(list(known), np.int32).reshape(-1, 4).T)

    def stages(self, node: int) -> tuple[Stage, ...]:
        """The path that ends with this stage."""
        before = () if self.before[node] < 0 else self.stages(self.before[node])
        return (*before, Stage(int(self.dim[node]), int(self.depth[node]), int(self.layer[node])))


def walk_tree(paths: Paths, name: str, tree: PathTree, follow: Sequence[int]) -> dict[str, np.ndarray]:
    """What a model's paths find, for each of the tree's n stages; kept in the cache.

    recall, ndcg (n,): of a path that ends there. kept (n,): share of relevant documents left. For the followed queries
    (places in `paths.ids`): place (n, F) of the best relevant document, 0 where it is lost, and best (n, F, 4) rows.
    """
    drawn = tree.before, tree.layer, tree.dim, tree.depth
    key = files.key(VERSION, paths.fingerprint(name), *drawn, list(follow), K, SHOWN)
    return files.remembered("paths", key, lambda: _walk(paths, name, tree, list(follow)))


def _walk(paths: Paths, name: str, tree: PathTree, follow: list[int]) -> dict[str, np.ndarray]:
    judged, n_nodes, queries = paths.judged, len(tree.before), len(paths.ids)
    full, offsets = paths.full(name), np.arange(queries)[:, None] * paths.n
    recall, ranks = np.zeros(n_nodes), np.zeros((n_nodes, len(judged.query)), np.int32)
    best = np.full((n_nodes, len(follow), SHOWN), -1, np.int32)
    keys = cache(lambda layer, dim: sortable(paths.scores(name, layer, dim)).ravel())
    children: dict[int, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for node in range(n_nodes):
        children[int(tree.before[node])][int(tree.layer[node]), int(tree.dim[node])].append(node)

    def visit(before: int, left: np.ndarray) -> None:
        """Go on from a stage to those after it. left: rows of its documents (Q, depth)."""
        for cell, nodes in children.pop(before, {}).items():
            ordered = np.sort(keys(*cell).take(left + offsets), axis=1) & 0xFFFFFFFF
            for node in nodes:
                rows = ordered[:, : tree.depth[node]]
                recall[node], ranks[node] = found_share(rows[:, :K], full), metrics.found_ranks(rows, judged)
                shown = rows[follow, :SHOWN]
                best[node, :, : shown.shape[1]] = shown
                visit(node, rows)

    visit(-1, np.tile(np.arange(paths.n), (queries, 1)))
    first = np.stack([ranks[:, judged.query == query].min(1, initial=metrics.LOST) for query in follow], 1)
    return {
        "recall": recall,
        "ndcg": metrics.retrieval_metric(f"ndcg@{K}", ranks, judged).mean(1),
        "kept": (ranks < metrics.LOST).mean(1),
        "place": np.where(first < metrics.LOST, first, 0),
        "best": best,
    }


def sortable(scores: np.ndarray) -> np.ndarray:
    """Numbers that sort as scores (Q, N) float32 do, best first, ties by row. Their last 32 bits are the row.

    A float's bits, read as a whole number, sort as the float does, once those of negative ones are turned around.
    """
    bits = (np.float32(0) - scores).view(np.int32)  # 0 - x is never -0
    bits = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    return bits << 32 | np.arange(scores.shape[1])
