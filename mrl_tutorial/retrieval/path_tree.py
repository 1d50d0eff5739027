"""Every path that a few choices can draw, walked together: paths that begin alike share their first stages, as a tree.

A document's place in the ranking of a cell is found once for every cell. From then on a stage is a look-up of the
survivors' places and a sort of these.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.retrieval.paths import K, Paths, draw_path
from mrl_tutorial.retrieval.stages import Stage

SHOWN = 4  # documents that are remembered of each followed query after each stage
VERSION = 1  # of what is cached: to be raised when paths are walked in another way


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
    """What `Paths.walk` finds on every path of the tree, for each of its n stages; kept in the cache.

    recall, ndcg (n,): of a path that ends there. kept (n,): share of relevant documents left. For the followed queries
    (places in `paths.ids`): place (n, F) of the best relevant document, 0 where it is lost, and best (n, F, 4) rows.
    """
    drawn = tree.before, tree.layer, tree.dim, tree.depth
    key = files.key(VERSION, paths.fingerprint(name), *drawn, list(follow), K, SHOWN)
    return files.remembered("paths", key, lambda: _Walk(paths, name, tree, follow).result())


class _Walk:
    """Documents are numbered query by query, so that one look-up serves all queries: q * U + place in the pool."""

    def __init__(self, paths: Paths, name: str, tree: PathTree, follow: Sequence[int]) -> None:
        self.paths, self.tree, self.follow = paths, tree, list(follow)
        cells = sorted(set(zip(tree.layer.tolist(), tree.dim.tolist(), strict=True)))
        self.pool = _pool(paths, name, cells, int(tree.depth.max()))  # (Q, U)
        n_queries, size = self.pool.shape
        start = np.arange(n_queries)[:, None] * size
        self.order: dict[tuple[int, int], np.ndarray] = {}  # of a cell: place in its ranking -> document
        self.rank: dict[tuple[int, int], np.ndarray] = {}  # and the reverse
        for cell in cells:
            order = _best_first(np.take_along_axis(paths.scores(name, *cell), self.pool, 1)) + start
            self.order[cell] = order.ravel().astype(np.int32)
            self.rank[cell] = np.empty(order.size, np.int32)
            self.rank[cell][self.order[cell]] = np.arange(order.size, dtype=np.int32)
        number = np.full((n_queries, paths.n), -1, np.int32)  # of each document
        np.put_along_axis(number, self.pool, (start + np.arange(size)).astype(np.int32), 1)
        self.judged = paths.judged
        self.relevant = number[self.judged.query, paths.position][:, None]  # (P, 1)
        self.among = np.isin(np.arange(n_queries * size), np.take_along_axis(number, paths.full(name), 1))
        n = len(tree.before)
        self.found, self.place = np.zeros(n), np.zeros((n, len(self.relevant)), np.int32)
        self.best = np.full((n, len(self.follow), SHOWN), -1, np.int32)
        self.children: dict[int, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
        for node in range(n):
            self.children[int(tree.before[node])][int(tree.layer[node]), int(tree.dim[node])].append(node)

    def result(self) -> dict[str, np.ndarray]:
        for cell, nodes in self.children[-1].items():
            for node in nodes:
                self.visit(node, self.order[cell].reshape(self.pool.shape)[:, : self.tree.depth[node]])
        ranks = np.where(self.place > 0, self.place, np.iinfo(np.int32).max)
        own = [np.flatnonzero(self.judged.query == query) for query in self.follow]
        first = np.stack([ranks[:, pairs].min(1, initial=np.iinfo(np.int32).max) for pairs in own], 1)
        return {
            "recall": self.found / (len(self.pool) * min(K, self.paths.n)),
            "ndcg": metrics.retrieval_metric(f"ndcg@{K}", ranks, self.judged).mean(1),
            "kept": (self.place > 0).mean(1),
            "place": np.where(first < np.iinfo(np.int32).max, first, 0),
            "best": self.best,
        }

    def visit(self, node: int, documents: np.ndarray) -> None:
        """Note what is left after a stage, documents (Q, depth), best first, and go on to the stages after it."""
        self.found[node] = self.among.take(documents[:, :K]).sum()
        hit = documents[self.judged.query] == self.relevant
        self.place[node] = np.where(hit.any(1), hit.argmax(1) + 1, 0)
        shown = documents[self.follow, :SHOWN]
        self.best[node, :, : shown.shape[1]] = self.pool.take(shown)
        for cell, nodes in self.children.get(node, {}).items():
            places = np.sort(self.rank[cell].take(documents), axis=1)
            for after in nodes:
                self.visit(after, self.order[cell].take(places[:, : self.tree.depth[after]]))


def _pool(paths: Paths, name: str, cells: Sequence[tuple[int, int]], depth: int) -> np.ndarray:
    """Rows (Q, U) of all documents that any cell's `depth` best hold, rising; filled up with others."""
    n_queries = len(paths.ids)
    if len(cells) * depth >= paths.n:
        return np.tile(np.arange(paths.n), (n_queries, 1))
    held = np.zeros((n_queries, paths.n), bool)
    for cell in cells:
        np.put_along_axis(held, paths.head(name, *cell, depth), True, 1)
    return np.argsort(~held, axis=1, kind="stable")[:, : held.sum(1).max()]


def _best_first(scores: np.ndarray) -> np.ndarray:
    """Columns of scores (Q, U) float32, best first, ties in the order of columns; much quicker than a stable argsort.

    A float's bits, read as a whole number, sort as the float does, once those of negative ones are turned around.
    """
    bits = (np.float32(0) - scores).view(np.int32)  # 0 - x is never -0
    bits = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    return np.sort(bits << 32 | np.arange(scores.shape[1]), axis=1) & 0xFFFFFFFF
