"""Grids of the same items next to each other: who leads by which measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mrl_tutorial.errors import InputError


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
    found, best = [], np.max(list(grids.values()), axis=0) if grids else np.zeros(0)
    for name, grid in grids.items():
        found.append(Standing(name, float(np.mean(grid)), int((grid >= best).sum()), area(envelope(grid), dims)))
    return sorted(found, key=lambda one: -one.mean)


def envelope(grid: np.ndarray) -> np.ndarray:
    """The best layer's quality at each width: (L, M) to (M,)."""
    return np.asarray(grid).max(0)


def area(quality: np.ndarray, dims: Sequence[int]) -> float:
    """The mean height of a curve over log(dims), by trapezoids; of one width its value."""
    x = np.log2(np.asarray(dims, dtype=float))
    return float(quality[0]) if len(x) == 1 else float(np.trapezoid(quality, x) / (x[-1] - x[0]))
