"""Adaptive classification: start with few coordinates, and go on to more only where the classifier is not sure.

Pure arrays. M nested sizes ("dims"), N items. An item is answered at the first size whose confidence reaches that
size's threshold, at the latest at the last size, whose threshold plays no part. MRL, arXiv 2205.13147, appendix D.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mrl_tutorial.errors import InputError

GRID = np.linspace(0, 1, 101)
NEVER = 1.01  # a threshold that no probability reaches: no item stops here
PRICES = tuple(np.geomspace(0.002, 1, 25))


@dataclass(frozen=True)
class Answers:
    """What every size says of every item. Made by `answers`.

    dims (M,); confidence (M, N), the largest class probability; right (M, N) bool; n_classes.
    """

    dims: tuple[int, ...]
    confidence: np.ndarray
    right: np.ndarray
    n_classes: int

    def take(self, items: np.ndarray) -> Answers:
        """The same for some of the items (indices or a mask)."""
        return Answers(self.dims, self.confidence[:, items], self.right[:, items], self.n_classes)

    @property
    def accuracy(self) -> np.ndarray:
        """Share of right answers at every single size, (M,)."""
        return self.right.mean(1)


def answers(probabilities: np.ndarray, labels: np.ndarray, dims: Sequence[int]) -> Answers:
    """Confidence and rightness from class probabilities (M, N, C) and integer labels (N,).

    Ties go to the lower class index.

    Raises InputError where shapes disagree, sizes do not increase, a class does not exist, or a row is no distribution.

    >>> a = answers(np.array([[[0.6, 0.4]], [[0.1, 0.9]]]), np.array([1]), [8, 16])
    >>> a.confidence.tolist(), a.right.tolist()
    ([[0.6], [0.9]], [[False], [True]])
    """
    p, labels, dims = np.asarray(probabilities), np.asarray(labels), tuple(int(d) for d in dims)
    if p.ndim != 3 or p.shape[:2] != (len(dims), len(labels)) or not p.size:
        raise InputError(
            f"probabilities {p.shape} for {len(dims)} sizes and {len(labels)} labels: give (sizes, items, classes)"
        )
    if dims[0] < 1 or any(a >= b for a, b in pairwise(dims)):
        raise InputError(f"sizes {list(dims)} must increase: sort them, and the probabilities with them")
    if not np.isfinite(p).all():
        size, item = np.argwhere(~np.isfinite(p).all(-1))[0]
        raise InputError(
            f"probabilities of item {item} at size {dims[size]} hold NaN or infinity: correct them, or drop the item"
        )
    if p.min() < 0 or np.abs(p.sum(-1) - 1).max() > 1e-3:
        raise InputError("probabilities must be 0 or more and sum to 1 over the classes: apply a softmax first")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= p.shape[2]:
        raise InputError(f"labels must be class numbers 0 to {p.shape[2] - 1}")
    return Answers(dims, p.max(-1), p.argmax(-1) == labels, p.shape[2])


@dataclass(frozen=True)
class Outcome:
    """What a cascade did. right (N,) bool; stop (N,): index of the size used; shares (M,): what each size answers."""

    dims: tuple[int, ...]
    right: np.ndarray
    stop: np.ndarray
    shares: np.ndarray
    n_classes: int

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @property
    def final(self) -> float:
        """Expected size if only the last size looked at is charged: what a tied classifier (MRL-E) reads."""
        return expected_size(self.shares, self.dims)

    @property
    def visited(self) -> float:
        """Expected size if every size looked at is charged: what separate classifiers (MRL) read."""
        return expected_size(self.shares, np.cumsum(self.dims))

    def multiply_adds(self, tied: bool) -> float:
        """Multiply-adds of the classifier for an average item: coordinates read x classes."""
        return self.n_classes * (self.final if tied else self.visited)


def stops(confidence: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Index of the size at which each item is answered: the first whose confidence >= its threshold, else the last.

    confidence (M, N); thresholds (M - 1,), or (M,) of which the last is ignored. Returns (N,) int. Raises InputError
    for another number of thresholds, and for NaN.

    >>> stops(np.array([[0.9, 0.5], [0.4, 0.6]]), [0.8]).tolist()
    [0, 1]
    """
    t = np.asarray(thresholds, dtype=float).ravel()
    sizes = len(confidence)
    if len(t) not in (sizes - 1, sizes) or np.isnan(t).any():
        raise InputError(f"thresholds {t.round(3).tolist()} for {sizes} sizes: give a number for each but the last")
    sure = np.ones(confidence.shape, dtype=bool)
    sure[:-1] = confidence[:-1] >= t[: sizes - 1, None]
    return sure.argmax(0)


def run(a: Answers, thresholds: Sequence[float] | np.ndarray) -> Outcome:
    """Send every item through the cascade. Raises InputError as in `stops`.

    >>> a = Answers((8, 16), np.array([[0.9, 0.5], [0.4, 0.6]]), np.array([[True, False], [True, True]]), 2)
    >>> found = run(a, [0.8])
    >>> found.accuracy, found.final, found.visited
    (1.0, 12.0, 16.0)
    """
    return _outcome(a, stops(a.confidence, thresholds))


def _outcome(a: Answers, stop: np.ndarray) -> Outcome:
    right = a.right[stop, np.arange(len(stop))]
    return Outcome(a.dims, right, stop, np.bincount(stop, minlength=len(a.dims)) / len(stop), a.n_classes)


def expected_size(shares: np.ndarray, sizes: Sequence[float] | np.ndarray) -> float:
    """Sum over sizes of share x size. Raises InputError unless there is a share for each size and they sum to 1."""
    shares = np.asarray(shares, dtype=float)
    if shares.shape != np.shape(sizes) or shares.min(initial=0) < 0 or abs(shares.sum() - 1) > 1e-6:
        raise InputError(f"shares {shares.round(3).tolist()} of {len(sizes)} sizes must be 0 or more and sum to 1")
    return float(shares @ np.asarray(sizes, dtype=float))


def oracle(a: Answers) -> Outcome:
    """Each item at the smallest size that is right; one that no size gets right, at the first. No cascade over these
    classifiers can be more accurate, nor as accurate with less."""
    return _outcome(a, a.right.argmax(0))


def hopeless(a: Answers) -> float:
    """Share of items that every size gets wrong."""
    return float(1 - a.right.any(0).mean())


def greedy_thresholds(a: Answers, grid: np.ndarray = GRID) -> np.ndarray:
    """The paper's rule, (M - 1,): for each pair of neighboring sizes, over all items, the smallest threshold with the
    best accuracy, if items that reach it are answered by the smaller size and all others by the larger one."""
    grid = _grid(grid)
    found = []
    for j in range(len(a.dims) - 1):
        sure = a.confidence[j] >= grid[:, None]  # (T, N)
        hits = np.where(sure, a.right[j], a.right[j + 1]).sum(1)
        found.append(grid[hits.argmax()])
    return np.array(found)


def shared_curve(a: Answers, grid: np.ndarray = GRID) -> list[Outcome]:
    """The cascade with one threshold for all sizes, for every value of `grid`."""
    return [run(a, np.full(len(a.dims) - 1, t)) for t in _grid(grid)]


def tuned_thresholds(
    a: Answers, price: float, grid: np.ndarray = GRID, *, visited: bool = False, rounds: int = 20
) -> np.ndarray:
    """Thresholds (M - 1,) that minimize errors + price x expected size / largest size, by coordinate descent.

    price: how much accuracy one may lose to save a whole full-size vector. visited: charge every size looked at. Each
    step sets one threshold to its best value on the grid (ties: the smallest), given all the others; starts from the
    best shared threshold, so it is never worse than that one on these items. Raises InputError for a negative price.
    """
    if not price >= 0:
        raise InputError(f"price {price} must be 0 or more: 0 asks for accuracy alone")
    grid = np.append(_grid(grid), NEVER)
    sizes = np.cumsum(a.dims) if visited else np.asarray(a.dims)
    cost = ~a.right + price * sizes[:, None] / a.dims[-1]  # (M, N), of being answered there
    items = np.arange(cost.shape[1])
    shared = [cost[stops(a.confidence, np.full(len(a.dims) - 1, t)), items].mean() for t in grid]
    t = np.full(len(a.dims) - 1, grid[int(np.argmin(shared))])
    for _ in range(rounds):
        before = t.copy()
        for j in reversed(range(len(t))):
            reach = (a.confidence[:j] < t[:j, None]).all(0)
            later = j + 1 + stops(a.confidence[j + 1 :], t[j + 1 :])
            stay, go = cost[j, reach], cost[later[reach], items[reach]]
            order = np.argsort(a.confidence[j, reach])
            gain = np.append(np.cumsum((go - stay)[order][::-1])[::-1], 0)  # of stopping all from the k-th on
            saved = gain[np.searchsorted(a.confidence[j, reach][order], grid)]
            now = saved[np.abs(grid - t[j]).argmin()]
            if saved.max() > now + 1e-9:
                t[j] = grid[np.flatnonzero(saved >= saved.max() - 1e-9)[0]]
        if np.array_equal(t, before):
            break
    return t


def cheapest_thresholds(
    a: Answers, tolerance: float = 0.0, sureness: float = 0.0, grid: np.ndarray = GRID, *, visited: bool = False,
    shared: bool = False,
) -> np.ndarray:  # fmt: skip
    """The cheapest thresholds found, (M - 1,), whose accuracy is at most `tolerance` below the largest size's.

    sureness: standard errors of the difference (over items, paired) that must fit into the tolerance too. Without them
    the winner of a search looks better on these items than it will on others. Tried are shared thresholds and, unless
    shared=True, the greedy rule's and those tuned for 25 prices; never to stop is always allowed. visited: charge every
    size looked at. Raises InputError for a negative tolerance or sureness.
    """
    if not (tolerance >= 0 and sureness >= 0):
        raise InputError(f"tolerance {tolerance} and sureness {sureness} must be 0 or more")
    found = [np.full(len(a.dims) - 1, t) for t in (*_grid(grid), NEVER)]
    if not shared:
        found += [greedy_thresholds(a, grid), *(tuned_thresholds(a, p, grid, visited=visited) for p in PRICES)]
    good = []
    for t in found:
        out = run(a, t)
        difference = out.right.astype(float) - a.right[-1]
        if difference.mean() - sureness * difference.std() / len(difference) ** 0.5 >= -tolerance - 1e-12:
            good.append((out.visited if visited else out.final, -out.accuracy, t))
    return min(good, key=lambda row: row[:2])[2]


def _grid(grid: np.ndarray) -> np.ndarray:
    grid = np.unique(np.asarray(grid, dtype=float))
    if not len(grid) or not np.isfinite(grid).all():
        raise InputError("the grid of thresholds is empty or holds NaN: give numbers between 0 and 1")
    return grid
