"""Progress that shows itself only when there is something to wait for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


class Ticker:
    """Called as ticker(done, total, label): hands on to `sink`, or draws a bar with time left once a second has passed."""

    def __init__(self, sink: Callable[[int, int, str], None] | None = None):
        self.sink, self.bar, self.began, self.total = sink, None, time.monotonic(), None

    def __call__(self, done: int, total: int, label: str) -> None:
        if self.sink is not None:
            self.sink(done, total, label)
            return
        if self.total != total:  # a new piece of work
            self.close()
            self.total, self.began = total, time.monotonic()
        if self.bar is None:
            if time.monotonic() - self.began < 1 or done >= total or not _watched():
                return
            from tqdm import tqdm

            self.bar = tqdm(total=total, leave=False, dynamic_ncols=True)
        self.bar.set_description_str(label, refresh=False)
        self.bar.update(done - self.bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _watched() -> bool:
    """Whether someone sees the bar: a terminal or a notebook, not a log file."""
    return "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
