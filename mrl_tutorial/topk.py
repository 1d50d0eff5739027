"""The k best documents of every query: found in float32, rescored in float64.

A search multiplies blocks of documents in float32 and keeps a few more candidates than it was asked for. These are
scored again in float64, then ordered by score and, where scores are equal, by row. So the result is that of an exact
float64 search, ties included. It does not depend on blocks, threads or the number of queries asked together.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

EXTRA_CANDIDATES = 16  # candidates beyond those asked for, against rounding
SCORES = 2**20  # scores held at a time: 4 MB
RESCORE_BLOCK = 2**12  # documents scored in float64 at a time


def inverse_lengths(x: np.ndarray) -> np.ndarray:
    """1 / length of each vector of x (..., d), float32 or float64, as (...); 0 for zero vectors."""
    # float64 settles ties, so each vector's sum must be taken in the same order, which einsum does not promise
    squares = (x * x).sum(-1) if x.dtype == np.float64 else np.einsum("...d,...d->...", x, x)
    lengths = np.sqrt(squares)
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def unit(x: np.ndarray) -> np.ndarray:
    """x (..., D) brought to length 1; zero vectors stay zero.

    >>> unit(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.6, 0.8], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


class ExactIndex:
    """Documents (N, d), read as float32, ready for exact searches. A zero vector scores 0.

    cosine: score by the cosine, else by the inner product. threads: share out the documents of a search. Vectors are
    not checked: NaN must be kept away.

    >>> index = ExactIndex(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]))
    >>> rows, scores = index.search(np.array([[0.0, 1.0]]), 2)
    >>> rows.tolist(), scores.round(3).tolist()
    ([[1, 2]], [[1.0, 0.707]])
    """

    def __init__(self, documents: np.ndarray, *, cosine: bool = True, threads: int = 1):
        self.documents = np.ascontiguousarray(documents, dtype=np.float32)
        self.n, self.dim = self.documents.shape
        self.cosine, self.threads = cosine, threads
        step = max(1, SCORES // self.dim)
        blocks = [inverse_lengths(self.documents[a : a + step]) for a in range(0, self.n, step)]
        inverse = np.concatenate([np.empty(0, dtype=np.float32), *blocks])
        self.inverse = inverse if cosine else None  # (N,)
        # the longest vector decides how far a float32 inner product may be off; a cosine's vectors have length 1
        self.reach = 1.0 if cosine else float(1 / inverse[inverse > 0].min(initial=np.inf))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k best documents by the queries' first d coordinates: rows (B, K) int64 and scores (B, K) float64.

        queries: (B, >= d). K = min(k, N). Best first; equal scores rank in the order of rows.
        """
        k, width = min(k, self.n), min(k + EXTRA_CANDIDATES, self.n)
        q = prepared(queries[:, : self.dim], self.cosine)
        rows, scores = np.empty((len(q), k), dtype=np.int64), np.empty((len(q), k))
        for start in range(0, len(q), 256):
            part = q[start : start + 256]
            rough, candidates = self._candidates(part.astype(np.float32), width)
            floor = rough[:, k - 1] - 2 * _error(part, self.reach)
            for i, query in enumerate(part):
                found = candidates[i]
                if width < self.n and rough[i, -1] >= floor[i]:  # too close to tell from what was left out
                    found = np.flatnonzero(self._scores(query.astype(np.float32)[None], 0, self.n)[0] >= floor[i])
                rows[start + i], scores[start + i] = _rescore(query, found, self.documents.__getitem__, k, self.cosine)
        return rows, scores

    def _candidates(self, q: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
        """The `width` best by float32: scores (B, width), falling, and rows (B, width)."""
        count = min(self.threads, 1 + self.n // 4096)
        edges = [self.n * i // count for i in range(count + 1)]
        if count == 1:
            best, rows = self._best_of(q, width, 0, self.n)
        else:
            with ThreadPoolExecutor(count) as pool:
                found = list(pool.map(lambda first, last: self._best_of(q, width, first, last), edges, edges[1:]))
            best, rows = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        top = best.topk(width)
        return top.values.numpy(), rows.gather(1, top.indices).numpy()

    def _best_of(self, q: np.ndarray, width: int, start: int, stop: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The same for the documents from start to stop, or all of them where there are fewer than `width`."""
        best, rows = torch.empty(len(q), 0), torch.empty(len(q), 0, dtype=torch.int64)
        step = max(512, SCORES // max(1, len(q)))
        for first in range(start, stop, step):
            scores = torch.from_numpy(self._scores(q, first, min(first + step, stop)))
            found = scores.topk(min(width, scores.shape[1]))
            best, rows = torch.cat([best, found.values], 1), torch.cat([rows, found.indices + first], 1)
            top = best.topk(min(width, best.shape[1]))
            best, rows = top.values, rows.gather(1, top.indices)
        return best, rows

    def _scores(self, q: np.ndarray, first: int, last: int) -> np.ndarray:
        """float32 scores (B, last - first) of consecutive documents."""
        scores = q @ self.documents[first:last].T
        if self.inverse is not None:
            scores *= self.inverse[first:last]
        return scores


def top_k(queries: np.ndarray, documents: np.ndarray, k: int, *, cosine: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The k best of documents (N, D) for queries (B, D), as `ExactIndex.search` gives them.

    >>> rows, _ = top_k(np.eye(2), np.array([[1.0, 0.1], [0.1, 1.0], [1.0, 0.1]]), 2)
    >>> rows.tolist()
    [[0, 2], [1, 0]]
    """
    return ExactIndex(documents, cosine=cosine).search(queries, k)


def rerank(
    queries: np.ndarray, rows: np.ndarray, vectors: Callable[[np.ndarray], np.ndarray], k: int, *, cosine: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of each query's own documents: rows (B, K), scores (B, K) float64, best first, K = min(k, C).

    queries: (B, d). rows: (B, C), -1 where there is no document, which scores minus infinity and comes last.
    vectors: gives the documents (c, d) of some rows (c,); only these are ever read.

    >>> documents = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    >>> rerank(np.array([[0.0, 1.0]]), np.array([[2, 0, -1]]), documents.__getitem__, 2)[0].tolist()
    [[2, 0]]
    """
    k = min(k, rows.shape[1])
    found, scores = np.full((len(rows), k), -1, dtype=np.int64), np.full((len(rows), k), -np.inf)
    for i, query in enumerate(prepared(queries, cosine)):
        own = rows[i][rows[i] >= 0]
        if len(own) > k:
            own = own[_near(query, np.asarray(vectors(own), dtype=np.float32), k, cosine)]
        best = _rescore(query, own, vectors, k, cosine)
        found[i, : len(best[0])], scores[i, : len(best[0])] = best
    return found, scores


def top_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns of the k largest of each row of scores (B, N), best first, ties in the order of columns: (B, min(k, N)).

    >>> top_columns(np.array([[1.0, 3.0, 3.0, 3.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]]), 2).tolist()
    [[1, 2], [0, 1]]
    """
    if k >= scores.shape[1]:
        return np.argsort(-scores, axis=1, kind="stable")
    taken = np.sort(np.argpartition(scores, -k, axis=1)[:, -k:], axis=1)
    worst = np.take_along_axis(scores, taken, 1).min(1, keepdims=True)
    for i in np.flatnonzero((scores >= worst).sum(1) > k):  # a tie across the edge
        taken[i] = np.sort(np.argsort(-scores[i], kind="stable")[:k])
    order = np.argsort(-np.take_along_axis(scores, taken, 1), axis=1, kind="stable")
    return np.take_along_axis(taken, order, 1)


def prepared(queries: np.ndarray, cosine: bool = True) -> np.ndarray:
    """Queries (B, d) made ready for rescoring: float64, for cosines at length 1 (zero vectors stay zero)."""
    q = np.asarray(queries, dtype=np.float64)
    return q * inverse_lengths(q)[:, None] if cosine else q


def _error(queries: np.ndarray, reach: float) -> np.ndarray:
    """How far a float32 score of queries (..., d) may be off, (...); reach: the length of the longest document."""
    return (queries.shape[-1] + 8) * 2.0**-24 * reach * np.sqrt((queries**2).sum(-1))


def _near(query: np.ndarray, x: np.ndarray, k: int, cosine: bool) -> np.ndarray:
    """Which documents x (C, d) may be among the k best for a prepared query (d,), by their float32 scores: (C,)."""
    inverse = inverse_lengths(x)
    scores = x @ query.astype(np.float32) * (inverse if cosine else 1)
    reach = 1.0 if cosine else float(1 / inverse[inverse > 0].min(initial=np.inf))
    return scores >= np.partition(scores, -k)[-k] - 2 * _error(query, reach)


def _rescore(
    query: np.ndarray, rows: np.ndarray, vectors: Callable[[np.ndarray], np.ndarray], k: int, cosine: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of candidates `rows` (C,) for a prepared query (d,), by float64 score, then by row."""
    scores = np.empty(len(rows))
    for a in range(0, len(rows), RESCORE_BLOCK):
        x = vectors(rows[a : a + RESCORE_BLOCK]).astype(np.float64)  # (c, d)
        # one vector's products at a time: a matrix product may round equal vectors differently
        scores[a : a + RESCORE_BLOCK] = (x * query).sum(-1) * (inverse_lengths(x) if cosine else 1)
    order = np.lexsort((rows, -scores))[:k]
    return rows[order], scores[order]
