"""What a comparison of arms says, in tables, curves and sentences. Outcomes are (S, M, N) arrays of `nested_arms`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from mrl_tutorial.classification.baselines import NAMES, difference, spread
from mrl_tutorial.evaluation.statistics import MARGIN
from mrl_tutorial.panels.plots import figures

LABELS = {
    "linear": "linear accuracy",
    "1nn": "1-NN accuracy",
    "map@10": "mAP@10",
    "p@10": "P@10",
    "head": "own classifier",
}
LOOKS = {  # arm -> colour, dash, symbol
    "MRL": (figures.COLOURS[0], "solid", "circle"), "MRL-E": (figures.COLOURS[5], "solid", "diamond"),
    "alone": (figures.COLOURS[1], "dash", "square"), "prefix": (figures.COLOURS[2], "dot", "triangle-up"),
    "random": (figures.COLOURS[3], "dot", "x"), "pca": (figures.COLOURS[4], "dashdot", "star"),
    "slim": (figures.INK, "dashdot", "cross"), "frozen": ("#777777", "dot", "hexagon"),
}  # fmt: skip


def table(dims: Sequence[int], outcomes: Mapping[str, Mapping[str, np.ndarray]], metric: str) -> pd.DataFrame:
    """Mean over seeds and items ± standard deviation over seeds, a row an arm, a column a size."""
    rows = {}
    for arm, found in outcomes.items():
        if metric in found:
            rows[NAMES.get(arm, arm)] = [f"{a:.3f} ± {s:.3f}" for a, s in zip(*spread(found[metric]), strict=True)]
    return pd.DataFrame.from_dict(rows, orient="index", columns=[str(d) for d in dims]).rename_axis(
        LABELS.get(metric, metric)
    )


def gaps(dims: Sequence[int], a: np.ndarray, b: np.ndarray) -> pd.DataFrame:
    """a - b at every size with its 95 % interval (items and seeds drawn), a (S, M, N) and b alike. Columns: size,
    difference, low, high, not_worse (low >= -0.01), better (low > 0), worse (high < 0)."""
    rows = []
    for j, m in enumerate(dims):
        mean, low, high = difference(a[:, j], b[:, j])
        rows.append((m, mean, low, high, low >= -MARGIN, low > 0, high < 0))
    return pd.DataFrame(rows, columns=["size", "difference", "low", "high", "not_worse", "better", "worse"])


def from_size(dims: Sequence[int], true: Sequence[bool]) -> int | None:
    """The smallest size from which on it is true at every size; None where it is not true at the largest."""
    found = None
    for m, yes in zip(reversed(dims), reversed(list(true)), strict=True):
        if not yes:
            break
        found = m
    return found


def in_words(sizes: Sequence[int]) -> str:
    """Sizes as they are written in a sentence: "2, 4 and 8", "none"."""
    words = [str(s) for s in sizes]
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else (words or ["none"])[0]


def discordant(
    dims: Sequence[int], outcomes: Mapping[str, Mapping[str, np.ndarray]], one: str, other: str
) -> pd.DataFrame:
    """Pairs of arms at one size that the two metrics rank in opposite order: size, arms, both differences, and whether
    both are beyond chance (their 95 % intervals exclude 0)."""
    rows = []
    for j, m in enumerate(dims):
        for a, b in combinations(outcomes, 2):
            x, y = (difference(outcomes[a][k][:, j], outcomes[b][k][:, j], draws=500) for k in (one, other))
            if x[0] * y[0] < 0:
                sure = (x[1] > 0 or x[2] < 0) and (y[1] > 0 or y[2] < 0)
                rows.append((m, NAMES.get(a, a), NAMES.get(b, b), x[0], y[0], sure))
    return pd.DataFrame(
        rows, columns=["size", "first", "second", f"{one} difference", f"{other} difference", "beyond chance"]
    )


def curves(
    dims: Sequence[int], outcomes: Mapping[str, Mapping[str, np.ndarray]], metrics: Sequence[str], title: str = "",
    low: float = 0.0, high: float = 1.0,
) -> go.Figure:  # fmt: skip
    """Quality against size, a subplot a metric, a line an arm; bars: ± one standard deviation over seeds."""
    figure, width = go.Figure(), (1 - 0.09 * (len(metrics) - 1)) / len(metrics)
    for i, metric in enumerate(metrics):
        x, y = f"x{i + 1}", f"y{i + 1}"
        for arm, found in outcomes.items():
            colour, dash, symbol = LOOKS.get(arm, LOOKS["frozen"])
            mean, by = spread(found[metric])
            figure.add_scatter(
                x=figures.curve_place(dims), y=mean.round(4),
                error_y={"array": by.round(4), "thickness": 1.5, "width": 4},
                name=NAMES.get(arm, arm), legendgroup=arm, showlegend=i == 0, mode="lines+markers", xaxis=x, yaxis=y,
                line={"color": colour, "dash": dash, "width": 3 if arm == "MRL" else 2},
                marker={"symbol": symbol, "size": 9}, customdata=list(dims),
                hovertemplate=f"{NAMES.get(arm, arm)}, %{{customdata}}: %{{y:.3f}}<extra></extra>",
            )  # fmt: skip
        start = i * (width + 0.09)
        axis = {
            **figures.curve_x(dims),
            "title": {"text": "size"},
            "domain": [start, min(1.0, start + width)],
            "anchor": y,
        }
        figure.layout[f"xaxis{i + 1}"] = axis
        figure.layout[f"yaxis{i + 1}"] = {"range": [low, high], "showgrid": True, "anchor": x}
        # the measure as a heading: beside the axis it would run into the plot on its left in a narrow column
        figure.add_annotation(**figures.heading(LABELS[metric], start + width / 2))
    figure.update_layout(**figures.style(title), height=430)
    below = {"orientation": "h", "x": 0, "y": -0.27, "yanchor": "top", "xanchor": "left"}
    figure.update_layout(legend=below, margin={"b": 130})
    return figure


def every_size(
    dims: Sequence[int], lines: Mapping[str, np.ndarray], trained: Sequence[int], points: Mapping[str, np.ndarray],
    metric: str, title: str = "", low: float = 0.0,
) -> go.Figure:  # fmt: skip
    """Quality at every size: lines (len(dims),) with the trained sizes ringed, and points at the trained sizes only."""
    figure = go.Figure()
    where = [list(dims).index(m) for m in trained]
    for name, values in lines.items():
        colour, dash, _ = LOOKS.get(name, LOOKS["frozen"])
        figure.add_scatter(x=figures.curve_place(dims), y=np.round(values, 4), name=NAMES.get(name, name), mode="lines",
                           line={"color": colour, "width": 3, "dash": dash}, customdata=list(dims),
                           hovertemplate="%{customdata}: %{y:.3f}")  # fmt: skip
    first = next(iter(lines.values()))
    figure.add_scatter(x=figures.curve_place(trained), y=first[where], mode="markers", name="trained sizes",
                       hoverinfo="skip",
                       marker={"size": 13, "color": "rgba(0,0,0,0)", "line": {"color": figures.INK, "width": 3}},
                       )  # fmt: skip
    for name, values in points.items():
        colour, _, symbol = LOOKS.get(name, LOOKS["frozen"])
        figure.add_scatter(x=figures.curve_place(trained), y=np.round(values, 4), mode="markers",
                           name=NAMES.get(name, name),
                           marker={"symbol": symbol, "size": 10, "color": colour}, hoverinfo="skip")  # fmt: skip
    figure.update_layout(**figures.style(title), height=400)
    figure.update_layout(
        legend={"x": 0.99, "y": 0.05, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.8)"}
    )
    figure.update_xaxes(**figures.curve_x(dims))
    figure.update_yaxes(title={"text": LABELS.get(metric, metric)}, range=[low, 1.0], showgrid=True)
    return figure
