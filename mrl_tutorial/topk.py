"""The k best documents of every query: found in float32 by grouped maxima, settled in float64.

A few more candidates than asked for are scored anew in float64 and ordered by score, then by row. So the result is that
of an exact float64 search, ties included, whatever the blocks, the threads and the number of queries asked together.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product

import numpy as np
import torch
from torch import Tensor

EXTRA_CANDIDATES = 16  # candidates beyond those asked for, against rounding
GROUP = 16  # documents whose maximum is kept
SCORES = 2**23  # scores held at a time: 32 MB
TOGETHER = 256  # queries that share a product
RESCORED = 2**20  # coordinates rescored at a time
Vectors = Callable[[np.ndarray], np.ndarray]  # rows (c,) -> documents (c, d)
Found = tuple[np.ndarray, np.ndarray]  # rows (B, K) int64 and scores (B, K) float64, best first


def inverse_lengths(x: np.ndarray) -> np.ndarray:
    """1 / length of each vector of x (..., d), float32 or float64, as (...); 0 for zero vectors."""
    # float64 settles ties, so each vector's sum must be taken in the same order, which einsum does not promise
    squares = (x * x).sum(-1) if x.dtype == np.float64 else np.einsum("...d,...d->...", x, x)
    lengths = np.sqrt(squares)
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def unit(x: np.ndarray) -> np.ndarray:
    """x (..., D) brought to length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)


@contextmanager
def on_threads(
    threads: int, now: Callable[[], int] = torch.get_num_threads, give: Callable[[int], None] = torch.set_num_threads
) -> Iterator[None]:
    """PyTorch, or the library of these two functions, on this many threads inside the block."""
    before = now()
    give(threads)
    try:
        yield
    finally:
        give(before)


def as_tensor(x: np.ndarray) -> Tensor:
    """A tensor in the same memory, which is only ever read: it may be a read-only file's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(x)


def grouped_top(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest of each column of scores (N, B): values (B, K), falling, and rows (B, K), K = min(k, N).

    They lie in the k groups with the largest maxima, which are one pass over memory; no other group is looked into."""
    n, queries = scores.shape
    groups = n // GROUP
    if groups <= 2 * k:
        top = scores.T.contiguous().topk(min(k, n))
        return top.values, top.indices
    even = groups * GROUP
    maxima = scores[:even].view(groups, GROUP, queries).amax(1)
    best = maxima.T.contiguous().topk(k, sorted=False).indices * GROUP  # (B, k)
    rows = (best[:, :, None] + torch.arange(GROUP)).flatten(1)
    rows = torch.cat([rows, torch.arange(even, n).expand(queries, -1)], 1)
    found = scores.flatten().take(rows * queries + torch.arange(queries)[:, None])
    top = found.topk(k)
    return top.values, rows.gather(1, top.indices)


def blockwise_top(score: Callable[[int, int], Tensor], n: int, queries: int, k: int) -> tuple[Tensor, Tensor]:
    """`grouped_top` of N documents, of which score(first, last) gives the scores (last - first, B) block by block."""
    values, rows = torch.empty(queries, 0), torch.empty(queries, 0, dtype=torch.int64)
    step = max(GROUP, SCORES // max(1, queries) // GROUP * GROUP)
    for first in range(0, n, step):
        found, places = grouped_top(score(first, min(first + step, n)), k)
        values, rows = torch.cat([values, found.float()], 1), torch.cat([rows, places + first], 1)
    top = values.topk(min(k, n))
    return top.values, rows.gather(1, top.indices)


class ExactIndex:
    """Documents (N, d), read as float32, ready for exact searches. A zero vector scores 0.

    cosine: score by the cosine, else by the inner product. threads: of a search. NaN must be kept away.

    >>> index = ExactIndex(np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]]))
    >>> rows, scores = index.search(np.array([[0.0, 1.0]]), 2)
    >>> rows.tolist(), scores.round(3).tolist()
    ([[1, 2]], [[1.0, 0.707]])
    """

    def __init__(self, documents: np.ndarray, *, cosine: bool = True, threads: int = 1):
        self.documents = np.ascontiguousarray(documents, dtype=np.float32)
        self.n, self.dim = self.documents.shape
        self.cosine, self.threads = cosine, threads
        self.inverse = inverse_lengths(self.documents)  # (N,)
        self._x, self._scale = as_tensor(self.documents), torch.from_numpy(self.inverse)[:, None]

    def search(self, queries: np.ndarray, k: int) -> Found:
        """The k best documents by the first d coordinates of queries (B, >= d): rows (B, K) int64 and scores (B, K)
        float64, best first, K = min(k, N). Equal scores rank in the order of rows."""
        q, k = _prepared(queries[:, : self.dim], self.cosine), min(k, self.n)
        parts = [self._best(q[a : a + TOGETHER], k, EXTRA_CANDIDATES) for a in range(0, max(1, len(q)), TOGETHER)]
        rows, scores = zip(*parts, strict=True)
        return np.concatenate(rows), np.concatenate(scores)

    def _best(self, q: np.ndarray, k: int, extra: int) -> Found:
        """The same for prepared queries, settled among `extra` more candidates, or as many more as it takes."""
        width, small = min(k + extra, self.n), torch.from_numpy(q.astype(np.float32)).T
        with on_threads(self.threads):
            rough, found = blockwise_top(partial(self._scores, small), self.n, len(q), width)
        rows, scores = _settled(q, found.numpy(), self.documents.__getitem__, k, self.cosine)
        if width < self.n:
            for i in _too_close(q, rough.numpy(), k, self.inverse, self.cosine):
                rows[[i]], scores[[i]] = self._best(q[[i]], k, 16 * extra)
        return rows, scores

    def _scores(self, q: Tensor, first: int, last: int) -> Tensor:
        """float32 scores (last - first, B) of consecutive documents for queries (d, B)."""
        scores = self._x[first:last] @ q
        return scores.mul_(self._scale[first:last]) if self.cosine else scores


def top_k(queries: np.ndarray, documents: np.ndarray, k: int, *, cosine: bool = True) -> Found:
    """The k best of documents (N, D) for queries (B, D), as `ExactIndex.search` gives them."""
    return ExactIndex(documents, cosine=cosine).search(queries, k)


def rerank(queries: np.ndarray, rows: np.ndarray, vectors: Vectors, k: int, *, cosine: bool = True) -> Found:
    """The k best of each query's own documents: rows (B, K), scores (B, K) float64, best first, K = min(k, C).

    queries: (B, d). rows: (B, C), -1 where there is no document, which scores minus infinity and comes last. vectors:
    gives the documents (c, d) of some rows (c,); only these are ever read.

    >>> documents = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]])
    >>> rerank(np.array([[0.0, 1.0]]), np.array([[2, 0, -1]]), documents.__getitem__, 2)[0].tolist()
    [[2, 0]]
    """
    (n, c), q = rows.shape, _prepared(queries, cosine)
    k, width = min(k, c), min(k + 2, c)
    if width == c:
        return _settled(q, rows, vectors, k, cosine)
    found, scores = np.empty((n, k), dtype=np.int64), np.empty((n, k))
    step = max(1, RESCORED // (c * q.shape[1]))
    for start in range(0, n, step):
        own, some = rows[start : start + step], q[start : start + step]
        x = np.asarray(vectors(np.maximum(own, 0).ravel()), dtype=np.float32).reshape(*own.shape, -1)
        rough, inverse = np.einsum("bcd,bd->bc", x, some.astype(np.float32)), inverse_lengths(x)
        rough = np.where(own < 0, -np.inf, rough * inverse if cosine else rough)
        best = np.argsort(-rough, axis=1)[:, :width]
        mine, theirs = _settled(some, np.take_along_axis(own, best, 1), vectors, k, cosine)
        for i in _too_close(some, np.take_along_axis(rough, best, 1), k, inverse, cosine):
            mine[[i]], theirs[[i]] = _settled(some[[i]], own[[i]], vectors, k, cosine)
        found[start : start + step], scores[start : start + step] = mine, theirs
    return found, scores


def top_columns(scores: np.ndarray, k: int) -> np.ndarray:
    """Columns (B, min(k, N)) of the k largest of each row of scores (B, N), best first, ties in their order."""
    k = min(k, scores.shape[1])
    taken = np.sort(np.argpartition(scores, -k, axis=1)[:, -k:], axis=1)
    worst = np.take_along_axis(scores, taken, 1).min(1, keepdims=True)
    for i in np.flatnonzero((scores >= worst).sum(1) > k):  # a tie across the edge
        taken[i] = np.sort(np.argsort(-scores[i], kind="stable")[:k])
    order = np.argsort(-np.take_along_axis(scores, taken, 1), axis=1, kind="stable")
    return np.take_along_axis(taken, order, 1)


def _prepared(queries: np.ndarray, cosine: bool) -> np.ndarray:
    """Queries (B, d) as they are rescored: float64, for cosines at length 1 (zero vectors stay zero)."""
    q = np.asarray(queries, dtype=np.float64)
    return q * inverse_lengths(q)[:, None] if cosine else q


def _too_close(q: np.ndarray, rough: np.ndarray, k: int, inverse: np.ndarray, cosine: bool) -> np.ndarray:
    """Queries for which the last of the candidates' float32 scores (B, W), falling, is too close to the k-th to tell.
    inverse: of the documents' lengths, the longest of which decides how far an inner product may be off."""
    longest = 1.0 if cosine else 1 / inverse[inverse > 0].min(initial=np.inf)
    error = (q.shape[1] + 8) * 2.0**-24 * longest * np.sqrt((q**2).sum(1))  # of a float32 score
    return np.flatnonzero(rough[:, -1] >= rough[:, k - 1] - 2 * error)


def _settled(q: np.ndarray, rows: np.ndarray, vectors: Vectors, k: int, cosine: bool) -> Found:
    """The k best of candidates `rows` (B, C) for prepared queries (B, d), by float64 score, then by row; -1 last."""
    scores = np.empty(rows.shape)
    c = max(1, min(rows.shape[1], RESCORED // q.shape[1]))
    b = max(1, RESCORED // (c * q.shape[1]))
    for i, j in product(range(0, len(rows), b), range(0, rows.shape[1], c)):
        some = rows[i : i + b, j : j + c]
        x = np.asarray(vectors(np.maximum(some, 0).ravel()), dtype=np.float64).reshape(*some.shape, -1)
        # one vector's products at a time: a matrix product may round equal vectors differently
        products = (x * q[i : i + b, None]).sum(-1)
        scores[i : i + b, j : j + c] = products * inverse_lengths(x) if cosine else products
    scores[rows < 0] = -np.inf
    order, own = np.lexsort((rows, -scores))[:, :k], np.arange(len(rows))[:, None]
    return rows[own, order], scores[own, order]
