"""Checks of the lesson on PCA: PCA by SVD, effective rank, centering, binary codes, which of five is PCA, stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from evidence.reduction_measures import code_basis, svd

from exercises.mistakes import recognize, unit
from exercises.verdict import exercise
from mrl_tutorial.evaluation.reduction import pca, random_dims

QUESTIONS = 5


def _right_singular(x: np.ndarray) -> np.ndarray:
    """(N, D) -> (D, D), a row a direction, that of the largest singular value first."""
    return np.linalg.svd(x, full_matrices=False)[2]


def _same(a: np.ndarray, b: np.ndarray, atol: float = 1e-8) -> bool:
    """Equal up to the sign of each column."""
    return bool(np.allclose(a * np.sign((a * b).sum(0)), b, atol=atol))


@exercise("centered, decomposed, projected: the coordinates are those of any PCA library, up to signs.")
def pca_by_svd(function: Callable[[np.ndarray, int], np.ndarray]) -> str | None:
    """Exercise "PCA in three lines": x (N, D) and k to the first k principal components of its rows (N, k)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 6)) * np.array([3, 2.5, 2, 1.5, 1, 0.5]) @ rng.normal(size=(6, 6)) + 10
    given = x.copy()
    found = function(x, 3)
    if found is None or np.shape(found) != (40, 3):
        return f"for (40, 6) and k = 3 the result must have shape (40, 3), yours has {np.shape(found)}."
    if not np.array_equal(x, given):
        return "the vectors that were passed in have changed; make new ones, others may still need the originals."
    got = np.asarray(found, dtype=np.float64)
    centered = x - x.mean(0)
    rows = _right_singular(centered)
    if _same(got, centered @ rows[:3].T):
        return None
    if _same(got, x @ _right_singular(x)[:3].T):
        return "that is the SVD of the vectors as they are: its first direction points at the mean. Center first."
    if _same(got, x @ rows[:3].T):
        return "the directions are right; project the centered vectors on them, not the original ones."
    if _same(got, np.linalg.svd(centered, full_matrices=False)[0][:, :3]):
        return "those are the left singular vectors, all of length 1: multiply them by the singular values."
    if _same(got, centered @ rows[-3:].T) or _same(got, centered @ rows[::-1][:3].T):
        return "those are the directions of least variance; numpy's singular values come largest first."
    return "center the columns, take the SVD of the result, project on the first k rows of vh (its third part)."


@exercise("one mean for both sides, taken from what is indexed, and unit length afterwards.")
def center(function: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> str | None:
    """Exercise "center both sides": queries (Q, D), documents (N, D) to both, less the same mean, at length 1."""
    rng = np.random.default_rng(1)
    documents, queries = rng.normal(size=(30, 5)) + 4, rng.normal(size=(4, 5)) + 3
    given = queries.copy(), documents.copy()
    got = function(queries, documents)
    if not isinstance(got, tuple) or len(got) != 2 or np.shape(got[0]) != (4, 5) or np.shape(got[1]) != (30, 5):
        return "return two arrays, the queries (Q, D) and the documents (N, D)."
    if not (np.array_equal(queries, given[0]) and np.array_equal(documents, given[1])):
        return "the vectors that were passed in have changed: x -= mean works in place, x = x - mean does not."
    mean = documents.mean(0)
    if np.allclose(got[1], unit(documents - mean)) and np.allclose(got[0], unit(queries - mean)):
        return None
    if np.allclose(got[0], unit(queries - queries.mean(0))):
        return (
            "the queries lost their own mean. A search answers one query at a time, whose mean is itself: use the "
            "mean of the documents for both, or the two sides no longer live in one space."
        )
    mistakes = {
        "centered, but not of length 1 again: a dot product of these is no cosine.": documents - mean,
        "normalize after centering: centering changes the lengths.": unit(documents) - unit(documents).mean(0),
    }
    return recognize(got[1], mistakes) or (
        "subtract documents.mean(0) from both sides, then divide each row by its length."
    )


@exercise("bits choose the shortlist, floats settle its order; the floats of the rest were never read.")
def binary_search(function: Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]) -> str | None:
    """Exercise "bits, then floats": query (D,), documents (N, D), depth, k to the rows of the k best of a shortlist of
    `depth` by equal signs, ordered by cosine."""
    rng = np.random.default_rng(2)
    documents = rng.normal(size=(300, 32))
    for q in range(5):
        query = documents[q] + rng.normal(size=32)
        got = function(query, documents, 40, 10)
        if got is None or np.shape(got) != (10,):
            return f"for k = 10 the result must have shape (10,), row numbers; yours has {np.shape(got)}."
        agree = ((documents > 0) == (query > 0)).sum(1)
        short = np.argsort(-agree, kind="stable")[:40]
        cosine = unit(documents) @ unit(query)
        places = np.argsort(-cosine[short])[:10]
        if np.array_equal(got, short[places]):
            continue
        by_product = short[np.argsort(-(documents @ query)[short])][:10]
        mistakes = {
            "that is the exact search, over all documents: rescore the shortlist only, or nothing is saved.": (
                np.argsort(-cosine)[:10]
            ),
            "that is the shortlist in the order of its bits: sort it again, by the cosine of the floats.": short[:10],
            "those are places within the shortlist: turn them into rows with shortlist[places].": places,
            "rescored by the dot product: long documents win. Divide by their lengths.": by_product,
        }
        return recognize(got, mistakes) or (
            "count equal signs for every document, keep the best `depth` (equal counts in the order of rows: "
            "np.argsort(-counts, kind='stable')), then sort those by cosine."
        )
    return None


def mystery(seed: int = 5) -> tuple[np.ndarray, list[np.ndarray]]:
    """What exercise "which of these is PCA?" shows: vectors x (N, D), and QUESTIONS outputs (N, 8), one of them PCA."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(200, 24)) * np.geomspace(2, 0.1, 24)) @ np.linalg.qr(rng.normal(size=(24, 24)))[0] + 0.5
    makers = [svd(x), random_dims(24, seed), pca(x), code_basis(unit(x))]
    shown = [maker.apply(x)[:, :8].astype(np.float64) for maker in makers]
    white = shown[2] / shown[2].std(0)
    order = rng.permutation(QUESTIONS)
    return x, [[*shown, white][i] for i in order]


@exercise("mean 0, no correlation, falling variances that no other rotation exceeds: that is PCA.")
def which_is_pca(function: Callable[[np.ndarray, Sequence[np.ndarray]], int]) -> str | None:
    """Exercise "which of these is PCA?": vectors (N, D) and candidates, each (N, k), to the number of PCA's, from 0."""
    for seed in (5, 6, 7, 8):
        x, candidates = mystery(seed)
        centered = x - x.mean(0)
        components = centered @ _right_singular(centered)[:8].T
        want = next(i for i, y in enumerate(candidates) if _same(y, components, atol=1e-3))
        got = function(x, candidates)
        if got is None or isinstance(got, bool) or got != int(got) or not 0 <= got < len(candidates):
            return f"return a number from 0 to {len(candidates) - 1}: which candidate is PCA; yours is {got!r}."
        if got == want:
            continue
        y = candidates[int(got)]
        if np.abs(y.mean(0)).max() > 1e-3:
            return "the columns of your choice do not have mean 0: its vectors were not centered."
        if np.abs(np.corrcoef(y.T) - np.eye(8)).max() > 1e-3:
            return "the columns of your choice are correlated with each other, principal components never are."
        return (
            "your choice is centered and uncorrelated, but all its columns have the same variance: it was whitened. "
            "PCA's columns have falling variances, together as large as any 8 columns of a rotation can have."
        )
    return None


@exercise("r equal shares give r, a single direction gives 1, and what has no variance counts for nothing.")
def effective_rank(function: Callable[[np.ndarray], float]) -> str | None:
    """Exercise "how many directions": variances (D,) of any scale -> the exponential of the entropy of their shares."""
    variances = np.array([4.0, 2.0, 1.0, 1.0])
    got = function(variances.copy())
    if got is None or np.ndim(got) != 0:
        return f"the result must be one number, yours is {got!r}."
    p = variances / variances.sum()
    entropy = -(p * np.log(p)).sum()
    mistakes = {
        "divide the variances by their sum first, so that they are shares.": np.exp(
            -(variances * np.log(variances)).sum()
        ),
        "that is the entropy; its exponential counts directions.": entropy,
        "the sign is missing: the entropy is minus the sum of p ln p.": np.exp(-entropy),
        "that is 2 to the power of an entropy in natural logarithms; use the same base for both.": 2**entropy,
        "that is the other count, 1 / sum of p squared (the participation ratio).": 1 / (p**2).sum(),
    }
    if not np.isclose(got, np.exp(entropy)):
        return recognize(got, mistakes) or f"for shares {p.tolist()} it is {np.exp(entropy):.2f}, yours is {got:.2f}."
    with np.errstate(all="ignore"):
        flat = function(np.array([1.0, 1.0, 1.0, 0.0]))
    if not np.isclose(flat, 3):
        return f"a direction without variance counts for nothing: [1, 1, 1, 0] has 3, yours says {flat} (0 ln 0 is 0)."
    return None


@exercise("chosen on dev, so the test value in its row is an honest one.")
def cheapest_store(function: Callable[[pd.DataFrame, float], pd.Series]) -> str | None:
    """Exercise "the cheapest store": a table with columns store, numbers, bytes, dev, test, and a share of the best
    float32's dev quality that must be kept -> the row with the fewest bytes that keeps it on dev."""
    rows = [
        ("bits", 64, 8, 0.20, 0.20), ("bits", 256, 32, 0.44, 0.49), ("int8", 64, 64, 0.46, 0.44),
        ("bits", 384, 48, 0.485, 0.46), ("int8", 256, 256, 0.51, 0.50), ("float32", 256, 1024, 0.495, 0.495),
        ("float32", 384, 1536, 0.50, 0.50),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["store", "numbers", "bytes", "dev", "test"]).sample(frac=1, random_state=0)
    got = function(table.copy(), 0.95)
    if not isinstance(got, pd.Series) or "bytes" not in got:
        return "return one row of the table, as table.iloc[0] or table.loc[label] gives it."
    said = {
        32: "that row keeps 95 % on test, but you would have had to look at test to know: choose on dev.",
        256: "it keeps enough, but a cheaper one does too: sort the rows that pass by bytes.",
        1536: "that is float32 itself; look for rows with fewer bytes that keep 95 % of it.",
        8: "that is the cheapest of all; first drop the rows that keep too little.",
    }
    if int(got["bytes"]) != 48:
        hint = said.get(int(got["bytes"]))
        return hint or f"for the check's table it is the store of 48 bytes, yours has {got['bytes']}."
    if int(function(table.copy(), 1.0)["bytes"]) != 256:
        return "at 100 % the int8 store of 256 bytes is right: compare with float32's best dev quality, and use share."
    return None
