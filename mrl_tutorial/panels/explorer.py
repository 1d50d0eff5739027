"""The grid explorer: sliders over layer and dimension, and everything that changes with them."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.explorer_tables import ExplorerTables
from mrl_tutorial.panels.job import Report, WorkingPanel, give_back, in_words
from mrl_tutorial.panels.packing import pack
from mrl_tutorial.panels.panel import Control, button, field, menu, slider, switch
from mrl_tutorial.panels.plots import metric_title
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.loop import train
from mrl_tutorial.training.trainables import Known

HERE = "trained here"
RECIPES = ("all-cells", "mrl", "full-size")  # what the Train button offers
CODE = """vectors = encoder.encode(texts, layer={layer})[:, :{dim}]  # the first {dim} coordinates after layer {layer}
vectors = mrl.normalize(vectors)  # cut first, then normalize
scores = mrl.normalize(encoder.encode(queries, layer={layer})[:, :{dim}]) @ vectors.T"""
BATCH = 128
TRIAL = 6  # steps that are timed first


class GridExplorer(WorkingPanel):
    """Slide over every layer and dimension of one or several encoders on a task: quality, results and price follow.

    models: an Encoder, or name -> Encoder (all of one size). Quality is measured on `split` (dev: choose on dev, report
    on test) with at most `max_queries` queries, once, and cached. examples: how many queries are looked up beforehand.
    Raises InputError as in `ExplorerTables`.
    """

    view = "explorer"

    def __init__(
        self,
        task: Any,
        models: Encoder | Mapping[str, Encoder],
        *,
        split: str = "dev",
        max_queries: int = 300,
        examples: int = 8,
        **state: Any,
    ) -> None:
        self.model = model = ExplorerTables(task, models, split=split, max_queries=max_queries)
        self._task = task
        self._fresh: dict[str, Any] = {}  # what a thread has measured; widgets change in the kernel's thread alone
        self._offered = False  # whether the model in training has been brought on show: after that the reader chooses
        for name in model.encoders:
            model.measure(name)
        self._examples = model.examples(examples)
        start = {"model": next(iter(model.encoders)), "metric": model.metrics[0], "layer": model.layers[-1]}
        start |= {"dim": model.width, "pin": ""}
        if model.ranks:
            start |= {"query": (self._examples or [""])[0]}
            start |= {"recipe": RECIPES[0], "heads": "per-layer", "seconds": 10}
        super().__init__(self._controls(), start | state, **self._tables())

    def _controls(self) -> list[list[Control]]:
        m = self.model
        measures = menu("metric", "measure", m.metrics, [*map(metric_title, m.metrics)])
        dims = slider("dim", "dimension", range(1, m.width + 1), play=True)
        rows = [[switch("model", "model", list(m.encoders)), measures]]
        rows += [[slider("layer", "layer", m.layers, play=True), dims], [field("hidden", "pin")]]
        if m.ranks:
            query = field("text", "query", "query", kernel=True)
            rows.append([menu("query", "example", self._examples, free=True), query])
            train = [menu("recipe", "train heads", RECIPES), menu("heads", "heads", ("per-layer", "shared"))]
            train.append(field("number", "seconds", "seconds", min=1, max=600))
            rows.append([{**one, "kernel": True} for one in train] + [button("Train", ask="train")])
        return rows

    def _tables(self) -> dict[str, Any]:
        m = self.model
        found = {
            "quality": self._quality(m.encoders),
            "dims": m.dims,
            "every": list(range(1, m.width + 1)),
            "layers": len(m.layers),
            "width": m.width,
            "items": m.items,
            "trained": {name: encoder.trained_dims for name, encoder in m.encoders.items()},
            "price": m.price(),
            "code": CODE,
        }
        if m.ranks:
            answers = {name: {query: m.answer(name, query) for query in self._examples} for name in m.encoders}
            shown = m.snippets(answer for found in answers.values() for answer in found.values())
            found |= {"n": len(m.task.corpus), "answers": answers, "documents": shown}
        return found

    def _quality(self, names: Sequence[str] | Mapping[str, Any]) -> dict[str, dict[str, np.ndarray]]:
        tables = self.model.tables
        return {metric: {name: found[name].astype(np.float32) for name in names} for metric, found in tables.items()}

    # -- what the kernel is asked for ----------------------------------------------------------------------------
    def on_query(self, model: str, text: str) -> None:
        """Look a query up in every cell. Raises InputError for an empty or endless one."""
        answer = self.model.answer(model, text, _encoding(self.progress))
        found = {"answers": {model: {text: answer}}, "documents": self.model.snippets([answer])}
        self.status = {}
        here = {name: more for name, more in self.more.items() if name == HERE}
        recent = dict([item for item in self.more.items() if item[0] != HERE][-8:])
        self.more = {**here, **recent, f"{model}: {text}": pack(found)}

    def on_train(self, state: dict[str, Any]) -> None:
        """The Train button: train in a thread, so that the kernel stays free; what Cancel leaves is kept."""
        if not self.busy:
            self.status = {"share": 0.0, "label": "starting"}
            self.begin(lambda report: self._train(state, report), self._ended)

    def train(self, **settings: Any) -> None:
        """What the Train button does, but in the foreground, for a cell of a notebook: returns when it is done.

        settings: recipe, heads and seconds, where they are to be others than those on show."""
        self.check_free()
        self.set(**settings)
        started, s = time.perf_counter(), self.state
        if "recipe" not in s:
            raise InputError(f"{self._task.name} is shown without training: give a task of kind retrieval or pairs")
        try:
            self._ended(self._train(s, self.progress))
        except BaseException:  # such as an interruption: it leaves no bar behind
            self.status = {}
            raise
        seconds = time.perf_counter() - started
        print(f"{s['recipe']}, {s['heads']} heads: trained and measured in {seconds:.0f} s")

    def add(self, name: str, encoder: Encoder) -> None:
        """Show another model in the panel, or replace the one of that name."""
        self.model.add(name, encoder)
        self.model.measure(name)
        self._show()
        self.set(model=name)
        give_back()

    def progress(self, share: float, label: str) -> bool:
        """As for every panel; what has been measured of a model in training is shown on the way."""
        fresh, self._fresh = self._fresh, {}
        if fresh:
            self.more = {**self.more, HERE: pack(fresh)}
            self.controls["model"]["values"] = list(self.model.encoders)
            self._offer(HERE)
        return super().progress(share, label)

    def _offer(self, name: str) -> None:
        if not self._offered:
            self.set(model=name)
        self._offered = True

    def _train(self, state: Mapping[str, Any], report: Report) -> str | None:
        self._offered = False
        try:
            encoder, known = self.model.frozen(_encoding(report))
            trained = train_for(encoder, self._task, state["recipe"], state["heads"], state["seconds"], report, known)
        except Canceled:
            return None
        self.model.add(HERE, trained)

        def measured(share: float, label: str) -> None:
            # canceling ends training; the measuring that shows its result is short and goes on
            if np.isfinite(self.model.tables[self.model.metrics[0]][HERE]).any():
                self._fresh = {"quality": self._quality([HERE]), "controls": self._controls()}
            report(share, label)

        self.model.measure(HERE, first=state["layer"], report=measured)
        report(1.0, "looking up the examples")
        for query in self._examples:
            self.model.answer(HERE, query)
        return HERE

    def _ended(self, found: str | Exception | None) -> None:
        if isinstance(found, str):
            self._show()
            self._offer(found)
        canceled = {"label": "canceled before anything was trained"} if found is None else {}
        self.status = {"error": in_words(found)} if isinstance(found, Exception) else canceled

    def _show(self) -> None:
        self.publish(controls=self._controls(), **self._tables())


class Canceled(Exception):
    """Leaves the encoding when the reader cancels; training itself ends by its own answer."""


def _encoding(report: Report) -> Callable[[int, int, str], None]:
    def progress(done: int, total: int, label: str) -> None:
        if label.startswith("encoding") and not report(done / total, f"{label} {total:,} texts, once"):
            raise Canceled

    return progress


def train_for(
    encoder: Encoder, task: Any, recipe: str, heads: str, seconds: float, report: Report, known: Known | None = None
) -> Encoder:
    """Train `heads` ("shared" or "per-layer") on the task's training split for about `seconds`, encoding excluded: how
    many steps fit is measured, so that the learning rate comes down just as time runs out.

    report(share, label) -> False cancels: what has been trained is returned. known: as in `train`. A machine that is
    busier than in the trial may take up to twice the time. Raises Canceled while it encodes, InputError as in `train`.
    """
    config = TrainConfig(heads=heads, batch_size=BATCH, cache=False)
    trial = train(encoder, task, recipe, config, known=known, progress=_encoding(report), steps=TRIAL)
    steps = max(10, round(seconds / (trial.seconds / TRIAL)))
    began = time.monotonic()

    def on_step(step: int, total: int, loss: float) -> bool:
        passed = time.monotonic() - began
        left = passed / step * (total - step)
        going = report(step / total, f"training: step {step} of {total}, loss {loss:.2f}, {left:.0f} s left")
        return going and passed < 2 * seconds

    result = train(encoder, task, recipe, config, known=known, progress=lambda *_: None, on_step=on_step, steps=steps)
    return result.encoder
