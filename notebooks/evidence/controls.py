"""Layers and widths without training: what whitening, heads in closed form and full-depth documents give (W1, W2).

The numbers are sweeps without a recipe: data/results/controls-FITTED.csv or controls-FITTED-TESTED.csv, by the sets
that the heads were fitted and tested on; `mrl-tutorial sweep` goes on where one stopped, by the command in its first
lines.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from evidence.curve_figures import side_by_side
from mrl_tutorial.evaluation.statistics import paired, verdict
from mrl_tutorial.files import data_file
from mrl_tutorial.training.sweep_file import read_items, read_sweep

#: set -> its measure
SETS = {
    "pydocs": "ndcg@10", "scifact": "ndcg@10", "cranfield": "ndcg@10", "stsbenchmark": "spearman",
    "banking77": "1nn",
}  # fmt: skip


def items(recipe: str, on: str, fitted: str | None = None) -> np.ndarray:
    """What a control or recipe gave for each item of the set `on`: (seeds, layers, dims, items). fitted: the set that
    its heads were fitted on (default: the same). Raises InputError where it was not measured."""
    fitted, folder = fitted or on, data_file("results")
    elsewhere = folder / f"controls-{fitted}-{on}.csv"  # sets that were added later have a file of their own
    return read_items(elsewhere if elsewhere.is_file() else folder / f"controls-{fitted}.csv", recipe, on, SETS[on])


def cells(sweep: str = "controls-pydocs") -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The layers and dimensions of a sweep."""
    frame = read_sweep(data_file("results") / f"{sweep}.csv")[0]
    return tuple(sorted(map(int, frame.layer.unique()))), tuple(sorted(map(int, frame.dim.unique())))


def compared(a: np.ndarray, b: np.ndarray, *, not_worse: bool = False) -> pd.DataFrame:
    """a - b cell by cell, each (seeds, layers, dims, items) with all cells: the means, the difference with its 95 %
    interval, the smallest difference that the test could have shown, and the verdict by the one rule."""
    layers, dims = cells()
    rows = []
    for i, layer in enumerate(layers):
        for j, dim in enumerate(dims):
            found = paired(a[:, i, j], b[:, i, j])
            said = verdict(found, not_worse=not_worse)
            rows.append((layer, dim, a[:, i, j].mean(), b[:, i, j].mean(), *found[:3], found.smallest, said))
    return pd.DataFrame(rows, columns=["layer", "dim", "a", "b", "difference", "low", "high", "smallest", "verdict"])


def counts(found: pd.DataFrame) -> str:
    """How many cells have which verdict.

    >>> counts(pd.DataFrame({"verdict": ["holds", "holds", "refuted"]}))
    'holds 2, refuted 1 of 3'
    """
    told = found.verdict.value_counts()
    return ", ".join(f"{said} {n}" for said, n in told.items()) + f" of {len(found)}"


def share_of_gain(
    plain: np.ndarray, control: np.ndarray, trained: np.ndarray, layers: slice
) -> tuple[float, float, float]:
    """(control - plain) / (trained - plain), the mean over the cells of `layers`, with its 95 % interval from
    resampling items and seeds; each (seeds, layers, dims, items)."""
    base, middle, top = (x[:, layers].mean((1, 2)) for x in (plain, control, trained))  # (seeds, items)
    gained, whole = (middle - base)[0], (top - base).mean()
    rng, ratios = np.random.default_rng(0), []
    for _ in range(2000):
        column, seeds = rng.integers(0, base.shape[1], base.shape[1]), rng.integers(0, len(top), len(top))
        ratios.append(gained[column].mean() / (top[seeds][:, column] - base[:, column]).mean())
    whole = gained.mean() / whole
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(whole), float(low), float(high)


def picture(lines: Mapping[str, np.ndarray], layers: Sequence[int], bar: str, title: str = "") -> go.Figure:
    """Quality against dimension, a panel for each of `layers`, a line for each way: name -> (all layers, dims)."""
    every, dims = cells()
    panels = {f"layer {at}": {name: x[every.index(at)] for name, x in lines.items()} for at in layers}
    top = 1.05 * max(float(x.max()) for x in lines.values())
    return side_by_side(dims, panels, y={"title": {"text": bar}, "range": [0, top], "showgrid": True}, title=title)
