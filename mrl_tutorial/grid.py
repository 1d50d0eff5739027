"""The grid: one number for every (layer, dimension) cell, the picture that the whole course works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError


def default_dims(width: int) -> tuple[int, ...]:
    """Powers of two from 8 below `width`, then `width`: 8 16 32 64 128 256 384 for MiniLM."""
    dims = []
    d = 8
    while d < width:
        dims.append(d)
        d *= 2
    return (*dims, width)


def check_cells(
    layers: Sequence[int] | int | str | None, dims: Sequence[int] | int | str | None, n_layers: int, width: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Validate a choice of cells: `layers` in 1..n_layers (None or "all": every one), `dims` in 1..width
    (None: `default_dims`; "all": every dimension); one number is a choice of one. Returns both sorted, without repeats.

    Raises InputError naming the first value out of range.
    """
    chosen = _listed("layers", "all" if layers is None else layers, n_layers)
    widths = _listed("dims", default_dims(width) if dims is None else dims, width)
    if not chosen or not widths:
        raise InputError("no cells chosen: give at least one layer and one dimension")
    for layer in chosen:
        if not _whole(layer, n_layers):
            raise InputError(f"layer {layer} does not exist: this model has layers 1 to {n_layers}")
    for dim in widths:
        if not _whole(dim, width):
            raise InputError(f"dimension {dim} does not exist: this model's vectors have 1 to {width} coordinates")
    return tuple(sorted({int(x) for x in chosen})), tuple(sorted({int(x) for x in widths}))


def _listed(what: str, given: Sequence[int] | int | str, most: int) -> tuple:
    if isinstance(given, Real):
        return (given,)
    if isinstance(given, str):
        if given != "all":
            raise InputError(f'{what}={given!r} is no choice: give numbers, as in {what}=[1, {most}], or "all"')
        return tuple(range(1, most + 1))
    return tuple(given)


def _whole(value: object, most: int) -> bool:
    """Whether `value` is a whole number in 1..most."""
    return isinstance(value, Real) and 1 <= value <= most and value == int(value)


@dataclass(frozen=True)
class Grid:
    """Quality (or loss, or cost) of every cell.

    values: (len(layers), len(dims)) float64. per_item: (len(layers), len(dims), items) float32, the same measure for
    each query (retrieval) or text (accuracy: the share of draws that got it right; 1-NN), None where the measure has no
    items (Spearman).
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
        """Bootstrap interval (low, high) of one cell's mean over its items. Raises InputError where the grid does not
        hold that cell, or its measure has no items."""
        return bootstrap(self._items(layer, dim), level=level, draws=draws, seed=seed)

    def compare(self, other: Grid, layer: int, dim: int, *, level: float = 0.95, draws: int = 2000, seed: int = 0):
        """Paired bootstrap of (self - other) in one cell, over the same items: (difference, low, high).

        Raises InputError as `interval`, and where the grids measure different things or items."""
        for what in ("task", "split", "metric"):
            ours, theirs = getattr(self, what), getattr(other, what)
            if ours != theirs:
                raise InputError(f"grids of {what} {ours!r} and {theirs!r} cannot be paired: compare two of one {what}")
        counts = [grid._items(layer, dim).size for grid in (self, other)]
        if counts[0] != counts[1]:
            raise InputError(f"grids of {counts[0]} and {counts[1]} items cannot be paired: measure both alike")
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
            raise InputError(f"{self.metric} has no value per item: choose a retrieval measure, accuracy or 1nn")
        return self.per_item[self._index(layer, dim)]


def bootstrap(items: np.ndarray, *, level: float = 0.95, draws: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Percentile bootstrap interval (low, high) of the mean of `items`, shape (n,), resampled with replacement.

    Raises InputError for a level outside 0..1, and without items or draws."""
    if not 0 < level < 1:
        raise InputError(f"level {level} is no share: give a number between 0 and 1, e.g. 0.95")
    if not len(items) or draws < 1:
        raise InputError(f"{len(items)} items, {draws} draws: give 1 or more of each")
    rng = np.random.default_rng(seed)
    items = np.asarray(items, dtype=np.float64)
    means = np.array([items[rng.integers(0, len(items), len(items))].mean() for _ in range(draws)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
