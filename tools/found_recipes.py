"""What became of the recipes in data/recipes: trained with shared heads as the loss lab does, on dev and on test.

python -m tools.found_recipes --out data/results/found-recipes.csv
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrl_tutorial import Encoder, RecipeFile, files, load_task, train_recipe
from mrl_tutorial.evaluation.statistics import paired
from mrl_tutorial.recipes.recipe_file import painted
from mrl_tutorial.training.lab import measure
from mrl_tutorial.training.sweep_file import environment

FOLDER = Path(__file__).resolve().parents[1] / "data" / "recipes"
SEEDS = (0, 1, 2)
SPLITS = ("dev", "test")


def items_of(encoder: Encoder, task: object, recipe: RecipeFile) -> dict[str, np.ndarray]:
    """split -> (seeds, queries): nDCG@10 of each query, the mean over all cells."""
    found: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for seed in SEEDS:
        trained = train_recipe(encoder, task, recipe, seed=seed, progress=lambda *_: None).encoder
        for split in SPLITS:
            found[split].append(measure(trained, task, split).mean((0, 1)))
    return {split: np.stack(rows) for split, rows in found.items()}


def found_recipes(encoder: Encoder, task: object, recipes: list[RecipeFile]) -> pd.DataFrame:
    """A row for each recipe: its mean over cells, queries and seeds on each split, and the difference to all-cells with
    its 95 % interval over queries and seeds."""
    rows = []
    base = items_of(encoder, task, painted("all-cells", encoder.n_layers, encoder.width))
    for recipe in recipes:
        row: dict[str, object] = {"recipe": recipe.name}
        for split, items in items_of(encoder, task, recipe).items():
            mean, low, high, _ = paired(items, base[split])
            values = {"": items.mean(), " minus all-cells": mean, " low": low, " high": high}
            row |= {split + name: round(float(value), 4) for name, value in values.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def main() -> None:
    """Train, measure, and write the table."""
    parser = argparse.ArgumentParser(description="the recipes that were found with the loss lab, on dev and on test")
    parser.add_argument("--out", required=True)
    out = parser.parse_args().out
    found = found_recipes(Encoder.load(), load_task("pydocs"), [RecipeFile.read(p) for p in sorted(FOLDER.glob("*"))])
    about = {
        "command": f"python -m tools.found_recipes --out {out}",
        "chosen": "by hand, after 25 were tried on dev with seed 0, ten of them weightings of main alone",
        "trained": f"shared heads from the whitened start, {len(SEEDS)} seeds; full training was not run",
        "measured": "nDCG@10 on pydocs, the mean over all cells; differences paired over queries and seeds",
    }
    lines = [f"# {name}: {value}\n" for name, value in {**about, **environment()}.items()]
    with files.whole_file(out) as temporary:
        temporary.write_text("".join(lines) + found.to_csv(index=False, lineterminator="\n"), encoding="utf-8")


if __name__ == "__main__":
    main()
