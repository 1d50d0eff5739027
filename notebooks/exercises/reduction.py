"""Checks of the lesson on PCA: PCA by SVD, effective rank, centering, binary codes, which of five is PCA, stores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from exercises.mistakes import recognize
from exercises.verdict import exercise

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
        ("bits", 384, 48, 0.48, 0.46), ("int8", 256, 256, 0.51, 0.50), ("float32", 256, 1024, 0.495, 0.495),
        ("float32", 384, 1536, 0.50, 0.50),
    ]  # fmt: skip
    table = pd.DataFrame(rows, columns=["store", "numbers", "bytes", "dev", "test"]).sample(frac=1, random_state=0)
    got = function(table.copy(), 0.95)
    if not isinstance(got, pd.Series) or "bytes" not in got:
        return "return one row of the table, as table.iloc[0] or table.loc[label] gives it."
    said = {
        32: "that row keeps 95 % on test, but you would have had to look at test to know: choose on dev.",
        256: "a cheaper one keeps enough too: compare with the best float32, not the best of all, and sort by bytes.",
        1536: "that is float32 itself; look for rows with fewer bytes that keep 95 % of it.",
        8: "that is the cheapest of all; first drop the rows that keep too little.",
    }
    if int(got["bytes"]) != 48:
        hint = said.get(int(got["bytes"]))
        return hint or f"for the check's table it is the store of 48 bytes, yours has {got['bytes']}."
    if int(function(table.copy(), 1.0)["bytes"]) != 256:
        return "at 100 % the int8 store of 256 bytes is right: compare with float32's best dev quality, and use share."
    return None
