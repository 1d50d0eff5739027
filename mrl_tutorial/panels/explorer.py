"""The grid explorer: sliders over layer and dimension, and everything that changes with them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import Progress
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.explorer_tables import ExplorerTables
from mrl_tutorial.panels.job import Job, Report
from mrl_tutorial.panels.packing import pack
from mrl_tutorial.panels.panel import Control, Panel, button, field, menu, slider, switch
from mrl_tutorial.panels.plots import metric_title
from mrl_tutorial.panels.trainer import train_for

HERE = "trained here"
CODE = """vectors = encoder.encode(texts, layer={layer})[:, :{dim}]  # the first {dim} coordinates after layer {layer}
vectors = mrl.normalize(vectors)  # cut first, then normalize
scores = mrl.normalize(encoder.encode(queries, layer={layer})[:, :{dim}]) @ vectors.T"""


class GridExplorer(Panel):
    """Slide over every layer and dimension of one or several encoders on a task: quality, results and price follow.

    models: an Encoder, or name -> Encoder (all of one size). Quality is measured on `split` (dev: choose on dev, report
    on test) with at most `max_queries` queries, once, and cached. recipes: what the Train button offers. examples: how
    many queries are looked up beforehand. Raises InputError as in `ExplorerTables`.
    """

    view = "explorer"

    def __init__(
        self,
        task: Any,
        models: Encoder | Mapping[str, Encoder],
        *,
        split: str = "dev",
        max_queries: int = 300,
        recipes: Sequence[str] = ("all-cells", "mrl", "full-size"),
        examples: int = 8,
        progress: Progress | None = None,
        **state: Any,
    ) -> None:
        self.model = model = ExplorerTables(task, models, split=split, max_queries=max_queries)
        self._task, self._recipes = task, tuple(recipes)
        self._job: Job | None = None
        self._answers: dict[str, tuple[Encoder, dict[str, Any]]] = {}  # of the examples, which take seconds a model
        self._fresh: dict[str, Any] = {}  # what a thread has measured; widgets change in the kernel's thread alone
        self._drawn = self._fresh  # what of it is shown
        for name in model.encoders:
            model.measure(name, progress=progress)
        self._examples = model.examples(examples)
        start = {"model": next(iter(model.encoders)), "metric": model.metrics[0], "layer": model.layers[-1]}
        start |= {"dim": model.width, "pin": ""}
        if model.ranks:
            start |= {"query": (self._examples or [""])[0]}
            start |= {"recipe": self._recipes[0], "heads": "per-layer", "seconds": 10}
        super().__init__(self._controls(), start | state, **self._tables())

    # -- what the browser gets -----------------------------------------------------------------------------------
    def _controls(self) -> list[list[Control]]:
        m = self.model
        measured = [name for name in m.encoders if name in m.tables[m.metrics[0]]]
        rows = [
            [switch("model", "model", measured), menu("metric", "measure", m.metrics, [*map(metric_title, m.metrics)])],
            [
                slider("layer", "layer", m.layers, play=True),
                slider("dim", "dimension", range(1, m.width + 1), play=True),
            ],
            [field("hidden", "pin")],
        ]
        if m.ranks:
            query = field("text", "query", "query", kernel=True)
            rows.append([menu("query", "example", self._examples, free=True), query])
            train = [menu("recipe", "train heads", self._recipes), menu("heads", "heads", ("per-layer", "shared"))]
            train.append(field("number", "seconds", "seconds", min=1, max=600))
            rows.append([{**one, "kernel": True} for one in train] + [button("Train", ask="train")])
        return rows

    def _tables(self) -> dict[str, Any]:
        m = self.model
        quality = {
            metric: {name: _packed(table) for name, table in tables.items()} for metric, tables in m.tables.items()
        }
        found = {
            "quality": quality,
            "dims": m.dims,
            "every": list(range(1, m.width + 1)),
            "layers": len(m.layers),
            "width": m.width,
            "items": m.items,
            "trained": m.trained,
            "price": m.price(),
            "code": CODE,
        }
        if m.ranks:
            answers = {name: self._answered(name) for name in m.encoders}
            shown = m.snippets(answer for found in answers.values() for answer in found.values())
            found |= {"n": len(self._task.corpus), "answers": answers, "documents": shown}
        return found

    def _answered(self, name: str) -> dict[str, Any]:
        """The examples in every cell of a model, looked up once."""
        encoder = self.model.encoders[name]
        if name not in self._answers or self._answers[name][0] is not encoder:
            self._answers[name] = encoder, {query: self.model.answer(name, query) for query in self._examples}
        return self._answers[name][1]

    # -- what the kernel is asked for ----------------------------------------------------------------------------
    def on_query(self, model: str, text: str) -> None:
        """Look a query up in every cell. Raises InputError for an empty or endless one."""
        answer = self.model.answer(model, text)
        found = {"answers": {model: {text: answer}}, "documents": self.model.snippets([answer])}
        self.status = {}
        here = {name: more for name, more in self.more.items() if name == HERE}
        recent = dict([item for item in self.more.items() if item[0] != HERE][-8:])
        self.more = {**here, **recent, f"{model}: {text}": pack(found)}

    def on_train(self, state: dict[str, Any]) -> None:
        """The Train button: train in a thread, so that the kernel stays free."""
        if self._job is None or not self._job.running:
            self.status = {"share": 0.0, "label": "starting"}
            self._job = Job(
                lambda report: self._train(state, report),
                on_progress=lambda share, label: self._report(share, label),
                on_done=self._ended,
                on_error=lambda error: setattr(self, "status", {"error": _in_words(error)}),
            ).start()

    def on_cancel(self) -> None:
        """The Cancel button: what has been trained so far is kept."""
        if self._job is not None:
            self._job.cancel()

    def train(self, recipe: str | None = None, heads: str | None = None, seconds: int | None = None) -> None:
        """What the Train button does, but in the foreground, for a cell of a notebook: returns when it is done."""
        if self._job is not None and self._job.running:
            raise InputError("the Train button is still at work: wait for it, or cancel it")
        given = {"recipe": recipe, "heads": heads, "seconds": seconds}
        self.set(**{key: value for key, value in given.items() if value is not None})
        started, s = time.perf_counter(), self.state
        self._ended(self._train(s, lambda share, label: self._report(share, label)))
        seconds_taken = time.perf_counter() - started
        print(f"{s['recipe']}, {s['heads']} heads: trained and measured in {seconds_taken:.0f} s")

    def add(self, name: str, encoder: Encoder) -> None:
        """Show another model in the panel, or replace the one of that name."""
        self.model.add(name, encoder)
        self.model.measure(name)
        self._show(name)

    def _report(self, share: float, label: str) -> bool:
        if self._fresh is not self._drawn:
            self._drawn = self._fresh
            self.more = {**self.more, HERE: pack(self._drawn)}
            self.controls["model"]["values"] = list(self.model.encoders)
            if self.state["model"] != HERE:
                self.set(model=HERE)
        self.status = {"share": min(1.0, max(0.0, share)), "label": label}
        return True

    def _train(self, state: Mapping[str, Any], report: Report) -> str | None:
        encoder, known = self.model.frozen()
        settings = state["recipe"], state["heads"], state["seconds"]
        trained = train_for(encoder, self._task, *settings, report, known)
        if trained is None:
            return None
        self.model.add(HERE, trained)

        def measured(done: int, total: int, label: str) -> bool:
            # canceling ends training; the measuring that shows its result is short and goes on
            tables = {metric: {HERE: _packed(found[HERE])} for metric, found in self.model.tables.items()}
            if np.isfinite(self.model.tables[self.model.metrics[0]][HERE]).any():
                self._fresh = {"quality": tables, "controls": self._controls()}
            report(done / total, label)
            return True

        self.model.measure(HERE, first=state["layer"], progress=measured)
        self.model.embedded(HERE)
        if self.model.ranks:
            report(1.0, "looking up the examples")
            self._answered(HERE)
        return HERE

    def _ended(self, name: str | None) -> None:
        try:
            if name is not None:
                self._show(name)
        finally:
            self.status = {"label": "canceled before anything was trained"} if name is None else {}

    def _show(self, name: str) -> None:
        self.publish(controls=self._controls(), **self._tables())
        self.set(model=name)


def _packed(table: np.ndarray) -> np.ndarray:
    return table.astype(np.float32)


def _in_words(error: Exception) -> str:
    return str(error) if isinstance(error, InputError) else f"training failed: {type(error).__name__}: {error}"
