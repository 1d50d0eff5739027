"""What a measured difference is worth: one bootstrap, one rule for verdicts, Pareto fronts, leaderboards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy.integrate import trapezoid

from mrl_tutorial.errors import InputError
from mrl_tutorial.grid import Grid

MARGIN = 0.01  # "not worse": the lower bound of the difference is above minus this
LEAST = 0.005  # "better": the mean difference is at least this
HOLDS, IN_PART, REFUTED, CANNOT_TELL = "holds", "holds in part", "refuted", "cannot tell here"
#: what may become of a claim; the last two are not drawn from numbers
VERDICTS = (HOLDS, IN_PART, REFUTED, CANNOT_TELL, "wrong by definition", "not testable offline")


def bootstrap(items: np.ndarray, *, samples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high), 95 %, of a mean, from `samples` resamplings with replacement.

    items: (N,), or (S, N) with a row for each training seed; then both the seeds and the items are resampled.
    Raises InputError where there are no items.

    >>> low, high = bootstrap(np.array([0.0, 1.0, 1.0, 1.0]))
    >>> 0 <= low <= 0.75 <= high <= 1
    True
    """
    items = np.atleast_2d(np.asarray(items, dtype=np.float64))
    if not items.size:
        raise InputError("there are no items to resample: give at least one")
    rows, columns = _shares(len(items), samples, seed), _shares(items.shape[1], samples, seed + 1)
    low, high = np.quantile(((columns @ items.T) * rows).sum(1), [(1 - 0.95) / 2, (1 + 0.95) / 2])
    return float(low), float(high)


@lru_cache(maxsize=4)
def _shares(n: int, samples: int, seed: int) -> np.ndarray:
    """How often each of n is sampled, as a share: (samples, n). One table serves many comparisons of the same items."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), samples) / n


class Difference(NamedTuple):
    """The mean of a - b with its 95 % bootstrap bounds. spread: sample standard deviation over seeds, NaN for one."""

    mean: float
    low: float
    high: float
    spread: float

    @property
    def smallest(self) -> float:
        """The smallest true difference that this test would show four times out of five: 2.8 standard errors."""
        return 2.8 * (self.high - self.low) / 3.92

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def verdict(found: Sequence[float], *, not_worse: bool = False, trained: bool = True) -> str:
    """The one rule of the course for "a is better than b" (or "not worse"), found being (mean, low, high, …) of a - b.

    It holds where the whole interval lies above 0 and the mean is at least 0.005 (not worse: above -0.01), and is
    refuted where the whole interval lies below that bound. It cannot be told otherwise, nor where an arm was not
    trained enough (trained=False): `Difference.smallest` says how large a difference would have shown. Raises
    InputError for NaN.

    >>> verdict(Difference(0.02, 0.01, 0.03, 0.0)), verdict((0.0, -0.02, 0.02), not_worse=True)
    ('holds', 'cannot tell here')
    """
    mean, low, high = found[:3]
    if trained and np.isnan([mean, low, high]).any():
        raise InputError("a difference is not a number: leave runs that diverged out, or train them again")
    bound, least = (-MARGIN, -np.inf) if not_worse else (0.0, LEAST)
    if not trained or (low <= bound <= high) or (low > bound and mean < least):
        return CANNOT_TELL
    return HOLDS if low > bound else REFUTED


def together(parts: Sequence[str]) -> str:
    """The verdict on a claim about several cells or tasks, from the verdict on each. Raises InputError for none.

    >>> together(["holds", "refuted"]), together(["refuted", "cannot tell here"])
    ('holds in part', 'refuted')
    """
    found = set(parts)
    if not found:
        raise InputError("no parts to put together: give the verdict on each cell or task")
    if found & {HOLDS, IN_PART}:
        return HOLDS if found == {HOLDS} else IN_PART
    return CANNOT_TELL if found == {CANNOT_TELL} else REFUTED


def paired(a: np.ndarray, b: np.ndarray, *, samples: int = 2000, seed: int = 0) -> Difference:
    """a - b for two models that were measured on the same items, perhaps with several training seeds.

    a: (S, N), b: (S, N) or (1, N), a row for each seed; plain (N,) counts as one seed. The bounds come from resampling
    items, which stay paired, and seeds together. Raises InputError where items or seeds do not match.

    >>> print(paired(np.array([0.5, 0.75, 1.0]), np.array([0.25, 0.5, 0.75])))
    +0.250 [+0.250, +0.250]
    """
    a, b = np.atleast_2d(np.asarray(a, np.float64)), np.atleast_2d(np.asarray(b, np.float64))
    if a.shape[1] != b.shape[1] or (len(a) != len(b) and 1 not in (len(a), len(b))):
        raise InputError(f"shapes {a.shape} and {b.shape} cannot be paired: the same items, and as many seeds (or one)")
    gaps = a - b  # (S, N)
    spread = float(gaps.mean(1).std(ddof=1)) if len(gaps) > 1 else float("nan")
    return Difference(float(gaps.mean()), *bootstrap(gaps, samples=samples, seed=seed), spread)


def paired_cells(a: np.ndarray, b: np.ndarray, *, samples: int = 2000, seed: int = 0) -> np.ndarray:
    """a - b in every cell of two grids over the same items, as `paired` gives it for one seed: (L, M, items) each to
    (L, M, 3), mean, low and high. Raises InputError where they are of other cells or items."""
    if np.shape(a) != np.shape(b):
        raise InputError(f"values of shapes {np.shape(a)} and {np.shape(b)} cannot be paired: measure both alike")
    gaps = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    means = gaps @ _shares(gaps.shape[-1], samples, seed + 1).T  # (L, M, samples)
    return np.stack([gaps.mean(-1), *np.quantile(means, [0.025, 0.975], axis=-1)], -1)


def interval(grid: Grid, layer: int, dim: int) -> tuple[float, float]:
    """Bootstrap interval (low, high), 95 %, of one cell's mean over its items.

    Raises InputError where the grid does not hold that cell, or its values item by item."""
    return bootstrap(grid.items(layer, dim))


def compare(a: Grid, b: Grid, layer: int, dim: int) -> tuple[float, float, float]:
    """a - b in one cell of two grids, over the same items: (difference, low, high) by a paired bootstrap, 95 %.

    Raises InputError as in `interval`, and where the grids measure different things or items."""
    for what in ("task", "split", "metric"):
        ours, theirs = getattr(a, what), getattr(b, what)
        if ours != theirs:
            raise InputError(f"grids of {what} {ours!r} and {theirs!r} cannot be paired: compare two of one {what}")
    if a.about.get("seed") != b.about.get("seed"):
        raise InputError("the grids measure other items: give both the same max_queries and seed")
    return paired(a.items(layer, dim), b.items(layer, dim))[:3]


def pareto(costs: Sequence[float], qualities: Sequence[float]) -> list[int]:
    """Indices of the options that no other beats in both cost and quality, cheapest first; ties: the first.

    >>> pareto([3, 1, 2, 2], [0.9, 0.5, 0.4, 0.7])
    [1, 3, 0]
    """
    front: list[int] = []
    for i in sorted(range(len(costs)), key=lambda i: (costs[i], -qualities[i])):
        if not front or qualities[i] > qualities[front[-1]]:
            front.append(i)
    return front


class Standing(NamedTuple):
    """One line of a leaderboard. mean: over all cells. won: cells in which nobody is better. area: the mean over
    widths, on a logarithmic scale of bytes, of the best layer's quality."""

    name: str
    mean: float
    won: int
    area: float


def leaderboard(grids: Mapping[str, np.ndarray], dims: Sequence[int]) -> list[Standing]:
    """The standings of several grids (L, M), the best mean first. Bytes are in proportion to `dims`.

    Raises InputError where the grids differ in shape.

    >>> for line in leaderboard({"a": np.array([[0.2, 0.4]]), "b": np.array([[0.1, 0.6]])}, (8, 16)):
    ...     print(line.name, round(line.mean, 2), line.won, round(line.area, 2))
    b 0.35 1 0.35
    a 0.3 1 0.3
    """
    shapes = {np.shape(grid) for grid in grids.values()}
    if len(shapes) > 1:
        raise InputError(f"grids of shapes {', '.join(map(str, shapes))} have no common leaderboard: measure all alike")
    x, found = np.log2(np.asarray(dims, dtype=float)), []
    for name, grid in grids.items():
        won, curve = int((grid >= np.max(list(grids.values()), axis=0)).sum()), np.max(grid, axis=0)
        area = float(curve[0]) if len(x) == 1 else float(trapezoid(curve, x) / (x[-1] - x[0]))
        found.append(Standing(name, float(np.mean(grid)), won, area))
    return sorted(found, key=lambda one: -one.mean)
