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
    """Confidence and rightness from class probabilities (M, N, C) and integer labels (N,); ties: the lower class.

    Raises InputError where shapes disagree, sizes do not increase, a class does not exist or a row is no distribution.

    >>> a = answers(np.array([[[0.6, 0.4]], [[0.1, 0.9]]]), np.array([1]), [8, 16])
    >>> a.confidence.tolist(), a.right.tolist()
    ([[0.6], [0.9]], [[False], [True]])
    """
    p, labels, dims = np.asarray(probabilities), np.asarray(labels), tuple(int(d) for d in dims)
    if p.ndim != 3 or p.shape[:2] != (len(dims), len(labels)) or not p.size:
        counts = f"{len(dims)} sizes and {len(labels)} labels"
        raise InputError(f"probabilities {p.shape} for {counts}: give (sizes, items, classes)")
    if dims[0] < 1 or any(a >= b for a, b in pairwise(dims)):
        raise InputError(f"sizes {list(dims)} must increase: sort them, and the probabilities with them")
    if not (p.min() >= 0 and np.abs(p.sum(-1) - 1).max() <= 1e-3):  # nor NaN
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

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return float(self.right.mean())

    @property
    def final(self) -> float:
        """Expected size if only the last size looked at is charged: what a tied classifier (MRL-E) reads."""
        return float(self.shares @ np.array(self.dims, dtype=float))

    @property
    def visited(self) -> float:
        """Expected size if every size looked at is charged: what separate classifiers (MRL) read."""
        return float(self.shares @ np.cumsum(self.dims, dtype=float))


def stops(confidence: np.ndarray, thresholds: Sequence[float] | np.ndarray) -> np.ndarray:
    """Index of the size that answers each item, (N,): the first whose confidence >= its threshold, else the last.

    confidence (M, N); thresholds (M - 1,), or (M,) of which the last is ignored. Raises InputError for another number
    of thresholds, and for NaN.
    """
    t, sizes = np.asarray(thresholds, dtype=float).ravel(), len(confidence)
    if len(t) not in (sizes - 1, sizes) or np.isnan(t).any():
        raise InputError(f"thresholds {t.round(3).tolist()} for {sizes} sizes: give a number for each but the last")
    sure = confidence >= np.append(t[: sizes - 1], -np.inf)[:, None]
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
    return Outcome(a.dims, right, stop, np.bincount(stop, minlength=len(a.dims)) / len(stop))


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
    grid = check_grid(grid)
    sure = a.confidence[:-1, None] >= grid[:, None]  # (M - 1, T, N)
    hits = np.where(sure, a.right[:-1, None], a.right[1:, None]).sum(2)
    return grid[hits.argmax(1)]


def shared_curve(a: Answers, grid: np.ndarray = GRID) -> list[Outcome]:
    """The cascade with one threshold for all sizes, for every value of `grid`."""
    return [run(a, [t] * (len(a.dims) - 1)) for t in check_grid(grid)]


def check_grid(grid: np.ndarray) -> np.ndarray:
    """The thresholds to try, in order, each once. Raises InputError where there are none, or not all are finite."""
    grid = np.unique(np.asarray(grid, dtype=float))
    if not len(grid) or not np.isfinite(grid).all():
        raise InputError("the grid of thresholds is empty or holds NaN: give numbers between 0 and 1")
    return grid
