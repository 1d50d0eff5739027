"""Ranking and correlation measures, over all cells at once.

A ranking measure needs no sorted list, only the ranks of the relevant documents. `ranks` finds those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from mrl_tutorial.errors import InputError

RETRIEVAL_METRICS = ("ndcg", "mrr", "map", "recall", "precision")  # the last two need a cut-off


@dataclass(frozen=True)
class Judgments:
    """Which documents are relevant to which queries, as P pairs of positions, ordered by query. Made by `judge`.

    order (N,): documents by id, largest first, so that among equal scores the smaller column ranks first (trec_eval).
    query (P,), column (P,), gain (P,): the pair's query, its document's column *after* `order`, and its grade > 0.
    n_queries: queries that are scored; one without any relevant document scores 0, as in trec_eval.
    """

    order: np.ndarray
    query: np.ndarray
    column: np.ndarray
    gain: np.ndarray
    n_queries: int

    @property
    def n_relevant(self) -> np.ndarray:
        """Relevant documents of each query, (n_queries,)."""
        return np.bincount(self.query, minlength=self.n_queries)

    @property
    def place(self) -> np.ndarray:
        """The number of each pair within its query, from 1, (P,)."""
        before = np.cumsum(self.n_relevant) - self.n_relevant
        return np.arange(len(self.query)) - before[self.query] + 1


def judge(query_ids: Sequence[str], document_ids: Sequence[str], qrels: Mapping[str, Mapping[str, int]]) -> Judgments:
    """Qrels {query id: {document id: grade}} as positions. Grades of 0 or less mean not relevant.

    Raises InputError for no queries, an empty corpus, repeated document ids, a query without judgments, a judged
    document that the corpus lacks, and where no query has a relevant document.
    """
    if not len(document_ids):
        raise InputError("the corpus is empty: give at least one document")
    if not len(query_ids):
        raise InputError("there are no queries to score: choose another split")
    order = np.array(sorted(range(len(document_ids)), key=document_ids.__getitem__, reverse=True))
    column = {document_ids[i]: c for c, i in enumerate(order)}
    if len(column) != len(document_ids):
        raise InputError("the corpus repeats a document id: ids must be unique")
    pairs = []
    for row, query in enumerate(query_ids):
        judged = qrels.get(query)
        if not judged:
            raise InputError(f"query {query!r} has no judgments: leave it out, or add them to the qrels")
        for document, grade in judged.items():
            if document not in column:
                raise InputError(f"query {query!r} is judged on document {document!r}, which the corpus lacks")
            if grade > 0:
                pairs.append((row, column[document], grade))
    if not pairs:
        raise InputError("no query has a relevant document (a grade above 0): nothing can be scored")
    query, columns, gain = np.array(pairs).T
    return Judgments(order, query, columns, gain, len(query_ids))


def parse_metric(name: str) -> tuple[str, int | None]:
    """The kind and the cut-off (or None) of a measure's name. Raises InputError for a measure that does not exist."""
    match = re.fullmatch(r"([a-z]+)(?:@([1-9]\d*))?", name)
    if not match or match[1] not in RETRIEVAL_METRICS or (match[1] in RETRIEVAL_METRICS[3:] and not match[2]):
        known = "ndcg@k, mrr@k, map, map@k, recall@k or precision@k"
        raise InputError(f"measure {name!r} is not a retrieval measure: choose {known}")
    return match[1], int(match[2]) if match[2] else None


def cutoff(name: str) -> int:
    """The k of a measure's name. Raises InputError for a measure without one, which looks at every document."""
    k = parse_metric(name)[1]
    if k is None:
        raise InputError(f"measure {name!r} looks at every document: give a cut-off, as in {name}@10")
    return k


def found_ranks(rows: np.ndarray, judgments: Judgments) -> np.ndarray:
    """Rank, from 1, of each judged pair's document among the rows (Q, k) that a search found, best first: (P,) int64.

    A document that was not found ranks beyond every cut-off.
    """
    wanted = judgments.order[judgments.column]  # the row of each pair's document
    hit = rows[judgments.query] == wanted[:, None]  # (P, k)
    return np.where(hit.any(1), hit.argmax(1) + 1, np.iinfo(np.int32).max)


def retrieval_metric(name: str, ranks: np.ndarray, judgments: Judgments) -> np.ndarray:
    """A ranking measure of every query. ranks: (..., P) from 1, as `judgments` orders pairs. Returns (..., n_queries).

    ndcg[@k]: gain = grade, discount 1 / log2(rank + 1), over the ideal ranking of all judged documents (trec_eval).
    mrr[@k]: 1 / rank of the first relevant document, 0 beyond k.
    map: mean precision at each relevant document, over all relevant ones (trec_eval). map@k: AP = (1/k) sum over ranks
    i <= k of P(i) rel_i, the denominator that the MRL paper's code uses (2205.13147); not trec_eval's map_cut.
    recall@k, precision@k: relevant documents in the first k, over all relevant ones, over k.
    Raises InputError for an unknown measure, and for another number of ranks than of judged pairs.

    >>> judged = judge(["q"], ["a", "b", "c"], {"q": {"a": 1, "b": 1}})
    >>> ranks = np.array([1, 3])
    >>> [retrieval_metric(name, ranks, judged).round(3).item() for name in ("mrr", "recall@1", "map")]
    [1.0, 0.5, 0.833]
    """
    (kind, k), j = parse_metric(name), judgments
    if ranks.shape[-1] != len(j.query):
        raise InputError(f"{ranks.shape[-1]} ranks for {len(j.query)} judged pairs: give one rank a pair")
    last = k or np.inf
    inside, relevant = ranks <= last, np.maximum(j.n_relevant, 1)
    if kind == "ndcg":
        best = j.gain[np.lexsort((-j.gain, j.query))]
        ideal = _reduce(np.add, np.where(j.place <= last, best / np.log2(j.place + 1.0), 0.0), j)
        found = _reduce(np.add, np.where(inside, j.gain / np.log2(ranks + 1.0), 0.0), j)
        return found / np.where(ideal > 0, ideal, 1.0)
    if kind == "mrr":
        return _reduce(np.maximum, np.where(inside, 1.0 / ranks, 0.0), j)
    if kind == "map":
        # sorting (query, rank) keeps each query's pairs together and puts its relevant documents in ranked order
        span = int(ranks.max(initial=1)) + 1
        ordered = np.sort(ranks + j.query * span, axis=-1) - j.query * span
        return _reduce(np.add, np.where(ordered <= last, j.place / ordered, 0.0), j) / (k or relevant)
    return _reduce(np.add, inside.astype(np.float64), j) / (relevant if kind == "recall" else k)


def _reduce(ufunc: np.ufunc, values: np.ndarray, j: Judgments) -> np.ndarray:
    """Reduce (..., P) over each query's pairs to (..., n_queries); 0 where a query has none."""
    present, starts = np.unique(j.query, return_index=True)
    out = np.zeros((*values.shape[:-1], j.n_queries))
    out[..., present] = ufunc.reduceat(values, starts, axis=-1)
    return out


def spearman(scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every row of `scores` (..., N) with `gold` (N,), ties at their mean rank.

    0 where a row is constant. Raises InputError for fewer than two items or a constant `gold`.

    >>> spearman(np.array([[1, 2, 3], [3, 2, 1], [0, 0, 0]]), np.array([0.1, 0.5, 2.0])).round(6).tolist()
    [1.0, -1.0, 0.0]
    """
    if len(gold) < 2 or np.ptp(gold) == 0:
        raise InputError("the gold scores do not differ: a rank correlation needs at least two unequal ones")
    return spearman_items(scores, gold).mean(-1)


def spearman_items(scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """`spearman` as a mean over the items: (..., N), for a bootstrap that takes each item with its value.

    A value is the correlation plus the item's influence on it (how much more of that item would move it): through its
    own two ranks, and through the ranks that it gives to the others. 0 where a row is constant.
    """
    a, b = rankdata(scores, axis=-1), rankdata(gold)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean()
    norms = np.sqrt((a * a).mean(-1) * (b * b).mean())[..., None]
    pairs = zip(np.reshape(scores, (-1, len(gold))), a.reshape(-1, len(gold)), strict=True)
    given = np.reshape([_sums_above(x, b) + _sums_above(gold, ranks) for x, ranks in pairs], a.shape)
    items = a * b + given - 2 * (a * b).mean(-1, keepdims=True)
    return np.divide(items, norms, out=np.zeros(items.shape), where=norms > 0)


def _sums_above(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """For each x (N,) the sum of those y (N,) whose own x is larger, and half of those whose x is equal."""
    order = np.argsort(x)
    rest = np.append(np.cumsum(y[order][::-1])[::-1], 0)
    return (rest[np.searchsorted(x[order], x, "left")] + rest[np.searchsorted(x[order], x, "right")]) / 2
