"""From vectors to the ranks of relevant documents in every cell, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from mrl_tutorial.evaluation.metrics import Judgements, RankCounter, rank_all
from mrl_tutorial.prefixes import iter_scores

BLOCK = 2**19  # scores held at a time: 2 MB, which the processor's cache keeps while every dimension passes over them
MANY = 50  # relevant documents a query from which one sort is cheaper than counting for each


@contextmanager
def one_thread():
    """PyTorch, NumPy and scikit-learn on one thread inside the block. Scoring is thousands of short operations: where
    anything else runs on the machine, threads that wait for each other after each make it ten times slower."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def relevant_ranks(
    queries: np.ndarray, documents: np.ndarray, dims: Sequence[int], judgements: Judgements, *, cosine: bool = True
) -> np.ndarray:
    """Rank of every judged pair's document at every dimension, from 1. (len(dims), P) int32, pairs as in `judgements`.

    queries (n_queries, D), documents (N, D) of one layer, in the order of the ids given to `judge`. Ranks are those of
    float32 scores, ties as trec_eval. Zero vectors score 0.
    """
    j = judgements
    documents = documents[j.order]
    ranks = np.empty((len(dims), len(j.query)), dtype=np.int32)
    if len(j.query) > MANY * len(np.unique(j.query)):
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


def nearest(queries: np.ndarray, documents: np.ndarray, k: int, *, cosine: bool = True) -> np.ndarray:
    """Rows of the k nearest documents at full width, best first: (n_queries, k). queries, documents of one layer."""
    found = np.empty((len(queries), k), dtype=np.int64)
    for rows, by_dim in score_blocks(queries, documents, [queries.shape[1]], cosine=cosine):
        for _, scores in by_dim:
            found[rows] = scores.topk(k, dim=1).indices.numpy()
    return found


def score_blocks(
    queries: np.ndarray, documents: np.ndarray, dims: Sequence[int], *, cosine: bool
) -> Iterator[tuple[slice, Iterator[tuple[int, torch.Tensor]]]]:
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
        columns /= torch.where(first > 1e-6 * columns.norm(dim=0), first, 1)
    twins, firsts = repeats(documents)
    size = max(1, BLOCK // columns.shape[1])
    for start in range(0, len(queries), size):
        rows = slice(start, start + size)
        part = torch.from_numpy(np.array(queries[rows], dtype=np.float32))
        yield rows, _tied(iter_scores(part, columns.T, dims, cosine=cosine), twins, firsts)


def _tied(by_dim: Iterator[tuple[int, torch.Tensor]], twins: np.ndarray, firsts: np.ndarray):
    # a matrix product may round equal columns differently, at its tiles' edges: twins must tie exactly
    for d, scores in by_dim:
        if len(twins):
            scores[:, twins] = scores[:, firsts]
        yield d, scores


def repeats(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of x (N, D) float32 that repeat an earlier row bit by bit, and the first row that each repeats."""
    start = np.ascontiguousarray(x[:, : min(2, x.shape[1])])
    bits = start.view(f"i{start.itemsize * start.shape[1]}")  # one or two coordinates as one integer
    _, group, size = np.unique(bits, return_inverse=True, return_counts=True)
    seen: dict[bytes, int] = {}
    twins, firsts = [], []
    for i in np.flatnonzero(size[group.reshape(-1)] > 1):  # few rows share even two coordinates
        first = seen.setdefault(x[i].tobytes(), int(i))
        if first != i:
            twins.append(int(i))
            firsts.append(first)
    return np.array(twins, dtype=np.int64), np.array(firsts, dtype=np.int64)
