"""Thresholds of a cascade found by search: the cheapest ones that keep the largest size's accuracy."""

from __future__ import annotations

import numpy as np

from mrl_tutorial.classification.cascade import GRID, Answers, check_grid, greedy_thresholds, run, stops
from mrl_tutorial.errors import InputError

NEVER = 1.01  # a threshold that no probability reaches: no item stops here
PRICES = tuple(np.geomspace(0.002, 1, 25))


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
    grid = np.append(check_grid(grid), NEVER)
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
    found = [np.full(len(a.dims) - 1, t) for t in (*check_grid(grid), NEVER)]
    if not shared:
        found += [greedy_thresholds(a, grid), *(tuned_thresholds(a, p, grid, visited=visited) for p in PRICES)]
    good = []
    for t in found:
        out = run(a, t)
        difference = out.right.astype(float) - a.right[-1]
        if difference.mean() - sureness * difference.std() / len(difference) ** 0.5 >= -tolerance - 1e-12:
            good.append((out.visited if visited else out.final, -out.accuracy, t))
    return min(good, key=lambda row: row[:2])[2]
