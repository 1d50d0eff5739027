"""The cheapest way to search that keeps the quality: a search over layers, dimensions, depths, types and engines.

Plans are chosen on the dev queries and reported on the test queries. The longest shortlist holds every shorter one, and
the scores of its documents do not depend on its length. So each first stage and each rerank is scored once, and every
depth is a mask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.evaluation.embeddings import meant
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.grid import check_cells
from mrl_tutorial.retrieval.costs import Geometry, encode_flops
from mrl_tutorial.retrieval.measure import Judged, Progress, embed_splits
from mrl_tutorial.retrieval.retriever import Retriever, by_cosine
from mrl_tutorial.retrieval.stages import Stage, check_stages
from mrl_tutorial.topk import inverse_lengths, prepared

DENSE = 2**27  # scores held while planning: 512 MB
COSTS = ("flops", "bytes_read", "bytes_held")


@dataclass(frozen=True)
class PlanConfig:
    """Which plans are tried, and what counts as cheap.

    metric: with a cut-off. cost: "flops" (multiply-adds; a binary engine counts 64-bit words), "bytes_read" (by one
    query) or "bytes_held". layers: of the first stage ("last", "all" or a list); a rerank is at that layer or the last.
    dims: of the first stage (None: grid.default_dims). rerank_dims: None for the full width. depths: of the first
    stage. engines, reranking: of the two stages. geometry: adds the encoding of a query of `tokens` tokens, up to the
    deepest layer that the plan needs. cosine: None for what the encoder does, where it is given, else True.
    """

    metric: str = "ndcg@10"
    cost: str = "flops"
    layers: Sequence[int] | str | None = "last"
    dims: Sequence[int] | str | None = None
    rerank_dims: Sequence[int] | None = None
    depths: Sequence[int] = (10, 20, 50, 100, 200, 400)
    engines: Sequence[str] = ("float32", "int8", "binary")
    reranking: Sequence[str] = ("float32", "int8")
    geometry: Geometry | None = None
    tokens: int = 16
    cosine: bool | None = None
    threads: int = 1


@dataclass(frozen=True)
class Plan:
    """A path and what it gives. dev, test: the measure (test: None where it was not asked for). flops: multiply-adds of
    one query, with its encoding where a geometry was given. bytes_read: by one query. bytes_held: kept in memory."""

    stages: tuple[Stage, ...]
    dev: float
    flops: float
    bytes_read: float
    bytes_held: int
    test: float | None = None

    def __str__(self) -> str:
        return "; ".join(str(stage) for stage in self.stages)


@dataclass(frozen=True)
class PlanResult:
    """What `plan_retrieval` found. chosen: the cheapest plan within the target on dev. full: exact search at full size.
    front: plans that no other beats in both cost and dev quality, cheapest first. These carry their test quality.
    tried: every plan, without test."""

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
        """The chosen plan's share of full quality, on dev and test."""
        chosen, full = self.chosen, self.full
        return chosen.dev / full.dev, (chosen.test or 0.0) / (full.test or float("nan"))

    def as_text(self) -> str:
        """The front as a table, the chosen plan marked."""
        lines = [
            f"{self.task}: {self.metric}, {self.target:.1%} of full quality on dev, cheapest by {self.cost}",
            f"  {'dev':>6} {'test':>6} {'MFLOPs':>9} {'MB read':>8} {'MB held':>8}",
        ]
        for plan in dict.fromkeys([*self.front, self.chosen, self.full]):
            mark = "*" if plan == self.chosen else " "
            lines.append(
                f"{mark} {plan.dev:>6.4f} {plan.test:>6.4f} {plan.flops / 1e6:>9.3f} {plan.bytes_read / 1e6:>8.3f} "
                f"{plan.bytes_held / 1e6:>8.2f}  {plan}"
            )
        return "\n".join(lines)


def plan_retrieval(
    task: Any,
    embeddings: Mapping[str, Mapping[str, np.ndarray]] | None = None,
    target: float = 0.99,
    config: PlanConfig | None = None,
    *,
    encoder: Any = None,
    progress: Progress | None = None,
    **changes: Any,
) -> PlanResult:
    """The cheapest plan (layers, dimensions, depth, types, engine) that keeps `target` of full quality on dev.

    embeddings: {"dev", "test"}, each {"queries" (L, Q, D), "documents" (L, N, D)} as `embed_splits` gives them; queries
    without a relevant document are left out. encoder: what made them, so that they are compared as it compares its
    vectors; without embeddings it makes them. config, changes: `PlanConfig`. Plans of one stage compete as well. Raises
    InputError before any search for a task that is not retrieval, an unknown setting, metric, cost, cell or engine, a
    target outside (0, 1], and embeddings of another shape.

    >>> from mrl_tutorial.tasks.types import RetrievalTask
    >>> names = [str(i) for i in range(9)]
    >>> qrels, splits = {name: {name: 1} for name in names}, {"dev": names, "test": names}
    >>> task = RetrievalTask("digits", "made", dict.fromkeys(names, ""), dict.fromkeys(names, ""), qrels, splits)
    >>> x = np.random.default_rng(0).normal(size=(1, 9, 8)).astype("float32")
    >>> parts = {split: {"queries": x, "documents": x} for split in ("dev", "test")}
    >>> print(plan_retrieval(task, parts, dims=[4, 8], engines=["float32"], reranking=["float32"]).chosen)
    layer 1, 4 dims float32
    """
    config = with_changes(config or PlanConfig(), changes)
    if encoder is not None:
        task, encoder = meant(task, encoder)
        embeddings = embed_splits(task, encoder, progress=progress) if embeddings is None else embeddings
    if embeddings is None:
        raise InputError("there is nothing to plan for: give embeddings, as embed_splits makes them, or an encoder")
    config = replace(config, cosine=by_cosine(config.cosine, encoder))
    dev, test = (Judged.of(task, embeddings, split, config.metric) for split in ("dev", "test"))
    if not 0 < target <= 1:
        raise InputError(f"target {target} is impossible: give a share above 0, at most 1")
    if config.cost not in COSTS:
        raise InputError(f"cost {config.cost!r} is unknown: choose one of {', '.join(COSTS)}")
    trial = _Trial(dev, config)
    tried = list(trial.plans(progress))
    full, cost = tried[0], config.cost
    enough = [plan for plan in tried if plan.dev >= target * full.dev]
    chosen = min(enough, key=lambda plan: (getattr(plan, cost), -plan.dev))
    front = [tried[i] for i in pareto([getattr(plan, cost) for plan in tried], [plan.dev for plan in tried])]
    found = {}
    for plan in dict.fromkeys([*front, chosen, full]):
        retriever = trial.base.with_stages(plan.stages)
        on_dev, on_test = (float(part.search(retriever).mean()) for part in (dev, test))
        found[plan] = replace(plan, dev=on_dev, test=on_test)
    best = tuple(found[plan] for plan in front)
    return PlanResult(task.name, config.metric, target, cost, found[chosen], found[full], best, tuple(tried))


class _Trial:
    """All plans of a config, tried on one split."""

    def __init__(self, dev: Judged, config: PlanConfig):
        if not config.depths or min(config.depths) < 1 or not config.reranking or not config.engines:
            raise InputError("nothing to choose from: give depths from 1 on, engines and reranking")
        n_layers, self.n, width = dev.documents.shape
        self.dev, self.config = dev, config
        layers = n_layers if config.layers == "last" else config.layers
        self.layers, self.dims = check_cells(layers, config.dims, n_layers, width)
        widths = width if config.rerank_dims is None else config.rerank_dims
        _, self.rerank_dims = check_cells(None, widths, n_layers, width)
        for engine, later, dim in product(config.engines, config.reranking, self.rerank_dims):
            check_stages([Stage(self.dims[0], 1, engine=engine), Stage(dim, engine=later)], n_layers, width)
        shortest = min(dev.k, self.n)
        self.depths = sorted({min(depth, self.n) for depth in config.depths if depth >= shortest})
        self.base = Retriever(dev.documents, [Stage(width)], cosine=config.cosine, threads=config.threads)
        self.cosine = self.base.cosine
        self._dense: dict[Stage, np.ndarray] = {}  # rerank -> scores of all documents (Q, N), as many as fit

    def plans(self, progress: Progress | None) -> Iterator[Plan]:
        """Exact search at full size, then every plan."""
        dev, n_layers = self.dev, len(self.dev.documents)
        yield self._priced(self.base.stages, self.base.search(dev.queries, dev.k).rows)
        firsts = list(product(self.layers, self.dims, self.config.engines))
        for done, (layer, dim, engine) in enumerate(firsts, start=1):
            first = Stage(dim, None, layer, engine)
            # a search settles ties for the length that it is asked for: the longest list holds the shorter ones
            longest = max(self.depths, default=dev.k)
            rows = self.base.with_stages([first]).search(dev.queries, longest).rows
            yield self._priced([first], rows[:, : dev.k])
            for to, dr, later in product({layer, n_layers}, self.rerank_dims, self.config.reranking):
                if (to, dr, later) == (layer, dim, engine):
                    continue  # the same scores again
                second = Stage(dr, None, to, later)
                order = np.lexsort((rows, -self._scores(second, rows)))  # places in the shortlist, best first
                for depth in self.depths:
                    # in reranked order, the first k that the shortlist of `depth` holds
                    inside = np.argsort(order >= depth, axis=1, kind="stable")[:, : dev.k]
                    found = np.take_along_axis(rows, np.take_along_axis(order, inside, 1), 1)
                    yield self._priced([replace(first, depth=depth), second], found)
            if progress is not None:
                progress(done, len(firsts), "planning")

    def _scores(self, stage: Stage, rows: np.ndarray) -> np.ndarray:
        """float32 scores (Q, C) of the shortlists `rows` (Q, C) in a rerank; -inf where there is no document."""
        reranker = self.base.with_stages([replace(self.base.stages[0], depth=self.n), stage]).rerankers[0]
        q = prepared(reranker.queries(self.dev.queries[stage.row]), self.cosine).astype(np.float32)

        def scored(query: np.ndarray, documents: np.ndarray) -> np.ndarray:
            return query @ documents.T * (inverse_lengths(documents) if self.cosine else 1)

        if stage not in self._dense and (len(self._dense) + 1) * len(q) * self.n <= DENSE:
            self._dense[stage] = scored(q, reranker.vectors(np.arange(self.n)))
        if stage in self._dense:
            scores = np.take_along_axis(self._dense[stage], rows, 1)
        else:
            scores = np.stack([scored(query, reranker.vectors(own)) for query, own in zip(q, rows, strict=True)])
        return np.where(rows < 0, -np.inf, scores)

    def _priced(self, stages: Sequence[Stage], rows: np.ndarray) -> Plan:
        retriever, geometry = self.base.with_stages(stages), self.config.geometry
        flops = retriever.flops()
        if geometry is not None:
            deepest = 1 + max(stage.row for stage in retriever.stages)
            flops += encode_flops(deepest, geometry.width, geometry.intermediate, self.config.tokens)
        held = sum(retriever.nbytes.values())
        return Plan(retriever.stages, float(self.dev.items(rows).mean()), flops, retriever.bytes_read(), held)
