"""The truncation trap: four ways to score a prefix, by the order of cutting and normalizing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from textwrap import shorten
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.truncation import METRICS, WAYS, Relevant, measure_truncation
from mrl_tutorial.panels.panel import Panel, menu, slider, switch
from mrl_tutorial.panels.plots import metric_title
from mrl_tutorial.progress import Ticker

NAMES = {
    "cut": "cut, then normalize",
    "late": "normalize, then cut",
    "raw": "no normalizing",
    "l2": "normalize, cut, distance",
}
FORMULAS = {
    "cut": "q[:d] · x[:d] / (‖q[:d]‖ ‖x[:d]‖)",
    "late": "q̂[:d] · x̂[:d], where q̂ = q / ‖q‖ and x̂ = x / ‖x‖ over all D",
    "raw": "q[:d] · x[:d]",
    "l2": "−‖q̂[:d] − x̂[:d]‖², where q̂ = q / ‖q‖ and x̂ = x / ‖x‖ over all D",
}
MEANING = {
    "cut": "every prefix counts with length 1, which is the right way for a cosine",
    "late": "a document whose vector has more of its length up front scores higher for every query",
    "raw": "long vectors score higher for every query, whatever they say",
    "l2": "a distance also depends on how long the prefix is, but punishes a length that is not the query's",
}
EXAMPLES, TOP = 12, 5


class TruncationTrap(Panel):
    """What happens to a search when vectors are cut, by the order of cutting and normalizing (`truncation.WAYS`).

    queries (Q, D), documents (N, D): not normalized, if `raw` is to mean something. relevant: for each query a set of
    document rows. query_texts (Q,), document_texts (N,): with both, one query's top documents are shown. All
    is measured once, at the start (500 x 5,000 x 384: some seconds), and kept in `model`. state: where the controls
    start (dim, way, metric, query: a place in `model.rows`). Raises InputError for what does not fit together.

    >>> TruncationTrap(np.eye(2), np.array([[2.0, 1.0], [0.0, 1.0]]), [{0}, {1}], dim=1, way="raw").state["way"]
    'raw'
    """

    view = "trap"

    def __init__(
        self,
        queries: np.ndarray,
        documents: np.ndarray,
        relevant: Relevant,
        query_texts: Sequence[str] | None = None,
        document_texts: Sequence[str] | None = None,
        **state: Any,
    ) -> None:
        for name, texts, rows in (("query_texts", query_texts, queries), ("document_texts", document_texts, documents)):
            if texts is not None and len(texts) != len(rows):
                raise InputError(f"{len(texts)} {name} for {len(rows)} vectors: give one text a vector")
        with closing(Ticker()) as ticker:
            self.model = model = measure_truncation(queries, documents, relevant, ticker)
        controls = [
            [slider("dim", "dimension", range(1, model.width + 1), play=True)],
            [switch("way", "way", WAYS, [*NAMES.values()])],
            [switch("metric", "measure", METRICS, [*map(metric_title, METRICS)])],
        ]
        tables: dict[str, Any] = {
            "quality": {m: model.values[m].astype(np.float32) for m in METRICS},
            "lengths": model.lengths.astype(np.float32),
            "spread": model.spread,
            "ways": [{"way": w, "name": NAMES[w], "formula": FORMULAS[w], "meaning": MEANING[w]} for w in WAYS],
        }
        start = {"dim": min(model.width, 32), "way": WAYS[0], "metric": METRICS[0]}
        if query_texts is not None and document_texts is not None:
            # the queries for which the ways are furthest apart
            places = np.argsort(-model.contrast, kind="stable")[:EXAMPLES].tolist()
            words = [shorten(query_texts[model.rows[i]], 110, placeholder=" …") for i in places]
            controls.append([menu("query", "query", places, words)])
            start["query"] = places[0]
            top = model.tops(places, TOP)  # (examples, 4, D, K): their best documents
            tables |= {"examples": places, "top": top, "relevant": [sorted(model.relevant[i]) for i in places]}
            tables["documents"] = {str(i): " ".join(document_texts[i].split())[:400] for i in np.unique(top)}
        super().__init__(controls, start | state, **tables)
