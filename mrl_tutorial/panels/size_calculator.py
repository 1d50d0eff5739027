"""The size calculator: how much memory a collection of vectors takes, on which machine it fits, what a query costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import ipywidgets as w

from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import LABEL, Panel, Picture, choice_slider, columns, row, switch
from mrl_tutorial.panels.markup import count, note, percent, table
from mrl_tutorial.retrieval import sizes
from mrl_tutorial.retrieval.sizes import MACHINES, TYPES, Size

COUNTS = [m * 10**e for e in range(4, 9) for m in range(1, 10)] + [10**9]
WIDTHS = (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096)
LINKS = (0, 8, 16, 32, 64)
DEPTHS = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
RATES = (1, 10, 100, 1000, 10_000)
# words -> number of vectors, full width, kept dimension, type
PRESETS = {
    "10 M × 768, float32": (10_000_000, 768, 768, "float32"),
    "10 M × 1,024, float32": (10_000_000, 1024, 1024, "float32"),
    "10 M × 768 cut to 64, float32": (10_000_000, 768, 64, "float32"),
    "1,000 M × 1,024 cut to 128, int8": (10**9, 1024, 128, "int8"),
}
CUT, PALE = plots.COLORS[0], "#A9CDE6"

# -- what is shown ---------------------------------------------------------------------------------------------------


def in_words(size: Size, rate: int, price: float) -> str:
    """The chosen size in words, as html: memory, machines, share, arithmetic a second, price."""
    parts = f" = {sizes.words(size.vectors_gb)} of vectors + {sizes.words(size.links_gb)} of links"
    places = [f"{name} ({MACHINES[name]}&nbsp;GB)" for name in sizes.fits(size.total_gb)]
    cells = {
        "memory": f"<b>{sizes.words(size.total_gb)}</b>" + (parts if size.links else ""),
        "fits": ", ".join(places) or "none of the three machines",
        f"of all {size.width:,} in float32": percent(size.share),
        "a query, shortlist": f"{percent(size.shortlist / size.exact)} of exact",
        f"{rate:,} queries a second": f"{count(rate * size.exact)} exact, {count(rate * size.shortlist)} shortlist",
        "a month": f"{size.month(price):,.2f}" if price else "fill in a price",
    }
    kept = (
        f" A shortlist also reads its {size.depth:,} full vectors, which must lie somewhere: "
        f"{sizes.words(size.full_gb)} on disk in float32."
    )
    what = "Vectors and links" if size.links else "Vectors"
    words = f"{what} only: the system and the program need memory too.{kept if size.dim < size.width else ''}"
    return table(list(cells), [list(cells.values())], name="mrl-wrap") + note(words)


def many(n: int) -> str:
    """A number of vectors in words, in millions from there on."""
    return f"{n / 10**6:,g} M" if n >= 10**6 else f"{n:,}"


# -- figure and widgets ----------------------------------------------------------------------------------------------


def size_picture(size: Size) -> Picture:
    """Left: GB of every type, uncut and cut, on a log axis with three machines. Right: multiply-adds of one query."""
    full, cut = ([size.gb(dim, kind) for kind in TYPES] for dim in (size.width, size.dim))
    work = [size.exact, size.cut, size.shortlist]
    chosen = [kind == size.dtype for kind in TYPES]
    amounts = [f"<b>{sizes.words(g)}</b>" if c else sizes.words(g) for g, c in zip(cut, chosen, strict=True)]
    rows, colors = range(len(TYPES)), [CUT if c else PALE for c in chosen]
    data = [
        _bars(full, [r - 0.2 for r in rows], plots.GRAY, f"all {size.width:,}", [sizes.words(g) for g in full]),
        _bars(cut, [r + 0.2 for r in rows], colors, f"first {size.dim:,}", amounts),
        _bars(work, [0, 1, 2], [plots.GRAY, CUT, plots.COLORS[2]], "", [count(x) for x in work], place=2, width=0.55),
    ]
    low, high = min(-2, _decades(min(cut), max(full))[0]), 5  # the same for most sizes: bars move, machines stay
    names = [f"exact,<br>D = {size.width:,}", f"exact,<br>d = {size.dim:,}", f"shortlist<br>d, then {size.depth:,} × D"]
    title = (
        f"{many(size.n)} vectors, <span style='color:#6b6b6b'><b>all {size.width:,}</b></span> dimensions or "
        f"<span style='color:{CUT}'><b>the first {size.dim:,}</b></span>"
        + (f", with M = {size.links} links" if size.links else "")
    )
    kinds = [f"<b>{t}</b>" if c else t for t, c in zip(TYPES, chosen, strict=True)]
    bare = {"ticks": "", "showline": False}
    memory = {**_log_axis(low, high, _gb), "title": {"text": "GB in memory (log scale)"}}
    queries = {**_log_axis(*_decades(min(work), max(work)), count), "title": {"text": "multiply-adds (log scale)"}}
    types = {"tickvals": list(rows), "ticktext": kinds, "range": [3.6, -0.6], **bare}
    searches = {"tickvals": [0, 1, 2], "ticktext": names, "range": [2.6, -0.6], **bare}
    heads = [{**plots.heading(text, x, "left"), "yshift": 46} for text, x in ((title, 0), ("work of one query", 0.72))]
    layout = {**plots.style(), "height": 450, "showlegend": False, "bargap": 0}
    layout["margin"] = {"t": 84, "l": 70, "b": 60, "r": 12}
    layout["annotations"] = [*heads, *(_machine(name, gb) for name, gb in MACHINES.items())]
    layout["shapes"] = [{**plots.upright(gb), "layer": "below"} for gb in MACHINES.values()]
    layout |= plots.subplot(1, (0, 0.56), memory, types) | plots.subplot(2, (0.72, 1), queries, searches)
    return {"data": data, "layout": layout}


def _bars(x: list, y: list, color: str | list[str], name: str, text: list[str], **options: Any) -> dict[str, Any]:
    look = {"orientation": "h", "marker": {"color": color}, "cliponaxis": False, "hoverinfo": "skip", "width": 0.36}
    words = {"text": text, "textposition": "outside", "textfont": {"size": plots.FONT}}
    return plots.trace("bar", x, y, name, **{**look, **words, **options})


def _decades(low: float, high: float) -> tuple[int, int]:
    """Powers of ten that hold [low, high], with room on the right for the numbers written behind the bars."""
    return math.floor(math.log10(low) - 0.01), math.ceil(math.log10(high) + 0.01) + 1


def _log_axis(low: int, high: int, write: Callable[[float], str]) -> dict[str, Any]:
    ticks = [10.0**e for e in range(low, high + 1, 1 if high - low <= 5 else 2)]
    names = {"tickvals": ticks, "ticktext": [write(x) for x in ticks]}
    return {"type": "log", "range": [low, high], **names, "showgrid": True, "minor": {"ticks": ""}}


def _gb(gb: float) -> str:
    return sizes.words(gb * (1 + 1e-12)) if gb < 1000 else f"{gb / 1000:,.0f} TB"


def _machine(name: str, gb: int) -> dict[str, Any]:
    side = {"laptop": "right", "workstation": "center", "server": "left"}[name]  # three names share 120 pixels
    place = {"x": math.log10(gb), "xref": "x", "y": 1, "yref": "y domain", "xanchor": side, "yanchor": "bottom"}
    font = {"size": 14, "color": plots.INK}
    return {"text": f"{name}<br>{gb} GB", **place, "align": side, "showarrow": False, "font": font}


class SizeCalculator(Panel):
    """Memory and search cost of `n` vectors of `width` coordinates when `dim` are kept in type `dtype`.

    links: M of an HNSW graph, 0 for none. depth: the shortlist's length. price: of a GB for a month, the reader's to
    fill in. Raises InputError for a start that `Size` refuses.

    >>> SizeCalculator(n=10_000_000, width=768, dim=64).size.total_gb
    2.56
    """

    name = "size-calculator"

    def __init__(
        self,
        n: int = 10_000_000,
        width: int = 768,
        dim: int = 768,
        dtype: str = "float32",
        links: int = 0,
        depth: int = 200,
        queries: int = 100,
        price: float = 0.0,
    ) -> None:
        Size(n, width, dim, dtype, links, depth)
        self.n = _slider("vectors", COUNTS, n)
        self.width = _slider("full width D", WIDTHS, width)
        self.dim = _slider("kept dimension d", WIDTHS, dim)
        self.dtype = switch("stored as", TYPES, dtype)
        self.links = choice_slider(
            "graph links M", [(f"{m}" if m else "no graph", m) for m in _with(LINKS, links)], links
        )
        self.depth = _slider("shortlist K", DEPTHS, depth)
        self.rate = _slider("queries a second", RATES, queries)
        field = {"description": "price, GB-month", "style": LABEL, "layout": {"width": "270px"}}
        self.price = w.BoundedFloatText(value=price, min=0, max=1e6, step=0.01, **field)
        self.presets = [w.Button(description=words, layout={"width": "auto"}) for words in PRESETS]
        for button in self.presets:
            button.on_click(lambda b: self.choose(b.description))
        memory, search = [self.n, self.width, self.dim, self.dtype], [self.links, self.depth, self.rate, self.price]
        self.start([row(*self.presets), columns(memory, search)])

    @property
    def size(self) -> Size:
        """The controls' values. Raises InputError where they contradict each other."""
        controls = (self.n, self.width, self.dim, self.dtype, self.links, self.depth)
        return Size(*(control.value for control in controls))

    def choose(self, preset: str) -> None:
        """Set the controls to one of `PRESETS`, without a graph."""
        with self.held():  # between two controls the state may be impossible
            controls = (self.n, self.width, self.dim, self.dtype, self.links)
            for control, value in zip(controls, (*PRESETS[preset], 0), strict=True):
                control.value = value
        self.show()

    def picture(self) -> Picture:
        """The bars of the present state; writes the line below them."""
        size = self.size
        self.write(in_words(size, self.rate.value, self.price.value))
        return size_picture(size)


def _slider(description: str, options: Sequence[int], value: int) -> w.SelectionSlider:
    return choice_slider(description, [(many(n), n) for n in _with(options, value)], value)


def _with(options: Iterable[int], value: int) -> list[int]:
    return sorted({*options, value})
