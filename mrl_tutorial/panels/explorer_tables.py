"""What the grid explorer shows: quality of every cell, one query's documents in a cell, and a cell's price."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import Progress, embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.grid import check_cells, default_dims
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.retrieval import costs
from mrl_tutorial.topk import inverse_lengths

METRICS = {
    "retrieval": ("ndcg@10", "mrr@10", "map@10", "recall@100", "precision@10"),
    "sts": ("spearman",),
    "classification": ("1nn",),
    "vectors": ("recall@10",),
}
MAX_QUERY = 2000  # characters; an encoder reads a few hundred words at most
VERSION = 2  # of what is cached: to be raised when quality is measured in another way


@dataclass(frozen=True)
class Hit:
    """A ranked document. full: its rank at layer L, width D. relevant: None where the query has no judgments."""

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


class ExplorerTables:
    """Quality of every cell of several encoders on one task, measured on the split that choices are made on.

    models: one Encoder, or name -> Encoder. split: "dev" (choose on dev, report on test). max_queries limits the cost.
    Raises InputError for a task without that split, no model, or models of different sizes.
    """

    def __init__(
        self, task: Any, models: Encoder | Mapping[str, Encoder], *, split: str = "dev", max_queries: int = 300
    ) -> None:
        named = dict(models) if isinstance(models, Mapping) else {"plain": models}
        if not named:
            raise InputError("no model to explore: give an Encoder, or a dict of name -> Encoder")
        self.task = task.as_retrieval(split) if task.kind == "pairs" else task
        self.split, self.max_queries = split, max_queries
        first = next(iter(named.values()))
        self.layers = tuple(range(1, first.n_layers + 1))
        self.width = first.width
        self.dims = default_dims(self.width)
        self.metrics = METRICS[self.task.kind]
        self.encoders: dict[str, Encoder] = {}
        self.tables: dict[str, dict[str, np.ndarray]] = {metric: {} for metric in self.metrics}  # -> model -> (L, D)
        self.trained: dict[str, tuple[int, ...]] = {}
        self._embedded: dict[str, dict[str, np.ndarray]] = {}
        self._queries: dict[tuple[str, str], np.ndarray] = {}  # (model, text) -> (L, D)
        self._full: tuple[str, str, np.ndarray] = ("", "", np.zeros(0))
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
        self.encoders[name], self.trained[name] = encoder, tuple(encoder.trained_dims)
        self._embedded.pop(name, None)
        self._queries = {key: value for key, value in self._queries.items() if key[0] != name}
        self._full = ("", "", np.zeros(0))
        blank = np.full((len(self.layers), self.width), np.nan)
        self._set(name, dict.fromkeys(self.metrics, blank))

    def measure(self, name: str, *, first: int | None = None, progress: Progress | None = None) -> None:
        """Quality of `name` in every cell: the heat map's columns at all layers, then all dimensions layer by layer,
        beginning with layer `first`. What was measured before is read from the cache.

        progress(done, total, label) after every stage; where it returns False the rest is left unmeasured.
        """
        path = self._path(name)
        if path.exists():
            stored = np.load(path)
            self._set(name, {metric: stored[metric] for metric in self.metrics})
            return
        report = progress or (lambda done, total, label: None)
        total = len(self.layers) + 2
        if report(0, total, f"encoding {self.task.name}") is False:
            return
        self.embedded(name)
        if report(1, total, "measuring the heat map") is False:
            return
        self._measure(name, None, self.dims)
        for done, layer in enumerate(sorted(self.layers, key=lambda layer: layer != first)):
            if report(2 + done, total, f"measuring layer {layer} at every dimension") is False:
                return
            self._measure(name, [layer], range(1, self.width + 1))
        found: dict[str, Any] = {metric: self.tables[metric][name] for metric in self.metrics}
        with files.whole_file(path) as temporary:
            np.savez(temporary, **found)
        report(total, total, "measured")

    def embedded(self, name: str) -> dict[str, np.ndarray]:
        """The task's texts through `name`: part -> (L, N, D), as `embed_task` gives them; kept."""
        if name not in self._embedded:
            self._embedded[name] = embed_task(self.task, self.encoders[name], self.split)
        return self._embedded[name]

    def rank(self, name: str, query: str, layer: int, dim: int, k: int = 8) -> Ranking:
        """The `k` best documents for `query` (a text, or the id of a judged query) in one cell.

        Raises InputError for an empty or endless query, a cell that does not exist, a task without documents.
        """
        if not self.ranks:
            raise InputError(f"task {self.task.name!r} has no documents to rank: its quality is in the grid alone")
        check_cells([layer], [dim], len(self.layers), self.width)
        text, judged = self._query(query)
        here = _scores(self.embedded(name)["documents"][layer - 1], self._vectors(name, text)[layer - 1], dim)
        full = self._full_scores(name, text)
        relevant = {d for d, grade in (judged or {}).items() if grade > 0}
        hits = []
        for rank, i in enumerate(np.argsort(-here, kind="stable")[:k], start=1):
            document, score = self._ids[i], float(here[i])
            known = document in relevant if judged else None
            hits.append(Hit(rank, _rank(full, i), document, self.task.corpus[document], score, known))
        where = [self._place[d] for d in relevant]
        ranks = tuple(sorted((_rank(here, i), _rank(full, i)) for i in where))
        return Ranking(text, tuple(hits), ranks, len(self._ids))

    def examples(self, n: int = 8) -> list[str]:
        """Queries of the split to try, spread over it: some that the full model answers at rank 1, where there are
        enough of them, since these have something to lose."""
        if not self.ranks:
            return []
        name, judged = next(iter(self.encoders)), self.task.judged(self.split)
        queries, documents = (self.embedded(name)[part][-1] for part in ("queries", "documents"))
        solved = []
        for i in range(0, len(judged), max(1, len(judged) // (6 * n))):
            best = self._ids[int(_scores(documents, queries[i], self.width).argmax())]
            if self.task.qrels[judged[i]].get(best, 0) > 0:
                solved.append(self.task.queries[judged[i]])
        chosen = solved if len(solved) >= n else [self.task.queries[q] for q in judged]
        return chosen[:: max(1, len(chosen) // n)][:n]

    def frozen(self) -> tuple[Encoder, dict[str, np.ndarray]]:
        """What heads are trained on: the first model without heads, and what its documents are known to be embedded as,
        text -> (L, D); nothing is known where those embeddings came out of heads."""
        name, encoder = next(iter(self.encoders.items()))
        if encoder.heads is not None or not self.ranks:
            return encoder.with_heads(None), {}
        documents = self.embedded(name)["documents"]
        return encoder, {text: documents[:, i] for i, text in enumerate(self.task.corpus.values())}

    def price(self, layer: int, dim: int) -> dict[str, float]:
        """What a cell costs compared with the full size: see costs.cell_price."""
        return costs.cell_price(next(iter(self.encoders.values())), layer, dim)

    def _query(self, query: str) -> tuple[str, Mapping[str, int] | None]:
        text = " ".join(self.task.queries.get(query, query).split())
        if not text:
            raise InputError("the query is empty: type a few words, or choose an example")
        if len(text) > MAX_QUERY:
            raise InputError(f"the query has {len(text):,} characters: give {MAX_QUERY:,} at most")
        return text, self._judged.get(text)

    def _vectors(self, name: str, text: str) -> np.ndarray:
        if (name, text) not in self._queries:
            self._queries[name, text] = self.encoders[name].encode_layers([text], cache=False)[:, 0]  # (L, D)
        return self._queries[name, text]

    def _full_scores(self, name: str, text: str) -> np.ndarray:
        """Scores (N,) with the last layer and all dimensions, kept for the last query, since every slide asks again."""
        if self._full[:2] != (name, text):
            scores = _scores(self.embedded(name)["documents"][-1], self._vectors(name, text)[-1], self.width)
            self._full = (name, text, scores)
        return self._full[2]

    def _measure(self, name: str, layers: Sequence[int] | None, dims: Sequence[int]) -> None:
        """Fill these cells of all tables of `name`."""
        settings: dict[str, Any] = {"split": self.split, "max_queries": self.max_queries}
        settings |= {"layers": layers, "dims": list(dims)}
        parts, quiet = self.embedded(name), lambda done, total, label: None  # the panel shows its own progress
        metrics = list(self.metrics)
        grids = evaluate_grid(self.task, metric=metrics, embeddings=parts, progress=quiet, **settings)
        tables = {}
        for metric, grid in grids.items():
            tables[metric] = self.tables[metric][name].copy()
            tables[metric][np.ix_(np.array(grid.layers) - 1, np.array(grid.dims) - 1)] = grid.values
        self._set(name, tables)

    def _set(self, name: str, tables: Mapping[str, np.ndarray]) -> None:
        # new dicts, since this may run in a thread: a picture sees either all of the old tables or all of the new
        for metric, table in tables.items():
            self.tables[metric] = {**self.tables[metric], name: table}

    def _path(self, name: str) -> Path:
        parts = [VERSION, self.task.fingerprint(), self.encoders[name].fingerprint(), self.split]
        return files.cache_dir("explorer") / f"{files.key(*parts, self.max_queries, self.metrics)}.npz"


def _scores(documents: np.ndarray, query: np.ndarray, dim: int) -> np.ndarray:
    """Cosine of the prefix of one query (D,) with that of every document (N, D); 0 for a zero vector."""
    documents, query = documents[:, :dim], query[:dim]
    return (documents @ query) * inverse_lengths(documents) * inverse_lengths(query)


def _rank(scores: np.ndarray, i: int) -> int:
    """Rank of document i, from 1; equal scores in corpus order."""
    return 1 + int((scores > scores[i]).sum() + (scores[:i] == scores[i]).sum())
