"""The cheapest way to search that keeps the quality: a search over layers, dimensions, depths, types and engines.

Plans are chosen on the dev queries and reported on the test queries. The longest shortlist holds every shorter one, and
the scores of its documents do not depend on its length. So each first stage and each rerank is scored once, and every
depth is a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.evaluation.embeddings import meant
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.grid import check_cells
from mrl_tutorial.retrieval.costs import encode_flops
from mrl_tutorial.retrieval.measure import Judged, Progress, embed_splits
from mrl_tutorial.retrieval.plans import COSTS, Plan, PlanConfig, PlanResult
from mrl_tutorial.retrieval.retriever import Retriever, by_cosine
from mrl_tutorial.retrieval.stages import Stage, check_stages
from mrl_tutorial.retrieval.timing import RACES, milliseconds
from mrl_tutorial.topk import inverse_lengths, prepared

DENSE = 2**27  # scores held while planning: 512 MB
RESAMPLED = 1000  # times that the queries are drawn again
TEXTS = 32  # queries whose encoding is timed


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
    """The cheapest plan (layers, dimensions, depth, types, engine) that keeps `target` of full quality.

    It does so on dev, and by a bootstrap with the chance that the config asks for on as many queries as test has; as
    the cheapest of many it is a little lucky all the same. embeddings: {"dev", "test"}, each {"queries" (L, Q, D),
    "documents" (L, N, D)} as `embed_splits` gives them; queries without a relevant document are left out. encoder: what
    made them: vectors are compared as it does it, and its encoding of a query counts when ms are the cost; without
    embeddings it makes them. config, changes: `PlanConfig`. Plans of one stage compete as well. Raises InputError
    before any search for a task that is not retrieval, an unknown setting, metric, cost, cell or engine, a target
    outside (0, 1], and embeddings of another shape.

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
    for what, value, known in (("cost", config.cost, COSTS), ("race", config.race, RACES)):
        if value not in known:
            raise InputError(f"{what} {value!r} is unknown: choose one of {', '.join(known)}")
    texts = [task.queries[name] for name in task.judged("dev")[:TEXTS]]
    encoding = None if encoder is None or config.cost != "ms" else partial(_encoding, encoder, texts, config.race)
    trial = _Trial(dev, config, Chance(target, dev.queries.shape[1], test.queries.shape[1]), encoding)
    tried = list(trial.plans(progress))
    full, cost = tried[0], config.cost
    enough = [full, *(plan for plan in tried if plan.dev >= target * full.dev and plan.chance >= config.chance)]
    chosen = min(enough, key=lambda plan: (getattr(plan, cost), -plan.dev))
    front = [tried[i] for i in pareto([getattr(plan, cost) for plan in tried], [plan.dev for plan in tried])]
    found = {}
    for plan in dict.fromkeys([*front, chosen, full]):
        retriever = trial.base.with_stages(plan.stages)
        on_dev, on_test = (float(part.search(retriever).mean()) for part in (dev, test))
        found[plan] = replace(trial.timed(plan), dev=on_dev, test=on_test)
    best = tuple(found[plan] for plan in front)
    shape = dev.k, len(dev.documents)
    return PlanResult(task.name, target, config, *shape, found[chosen], found[full], best, tuple(tried))


class Chance:
    """How likely a plan keeps a target on `others` new queries, by drawing the measured ones and the new ones again.

    >>> Chance(0.9, 4, 4).of(np.array([0.5, 1.0, 0.5, 1.0]), np.array([0.5, 1.0, 0.5, 1.0]))
    1.0
    """

    def __init__(self, target: float, queries: int, others: int):
        rng, even = np.random.default_rng(0), np.full(queries, 1 / queries)
        drawn = [rng.multinomial(n, even, RESAMPLED) / n for n in (queries, others)]  # (R, Q) each
        self.target, self.weights = target, drawn[0] + drawn[1] - 1 / queries

    def of(self, items: np.ndarray, full: np.ndarray) -> float:
        """items, full: the measure of each query, (Q,), of the plan and of the full search."""
        return float((self.weights @ (items - self.target * full) >= -1e-12).mean())


class _Trial:
    """All plans of a config, tried on one split."""

    def __init__(self, dev: Judged, config: PlanConfig, chance: Chance, encoding: Callable[[int], float] | None):
        if not config.depths or min(config.depths) < 1 or not config.reranking or not config.engines:
            raise InputError("nothing to choose from: give depths from 1 on, engines and reranking")
        n_layers, self.n, width = dev.documents.shape
        self.dev, self.config, self.chance, self.encoding = dev, config, chance, encoding
        layers = n_layers if config.layers == "last" else config.layers
        self.layers, self.dims = check_cells(layers, config.dims, n_layers, width)
        widths = width if config.rerank_dims is None else config.rerank_dims
        _, self.rerank_dims = check_cells(None, widths, n_layers, width)
        self.asking = [None, *config.query_layers]
        for engine, later, dim, asking in product(config.engines, config.reranking, self.rerank_dims, self.asking):
            one = Stage(self.dims[0], 1, engine=engine, query_layer=asking)
            check_stages([one, Stage(dim, engine=later)], n_layers, width)
        shortest = min(dev.k, self.n)
        self.depths = sorted({min(depth, self.n) for depth in config.depths if depth >= shortest})
        self.base = Retriever(dev.documents, [Stage(width)], cosine=config.cosine, threads=config.threads)
        self.full = dev.items(self.base.search(dev.queries, dev.k).rows)
        self._dense: dict[Stage, np.ndarray] = {}  # rerank -> scores of all documents (Q, N), as many as fit
        self._encoded: dict[int, float] = {}  # layer -> milliseconds

    def plans(self, progress: Progress | None) -> Iterator[Plan]:
        """Exact search at full size, then every plan."""
        dev, n_layers = self.dev, len(self.dev.documents)
        yield self._priced(self.base.stages, self.base.search(dev.queries, dev.k).rows)
        firsts = list(product(self.layers, self.dims, self.config.engines, self.asking))
        for done, (layer, dim, engine, asking) in enumerate(firsts, start=1):
            if asking is None or layer == n_layers:
                yield from self._plans(Stage(dim, None, layer, engine, asking))
            if progress is not None:
                progress(done, len(firsts), "planning")

    def _plans(self, first: Stage) -> Iterator[Plan]:
        """Those that begin with a stage: alone, and with every depth and rerank."""
        dev, n_layers = self.dev, len(self.dev.documents)
        # a search settles ties for the length that it is asked for: the longest list holds the shorter ones
        longest = max(self.depths, default=dev.k)
        rows = self.base.with_stages([first]).search(dev.queries, longest).rows
        yield self._priced([first], rows[:, : dev.k])
        for to, dr, later in product({first.layer, n_layers}, self.rerank_dims, self.config.reranking):
            if (to, dr, later) == (first.layer, first.dim, first.engine):
                continue  # the same scores again
            second = Stage(dr, None, to, later, first.query_layer)
            order = np.lexsort((rows, -self._scores(second, rows)))  # places in the shortlist, best first
            for depth in self.depths:
                # in reranked order, the first k that the shortlist of `depth` holds
                inside = np.argsort(order >= depth, axis=1, kind="stable")[:, : dev.k]
                found = np.take_along_axis(rows, np.take_along_axis(order, inside, 1), 1)
                yield self._priced([replace(first, depth=depth), second], found)

    def _scores(self, stage: Stage, rows: np.ndarray) -> np.ndarray:
        """float32 scores (Q, C) of the shortlists `rows` (Q, C) in a rerank; -inf where there is no document."""
        vectors = self.base.with_stages([replace(self.base.stages[0], depth=self.n), stage]).rerankers[0]
        q = prepared(self.dev.queries[stage.query_row][:, : stage.dim], self.base.cosine).astype(np.float32)

        def scored(query: np.ndarray, documents: np.ndarray) -> np.ndarray:
            return query @ documents.T * (inverse_lengths(documents) if self.base.cosine else 1)

        if stage not in self._dense and (len(self._dense) + 1) * len(q) * self.n <= DENSE:
            self._dense[stage] = scored(q, vectors(np.arange(self.n)))
        if stage in self._dense:
            scores = np.take_along_axis(self._dense[stage], rows, 1)
        else:
            scores = np.stack([scored(query, vectors(own)) for query, own in zip(q, rows, strict=True)])
        return np.where(rows < 0, -np.inf, scores)

    def _priced(self, stages: Sequence[Stage], rows: np.ndarray) -> Plan:
        retriever, geometry, items = self.base.with_stages(stages), self.config.geometry, self.dev.items(rows)
        flops, held = retriever.flops(), sum(retriever.nbytes.values())
        if geometry is not None:
            size = geometry.width, geometry.intermediate, self.config.tokens
            flops += encode_flops(retriever.query_layer or geometry.n_layers, *size)
        chance = self.chance.of(items, self.full)
        plan = Plan(retriever.stages, float(items.mean()), chance, flops, retriever.bytes_read(), held)
        if self.config.cost != "ms" and np.isnan(getattr(plan, self.config.cost)):
            raise InputError(f"the {self.config.cost} of {plan} are not known: plan by ms")
        return self.timed(plan) if self.config.cost == "ms" else plan

    def timed(self, plan: Plan) -> Plan:
        """The plan with its milliseconds, where it lacks them."""
        if plan.ms is not None:
            return plan
        retriever, layer = self.base.with_stages(plan.stages), 0
        took = milliseconds(partial(retriever.search, k=self.dev.k), self.dev.queries, self.config.race)
        if self.encoding is not None:
            layer = retriever.query_layer
            if layer not in self._encoded:
                self._encoded[layer] = self.encoding(layer)
        more = self._encoded.get(layer, 0.0)
        return replace(plan, ms=took + more, encode_ms=more)


def _encoding(encoder: Any, texts: Sequence[str], race: str, layer: int) -> float:
    """Milliseconds of encoding a query up to a layer, of those alone or together."""
    numbers = np.arange(len(texts))[:, None]
    return milliseconds(
        lambda q: encoder.encode_layers(
            [texts[i] for i in q.ravel()], prompt="query", layers=[layer or encoder.n_layers], cache=False
        ),
        numbers,
        race,
        repeats=2 if race == "single" else 1,
    )
