"""The size calculator: how much memory a collection of vectors takes, on which machine it fits, what a query costs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrl_tutorial.panels.panel import Control, Panel, button, field, slider, switch
from mrl_tutorial.retrieval.costs import BITS, GB, LINK_BYTES, MACHINES, TYPES, Size

CHOICES = {
    "n": [m * 10**e for e in range(4, 9) for m in range(1, 10)] + [10**9],
    "width": [8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096],
    "links": [0, 8, 16, 32, 64],
    "depth": [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000],
    "queries": [1, 10, 100, 1000, 10_000],
}
# words -> number of vectors, full width, kept dimension, type
PRESETS = {
    "10 M × 768, float32": (10_000_000, 768, 768, "float32"),
    "10 M × 1,024, float32": (10_000_000, 1024, 1024, "float32"),
    "10 M × 768 cut to 64, float32": (10_000_000, 768, 64, "float32"),
    "1,000 M × 1,024 cut to 128, int8": (10**9, 1024, 128, "int8"),
}


class SizeCalculator(Panel):
    """Memory and search cost of `n` vectors of `width` coordinates when `dim` are kept in type `dtype`.

    state: links (M of an HNSW graph, 0 for none), depth (the shortlist's length), queries (a second), price (of a GB
    for a month, the reader's to fill in). Raises InputError for a start that `Size` refuses.

    >>> SizeCalculator(n=10_000_000, width=768, dim=64).size.total_gb
    2.56
    """

    view = "size"

    def __init__(
        self, n: int = 10_000_000, width: int = 768, dim: int = 768, dtype: str = "float32", **state: Any
    ) -> None:
        start = {"n": n, "width": width, "dim": dim, "dtype": dtype, "links": 0, "depth": 200, "queries": 100}
        start |= {"price": 0.0, **state}
        _possible(start)

        def over(name: str, label: str, words: Any = "{:,}".format) -> Control:
            """A slider over the usual numbers and the one to start with."""
            given = {start["width"], start["dim"]} if name in ("width", "dim") else {start[name]}
            values = sorted({*CHOICES["width" if name == "dim" else name], *given})
            return slider(name, label, values, [words(value) for value in values])

        keys = ("n", "width", "dim", "dtype", "links")
        controls = [
            [button(words, set=dict(zip(keys, (*preset, 0), strict=True))) for words, preset in PRESETS.items()],
            [over("n", "vectors", lambda n: f"{n / 10**6:,g} M" if n >= 10**6 else f"{n:,}")],
            [over("width", "full width D"), over("dim", "kept dimension d")],
            [switch("dtype", "stored as", TYPES)],
            [
                over("links", "graph links M", lambda m: f"{m}" if m else "no graph"),
                over("depth", "shortlist K"),
                over("queries", "queries a second"),
                field("number", "price", "price, GB-month", min=0, max=1e6),
            ],
        ]
        depths = controls[-1][1]["values"]
        tables = {"types": list(TYPES), "bits": {kind: BITS[kind] for kind in TYPES}, "machines": MACHINES}
        super().__init__(controls, start, **tables, gb=GB, link_bytes=LINK_BYTES, depths=depths)

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
