"""The grid explorer: sliders over layer and dimension, and everything that changes with them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from textwrap import shorten
from typing import Any

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import Progress
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels import plots
from mrl_tutorial.panels.base import WIDE, Panel, Picture, dropdown, int_slider, row, switch
from mrl_tutorial.panels.explorer_picture import (
    View,
    documents_html,
    explorer_picture,
    price_html,
    price_rows,
    static_figure,
)
from mrl_tutorial.panels.explorer_tables import ExplorerTables, Ranking
from mrl_tutorial.panels.job import Report
from mrl_tutorial.panels.markup import message
from mrl_tutorial.panels.train_box import Choice, TrainBox
from mrl_tutorial.panels.trainer import train_for

HERE = "trained here"


class GridExplorer(Panel):
    """Slide over every layer and dimension of one or several encoders on a task: quality, results and price follow.

    models: an Encoder, or name -> Encoder (all of one size). Quality is measured on `split` (dev: choose on dev, report
    on test) with at most `max_queries` queries, once, and cached. recipes: what the Train box offers. Display the
    object itself; `static()` is the same state as a plain plotly figure. Raises InputError as in `ExplorerTables`.
    """

    name = "explorer"

    def __init__(
        self,
        task: Any,
        models: Encoder | Mapping[str, Encoder],
        *,
        split: str = "dev",
        max_queries: int = 300,
        layer: int | None = None,
        dim: int | None = None,
        recipes: Sequence[str] = ("all-cells", "mrl", "full-size"),
        progress: Progress | None = None,
    ) -> None:
        self.model = model = ExplorerTables(task, models, split=split, max_queries=max_queries)
        self._task = task
        names = list(model.encoders)
        for name in names:
            model.measure(name, progress=progress)
        self._slots = names if HERE in names else [*names, HERE]
        self._finished: np.ndarray | None = None  # the heat map of the last model that was trained here
        self.models = switch("model", names)
        self.metric = dropdown("measure", [(plots.metric_title(x), x) for x in model.metrics], width="350px")
        self.layer = int_slider("layer", layer or model.layers[-1], model.layers[-1])
        self.dim = int_slider("dimension", dim or model.width, model.width)
        self.jumps = [w.Button(description=str(d), layout={"width": "84px"}) for d in model.dims]
        self.marks = w.HTML()
        examples = model.examples()
        self.query = w.Text(value=(examples or [""])[0], description="query", **WIDE)
        words = [(shorten(q, 100, placeholder=" …"), q) for q in examples]
        self.examples = dropdown("examples", [("choose an example …", ""), *words])
        self.documents = w.HTML(layout={"margin": "0"})
        self.trainer = TrainBox(recipes, self._train, self._trained, refresh=self._measured)
        below = [self.query, self.examples, self.documents]
        below += [w.HTML(message("Train heads on this task's train split, then slide again:")), self.trainer.box]
        jumps = row(self.marks, *self.jumps)
        jumps.layout.margin = "0 0 0 158px"
        self.start([row(self.models, self.metric), self.layer, self.dim, jumps], below if model.ranks else [])
        self.query.observe(lambda _: self.show(), "value")
        self.examples.observe(lambda change: self.query.set_trait("value", change["new"] or self.query.value), "value")
        for button, width in zip(self.jumps, model.dims, strict=True):
            button.on_click(lambda _, width=width: self.dim.set_trait("value", width))
        self.show()

    # -- what the reader sees ------------------------------------------------------------------------------------
    def show(self) -> None:
        """Bring the panel to the state of its controls; a wrong query becomes a message in the panel."""
        super().show()
        self._mark_trained_widths()
        if self.model.ranks:
            try:
                self.documents.value = documents_html(self._ranking(8), (self.model.layers[-1], self.model.width))
            except InputError as error:
                self.documents.value = ""
                self.say(str(error))
        self.write(price_html(self._price()))

    def picture(self) -> Picture:
        """Heat map and curves."""
        return explorer_picture(self._view())

    def static(self) -> go.Figure:
        """The present state as a plain figure, for where widgets do not run; documents as a table below."""
        ranking = None
        if self.model.ranks:
            with contextlib.suppress(InputError):  # the panel itself says what is wrong with the query
                ranking = self._ranking(5)
        return static_figure(self._view(), ranking, self._price())

    def _view(self) -> View:
        m, metric = self.model, self.metric.value
        cell = {"model": self.models.value, "metric": metric, "layer": self.layer.value, "dim": self.dim.value}
        return View(m.layers, m.dims, m.tables[metric], self._slots, trained=m.trained, items=m.items, **cell)

    def _ranking(self, k: int) -> Ranking:
        return self.model.rank(self.models.value, self.query.value, self.layer.value, self.dim.value, k)

    def _price(self) -> list[tuple[str, str, float]]:
        return price_rows(self.model.price(self.layer.value, self.dim.value))

    def _mark_trained_widths(self) -> None:
        trained = self.model.trained.get(self.models.value, ())
        for button, dim in zip(self.jumps, self.model.dims, strict=True):
            button.icon = "circle" if dim in trained else ""
            button.tooltip = f"go to dimension {dim}" + (", which training pushed on" if dim in trained else "")
        words = "trained widths (●):" if trained else "no width was trained; go to:"
        self.marks.value = f'<div class="mrl">{words}</div>'

    # -- training ------------------------------------------------------------------------------------------------
    def train(self, recipe: str | None = None, heads: str | None = None, seconds: int | None = None) -> None:
        """What the Train button does, but in the foreground, for a cell of a notebook: returns when it is done."""
        box = self.trainer
        for control, value in ((box.recipe, recipe), (box.heads, heads), (box.seconds, seconds)):
            if value is not None:
                control.value = value
        started, choice = time.perf_counter(), box.choice

        def report(share: float, label: str) -> bool:
            box.show(share, label)
            return True

        name = self._train(choice, report)
        if name is not None:
            self._trained(name)
        print(f"{choice.recipe}, {choice.heads} heads: trained and measured in {time.perf_counter() - started:.0f} s")

    def add(self, name: str, encoder: Encoder) -> None:
        """Show another model in the panel (replacing "trained here" if that is its name)."""
        if name not in self._slots:
            raise InputError(f"model {name!r} has no place in this panel: give it when making it, or name it {HERE!r}")
        self.model.add(name, encoder)
        self.model.measure(name)
        self._trained(name)

    def _train(self, choice: Choice, report: Report) -> str | None:
        encoder, known = self.model.frozen()
        trained = train_for(encoder, self._task, choice.recipe, choice.heads, choice.seconds, report, known)
        if trained is None:
            return None
        self.model.add(HERE, trained)
        # canceling ends training; the measuring that shows its result is short and goes on
        self.model.measure(HERE, first=self.layer.value, progress=lambda i, n, label: report(i / n, label) or True)
        self.model.embedded(HERE)
        return HERE

    def _measured(self) -> None:
        """While the new model is being measured: show its heat map as soon as it is there, and what is added to it."""
        new = self.model.tables[self.metric.value].get(HERE)
        if self.trainer.job is not None and new is not None and new is not self._finished and np.isfinite(new).any():
            self._finished = new
            self._trained(HERE)

    def _trained(self, name: str) -> None:
        if name not in self.models.options:
            self.models.options = [*self.models.options, name]
        if self.models.value == name:
            self.show()
        self.models.value = name
