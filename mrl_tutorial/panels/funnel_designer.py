"""Draw a path of search over the grid and see what it costs, what it finds, and whom it loses on the way."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w
import numpy as np

from mrl_tutorial.panels.base import SLIDER, Panel, beside
from mrl_tutorial.panels.plots import figures
from mrl_tutorial.retrieval.costs import Geometry
from mrl_tutorial.retrieval.paths import LONGEST, Clock, Paths, Walk, drawn, price
from mrl_tutorial.retrieval.stages import Stage

KEEPS = (10, 20, 50, 100, 200, 400, LONGEST)
SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
GREY = "#9A9A9A"
LOST = "#B34700"


class FunnelDesigner(Panel):
    """Sliders for the shortlist's layer, dimension and length, the rerank's dimension, and stages between them.

    task: retrieval. embeddings: model -> {"queries", "documents"} of `split`, as embed_task gives them. queries: how
    many are followed. geometry: of the encoder, for the price of encoding a query. clock: of this machine (None: taken
    now). Raises InputError as funnel_paths.Paths.
    """

    name = "funnel-designer"

    def __init__(self, task: Any, embeddings: Mapping[str, Mapping[str, np.ndarray]], *, split: str = "dev",
                 queries: int = 150, geometry: Geometry | None = None, clock: Clock | None = None):  # fmt: skip
        self.paths = Paths(task, embeddings, split=split, queries=queries)
        self.geometry, self.clock = geometry, clock or Clock.measure()
        p = self.paths
        for name in p.names:
            p.warm(name)
        self._clouds = {name: cloud(p, name) for name in p.names}
        self._heats = {name: heat(p.grid(name)) for name in p.names}
        keeps = [k for k in KEEPS if k < p.n] or [p.n]
        self.model = w.ToggleButtons(options=list(p.names), value=p.names[-1], style={"button_width": "auto"})
        self.layer = w.IntSlider(p.n_layers, 1, p.n_layers, description="shortlist layer", **SLIDER)
        small, keep = p.dims[min(2, len(p.dims) - 1)], keeps[min(3, len(keeps) - 1)]
        self.dim = w.SelectionSlider(options=p.dims, value=small, description="shortlist dims", **SLIDER)
        self.keep = w.SelectionSlider(options=keeps, value=keep, description="shortlist K", **SLIDER)
        self.rerank = w.SelectionSlider(options=p.dims, value=p.dims[-1], description="rerank dims", **SLIDER)
        self.middle = w.IntSlider(0, 0, 3, description="stages between", **SLIDER)
        sizes = [(f"{n:,}", n) for n in (p.n, *(n for n in SIZES if n > p.n))]
        self.size = w.SelectionSlider(options=sizes, value=p.n, description="price it for", **SLIDER)
        wide = {"style": SLIDER["style"], "layout": SLIDER["layout"]}
        self.query = w.Dropdown(options=self._examples(), description="follow a query", **wide)
        left, right = (w.VBox(column, layout={"width": "50%"}) for column in (
            [self.layer, self.dim, self.keep], [self.rerank, self.middle, self.size]))  # fmt: skip
        self.start([w.HBox([beside("model"), self.model]), w.HBox([left, right]), self.query])

    def picture(self) -> dict:
        p, name = self.paths, self.model.value
        last = p.n_layers, self.rerank.value
        stages = drawn((self.layer.value, self.dim.value), self.keep.value, last, self.middle.value, p.dims)
        walk = p.walk(name, stages)
        n, full = self.size.value, (Stage(p.width, layer=p.n_layers),)
        cost, whole = (price(path, n, self.clock, self.geometry) for path in (stages, full))
        self.write(costs_table(walk, p.walk(name, full), cost, whole, n, p.n) + self._followed(walk))
        return picture(self._heats[name], p.dims, walk, self._clouds[name], n, cost["mflops"], whole["mflops"])

    def _followed(self, walk: Walk) -> str:
        query = self.query.value
        names = list(self.paths.task.corpus)
        relevant = set(self.paths.relevant(query).tolist())
        text = self.paths.task.queries[self.paths.ids[query]]
        return stages_table(text, walk, query, relevant, names, self.paths.n)

    def _examples(self) -> list[tuple[str, int]]:
        """Queries that the full model answers: some that a short shortlist loses, then some that it keeps."""
        p, name = self.paths, self.paths.names[-1]
        short = p.walk(name, [Stage(p.dims[min(2, len(p.dims) - 1)], min(50, p.n), p.n_layers), Stage(p.width)])
        lost, found = [], []
        for i in range(len(p.ids)):
            relevant = p.relevant(i)
            if np.isin(relevant, p.full(name)[i]).any():
                (found if np.isin(relevant, short.survivors[0][i]).any() else lost).append(i)
        chosen = [*lost[:6], *found[: 12 - len(lost[:6])]] or list(range(min(12, len(p.ids))))
        return [(p.task.queries[p.ids[i]][:110], i) for i in chosen]


def cloud(paths: Paths, name: str) -> list[tuple[int, int, float]]:
    """(Ds, K, recall of the full model's ten) of every two-stage path at the last layer; K 0: a plain search at Ds."""
    found = []
    for dim in paths.dims:
        found.append((dim, 0, paths.walk(name, [Stage(dim)]).recall))
        if dim < paths.width:
            for keep in (k for k in KEEPS if k < paths.n):
                found.append((dim, keep, paths.walk(name, [Stage(dim, keep), Stage(paths.width)]).recall))
    return found


def heat(grid: np.ndarray) -> list[dict[str, Any]]:
    """The traces of a grid (layers, dims), nDCG@10 of plain searches: a heat map and its numbers, as plain data."""
    low, high = figures.limits_of([grid])
    return [t.to_plotly_json() for t in figures.heat_traces(grid, range(1, len(grid) + 1), low, high)]


def picture(cells: Sequence[Mapping], dims: Sequence[int], walk: Walk, points: Sequence[tuple[int, int, float]], n: int,
            mine: float, full: float) -> dict:  # fmt: skip
    """The path on the grid (left); its recall and multiply-adds among all two-stage paths (right).

    cells: of `heat`. points: of `cloud`. n: documents that the price is for. mine, full: MFLOPs of the path and of a
    plain search at full size. A figure as plain data.
    """
    layers = cells[0]["y"]
    # beside each cell's number, so that it stays readable
    x = [figures.column(s.dim, dims) - 0.34 for s in walk.stages]
    y = [s.layer + 0.27 for s in walk.stages]
    hidden = {"type": "scatter", "hoverinfo": "skip", "showlegend": False}
    right = {"type": "scatter", "xaxis": "x2", "yaxis": "y2", "hovertemplate": "%{text}: %{y:.3f}<extra></extra>"}
    two, one = [c for c in points if c[1]], [c for c in points if not c[1]]
    data = [
        *cells,
        {**hidden, "x": x, "y": y, "mode": "lines", "line": {"color": figures.MARK, "width": 4}},
        {**hidden, "x": x, "y": y, "mode": "markers+text", "text": [f"<b>{i}</b>" for i in range(1, len(x) + 1)],
         "marker": {"size": 24, "color": "#FFFFFF", "line": {"color": figures.MARK, "width": 3}},
         "textfont": {"size": 15, "color": "#000000"}},
        {**right, "x": [(n * d + k * dims[-1]) / 1e6 for d, k, _ in two], "y": [r for *_, r in two], "mode": "markers",
         "marker": {"size": 8, "color": GREY}, "name": "shortlist, then rerank at full width",
         "text": [f"{d} dims, K {k}" for d, k, _ in two]},
        {**right, "x": [n * d / 1e6 for d, *_ in one], "y": [r for *_, r in one], "mode": "lines+markers",
         "line": {"color": figures.COLOURS[0], "width": 3}, "marker": {"size": 9}, "name": "plain search at one width",
         "text": [f"{d} dims" for d, *_ in one]},
        {**right, "x": [mine], "y": [walk.recall], "mode": "markers", "name": "this path", "text": ["this path"],
         "marker": {"size": 20, "color": figures.MARK, "symbol": "diamond", "line": {"color": "#000000", "width": 2}}},
    ]  # fmt: skip
    layout = {
        **figures.style(), "height": 400,
        "legend": {"x": 0.995, "y": 0.03, "xanchor": "right", "yanchor": "bottom", "bgcolor": "rgba(255,255,255,0.85)"},
        "xaxis": {**figures.heat_x(dims), "domain": [0, 0.47]},
        "yaxis": {**figures.heat_y(layers), "range": [0.5, len(layers) + 0.62]},
        "xaxis2": {"domain": [0.56, 1], "anchor": "y2", "type": "log", "dtick": 1, "showgrid": True,
                   "title": {"text": f"MFLOPs a query, {n:,} documents"},
                   "range": [float(np.log10(n * dims[0] / 2e6)), float(np.log10(2 * full))]},
        "yaxis2": {"anchor": "x2", "range": [-0.02, 1.05], "showgrid": True,
                   "title": {"text": "share of the full model's ten"}},
        "annotations": [figures.heading("the path (nDCG@10 of each cell alone)", 0.235),
                        figures.heading("what it finds, what it costs", 0.78)],
    }  # fmt: skip
    return {"data": data, "layout": layout}


def costs_table(walk: Walk, full: Walk, cost: Mapping[str, float], whole: Mapping[str, float], n: int,
                held: int) -> str:  # fmt: skip
    """The path beside the full model, as html. n: documents that the price is for; held: that quality is of."""

    def row(title: str, w: Walk, c: Mapping[str, float]) -> str:
        encode = f"{c['encode_mflops']:,.0f}" if np.isfinite(c["encode_mflops"]) else "–"
        values = (f"{w.recall:.1%}", f"{w.ndcg:.3f}", number(c["mflops"]), encode, number(c["ms"]), number(c["gb"]))
        return f"<tr><td>{title}</td>" + "".join(f'<td class="n">{v}</td>' for v in values) + "</tr>"

    head = "".join(f'<th class="n">{t}</th>' for t in (
        "of the ten", "nDCG@10", "MFLOPs", "to encode", "search ms", "GB held"))  # fmt: skip
    saving = whole["mflops"] / cost["mflops"]
    note = (
        f"Of the ten: the share of the full model's ten best that is found. {saving:.1f} times fewer multiply-adds, "
        f"{whole['ms'] / cost['ms']:.1f} times less time: bytes moved at this machine's memory speed, one thread."
    )
    if n != held:
        note += f" Quality is that of {held:,} documents; {n:,} need a longer shortlist."
    rows = row("this path", walk, cost) + row("full model", full, whole)
    head = f'<tr><th style="width:230px">for {n:,} documents</th>{head}</tr>'
    return f'<table class="mrl-cost">{head}{rows}</table><div class="note">{note}</div>'


def stages_table(text: str, walk: Walk, query: int, relevant: set[int], names: Sequence[str], n: int) -> str:
    """What each stage leaves of all documents, and where it puts the relevant one of one query, as html."""
    rows, left = "", n
    for i, (stage, found, share) in enumerate(zip(walk.stages, walk.survivors, walk.kept, strict=True), start=1):
        mine = found[query].tolist()
        places = [j for j, r in enumerate(mine, start=1) if r in relevant]
        stands = f"&#10004; at {places[0]}" if places else f'<b style="color:{LOST}">&#10008; lost</b>'
        best = ", ".join(f"<b>{_short(names[r])}</b>" if r in relevant else _short(names[r]) for r in mine[:4])
        rows += (
            f'<tr class="{"yes" if places else ""}"><td class="n">{i}</td>'
            f"<td>layer {stage.layer}, {stage.dim} dims</td>"
            f'<td class="n">{left:,} &#8594; {len(mine):,}</td><td>{stands}</td><td class="n">{share:.0%}</td>'
            f"<td>{best}</td></tr>"
        )
        left = len(mine)
    head = ('<tr><th class="n" style="width:50px">stage</th><th style="width:175px">scored by</th>'
            '<th class="n" style="width:120px">documents</th><th style="width:120px">relevant one</th>'
            '<th class="n" style="width:130px">of all queries</th><th>its best four</th></tr>')  # fmt: skip
    return (f'<div style="margin-top:8px" class="mrl-stages">Survivors of <b>{html.escape(text[:140])}</b>'
            f"<table>{head}{rows}</table></div>")  # fmt: skip


def number(value: float) -> str:
    """Three digits, as a reader writes them: 0.0242, 2.42, 24.2, 2,420."""
    if not np.isfinite(value) or value == 0:
        return "–" if value else "0"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}"


def _short(name: str) -> str:
    return html.escape(".".join(name.split(".")[-2:])[-34:])
