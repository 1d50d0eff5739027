"""Cut, then normalise, or the other way round? Four ways to score a prefix: curves, lengths, one query's documents."""

from __future__ import annotations

import html
from collections.abc import Sequence

import ipywidgets as w
import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.truncation import BINS, METRICS, WAYS, Relevant, Truncation, measure_truncation
from mrl_tutorial.panels.base import SLIDER, Panel, beside
from mrl_tutorial.panels.explorer_html import shorten
from mrl_tutorial.panels.plots.figures import (
    COLOURS,
    INK,
    curve_place,
    curve_x,
    dim_rule,
    heading,
    legend,
    metric_title,
    point_mark,
    style,
)
from mrl_tutorial.progress import Ticker

NAMES = {
    "cut": "cut, then normalise",
    "late": "normalise, then cut",
    "raw": "no normalising",
    "l2": "normalise, cut, distance",
}
FORMULAS = {
    "cut": "q[:d] · x[:d] / (‖q[:d]‖ ‖x[:d]‖)",
    "late": "q̂[:d] · x̂[:d], where q̂ = q / ‖q‖ and x̂ = x / ‖x‖ over all D",
    "raw": "q[:d] · x[:d]",
    "l2": "−‖q̂[:d] − x̂[:d]‖², where q̂ = q / ‖q‖ and x̂ = x / ‖x‖ over all D",
}
MEANING = {
    "cut": "every prefix counts with length 1: this is the right way for a cosine",
    "late": "a document whose vector has more of its length up front scores higher for every query",
    "raw": "long vectors score higher for every query, whatever they say",
    "l2": "a distance also feels how long the prefix is, but punishes a length that is not the query's",
}
DASHES = {"cut": "solid", "late": "dash", "raw": "dot", "l2": "dashdot"}
EXAMPLES, TOP = 12, 5


class TruncationTrap(Panel):
    """What happens to a search when vectors are cut, by the order of cutting and normalising (`truncation.WAYS`).

    queries (Q, D), documents (N, D): not normalised, if `raw` is to mean something. relevant: a set of document rows a
    query, or a dict. query_texts (Q,), document_texts (N,): with both, one query's top documents are shown. All is
    measured once, at the start (500 x 5,000 x 384: some seconds); afterwards a slide looks up. `model` holds it.
    Raises InputError for what does not fit together.
    """

    name = "truncation-trap"

    def __init__(
        self, queries: np.ndarray, documents: np.ndarray, relevant: Relevant,
        query_texts: Sequence[str] | None = None, document_texts: Sequence[str] | None = None, *,
        dim: int | None = None,
    ) -> None:  # fmt: skip
        for name, texts, rows in (("query_texts", query_texts, queries), ("document_texts", document_texts, documents)):
            if texts is not None and len(texts) != len(rows):
                raise InputError(f"{len(texts)} {name} for {len(rows)} vectors: give one text a vector")
        ticker = Ticker()
        self.model = measure_truncation(queries, documents, relevant, ticker)
        ticker.close()
        self.query_texts, self.document_texts = query_texts, document_texts
        width = self.model.width
        start = min(width, 32) if dim is None else dim
        self.model.check(start)
        self.dim = w.IntSlider(value=start, min=1, max=width, description="dimension d", **SLIDER)
        wide = {"button_width": "auto"}
        self.way = w.ToggleButtons(options=[(NAMES[way], way) for way in WAYS], style=wide)
        self.metric = w.ToggleButtons(options=[(metric_title(m), m) for m in METRICS], style=wide)
        controls: list[w.Widget] = [self.dim, _row("way", self.way), _row("measure", self.metric)]
        self.query = None
        if query_texts is not None and document_texts is not None:
            self.query = w.Dropdown(
                options=self.examples(), description="query", style={"description_width": "150px"},
                layout={"width": "98%"},
            )  # fmt: skip
            controls.append(self.query)
        self.start(controls)

    def examples(self) -> list[tuple[str, int]]:
        """(text, place) of the queries for which the ways are furthest apart."""
        model = self.model
        order = np.argsort(-model.contrast, kind="stable")[:EXAMPLES]
        return [(shorten(self.query_texts[model.rows[i]], 110), int(i)) for i in order]

    def picture(self) -> dict:
        """Curves and lengths at the present dimension; writes the formula and the documents below."""
        d, way = self.dim.value, self.way.value
        self.model.check(d)
        text = formula(self.model, way, d)
        if self.query is not None:
            text += documents(self.model, self.query.value, d, way, self.document_texts)
        figure = trap_figure(self.model, d, way, self.metric.value)
        self.write(text)  # just before the figure changes: one painting of the page shows both
        return figure


def trap_figure(model: Truncation, d: int, way: str, metric: str = METRICS[0]) -> dict:
    """Left: quality of the four ways at every dimension. Right: lengths of the documents' unit vectors when cut. A
    figure as plain data."""
    dims = range(1, model.width + 1)
    table = model.values[metric]
    # wide steps are enough where the lines are smooth and the axis is dense: a line of fewer points is drawn sooner
    drawn = [k for k in dims if k <= 48 or (k <= 128 and k % 4 == 0) or k % 16 == 0 or k == model.width]
    x = curve_place(drawn)
    lines = [
        dict(
            type="scatter", x=x, y=table[i][np.array(drawn) - 1], name=NAMES[k], mode="lines", customdata=drawn,
            line={"color": COLOURS[i], "width": 5 if k == way else 2.5, "dash": DASHES[k]},
            hovertemplate=f"{NAMES[k]}, d = %{{customdata}}: %{{y:.3f}}<extra></extra>",
        )
        for i, k in enumerate(WAYS)
    ]  # fmt: skip
    middles = (np.arange(BINS) + 0.5) / BINS
    share = model.lengths[d - 1]
    bars = dict(
        type="bar", x=middles, y=share, width=1 / BINS, marker={"color": COLOURS[5], "line": {"width": 0}}, showlegend=False,
        xaxis="x2", yaxis="y2", hovertemplate="length %{x:.2f}: %{y:.0%} of the documents<extra></extra>",
    )  # fmt: skip
    value = float(table[WAYS.index(way), d - 1])
    low, middle, high = model.spread[d - 1]
    peak = max(0.2, 1.12 * float(share.max()))
    top = 1.08 * float(max(v.max() for v in model.values.values()))
    layout = dict(
        **style() | {"margin": {"t": 50, "l": 62, "b": 56, "r": 20}}, height=440, bargap=0,
        legend={**legend(0.345), "y": 0.04, "yanchor": "bottom"},
        xaxis={**curve_x(dims), "domain": [0, 0.6]},
        yaxis={"title": {"text": metric_title(metric)}, "range": [-0.02, top], "showgrid": True},
        xaxis2={"domain": [0.7, 1], "anchor": "y2", "range": [0, 1.02], "title": {"text": "length of unit vectors"}},
        yaxis2={"anchor": "x2", "range": [0, peak], "tickformat": ".0%", "title": {"text": "share of the documents"}},
        annotations=[
            heading(f"<b>{NAMES[way]}</b>, d = {d}: {metric_title(metric)} {value:.3f}", 0, "left"),
            heading(f"cut to d = {d}: {low:.2f} … {high:.2f}", 0.7, "left"),
        ],
        shapes=[dim_rule(d), point_mark(d, value), _middle(middle)],
    )  # fmt: skip
    return {"data": [*lines, bars], "layout": layout}


def formula(model: Truncation, way: str, d: int) -> str:
    """The way's score in symbols, what that means, and how unequal the lengths are, as html."""
    low, _, high = model.spread[d - 1]
    times = f"{high / low:.2f} times" if low > 0.005 else "many times"
    unequal = "" if d == model.width else (
        f" At d = {d} the middle 90 % of the unit vectors keep lengths of {low:.2f} to {high:.2f}: {times} apart."
    )  # fmt: skip
    return f"<div>score = <b>{html.escape(FORMULAS[way])}</b></div><div class='note'>{MEANING[way]}.{unequal}</div>"


def documents(model: Truncation, query: int, d: int, way: str, texts: Sequence[str]) -> str:
    """One query's first documents by every way side by side, the present way's heading underlined, as html."""
    ranked = [model.top(k, query, d, TOP) for k in WAYS]
    relevant = model.relevant[query]
    heads = "".join(
        f'<th>{f"<u>{NAMES[k]}</u>" if k == way else NAMES[k]}</th>' for k in WAYS
    )  # fmt: skip
    rows = []
    for place in range(len(ranked[0])):
        cells = []
        for found in ranked:
            row = int(found[place])
            yes = row in relevant
            colour = ' style="background:#fdf1d0;font-weight:600"' if yes else ""
            mark = "&#10004; " if yes else ""
            text = " ".join(texts[row].split())
            cells.append(f'<td{colour} title="{html.escape(text[:400])}">{mark}{html.escape(shorten(text, 60))}</td>')
        rows.append(f'<tr><td class="n" style="width:44px">{place + 1}</td>{"".join(cells)}</tr>')
    head = f'<tr><th class="n" style="width:44px">rank</th>{heads}</tr>'
    return f'<table class="mrl-documents">{head}{"".join(rows)}</table><div class="note">&#10004; relevant</div>'


def _middle(x: float) -> dict:
    line = {"color": INK, "width": 2, "dash": "dot"}
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "xref": "x2", "yref": "y2 domain", "line": line}


def _row(description: str, control: w.Widget) -> w.HBox:
    return w.HBox([beside(description), control], layout={"flex_flow": "row wrap"})
