"""A progress bar that shows itself only when there is something to wait for."""

from __future__ import annotations

import sys
from collections.abc import Callable

from tqdm import tqdm


class Ticker:
    """Called as ticker(done, total, label): passes it on to `sink`, or draws a bar: once a second has passed, where
    someone sees it, or at once and `always`.

    >>> said = []
    >>> Ticker(lambda done, total, label: said.append((done, total, label)))(3, 10, "encoding")
    >>> said
    [(3, 10, 'encoding')]
    """

    def __init__(self, sink: Callable[[int, int, str], object] | None = None, always: bool = False) -> None:
        self.sink, self.always = sink, always
        self.bar: tqdm | None = None

    def __call__(self, done: int, total: int, label: str) -> None:
        if self.sink is not None:
            self.sink(done, total, label)
            return
        if self.bar is None or self.bar.total != total:  # a new piece of work
            self.close()
            # in a terminal or a notebook, where someone sees it, not in a log file
            seen = self.always or "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
            delay = 0 if self.always else 1
            self.bar = tqdm(total=total, dynamic_ncols=True, disable=not seen, delay=delay, leave=self.always)
        self.bar.set_description_str(label, refresh=False)
        self.bar.update(done - self.bar.n)
        if self.always and done == total:
            self.close()

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
