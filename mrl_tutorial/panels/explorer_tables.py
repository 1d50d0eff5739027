"""What the grid explorer shows: quality of every cell, one query's documents in a cell, and a cell's price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

import numpy as np
import torch

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation import quality
from mrl_tutorial.evaluation.embeddings import Progress, embed_task
from mrl_tutorial.evaluation.quality import evaluate_grid
from mrl_tutorial.grid import default_dims
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.models.layers import resolve_precision
from mrl_tutorial.retrieval.costs import cell_price
from mrl_tutorial.topk import inverse_lengths, top_columns

METRICS = {
    "retrieval": ("ndcg@10", "mrr@10", "map@10", "recall@100", "precision@10"),
    "sts": ("spearman",),
    "classification": ("1nn",),
    "vectors": ("recall@10",),
}
MAX_QUERY = 2000  # characters; an encoder reads a few hundred words at most
TOP = 10  # documents that are ranked in every cell
SNIPPET = 160  # characters of a document that are shown
PRICED = 10**7  # documents
VERSION = 3  # of what is cached: to be raised when answers or examples are found in another way


class ExplorerTables:
    """Quality of every cell of several encoders on one task; what is given is what `GridExplorer` takes.

    Raises InputError for a task without that split, no model, or models of different sizes."""

    def __init__(
        self, task: Any, models: Encoder | Mapping[str, Encoder], *, split: str = "dev", max_queries: int = 300
    ) -> None:
        named = dict(models) if isinstance(models, Mapping) else {"plain": models}
        if not named:
            raise InputError("no model to explore: give an Encoder, or a dict of name -> Encoder")
        self.task = task.as_retrieval(split) if task.kind == "pairs" else task
        self.split, self.max_queries = split, max_queries
        first = next(iter(named.values()))
        self.layers, self.width = tuple(range(1, first.n_layers + 1)), first.width
        self.dims, self.metrics = default_dims(self.width), METRICS[self.task.kind]
        self.encoders: dict[str, Encoder] = {}
        self.tables: dict[str, dict[str, np.ndarray]] = {metric: {} for metric in self.metrics}  # -> model -> (L, D)
        self._embedded: dict[str, dict[str, np.ndarray]] = {}
        self._answers: dict[str, dict[str, Any]] = {}  # model -> query -> answer
        self._keys: dict[str, tuple[str, str]] = {}  # model -> what stands for all that is computed: here, and shipped
        self.ranks = self.task.kind == "retrieval"  # whether there are documents to rank
        self._judged: dict[str, tuple[int, list[int]]] = {}  # query -> its row, and those of its relevant documents
        if self.ranks:
            place = {document: i for i, document in enumerate(self.task.corpus)}
            for i, q in enumerate(self.task.judged(split)):
                self._judged[_plain(self.task.queries[q])] = i, [place[document] for document in self.task.relevant(q)]
        for name, encoder in named.items():
            self.add(name, encoder)

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
        self.encoders[name] = encoder
        how = (resolve_precision("auto", encoder.device), encoder.device), ("fp32", "cpu")
        what = self.task.fingerprint(), encoder.fingerprint(), self.split
        here, shipped = (files.key(VERSION, quality.VERSION, *computed, *what) for computed in how)
        self._keys[name] = here, shipped
        self._embedded.pop(name, None)
        self._answers[name] = {}
        self._set(name, dict.fromkeys(self.metrics, np.full((len(self.layers), self.width), np.nan)))

    def measure(
        self, name: str, *, first: int | None = None, report: Callable[[float, str], object] = lambda share, label: None
    ) -> None:
        """Quality of `name` in every cell: the heat map's columns at all layers, then all dimensions layer by layer,
        beginning with layer `first`. What was measured before is read. report(share, label): before every stage."""

        def fill(layers: list[int] | None, dims: Sequence[int]) -> None:
            settings: dict[str, Any] = {"split": self.split, "max_queries": self.max_queries, "layers": layers}
            settings |= {"embeddings": self.embedded(name), "progress": lambda *_: None}  # the panel shows its own
            grids = evaluate_grid(self.task, metric=list(self.metrics), dims=list(dims), **settings)
            tables = {metric: self.tables[metric][name].copy() for metric in grids}
            for metric, grid in grids.items():
                tables[metric][np.ix_(np.array(grid.layers) - 1, np.array(grid.dims) - 1)] = grid.values
            self._set(name, tables)

        def measured() -> dict[str, np.ndarray]:
            total = len(self.layers) + 2
            report(0, f"encoding {self.task.name}")
            self.embedded(name)
            report(1 / total, "measuring the heat map")
            fill(None, self.dims)
            for done, layer in enumerate(sorted(self.layers, key=lambda layer: layer != first), start=2):
                report(done / total, f"measuring layer {layer} at every dimension")
                fill([layer], range(1, self.width + 1))
            report(1, "measured")
            return {metric: self.tables[metric][name] for metric in self.metrics}

        self._set(name, self._remembered(name, measured, self.max_queries, self.metrics))

    def embedded(self, name: str, progress: Progress | None = None) -> dict[str, np.ndarray]:
        """The task's texts through `name`: part -> (L, N, D), as `embed_task` gives them; kept. Where the
        backbone's embeddings are a file, one model with heads is kept in memory: the others are quick to map again."""
        if name not in self._embedded:
            found = embed_task(self.task, self.encoders[name], self.split, progress=progress)
            mapped = [n for n, x in self._embedded.items() if all(isinstance(part, np.memmap) for part in x.values())]
            kept = {n: x for n, x in self._embedded.items() if not mapped or n in mapped or not self.encoders[n].heads}
            self._embedded = {**kept, name: found}
        return self._embedded[name]

    def answer(self, name: str, query: str, progress: Progress | None = None) -> dict[str, Any]:
        """One query (a text, or the id of a judged one) in every cell: see `ranked_cells`; kept, a judged one on disk.

        Keys: ids, ranks, full, relevant (rows). Raises InputError for an empty or endless query.
        """
        text = _plain(self.task.queries.get(query, query))
        if not text:
            raise InputError("the query is empty: type a few words, or choose an example")
        if len(text) > MAX_QUERY:
            raise InputError(f"the query has {len(text):,} characters: give {MAX_QUERY:,} at most")
        if text not in self._answers[name]:
            row, relevant = self._judged.get(text, (None, []))

            def looked_up() -> dict[str, np.ndarray]:
                parts = self.embedded(name, progress)
                if row is None:
                    vector = self.encoders[name].encode_layers([text], prompt="query", cache=False)[:, 0]
                else:
                    vector = parts["queries"][:, row]
                ids, ranks, full = ranked_cells(parts["documents"], vector, relevant)
                return {"ids": ids, "ranks": ranks, "full": full}

            found = looked_up() if row is None else self._remembered(name, looked_up, text)
            self._answers[name][text] = {**found, "relevant": relevant}
        return self._answers[name][text]

    def snippets(self, answers: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
        """The documents that some answers show: row -> [name, beginning of the text]."""
        documents = list(self.task.corpus.items())
        rows = sorted({int(row) for answer in answers for row in np.unique(answer["ids"])})
        return {str(row): [documents[row][0], shorten(documents[row][1], SNIPPET, placeholder=" …")] for row in rows}

    def examples(self, n: int = 8) -> list[str]:
        """Queries of the split to try, spread over it: some that the full model answers at rank 1, where there are
        enough of them, since these have something to lose."""
        if not self.ranks:
            return []
        name, every = next(iter(self.encoders)), list(self._judged.items())

        def chosen() -> dict[str, np.ndarray]:
            queries, documents = (self.embedded(name)[part][-1] for part in ("queries", "documents"))
            inverse = inverse_lengths(documents)
            tried = every[:: max(1, len(every) // (6 * n))]
            solved = [text for text, (i, rows) in tried if int((documents @ queries[i] * inverse).argmax()) in rows]
            texts = solved if len(solved) >= n else list(self._judged)
            return {"texts": np.array(texts[:: max(1, len(texts) // n)][:n])}

        return self._remembered(name, chosen, "examples", n)["texts"].tolist()

    def frozen(self, progress: Progress | None = None) -> tuple[Encoder, dict[str, np.ndarray]]:
        """What heads are trained on: the first model without heads, and what its documents are known to be embedded as,
        text -> (L, D); nothing is known where those embeddings came out of heads. progress: as in `embed_task`."""
        name, encoder = next(iter(self.encoders.items()))
        if encoder.heads is not None or not self.ranks:
            return encoder.with_heads(None), {}
        documents = self.embedded(name, progress)["documents"]
        return encoder, {text: documents[:, i] for i, text in enumerate(self.task.corpus.values())}

    def price(self) -> dict[str, Any]:
        """What every layer and dimension costs, as `costs.cell_price` says: bytes, gb and search (D,), encode (L,)."""
        encoder = next(iter(self.encoders.values()))
        dims = [cell_price(encoder, 1, d, PRICED) for d in range(1, self.width + 1)]
        layers = [cell_price(encoder, layer, 1, PRICED) for layer in self.layers]
        keys = {"bytes": "bytes", "gb": "corpus_gb", "search": "search_flops"}
        found: dict[str, Any] = {ours: np.array([one[key] for one in dims], float) for ours, key in keys.items()}
        return {**found, "encode": np.array([one["encode_flops"] for one in layers], float), "documents": PRICED}

    def _remembered(self, name: str, compute: Callable[[], dict[str, np.ndarray]], *what: Any) -> dict[str, np.ndarray]:
        """What `compute` gives for a model, kept for its precision; tables that come with the course serve all."""
        here, shipped = (files.key(own, *what) for own in self._keys[name])
        return files.remembered("explorer", here, compute, shipped)

    def _set(self, name: str, tables: Mapping[str, np.ndarray]) -> None:
        # new dicts, since this may run in a thread: a picture sees either all of the old tables or all of the new
        for metric, table in tables.items():
            self.tables[metric] = {**self.tables[metric], name: table}


def _plain(text: str) -> str:
    return " ".join(text.split())


def ranked_cells(
    documents: np.ndarray, query: np.ndarray, relevant: Sequence[int], k: int = TOP
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One query in every cell: its best documents, the ranks of the relevant ones, and all ranks at full size.

    documents (L, N, D), query (L, D), relevant: R rows. Scores are cosines of prefixes, 0 for a zero vector; equal ones
    rank in corpus order. Returns ids (L, D, k), best first, ranks (R, L, D) and full (N,), ranks from 1. The prefixes
    of a query are the rows of a triangular matrix, so one product a layer gives the scores of all dimensions.

    >>> ids, ranks, _ = ranked_cells(np.eye(2)[None], np.array([[0.6, 0.8]]), [1], k=1)
    >>> ids[0, :, 0].tolist(), ranks[0, 0].tolist()
    ([0, 1], [2, 1])
    """
    n_layers, n, width = documents.shape
    k = min(k, n)
    triangle = torch.ones(width, width).tril()
    kind = np.min_scalar_type(n)
    ids, ranks = np.empty((n_layers, width, k), kind), np.empty((len(relevant), n_layers, width), kind)
    for i in range(n_layers):
        x, q = (torch.tensor(a[i], dtype=torch.float32) for a in (documents, query))
        squares = triangle @ (x * x).T  # (D, N)
        scores = torch.where(squares > 0, (triangle * q) @ x.T * squares.rsqrt(), 0.0)
        ids[i] = top_columns(scores.numpy(), k)
        for j, row in enumerate(relevant):
            one = scores[:, row : row + 1]
            ranks[j, i] = 1 + (scores > one).sum(1) + (scores[:, :row] == one).sum(1)
    full = np.empty(n, kind)
    full[torch.sort(scores[-1], dim=0, descending=True, stable=True).indices.numpy()] = np.arange(1, n + 1)
    return ids, ranks, full
