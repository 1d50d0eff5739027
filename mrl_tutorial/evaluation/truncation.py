"""Four ways to score with the first d coordinates, of which three look alike and rank differently.

With x^ = x / |x|, the vector at unit length over its full width, q and x cut to d:
cut   q . x / (|q| |x|)   cut, then normalise: the cosine of the prefixes
late  q^ . x^             normalise, then cut: unit vectors lose length by the cut, each by its own share
raw   q . x               no normalising at all
l2    -|q^ - x^|^2        normalise, then cut, then Euclidean distance; at full width it ranks as the cosine does
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.metrics import Judgements, judge, retrieval_metric
from mrl_tutorial.evaluation.ranks import relevant_ranks
from mrl_tutorial.grid import default_dims
from mrl_tutorial.retrieval.exact import unit

WAYS = ("cut", "late", "raw", "l2")
METRICS = ("ndcg@10", "recall@10")
BINS = 50  # of the histogram of lengths, from 0 to 1
Relevant = Sequence[Iterable[int]] | Mapping[int, Iterable[int] | Mapping[int, int]]


@dataclass(frozen=True)
class Truncation:
    """What every way gives at every dimension.

    queries (Q, D), documents (N, D) float32, as they came; rows (Q,): where the scored queries were given.
    values: measure -> (4, D), a row for each of `WAYS`.
    ties (N,): a document's place among equal scores, drawn by lot.
    contrast (Q,): how far the ways are apart for a query, by nDCG@10 (mean over `default_dims`).
    lengths (D, BINS): share of the documents whose unit vector's first d coordinates have a length in that bin.
    spread (D, 3): the lengths' 5, 50 and 95 % quantiles.
    """

    queries: np.ndarray
    documents: np.ndarray
    rows: tuple[int, ...]
    relevant: tuple[frozenset[int], ...]
    values: Mapping[str, np.ndarray]
    ties: np.ndarray
    contrast: np.ndarray
    lengths: np.ndarray
    spread: np.ndarray

    @property
    def width(self) -> int:
        """D."""
        return self.documents.shape[1]

    @cached_property
    def units(self) -> np.ndarray:
        """The documents (N, D) at length 1."""
        return unit(self.documents)

    def check(self, d: int) -> None:
        """Raises InputError for a dimension that does not exist."""
        if not 1 <= d <= self.width:
            raise InputError(f"dimension {d} does not exist: choose 1 to {self.width}")

    def top(self, way: str, query: int, d: int, k: int = 5) -> np.ndarray:
        """Rows of the k best documents for a query, best first, equal scores in the order of `ties`."""
        units = self.units if way in ("late", "l2") else None
        found = scores(way, self.queries[query], self.documents, d, units)
        # sorting the few that reach the k-th score is enough
        near = np.flatnonzero(found >= np.partition(found, -k)[-k]) if k < len(found) else np.arange(len(found))
        return near[np.lexsort((self.ties[near], -found[near]))][:k]


def measure_truncation(
    queries: np.ndarray, documents: np.ndarray, relevant: Relevant,
    progress: Callable[[int, int, str], object] = lambda done, total, label: None,
) -> Truncation:  # fmt: skip
    """Every way at every dimension 1 ... D. queries (Q, D), documents (N, D), not normalised where `raw` is to mean
    something. relevant: for each query the rows of its relevant documents, as a list of sets or a dict by query row,
    whose values may also be {row: grade}. A query without a relevant document is left out.

    Raises InputError for shapes or rows that do not fit. Equal scores, as cosines of single coordinates are, rank in an
    order drawn by lot: were it that of rows, relevant documents that come first would win.
    """
    queries, documents = _vectors("queries", queries), _vectors("documents", documents)
    if queries.shape[1] != documents.shape[1]:
        raise InputError(f"queries of width {queries.shape[1]}, documents of {documents.shape[1]}: encode both alike")
    graded = _graded(relevant, len(queries), len(documents))
    rows = sorted(graded)
    ties = np.random.default_rng(0).permutation(len(documents))
    queries, j = queries[rows], _judgements(graded, ties)
    width, near = documents.shape[1], np.array(default_dims(documents.shape[1])) - 1
    values = {m: np.zeros((len(WAYS), width)) for m in METRICS}
    some = np.zeros((len(WAYS), len(near), len(queries)))
    for i, way in enumerate(WAYS):
        progress(i, len(WAYS), f"all {width} dimensions, way {way}")
        q, x, step = products(way, queries, documents)
        dims = range(step, step * width + 1, step)
        ranks = relevant_ranks(q, x, dims, j, cosine=way == "cut")
        for m in METRICS:
            each = retrieval_metric(m, ranks, j)  # (D, Q)
            values[m][i] = each.mean(1)
            if m == METRICS[0]:
                some[i] = each[near]
    progress(len(WAYS), len(WAYS), "done")
    lengths = prefix_lengths(documents)
    return Truncation(
        queries, documents, tuple(rows),
        tuple(frozenset(r for r, g in graded[row].items() if g > 0) for row in rows),
        values, ties, np.ptp(some, axis=0).mean(0), histogram(lengths),
        np.quantile(lengths, [0.05, 0.5, 0.95], axis=0).T,
    )  # fmt: skip


def scores(
    way: str, query: np.ndarray, documents: np.ndarray, d: int, units: np.ndarray | None = None
) -> np.ndarray:  # fmt: skip
    """Scores (N,) of one query (D,) with documents (N, D) by a way of `WAYS` at dimension d; higher is better. units
    (N, D): the documents at length 1, where they are at hand.

    Raises InputError for an unknown way or a dimension that does not exist.
    """
    _way(way)
    if not 1 <= d <= documents.shape[1]:
        raise InputError(f"dimension {d} does not exist: choose 1 to {documents.shape[1]}")
    if way == "raw":
        return documents[:, :d] @ query[:d]
    if way == "cut":
        return unit(documents[:, :d]) @ unit(query[:d])
    q, x = unit(query)[:d], (unit(documents) if units is None else units)[:, :d]
    return x @ q if way == "late" else -np.square(x - q).sum(1)


def products(way: str, queries: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Queries (Q, s D) and documents (N, s D), and s, such that the dot product (cosine for `cut`) of their first s d
    coordinates ranks as the way does at d: then one pass over the coordinates gives every dimension.

    l2: -|q - x|^2 is the sum over coordinates of 2 q x - x^2, but for a number of the query's own, so (q, -1) . (2 x,
    x^2) and s = 2.
    """
    _way(way)
    if way in ("cut", "raw"):
        return queries, documents, 1
    q, x = unit(queries), unit(documents)
    if way == "late":
        return q, x, 1
    pairs_q = np.stack([q, -np.ones_like(q)], axis=2)  # (Q, D, 2)
    pairs_x = np.stack([2 * x, x * x], axis=2)
    return pairs_q.reshape(len(q), -1), pairs_x.reshape(len(x), -1), 2


def prefix_lengths(documents: np.ndarray) -> np.ndarray:
    """Length of the first d coordinates of the unit vectors of documents (N, D), at every d: (N, D)."""
    return np.sqrt(np.minimum(np.cumsum(np.square(unit(documents), dtype=np.float64), axis=1), 1))


def histogram(lengths: np.ndarray) -> np.ndarray:
    """lengths (N, D) from 0 to 1 -> share of the N in each of `BINS` bins, (D, BINS)."""
    n, width = lengths.shape
    bins = np.minimum((lengths * BINS).astype(int), BINS - 1) + BINS * np.arange(width)
    return np.bincount(bins.ravel(), minlength=width * BINS).reshape(width, BINS) / n


def _way(way: str) -> None:
    if way not in WAYS:
        raise InputError(f"way {way!r} is unknown: choose one of {', '.join(WAYS)}")


def _vectors(name: str, x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    if x.ndim != 2 or not x.size or x.dtype.kind not in "fiu":
        raise InputError(f"{name} of shape {x.shape} are no table of numbers: give one row of coordinates each")
    if not np.isfinite(x).all():
        raise InputError(f"{name} hold NaN or infinity: leave those rows out")
    return np.ascontiguousarray(x, dtype=np.float32)


def _graded(relevant: Relevant, n_queries: int, n_documents: int) -> dict[int, dict[int, int]]:
    if not isinstance(relevant, Mapping):
        relevant = list(relevant)
        if len(relevant) != n_queries:
            raise InputError(f"{len(relevant)} sets of relevant documents for {n_queries} queries: give one a query")
        relevant = dict(enumerate(relevant))
    graded = {}
    for query, found in relevant.items():
        found = {int(r): int(g) for r, g in found.items()} if isinstance(found, Mapping) else {int(r): 1 for r in found}
        if not 0 <= query < n_queries:
            raise InputError(f"query {query} does not exist: rows are 0 to {n_queries - 1}")
        for row in found:
            if not 0 <= row < n_documents:
                raise InputError(f"query {query} names document {row}: rows are 0 to {n_documents - 1}")
        if any(g > 0 for g in found.values()):
            graded[query] = found
    if not graded:
        raise InputError("no query has a relevant document: nothing can be scored")
    return graded


def _judgements(graded: Mapping[int, Mapping[int, int]], ties: np.ndarray) -> Judgements:
    # ids fall as places grow, because among equal scores the larger id ranks first
    documents = [f"{len(ties) - place:09d}" for place in ties]
    names = {query: str(query) for query in sorted(graded)}
    qrels = {names[q]: {documents[row]: grade for row, grade in graded[q].items()} for q in names}
    return judge(list(names.values()), documents, qrels)
