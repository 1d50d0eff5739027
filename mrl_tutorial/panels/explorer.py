"""The grid explorer: sliders over layer and dimension, and everything that changes with them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels import explorer_figure as picture
from mrl_tutorial.panels import explorer_html as text
from mrl_tutorial.panels.canvas import canvas
from mrl_tutorial.panels.explorer_model import ExplorerModel
from mrl_tutorial.panels.fit import Fit
from mrl_tutorial.panels.plots import figures
from mrl_tutorial.panels.train_box import TrainBox
from mrl_tutorial.panels.trainer import train_for

HERE = "trained here"


class GridExplorer:
    """Slide over every layer and dimension of one or several encoders on a task: quality, results and price follow.

    models: an Encoder, or name -> Encoder (all of one size). Quality is measured on `split` (dev: choose on dev, report
    on test) with at most `max_queries` queries, once, and cached. recipes: what the Train box offers. Display the
    object itself; `static()` is the same state as a plain plotly figure. Raises InputError as ExplorerModel does.
    """

    def __init__(
        self,
        task,
        models: Encoder | Mapping[str, Encoder],
        *,
        split: str = "dev",
        max_queries: int = 300,
        seed: int = 0,
        layer: int | None = None,
        dim: int | None = None,
        recipes: Sequence[str] = ("all-cells", "mrl", "full-size"),
        progress=None,
    ) -> None:
        self.model = ExplorerModel(task, models, split=split, max_queries=max_queries, seed=seed)
        self._train_task, self._recipes = task, recipes
        for name in list(self.model.encoders):
            self.model.measure(name, progress=progress)
        self._slots = [*self.model.encoders, *([] if HERE in self.model.encoders else [HERE])]
        self._before: picture.View | None = None
        self._seen: np.ndarray | None = None
        self._build(layer or self.model.layers[-1], dim or self.model.width)
        self._wire()
        self.show()

    # -- what the reader moves -----------------------------------------------------------------------------------
    def _build(self, layer: int, dim: int) -> None:
        m, wide = self.model, {"description_width": "90px"}
        names = list(m.encoders)
        self.models = w.ToggleButtons(
            options=names, value=names[0], style={"button_width": "130px"}, layout=w.Layout(width="auto")
        )
        self.metric = w.Dropdown(
            options=[(figures.metric_title(x), x) for x in m.metrics], description="measure", style=wide
        )
        slide = {"style": wide, "layout": w.Layout(width="98%"), "continuous_update": True}
        self.layer = w.IntSlider(value=layer, min=1, max=m.layers[-1], description="layer", **slide)
        self.dim = w.IntSlider(value=dim, min=1, max=m.width, description="dimension", **slide)
        self.jumps = [w.Button(description=str(d), layout=w.Layout(width="84px")) for d in m.dims]
        self.marks = w.HTML()
        examples = m.examples()
        box = w.Layout(width="98%")
        self.query = w.Text(value=(examples or [""])[0], description="query", style=wide, layout=box)
        self.examples = w.Dropdown(
            options=[("choose an example …", ""), *((text.shorten(q, 100), q) for q in examples)], value="",
            description="examples", style=wide, layout=box,
        )  # fmt: skip
        self.message, self.documents, self.price = w.HTML(), w.HTML(), w.HTML()
        self.figure, shown = canvas(picture.build(self._view(), self._slots))
        self.trainer = TrainBox(self._recipes, self._train, self._trained, refresh=self._refresh)
        for widget in (self.message, self.documents, self.price, self.marks):
            widget.layout.margin = "0"
        jumps = w.HBox([self.marks, *self.jumps], layout=w.Layout(flex_flow="row wrap", margin="0 0 0 98px"))
        results = [self.query, self.examples, self.documents] if m.ranks else []
        training = [w.HTML(text.message("Train heads on this task's train split, then slide again:")), self.trainer.box]
        switches = w.HBox([w.Label("model"), self.models, self.metric])
        switches.layout.flex_flow, switches.layout.margin = "row wrap", "0 0 0 48px"
        self.box = w.VBox(
            [w.HTML(text.STYLE), Fit(), switches, self.layer, self.dim, jumps, self.message, shown, self.price,
             *results, *(training if m.ranks else [])],
        )  # fmt: skip
        self.box.add_class("mrl-explorer")

    def _wire(self) -> None:
        for control in (self.layer, self.dim, self.models, self.metric, self.query):
            control.observe(lambda _: self.show(), "value")
        self.examples.observe(self._take_example, "value")
        for button, dim in zip(self.jumps, self.model.dims, strict=True):
            button.on_click(lambda _, dim=dim: self.dim.set_trait("value", dim))

    def _take_example(self, change: Any) -> None:
        if change["new"]:
            self.query.value = change["new"]

    # -- what the reader sees ------------------------------------------------------------------------------------
    def show(self) -> None:
        """Bring the panel to the state of its controls; a wrong input becomes a message in the panel."""
        view = self._view()
        picture.change(self.figure, view, self._before, self._slots)
        if self._before is None or view.model != self._before.model:
            self._mark(view)
        self._before = view
        self._rank(view)
        self.price.value = text.price(text.price_rows(self.model.price(view.layer, view.dim)))

    def _rank(self, view: picture.View) -> None:
        if not self.model.ranks:
            return
        try:
            ranking = self.model.rank(view.model, self.query.value, view.layer, view.dim)
            self.documents.value = text.documents(ranking, (self.model.layers[-1], self.model.width))
            self.message.value = ""
        except InputError as error:
            self.documents.value, self.message.value = "", text.message(str(error), error=True)

    def static(self) -> go.Figure:
        """The present state as a plain figure, for where widgets do not run; documents as a table below."""
        view = self._view()
        ranking = None
        if self.model.ranks:
            try:
                ranking = self.model.rank(view.model, self.query.value, view.layer, view.dim, k=5)
            except InputError:
                pass  # the panel itself says what is wrong with the query
        rows = text.price_rows(self.model.price(view.layer, view.dim))
        return picture.static(view, self._slots, ranking, rows)

    def _view(self) -> picture.View:
        m = self.model
        metric = self.metric.value
        return picture.View(
            layers=m.layers, dims=m.dims, tables=m.tables[metric], model=self.models.value, metric=metric,
            layer=self.layer.value, dim=self.dim.value, trained=m.trained, items=m.items,
        )  # fmt: skip

    def _mark(self, view: picture.View) -> None:
        trained = view.trained.get(view.model, ())
        for button, dim in zip(self.jumps, view.dims, strict=True):
            button.icon = "circle" if dim in trained else ""
            button.tooltip = f"go to dimension {dim}" + (", which training pushed" if dim in trained else "")
        note = "trained widths (●):" if trained else "no width was trained; go to:"
        self.marks.value = f'<div class="mrl">{note}</div>'

    # -- training ------------------------------------------------------------------------------------------------
    def _train(self, choice, report) -> str | None:
        encoder = self.model.remembering()
        trained = train_for(encoder, self._train_task, choice.recipe, choice.heads, choice.seconds, report)
        if trained is None:
            return None
        self.model.add(HERE, trained)
        # cancelling ends training; the measuring that shows its result is short and goes on
        self.model.measure(HERE, first=self.layer.value, progress=lambda i, n, label: report(i / n, label) or True)
        self.model.embedded(HERE)
        return HERE

    def _refresh(self) -> None:
        """While the new model is being measured: show it as soon as its heat map is there, and what is added to it."""
        tables = self.model.tables[self.metric.value]
        new = tables.get(HERE)
        if self.trainer.job is None or new is None or new is self._seen or not np.isfinite(new).any():
            return
        self._seen = new
        self._trained(HERE)

    def _trained(self, name: str) -> None:
        if name not in self.models.options:
            self.models.options = [*self.models.options, name]
        if self.models.value == name:
            self._before = None
            self.show()
        self.models.value = name

    def train(self, recipe: str | None = None, heads: str | None = None, seconds: int | None = None) -> None:
        """What the Train button does, but in the foreground, for a cell of a notebook: returns when it is done."""
        box = self.trainer
        for control, value in ((box.recipe, recipe), (box.heads, heads), (box.seconds, seconds)):
            if value is not None:
                control.value = value
        started, choice = time.perf_counter(), box.choice
        name = self._train(choice, lambda share, label: box.show(share, label) or True)
        self._trained(name)
        print(f"{choice.recipe}, {choice.heads} heads: trained and measured in {time.perf_counter() - started:.0f} s")

    def add(self, name: str, encoder: Encoder) -> None:
        """Show another model in the panel (in place of "trained here" where that is its name)."""
        if name not in self._slots:
            raise InputError(f"model {name!r} has no place in this panel: give it when making it, or name it {HERE!r}")
        self.model.add(name, encoder)
        self.model.measure(name)
        self._trained(name)

    def _repr_mimebundle_(self, **options: Any) -> Any:
        return self.box._repr_mimebundle_(**options)
