"""Can the loss lab's preview be believed? Recipes by its shared heads, and by full training, in order (H1).

`python -m evidence.preview`, run in the folder of the notebooks, measures the preview, and goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import product

import numpy as np
import pandas as pd
from scipy.stats import kendalltau

from mrl_tutorial import Encoder, evaluate_grid, files, load_task
from mrl_tutorial.training.lab import recipe_file, train_recipe

RECIPES = ("full-size", "mrl", "all-cells", "2dmse-v1", "ese", "starbucks", "all-cells+log", "all-cells+linear")
SEEDS = 3
STARTS = ("whitened", "plain")  # the lab's own start, and the layers as they are
FILE = files.data_file("results") / "lab-preview.csv"
COMMAND = "# command: python -m evidence.preview\n"


def measure(task: str = "stsbenchmark") -> pd.DataFrame:
    """Every recipe with every seed as the lab trains it, and each cell on dev: written after each run."""
    encoder, where = Encoder.load(), load_task(task)
    rows = stored()
    for start, seed, name in product(STARTS, range(SEEDS), RECIPES):
        if len(rows.query("start == @start and recipe == @name and seed == @seed")):
            continue
        result = train_recipe(encoder, where, recipe_file(name, encoder), seed=seed, start=start)
        grid = evaluate_grid(where, result.encoder, split="dev")
        new = [
            (start, name, seed, task, layer, dim, round(grid.at(layer, dim), 5), round(result.seconds, 2))
            for layer in grid.layers
            for dim in grid.dims
        ]
        found = pd.DataFrame(new, columns=["start", "recipe", "seed", "task", "layer", "dim", "value", "seconds"])
        rows = pd.concat([rows, found]) if len(rows) else found
        with files.whole_file(FILE) as temporary:
            temporary.write_text(COMMAND + rows.to_csv(index=False), encoding="utf-8")
        print(f"{start}, {name}, seed {seed}: {found.value.mean():.4f} in {result.seconds:.1f} s", flush=True)
    return rows


def stored() -> pd.DataFrame:
    """The rows that are there."""
    return pd.read_csv(FILE, comment="#") if FILE.is_file() else pd.DataFrame(columns=["start", "recipe", "seed"])


def grids(rows: pd.DataFrame, recipes: Iterable[str], start: str = "whitened") -> dict[str, np.ndarray]:
    """recipe -> (seeds, layers, dims) of the stored preview from one of the starts."""
    rows, found = rows[rows.start == start], {}
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


if __name__ == "__main__":
    measure()
