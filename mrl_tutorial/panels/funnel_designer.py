"""The funnel designer: draw a path of search over the grid; see what it costs, what it finds and what it loses."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import Panel, Picture, choice_slider, columns, dropdown, int_slider, switch
from mrl_tutorial.panels.markup import Column, note, number, short_name, table
from mrl_tutorial.retrieval.costs import Geometry
from mrl_tutorial.retrieval.paths import LONGEST, PathResult, Paths, Throughput, draw_path, price
from mrl_tutorial.retrieval.stages import Stage

DEPTHS = (10, 20, 50, 100, 200, 400, LONGEST)
SIZES = (10**5, 10**6, 10**7, 10**8, 10**9)
LOST = "#B34700"

# -- what is shown ---------------------------------------------------------------------------------------------------


def two_stage_paths(paths: Paths, name: str) -> list[tuple[int, int, float]]:
    """(Ds, K, recall of the full model's ten) of every two-stage path at the last layer; K 0: a plain search at Ds."""
    found = []
    for dim in paths.dims:
        found.append((dim, 0, paths.walk(name, [Stage(dim)]).recall))
        if dim < paths.width:
            for depth in (k for k in DEPTHS if k < paths.n):
                found.append((dim, depth, paths.walk(name, [Stage(dim, depth), Stage(paths.width)]).recall))
    return found


def example_queries(paths: Paths, n: int = 12) -> list[tuple[str, int]]:
    """(text, place) of queries that the full model answers: some that a short shortlist loses, then some it keeps."""
    name = paths.names[-1]
    short = paths.walk(name, [Stage(paths.dims[min(2, len(paths.dims) - 1)], min(50, paths.n)), Stage(paths.width)])
    lost: list[int] = []
    kept: list[int] = []
    for i in range(len(paths.ids)):
        relevant = paths.relevant(i)
        if np.isin(relevant, paths.full(name)[i]).any():
            (kept if np.isin(relevant, short.survivors[0][i]).any() else lost).append(i)
    chosen = [*lost[: n // 2], *kept[: n - len(lost[: n // 2])]] or list(range(min(n, len(paths.ids))))
    return [(paths.task.queries[paths.ids[i]][:110], i) for i in chosen]


def costs_table(
    walk: PathResult, full: PathResult, cost: Mapping[str, float], whole: Mapping[str, float], n: int, held: int
) -> str:
    """The path compared with the full model, as html. n: documents for the price; held: those for the quality."""
    rows = []
    for title, one, c in (("this path", walk, cost), ("full model", full, whole)):
        encode = f"{c['encode_mflops']:,.0f}" if np.isfinite(c["encode_mflops"]) else "–"
        figures = (number(c["mflops"]), encode, number(c["ms"]), number(c["gb"]))
        rows.append([title, f"{one.recall:.1%}", f"{one.ndcg:.3f}", *figures])
    heads = ("of the ten", "nDCG@10", "MFLOPs", "to encode", "search ms", "GB held")
    words = (
        f"Of the ten: the share of the full model's ten best that is found. {whole['mflops'] / cost['mflops']:.1f} "
        f"times fewer multiply-adds, {whole['ms'] / cost['ms']:.1f} times less time: bytes moved at this machine's "
        "memory speed, one thread."
    )
    if n != held:
        words += f" Quality is that of {held:,} documents; {n:,} need a longer shortlist."
    first = Column(f"for {n:,} documents", 230)
    return table([first, *(Column(t, number=True) for t in heads)], rows, name="mrl-cost") + note(words)


def stages_table(text: str, walk: PathResult, query: int, relevant: set[int], names: Sequence[str], n: int) -> str:
    """What each stage leaves of `n` documents, and where it puts the relevant one of one query, as html."""
    rows, marked, left = [], [], n
    for i, (stage, found, share) in enumerate(zip(walk.stages, walk.survivors, walk.kept, strict=True)):
        ranked = found[query].tolist()
        places = [place for place, row in enumerate(ranked, start=1) if row in relevant]
        stands = f"&#10004; at {places[0]}" if places else f'<b style="color:{LOST}">&#10008; lost</b>'
        marked += [i] if places else []
        shown = {r: html.escape(short_name(names[r], 34)) for r in ranked[:4]}
        best = ", ".join(f"<b>{name}</b>" if r in relevant else name for r, name in shown.items())
        passed = f"{left:,} &#8594; {len(ranked):,}"
        rows.append([str(i + 1), f"layer {stage.layer}, {stage.dim} dims", passed, stands, f"{share:.0%}", best])
        left = len(ranked)
    heads = [Column("stage", 50, True), Column("scored by", 175), Column("documents", 120, True)]
    heads += [Column("relevant one", 120), Column("of all queries", 130, True), Column("its best four")]
    title = f"Survivors of <b>{html.escape(text[:140])}</b>"
    return f'<div style="margin-top:8px" class="mrl-stages">{title}{table(heads, rows, marked=marked)}</div>'


# -- figure and widgets ----------------------------------------------------------------------------------------------


def path_traces(walk: PathResult, layers: Sequence[int], dims: Sequence[int]) -> list[dict[str, Any]]:
    """The path on the heat map: a line, and numbered dots beside the cells' numbers, so that these stay readable."""
    x = [plots.column(s.dim, dims) - 0.34 for s in walk.stages]
    y = [(s.layer or layers[-1]) + 0.27 for s in walk.stages]
    dot = {"size": 24, "color": "#FFFFFF", "line": {"color": plots.MARK, "width": 3}}
    numbers: dict[str, Any] = {
        "text": [f"<b>{i}</b>" for i in range(1, len(x) + 1)],
        "textfont": {"size": 15, "color": "#000000"},
    }
    line = plots.trace("scatter", x, y, mode="lines", line={"color": plots.MARK, "width": 4}, hoverinfo="skip")
    return [line, plots.trace("scatter", x, y, mode="markers+text", marker=dot, hoverinfo="skip", **numbers)]


def recall_traces(
    points: Sequence[tuple[int, int, float]], width: int, n: int, mflops: float, recall: float
) -> list[dict[str, Any]]:
    """Recall against multiply-adds over `n` documents: all two-stage paths, plain searches, and the present path."""
    two, one = [p for p in points if p[1]], [p for p in points if not p[1]]
    star = {"size": 20, "color": plots.MARK, "symbol": "diamond", "line": {"color": "#000000", "width": 2}}
    gray, blue = {"size": 8, "color": plots.GRAY}, {"color": plots.COLORS[0], "width": 3}
    found = [
        ("shortlist, then rerank at full width", [(n * d + k * width) / 1e6 for d, k, _ in two], [r for *_, r in two]),
        ("plain search at one width", [n * d / 1e6 for d, *_ in one], [r for *_, r in one]),
        ("this path", [mflops], [recall]),
    ]
    looks: list[dict[str, Any]] = [
        {"mode": "markers", "marker": gray, "text": [f"{d} dims, K {k}" for d, k, _ in two]},
        {"mode": "lines+markers", "line": blue, "marker": {"size": 9}, "text": [f"{d} dims" for d, *_ in one]},
        {"mode": "markers", "marker": star, "text": ["this path"]},
    ]
    tip = "%{text}: %{y:.3f}<extra></extra>"
    pairs = zip(found, looks, strict=True)
    return [plots.trace("scatter", x, y, name, 2, hovertemplate=tip, **look) for (name, x, y), look in pairs]


def funnel_layout(layers: Sequence[int], dims: Sequence[int], n: int, full: float) -> dict[str, Any]:
    """Axes and headings. full: MFLOPs of a plain search at full width, which ends the axis."""
    reach = [float(np.log10(n * dims[0] / 2e6)), float(np.log10(2 * full))]
    work = {"title": {"text": f"MFLOPs a query, {n:,} documents"}, "type": "log", "dtick": 1, "range": reach}
    found = {"title": {"text": "share of the full model's ten"}, "range": [-0.02, 1.05], "showgrid": True}
    rows = {**plots.heat_y(layers), "range": [0.5, len(layers) + 0.62]}
    heads = (("the path (nDCG@10 of each cell alone)", 0.235), ("what it finds, what it costs", 0.78))
    layout = {**plots.style(), "height": 400, "annotations": [plots.heading(*head) for head in heads]}
    layout["legend"] = {**plots.legend(0.995), "y": 0.03, "xanchor": "right", "yanchor": "bottom"}
    layout |= plots.subplot(1, (0, 0.47), plots.heat_x(dims), rows)
    return layout | plots.subplot(2, (0.56, 1), {**work, "showgrid": True}, found)


class FunnelDesigner(Panel):
    """Sliders for the shortlist's layer, dimension and length, the rerank's dimension, and stages between them.

    task: retrieval. embeddings: model -> {"queries", "documents"} of `split`, as embed_task gives them. queries: how
    many are followed. geometry: of the encoder, for the price of encoding a query. clock: of this machine (None: taken
    now). Raises InputError as in `Paths`.
    """

    name = "funnel-designer"

    def __init__(
        self,
        task: Any,
        embeddings: Mapping[str, Mapping[str, np.ndarray]],
        *,
        split: str = "dev",
        queries: int = 150,
        geometry: Geometry | None = None,
        clock: Throughput | None = None,
    ) -> None:
        self.paths = p = Paths(task, embeddings, split=split, queries=queries)
        self.geometry, self.clock = geometry, clock or Throughput.measure()
        for name in p.names:
            p.warm(name)
        self._points = {name: two_stage_paths(p, name) for name in p.names}
        self._layers = range(1, p.n_layers + 1)
        grids = {name: p.grid(name) for name in p.names}
        self._heats = {name: plots.heat_traces(g, self._layers, *plots.limits_of([g])) for name, g in grids.items()}
        depths = [k for k in DEPTHS if k < p.n] or [p.n]
        small, depth = p.dims[min(2, len(p.dims) - 1)], depths[min(3, len(depths) - 1)]
        self.model = switch("model", list(p.names), p.names[-1])
        self.layer = int_slider("shortlist layer", p.n_layers, p.n_layers)
        self.dim = choice_slider("shortlist dims", p.dims, small)
        self.depth = choice_slider("shortlist K", depths, depth)
        self.rerank = choice_slider("rerank dims", p.dims, p.dims[-1])
        self.middle = int_slider("stages between", 0, 3, low=0)
        sizes = [(f"{n:,}", n) for n in (p.n, *(n for n in SIZES if n > p.n))]
        self.size = choice_slider("price it for", sizes, p.n)
        self.query = dropdown("follow a query", example_queries(p))
        path = columns([self.layer, self.dim, self.depth], [self.rerank, self.middle, self.size])
        self.start([self.model, path, self.query])

    def picture(self) -> Picture:
        """The present path on the grid and among all two-stage paths."""
        p, name, n, query = self.paths, self.model.value, self.size.value, self.query.value
        last = p.n_layers, self.rerank.value
        stages = draw_path((self.layer.value, self.dim.value), self.depth.value, last, self.middle.value, p.dims)
        full = (Stage(p.width, layer=p.n_layers),)
        walk = p.walk(name, stages)
        cost, whole = (price(path, n, self.clock, self.geometry) for path in (stages, full))
        text, relevant = p.task.queries[p.ids[query]], set(p.relevant(query).tolist())
        followed = stages_table(text, walk, query, relevant, list(p.task.corpus), p.n)
        self.write(costs_table(walk, p.walk(name, full), cost, whole, n, p.n) + followed)
        recalls = recall_traces(self._points[name], p.width, n, cost["mflops"], walk.recall)
        data = [*self._heats[name], *path_traces(walk, self._layers, p.dims), *recalls]
        return {"data": data, "layout": funnel_layout(self._layers, p.dims, n, whole["mflops"])}
