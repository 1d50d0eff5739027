"""Can the loss lab's preview be believed? Recipes by quick trainings, and by full training, in order (H1).

`python -m evidence.preview`, run in the folder of the notebooks, measures the previews, and goes on where it stopped.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from mrl_tutorial import Encoder, evaluate_grid, files, load_task
from mrl_tutorial.training.lab import QUICK, recipe_file, train_recipe

RECIPES = ("full-size", "mrl", "all-cells", "2dmse-v1", "ese", "starbucks", "all-cells+log", "all-cells+linear")
SEEDS = 3
PER_LAYER: dict[str, Any] = {"heads": "per-layer", "start": "whitened", "steps": 50, "batch_size": 64}
#: preview -> what `train_recipe` is given
PREVIEWS: dict[str, dict[str, Any]] = {
    "shared heads": {"start": "whitened"},  # the lab's own
    "shared heads, plain start": {"start": "plain"},
    "per-layer heads": {**PER_LAYER, "precision": "fp32"},
    "4 full steps": {**QUICK, "precision": "fp32", "cache": False},
}
DEV = 5  # a model that changes in full is scored on every fifth pair of dev: it has to encode them all again
FILE = files.data_file("results") / "lab-preview.csv"
COMMAND = """# command: python -m evidence.preview
# seconds: of training; of shared heads by the clock of a busy machine, of the others of one processor core
# shared heads from the whitened start, of one core: 3.4 (all-cells), 2.8 (2dmse-v1), 2.2 (mrl)
# dev: every fifth pair for the full steps, else all
"""


def measure(task: str = "stsbenchmark") -> pd.DataFrame:
    """Every recipe with every seed as each preview trains it, and each cell on dev: written after each run."""
    encoder, where = Encoder.load(), load_task(task)
    few = replace(where, splits={**where.splits, "dev": tuple(side[::DEV] for side in where.splits["dev"])})
    rows = stored()
    for (kind, settings), seed, name in product(PREVIEWS.items(), range(SEEDS), RECIPES):
        if len(rows.query("preview == @kind and recipe == @name and seed == @seed")):
            continue
        began = time.process_time()
        trained = train_recipe(encoder, where, recipe_file(name, encoder), seed=seed, **settings).encoder
        seconds = round(time.process_time() - began, 2)
        full = settings.get("what") == "full"
        grid = evaluate_grid(few if full else where, trained.uncached() if full else trained, split="dev")
        new = [
            (kind, name, seed, task, layer, dim, round(grid.at(layer, dim), 5), seconds)
            for layer in grid.layers
            for dim in grid.dims
        ]
        found = pd.DataFrame(new, columns=["preview", "recipe", "seed", "task", "layer", "dim", "value", "seconds"])
        rows = pd.concat([rows, found]) if len(rows) else found
        with files.whole_file(FILE) as temporary:
            temporary.write_text(COMMAND + rows.to_csv(index=False), encoding="utf-8")
        print(f"{kind}, {name}, seed {seed}: {found.value.mean():.4f} in {seconds} s", flush=True)
    return rows


def stored() -> pd.DataFrame:
    """The rows that are there."""
    return pd.read_csv(FILE, comment="#") if FILE.is_file() else pd.DataFrame(columns=["preview", "recipe", "seed"])


def grids(rows: pd.DataFrame, recipes: Iterable[str], preview: str = "shared heads") -> dict[str, np.ndarray]:
    """recipe -> (seeds, layers, dims) of one of the stored previews."""
    rows, found = rows[rows.preview == preview], {}
    for name in recipes:
        own = rows[rows.recipe == name]
        shape = own.seed.nunique(), own.layer.nunique(), own.dim.nunique()
        found[name] = own.sort_values(["seed", "layer", "dim"]).value.to_numpy().reshape(shape)
    return found


def agreement(
    preview: Mapping[str, np.ndarray], full: Mapping[str, np.ndarray], where: np.ndarray, samples: int = 2000
) -> tuple[float, float, float]:
    """Kendall's tau of the recipes' order by the mean over the cells `where` (layers, dims), and its 95 % interval from
    resampling the seeds of both; each recipe -> (seeds, layers, dims)."""
    quick, slow = (np.array([values[name][:, where].mean(1) for name in preview]) for values in (preview, full))
    rng, taus = np.random.default_rng(0), []
    for _ in range(samples):
        drawn = [x[np.arange(len(x))[:, None], rng.integers(0, x.shape[1], x.shape)].mean(1) for x in (quick, slow)]
        taus.append(kendalltau(*drawn).statistic)
    low, high = np.quantile(taus, [0.025, 0.975])
    return float(kendalltau(quick.mean(1), slow.mean(1)).statistic), float(low), float(high)


def said(tau: tuple[float, float, float]) -> str:
    """A tau with its interval."""
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*tau)


if __name__ == "__main__":
    measure()
