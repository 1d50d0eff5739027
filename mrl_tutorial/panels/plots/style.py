"""What all figures share: colors that every eye can tell apart, letters large enough for a projector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Okabe and Ito's palette, in the order in which models are drawn; the last four are of methods below.
# Every heat map uses cividis
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#1A1A1A", "#332288", "#882255", "#6B6B00")
KNOWN = {  # of models and methods that occur in several figures; panels/web/plots.js has the same
    "plain": 0, "prefix": 0, "plain, cut": 0, "MRL": 1, "mrl": 1, "nested": 1, "trained here": 2, "own head": 2,
    "own network": 2, "separate": 2, "a model for each width": 2, "PCA": 3, "plain, rotated": 3,
    "full size, then MRL": 3, "whitened": 4, "whitened start": 4, "random": 5, "random coordinates": 5,
    "full size only": 5, "full-size": 5, "all-cells": 6, "all-cells with KL": 6, "SRL": 7, "mean taken off": 7,
    "whitened, mapped": 2, "2DMSE": 8, "2dmse-v1": 8, "Starbucks": 9, "starbucks": 9, "scaled": 9,
}  # fmt: skip
DASHES = ("solid", "dash", "dot", "dashdot")
SCALE = "Cividis"
DIVERGING = [[0, "#D55E00"], [0.5, "#FFFFFF"], [1, "#0072B2"]]  # of differences
MARK = "#D55E00"
INK = "#1A1A1A"
FONT = 15
LABELS = {"tickangle": 0, "ticklabeloverflow": "allow"}  # plotly need not measure whether tick labels collide


def colors_of(names: Iterable[str]) -> dict[str, str]:
    """The same color for the same method in every figure; others take what is left of the palette.

    >>> colors_of(["plain", "mine"])
    {'plain': '#0072B2', 'mine': '#D55E00'}
    """
    names = list(names)
    free = [color for color in COLORS if color not in [COLORS[KNOWN[name]] for name in names if name in KNOWN]]
    return {name: COLORS[KNOWN[name]] if name in KNOWN else free.pop(0) if free else "#777777" for name in names}


def metric_title(metric: str) -> str:
    """A metric's name as it is written on an axis.

    >>> metric_title("ndcg@10"), metric_title("1nn"), metric_title("recall@100")
    ('nDCG@10', '1-NN accuracy', 'recall@100')
    """
    name, at, k = metric.partition("@")
    titles = {"ndcg": "nDCG", "mrr": "MRR", "map": "MAP", "spearman": "Spearman", "1nn": "1-NN accuracy"}
    return titles.get(name, name) + at + k


def style(title: str = "") -> dict[str, Any]:
    """The layout that every figure shares: template, font, margins, title."""
    shared: dict[str, Any] = {
        "template": "simple_white",
        "font": {"size": FONT, "color": INK},
        "hoverlabel": {"font": {"size": FONT}},
        "margin": {"l": 60, "r": 20, "t": 60 if title else 40, "b": 60},
    }
    if title:
        shared["title"] = {"text": title, "font": {"size": FONT + 3}, "x": 0.01, "xanchor": "left"}
    return shared


def trace(kind: str, x: Any, y: Any, name: str = "", place: int = 1, **look: Any) -> dict[str, Any]:
    """A trace as plain data, in the legend where it has a name. place: number of the subplot."""
    number = place if place > 1 else ""
    axes = {"xaxis": f"x{number}", "yaxis": f"y{number}"}
    return {"type": kind, "x": x, "y": y, "name": name, "showlegend": bool(name), **axes, **look}


def heading(text: str, x: float, anchor: str = "center") -> dict[str, Any]:
    """A heading above a subplot, as a plotly annotation."""
    place = {"xref": "paper", "yref": "paper", "x": x, "y": 1.0, "xanchor": anchor, "yanchor": "bottom", "yshift": 6}
    return {"text": text, "showarrow": False, "font": {"size": FONT + 1, "color": INK}, **place}
