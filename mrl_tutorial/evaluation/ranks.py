"""From vectors to the ranks of relevant documents at every dimension, block by block.

A document's rank is one plus the number of documents that score better. Counting them takes one comparison for each
score, so nothing has to be sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from mrl_tutorial.evaluation.metrics import Judgments
from mrl_tutorial.prefixes import iter_scores
from mrl_tutorial.topk import on_threads

BLOCK = 2**19  # scores held at a time: 2 MB, which the processor's cache keeps while every dimension passes over them
SORT_THRESHOLD = 50  # relevant documents per query from which one sort is cheaper than counting for each


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

    >>> from mrl_tutorial.evaluation.metrics import judge
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
    seen: dict[bytes, int] = {}
    firsts = np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(documents)])
    twins = np.flatnonzero(firsts != np.arange(len(documents)))  # rows that repeat an earlier one bit by bit
    size = max(1, BLOCK // len(documents))
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        part = torch.from_numpy(np.array(queries[rows], dtype=np.float32))
        for m, (_, scores) in enumerate(iter_scores(part, columns.T, dims, cosine)):
            if len(twins):  # a matrix product may round equal columns differently, at its tiles' edges
                scores[:, twins] = scores[:, firsts[twins]]
            yield rows, m, scores
