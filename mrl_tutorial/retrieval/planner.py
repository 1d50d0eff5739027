"""The cheapest way to search that keeps the quality: a search over layers, dimensions, shortlists, types and engines.

Chosen on the dev queries, reported on the test queries. A shortlist of the longest K holds every shorter one, and its
documents' scores at a rescoring cell do not depend on K: so each first stage and each rescoring cell is scored once,
and every K is a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import check_embeddings, embed_task
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.grid import check_cells
from mrl_tutorial.retrieval.costs import Geometry, encode_flops
from mrl_tutorial.retrieval.engines import Flat
from mrl_tutorial.retrieval.retriever import Retriever, check_vectors
from mrl_tutorial.retrieval.stages import Stage, check_stages

Progress = Callable[[int, int, str], None]
DENSE = 2**27  # scores held while planning: 512 MB
COSTS = ("flops", "bytes_read", "bytes_held")


@dataclass(frozen=True)
class Plan:
    """A path and what it gives. dev, test: the measure (test None where it was not asked for). flops: multiply-adds of
    one query, the query's encoding included where a geometry was given. bytes_read: by one query. bytes_held: of all
    that must be at hand."""

    stages: tuple[Stage, ...]
    dev: float
    flops: float
    bytes_read: float
    bytes_held: int
    test: float | None = None

    def __str__(self) -> str:
        return "; ".join(str(stage) for stage in self.stages)


@dataclass(frozen=True)
class Planned:
    """What `plan_retrieval` found. chosen: the cheapest plan within the target on dev. full: exact search of the full
    size. front: plans that no other beats in both cost and dev quality, cheapest first. All three carry their test
    quality. tried: every plan, test left out. kept: the chosen plan's share of full quality, on dev and test."""

    task: str
    metric: str
    target: float
    cost: str
    chosen: Plan
    full: Plan
    front: tuple[Plan, ...]
    tried: tuple[Plan, ...]

    @property
    def kept(self) -> tuple[float, float]:
        return self.chosen.dev / self.full.dev, self.chosen.test / self.full.test

    def as_text(self) -> str:
        """The front as a table, the chosen plan marked."""
        lines = [f"{self.task}: {self.metric}, {self.target:.1%} of full quality on dev, cheapest by {self.cost}",
                 f"  {'dev':>6} {'test':>6} {'MFLOPs':>9} {'MB read':>8} {'MB held':>8}"]  # fmt: skip
        for plan in dict.fromkeys([*self.front, self.chosen, self.full]):
            mark = "*" if plan == self.chosen else " "
            lines.append(
                f"{mark} {plan.dev:>6.4f} {plan.test:>6.4f} {plan.flops / 1e6:>9.3f} {plan.bytes_read / 1e6:>8.3f} "
                f"{plan.bytes_held / 1e6:>8.2f}  {plan}"
            )
        return "\n".join(lines)


def embed_splits(task: Any, encoder: Any, *, precision: str = "auto", progress: Progress | None = None) -> dict:
    """{"dev": ..., "test": ...}: what `plan_retrieval` needs, each as embedding.embed_task gives it."""
    return {split: embed_task(task, encoder, split, precision, progress=progress) for split in ("dev", "test")}


def plan_retrieval(
    task: Any,
    embeddings: Mapping[str, Mapping[str, np.ndarray]],
    target: float = 0.99,
    *,
    metric: str = "ndcg@10",
    cost: str = "flops",
    layers: Sequence[int] | str | None = "last",
    dims: Sequence[int] | str | None = None,
    rescore_dims: Sequence[int] | None = None,
    keeps: Sequence[int] = (10, 20, 50, 100, 200, 400),
    engines: Sequence[str] = ("float32", "int8", "binary"),
    rescoring: Sequence[str] = ("float32", "int8"),
    geometry: Geometry | None = None,
    tokens: int = 16,
    cosine: bool = True,
    threads: int = 1,
    progress: Progress | None = None,
) -> Planned:
    """The cheapest plan (layer, Ds, K, Dr, type, engine) that keeps `target` of full quality on the dev queries.

    embeddings: {"dev", "test"}, each {"queries" (L, Q, D), "documents" (L, N, D)} as `embed_splits` gives them; queries
    without a relevant document are left out, as everywhere. metric: with a cut-off. cost: "flops" (multiply-adds; a
    binary engine counts 64-bit words), "bytes_read" (by one query) or "bytes_held". layers: of the first stage
    ("last", "all", or a list); rescoring is at that layer or the last. dims: of the first stage (None:
    grid.default_dims). rescore_dims: None for the full width. geometry: adds the encoding of a query of `tokens` tokens
    to its deepest layer. One-stage plans, at every layer and dimension, compete as well. Raises InputError before any
    search for a task that is not retrieval, an unknown metric, cost, cell or engine, a target outside (0, 1], and
    embeddings of another shape.
    """
    dev, test = (_Judged.of(task, embeddings, split, metric) for split in ("dev", "test"))
    if not 0 < target <= 1:
        raise InputError(f"target {target} is impossible: give a share above 0, at most 1")
    if cost not in COSTS:
        raise InputError(f"cost {cost!r} is unknown: choose one of {', '.join(COSTS)}")
    if not keeps or min(keeps) < 1 or not rescoring or not engines:
        raise InputError("nothing to choose from: give keeps from 1 on, engines and rescoring")
    n_layers, n, width = dev.documents.shape
    layers, dims = check_cells([n_layers] if layers == "last" else layers, dims, n_layers, width)
    _, wide = check_cells(None, [width] if rescore_dims is None else rescore_dims, n_layers, width)
    for engine, later, dr in product(engines, rescoring, wide):
        check_stages([Stage(dims[0], 1, engine=engine), Stage(dr, engine=later)], n_layers, width)
    keeps = sorted({min(keep, n) for keep in keeps if keep >= min(dev.k, n)})
    base = Retriever(dev.documents, [Stage(width)], cosine=cosine, threads=threads)
    firsts = [(layer, dim, engine) for layer in layers for dim in dims for engine in engines]

    def encoding(stages: Sequence[Stage]) -> int:
        deepest = max(stage.layer or n_layers for stage in stages)
        return 0 if geometry is None else encode_flops(deepest, geometry.width, geometry.intermediate, tokens)

    def priced(retriever: Retriever, quality: float) -> Plan:
        return Plan(retriever.stages, quality, retriever.flops() + encoding(retriever.stages),
                    retriever.bytes_read(), sum(retriever.nbytes.values()))  # fmt: skip

    dense: dict[tuple, np.ndarray] = {}  # rescoring cell -> scores of all documents (Q, N), where they fit

    def rescored(last: Flat, cell: tuple, rows: np.ndarray) -> np.ndarray:
        """Scores (Q, C) of the shortlists `rows` (Q, C) at a rescoring cell."""
        q = last.prepare(dev.queries[cell[0] - 1]).astype(np.float32)
        if len(q) * n > DENSE:
            return last.rough(q, rows)
        if cell not in dense:
            if (len(dense) + 1) * len(q) * n > DENSE:
                dense.clear()
            dense[cell] = Flat(last.values, last.dim, scale=last.scale, cosine=cosine, norms=True).block(q, 0, n)
        return np.take_along_axis(dense[cell], rows, 1)

    full = priced(base, dev.measure(base.search(dev.queries, dev.k).rows))
    tried = [full]
    for done, (layer, dim, engine) in enumerate(firsts, start=1):
        first = base.with_stages([Stage(dim, layer=layer, engine=engine)])
        # a scan settles ties and rounding for the length it is asked for: the longest holds the shorter ones
        rows = first.search(dev.queries, max(keeps, default=dev.k)).rows
        tried.append(priced(first, dev.measure(rows[:, : dev.k])))
        for to, dr, dtype in ((to, dr, dtype) for to in {layer, n_layers} for dr in wide for dtype in rescoring):
            if (to, dr, dtype) == (layer, dim, engine):
                continue  # the same scores again
            path = [Stage(dim, n, layer, engine), Stage(dr, layer=to, engine=dtype)]
            with base.workers.alone():
                scores = rescored(base.with_stages(path).engines[1], (to, dr, dtype), rows)
            order = np.lexsort((rows, -scores))  # places in the shortlist, best first, ties in the order of rows
            for keep in keeps:
                # in rescored order, the first k that the shortlist of `keep` holds
                inside = np.argsort(order >= keep, axis=1, kind="stable")[:, : dev.k]
                found = np.take_along_axis(rows, np.take_along_axis(order, inside, 1), 1)
                stages = [replace(path[0], keep=keep), path[1]]
                tried.append(priced(base.with_stages(stages), dev.measure(found)))
        if progress is not None:
            progress(done, len(firsts), "planning")

    def reported(plan: Plan) -> Plan:
        retriever = base.with_stages(plan.stages)
        found = [part.measure(retriever.search(part.queries, part.k).rows) for part in (dev, test)]
        return replace(plan, dev=found[0], test=found[1])

    good = [plan for plan in tried if plan.dev >= target * full.dev]
    chosen = min(good, key=lambda plan: (getattr(plan, cost), -plan.dev))
    front = [tried[i] for i in pareto([getattr(plan, cost) for plan in tried], [plan.dev for plan in tried])]
    found = {plan: reported(plan) for plan in dict.fromkeys([*front, chosen, full])}
    return Planned(
        task.name, metric, target, cost, found[chosen], found[full], tuple(found[plan] for plan in front), tuple(tried)
    )  # fmt: skip


def measure_path(task: Any, embeddings: Mapping[str, Mapping[str, np.ndarray]], stages: Sequence[Stage],
                 split: str = "test", *, metric: str = "ndcg@10", cosine: bool = True,
                 threads: int = 1) -> np.ndarray:  # fmt: skip
    """The measure of every query of `split` when it goes down a path: (Q,), to be averaged or compared in pairs.

    embeddings: as in `plan_retrieval`, at least for that split. Raises InputError as plan_retrieval and Retriever.
    """
    part = _Judged.of(task, embeddings, split, metric)
    found = Retriever(part.documents, stages, cosine=cosine, threads=threads).search(part.queries, part.k)
    return part.items(found.rows)


@dataclass(frozen=True)
class _Judged:
    """One split's vectors and judgements."""

    queries: np.ndarray
    documents: np.ndarray
    judged: metrics.Judgements
    metric: str
    k: int

    @classmethod
    def of(cls, task: Any, embeddings: Mapping, split: str, metric: str) -> _Judged:
        if task.kind != "retrieval":
            raise InputError(f"a {task.kind!r} task has no documents to search: give a retrieval task")
        k = metrics.cutoff(metric)
        if split not in embeddings:
            raise InputError(f"embeddings lack the split {split!r}: give dev and test, as embed_splits does")
        ids = task.judged(split)
        judged = metrics.judge(ids, list(task.corpus), task.qrels)
        parts = check_embeddings(embeddings[split], {"queries": len(ids), "documents": len(task.corpus)})
        for layer, vectors in enumerate(parts["queries"], start=1):
            check_vectors(vectors, f"{split} queries, layer {layer}")
        return cls(parts["queries"], parts["documents"], judged, metric, k)

    def measure(self, rows: np.ndarray) -> float:
        """The mean measure of found rows (Q, k), best first."""
        return float(self.items(rows).mean())

    def items(self, rows: np.ndarray) -> np.ndarray:
        """The measure of each query, (Q,)."""
        return metrics.retrieval_metric(self.metric, metrics.found_ranks(rows, self.judged), self.judged)
