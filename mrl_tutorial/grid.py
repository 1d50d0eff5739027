"""The grid: one number for every (layer, dimension) cell, the picture that the whole course works on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError

#: which layers or dimensions: numbers, one number, "all", or None for the usual ones
Choice = Iterable[int] | int | str | None


def default_dims(width: int) -> tuple[int, ...]:
    """Powers of two from 8 below `width`, then `width`.

    >>> default_dims(384)  # MiniLM
    (8, 16, 32, 64, 128, 256, 384)
    """
    return (*(2**power for power in range(3, width.bit_length()) if 2**power < width), width)


def check_cells(layers: Choice, dims: Choice, n_layers: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Validate a choice of cells: `layers` in 1..n_layers (None or "all": every one), `dims` in 1..width
    (None: `default_dims`; "all": every dimension); one number is a choice of one. Returns both sorted, without repeats.

    Raises InputError naming the first value out of range.

    >>> check_cells([3, 1], None, n_layers=6, width=32)
    ((1, 3), (8, 16, 32))
    """
    return (
        _checked("layer", "all" if layers is None else layers, n_layers),
        _checked("dimension", default_dims(width) if dims is None else dims, width),
    )


def _checked(what: str, given: Iterable[int] | int | str, most: int) -> tuple[int, ...]:
    """The numbers chosen of 1..most, sorted, each once."""
    if isinstance(given, str) and given != "all":
        raise InputError(f'{what}s: {given!r} is not a choice; give numbers, as in [1, {most}], or "all"')
    chosen = range(1, most + 1) if isinstance(given, str) else given if isinstance(given, Iterable) else (given,)
    found = list(chosen)
    if not found:
        raise InputError(f"no cells chosen: give at least one {what}")
    for x in found:
        if not (isinstance(x, Real) and 1 <= float(x) <= most and float(x).is_integer()):
            raise InputError(f"{what} {x} does not exist: this model has {what}s 1 to {most}")
    return tuple(sorted({int(x) for x in found}))


@dataclass(frozen=True)
class Grid:
    """Quality (or loss, or cost) of every cell.

    values: (len(layers), len(dims)) float64. per_item: (len(layers), len(dims), items) float32, the same measure for
    each query (retrieval), text (accuracy: the share of training samples that got it right; 1-NN) or pair (Spearman:
    values whose mean it is), None where a measure of your own has no items. seconds: what took how long. about: what
    was scored, the number of items, of documents and of queries without judgments ("dropped"), where the split came
    from, the similarity and prompts.

    >>> grid = Grid("task", "model", "ndcg@10", "test", (1, 2), (8, 16), np.array([[0.1, 0.2], [0.3, 0.4]]))
    >>> grid.at(layer=2, dim=8)
    0.3
    >>> print(grid.as_text())
    layer \\ dim       8      16
              1  0.1000  0.2000
              2  0.3000  0.4000
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
    about: dict[str, Any] = field(default_factory=dict)

    def at(self, layer: int, dim: int) -> float:
        """The value of one cell. Raises InputError where the grid does not hold that cell."""
        return float(self.values[self._index(layer, dim)])

    def items(self, layer: int, dim: int) -> np.ndarray:
        """One cell's values item by item, (items,). Raises InputError as `at` does, and for a grid without items."""
        if self.per_item is None:
            raise InputError(f"{self.metric} has no value per item: measure with evaluate_grid")
        return self.per_item[self._index(layer, dim)]

    def as_json(self) -> dict[str, Any]:
        """What `mrl-tutorial evaluate --json` writes."""
        found = {name: getattr(self, name) for name in ("task", "model", "metric", "split")}
        found |= {"layers": list(self.layers), "dims": list(self.dims)}
        found["values"] = [[round(float(v), 6) for v in row] for row in self.values]
        return found | {"seconds": {k: round(v, 3) for k, v in self.seconds.items()}, **self.about}

    def as_text(self) -> str:
        """The grid as a plain table, one row per layer, one column per dimension."""
        head = "layer \\ dim" + "".join(f"{d:>8}" for d in self.dims)
        pairs = zip(self.layers, self.values, strict=True)
        rows = [f"{layer:>11}" + "".join(f"{v:>8.4f}" for v in row) for layer, row in pairs]
        return "\n".join([head, *rows])

    def _index(self, layer: int, dim: int) -> tuple[int, int]:
        if layer not in self.layers or dim not in self.dims:
            there = f"layers {list(self.layers)}, dimensions {list(self.dims)}"
            raise InputError(f"cell ({layer}, {dim}) is not in this grid: it has {there}")
        return self.layers.index(layer), self.dims.index(dim)
