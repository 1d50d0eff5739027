"""The size calculator: how much memory a collection of vectors takes, on which machine it fits, what a query costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mrl_tutorial.panels.panel import Panel, button, field, slider, switch
from mrl_tutorial.retrieval.costs import BITS, GB
from mrl_tutorial.retrieval.sizes import LINK_BYTES, MACHINES, TYPES, Size

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


class SizeCalculator(Panel):
    """Memory and search cost of `n` vectors of `width` coordinates when `dim` are kept in type `dtype`.

    links: M of an HNSW graph, 0 for none. depth: the shortlist's length. queries: a second. price: of a GB for a month,
    the reader's to fill in. Raises InputError for a start that `Size` refuses.

    >>> SizeCalculator(n=10_000_000, width=768, dim=64).size.total_gb
    2.56
    """

    view = "size"

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
        state = {"n": n, "width": width, "dim": dim, "dtype": dtype, "links": links, "depth": depth}
        state |= {"queries": queries, "price": price}
        _possible(state)
        widths, graphs = _with(WIDTHS, width, dim), _with(LINKS, links)
        counts, depths, rates = _with(COUNTS, n), _with(DEPTHS, depth), _with(RATES, queries)
        keys = ("n", "width", "dim", "dtype", "links")
        controls = [
            [button(words, set=dict(zip(keys, (*preset, 0), strict=True))) for words, preset in PRESETS.items()],
            [slider("n", "vectors", counts, [*map(_many, counts)])],
            [
                slider("width", "full width D", widths, _thousands(widths)),
                slider("dim", "kept dimension d", widths, _thousands(widths)),
            ],
            [switch("dtype", "stored as", TYPES)],
            [
                slider("links", "graph links M", graphs, [f"{m}" if m else "no graph" for m in graphs]),
                slider("depth", "shortlist K", depths, _thousands(depths)),
                slider("queries", "queries a second", rates, _thousands(rates)),
                field("number", "price", "price, GB-month", min=0, max=1e6),
            ],
        ]
        super().__init__(
            controls,
            state,
            types=list(TYPES),
            bits={kind: BITS[kind] for kind in TYPES},
            machines=MACHINES,
            gb=GB,
            link_bytes=LINK_BYTES,
            depths=depths,
        )

    @property
    def size(self) -> Size:
        """What the controls describe."""
        return _possible(self.state)

    def set(self, **changes: Any) -> None:
        """Move controls. Raises InputError as in `Panel.set`, and for a state that `Size` refuses."""
        _possible({**self.state, **self._checked(changes)})
        super().set(**changes)


def _possible(state: Mapping[str, Any]) -> Size:
    size = Size(*(state[name] for name in ("n", "width", "dim", "dtype", "links", "depth")))
    size.month(state["price"])  # refuses a negative price
    return size


def _many(n: int) -> str:
    """A number of vectors in words, in millions from there on."""
    return f"{n / 10**6:,g} M" if n >= 10**6 else f"{n:,}"


def _thousands(values: Iterable[int]) -> list[str]:
    return [f"{value:,}" for value in values]


def _with(options: Iterable[int], *values: int) -> list[int]:
    return sorted({*options, *values})
