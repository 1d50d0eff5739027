"""The funnel designer: draw a path of search over the grid; see what it costs, what it finds and what it loses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mrl_tutorial.panels.panel import Panel, menu, slider, switch
from mrl_tutorial.retrieval.costs import Geometry
from mrl_tutorial.retrieval.paths import LONGEST, Paths, PathTree, Throughput, price, walk_tree
from mrl_tutorial.retrieval.stages import Stage

DEPTHS = (10, 20, 50, 100, 200, 400, LONGEST)
SIZES = {10**5: "100 k", 10**6: "1 M", 10**7: "10 M", 10**8: "100 M", 10**9: "1 G"}
BETWEEN = 3


def example_queries(paths: Paths, n: int = 8) -> list[int]:
    """Places of queries that the full model answers: some that a short shortlist loses, then some that it keeps."""
    name = paths.names[-1]
    full, short = paths.full(name), paths.head(name, paths.n_layers, paths.dims[min(2, len(paths.dims) - 1)], 50)

    def found(i: int, ranked: np.ndarray) -> bool:
        return bool(np.isin(paths.relevant(i), ranked[i]).any())

    answered = [i for i in range(len(paths.ids)) if found(i, full)]
    lost = [i for i in answered if not found(i, short)][: n // 2]
    kept = [i for i in answered if found(i, short)][: n - len(lost)]
    return [*lost, *kept] or list(range(min(n, len(paths.ids))))


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
        tree = PathTree.draw(p.n_layers, p.dims, depths, BETWEEN)
        follow = example_queries(p)
        texts = [task.queries[p.ids[i]] for i in follow]
        controls = [
            [switch("model", "model", p.names)],
            [slider("layer", "shortlist layer", range(1, p.n_layers + 1)), slider("dim", "shortlist dims", p.dims)],
            [slider("depth", "shortlist K", depths), slider("between", "stages between", range(BETWEEN + 1))],
            [
                slider("rerank", "rerank dims", p.dims),
                slider("size", "price it for", sizes, [SIZES.get(n, f"{n:,}") for n in sizes]),
            ],
            [menu("query", "follow a query", follow, [text[:110] for text in texts])],
        ]
        start = {"model": p.names[-1], "layer": p.n_layers, "dim": p.dims[min(2, len(p.dims) - 1)]}
        start |= {"depth": depths[min(3, len(depths) - 1)], "rerank": p.width, "between": 0}
        start |= {"size": p.n, "query": follow[0]}
        models, shown = self._models({name: walk_tree(p, name, tree, follow) for name in p.names})
        relevant = [np.flatnonzero(np.isin(shown, p.relevant(i))) + 1 for i in follow]
        tables = {"models": models, "names": [list(task.corpus)[row] for row in shown], "follow": follow}
        tables |= {"texts": texts, "relevant": [places.tolist() for places in relevant]}
        super().__init__(controls, start | state, **tables, **self._tree(tree, sizes))

    def _tree(self, tree: PathTree, sizes: list[int]) -> dict[str, Any]:
        """The paths, and what each costs over each number of documents (ends, sizes): MFLOPs, milliseconds, GB."""
        p = self.paths
        cost = {key: np.full((len(tree.before), len(sizes)), np.nan, np.float32) for key in ("mflops", "ms", "gb")}
        for node in np.unique(tree.ends[tree.ends >= 0]):
            stages = tree.stages(node)
            for i, n in enumerate(sizes):
                found = price(stages, n, self.clock)
                for key, table in cost.items():
                    table[node, i] = found[key]
        # every path ends at the last layer, so encoding the query costs the same on all of them
        encode = price([Stage(p.width, layer=p.n_layers)], p.n, self.clock, self.geometry)["encode_mflops"]
        nodes = {"ends": tree.ends, "before": tree.before, "layer": tree.layer, "dim": tree.dim}
        about = {"n": p.n, "layers": p.n_layers, "dims": p.dims, "width": p.width}
        about["encode"] = None if np.isnan(encode) else encode
        return {**nodes, "depth": np.minimum(tree.depth, p.n), **cost, **about}

    def _models(self, walked: Mapping[str, Mapping[str, np.ndarray]]) -> tuple[dict[str, Any], np.ndarray]:
        """Of each model the grid, what every path finds, and its best documents, from 1 (0: none) among those that are
        shown of any model, whose rows come second."""
        rows = np.unique(np.concatenate([found["best"].ravel() for found in walked.values()]))
        rows = rows[rows >= 0]
        models = {}
        for name, found in walked.items():
            models[name] = {key: found[key].astype(np.float32) for key in ("recall", "ndcg", "kept")}
            models[name]["place"] = found["place"]
            models[name]["best"] = np.where(found["best"] < 0, 0, np.searchsorted(rows, found["best"]) + 1)
            models[name]["grid"] = self.paths.grid(name).astype(np.float32)
        return models, rows
