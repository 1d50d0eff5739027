"""Checks of lesson 11: two-stage search, its multiply-adds, and the shortest list that is long enough."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from exercises.mistakes import recognize, unit
from exercises.verdict import exercise


@exercise("short vectors choose, long vectors decide; all other documents' long ones are never read.")
def two_stages(function: Callable[[np.ndarray, np.ndarray, int, int, int], np.ndarray]) -> str | None:
    """Exercise "shortlist, then rerank": queries (B, D), documents (N, D), ds, depth, k to rows (B, k), best first."""
    rng = np.random.default_rng(0)
    documents = rng.normal(size=(60, 16)) * rng.uniform(0.2, 5, size=(60, 1))
    queries = rng.normal(size=(7, 16))
    given = queries.copy(), documents.copy()
    want = _two_stages(queries, documents, 4, 12, 5)
    got = function(queries, documents, 4, 12, 5)
    if got is None or np.shape(got) != (7, 5):
        return f"7 queries and k = 5 must give rows of shape (7, 5), yours have {np.shape(got)}."
    if not (np.array_equal(queries, given[0]) and np.array_equal(documents, given[1])):
        return "the vectors that were passed in have changed; make new ones, the next search needs the originals."
    if np.array_equal(got, want):
        return None
    short = _order(queries, documents, 4)
    places = np.array([[list(short[i, :12]).index(r) for r in row] for i, row in enumerate(want)])
    mistakes = {
        "these are places in the shortlist; the caller wants rows of the corpus: shortlist[places].": places,
        "that is the order of the short vectors; score the shortlist again at full width and sort by that.": (
            short[:, :5]
        ),
        "that is exact search: right documents, all the work. Score only the shortlist at full width.": (
            _order(queries, documents, 16)[:, :5]
        ),
        "that sorts by inner products of raw vectors: bring each prefix to length 1, after cutting.": (
            _two_stages(queries, documents, 4, 12, 5, cosine=False)
        ),
        "you normalized before cutting: a prefix of a vector of length 1 is shorter than 1. Cut, then normalize.": (
            _two_stages(unit(queries), unit(documents), 4, 12, 5, cosine=False)
        ),
    }
    if hint := recognize(got, mistakes):
        return hint
    if np.array_equal(np.sort(got), np.sort(want)):
        return "the right documents, in another order: best first, by the score at full width."
    return "other documents come out: of the `depth` best by ds coordinates, the k best by all coordinates."


@exercise("N Ds for the scan and K Dr for the rerank: 20.908 million with the MRL paper's sizes.")
def mflops(function: Callable[[int, int, int, int], float]) -> str | None:
    """Exercise "count": n, ds, depth, dr to millions of multiply-adds of one query."""
    for n, ds, depth, dr in [(1_281_167, 16, 200, 2048), (1_000_000, 64, 100, 384), (6_306, 32, 50, 384)]:
        want, got = (n * ds + depth * dr) / 1e6, function(n, ds, depth, dr)
        if got is None or np.ndim(got) != 0:
            return "return one number, in millions."
        if np.isclose(got, want, rtol=1e-9):
            continue
        case = f"n = {n:,}, ds = {ds}, depth = {depth}, dr = {dr}: "
        mistakes = {
            "that is the scan alone; reranking the shortlist costs as well.": n * ds / 1e6,
            "that counts single ones; divide by a million.": want * 1e6,
            "here a multiplication with its addition counts once, not twice.": 2 * want,
            "the first ds products could be kept; the paper's formula charges all dr, so do that.": (
                (n * ds + depth * (dr - ds)) / 1e6
            ),
        }
        if hint := recognize(got, mistakes):
            return case + hint
        return f"{case}{want:.4f} million, yours {got:.4f}: n documents cost ds each, depth of them dr each."
    return None


@exercise("chosen on dev, reported on test; it may come out a little lower there, and that is the number.")
def smallest_depth(function: Callable[[np.ndarray, np.ndarray, float], tuple[int, float]]) -> str | None:
    """Exercise "how long must the list be": ranks on dev and test (Q, 10), target to (K, recall on test)."""
    rng = np.random.default_rng(1)
    for target in (0.9, 0.99, 1.0):
        dev, test = (np.ceil(rng.lognormal(2, spread, size=(80, 10))).astype(int) for spread in (1.1, 1.3))
        depth = next(k for k in range(1, int(dev.max()) + 1) if (dev <= k).mean() >= target)
        got = function(dev, test, target)
        if not isinstance(got, tuple) or len(got) != 2:
            return "return two things: K, and the recall of that K on test."
        if got[0] != depth:
            greedy = next((k for k in range(1, int(test.max()) + 1) if (test <= k).mean() >= target), None)
            if got[0] == greedy:
                return "that K was chosen on test; what you report there is then no test any more. Choose on dev."
            if got[0] == depth - 1:
                return f"{depth - 1} falls just short of {target:.0%} on dev: a document at place K is in the list."
            if got[0] == next(k for k in range(1, int(dev.max()) + 1) if (dev <= k).all(1).mean() >= target):
                return "that K holds all ten for this share of the queries; recall is the mean of all of dev <= K."
            return f"the smallest K that holds {target:.0%} of the ten on dev is {depth}, yours is {got[0]}."
        if not np.isclose(got[1], (test <= depth).mean()):
            share = (test <= depth).mean()
            return f"K = {depth} is right; on test it holds {share:.4f} of the ten, yours says {got[1]:.4f}."
    return None


def _order(queries: np.ndarray, documents: np.ndarray, dim: int) -> np.ndarray:
    """All rows by the cosine of their first `dim` coordinates, best first: (B, N)."""
    return np.argsort(-unit(queries[:, :dim]) @ unit(documents[:, :dim]).T, axis=1, kind="stable")


def _two_stages(
    queries: np.ndarray, documents: np.ndarray, ds: int, depth: int, k: int, *, cosine: bool = True
) -> np.ndarray:
    """The k best of the `depth` best by ds coordinates, one query after the other: (B, k)."""
    scaled = unit if cosine else np.asarray
    rows = []
    for query in queries:
        short = np.argsort(-(scaled(documents[:, :ds]) @ scaled(query[:ds])), kind="stable")[:depth]
        rows.append(short[np.argsort(-(scaled(documents[short]) @ scaled(query)), kind="stable")[:k]])
    return np.array(rows)
