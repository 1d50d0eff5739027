"""The grid: one number for every (layer, dimension) cell, the picture that the whole course works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .errors import InputError


def default_dims(width: int) -> tuple[int, ...]:
    """Powers of two from 8 below `width`, then `width`: 8 16 32 64 128 256 384 for MiniLM."""
    dims = []
    d = 8
    while d < width:
        dims.append(d)
        d *= 2
    return (*dims, width)


def check_cells(
    layers: Sequence[int] | str | None, dims: Sequence[int] | str | None, n_layers: int, width: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Validate a choice of cells: `layers` in 1..n_layers (None or "all": every one), `dims` in 1..width
    (None: `default_dims`; "all": every dimension). Returns both sorted, without repeats.

    Raises InputError naming the first value out of range.
    """
    chosen = tuple(range(1, n_layers + 1)) if layers is None or layers == "all" else tuple(layers)
    if dims is None:
        widths: tuple[int, ...] = default_dims(width)
    else:
        widths = tuple(range(1, width + 1)) if dims == "all" else tuple(dims)
    if not chosen or not widths:
        raise InputError("no cells chosen: give at least one layer and one dimension")
    for layer in chosen:
        if layer != int(layer) or not 1 <= layer <= n_layers:
            raise InputError(f"layer {layer} does not exist: this model has layers 1 to {n_layers}")
    for dim in widths:
        if dim != int(dim) or not 1 <= dim <= width:
            raise InputError(f"dimension {dim} does not exist: this model's vectors have 1 to {width} coordinates")
    return tuple(sorted({int(x) for x in chosen})), tuple(sorted({int(x) for x in widths}))


@dataclass(frozen=True)
class Grid:
    """Quality (or loss, or cost) of every cell.

    values: (len(layers), len(dims)) float64. per_item: (len(layers), len(dims), items) float32, the same measure for
    each query (retrieval) or text (1-NN), None where the measure has no items (Spearman, accuracy).
    seconds: what took how long.
    """

    task: str
    model: str
    metric: str
    split: str
    layers: tuple[int, ...]
    dims: tuple[int, ...]
    values: np.ndarray
    per_item: np.ndarray | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def at(self, layer: int, dim: int) -> float:
        """The value of one cell. Raises InputError where the grid does not hold that cell."""
        i, j = self._index(layer, dim)
        return float(self.values[i, j])

    def interval(self, layer: int, dim: int, *, level: float = 0.95, draws: int = 2000, seed: int = 0):
        """Bootstrap interval (low, high) of one cell's mean over its items."""
        return bootstrap(self._items(layer, dim), level=level, draws=draws, seed=seed)

    def compare(self, other: Grid, layer: int, dim: int, *, level: float = 0.95, draws: int = 2000, seed: int = 0):
        """Paired bootstrap of (self - other) in one cell, over the same items: (difference, low, high)."""
        difference = self._items(layer, dim).astype(np.float64) - other._items(layer, dim)
        return (float(difference.mean()), *bootstrap(difference, level=level, draws=draws, seed=seed))

    def as_json(self) -> dict[str, Any]:
        """What `mrl-tutorial evaluate --json` writes."""
        return {
            "task": self.task, "model": self.model, "metric": self.metric, "split": self.split,
            "layers": list(self.layers), "dims": list(self.dims),
            "values": [[round(float(v), 6) for v in row] for row in self.values],
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
        }  # fmt: skip

    def as_text(self) -> str:
        """The grid as a plain table, a row a layer, a column a dimension."""
        head = "layer \\ dim" + "".join(f"{d:>8}" for d in self.dims)
        rows = [f"{layer:>11}" + "".join(f"{v:>8.4f}" for v in row) for layer, row in zip(self.layers, self.values)]
        return "\n".join([head, *rows])

    def _index(self, layer: int, dim: int) -> tuple[int, int]:
        if layer not in self.layers or dim not in self.dims:
            raise InputError(
                f"cell ({layer}, {dim}) is not in this grid: it has layers {list(self.layers)}, dimensions {list(self.dims)}"
            )
        return self.layers.index(layer), self.dims.index(dim)

    def _items(self, layer: int, dim: int) -> np.ndarray:
        if self.per_item is None:
            raise InputError(f"{self.metric} has no value per item to resample: choose a retrieval measure or 1nn")
        return self.per_item[self._index(layer, dim)]


def bootstrap(items: np.ndarray, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the mean of `items`, shape (n,), resampled with replacement."""
    rng = np.random.default_rng(seed)
    items = np.asarray(items, dtype=np.float64)
    means = np.array([items[rng.integers(0, len(items), len(items))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
