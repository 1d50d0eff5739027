"""What the comparison of nested networks with other ways says, in tables and curves.

An outcome is an array (S, M, N): training seed, size, tested item. Outcomes come as baseline -> measure -> outcome.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from evidence.baselines_on_vectors import NAMES, spread
from evidence.curve_figures import Look, side_by_side
from mrl_tutorial.evaluation.statistics import MARGIN, paired
from mrl_tutorial.panels import plots

Outcomes = Mapping[str, Mapping[str, np.ndarray]]

LABELS = {
    "linear": "linear accuracy",
    "1nn": "1-NN accuracy",
    "map@10": "mAP@10",
    "p@10": "P@10",
    "head": "own classifier",
}
LOOKS = {
    "MRL": Look(plots.COLORS[0], "solid", "circle"),
    "MRL-E": Look(plots.COLORS[5], "solid", "diamond"),
    "alone": Look(plots.COLORS[1], "dash", "square"),
    "prefix": Look(plots.COLORS[2], "dot", "triangle-up"),
    "random": Look(plots.COLORS[3], "dot", "x"),
    "pca": Look(plots.COLORS[4], "dashdot", "star"),
    "slim": Look(plots.INK, "dashdot", "cross"),
    "frozen": Look("#777777", "dot", "hexagon"),
}


def label(baseline: str) -> str:
    """A baseline as it is written out in tables and legends."""
    return NAMES.get(baseline, baseline)


def table(dims: Sequence[int], outcomes: Outcomes, metric: str) -> pd.DataFrame:
    """Mean over seeds and items ± standard deviation over seeds, a row a baseline, a column a size."""
    rows = {
        label(baseline): [f"{mean:.3f} ± {by:.3f}" for mean, by in zip(*spread(found[metric]), strict=True)]
        for baseline, found in outcomes.items()
        if metric in found
    }
    frame = pd.DataFrame.from_dict(rows, orient="index", columns=[str(d) for d in dims])
    return frame.rename_axis(LABELS.get(metric, metric))


def gaps(dims: Sequence[int], a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """a - b at every size with its 95 % interval, from resampling items and seeds; a, b: (S, M, N).

    Columns: size, difference, low, high, not_worse (low >= -0.01), better (low > 0), worse (high < 0).
    """
    rows = []
    for j, m in enumerate(dims):
        mean, low, high = paired(a[:, j], b[:, j])[:3]
        rows.append((m, mean, low, high, low >= -MARGIN, low > 0, high < 0))
    return pd.DataFrame(rows, columns=["size", "difference", "low", "high", "not_worse", "better", "worse"])


def discordant(dims: Sequence[int], outcomes: Outcomes, one: str, other: str) -> pd.DataFrame:
    """Pairs of baselines at one size that the measures `one` and `other` rank in opposite order.

    Columns: size, first, second, both differences, and whether both are significant (95 % intervals exclude 0).
    """
    rows = []
    for j, m in enumerate(dims):
        for a, b in combinations(outcomes, 2):
            x, y = (paired(outcomes[a][k][:, j], outcomes[b][k][:, j], samples=500)[:3] for k in (one, other))
            if x[0] * y[0] < 0:
                significant = all(low > 0 or high < 0 for _, low, high in (x, y))
                rows.append((m, label(a), label(b), x[0], y[0], significant))
    columns = ["size", "first", "second", f"{one} difference", f"{other} difference", "significant"]
    return pd.DataFrame(rows, columns=columns)


def curves(
    dims: Sequence[int], outcomes: Outcomes, metrics: Sequence[str], title: str = "", low: float = 0.0
) -> go.Figure:
    """Quality against size, a panel a measure, a line a baseline; bars: ± one standard deviation over seeds."""
    measured = {
        LABELS[metric]: {label(baseline): spread(found[metric]) for baseline, found in outcomes.items()}
        for metric in metrics
    }
    means, bars = (
        {head: {name: pair[i] for name, pair in lines.items()} for head, lines in measured.items()} for i in (0, 1)
    )
    looks = {label(baseline): LOOKS.get(baseline, LOOKS["frozen"]) for baseline in outcomes}
    y = {"range": [low, 1.0], "showgrid": True}
    return side_by_side(dims, means, y=y, looks=looks, spread=bars, x_title="size", title=title)
