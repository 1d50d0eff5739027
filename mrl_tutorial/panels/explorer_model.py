"""The explorer without widgets: embeds a task once, measures every cell, ranks one query's documents, prices a cell."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.quality import embed_task, evaluate_grid
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.remember import Remembering
from mrl_tutorial.retrieval import costs

METRICS = {
    "retrieval": ("ndcg@10", "mrr@10", "map@10", "recall@100", "precision@10"),
    "sts": ("spearman",), "classification": ("1nn",), "vectors": ("recall@10",),
}  # fmt: skip
MAX_QUERY = 2000  # characters; an encoder reads a few hundred words at most
VERSION = 1  # of what is cached: a change to how quality is measured counts one up
Stage = Callable[[int, int, str], object]


@dataclass(frozen=True)
class Hit:
    """One ranked document. relevant: None where the query has no judgements. full: its rank at layer L, width D."""

    rank: int
    full: int
    document: str
    text: str
    score: float
    relevant: bool | None


@dataclass(frozen=True)
class Ranking:
    """The first documents of a query, and where its relevant ones stand: (rank here, rank with the full model)."""

    query: str
    hits: tuple[Hit, ...]
    relevant: tuple[tuple[int, int], ...]
    n_documents: int


class ExplorerModel:
    """Quality of every cell of several encoders on one task, on the split that choices are made on.

    models: one Encoder, or name -> Encoder. split: "dev" (choose on dev, report on test). max_queries caps the cost
    (drawn with `seed`). Raises InputError for a task without that split, no model, or models of different size.
    """

    def __init__(
        self,
        task,
        models: Encoder | Mapping[str, Encoder],
        *,
        split: str = "dev",
        max_queries: int = 300,
        seed: int = 0,
        precision: str = "auto",
        cache: bool = True,
    ) -> None:
        named = dict(models) if isinstance(models, Mapping) else {"plain": models}
        if not named:
            raise InputError("no model to explore: give an Encoder, or a dict of name -> Encoder")
        self.task = task.as_retrieval(split) if task.kind == "pairs" else task
        self.split, self.max_queries, self.seed = split, max_queries, seed
        self.precision, self.cache = precision, cache
        first = next(iter(named.values()))
        self.layers = tuple(range(1, first.n_layers + 1))
        self.width = first.width
        self.dims = default_dims(self.width)
        self.metrics = METRICS[self.task.kind]
        self.encoders: dict[str, Encoder] = {}
        self.tables: dict[str, dict[str, np.ndarray]] = {}  # metric -> model -> (L, D)
        self.trained: dict[str, tuple[int, ...]] = {}
        self._embedded: dict[str, dict[str, np.ndarray]] = {}
        self._asked: dict[tuple[str, str], np.ndarray] = {}
        self._full: tuple[str, str, np.ndarray] = ("", "", np.zeros(0))
        self._lock = threading.Lock()
        if self.ranks:
            self._ids = list(self.task.corpus)
            self._place = {d: i for i, d in enumerate(self._ids)}
            self._judged = {" ".join(self.task.queries[q].split()): self.task.qrels[q] for q in self.task.judged(split)}
        for name, encoder in named.items():
            self.add(name, encoder)

    @property
    def ranks(self) -> bool:
        """Whether the task has documents to rank."""
        return self.task.kind == "retrieval"

    @property
    def items(self) -> str:
        """What the quality is an average over, for a heading."""
        if not self.ranks:
            return self.split
        judged = len(self.task.judged(self.split))
        shown = min(judged, self.max_queries)
        return f"{shown} of {judged:,} {self.split} queries" if shown < judged else f"{judged} {self.split} queries"

    def add(self, name: str, encoder: Encoder) -> None:
        """Add a model, or replace the one of that name. It has no quality until `measure`."""
        if (encoder.n_layers, encoder.width) != (len(self.layers), self.width):
            raise InputError(
                f"model {name!r} has {encoder.n_layers} layers x {encoder.width}, the others {len(self.layers)} x "
                f"{self.width}: explore models of one size"
            )
        with self._lock:
            self.encoders[name], self.trained[name] = encoder, tuple(encoder.trained_dims)
            self._embedded.pop(name, None)
            self._asked = {key: value for key, value in self._asked.items() if key[0] != name}
            self._full = ("", "", np.zeros(0))
            for metric in self.metrics:
                # a new dict: whoever draws sees either all of the old state or all of the new
                blank = np.full((len(self.layers), self.width), np.nan)
                self.tables[metric] = {**self.tables.get(metric, {}), name: blank}

    def measure(self, name: str, *, first: int | None = None, progress: Stage | None = None) -> None:
        """Quality of `name` in every cell: the heat map's columns at all layers, then all dimensions layer by layer,
        beginning with layer `first`. Read from the cache where it has been measured before.

        progress(done, total, label) after every stage; where it returns False the rest is left unmeasured.
        """
        path = self._path(name)
        if self.cache and path.exists():
            stored = np.load(path)
            self._set(name, {metric: stored[metric] for metric in self.metrics})
            return
        report = progress or (lambda done, total, label: None)
        total = len(self.layers) + 2
        if report(0, total, f"encoding {self.task.name}") is False:
            return
        embedded = self.embedded(name)
        if report(1, total, "measuring the heat map") is False:
            return
        self._set(name, self._grids(name, embedded, None, self.dims))
        order = sorted(self.layers, key=lambda layer: layer != first)
        for done, layer in enumerate(order):
            if report(2 + done, total, f"measuring layer {layer} at every dimension") is False:
                return
            self._set(name, self._grids(name, embedded, layer, range(1, self.width + 1)))
        if self.cache:
            with files.whole_file(path) as temporary:
                np.savez(temporary, **{m: self.tables[m][name] for m in self.metrics})
        report(total, total, "measured")

    def embedded(self, name: str) -> dict[str, np.ndarray]:
        """The task's texts through `name`: part -> (L, N, D), as `embed_task`; kept."""
        if name not in self._embedded:
            encoder = self.encoders[name]
            self._embedded[name] = embed_task(self.task, encoder, self.split, self.precision)
        return self._embedded[name]

    def rank(self, name: str, query: str, layer: int, dim: int, k: int = 8) -> Ranking:
        """The `k` best documents for `query` (a text, or the id of a judged query) in one cell.

        Raises InputError for an empty or endless query, a cell that does not exist, a task without documents.
        """
        if not self.ranks:
            raise InputError(f"task {self.task.name!r} has no documents to rank: its quality is in the grid alone")
        check_cells([layer], [dim], len(self.layers), self.width)
        text, judged = self._query(query)
        vectors = self._query_vectors(name, text)
        documents = self.embedded(name)["documents"]
        here = _scores(documents[layer - 1, :, :dim], vectors[layer - 1, :dim])
        full = self._full_scores(name, text)
        ids = self._ids
        best = np.argsort(-here, kind="stable")[:k]
        relevant = {d for d, grade in (judged or {}).items() if grade > 0}
        hits = tuple(
            Hit(rank + 1, _rank(full, i), ids[i], self.task.corpus[ids[i]], float(here[i]),
                ids[i] in relevant if judged else None)
            for rank, i in enumerate(best)
        )  # fmt: skip
        where = [self._place[d] for d in relevant]
        return Ranking(text, hits, tuple(sorted((_rank(here, i), _rank(full, i)) for i in where)), len(ids))

    def examples(self, n: int = 8) -> list[str]:
        """Queries of the split to try, spread over it: some that the full model answers at rank 1 (something to lose),
        where it has been run, and where there are that many."""
        if not self.ranks:
            return []
        name, judged = next(iter(self.encoders)), self.task.judged(self.split)
        queries, documents = (self.embedded(name)[part][-1] for part in ("queries", "documents"))
        solved = []
        for i in range(0, len(judged), max(1, len(judged) // (6 * n))):
            best = self._ids[int(_scores(documents, queries[i]).argmax())]
            if self.task.qrels[judged[i]].get(best, 0) > 0:
                solved.append(self.task.queries[judged[i]])
        chosen = solved if len(solved) >= n else [self.task.queries[q] for q in judged]
        return chosen[:: max(1, len(chosen) // n)][:n]

    def remembering(self) -> Remembering:
        """The first model without heads, knowing the documents that have been embedded: what heads are trained on."""
        name, encoder = next(iter(self.encoders.items()))
        if encoder.heads is not None or not self.ranks:
            return Remembering(encoder, {}, np.empty((len(self.layers), 0, self.width), np.float32))
        known = {text: i for i, text in enumerate(self.task.corpus.values())}
        return Remembering(encoder, known, self.embedded(name)["documents"])

    def price(self, layer: int, dim: int) -> dict[str, float]:
        """What a cell costs beside the full size: see costs.cell_price."""
        return costs.cell_price(next(iter(self.encoders.values())), layer, dim)

    def _query(self, query: str) -> tuple[str, Mapping[str, int] | None]:
        query = self.task.queries.get(query, query) if isinstance(query, str) else ""
        text = " ".join(query.split())
        if not text:
            raise InputError("the query is empty: type a few words, or choose an example")
        if len(text) > MAX_QUERY:
            raise InputError(f"the query has {len(text):,} characters: give {MAX_QUERY:,} at most")
        return text, self._judged.get(text)

    def _query_vectors(self, name: str, text: str) -> np.ndarray:
        if (name, text) not in self._asked:
            self._asked[name, text] = self.encoders[name].encode_layers([text], cache=False)[:, 0]  # (L, D)
        return self._asked[name, text]

    def _full_scores(self, name: str, text: str) -> np.ndarray:
        """Scores (N,) with the last layer and all dimensions: of the last query only, which every slide asks for."""
        if self._full[:2] != (name, text):
            documents = self.embedded(name)["documents"]
            self._full = (name, text, _scores(documents[-1], self._query_vectors(name, text)[-1]))
        return self._full[2]

    def _grids(self, name: str, embedded, layer: int | None, dims: Sequence[int]) -> dict[str, np.ndarray]:
        """The tables of `name` with these cells filled in: metric -> (L, D)."""
        grids = evaluate_grid(
            self.task, embeddings=embedded, metric=list(self.metrics), split=self.split, dims=list(dims),
            layers=None if layer is None else [layer], max_queries=self.max_queries, seed=self.seed, progress=_quiet,
        )  # fmt: skip
        tables = {}
        for metric, grid in grids.items():
            tables[metric] = self.tables[metric][name].copy()
            tables[metric][np.ix_(np.array(grid.layers) - 1, np.array(grid.dims) - 1)] = grid.values
        return tables

    def _set(self, name: str, tables: Mapping[str, np.ndarray]) -> None:
        for metric, table in tables.items():
            self.tables[metric] = {**self.tables[metric], name: table}

    def _path(self, name: str):
        parts = [VERSION, self.task.fingerprint(), self.encoders[name].fingerprint(), self.precision, self.split]
        return files.cache_dir("explorer") / f"{files.key(*parts, self.max_queries, self.seed, self.metrics)}.npz"


def _scores(documents: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Cosine of one query (d,) with every document (N, d); 0 for a zero vector."""
    dots = documents @ query
    norms = np.sqrt(np.einsum("nd,nd->n", documents, documents) * (query @ query))
    return np.divide(dots, norms, out=np.zeros_like(dots), where=norms > 0)


def _rank(scores: np.ndarray, i: int) -> int:
    """Rank of document i, from 1; equal scores in corpus order."""
    return 1 + int((scores > scores[i]).sum() + (scores[:i] == scores[i]).sum())


def _quiet(done: int, total: int, label: str) -> None:
    """A progress that prints nothing: the panel has its own bar."""
