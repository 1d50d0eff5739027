"""Checks of lesson 03: two ways to shorten a vector, what an interval says, sizes between the trained ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exercises.verdict import exercise

Array = NDArray[Any]

TRAINED = (8, 16, 32, 64, 128, 256, 384)
MEASURED = {
    8: 0.095, 10: 0.130, 12: 0.166, 16: 0.236, 20: 0.280, 24: 0.330, 32: 0.386, 48: 0.441, 64: 0.477, 100: 0.513,
    128: 0.519, 200: 0.542, 256: 0.552, 300: 0.553, 384: 0.561,
}  # fmt: skip
"""nDCG@10 of lesson 03's MRL head, test queries of pydocs, by size."""


@exercise("the same columns for every text; and directions that were learned from the training texts.")
def shorten(random_k: Callable[[Array, int, int], Any], pca_k: Callable[[Array, Array, int], Any]) -> str | None:
    """Exercise "two ways": random_k(x, k, seed) -> (N, k) and pca_k(train, x, k) -> (N, k)."""
    return _random_k(random_k) or _pca_k(pca_k)


def _random_k(function: Callable[[Array, int, int], Any]) -> str | None:
    x, y = np.random.default_rng(1).normal(size=(2, 4, 30))
    found, again = (np.asarray(function(z.copy(), 10, 5)) for z in (x, x))
    if found.shape != (4, 10):
        return f"random_k: 4 vectors at k = 10 must give shape (4, 10), yours has {found.shape}."
    if not np.array_equal(found, again):
        return "random_k: the same seed must give the same columns, or queries and documents are cut differently."
    columns = [[j for j in range(30) if np.array_equal(x[:, j], c)] for c in found.T]
    if not all(columns):
        return "random_k: take columns of x as they are: x[:, columns]."
    chosen = [c[0] for c in columns]
    if len(set(chosen)) < 10:
        return "random_k: a column came twice; sample without replacement."
    if chosen == list(range(10)):
        return "random_k: those are the first k, which is what cutting does; sample k of all columns."
    if not np.array_equal(np.asarray(function(y.copy(), 10, 5)), y[:, chosen]):
        return "random_k: other vectors must get the same columns; let the seed alone decide."
    if np.array_equal(np.asarray(function(x.copy(), 10, 6)), found):
        return "random_k: another seed should give other columns; use the argument."
    return None


def _pca_k(function: Callable[[Array, Array, int], Any]) -> str | None:
    rng = np.random.default_rng(2)
    mixing = rng.normal(size=(6, 6)) * np.array([4.0, 3.0, 2.0, 1.0, 0.5, 0.2])[:, None]
    train, x = rng.normal(size=(200, 6)) @ mixing + 3, rng.normal(size=(5, 6)) @ mixing + 3
    found = np.asarray(function(train.copy(), x.copy(), 2))
    if found.shape != (5, 2):
        return f"pca_k: 5 vectors at k = 2 must give shape (5, 2), yours has {found.shape}."

    def reduce(sample: Array, mean: Array, columns: slice) -> Array:
        directions = np.linalg.svd(sample - sample.mean(0), full_matrices=False)[2].T
        return (x - mean) @ directions[:, columns]

    def same(other: Array) -> bool:  # up to the sign of each direction
        return bool(np.allclose(np.abs(found), np.abs(other), atol=1e-6))

    first, mean = slice(0, 2), train.mean(0)
    if same(reduce(train, mean, first)):
        return None
    mistakes = [
        ("learn the directions from `train`, not from `x`: a search engine sees the query last.", x, x.mean(0), first),
        ("subtract the mean of the training texts from x as well.", train, np.zeros(6), first),
        ("those are the directions of *smallest* variance: eigh sorts upward.", train, mean, slice(4, 6)),
        ("those are the directions of *smallest* variance: eigh sorts upward.", train, mean, slice(5, 3, -1)),
        ("subtract the mean of `train`, not of `x`: queries and documents must move alike.", train, x.mean(0), first),
    ]
    for hint, sample, shift, columns in mistakes:
        if same(reduce(sample, shift, columns)):
            return f"pca_k: {hint}"
    if same((x - mean) @ np.linalg.svd(train - mean, full_matrices=False)[2][:, :2]):
        return "pca_k: the directions are the rows of svd's third result: take directions[:k].T, not directions[:, :k]."
    uncentered = np.linalg.svd(train, full_matrices=False)[2].T[:, :2]
    if same(x @ uncentered) or same((x - mean) @ uncentered):
        return "pca_k: subtract the mean before you look for directions, or the first one is just the mean."
    return "pca_k: center on train's mean, take the k directions of largest variance of train, project x on them."


@exercise("the ends of the interval decide, not its middle.")
def decide(function: Callable[[float, float], str]) -> str | None:
    """Exercise "read an interval": low, high -> "better", "not worse", "worse" or "cannot tell"."""
    cases = [
        (0.021, 0.048, "better", "the whole interval lies above 0"),
        (-0.004, 0.031, "not worse", "a loss of 0.01 or more is ruled out, and 0 is not"),
        (-0.041, -0.018, "worse", "the whole interval lies below 0, and reaches below -0.01"),
        (-0.022, 0.035, "cannot tell", "it may be a loss of 0.02, or a gain"),
        (-0.030, 0.004, "cannot tell", "it may be a loss of 0.03, or nothing"),
        (-0.008, -0.002, "not worse", "it is a loss, but smaller than the 0.01 that we care about"),
    ]
    words = {word for _, _, word, _ in cases}
    for low, high, right, why in cases:
        got = function(low, high)
        if got not in words:
            return f"answer with one of {', '.join(sorted(words))}; for [{low:+.3f}, {high:+.3f}] you return {got!r}."
        if got != right and low < 0 < high and got in ("better", "worse"):
            return f"[{low:+.3f}, {high:+.3f}] holds 0: its middle leans to one side, but {why}: {right!r}."
        if got != right:
            return f"for [{low:+.3f}, {high:+.3f}] you say {got!r}, but {why}: {right!r}."
    return None


@exercise("sizes between two trained ones lie between them in quality, so seven measurements are enough for all 377.")
def between(function: Callable[[int, Sequence[int], Sequence[float]], float]) -> str | None:
    """Exercise "bet on your own size": size, trained sizes, their nDCG@10 -> what you expect at that size."""
    sizes, values = list(TRAINED), [MEASURED[d] for d in TRAINED]
    others = [d for d in MEASURED if d not in TRAINED]
    guesses = {d: function(d, list(sizes), list(values)) for d in others}
    if any(guess is None or np.ndim(guess) != 0 for guess in guesses.values()):
        return "return one number, the nDCG@10 that you expect."
    worst = max(others, key=lambda d: abs(guesses[d] - MEASURED[d]))
    off = f"at size {worst} you expect {guesses[worst]:.3f}, and {MEASURED[worst]:.3f} was measured"
    if abs(guesses[worst] - MEASURED[worst]) <= 0.015:
        return None
    steps = [max(v for s, v in zip(sizes, values, strict=True) if s <= d) for d in others]
    if np.allclose([guesses[d] for d in others], steps):
        return f"{off}. The curve has no steps: a size profits from all the numbers that it has."
    if np.allclose([guesses[d] for d in others], np.interp(others, sizes, values)):
        return f"{off}. A straight line between neighbors is nearly right; quality rises with the *doublings* of size."
    return f"{off}. Look at the two trained sizes around it."
