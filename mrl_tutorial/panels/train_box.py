"""The Train button: recipe, kind of heads, seconds, a progress bar, cancel. What is trained is the owner's business."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ipywidgets as w

from mrl_tutorial.errors import InputError
from mrl_tutorial.panels.base import row
from mrl_tutorial.panels.job import Job, Report
from mrl_tutorial.panels.markup import message


@dataclass(frozen=True)
class Choice:
    """What the reader asked for. heads: "shared" or "per-layer". seconds: the time to train for."""

    recipe: str
    heads: str
    seconds: int


class TrainBox:
    """Controls around work(choice, report) -> result, which runs in a thread; done(result) changes the panel.

    refresh() is called at every progress. A result of None means that nothing usable came out. Errors end up in the
    panel, in words.
    """

    def __init__(
        self,
        recipes: Sequence[str],
        work: Callable[[Choice, Report], Any],
        done: Callable[[Any], object],
        *,
        seconds: int = 10,
        refresh: Callable[[], object] = lambda: None,
    ) -> None:
        self._work, self._done, self._refresh = work, done, refresh
        self.job: Job | None = None
        style = {"description_width": "initial"}
        start = "all-cells" if "all-cells" in recipes else recipes[0]
        self.recipe = w.Dropdown(
            options=list(recipes), value=start, description="recipe", style=style, layout={"width": "220px"}
        )
        self.heads = w.Dropdown(
            options=["per-layer", "shared"], description="heads", style=style, layout={"width": "170px"}
        )
        self.seconds = w.BoundedIntText(
            value=seconds, min=1, max=600, description="seconds", style=style, layout={"width": "130px"}
        )
        self.button = w.Button(description="Train", button_style="primary", icon="play")
        self.cancel = w.Button(description="Cancel", icon="stop", disabled=True)
        self.bar = w.FloatProgress(value=0, min=0, max=1, layout={"width": "180px", "visibility": "hidden"})
        self.status = w.HTML()
        self.button.on_click(lambda _: self.start())
        self.cancel.on_click(lambda _: self.stop())
        self.box = w.VBox([row(self.recipe, self.heads, self.seconds, self.button, self.cancel, self.bar), self.status])

    @property
    def choice(self) -> Choice:
        """The controls' current values."""
        return Choice(self.recipe.value, self.heads.value, self.seconds.value)

    def start(self) -> None:
        """What the Train button does."""
        if self.job is None or not self.job.running:
            self._busy(True)
            choice = self.choice
            self.job = Job(
                lambda report: self._work(choice, report),
                on_progress=self.show,
                on_done=self._ended,
                on_error=self._failed,
            ).start()

    def stop(self) -> None:
        """What the Cancel button does: what has been trained so far is kept."""
        if self.job is not None:
            self.job.cancel()
            self.cancel.disabled = True
            self.status.value = message("stopping …")

    def show(self, share: float, label: str) -> None:
        """Progress: share 0 … 1 and what is going on."""
        self.bar.value = min(1.0, max(0.0, share))
        if not (self.job and self.job.cancelled):
            self.status.value = message(label)
        self._refresh()

    def _ended(self, result: Any) -> None:
        self._busy(False)
        if result is None:
            self.status.value = message("canceled before anything was trained")
            return
        cancelled = self.job is not None and self.job.cancelled
        self.status.value = message("canceled: what was trained is kept" if cancelled else "done")
        self._done(result)

    def _failed(self, error: Exception) -> None:
        self._busy(False)
        words = str(error) if isinstance(error, InputError) else f"training failed: {type(error).__name__}: {error}"
        self.status.value = message(words, error=True)

    def _busy(self, busy: bool) -> None:
        self.button.disabled, self.cancel.disabled = busy, not busy
        self.bar.value, self.bar.layout.visibility = 0.0, "visible" if busy else "hidden"
