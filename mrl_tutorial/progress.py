"""A progress bar that shows itself only when there is something to wait for."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm


class Ticker:
    """Called as ticker(done, total, label): passes it on to `sink`, or draws a bar once a second has passed.

    >>> said = []
    >>> Ticker(lambda done, total, label: said.append((done, total, label)))(3, 10, "encoding")
    >>> said
    [(3, 10, 'encoding')]
    """

    def __init__(self, sink: Callable[[int, int, str], object] | None = None) -> None:
        self.sink = sink
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, label: str) -> None:
        if self.sink is not None:
            self.sink(done, total, label)
            return
        if self.bar is None or self.bar.total != total:  # a new piece of work
            self.close()
            # in a terminal or a notebook, where someone sees it, not in a log file
            seen = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
            self.bar = tqdm(total=total, delay=1, leave=False, dynamic_ncols=True, disable=not seen)
        self.bar.set_description_str(label, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
