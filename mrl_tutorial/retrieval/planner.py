"""The cheapest way to search that keeps the quality: a search over layers, dimensions, depths, types and engines.

Plans are chosen on the dev queries and reported on the test queries. The longest shortlist holds every shorter one, and
a document's score in a rerank is the same in all of them. So each first stage searches once, and each rerank scores all
documents once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.evaluation import metrics
from mrl_tutorial.evaluation.embeddings import Progress, check_embeddings, embed_task, meant
from mrl_tutorial.evaluation.statistics import pareto
from mrl_tutorial.grid import check_cells
from mrl_tutorial.retrieval.indexes import check_vectors
from mrl_tutorial.retrieval.retriever import Retriever
from mrl_tutorial.retrieval.stages import COSTS, Plan, PlanConfig, PlanResult, Stage, check_stages
from mrl_tutorial.retrieval.timing import RACES, milliseconds
from mrl_tutorial.tasks.task import prepared
from mrl_tutorial.topk import SCORES, inverse_lengths, top_columns, unit

RESAMPLED = 1000  # times that the queries are drawn again
TEXTS = 32  # queries whose encoding is timed


def embed_splits(task: Any, encoder: Any, *, precision: str = "auto", progress: Progress | None = None) -> dict:
    """{"dev": ..., "test": ...}, each as `embed_task` gives it: what `plan_retrieval` needs."""
    task, encoder = meant(task, encoder)
    task = prepared(task, "dev", "test")
    return {split: embed_task(task, encoder, split, precision, progress=progress) for split in ("dev", "test")}


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
    """The cheapest plan (layers, dimensions, depth, types, engine) that keeps `target` of full quality on dev and, with
    the chance that the config asks for, on as many other queries as test has.

    embeddings: {"dev", "test"}, each {"queries" (L, Q, D), "documents" (L, N, D)}, as `embed_splits` gives them.
    encoder: what made them, or is to make them: vectors are compared as it does it, and its encoding of a query counts
    when ms are the cost. config, changes: `PlanConfig`. Raises InputError before any search for a task that is not
    retrieval, an unknown setting, metric, cost, cell or engine, a target outside (0, 1], embeddings of another shape.

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
    config = replace(config, cosine=metrics.by_cosine(config.cosine, encoder))
    dev, test = (Judged.of(task, embeddings, split, config.metric) for split in ("dev", "test"))
    if not 0 < target <= 1:
        raise InputError(f"target {target} is impossible: give a share above 0, at most 1")
    for what, value, known in (("cost", config.cost, COSTS), ("race", config.race, RACES)):
        if value not in known:
            raise InputError(f"{what} {value!r} is unknown: choose one of {', '.join(known)}")
    texts = [task.queries[name] for name in task.judged("dev")[:TEXTS]]
    clock = cache(partial(_encoding, encoder, texts, config.race)) if encoder and config.cost == "ms" else None
    trial = _Trial(dev, config, Chance(target, dev.queries.shape[1], test.queries.shape[1]), clock)
    tried = list(trial.plans(progress))
    full, cost = tried[0], config.cost
    enough = [full, *(plan for plan in tried if plan.dev >= target * full.dev and plan.chance >= config.chance)]
    chosen = min(enough, key=lambda plan: (getattr(plan, cost), -plan.dev))
    front = [tried[i] for i in pareto([getattr(plan, cost) for plan in tried], [plan.dev for plan in tried])]
    found = {}
    for plan in dict.fromkeys([*front, chosen, full]):
        retriever = trial.base.with_stages(plan.stages)
        quality = [part.items(retriever.search(part.queries, part.k).rows).mean() for part in (dev, test)]
        found[plan] = replace(trial.timed(plan), dev=float(quality[0]), test=float(quality[1]))
    best, layers = tuple(found[plan] for plan in front), len(dev.documents)
    return PlanResult(task.name, target, config, dev.k, layers, found[chosen], found[full], best, tuple(tried))


@dataclass(frozen=True)
class Judged:
    """One split's vectors and judgments. queries (L, Q, D), documents (L, N, D); k: the metric's cut-off."""

    queries: np.ndarray
    documents: np.ndarray
    judgments: metrics.Judgments
    metric: str
    k: int

    @classmethod
    def of(cls, task: Any, embeddings: Mapping, split: str, metric: str) -> Judged:
        """A retrieval task's split. Raises InputError for another task, and embeddings that do not fit it."""
        if task.kind != "retrieval":
            raise InputError(f"a {task.kind!r} task has no documents to search: give a retrieval task")
        k = metrics.parse_metric(metric)[1]
        if k is None:
            raise InputError(f"measure {metric!r} looks at every document: give a cut-off, as in {metric}@10")
        if split not in embeddings:
            raise InputError(f"embeddings lack the split {split!r}: give dev and test, as embed_splits does")
        task = prepared(task, *embeddings)  # splits that are used together do not overlap
        ids = task.judged(split)
        judgments = metrics.judge(ids, list(task.corpus), task.qrels)
        parts = check_embeddings(embeddings[split], {"queries": len(ids), "documents": len(task.corpus)})
        for layer, vectors in enumerate(parts["queries"], start=1):
            check_vectors(vectors, f"{split} queries, layer {layer}")
        return cls(parts["queries"], parts["documents"], judgments, metric, k)

    def items(self, rows: np.ndarray) -> np.ndarray:
        """The measure of each query, (Q,), where `rows` (Q, k) were found, best first."""
        return metrics.retrieval_metric(self.metric, metrics.found_ranks(rows, self.judgments), self.judgments)


class Chance:
    """How likely a plan keeps a target on `others` new queries, by drawing the measured ones and the new ones again."""

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
        self.n_layers, self.n, self.width = dev.documents.shape
        self.dev, self.config, self.chance, self.encoding = dev, config, chance, encoding
        layers = self.n_layers if config.layers == "last" else config.layers
        self.layers, self.dims = check_cells(layers, config.dims, self.n_layers, self.width)
        self.asking = [None, *config.query_layers]
        for engine, later, asking in product(config.engines, config.reranking, self.asking):
            one = Stage(self.dims[0], 1, engine=engine, query_layer=asking)
            check_stages([one, Stage(self.width, engine=later)], self.n_layers, self.width)
        self.depths = sorted({min(depth, self.n) for depth in config.depths if depth >= min(dev.k, self.n)})
        self.base = Retriever(dev.documents, [Stage(self.width)], cosine=config.cosine, threads=config.threads)
        self.exact = self.base.search(dev.queries, dev.k).rows
        self.full = dev.items(self.exact)

    def plans(self, progress: Progress | None) -> Iterator[Plan]:
        """Exact search at full size, then every plan."""
        dev, last = self.dev, self.n_layers
        yield self._priced(self.base.stages, self.exact)
        firsts = [
            Stage(dim, None, layer, engine, asking)
            for layer, dim, engine, asking in product(self.layers, self.dims, self.config.engines, self.asking)
            if asking is None or layer == last
        ]
        longest, shortlists = max(self.depths, default=dev.k), {}
        for done, first in enumerate(firsts, start=1):
            shortlists[first] = rows = self.base.with_stages([first]).search(dev.queries, longest).rows
            yield self._priced([first], rows[:, : dev.k])
            if progress is not None:
                progress(done, len(firsts), "planning")
        for to, later, asking in product(sorted({*self.layers, last}), self.config.reranking, self.asking):
            second = Stage(self.width, None, to, later, asking)
            # a stage after itself would only give the same scores again
            mine = [f for f in firsts if f.query_layer == asking and to in (f.layer, last) and f != second]
            for (first, depth), rows in self._reranked(second, {f: shortlists[f] for f in mine}).items():
                yield self._priced([replace(first, depth=depth), second], rows)

    def _reranked(self, stage: Stage, lists: Mapping[Stage, np.ndarray]) -> dict[tuple[Stage, int], np.ndarray]:
        """The k best rows (Q, k) of every depth of every first stage's shortlist (Q, longest), by float32 scores."""
        k, q = min(self.dev.k, self.n), self.dev.queries[stage.query_row]
        x = self.base.with_stages([replace(self.base.stages[0], depth=self.n), stage]).rerankers[0](np.arange(self.n))
        lengths = inverse_lengths(x) if self.base.cosine else 1
        found = {one: np.empty((len(q), k), np.int64) for one in product(lists, self.depths)}
        step = max(1, SCORES // self.n)
        for part in (slice(start, start + step) for start in range(0, len(q), step)):
            scores = (unit(q[part]) if self.base.cosine else q[part]) @ x.T * lengths  # (b, N)
            for (first, depth), best in found.items():
                short = np.sort(lists[first][part, :depth], axis=1)  # ties rank in the order of rows
                own = np.where(short < 0, -np.inf, np.take_along_axis(scores, short, 1))
                best[part] = np.take_along_axis(short, top_columns(own, k), 1)
        return found

    def _priced(self, stages: Sequence[Stage], rows: np.ndarray) -> Plan:
        retriever, items = self.base.with_stages(stages), self.dev.items(rows)
        held, flops, read = retriever.cost
        plan = Plan(retriever.stages, float(items.mean()), self.chance.of(items, self.full), flops, read, held)
        if self.config.cost == "ms":
            return self.timed(plan)
        if np.isnan(getattr(plan, self.config.cost)):
            raise InputError(f"the {self.config.cost} of {plan} are not known: plan by ms")
        return plan

    def timed(self, plan: Plan) -> Plan:
        """The plan with its milliseconds, where it lacks them."""
        if plan.ms is not None:
            return plan
        retriever = self.base.with_stages(plan.stages)
        took = milliseconds(partial(retriever.search, k=self.dev.k), self.dev.queries, self.config.race)
        return replace(plan, ms=took + (self.encoding(retriever.query_layer) if self.encoding else 0.0))


def _encoding(encoder: Any, texts: Sequence[str], race: str, layer: int) -> float:
    """Milliseconds of encoding a query up to a layer (0: the last), of those alone or together."""

    def encode(numbers: np.ndarray) -> None:
        asked = [texts[i] for i in numbers.ravel()]
        encoder.encode_layers(asked, prompt="query", layers=[layer or encoder.n_layers], cache=False)

    return milliseconds(encode, np.arange(len(texts))[:, None], race, repeats=2 if race == "single" else 1)
