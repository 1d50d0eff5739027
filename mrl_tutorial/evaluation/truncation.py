"""Four ways to score with the first d coordinates, of which three look alike and rank differently.

With x^ = x / |x|, the vector at unit length over its full width, q and x cut to d:
cut   q . x / (|q| |x|)   cut, then normalize: the cosine of the prefixes
late  q^ . x^             normalize, then cut: unit vectors lose length by the cut, each by its own share
raw   q . x               no normalizing at all
l2    -|q^ - x^|^2        normalize, then cut, then Euclidean distance; at full width it ranks as the cosine does
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.metrics import judge, one_thread, relevant_ranks, retrieval_metric
from mrl_tutorial.grid import default_dims
from mrl_tutorial.topk import top_columns, unit

WAYS = ("cut", "late", "raw", "l2")
METRICS = ("ndcg@10", "recall@10")
BINS = 50  # of the histogram of lengths, from 0 to 1
Relevant = Sequence[Collection[int]]  # for each query the rows of its relevant documents


@dataclass(frozen=True)
class Truncation:
    """What every way gives at every dimension. Made by `measure_truncation`.

    queries (Q, D), documents (N, D) float32, as they came; rows (Q,): where the scored queries were given.
    relevant: the rows of each query's relevant documents. values: measure -> (4, D), a row for each of `WAYS`.
    ties (N,): a document's place among equal scores, in random order.
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

    def tops(self, queries: Sequence[int], k: int = 5) -> np.ndarray:
        """Rows of the k best documents for some queries by every way at every dimension, best first, equal scores in
        the order of `ties`: (len(queries), 4, D, k)."""
        order, queries = np.argsort(self.ties), list(queries)
        found = np.empty((len(queries), len(WAYS), self.width, min(k, len(order))), dtype=np.int64)
        for i, way in enumerate(WAYS):
            q, x, step = products(way, self.queries[queries], self.documents[order])
            x = np.array(x.T, np.float64, order="C")  # (s D, N)
            lengths = np.sqrt(np.cumsum(x * x, axis=0))
            for j, asked in enumerate(q):
                sums = np.cumsum(x * asked[:, None], axis=0)[step - 1 :: step]
                if way == "cut":
                    sums = np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)
                found[j, i] = order[top_columns(sums, k)]
        return found


def measure_truncation(
    queries: np.ndarray,
    documents: np.ndarray,
    relevant: Relevant,
    progress: Callable[[int, int, str], object] = lambda done, total, label: None,
) -> Truncation:
    """Every way at every dimension 1 ... D. queries (Q, D), documents (N, D), not normalized where `raw` is to mean
    something. relevant: for each query the rows of its relevant documents; a query without any is left out.

    Raises InputError for shapes or rows that do not fit. Equal scores, as cosines of single coordinates are, rank in a
    random order: in the order of rows, relevant documents that come first would win.

    >>> found = measure_truncation(np.eye(2), np.array([[2.0, 1.0], [0.0, 1.0]]), [{0}, {1}])
    >>> found.values["recall@10"].shape, found.tops([1], 2)[0, WAYS.index("cut"), 1].tolist()
    ((4, 2), [1, 0])
    """
    queries, documents = _checked(queries, documents, relevant)
    rows, width = [row for row, good in enumerate(relevant) if len(good)], documents.shape[1]
    ties = np.random.default_rng(0).permutation(len(documents))
    # ids fall as places grow, because among equal scores the larger id ranks first
    ids = [f"{len(ties) - place:09d}" for place in ties]
    qrels = {str(row): {ids[i]: 1 for i in relevant[row]} for row in rows}
    queries, judged = queries[rows], judge(list(qrels), ids, qrels)
    each: dict[str, list[np.ndarray]] = {m: [] for m in METRICS}  # of each way, (D, Q)
    for i, way in enumerate(WAYS):
        progress(i, len(WAYS), f"all {width} dimensions, way {way}")
        q, x, step = products(way, queries, documents)
        with one_thread():
            ranks = relevant_ranks(q, x, range(step, step * width + 1, step), judged, cosine=way == "cut")
        for m in METRICS:
            each[m].append(retrieval_metric(m, ranks, judged))
    progress(len(WAYS), len(WAYS), "done")
    lengths = np.sqrt(np.minimum(np.cumsum(np.square(unit(documents), dtype=np.float64), axis=1), 1))  # (N, D)
    return Truncation(
        queries,
        documents,
        tuple(rows),
        relevant=tuple(frozenset(relevant[row]) for row in rows),
        values={m: np.stack(found).mean(-1) for m, found in each.items()},
        ties=ties,
        contrast=np.ptp(np.stack(each[METRICS[0]])[:, np.array(default_dims(width)) - 1], axis=0).mean(0),
        lengths=np.stack([np.histogram(column, BINS, (0, 1))[0] for column in lengths.T]) / len(lengths),
        spread=np.quantile(lengths, [0.05, 0.5, 0.95], axis=0).T,
    )


def products(way: str, queries: np.ndarray, documents: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Queries (Q, s D) and documents (N, s D), and s, so that the dot product (cosine for `cut`) of their first s d
    coordinates ranks as the way does at d: then one pass over the coordinates gives every dimension.

    l2: -|q - x|^2 is the sum over coordinates of 2 q x - x^2, up to a constant that depends only on the query, so
    (q, -1) . (2 x, x^2) and s = 2.
    """
    if way in ("cut", "raw"):
        return queries, documents, 1
    q, x = unit(queries), unit(documents)
    if way == "late":
        return q, x, 1
    pairs_q = np.stack([q, -np.ones_like(q)], axis=2)  # (Q, D, 2)
    # exact squares: rounded to float32, they would change the order of documents that are almost tied
    pairs_x = np.stack([2 * x, np.square(x, dtype=np.float64)], axis=2)
    return pairs_q.reshape(len(q), -1), pairs_x.reshape(len(x), -1), 2


def _checked(queries: np.ndarray, documents: np.ndarray, relevant: Relevant) -> tuple[np.ndarray, np.ndarray]:
    """Both as float32 tables. Raises InputError for what does not fit together."""
    for name, x in (("queries", np.asarray(queries)), ("documents", np.asarray(documents))):
        if x.ndim != 2 or not x.size or not np.isfinite(x).all():
            raise InputError(f"{name} of shape {x.shape} are not a table of numbers, or hold NaN: give a row for each")
    widths = np.shape(queries)[1], np.shape(documents)[1]
    if widths[0] != widths[1]:
        raise InputError(f"queries of width {widths[0]}, documents of {widths[1]}: encode both alike")
    if len(relevant) != len(queries):
        raise InputError(f"{len(relevant)} sets of relevant documents for {len(queries)} queries: give one per query")
    named = {row for good in relevant for row in good}
    if not named:
        raise InputError("no query has a relevant document: nothing can be scored")
    for row in named - set(range(len(documents))):
        raise InputError(f"document {row} is relevant, but rows are 0 to {len(documents) - 1}")
    return np.ascontiguousarray(queries, np.float32), np.ascontiguousarray(documents, np.float32)
