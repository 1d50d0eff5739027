"""How the grid explorer shows its tables: heat map and curve as one figure, documents and price as html."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Picture
from mrl_tutorial.panels.explorer_tables import Ranking
from mrl_tutorial.panels.markup import Column, count, hint, note, percent, short_name, table

HEAT, CURVE = (0.0, 0.52), (0.61, 1.0)
UP, DOWN = "#0072B2", "#B34700"
PriceRow = tuple[str, str, float]  # what, amount in words, share of the full size 0 … 1


@dataclass(frozen=True)
class View:
    """Everything that the picture shows.

    tables: model -> (layers, width) quality at every dimension, NaN where not measured (yet). slots: every model that
    may come to be shown; each keeps its color. dims: the heat map's columns. trained: model -> widths that its training
    pushed on. items: what was averaged, as in "300 dev queries".
    """

    layers: tuple[int, ...]
    dims: tuple[int, ...]
    tables: Mapping[str, np.ndarray]
    slots: Sequence[str]
    model: str
    metric: str
    layer: int
    dim: int
    trained: Mapping[str, Sequence[int]] = field(default_factory=dict)
    items: str = ""

    @property
    def width(self) -> int:
        """D."""
        return self.tables[self.model].shape[1]

    @property
    def value(self) -> float:
        """Quality of the current cell, NaN where not measured."""
        return float(self.line(self.model)[self.dim - 1])

    def line(self, model: str) -> np.ndarray:
        """Quality of `model` at the current layer, (width,); NaN for a model that is not there yet."""
        if model not in self.tables:
            return np.full(self.width, np.nan)
        return self.tables[model][self.layers.index(self.layer)]


def explorer_picture(view: View) -> Picture:
    """The heat map of the view's model, and the curves of all models at the view's layer."""
    columns, every = np.array(view.dims) - 1, range(1, view.width + 1)
    limits = plots.limits_of(table[:, columns] for table in view.tables.values())  # one scale for every model
    trained = {name: dims for name, dims in view.trained.items() if name in view.tables}
    curves = plots.curve_traces(every, {name: view.line(name) for name in view.slots}, trained, place=2)
    for name, line in zip(view.slots, curves[::2], strict=True):
        line["showlegend"] = name in view.tables
    metric, top = plots.metric_title(view.metric), plots.limits_of(view.tables.values())[1]
    value = f"{view.value:.3f}" if np.isfinite(view.value) else "not measured yet"
    heads = {HEAT[0]: f"<b>{view.model}</b>: {metric}, {view.items}"}
    heads[CURVE[0]] = f"layer {view.layer}, d = {view.dim}: {metric} <b>{value}</b>"
    frame = plots.cell_frame(view.layer, view.dim, view.dims)
    layout = {
        **plots.style(),
        "height": 430,
        **plots.subplot(1, HEAT, plots.heat_x(view.dims), plots.heat_y(view.layers)),
        **plots.subplot(2, CURVE, plots.curve_x(every, 2), plots.curve_y(view.metric, top)),
        "legend": plots.legend(CURVE[0] + 0.005),
        "shapes": [*frame, plots.dim_rule(view.dim, "x2"), plots.point_mark(view.dim, view.value, "x2")],
        "annotations": [plots.heading(text, x, "left") for x, text in heads.items()],
    }
    heat = plots.heat_traces(view.tables[view.model][:, columns], view.layers, *limits)
    return {"data": [*heat, *curves], "layout": layout}


def documents_html(ranking: Ranking, full: tuple[int, int]) -> str:
    """The ranked documents as a table. full: (layers, width) of the full model."""
    rows = []
    for hit in ranking.hits:
        mark = "" if hit.relevant is None else "&#10004; yes" if hit.relevant else "no"
        text = hint(shorten(hit.text, 160, placeholder=" …"), hit.text[:600])
        name = f"<code>{html.escape(short_name(hit.document))}</code>"
        rows.append([str(hit.rank), move(hit.rank, hit.full), mark, f"{name} {text}"])
    heads = [Column("rank", 44, True), Column("with the full model", 178), Column("relevant", 84), Column("document")]
    marked = [i for i, hit in enumerate(ranking.hits) if hit.relevant]
    judged = bool(ranking.hits) and ranking.hits[0].relevant is not None
    words = verdict(ranking, full) if judged else "not a query of the task: nothing is known to be relevant"
    title = f"<b>{html.escape(shorten(ranking.query, 110, placeholder=' …'))}</b>"
    found = table(heads, rows, marked=marked) + note(f"{words}; {ranking.n_documents:,} documents")
    return f'<div class="mrl mrl-documents">{title}{found}</div>'


def move(rank: int, full: int) -> str:
    """How far a document stands from its place with the full model: that place, an arrow, and a number of places."""
    if rank == full:
        return f"= {full}"
    color, arrow = (UP, "&#9650;") if rank < full else (DOWN, "&#9660;")
    return f'{full:,} <span style="color:{color}">{arrow} {abs(full - rank):,}</span>'


def verdict(ranking: Ranking, full: tuple[int, int]) -> str:
    """Where the relevant documents stand, here and with the full model, in words."""
    if not ranking.relevant:
        return "no relevant document"
    shown, n = ranking.relevant[:3], len(ranking.relevant)
    here, there = (", ".join(f"{ranks[i]:,}" for ranks in shown) for i in (0, 1))
    noun = "relevant document" if n == 1 else f"first {len(shown)} of {n} relevant documents"
    return f"{noun}: rank {here} here, rank {there} with the full model ({full[0]}, {full[1]})"


def price_rows(price: Mapping[str, float]) -> list[PriceRow]:
    """What costs.cell_price gives, in words."""
    return [
        ("one vector, float32", f"{price['bytes']:,.0f} B", price["bytes_share"]),
        ("10 million vectors", f"{price['corpus_gb']:.2f} GB", price["bytes_share"]),
        ("encode a text, mult-adds", count(price["encode_flops"]), price["encode_share"]),
        ("search them, mult-adds", count(price["search_flops"]), price["search_share"]),
    ]


def price_html(rows: Sequence[PriceRow]) -> str:
    """The price of a cell as a table of one row, with bars for the shares."""
    cells = []
    for _, amount, share in rows:
        bar = f'<span class="bar" style="width:{max(1, round(40 * share))}px"></span>'
        cells.append(f"<b>{html.escape(amount)}</b> &nbsp;{bar}{percent(share)}")
    return table([what for what, _, _ in rows], [cells], name="mrl-price")


def static_figure(view: View, ranking: Ranking | None, price: Sequence[PriceRow]) -> go.Figure:
    """The panel's state as one plain figure: the picture, the price in two lines, the ranked documents as a table."""
    figure = go.Figure(explorer_picture(view))
    words = [f"{what} <b>{amount}</b> ({percent(share)})" for what, amount, share in price]
    pixels = 30 * (len(ranking.hits) + 1) if ranking else 0  # a row has 30
    inner = 310 + 110 + pixels  # the picture, its axis with the price below it, the documents
    foot = 1 - 310 / inner
    margin = {**plots.style()["margin"], "b": 10}
    figure.update_layout(height=inner + margin["t"] + margin["b"], width=1080, margin=margin)
    figure.update_layout(yaxis_domain=[foot, 1], yaxis2_domain=[foot, 1])
    place = {"xref": "paper", "yref": "paper", "x": 0, "y": foot, "yshift": -58, "xanchor": "left", "yanchor": "top"}
    text = "<br>".join([";  ".join(words[:2]), ";  ".join(words[2:])])
    figure.add_annotation(text=text, **place, showarrow=False, align="left", font={"size": 14})
    if ranking:
        figure.add_trace(_documents_trace(ranking, (view.layers[-1], view.width), pixels / inner))
    return figure


def _documents_trace(ranking: Ranking, full: tuple[int, int], share: float) -> dict[str, Any]:
    ranks, marks, documents = [], [], []
    for hit in ranking.hits:
        moved = f"  {'▲▼'[hit.rank > hit.full]} {abs(hit.full - hit.rank):,}" if hit.full != hit.rank else ""
        ranks.append(f"{hit.full:,}{moved}")
        marks.append("" if hit.relevant is None else "✔ yes" if hit.relevant else "no")
        documents.append(shorten(f"{short_name(hit.document)}: {hit.text}", 95, placeholder=" …"))
    query = shorten(ranking.query, 80, placeholder=" …")
    titles = ["rank", f"rank at ({full[0]}, {full[1]})", "relevant", f"for: {query}"]
    look = {"align": "left", "font": {"size": 14, "color": plots.INK}, "height": 30}
    shades = ["#FDF1D0" if hit.relevant else "#FFFFFF" for hit in ranking.hits]
    values = [[hit.rank for hit in ranking.hits], ranks, marks, documents]
    return {
        "type": "table",
        "domain": {"x": [0, 1], "y": [0, share]},
        "columnwidth": [50, 130, 75, 800],
        "header": {"values": titles, **look, "fill": {"color": "#E8E8E8"}},
        "cells": {"values": values, **look, "fill": {"color": [shades]}},
    }
