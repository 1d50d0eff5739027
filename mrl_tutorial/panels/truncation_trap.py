"""The truncation trap: four ways to score a prefix, by the order of cutting and normalizing."""

from __future__ import annotations

import html
from collections.abc import Sequence
from textwrap import shorten

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.truncation import BINS, METRICS, WAYS, Relevant, Truncation, measure_truncation
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Panel, Picture, dropdown, int_slider, switch
from mrl_tutorial.panels.markup import Column, hint, note, table
from mrl_tutorial.progress import Ticker

NAMES = {
    "cut": "cut, then normalize",
    "late": "normalize, then cut",
    "raw": "no normalizing",
    "l2": "normalize, cut, distance",
}
FORMULAS = {
    "cut": "q[:d] · x[:d] / (‖q[:d]‖ ‖x[:d]‖)",
    "late": "q̂[:d] · x̂[:d], where q̂ = q / ‖q‖ and x̂ = x / ‖x‖ over all D",
    "raw": "q[:d] · x[:d]",
    "l2": "−‖q̂[:d] − x̂[:d]‖², where q̂ = q / ‖q‖ and x̂ = x / ‖x‖ over all D",
}
MEANING = {
    "cut": "every prefix counts with length 1, which is the right way for a cosine",
    "late": "a document whose vector has more of its length up front scores higher for every query",
    "raw": "long vectors score higher for every query, whatever they say",
    "l2": "a distance also depends on how long the prefix is, but punishes a length that is not the query's",
}
EXAMPLES, TOP = 12, 5

# -- what is shown ---------------------------------------------------------------------------------------------------


def formula(model: Truncation, way: str, d: int) -> str:
    """The way's score in symbols, what that means, and how unequal the lengths are, as html."""
    low, _, high = model.spread[d - 1]
    times = f"{high / low:.2f} times" if low > 0.005 else "many times"
    unequal = f" At d = {d} the middle 90 % of the unit vectors keep lengths of {low:.2f} to {high:.2f}: {times} apart."
    words = f"{MEANING[way]}.{unequal if d < model.width else ''}"
    return f"<div>score = <b>{html.escape(FORMULAS[way])}</b></div>{note(words)}"


def documents_table(model: Truncation, query: int, d: int, way: str, texts: Sequence[str]) -> str:
    """One query's first documents by every way side by side, with the present way's heading underlined, as html."""
    ranked = [model.top(k, query, d, TOP) for k in WAYS]
    heads = [Column(f"<u>{NAMES[k]}</u>" if k == way else NAMES[k]) for k in WAYS]
    rows = []
    for place, found in enumerate(zip(*ranked, strict=True), start=1):
        cells = []
        for document in map(int, found):
            cell = hint(shorten(texts[document], 60, placeholder=" …"), texts[document][:400])
            cells.append(f"<mark>&#10004; {cell}</mark>" if document in model.relevant[query] else cell)
        rows.append([str(place), *cells])
    return table([Column("rank", 44, True), *heads], rows, name="mrl-documents") + note("&#10004; relevant")


def example_queries(model: Truncation, texts: Sequence[str]) -> list[tuple[str, int]]:
    """(text, place) of the queries for which the ways are furthest apart."""
    order = np.argsort(-model.contrast, kind="stable")[:EXAMPLES]
    return [(shorten(texts[model.rows[i]], 110, placeholder=" …"), int(i)) for i in order]


# -- figure and widgets ----------------------------------------------------------------------------------------------


def trap_picture(model: Truncation, d: int, way: str, metric: str = METRICS[0]) -> Picture:
    """Left: quality of the four ways at every dimension. Right: lengths of the documents' unit vectors when cut."""
    dims = range(1, model.width + 1)
    # wide steps are enough where the lines are smooth and the axis is dense: a line of fewer points is drawn sooner
    drawn = [k for k in dims if k <= 48 or (k <= 128 and k % 4 == 0) or k % 16 == 0 or k == model.width]
    at = np.array(drawn) - 1
    looks = zip(WAYS, model.values[metric], plots.COLORS, plots.DASHES, strict=False)
    data = [
        plots.curve(drawn, values[at], NAMES[k], color, dash, width=5 if k == way else 2.5)
        for k, values, color, dash in looks
    ]
    share = model.lengths[d - 1]
    tip = "length %{x:.2f}: %{y:.0%} of the documents<extra></extra>"
    look = {"width": 1 / BINS, "marker": {"color": plots.COLORS[5], "line": {"width": 0}}, "hovertemplate": tip}
    data.append(plots.trace("bar", (np.arange(BINS) + 0.5) / BINS, share, "", 2, **look))
    value = float(model.values[metric][WAYS.index(way), d - 1])
    low, middle, high = (float(x) for x in model.spread[d - 1])
    peak = max(0.2, 1.12 * float(share.max()))
    top = 1.08 * max(float(v.max()) for v in model.values.values())
    quality = {"title": {"text": plots.metric_title(metric)}, "range": [-0.02, top], "showgrid": True}
    lengths = {"range": [0, 1.02], "title": {"text": "length of unit vectors"}}
    shares = {"range": [0, peak], "tickformat": ".0%", "title": {"text": "share of the documents"}}
    layout = {**plots.style(), "height": 440, "bargap": 0, "margin": {"t": 50, "l": 62, "b": 56, "r": 20}}
    layout |= plots.subplot(1, (0, 0.6), plots.curve_x(dims), quality) | plots.subplot(2, (0.7, 1), lengths, shares)
    layout["legend"] = {**plots.legend(0.345), "y": 0.04, "yanchor": "bottom"}
    layout["annotations"] = [
        plots.heading(f"<b>{NAMES[way]}</b>, d = {d}: {plots.metric_title(metric)} {value:.3f}", 0, "left"),
        plots.heading(f"cut to d = {d}: {low:.2f} … {high:.2f}", 0.7, "left"),
    ]
    layout["shapes"] = [plots.dim_rule(d), plots.point_mark(d, value), plots.upright(middle, "x2")]
    return {"data": data, "layout": layout}


class TruncationTrap(Panel):
    """What happens to a search when vectors are cut, by the order of cutting and normalizing (`truncation.WAYS`).

    queries (Q, D), documents (N, D): not normalized, if `raw` is to mean something. relevant: for each query a set of
    document rows, or a dict. query_texts (Q,), document_texts (N,): with both, one query's top documents are shown. All
    is measured once, at the start (500 x 5,000 x 384: some seconds), and kept in `model`. Raises InputError for what
    does not fit together.
    """

    name = "truncation-trap"

    def __init__(
        self,
        queries: np.ndarray,
        documents: np.ndarray,
        relevant: Relevant,
        query_texts: Sequence[str] | None = None,
        document_texts: Sequence[str] | None = None,
        *,
        dim: int | None = None,
    ) -> None:
        for name, texts, rows in (("query_texts", query_texts, queries), ("document_texts", document_texts, documents)):
            if texts is not None and len(texts) != len(rows):
                raise InputError(f"{len(texts)} {name} for {len(rows)} vectors: give one text a vector")
        ticker = Ticker()
        self.model = measure_truncation(queries, documents, relevant, ticker)
        ticker.close()
        width = self.model.width
        start = min(width, 32) if dim is None else dim
        self.model.check(start)
        self.dim = int_slider("dimension d", start, width)
        self.way = switch("way", [(NAMES[way], way) for way in WAYS])
        self.metric = switch("measure", [(plots.metric_title(m), m) for m in METRICS])
        self.query, self._texts = None, document_texts
        if query_texts is not None and document_texts is not None:
            self.query = dropdown("query", example_queries(self.model, query_texts))
        self.start([self.dim, self.way, self.metric, *([self.query] if self.query else [])])

    def picture(self) -> Picture:
        """Curves and lengths at the present dimension; writes the formula and the documents below."""
        d, way = self.dim.value, self.way.value
        self.model.check(d)
        text = formula(self.model, way, d)
        if self.query is not None and self._texts is not None:
            text += documents_table(self.model, self.query.value, d, way, self._texts)
        self.write(text)
        return trap_picture(self.model, d, way, self.metric.value)
