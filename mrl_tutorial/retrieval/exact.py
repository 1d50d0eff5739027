"""The best documents of a scan or a shortlist: found in float32, settled in float64.

A scan runs over the documents in blocks that stay in the processor's cache and keeps, for each query, what beats the
worst of the best so far. It keeps a few more than asked for; those are scored again in float64 and ordered by score,
then by row. So a result does not depend on blocks, threads or batch, and equals that of an exact float64 search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Protocol

import numpy as np
from threadpoolctl import ThreadpoolController

from mrl_tutorial.errors import InputError

SPARE = 16  # documents kept beyond those asked for, against rounding
SCORES = 2**18  # scores of a block: 1 MB, about a core's cache
GATHER = 2**20  # numbers gathered at a time
BLOCK = 2**15  # documents worked on at a time while an engine is built


class Vectors(Protocol):
    """N documents of width d as a scan or a rescoring needs them. Queries (B, d) come prepared by `prepare`."""

    n: int

    def block(self, queries: np.ndarray, start: int, stop: int) -> np.ndarray:
        """float32 scores (B, stop - start) of consecutive documents."""

    def rough(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """float32 scores (B, C) of each query's own documents, rows (B, C)."""

    def exact(self, queries: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The same in float64."""

    def slack(self, queries: np.ndarray) -> np.ndarray:
        """How far apart two float32 scores must be, (B,), for their order to be certain."""


class FullScan:
    """What a query costs where every one of `n` documents is scored at `dim` coordinates, out of `nbytes`."""

    n: int
    dim: int
    nbytes: int

    @property
    def flops(self) -> float:
        """Multiply-adds of a query."""
        return self.n * self.dim

    @property
    def read(self) -> float:
        """Bytes that a single query reads."""
        return self.nbytes


class Workers:
    """A fixed number of threads, each with its linear algebra on one."""

    def __init__(self, threads: int = 1):
        if threads != int(threads) or threads < 1:
            raise InputError(f"threads {threads} is impossible: give 1 or more")
        self.threads = int(threads)
        self._pool: ThreadPoolExecutor | None = None
        self._libraries = ThreadpoolController()  # looking for them takes milliseconds: once

    def alone(self):
        """A context in which BLAS uses no threads of its own."""
        return self._libraries.limit(limits=1, user_api="blas")

    def map(self, job: Callable, parts: Iterable) -> list:
        """job(part) of every part, in order, on the threads."""
        parts = list(parts)
        if self.threads == 1 or len(parts) < 2:
            return [job(part) for part in parts]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads)
        return list(self._pool.map(job, parts))

    def parts(self, n: int, least: int = 1) -> list[slice]:
        """0..n in about equal slices, one a thread, none smaller than `least`."""
        count = max(1, min(self.threads, n // max(1, least)))
        edges = [n * i // count for i in range(count + 1)]
        return [slice(a, b) for a, b in pairwise(edges)]


def scan(vectors: Vectors, queries: np.ndarray, keep: int, workers: Workers) -> tuple[np.ndarray, np.ndarray]:
    """The `keep` best of all documents for each query: rows (B, K) int64, scores (B, K) float64, K = min(keep, N).

    queries (B, d) float64, prepared. Best first; equal scores in the order of rows.
    """
    keep = min(keep, vectors.n)
    width = min(keep + SPARE, vectors.n)
    rows = np.empty((len(queries), keep), dtype=np.int64)
    scores = np.empty((len(queries), keep))
    for start in range(0, len(queries), 256):
        here = slice(start, start + 256)
        q = queries[here]
        small = q.astype(np.float32)
        found = workers.map(lambda part, q=small: _scan_part(vectors, q, part, width), workers.parts(vectors.n, 4096))
        joined = [np.hstack(x) for x in zip(*found, strict=True)]
        rough, candidates = _cut(*joined, width)
        rows[here], scores[here] = _settle(vectors, q, candidates, keep, workers)
        if width < vectors.n:
            for i, floor in _crowded(rough, keep, vectors.slack(q)):
                tied = np.flatnonzero(_all_scores(vectors, small[i : i + 1]) >= floor)[None]
                rows[start + i], scores[start + i] = _settle(vectors, q[i : i + 1], tied, keep, workers)
    return rows, scores


def rescore(
    vectors: Vectors, queries: np.ndarray, rows: np.ndarray, keep: int, workers: Workers
) -> tuple[np.ndarray, np.ndarray]:
    """The `keep` best of each query's own documents, rows (B, C), -1 where there is none: as `scan` returns them.

    A row of -1 scores minus infinity and comes last.
    """
    keep = min(keep, rows.shape[1])
    width = keep + SPARE
    if rows.shape[1] <= width:
        return _settle(vectors, queries, rows, keep, workers)
    rough = np.empty(rows.shape, dtype=np.float32)
    small = queries.astype(np.float32)

    def fill(part: slice) -> None:
        if len(rows) == 1:  # a query alone: its documents are shared out
            rough[:, part] = vectors.rough(small, np.maximum(rows[:, part], 0))
            return
        for here in _gathers(part, rows.shape[1] * queries.shape[1]):
            rough[here] = vectors.rough(small[here], np.maximum(rows[here], 0))

    workers.map(fill, workers.parts(len(rows)) if len(rows) != 1 else workers.parts(rows.shape[1], 256))
    rough[rows < 0] = -np.inf
    best, candidates = _cut(rough, rows, width)
    found, scores = _settle(vectors, queries, candidates, keep, workers)
    for i, _ in _crowded(best, keep, vectors.slack(queries)):
        found[i], scores[i] = _settle(vectors, queries[i : i + 1], rows[i : i + 1], keep, workers)
    return found, scores


def _scan_part(vectors: Vectors, queries: np.ndarray, part: slice, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The `width` best of documents `part` by float32: scores (B, width), rows (B, width), unordered; -inf and -1 where
    the part holds fewer."""
    n = len(queries)
    step = max(512, min(2**16, SCORES // n))
    room = 2 * width + 64
    scores = np.full((n, room), -np.inf, dtype=np.float32)
    rows = np.full((n, room), -1, dtype=np.int64)
    filled = np.zeros(n, dtype=np.int64)
    floor = np.full((n, 1), -np.inf, dtype=np.float32)

    def shrink(more: np.ndarray | None = None, first: int = 0) -> None:
        """Back to `width` a query; `more` (B, m) are scores of documents from `first` on."""
        all_scores, all_rows = scores, rows
        if more is not None:
            numbers = np.broadcast_to(np.arange(first, first + more.shape[1]), more.shape)
            all_scores, all_rows = np.hstack([scores, more]), np.hstack([rows, numbers])
        best, where = _cut(all_scores, all_rows, width)
        scores[:, :width], rows[:, :width] = best, where
        scores[:, width:], rows[:, width:] = -np.inf, -1
        filled[:] = width
        floor[:, 0] = best.min(1)

    for start in range(part.start, part.stop, step):
        stop = min(start + step, part.stop)
        block = vectors.block(queries, start, stop)
        hits = np.flatnonzero(block > floor)
        if not len(hits):
            continue
        if len(hits) > n * width:  # the first block, or documents in order of rising scores
            shrink(block, start)
            continue
        who, column = np.divmod(hits, stop - start)
        count = np.bincount(who, minlength=n)
        if (filled + count).max() > room:
            shrink()
            if count.max() > room - width:
                shrink(block, start)
                continue
        place = filled[who] + np.arange(len(hits)) - (np.cumsum(count) - count)[who]
        scores[who, place], rows[who, place] = block.reshape(-1)[hits], start + column
        filled += count
    return _cut(scores, rows, width)


def _cut(scores: np.ndarray, rows: np.ndarray, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The `width` best of each line, unordered: (B, C), (B, C) -> (B, width), (B, width)."""
    spare = scores.shape[1] - width
    if spare <= 0:
        return scores, rows
    best = np.argpartition(scores, spare, axis=1)[:, spare:]
    return np.take_along_axis(scores, best, 1), np.take_along_axis(rows, best, 1)


def _crowded(rough: np.ndarray, keep: int, slack: np.ndarray) -> Iterable[tuple[int, float]]:
    """(query, score above which anything may belong) where documents that were cut off are too close to tell."""
    last = np.partition(rough, rough.shape[1] - keep, axis=1)[:, rough.shape[1] - keep]
    floor = last - slack
    worst = rough.min(1)
    # fewer than were kept exist where the worst is -inf
    return [(int(i), float(floor[i])) for i in np.flatnonzero((worst >= floor) & np.isfinite(worst))]


def _all_scores(vectors: Vectors, query: np.ndarray) -> np.ndarray:
    return np.concatenate([vectors.block(query, a, min(a + 2**16, vectors.n))[0] for a in range(0, vectors.n, 2**16)])


def _settle(vectors: Vectors, queries: np.ndarray, rows: np.ndarray, keep: int, workers: Workers):
    """Candidates (B, C) ordered by float64 score, then row; the first `keep`."""
    scores = np.empty(rows.shape)

    def fill(part: slice) -> None:
        for here in _gathers(part, rows.shape[1] * queries.shape[1]):
            for columns in _gathers(slice(0, rows.shape[1]), queries.shape[1] * (here.stop - here.start)):
                scores[here, columns] = vectors.exact(queries[here], np.maximum(rows[here, columns], 0))

    workers.map(fill, workers.parts(len(rows)))
    scores[rows < 0] = -np.inf
    order = np.argsort(rows, axis=1)
    rows, scores = np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :keep]
    return np.take_along_axis(rows, order, 1), np.take_along_axis(scores, order, 1)


def _gathers(part: slice, numbers: int) -> list[slice]:
    """`part` in slices of which each gathers about GATHER numbers, at `numbers` an item."""
    step = max(1, GATHER // max(1, numbers))
    return [slice(a, min(a + step, part.stop)) for a in range(part.start, part.stop, step)]


def inverse_lengths(x: np.ndarray) -> np.ndarray:
    """1 / length of the vectors x (..., d), float32 or float64, 0 for zero vectors."""
    # float64 decides ties: there each vector's sum must be taken in the same order, which einsum does not promise
    squares = (x * x).sum(-1) if x.dtype == np.float64 else np.einsum("...d,...d->...", x, x)
    lengths = np.sqrt(squares)
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def unit(x: np.ndarray) -> np.ndarray:
    """x (..., D) at length 1; zero vectors stay zero."""
    lengths = np.linalg.norm(x, axis=-1, keepdims=True)
    return x / np.where(lengths > 0, lengths, 1)
