"""From vectors to the ranks of relevant documents at every dimension, block by block.

A document's rank is one plus the number of documents that score better. Counting them takes one comparison for each
score, so nothing has to be sorted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from mrl_tutorial.evaluation.metrics import Judgments
from mrl_tutorial.prefixes import iter_scores

BLOCK = 2**19  # scores held at a time: 2 MB, which the processor's cache keeps while every dimension passes over them
SORT_THRESHOLD = 50  # relevant documents per query from which one sort is cheaper than counting for each

ScoresByDim = Iterator[tuple[int, Tensor]]  # (dimension, scores (B, N)), as `iter_scores` yields them


@contextmanager
def one_thread() -> Iterator[None]:
    """PyTorch, NumPy and scikit-learn on one thread inside the block: scoring is thousands of short operations, which
    threads that wait for each other make ten times slower while anything else runs on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


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
    j = judgments
    documents = documents[j.order]
    ranks = np.empty((len(dims), len(j.query)), dtype=np.int32)
    if len(j.query) > SORT_THRESHOLD * len(np.unique(j.query)):
        for rows, by_dim in score_blocks(queries, documents, dims, cosine=cosine):
            pairs = slice(*np.searchsorted(j.query, [rows.start, rows.stop]))
            for m, (_, scores) in enumerate(by_dim):
                ranks[m, pairs] = rank_all(scores).numpy()[j.query[pairs] - rows.start, j.column[pairs]]
        return ranks
    # a row for each pair, not for each query, sorted by column: what RankCounter is fast at
    order = np.argsort(j.column, kind="stable")
    columns = torch.from_numpy(j.column[order])
    for rows, by_dim in score_blocks(queries[j.query[order]], documents, dims, cosine=cosine):
        count = RankCounter(columns[rows], len(documents))
        for m, (_, scores) in enumerate(by_dim):
            ranks[m, order[rows]] = count(scores).numpy()
    return ranks


def rank_all(scores: Tensor) -> Tensor:
    """Rank (B, N), from 1, of every document in each row of scores (B, N), by one stable sort: for queries with very
    many relevant documents. Columns are ordered by document id, largest first; of equal scores the smaller column ranks
    first, as in trec_eval."""
    order = scores.argsort(dim=1, descending=True, stable=True)
    ranks = torch.empty_like(order)
    return ranks.scatter_(1, order, torch.arange(1, scores.shape[1] + 1).expand_as(order).contiguous())


class RankCounter:
    """The same rank, of one document in each row only, by counting; for one score matrix after another.

    columns: (P,) int64, the document's column in each row. Fast where they increase: left of all of them a tie ranks
    better, right of all of them it ranks worse, and only between them must the two be told apart.
    """

    def __init__(self, columns: Tensor, n_documents: int):
        self.columns = columns[:, None]
        self.low, self.high = int(columns.min()), int(columns.max()) + 1
        self.left = (torch.arange(self.low, self.high) < self.columns).float()  # (P, high - low)
        # a float mask, because a comparison that writes its operands' own type is several times faster than one to bool
        self.better = torch.empty(len(columns), n_documents)
        self.tied = torch.empty_like(self.left)

    def __call__(self, scores: Tensor) -> Tensor:
        """scores (P, N) float32 -> ranks (P,) int64, from 1."""
        low, high, better = self.low, self.high, self.better
        own = scores.gather(1, self.columns)  # (P, 1)
        torch.ge(scores[:, :low], own, out=better[:, :low])
        torch.gt(scores[:, low:], own, out=better[:, low:])
        torch.eq(scores[:, low:high], own, out=self.tied)
        better[:, low:high].addcmul_(self.tied, self.left)
        # sums of ones are exact in float32 up to 2^24
        ranks = torch.ones(len(better), dtype=torch.int64)
        for part in better.split(2**24, dim=1):
            ranks += part.sum(1).long()
        return ranks


def score_blocks(
    queries: np.ndarray, documents: np.ndarray, dims: Sequence[int], *, cosine: bool
) -> Iterator[tuple[slice, ScoresByDim]]:
    """Yield (rows of queries, `iter_scores` of those rows with all documents), about BLOCK scores at a time.

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
    twins, firsts = repeats(documents)
    size = max(1, BLOCK // columns.shape[1])
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        part = torch.from_numpy(np.array(queries[rows], dtype=np.float32))
        yield rows, _tied(iter_scores(part, columns.T, dims, cosine=cosine), twins, firsts)


def repeats(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of x (N, D) that repeat an earlier row bit by bit, and the first row that each of them repeats."""
    seen: dict[bytes, int] = {}
    firsts = np.array([seen.setdefault(row.tobytes(), i) for i, row in enumerate(x)])
    twins = np.flatnonzero(firsts != np.arange(len(x)))
    return twins, firsts[twins]


def _tied(by_dim: ScoresByDim, twins: np.ndarray, firsts: np.ndarray) -> ScoresByDim:
    # a matrix product may round equal columns differently, at its tiles' edges: twins must tie exactly
    for d, scores in by_dim:
        if len(twins):
            scores[:, twins] = scores[:, firsts]
        yield d, scores
