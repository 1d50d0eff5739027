"""Every path that a few choices can draw, as a tree: paths that begin alike share their first stages."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.retrieval.paths import K, Paths, draw_path
from mrl_tutorial.retrieval.stages import Stage

SHOWN = 4  # documents that are remembered of each followed query after each stage
VERSION = 1  # of what is cached: to be raised when paths are walked in another way
LOST = np.iinfo(np.int32).max  # the rank of a document that a path does not find


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
    """Documents are numbered query by query, query * N + row, so that one look-up serves all queries."""
    judged, n_nodes, everything = paths.judged, len(tree.before), np.arange(len(paths.ids) * paths.n)
    relevant = (judged.query * paths.n + paths.position)[:, None]  # (P, 1)
    full = np.isin(everything, np.arange(len(paths.ids))[:, None] * paths.n + paths.full(name))
    recall, place = np.zeros(n_nodes), np.zeros((n_nodes, len(relevant)), np.int32)
    best = np.full((n_nodes, len(follow), SHOWN), -1, np.int32)
    keys = cache(lambda layer, dim: sortable(paths.scores(name, layer, dim)).ravel())
    children: dict[int, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for node in range(n_nodes):
        children[int(tree.before[node])][int(tree.layer[node]), int(tree.dim[node])].append(node)

    def visit(before: int, left: np.ndarray) -> None:
        """Go on from a stage to those after it. left: its documents (Q, depth)."""
        for cell, nodes in children.pop(before, {}).items():
            ordered = np.sort(keys(*cell).take(left), axis=1) & 0xFFFFFFFF
            for node in nodes:
                documents = ordered[:, : tree.depth[node]]
                recall[node] = full.take(documents[:, :K]).mean()
                hit = documents[judged.query] == relevant
                place[node] = np.where(hit.any(1), hit.argmax(1) + 1, 0)
                shown = documents[follow, :SHOWN] % paths.n
                best[node, :, : shown.shape[1]] = shown
                visit(node, documents)

    visit(-1, everything.reshape(len(paths.ids), paths.n))
    ranks = np.where(place > 0, place, LOST)
    first = np.stack([ranks[:, judged.query == query].min(1, initial=LOST) for query in follow], 1)
    return {
        "recall": recall,
        "ndcg": metrics.retrieval_metric(f"ndcg@{K}", ranks, judged).mean(1),
        "kept": (place > 0).mean(1),
        "place": np.where(first < LOST, first, 0),
        "best": best,
    }


def sortable(scores: np.ndarray) -> np.ndarray:
    """Numbers that sort as scores (Q, N) float32 do, best first, ties by row. Their last 32 bits are query * N + row.

    A float's bits, read as a whole number, sort as the float does, once those of negative ones are turned around.
    """
    bits = (np.float32(0) - scores).view(np.int32)  # 0 - x is never -0
    bits = np.where(bits < 0, bits ^ 0x7FFFFFFF, bits).astype(np.int64)
    return bits << 32 | np.arange(scores.size).reshape(scores.shape)
