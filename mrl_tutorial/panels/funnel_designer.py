"""The funnel designer: draw a path of search over the grid; see what it costs, what it finds and what it loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrl_tutorial.panels.packing import fitting
from mrl_tutorial.panels.panel import Control, Panel, menu, slider, switch
from mrl_tutorial.retrieval.costs import Geometry
from mrl_tutorial.retrieval.path_tree import PathTree, walk_tree
from mrl_tutorial.retrieval.paths import LONGEST, Paths, Throughput, price
from mrl_tutorial.retrieval.stages import Stage

DEPTHS = (10, 20, 50, 100, 200, 400, LONGEST)
SIZES = {10**5: "100 k", 10**6: "1 M", 10**7: "10 M", 10**8: "100 M", 10**9: "1 G"}
BETWEEN = 3


def example_queries(paths: Paths, n: int = 8) -> list[int]:
    """Places of queries that the full model answers: some that a short shortlist loses, then some that it keeps."""
    name = paths.names[-1]
    short = paths.head(name, paths.n_layers, paths.dims[min(2, len(paths.dims) - 1)], 50)
    lost: list[int] = []
    kept: list[int] = []
    for i in range(len(paths.ids)):
        relevant = paths.relevant(i)
        if np.isin(relevant, paths.full(name)[i]).any():
            (kept if np.isin(relevant, short[i]).any() else lost).append(i)
    return [*lost[: n // 2], *kept[: n - len(lost[: n // 2])]] or list(range(min(n, len(paths.ids))))


class FunnelDesigner(Panel):
    """Sliders for the shortlist's layer, dimension and length, the rerank's dimension, and stages between them.

    Every path that they can draw is walked beforehand, and kept in the cache. task: retrieval. embeddings: model ->
    {"queries", "documents"} of `split`, as embed_task gives them. queries: how many are followed. geometry: of the
    encoder, for the price of encoding a query. clock: of this machine, for its milliseconds (None: measured now).
    state: what to begin with, such as size=10**7. Raises InputError as in `Paths`.
    """

    view = "funnel"

    def __init__(
        self,
        task: Any,
        embeddings: Mapping[str, Mapping[str, np.ndarray]],
        *,
        split: str = "dev",
        queries: int = 150,
        geometry: Geometry | None = None,
        clock: Throughput | None = None,
        **state: Any,
    ) -> None:
        self.paths = p = Paths(task, embeddings, split=split, queries=queries)
        self.geometry, self.clock = geometry, clock or Throughput.measure()
        depths = [k for k in DEPTHS if k < p.n] or [p.n]
        sizes = [p.n, *(n for n in SIZES if n > p.n)]
        self.tree = PathTree.draw(p.n_layers, p.dims, depths, BETWEEN)
        follow = example_queries(p)
        start = {"model": p.names[-1], "layer": p.n_layers, "dim": p.dims[min(2, len(p.dims) - 1)]}
        start |= {"depth": depths[min(3, len(depths) - 1)], "rerank": p.width, "between": 0}
        start |= {"size": p.n, "query": follow[0]}
        walked = {name: walk_tree(p, name, self.tree, follow) for name in p.names}
        tables = self._tree_tables(sizes) | self._model_tables(walked) | self._query_tables(follow)
        super().__init__(self._controls(depths, sizes, follow), start | state, **tables)

    def _controls(self, depths: list[int], sizes: list[int], follow: list[int]) -> list[list[Control]]:
        p = self.paths
        texts = [p.task.queries[p.ids[i]][:110] for i in follow]
        return [
            [switch("model", "model", p.names)],
            [slider("layer", "shortlist layer", range(1, p.n_layers + 1)), slider("dim", "shortlist dims", p.dims)],
            [slider("depth", "shortlist K", depths), slider("between", "stages between", range(BETWEEN + 1))],
            [
                slider("rerank", "rerank dims", p.dims),
                slider("size", "price it for", sizes, [SIZES.get(n, f"{n:,}") for n in sizes]),
            ],
            [menu("query", "follow a query", follow, texts)],
        ]

    def _tree_tables(self, sizes: list[int]) -> dict[str, Any]:
        """The paths, and what each costs over each number of documents (ends, sizes): MFLOPs, milliseconds, GB."""
        tree, p = self.tree, self.paths
        ends = np.unique(tree.ends[tree.ends >= 0])
        cost = np.full((3, len(tree.before), len(sizes)), np.nan, np.float32)
        for node in ends:
            stages = tree.stages(node)
            for i, n in enumerate(sizes):
                found = price(stages, n, self.clock)
                cost[:, node, i] = found["mflops"], found["ms"], found["gb"]
        # every path ends at the last layer, so encoding the query costs the same on all of them
        encode = price([Stage(p.width, layer=p.n_layers)], p.n, self.clock, self.geometry)["encode_mflops"]
        return {
            "ends": tree.ends.astype(np.int32),
            "before": tree.before.astype(np.int32),
            "layer": fitting(tree.layer),
            "dim": fitting(tree.dim),
            "depth": fitting(np.minimum(tree.depth, p.n)),
            "mflops": cost[0],
            "ms": cost[1],
            "gb": cost[2],
            "encode": None if np.isnan(encode) else encode,
            "n": p.n,
            "layers": p.n_layers,
            "dims": list(p.dims),
            "width": p.width,
        }

    def _model_tables(self, walked: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, Any]:
        """Of each model: the grid, what every path finds, and the documents that are shown, as rows of `names`."""
        rows = np.unique(np.concatenate([found["best"].ravel() for found in walked.values()]))
        ids = list(self.paths.task.corpus)
        self._rows = rows = rows[rows >= 0]
        models = {}
        for name, found in walked.items():
            shown = np.searchsorted(rows, np.maximum(found["best"], 0)) + 1  # 0: no document
            models[name] = {key: found[key].astype(np.float32) for key in ("recall", "ndcg", "kept")}
            models[name]["place"] = fitting(found["place"])
            models[name]["best"] = fitting(np.where(found["best"] < 0, 0, shown))
            models[name]["grid"] = self.paths.grid(name).astype(np.float32)
        return {"models": models, "names": [ids[row] for row in rows]}

    def _query_tables(self, follow: list[int]) -> dict[str, Any]:
        """Texts of the followed queries, and their relevant documents among those that are shown, from 1."""
        p = self.paths
        relevant = [np.flatnonzero(np.isin(self._rows, p.relevant(i))) + 1 for i in follow]
        return {
            "follow": follow,
            "texts": [p.task.queries[p.ids[i]] for i in follow],
            "relevant": [rows.tolist() for rows in relevant],
        }
