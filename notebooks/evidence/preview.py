"""Can the loss lab's preview be believed? Recipes by quick trainings, and by full training, in order (H1).

`python -m evidence.preview`, run in the folder of the notebooks, measures the previews, and goes on where it stopped.
`python -m evidence.preview rates` tries the learning rates of the adapters, `... prices` measures what each costs.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from scipy.stats import kendalltau

from evidence.preview_adapters import Recalled, Teacher, adapted, taught
from mrl_tutorial import Encoder, Grid, evaluate_grid, files, load_task
from mrl_tutorial.panels import plots
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, Learned
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.recipe_file import RecipeFile
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.examples import examples, schedule
from mrl_tutorial.training.lab import QUICK, recipe_file, train_recipe

#: each with every weighting of the layers
WEIGHTED = (
    "all-cells", "retrieval-2dmse", "ese", "all-cells+kl-full", "all-cells+kl-scores", "retrieval-2dmse+full-dim",
    "retrieval-2dmse+dims", "all-cells+kl-features",
)  # fmt: skip
RECIPES = (
    "full-size", "mrl", "2dmse-v1", "starbucks",
    *(get_recipe(f"{name}+{weights}", 6, 384).name for name, weights in product(WEIGHTED, LAYER_WEIGHTS)),
)  # fmt: skip
SEEDS = 3
PER_LAYER: dict[str, Any] = {"heads": "per-layer", "start": "whitened", "steps": 50, "batch_size": 64}
FULL: dict[str, Any] = {**QUICK, "precision": "fp32", "cache": False}
#: preview -> what `train_recipe` is given; taught: with a `Teacher`; frozen: adapters above so many frozen layers
PREVIEWS: dict[str, dict[str, Any]] = {
    "shared heads": {"start": "whitened", "precision": "fp32"},  # the lab's own
    "shared heads, plain start": {"start": "plain", "precision": "fp32"},
    "per-layer heads": {**PER_LAYER, "precision": "fp32"},
    "4 full steps": FULL,
    "8 full steps of 16 pairs, taught": {**FULL, "steps": 8, "batch_size": 16, "taught": True},
    "adapters, upper 3 layers": {**FULL, "steps": 12, "lr": 3e-3, "frozen": 3},
    "adapters, all layers": {**FULL, "steps": 6, "lr": 3e-3, "frozen": 0},
}
RATES = (1e-3, 3e-3, 1e-2)  # tried for adapters, on all-cells with seed 0
DEV = 5  # a model that changes in full is scored on every fifth pair of dev: it has to encode them all again
FILE = files.data_file("results") / "lab-preview.csv"
PRICES = FILE.with_name("lab-preview-prices.csv")
COLUMNS = ["preview", "recipe", "seed", "task", "layer", "dim", "value", "seconds"]
RUN = ["preview", "recipe", "seed", "task", "seconds"]  # what tells a run; its cells are columns, "4x128" and so on
COMMAND = """# command: python -m evidence.preview
# a row for each run; 4x128: the value of layer 4 at 128 dimensions
# seconds: of training, on a machine that did other work too: of shared heads by the clock, of the others of one core
# shared heads from the whitened start, of one core: 3.4 (all-cells), 2.8 (2dmse-v1), 2.2 (mrl)
# dev: every fifth pair for full steps and adapters, else all
# rates tried for adapters (python -m evidence.preview rates; all-cells, seed 0, mean over cells)
# on all layers: 0.001 0.6031, 0.003 0.6252, 0.01 0.5945; on the upper three: 0.001 0.5945, 0.003 0.5957, 0.01 0.5766
"""
PRICES_COMMAND = """# command: python -m evidence.preview prices
# seconds of one core for all-cells with seed 0, the previews in turns on a busy machine; computed before, so not in
# them: the layers of the plain model (heads), its last one (taught), the lower ones of the texts (upper adapters)
# left out: the first turn with a teacher, which computed the teacher's vectors
"""


@dataclass(frozen=True)
class LearnedWeights(RecipeFile):
    """A recipe file whose layer weights are learned, which cannot be painted."""

    def recipe(self, *given: Any) -> Recipe:
        """As `RecipeFile.recipe`."""
        return replace(super().recipe(*given), learned=Learned())


def by_name(name: str, encoder: Encoder) -> RecipeFile:
    """A recipe by name, as the lab's training takes it."""
    fixed = recipe_file(name.replace("+learned", "+uniform"), encoder)
    return LearnedWeights(**{**vars(fixed), "name": name}) if "+learned" in name else fixed


def measure(task: str = "stsbenchmark") -> pd.DataFrame:
    """Every recipe with every seed as each preview trains it, and each cell on dev: written after each run."""
    encoder, where, rows = Encoder.load(), load_task(task), stored()
    known: dict[int, Recalled] = {}
    for name, (kind, settings), seed in product(RECIPES, PREVIEWS.items(), range(SEEDS)):
        if len(rows.query("preview == @kind and recipe == @name and seed == @seed")):
            continue
        grid, seconds, _ = one_run(encoder, where, name, seed, settings, known)
        new = [
            (kind, name, seed, task, layer, dim, round(grid.at(layer, dim), 5), seconds)
            for layer in grid.layers
            for dim in grid.dims
        ]
        found = pd.DataFrame(new, columns=COLUMNS)
        rows = pd.concat([rows, found]) if len(rows) else found
        write(rows)
        print(f"{kind}, {name}, seed {seed}: {found.value.mean():.4f} in {seconds} s", flush=True)
    return rows


def one_run(
    encoder: Encoder, task: Any, name: str, seed: int, settings: Mapping[str, Any], known: dict[int, Recalled]
) -> tuple[Grid, float, float]:
    """A preview of one recipe: its grid on dev, and the seconds of one core for training and for scoring.

    known: what frozen layers made of the texts of earlier runs; of new ones it is computed before the clock runs, and
    so are the teacher's vectors."""
    few = replace(task, splits={**task.splits, "dev": tuple(side[::DEV] for side in task.splits["dev"])})
    recipe, data, given, start = by_name(name, encoder), examples(task).with_prompts(encoder), {**settings}, encoder
    is_taught, frozen = given.pop("taught", False), given.pop("frozen", None)
    budget = {"steps": given.get("steps", 0), "batch_size": given.get("batch_size", 0), "seed": seed}
    if frozen:
        batches = [side for rows in schedule(data, **budget) for side in data.sides(rows)]
        known.setdefault(frozen, Recalled(encoder, frozen)).read(chain(*batches, *few.splits["dev"][:2]))
    if is_taught:
        teacher, recipe = Teacher(encoder, data, **budget), taught(recipe)
        given |= {"terms": [teacher.scores], "on_step": teacher.next}
    began = time.process_time()
    if frozen is not None:
        start = adapted(encoder, known.get(frozen), seed)
    trained = train_recipe(start, task, recipe, seed=seed, **given).encoder
    seconds, began = round(time.process_time() - began, 2), time.process_time()
    if full := given.get("what") == "full":
        trained = trained.uncached()
    grid = evaluate_grid(few if full else task, trained, split="dev", precision=given.get("precision", "auto"))
    return grid, seconds, round(time.process_time() - began, 2)


def rates(task: str = "stsbenchmark") -> None:
    """The mean over cells of all-cells at each learning rate of the adapters, printed."""
    encoder, where, known = Encoder.load(), load_task(task), dict[int, Recalled]()
    for kind, settings in PREVIEWS.items():
        for rate in RATES if "frozen" in settings else ():
            grid, *_ = one_run(encoder, where, "all-cells", 0, {**settings, "lr": rate}, known)
            print(f"{kind}, rate {rate}: {grid.values.mean():.4f}", flush=True)


def prices(task: str = "stsbenchmark", rounds: int = 2) -> None:
    """What each preview costs, in turns, so that all meet the same machine: written to `PRICES`."""
    encoder, where, known, rows = Encoder.load(), load_task(task), dict[int, Recalled](), []
    for turn, (kind, settings) in product(range(rounds), PREVIEWS.items()):
        rows.append((kind, turn, *one_run(encoder, where, "all-cells", 0, settings, known)[1:]))
        print(*rows[-1], flush=True)
    found = pd.DataFrame(rows, columns=["preview", "turn", "training", "scoring"])
    with files.whole_file(PRICES) as temporary:
        temporary.write_text(PRICES_COMMAND + found.to_csv(index=False), encoding="utf-8")


def write(rows: pd.DataFrame) -> None:
    """Keep the rows of all cells, a line of the file for each run."""
    cells = rows.layer.astype(str) + "x" + rows.dim.astype(str)
    wide = rows.assign(cell=cells).pivot(index=RUN, columns="cell", values="value")
    wide = wide.loc[pd.MultiIndex.from_frame(rows[RUN].drop_duplicates()), cells.unique()]
    with files.whole_file(FILE) as temporary:
        temporary.write_text(COMMAND + wide.reset_index().to_csv(index=False), encoding="utf-8")


def stored() -> pd.DataFrame:
    """The rows that are there, one for each cell of a run."""
    if not FILE.is_file():
        return pd.DataFrame(columns=COLUMNS)
    rows = pd.read_csv(FILE, comment="#").melt(RUN, var_name="cell")
    rows[["layer", "dim"]] = rows.cell.str.split("x", expand=True).astype(int)
    return rows[COLUMNS]


def measured() -> list[str]:
    """The recipes that every preview has trained with every seed."""
    runs = stored().drop_duplicates(["preview", "recipe", "seed"]).recipe.value_counts()
    return [name for name in RECIPES if runs.get(name, 0) == len(PREVIEWS) * SEEDS]


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
    resampling the seeds of both; each recipe -> (seeds, layers, dims). A seed is the same batches for every recipe, so
    it is drawn for all of them at once. The recipes are not resampled: the interval is for these."""
    quick, slow = (np.array([values[name][:, where].mean(1) for name in preview]) for values in (preview, full))
    rng, taus = np.random.default_rng(0), []
    for _ in range(samples):
        drawn = [x[:, rng.integers(0, x.shape[1], x.shape[1])].mean(1) for x in (quick, slow)]
        taus.append(kendalltau(*drawn).statistic)
    low, high = np.quantile(taus, [0.025, 0.975])
    return float(kendalltau(quick.mean(1), slow.mean(1)).statistic), float(low), float(high)


def compared(
    full: Mapping[str, np.ndarray], regions: Mapping[str, np.ndarray]
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Each stored preview against full training: its tau by region, the recipes' means in the order of full training,
    and what each preview costs. full: recipe -> (seeds, layers, dims); regions: name -> cells (layers, dims)."""
    rows = stored()
    quick = {kind: grids(rows, full, kind) for kind in PREVIEWS if (rows.preview == kind).any()}
    taus = {kind: {name: agreement(one, full, at) for name, at in regions.items()} for kind, one in quick.items()}
    means = {
        kind: {name: x.mean() for name, x in one.items()}
        for kind, one in {**quick, "full training, test": full}.items()
    }
    costs = pd.read_csv(PRICES, comment="#").groupby("preview")[["training", "scoring"]].mean()
    words = [
        f"{kind}: {cost.training:.1f} seconds of one core for training, {cost.scoring:.1f} for scoring"
        for kind, cost in costs.iterrows()
    ]
    order = pd.DataFrame(means).sort_values("full training, test", ascending=False).round(4)
    return pd.DataFrame(taus).T, order, words


def picture(taus: pd.Series, title: str, asked: float = 0.5) -> go.Figure:
    """Taus with their intervals, a row for each preview, the highest on top; the upright rule stands at what is asked
    for. taus: preview -> (tau, low, high)."""
    rows = pd.DataFrame(taus.to_dict(), index=["tau", "low", "high"]).T.sort_values("tau")
    bars = {"symmetric": False, "array": rows.high - rows.tau, "arrayminus": rows.tau - rows.low, "thickness": 2}
    dots: dict[str, Any] = {"mode": "markers", "marker": {"size": 11, "color": plots.COLORS[0]}, "error_x": bars}
    figure = go.Figure(plots.trace("scatter", rows.tau, rows.index, **dots))
    figure.update_layout(**plots.style(title), height=110 + 42 * len(rows))
    figure.add_vline(x=asked, line={"color": plots.MARK, "width": 2, "dash": "dot"})
    figure.add_vline(x=0, line={"color": plots.INK, "width": 1})
    return figure.update_xaxes(title="Kendall's tau with full training", range=[-1, 1], showgrid=True)


def said(tau: tuple[float, float, float]) -> str:
    """A tau with its interval."""
    return "{:+.2f} [{:+.2f}, {:+.2f}]".format(*tau)


if __name__ == "__main__":
    {"rates": rates, "prices": prices}.get(sys.argv[-1], measure)()
