"""Weight grids (layers, dims) as the recipe builders make them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mrl_tutorial.grid import default_dims


def cells(n_layers: int, dims: Sequence[int], chosen: Sequence[tuple[int, int, float]]) -> np.ndarray:
    """(n_layers, len(dims)), zero but in the chosen (layer, dim, weight) cells."""
    grid = np.zeros((n_layers, len(dims)))
    for layer, dim, weight in chosen:
        grid[layer - 1, list(dims).index(dim)] = weight
    return grid


def columns(dims: Sequence[int] | None, width: int) -> tuple[int, ...]:
    """The columns of a grid: `dims` sorted, without repeats, or the default ones."""
    return default_dims(width) if dims is None else tuple(sorted({int(d) for d in dims}))


def columns_with(dims: Sequence[int] | None, width: int, *needed: int) -> tuple[int, ...]:
    """`columns`, and the dimensions `needed` where they are not among them."""
    return tuple(sorted({*columns(dims, width), *needed}))
