"""Long tables, a row a cell, as grids: published numbers and sweeps alike, their differences, and the cells won."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import Difference, paired
from mrl_tutorial.files import data_file
from mrl_tutorial.training.sweep_file import COLUMNS, read_sweep

PUBLISHED = ("reproduction_sts", "reproduction_retrieval", "starbucks")


@dataclass(frozen=True)
class Stack:
    """Grids of several seeds. values: (S, L, M), NaN where a cell was not scored; seeds: (S,)."""

    values: np.ndarray
    seeds: tuple[int, ...]
    layers: tuple[int, ...]
    dims: tuple[int, ...]

    @property
    def mean(self) -> np.ndarray:
        """Mean over seeds, (L, M)."""
        return self.values.mean(0)

    def minus(self, other: Stack) -> Stack:
        """Differences by seed, over the seeds that both have; a stack of one untrained model counts for every seed.

        Raises InputError where the cells differ or no seed is common."""
        if (self.layers, self.dims) != (other.layers, other.dims):
            raise InputError(f"grids {self.layers} x {self.dims} and {other.layers} x {other.dims} have other cells")
        if other.seeds == ():
            return Stack(self.values - other.values, self.seeds, self.layers, self.dims)
        seeds = tuple(s for s in self.seeds if s in other.seeds)
        if not seeds:
            raise InputError(f"no common seed: {list(self.seeds)} and {list(other.seeds)}; run the sweep further")
        mine, theirs = ([x.seeds.index(s) for s in seeds] for x in (self, other))
        return Stack(self.values[mine] - other.values[theirs], seeds, self.layers, self.dims)

    def at(self, layer: int, dim: int) -> np.ndarray:
        """One cell's value by seed, (S,)."""
        return self.values[:, self.layers.index(layer), self.dims.index(dim)]


def published(name: str) -> pd.DataFrame:
    """Numbers from a paper, as data/published/NAME.csv holds them; cite the paper beside them (README.md there).

    Raises InputError for a name that is not in `PUBLISHED`.

    >>> len(published("starbucks")) > 0
    True
    """
    if name not in PUBLISHED:
        raise InputError(f"no published numbers are called {name!r}: there are {', '.join(PUBLISHED)}")
    return pd.read_csv(data_file(f"published/{name}.csv"))


def table(name: str) -> pd.DataFrame:
    """A measurement in data/results/NAME.csv; its first lines, '# name: value', are in `.attrs`.

    Raises InputError where there is none of that name. A sweep's file is read by `sweep_rows`.
    """
    path = data_file("results") / f"{name}.csv"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in path.parent.glob("*.csv"))) or "none yet"
        raise InputError(f"no measurement is called {name!r}: there are {there}")
    lines = path.read_text(encoding="utf-8").splitlines()
    head = [line[2:] for line in lines if line.startswith("# ")]
    frame = pd.read_csv(path, comment="#")
    frame.attrs.update(line.split(": ", 1) for line in head if ": " in line)
    return frame


def published_grid(name: str, method: str, **only: str) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    """(values (L, M), layers, dims) of one method in data/published: "reproduction_sts" with version="V1" or "V2",
    "reproduction_retrieval" with figure=. The first figure that holds a method is taken where none is named.

    Raises InputError for a method or version that is not there, and where a cell has several values.
    """
    frame = published(name)
    for column, value in {"method": method, **only}.items():
        if column not in frame or value not in set(frame[column]):
            known = sorted(set(frame[column])) if column in frame else list(frame)
            raise InputError(f"{name} has no {column} {value!r}: there are {', '.join(map(str, known))}")
        frame = frame[frame[column] == value]
    if "figure" in frame:
        frame = frame[frame.figure == frame.figure.iloc[0]]
    return _grid(frame, f"{name}, {method}: name its {'version' if 'version' in frame else 'figure'}")


def stack(frame: pd.DataFrame, recipe: str, task: str, metric: str | None = None) -> Stack:
    """The grids of one recipe on one task in a sweep's rows (`sweep_rows`), a seed a grid. A run that diverged is
    left out. The untrained "plain" has no seeds: it can be compared with every seed.

    Raises InputError where the recipe or the task was not run (yet).
    """
    rows = frame[(frame.recipe == recipe) & (frame.task == task)]
    rows = rows if metric is None else rows[rows.metric == metric]
    if rows.empty:
        there = ", ".join(dict.fromkeys(frame.recipe + " on " + frame.task))
        raise InputError(f"{recipe!r} on {task!r} is not in this sweep: it has {there or 'nothing yet'}")
    rows = rows[rows.metric == rows.metric.iloc[0]]
    grids = {int(seed): _grid(part, f"{recipe}, seed {seed}") for seed, part in rows.groupby("seed")}
    first = next(iter(grids.values()))
    kept = {seed: g[0] for seed, g in grids.items() if np.isfinite(g[0]).any()}
    values = np.stack(list(kept.values())) if kept else np.full((0, *first[0].shape), np.nan)
    return Stack(values, () if recipe == "plain" else tuple(kept), first[1], first[2])


def sweep_rows(name: str) -> tuple[pd.DataFrame, dict[str, str]]:
    """Rows and header of data/results/NAME.csv, a sweep; no rows and no header where it has not been run.

    Raises InputError where the file is damaged.
    """
    path = data_file("results") / f"{name}.csv"
    return read_sweep(path) if path.is_file() else (pd.DataFrame(columns=COLUMNS), {})


def stacks(frame: pd.DataFrame, task: str) -> dict[str, Stack]:
    """recipe -> its grids on one task, of all that a sweep has run there."""
    return {name: stack(frame, name, task) for name in dict.fromkeys(frame.recipe[frame.task == task])}


def longer(header: Mapping[str, str]) -> str:
    """What would do where a sweep was too short: its command with 1,500 steps, as a remedy in the ledger.

    >>> longer({"command": "mrl-tutorial sweep --steps 50 --lr 3e-5 --out x.csv"})[-41:]
    'mrl-tutorial sweep --steps 1500 --lr 3e-5'
    """
    command = re.sub(r"--steps \d+", "--steps 1500", header.get("command", "")).split(" --out")[0]
    return f"training until the dev curves are flat, at the best of three learning rates: {command}"


def over_seeds(difference: Stack, where: np.ndarray) -> Difference:
    """The mean over the cells `where` (booleans that broadcast to (L, M)), with bounds that resample the seeds alone:
    a sweep's rows hold no value for each query."""
    by_seed = difference.values[:, np.broadcast_to(where, difference.values.shape[1:])].mean(1)
    return paired(by_seed[:, None], np.zeros((1, 1)))


def separate_cells(frame: pd.DataFrame, task: str) -> dict[tuple[int, int], dict[int, float]]:
    """(layer, dim) -> {seed: value} of the separately trained sub-models in a sweep's rows, each in its own cell."""
    rows = frame[frame.recipe.str.startswith("separate:") & (frame.task == task)].dropna(subset="value")
    found: dict[tuple[int, int], dict[int, float]] = {}
    for row in rows.itertuples():
        found.setdefault((int(row.layer), int(row.dim)), {})[int(row.seed)] = float(row.value)
    return found


def cells_won(ours: np.ndarray, theirs: np.ndarray) -> tuple[int, int]:
    """(cells where ours exceeds theirs, cells where both have a value).

    >>> cells_won(np.array([0.2, 0.5, np.nan]), np.array([0.3, 0.4, 0.1]))
    (1, 2)
    """
    both = np.isfinite(ours) & np.isfinite(theirs)
    return int((ours[both] > theirs[both]).sum()), int(both.sum())


def gain(difference: Stack, where: np.ndarray) -> str:
    """The mean over the cells `where` and its standard deviation over seeds, as text; one seed has no spread.

    where: booleans that broadcast to (L, M).

    >>> gain(Stack(np.array([[[0.1, 0.3]], [[0.2, 0.4]]]), (0, 1), (6,), (8, 16)), np.array([True, False]))
    '+0.150 ± 0.071'
    """
    chosen = np.broadcast_to(where, difference.values.shape[1:])
    by_seed = difference.values[:, chosen].mean(1)
    return f"{by_seed.mean():+.3f}" + (f" ± {by_seed.std(ddof=1):.3f}" if len(by_seed) > 1 else "")


def won_in_every_seed(difference: Stack) -> np.ndarray:
    """(L, M) booleans: whether the difference is positive in each seed. False where a seed lacks the cell."""
    won = np.all(difference.values > 0, axis=0)
    return won if difference.seeds else np.zeros_like(won)


def _grid(frame: pd.DataFrame, place: str) -> tuple[np.ndarray, tuple[int, ...], tuple[int, ...]]:
    if frame.duplicated(["layer", "dim"]).any():
        raise InputError(f"{place}, as a cell has several values")
    table = frame.pivot(index="layer", columns="dim", values="value").sort_index().sort_index(axis=1)
    return table.to_numpy(float), tuple(int(x) for x in table.index), tuple(int(x) for x in table.columns)
