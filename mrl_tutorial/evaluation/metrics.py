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


def judge(query_ids: Sequence[str], document_ids: Sequence[str], qrels: Mapping[str, Mapping[str, int]]) -> Judgments:
    """Qrels {query id: {document id: grade}} as positions. Grades of 0 or less mean not relevant.

    Raises InputError for an empty side, repeated or unknown document ids, a query without judgments, and where nothing
    is relevant."""
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
    match = re.fullmatch(r"(ndcg|mrr|map)(?:@([1-9]\d*))?|(recall|precision)@([1-9]\d*)", name)
    if not match:
        known = "ndcg@k, mrr@k, map, map@k, recall@k or precision@k"
        raise InputError(f"measure {name!r} is not a retrieval measure: choose {known}")
    kind, k = match[1] or match[3], match[2] or match[4]
    return kind, int(k) if k else None


def cutoff(name: str) -> int:
    """The k of a measure's name. Raises InputError for a measure without one, which looks at every document."""
    k = parse_metric(name)[1]
    if k is None:
        raise InputError(f"measure {name!r} looks at every document: give a cut-off, as in {name}@10")
    return k


def found_ranks(rows: np.ndarray, judgments: Judgments) -> np.ndarray:
    """Rank, from 1, of each judged pair's document among the rows (Q, k) that a search found, best first: (P,) int64,
    beyond every cut-off where it was not found."""
    hit = rows[judgments.query] == judgments.order[judgments.column][:, None]  # (P, k)
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
    present, starts, counts = np.unique(j.query, return_index=True, return_counts=True)
    place = np.arange(len(j.query)) - np.repeat(starts, counts) + 1  # the number of each pair within its query, (P,)

    def each_query(values: np.ndarray, reduce: np.ufunc = np.add) -> np.ndarray:
        """(..., P) over each query's pairs: (..., n_queries), 0 where a query has none."""
        out = np.zeros((*values.shape[:-1], j.n_queries))
        out[..., present] = reduce.reduceat(values, starts, axis=-1)
        return out

    last, relevant = k or np.inf, np.maximum(each_query(np.ones(len(j.query))), 1)
    inside = ranks <= last
    if kind == "ndcg":
        best = j.gain[np.lexsort((-j.gain, j.query))]
        ideal = each_query(np.where(place <= last, best / np.log2(place + 1.0), 0.0))
        found = each_query(np.where(inside, j.gain / np.log2(ranks + 1.0), 0.0))
        return found / np.where(ideal > 0, ideal, 1.0)
    if kind == "mrr":
        return each_query(np.where(inside, 1.0 / ranks, 0.0), np.maximum)
    if kind == "map":
        # sorting (query, rank) keeps each query's pairs together and puts its relevant documents in ranked order
        span = int(ranks.max(initial=1)) + 1
        ordered = np.sort(ranks + j.query * span, axis=-1) - j.query * span
        return each_query(np.where(ordered <= last, place / ordered, 0.0)) / (k or relevant)
    return each_query(inside.astype(np.float64)) / (relevant if kind == "recall" else k)


def spearman(scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every row of `scores` (..., N) with `gold` (N,), ties at their mean rank, as a
    mean over the items: (..., N), for a bootstrap that takes each item with its value.

    A value is the correlation plus the item's influence on it (how much more of that item would move it): through its
    own two ranks, and through the ranks that it gives to the others. 0 where a row is constant.
    Raises InputError for fewer than two items or a constant `gold`.

    >>> spearman(np.array([[1, 2, 3], [3, 2, 1], [0, 0, 0]]), np.array([0.1, 0.5, 2.0])).mean(-1).round(6).tolist()
    [1.0, -1.0, 0.0]
    """
    if len(gold) < 2 or np.ptp(gold) == 0:
        raise InputError("the gold scores do not differ: a rank correlation needs at least two unequal ones")
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
