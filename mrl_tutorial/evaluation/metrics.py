"""Ranking and correlation measures, over all cells at once, from the ranks of the relevant documents alone.

A ranking measure needs no sorted list: only where the relevant documents stand. A document's rank is one plus the
number of documents ranked better, and counting them is one comparison a score.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor

from mrl_tutorial.errors import InputError

RETRIEVAL_METRICS = ("ndcg", "mrr", "map", "recall", "precision")
_NEEDS_CUTOFF = ("recall", "precision")


@dataclass(frozen=True)
class Judgements:
    """Who is relevant to what, as positions. P (query, relevant document) pairs, ordered by query.

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


def judge(query_ids: Sequence[str], document_ids: Sequence[str], qrels: Mapping[str, Mapping[str, int]]) -> Judgements:
    """Qrels `{query id: {document id: grade}}` as positions. Grades of 0 or less mean not relevant.

    Raises InputError: no queries, an empty corpus, repeated document ids, a query without judgements, a judged document
    that the corpus lacks, no relevant document at all.
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
            raise InputError(f"query {query!r} has no judgements: leave it out, or add them to the qrels")
        for document, grade in judged.items():
            if document not in column:
                raise InputError(f"query {query!r} is judged on document {document!r}, which the corpus lacks")
            if grade > 0:
                pairs.append((row, column[document], grade))
    if not pairs:
        raise InputError("no query has a relevant document (a grade above 0): nothing can be scored")
    query, columns, gain = np.array(pairs).T
    return Judgements(order, query, columns, gain, len(query_ids))


class RankCounter:
    """Ranks of one relevant document in each row, for one score matrix after another (every dimension, say).

    columns: (P,) int64, the relevant document's column in each row. Fast when they increase: left of all of them a tie
    ranks better, right of all a tie ranks worse, and only between them must both be told apart.
    """

    def __init__(self, columns: Tensor, n_documents: int):
        self.columns = columns[:, None]
        self.low, self.high = int(columns.min()), int(columns.max()) + 1
        self.left = (torch.arange(self.low, self.high) < self.columns).float()  # (P, high - low)
        # a float mask, because a comparison that writes its operands' own type is several times faster than one to bool
        self.better = torch.empty(len(columns), n_documents)
        self.tied = torch.empty_like(self.left)

    def __call__(self, scores: Tensor) -> Tensor:
        """scores (P, N) float32, columns ordered by document id, largest first -> ranks (P,) int64, from 1."""
        low, high, better = self.low, self.high, self.better
        own = scores.gather(1, self.columns)  # (P, 1)
        torch.ge(scores[:, :low], own, out=better[:, :low])
        torch.gt(scores[:, low:], own, out=better[:, low:])
        torch.eq(scores[:, low:high], own, out=self.tied)
        better[:, low:high].addcmul_(self.tied, self.left)
        # sums of ones are exact in float32 up to 2^24
        return 1 + sum(part.sum(1).long() for part in better.split(2**24, dim=1))


def rank_relevant(scores: Tensor, columns: Tensor) -> Tensor:
    """Rank, from 1, of one relevant document in each row, by counting the documents that rank better.

    scores: (P, N) float32, columns ordered by document id, largest first. columns: (P,) int64. Returns (P,) int64.
    Equal scores: the smaller column ranks first, which is trec_eval's order (larger document id first).
    """
    return RankCounter(columns, scores.shape[1])(scores)


def rank_all(scores: Tensor) -> Tensor:
    """Rank, from 1, of every document in each row, by one stable sort: for queries with very many relevant documents.

    scores: (B, N), columns ordered by document id, largest first. Returns (B, N) int64.
    """
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    return ranks.scatter_(1, order, torch.arange(1, scores.shape[1] + 1).expand_as(order).contiguous())


def parse_metric(name: str) -> tuple[str, int | None]:
    """ "ndcg@10" to ("ndcg", 10), "map" to ("map", None). Raises InputError for a measure that does not exist."""
    match = re.fullmatch(r"([a-z]+)(?:@([1-9]\d*))?", name)
    if not match or match[1] not in RETRIEVAL_METRICS or (match[1] in _NEEDS_CUTOFF and not match[2]):
        raise InputError(
            f"measure {name!r} is not a retrieval measure: choose ndcg@k, mrr@k, map, map@k, recall@k or precision@k"
        )
    return match[1], int(match[2]) if match[2] else None


def cutoff(name: str) -> int:
    """The k of a measure's name. Raises InputError for one without, which looks at every document."""
    k = parse_metric(name)[1]
    if k is None:
        raise InputError(f"measure {name!r} looks at every document: give a cut-off, as in {name}@10")
    return k


def found_ranks(rows: np.ndarray, judgements: Judgements) -> np.ndarray:
    """Rank, from 1, of each judged pair's document among the rows (Q, k) that a search found, best first: (P,) int64,
    beyond every cut-off where it is not among them."""
    wanted = judgements.order[judgements.column]  # the row of each pair's document
    hit = rows[judgements.query] == wanted[:, None]  # (P, k)
    return np.where(hit.any(1), hit.argmax(1) + 1, np.iinfo(np.int32).max)


def retrieval_metric(name: str, ranks: np.ndarray, judgements: Judgements) -> np.ndarray:
    """A ranking measure of every query. ranks: (..., P) from 1, as `judgements` orders pairs. Returns (..., n_queries).

    ndcg[@k]: gain = grade, discount 1 / log2(rank + 1), over the ideal ranking of all judged documents (trec_eval).
    mrr[@k]: 1 / rank of the first relevant document, 0 beyond k.
    map: mean precision at each relevant document, over all relevant ones (trec_eval). map@k: AP = (1/k) sum over ranks
    i <= k of P(i) rel_i, the denominator that the MRL paper's code uses (2205.13147); not trec_eval's map_cut.
    recall@k, precision@k: relevant documents in the first k, over all relevant ones, over k.
    Raises InputError for an unknown measure.
    """
    kind, k = parse_metric(name)
    j = judgements
    if ranks.shape[-1] != len(j.query):
        raise InputError(f"{ranks.shape[-1]} ranks for {len(j.query)} judged pairs: give one rank a pair")
    inside = ranks <= (k or np.inf)
    relevant = np.maximum(j.n_relevant, 1)
    if kind == "ndcg":
        return _sum(np.where(inside, j.gain / np.log2(ranks + 1.0), 0.0), j) / _ideal_dcg(j, k)
    if kind == "mrr":
        return _reduce(np.maximum, np.where(inside, 1.0 / ranks, 0.0), j)
    if kind == "map":
        first = np.concatenate([[0], np.cumsum(j.n_relevant)[:-1]])[j.query]  # where the pair's query begins
        # sorting (query, rank) keeps each query's pairs together and puts its relevant documents in ranked order
        span = int(ranks.max(initial=1)) + 1
        ordered = np.sort(ranks + j.query * span, axis=-1) - j.query * span
        precision = (np.arange(len(j.query)) - first + 1) / ordered
        return _sum(np.where(ordered <= (k or np.inf), precision, 0.0), j) / (k or relevant)
    return _sum(inside.astype(np.float64), j) / (relevant if kind == "recall" else k)


def _sum(values: np.ndarray, j: Judgements) -> np.ndarray:
    return _reduce(np.add, values, j)


def _reduce(ufunc: np.ufunc, values: np.ndarray, j: Judgements) -> np.ndarray:
    """Reduce (..., P) over each query's pairs to (..., n_queries); 0 where a query has none."""
    present, starts = np.unique(j.query, return_index=True)
    out = np.zeros((*values.shape[:-1], j.n_queries))
    out[..., present] = ufunc.reduceat(values, starts, axis=-1)
    return out


def _ideal_dcg(j: Judgements, k: int | None) -> np.ndarray:
    order = np.lexsort((-j.gain, j.query))
    first = np.concatenate([[0], np.cumsum(j.n_relevant)[:-1]])[j.query]
    place = np.arange(len(j.query)) - first + 1
    ideal = _sum(np.where(place <= (k or np.inf), j.gain[order] / np.log2(place + 1.0), 0.0), j)
    return np.where(ideal > 0, ideal, 1.0)


def spearman(scores: np.ndarray, gold: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of every row of `scores` (..., N) with `gold` (N,), ties at their mean rank.

    0 where a row is constant. Raises InputError for fewer than two items or a constant `gold`.
    """
    gold = np.asarray(gold)
    if len(gold) < 2 or np.ptp(gold) == 0:
        raise InputError("the gold scores do not differ: a rank correlation needs at least two unequal ones")
    a = rankdata(scores, axis=-1)
    b = rankdata(gold)
    a = a - a.mean(-1, keepdims=True)
    b = b - b.mean()
    norms = np.sqrt((a * a).sum(-1) * (b * b).sum())
    return np.divide(a @ b, norms, out=np.zeros(norms.shape), where=norms > 0)


def pair_scores(first: np.ndarray, second: np.ndarray, dims: Sequence[int], *, cosine: bool = True) -> np.ndarray:
    """Similarity of paired vectors at every dimension from one pass: (len(dims), N) float32.

    first, second: (N, D). A zero vector scores 0.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    at = np.asarray(dims) - 1
    dot = np.cumsum(a * b, axis=-1)[:, at]
    if cosine:
        norms = np.sqrt(np.cumsum(a * a, axis=-1)[:, at]) * np.sqrt(np.cumsum(b * b, axis=-1)[:, at])
        dot = np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)
    return dot.T.astype(np.float32)
