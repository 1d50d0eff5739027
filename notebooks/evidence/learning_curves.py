"""Sweeps that were trained until their curves are flat: the rule, the curves, and the values of their items.

A sweep with `--curve` keeps, beside the values of the items, the mean on dev of the cells that a recipe trains, at
several steps of each run. By these an arm counts as trained, or settles nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.statistics import MARGIN, Difference, paired
from mrl_tutorial.files import data_file
from mrl_tutorial.panels import plots
from mrl_tutorial.training.sweep_file import read_items, read_sweep

RATES = 3  # learning rates that are tried, at least
STS = ("sts-trained", "sts-trained-2d", "sts-trained-all")  # one budget: 160 steps of 32 graded pairs
WEIGHTINGS = tuple(f"sts-weighting-{name}" for name in ("log", "linear", "inverse", "exponential", "learned"))


@cache
def chosen(sweep: str) -> dict[str, dict[float, float]]:
    """recipe -> learning rate -> the mean on dev by which it was chosen; nothing where the sweep has not been run."""
    path = data_file("results") / f"{sweep}.csv"
    if not path.is_file():
        return {}
    rows = read_sweep(path)[0]
    means = rows[rows.split == "dev"].groupby(["recipe", "lr"], sort=False).value.mean()
    found: dict[str, dict[float, float]] = {}
    for (recipe, rate), value in means.items():
        found.setdefault(recipe, {})[rate] = float(value)
    return found


def curve(sweep: str, recipe: str, rate: float) -> np.ndarray:
    """The learning curve of one run, (points, 2): step, mean on dev. Raises InputError where none was kept."""
    name = re.sub("[^a-z0-9]+", "-", f"{recipe} {rate}")
    path = data_file("results") / sweep / f"{name}-0.npz"
    try:
        with np.load(path) as kept:
            return kept["curve"]
    except (OSError, KeyError):
        raise InputError(f"{sweep} kept no learning curve of {recipe} at {rate}: run it with --curve") from None


def best_rate(sweep: str, recipe: str) -> float:
    """The learning rate of a sweep's recipe with the highest mean on dev."""
    rates = chosen(sweep)[recipe]
    return max(rates, key=rates.__getitem__)


def last_gain(sweep: str, recipe: str) -> float:
    """What the last part of the best run's curve gained on dev; NaN where there is no curve, or too few rates."""
    rates = chosen(sweep).get(recipe, {})
    if len(rates) < RATES:
        return float("nan")
    try:
        means = curve(sweep, recipe, best_rate(sweep, recipe))[:, 1]
    except InputError:
        return float("nan")
    return float(means[-1] - means[-2])


def trained_enough(sweep: str, *recipes: str) -> bool:
    """Whether recipes of a sweep (default: all of them) were trained until their curves were flat: at the best of three
    learning rates, the last part of the curve gains less than half of the margin."""
    asked = recipes or tuple(chosen(sweep))
    return bool(asked) and all(last_gain(sweep, recipe) < MARGIN / 2 for recipe in asked)


def trained(sweeps: Sequence[str], task: str, metric: str) -> dict[str, np.ndarray]:
    """recipe -> (seeds, layers, dims, items) of those recipes of some sweeps that were trained enough in three seeds,
    and the plain model, of one seed."""
    found = {}
    for sweep in sweeps:
        for recipe in ("plain", *chosen(sweep)) if chosen(sweep) else ():
            if recipe == "plain" or trained_enough(sweep, recipe):
                values = read_items(data_file("results") / f"{sweep}.csv", recipe, task, metric)
                if recipe == "plain" or len(values) >= 3:
                    found[recipe] = values
    return found


def trained_means(sweeps: Sequence[str], metric: str) -> dict[str, np.ndarray]:
    """recipe -> (seeds, layers, dims), the values on test of the same recipes; the plain model is left out."""
    found = {}
    for sweep in sweeps:
        rows = read_sweep(data_file("results") / f"{sweep}.csv")[0].query("split == 'test' and metric == @metric")
        for recipe in chosen(sweep):
            own = rows[rows.recipe == recipe].sort_values(["seed", "layer", "dim"])
            if trained_enough(sweep, recipe) and own.seed.nunique() >= 3:
                found[recipe] = own.value.to_numpy().reshape(own.seed.nunique(), own.layer.nunique(), -1)
    return found


def gap(a: np.ndarray, b: np.ndarray, where: np.ndarray) -> Difference:
    """a - b, the mean over the cells `where` (layers, dims), each (seeds, layers, dims, items): items and seeds
    resampled together."""
    return paired(*(x[:, where].mean(1) for x in (a, b)))


def overview(sweeps: Sequence[str]) -> pd.DataFrame:
    """A row for each recipe: the best learning rate, its mean on dev, and what the last part of its curve gained."""
    rows = []
    for sweep in sweeps:
        for recipe, rates in chosen(sweep).items():
            best = best_rate(sweep, recipe)
            rows.append((recipe, f"{best:g}", rates[best], last_gain(sweep, recipe), trained_enough(sweep, recipe)))
    return pd.DataFrame(rows, columns=["recipe", "best rate", "dev", "last gain", "flat"])


def picture(sweeps: Sequence[str], title: str, measure: str) -> go.Figure:
    """A small figure for each recipe: the learning curves of its learning rates, the best one in full color."""
    runs = [(sweep, recipe) for sweep in sweeps for recipe in chosen(sweep)]
    heads = [f"{recipe}, rate {best_rate(sweep, recipe):g}" for sweep, recipe in runs]
    columns = 4
    rows = -(-len(runs) // columns)
    figure = make_subplots(
        rows, columns, shared_xaxes=True, shared_yaxes=True, subplot_titles=heads,
        horizontal_spacing=0.03, vertical_spacing=0.12,
    )  # fmt: skip
    for n, (sweep, recipe) in enumerate(runs):
        rates = chosen(sweep)[recipe]
        best = best_rate(sweep, recipe)
        for rate in rates:
            steps, means = curve(sweep, recipe, rate).T
            look = {"color": plots.INK, "width": 3} if rate == best else {"color": "#9a9a9a", "width": 1.5}
            trace = go.Scatter(x=steps, y=means, mode="lines+markers", line=look, name=f"{rate:g}", showlegend=False)
            figure.add_trace(trace, n // columns + 1, n % columns + 1)
    figure.update_layout(**plots.style(title), height=120 + 190 * rows)
    figure.update_xaxes(title_text="step", row=rows)
    return figure.update_yaxes(title_text=measure, col=1)
