"""From vectors to the ranks of relevant documents at every dimension, and from these ranks to measures.

A ranking measure needs no sorted list, only the ranks of the relevant documents. A document's rank is one plus the
number of documents that score better: counting them takes one comparison for each score, so nothing has to be sorted.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from mrl_tutorial.errors import InputError
from mrl_tutorial.prefixes import iter_scores
from mrl_tutorial.topk import on_threads

BLOCK = 2**19  # scores held at a time: 2 MB, which the processor's cache keeps while every dimension passes over them
SORT_THRESHOLD = 50  # relevant documents per query from which one sort is cheaper than counting for each
LOST = np.iinfo(np.int32).max  # the rank of a document that a search does not find


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
    rows, columns, gain = map(np.array, zip(*pairs, strict=True))  # grades may be floats; rows and columns stay whole
    return Judgments(order, rows, columns, gain, len(query_ids))


def parse_metric(name: str) -> tuple[str, int | None]:
    """The kind and the cut-off (or None) of a measure's name. Raises InputError for a measure that does not exist."""
    match = re.fullmatch(r"(ndcg|mrr|map)(?:@([1-9]\d*))?|(recall|precision)@([1-9]\d*)", name)
    if not match:
        known = "ndcg@k, mrr@k, map, map@k, recall@k or precision@k"
        raise InputError(f"measure {name!r} is not a retrieval measure: choose {known}")
    kind, k = match[1] or match[3], match[2] or match[4]
    return kind, int(k) if k else None


def by_cosine(cosine: bool | None, encoder: Any) -> bool:
    """Whether vectors are compared by cosine: as asked for, else as the encoder does, else they are."""
    return getattr(encoder, "similarity", "cosine") != "dot" if cosine is None else cosine


def found_ranks(rows: np.ndarray, judgments: Judgments) -> np.ndarray:
    """Rank, from 1, of each judged pair's document among the rows (Q, k) that a search found, best first: (P,) int64,
    `LOST`, beyond every cut-off, where it was not found."""
    hit = rows[judgments.query] == judgments.order[judgments.column][:, None]  # (P, k)
    return np.where(hit.any(1), hit.argmax(1) + 1, LOST)


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


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch, NumPy and scikit-learn on one thread inside the block: scoring is thousands of short operations, which
    threads that wait for each other make ten times slower while anything else runs on the machine."""
    with on_threads(1), threadpool_limits(1):
        yield


def relevant_ranks(
    queries: np.ndarray, documents: np.ndarray, dims: Sequence[int], judgments: Judgments, *, cosine: bool = True
) -> np.ndarray:
    """Rank of every judged pair's document at every dimension, from 1: (len(dims), P) int32, pairs as in `judgments`.

    queries (n_queries, D), documents (N, D) of one layer, in the order of the ids given to `judge`. Ranks are those of
    float32 scores, ties as in trec_eval. Zero vectors score 0.

    >>> judged = judge(["q"], ["a", "b"], {"q": {"b": 1}})
    >>> relevant_ranks(np.array([[1.0, 2.0]]), np.array([[2.0, 0.0], [-1.0, 5.0]]), [1, 2], judged).tolist()
    [[2], [1]]
    """
    j, documents = judgments, documents[judgments.order]
    ranks = np.empty((len(dims), len(j.query)), dtype=np.int32)
    if len(j.query) > SORT_THRESHOLD * len(np.unique(j.query)):
        for rows, m, scores in score_blocks(queries, documents, dims, cosine=cosine):
            pairs = slice(*np.searchsorted(j.query, [rows.start, rows.stop]))
            # a stable sort: of equal scores the smaller column, which has the larger id, ranks first
            every = scores.argsort(dim=1, descending=True, stable=True).argsort(dim=1).numpy() + 1
            ranks[m, pairs] = every[j.query[pairs] - rows.start, j.column[pairs]]
        return ranks
    # a row for each pair, not for each query, sorted by column: what counting is fast at
    order = np.argsort(j.column, kind="stable")
    columns = torch.from_numpy(j.column[order])
    for rows, m, scores in score_blocks(queries[j.query[order]], documents, dims, cosine=cosine):
        if m == 0:
            count = rank_counter(columns[rows], len(documents))
        ranks[m, order[rows]] = count(scores).numpy()
    return ranks


def rank_counter(columns: Tensor, n_documents: int) -> Callable[[Tensor], Tensor]:
    """A function of scores (P, N) float32 that gives the rank (P,), from 1, of one document in each row: the one in
    `columns` (P,) int64. Of equal scores the smaller column ranks first.

    Left of all `columns` a tie ranks better, right of all it ranks worse, and only between them must the two be told
    apart: fast where they are close to each other.
    """
    columns = columns[:, None]
    low, high = int(columns.min()), int(columns.max()) + 1
    left = (torch.arange(low, high) < columns).float()  # (P, high - low)
    # float masks, because a comparison that writes its operands' own type is several times faster than one to bool
    better, tied = torch.empty(len(columns), n_documents), torch.empty_like(left)

    def count(scores: Tensor) -> Tensor:
        own = scores.gather(1, columns)  # (P, 1)
        torch.ge(scores[:, :low], own, out=better[:, :low])
        torch.gt(scores[:, low:], own, out=better[:, low:])
        torch.eq(scores[:, low:high], own, out=tied)
        better[:, low:high].addcmul_(tied, left)
        return better.sum(1).long() + 1  # a sum of ones is exact in float32 up to 2^24

    return count


def score_blocks(
    queries: np.ndarray, documents: np.ndarray, dims: Sequence[int], *, cosine: bool
) -> Iterator[tuple[slice, int, Tensor]]:
    """Yield (rows of queries, place in dims, the scores of those rows with all documents), about BLOCK at a time.

    queries (B, D), documents (N, D) of one layer. The scores (rows, N) are a buffer that the next dimension overwrites.
    """
    documents = np.asarray(documents, dtype=np.float32)
    # coordinates first in memory: a step reads a few coordinates of all documents
    columns = torch.from_numpy(np.array(documents.T, order="C"))  # (D, N)
    if cosine:
        # A cosine of single coordinates is +1 or -1: many true ties, which rounding would break at random.
        # Cosines do not change with a vector's length; with a first coordinate of +1 or -1 they are exact.
        first = columns[0].abs()
        columns /= torch.where(first > 1e-6 * torch.from_numpy(documents).norm(dim=1), first, 1)
    _, same, count = np.unique(documents[:, 0], return_inverse=True, return_counts=True)
    seen, firsts = dict[bytes, int](), np.arange(len(documents))
    for i in np.flatnonzero(count[same] > 1):  # few share even a coordinate
        firsts[i] = seen.setdefault(documents[i].tobytes(), int(i))
    twins = np.flatnonzero(firsts != np.arange(len(documents)))  # rows that repeat an earlier one bit by bit
    size = max(1, BLOCK // len(documents))
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        part = torch.from_numpy(np.array(queries[rows], dtype=np.float32))
        for m, (_, scores) in enumerate(iter_scores(part, columns.T, dims, cosine)):
            if len(twins):  # a matrix product may round equal columns differently, at its tiles' edges
                scores[:, twins] = scores[:, firsts[twins]]
            yield rows, m, scores
