"""How much memory a collection of vectors takes, and what one query costs: sliders, bars, three machines to compare."""

from __future__ import annotations

import math

import ipywidgets as w

from mrl_tutorial.panels.base import SLIDER, Panel, beside
from mrl_tutorial.panels.explorer_html import count, percent
from mrl_tutorial.panels.plots.figures import COLOURS, FONT, INK, heading, style
from mrl_tutorial.retrieval import sizes

COUNTS = [m * 10**e for e in range(4, 9) for m in range(1, 10)] + [10**9]
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
LINKS = (0, 8, 16, 32, 64)
KEEPS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
RATES = (1, 10, 100, 1000, 10_000)
# words -> number of vectors, full width, kept dimension, type
PRESETS = {
    "10 M × 768, float32": (10_000_000, 768, 768, "float32"),
    "10 M × 1,024, float32": (10_000_000, 1024, 1024, "float32"),
    "10 M × 768 cut to 64, float32": (10_000_000, 768, 64, "float32"),
    "1,000 M × 1,024 cut to 128, int8": (10**9, 1024, 128, "int8"),
}
FULL, CUT, PALE = "#8C8C8C", COLOURS[0], "#A9CDE6"


class SizeCalculator(Panel):
    """Memory and search cost of `n` vectors of `width` coordinates when `dim` are kept in type `dtype`.

    links: M of an HNSW graph, 0 for none. keep: the shortlist's length. Only arithmetic (`sizes.Size`), nothing is
    stored. The price of memory is the reader's to fill in. Raises InputError for a start that `sizes.Size` refuses.
    """

    name = "size-calculator"

    def __init__(
        self, n: int = 10_000_000, width: int = 768, dim: int = 768, dtype: str = "float32", links: int = 0,
        keep: int = 200, queries: int = 100, price: float = 0.0,
    ) -> None:  # fmt: skip
        sizes.Size(n, width, dim, dtype, links, keep)
        self.n = _slider("vectors", _with(COUNTS, n), n)
        self.width = _slider("full width D", _with(WIDTHS, width), width)
        self.dim = _slider("kept dimension d", _with(WIDTHS, dim), dim)
        self.dtype = w.ToggleButtons(
            options=sizes.TYPES, value=dtype, style={"button_width": "auto"},
        )  # fmt: skip
        self.links = _slider("graph links M", [(f"{m}" if m else "no graph", m) for m in _with(LINKS, links)], links)
        self.keep = _slider("shortlist K", _with(KEEPS, keep), keep)
        self.rate = _slider("queries a second", _with(RATES, queries), queries)
        self.price = w.BoundedFloatText(
            value=price, min=0, max=1e6, step=0.01, description="price, GB-month",
            style=SLIDER["style"], layout={"width": "270px"},
        )  # fmt: skip
        self.presets = [w.Button(description=words, layout={"width": "auto"}) for words in PRESETS]
        for button in self.presets:
            button.on_click(lambda b: self.choose(b.description))
        self._quiet = False
        stored = w.HBox([beside("stored as"), self.dtype])
        left = w.VBox([self.n, self.width, self.dim, stored], layout={"width": "50%"})
        right = w.VBox([self.links, self.keep, self.rate, self.price], layout={"width": "50%"})
        row = w.HBox(self.presets, layout={"flex_flow": "row wrap"})
        self.start([row, w.HBox([left, right])])

    @property
    def size(self) -> sizes.Size:
        """What the controls say. Raises InputError where they contradict each other."""
        c = self
        return sizes.Size(c.n.value, c.width.value, c.dim.value, c.dtype.value, c.links.value, c.keep.value)

    def choose(self, preset: str) -> None:
        """Set the controls to one of `PRESETS`, without a graph."""
        values = (*PRESETS[preset], 0)
        self._quiet = True  # between two controls the state may be impossible
        try:
            for control, value in zip((self.n, self.width, self.dim, self.dtype, self.links), values, strict=True):
                control.value = value
        finally:
            self._quiet = False
        self.show()

    def show(self) -> None:
        """Bring figure and note to the state of the controls."""
        if not self._quiet:
            super().show()

    def picture(self) -> dict:
        """The bars of the present state; writes the line below them."""
        size = self.size
        self.write(note(size, self.rate.value, self.price.value))
        return bars(size)


def bars(size: sizes.Size) -> dict:
    """Left: GB of every type, uncut and cut, on a log axis with three machines. Right: multiply-adds of one query.
    A figure as plain data."""
    kinds, rows = list(sizes.TYPES), range(len(sizes.TYPES))
    full = [size.gb(size.width, t) for t in kinds]
    cut = [size.gb(size.dim, t) for t in kinds]
    chosen = [t == size.dtype for t in kinds]
    work = [size.exact, size.cut, size.shortlist]
    data = [
        _bar(full, [r - 0.2 for r in rows], FULL, f"all {size.width:,}", [sizes.words(g) for g in full]),
        _bar(cut, [r + 0.2 for r in rows], [CUT if c else PALE for c in chosen], f"first {size.dim:,}",
             [f"<b>{sizes.words(g)}</b>" if c else sizes.words(g) for g, c in zip(cut, chosen, strict=True)]),
        _bar(work, [0, 1, 2], [FULL, CUT, COLOURS[2]], "", [count(x) for x in work], axes=("x2", "y2"), width=0.55),
    ]  # fmt: skip
    low, high = min(-2, _decades(min(cut), max(full))[0]), 5  # the same for most sizes: bars move, machines stay
    least, most = _decades(min(work), max(work))
    links = f", with M = {size.links} links" if size.links else ""
    names = [f"exact,<br>D = {size.width:,}", f"exact,<br>d = {size.dim:,}", f"shortlist<br>d, then {size.keep:,} × D"]
    title = (
        f"{_many(size.n)} vectors, <span style='color:#6b6b6b'><b>all {size.width:,}</b></span> dimensions or "
        f"<span style='color:{CUT}'><b>the first {size.dim:,}</b></span>{links}"
    )
    kind_names = [f"<b>{t}</b>" if t == size.dtype else t for t in kinds]
    left, right = {"text": "GB in memory (log scale)"}, {"text": "multiply-adds (log scale)"}
    plain = {"ticks": "", "showline": False}
    layout = dict(
        **style() | {"margin": {"t": 84, "l": 70, "b": 60, "r": 12}}, height=450, showlegend=False, bargap=0,
        xaxis={**_log(low, high, _bytes), "domain": [0, 0.56], "title": left},
        yaxis={"tickvals": list(rows), "ticktext": kind_names, "range": [3.6, -0.6], **plain},
        xaxis2={**_log(least, most, count), "domain": [0.72, 1], "anchor": "y2", "title": right},
        yaxis2={"tickvals": [0, 1, 2], "ticktext": names, "range": [2.6, -0.6], "anchor": "x2", **plain},
        annotations=[
            {**heading(title, 0, "left"), "yshift": 46},
            {**heading("work of one query", 0.72, "left"), "yshift": 46},
            *[_machine_name(name, room) for name, room in sizes.MACHINES.items()],
        ],
        shapes=[_machine_line(room) for room in sizes.MACHINES.values()],
    )  # fmt: skip
    return {"data": data, "layout": layout}


def note(size: sizes.Size, rate: int, price: float) -> str:
    """The chosen size in words, as html: memory, machines, share, arithmetic a second, price."""
    parts = f"{sizes.words(size.vectors_gb)} of vectors"
    parts += f" + {sizes.words(size.links_gb)} of links" if size.links else ""
    holders = sizes.fits(size.total_gb)
    where = ", ".join(f"{name} ({sizes.MACHINES[name]}&nbsp;GB)" for name in holders) or "none of the three machines"
    cells = [
        ("memory", f"<b>{sizes.words(size.total_gb)}</b>" + (f" = {parts}" if size.links else "")),
        ("fits", where),
        (f"of all {size.width:,} in float32", percent(size.share)),
        ("a query, shortlist", f"{percent(size.shortlist / size.exact)} of exact"),
        (f"{rate:,} queries a second", f"{count(rate * size.exact)} exact, {count(rate * size.shortlist)} shortlist"),
        ("a month", f"{size.month(price):,.2f}" if price else "fill in a price"),
    ]
    head = "".join(f'<th style="white-space:normal">{name}</th>' for name, _ in cells)
    body = "".join(f'<td style="white-space:normal">{words}</td>' for _, words in cells)
    kept = (
        f" A shortlist also reads its {size.keep:,} full vectors, which must lie somewhere: "
        f"{sizes.words(size.full_gb)} on disk in float32." if size.dim < size.width else ""
    )  # fmt: skip
    what = "Vectors and links" if size.links else "Vectors"
    return (
        f"<table><tr>{head}</tr><tr>{body}</tr></table><div class='note'>{what} only: the system and "
        f"the program need memory too.{kept}</div>"
    )


def _slider(description: str, options: list, value: int) -> w.SelectionSlider:
    labelled = [o if isinstance(o, tuple) else (_many(o), o) for o in options]
    return w.SelectionSlider(options=labelled, value=value, description=description, **SLIDER)


def _with(options, value: int) -> list[int]:
    return sorted({*options, value})


def _many(n: int) -> str:
    return f"{n / 10**6:,g} M" if n >= 10**6 else f"{n:,}"


def _bar(x, y, colour, name: str, text: list[str], axes=("x", "y"), width: float = 0.36) -> dict:
    return dict(
        type="bar", x=x, y=y, orientation="h", width=width, marker={"color": colour}, name=name, text=text, textposition="outside",
        textfont={"size": FONT}, cliponaxis=False, hoverinfo="skip", xaxis=axes[0], yaxis=axes[1],
    )  # fmt: skip


def _decades(low: float, high: float) -> tuple[int, int]:
    """Powers of ten that hold [low, high], with room on the right for the numbers written behind the bars."""
    return math.floor(math.log10(low) - 0.01), math.ceil(math.log10(high) + 0.01) + 1


def _log(low: int, high: int, write) -> dict:
    step = 1 if high - low <= 5 else 2
    ticks = list(range(low, high + 1, step))
    return {
        "type": "log", "range": [low, high], "tickvals": [10.0**e for e in ticks],
        "ticktext": [write(10.0**e) for e in ticks], "showgrid": True, "minor": {"ticks": ""},
    }  # fmt: skip


def _bytes(gb: float) -> str:
    return sizes.words(gb * (1 + 1e-12)) if gb < 1000 else f"{gb / 1000:,.0f} TB"


def _machine_line(room: int) -> dict:
    line = {"color": INK, "width": 2, "dash": "dot"}
    return {
        "type": "line",
        "x0": room,
        "x1": room,
        "y0": 0,
        "y1": 1,
        "yref": "y domain",
        "layer": "below",
        "line": line,
    }


def _machine_name(name: str, room: int) -> dict:
    # three names share 120 pixels
    anchor = {"laptop": "right", "workstation": "center", "server": "left"}[name]
    return {
        "text": f"{name}<br>{room} GB", "x": math.log10(room), "xref": "x", "y": 1, "yref": "y domain", "align": anchor,
        "xanchor": anchor, "yanchor": "bottom", "showarrow": False, "font": {"size": 14, "color": INK},
    }  # fmt: skip
