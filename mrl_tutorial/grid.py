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

    def items(self, layer: int, dim: int) -> np.ndarray:
        """One cell's values item by item, (items,). Raises InputError as `at` does, and where its measure has no items."""
        if self.per_item is None:
            raise InputError(f"{self.metric} has no value per item: choose a retrieval measure, accuracy or 1nn")
        return self.per_item[self._index(layer, dim)]

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
