"""The loss lab: paint loss weights, train in seconds, see what they buy, and whether to believe it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Term
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels import loss_lab_tables as tables
from mrl_tutorial.panels.job import Job, Report
from mrl_tutorial.panels.loss_lab_tables import START, TERMS
from mrl_tutorial.panels.loss_lab_work import Done, Work
from mrl_tutorial.panels.packing import pack
from mrl_tutorial.panels.panel import Control, Panel, button, field, menu, switch
from mrl_tutorial.recipes.recipe_file import RecipeFile
from mrl_tutorial.training import lab
from mrl_tutorial.training.lab import LabRun, LabStore

BRUSHES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)


class LossLab(Panel):
    """Paint weights on the layer x dimension grid, train shared heads from the whitened start, and compare the runs.

    task: with texts and training pairs. encoder: heads that it has are left out. Choosing is done on `split`; test is
    measured once a run, when it is asked for. terms: functions of your own; others are found by name where the notebook
    defines them. store: where runs are kept, default a folder of the cache that belongs to this model and task. Raises
    InputError where the task cannot be trained on or measured.

    `panel.set(preset="mrl")` paints, `panel.train("mine")` trains as the button does, and `panel.recipe("mine")` is
    what was trained, to write to a file.
    """

    view = "lab"

    def __init__(
        self, task: Any, encoder: Encoder, *, split: str = "dev", terms: Sequence[Term] = (),
        store: LabStore | None = None, **state: Any,
    ) -> None:  # fmt: skip
        encoder = encoder.with_heads(None)
        self.task, self.encoder, self.split = task, encoder, split
        self.store = store or LabStore.of(encoder, task)
        self.presets = tables.presets(encoder)
        self.own = {lab.check_term(function, encoder): function for function in terms}
        self.owned = set(self.own)  # these, and what else the reader has called them
        self.work = Work(task, encoder, split, self.store)
        self.start = self.work.start()
        self.runs = self._read()
        self._pairs: dict[tuple[str, str], np.ndarray] = {}
        self._queue: list[tuple[str, Callable[[Report], Done | None]]] = []
        self._job: Job | None = None
        name = next(iter(self.presets))
        first: dict[str, Any] = {"recipe": self.presets[name], "preset": name, "layers": "", "term": "main", "past": []}
        first |= {"brush": 1.0, "own": "", "name": "mine", "steps": lab.PREVIEW["steps"], "seed": 0, "heads": "shared"}
        first |= {"layer": encoder.n_layers, "dim": encoder.width, "run": self.runs[-1].name, "against": START}
        first["price"] = "bytes"
        super().__init__(self._controls(), first | state, **self._tables())

    def set(self, **changes: Any) -> None:
        """As `Panel.set`; a preset brings its recipe."""
        new = {"recipe": self.presets[changes["preset"]]} if changes.get("preset") in self.presets else {}
        super().set(**(new | changes))

    def recipe(self, run: str) -> RecipeFile:
        """The recipe file of a run, with the settings that it was trained with; `write` keeps it."""
        return self._run(run).recipe

    # -- what the buttons ask for ---------------------------------------------------------------------------------
    def on_own(self, name: str) -> None:
        """Take up a term of the reader's own. Raises InputError where there is none, or it is wrong."""
        self._own(name)
        self.publish(**self._tables())

    def on_train(self, state: dict[str, Any]) -> None:
        """Train what is painted, in a thread."""
        self._queue_training(self._painted(state))

    def on_confirm(self, state: dict[str, Any]) -> None:
        """Train the recipe of the run on show again, this time the whole backbone: minutes, and it can be resumed."""
        run = self._run(state["run"])
        if run.full or run.key == self.start.key:
            raise InputError(f"{run.name!r} is no preview: choose a run that trained heads")
        recipe = lab.with_settings(replace(run.recipe, name=f"{run.name}, full"), **lab.CONFIRM)
        self._queue_training(recipe)

    def on_test(self, state: dict[str, Any]) -> None:
        """Measure the run on show on test, once."""
        run = self._run(state["run"])
        if run.test is None:
            own = self._own_terms(run.recipe)
            self._enqueue(f"test of {run.name}", lambda report: self.work.test(run, own, report))

    def on_delete(self, state: dict[str, Any]) -> None:
        """Forget the run on show, here and on disk."""
        run = self._run(state["run"])
        if run.key == self.start.key:
            raise InputError(f"{START!r} is what every run begins with: it stays")
        self.store.delete(run)
        self._show([x for x in self.runs if x.key != run.key], START)

    def on_reload(self, state: dict[str, Any]) -> None:
        """Read what other labs have saved meanwhile."""
        self._show(self._read(), state["run"])

    def on_cancel(self) -> None:
        """Stop what trains, and what waits."""
        self._queue.clear()
        if self._job is not None:
            self._job.cancel()

    def train(self, name: str | None = None, **settings: Any) -> LabRun:
        """What the Train button does, in the foreground: returns the new run when it is saved and shown."""
        self.set(**({"name": name} if name else {}), **settings)
        recipe = self._painted(self.state)
        found = self.work.train(recipe, self._own_terms(recipe), lambda share, label: True)
        assert found is not None  # nobody can cancel
        self._ended(found)
        return self.runs[-1]

    # -- the work -------------------------------------------------------------------------------------------------
    def _queue_training(self, recipe: RecipeFile) -> None:
        own = self._own_terms(recipe)
        self._enqueue(recipe.name, lambda report: self.work.train(recipe, own, report))

    def _enqueue(self, name: str, work: Callable[[Report], Done | None]) -> None:
        self._queue.append((name, work))
        if self._job is None or not self._job.running:
            self._next()

    def _next(self) -> None:
        if not self._queue:
            return
        name, work = self._queue.pop(0)
        self.status = {"share": 0.0, "label": f"{name}: starting"}
        self._job = Job(work, on_progress=self._progress, on_done=self._ended, on_error=self._failed)
        self._job.start()  # a short one may have ended when this returns

    def _progress(self, share: float, label: str) -> None:
        waiting = f"; {len(self._queue)} waiting" if self._queue else ""
        self.more = {"live": pack({"live": self.work.live})} if self.work.live else {}
        self.status = {"share": share, "label": label + waiting}

    def _ended(self, done: Done | None) -> None:
        self.work.live = {}
        if done is None:
            self.more, self.status = {}, {"label": "canceled: nothing was kept; full training goes on where it stopped"}
        else:
            run, new = done
            runs = [*self.runs, run] if new else [run if x.key == run.key else x for x in self.runs]
            self.start = next(x for x in runs if x.key == self.start.key)
            self.status, self.work.unsaved = ({"error": self.work.unsaved} if self.work.unsaved else {}), ""
            self._show(runs, runs[-1].name if new else run.name)
        self._job = None
        self._next()

    def _failed(self, error: Exception) -> None:
        words = str(error) if isinstance(error, InputError | ArithmeticError) else f"{type(error).__name__}: {error}"
        self.work.live, self._job = {}, None
        self.more, self.status = {}, {"error": words}
        self._next()

    # -- what the browser gets ------------------------------------------------------------------------------------
    def _controls(self) -> list[list[Control]]:
        names, ways = [run.name for run in self.runs], list(tables.fixed_tables(self.encoder, self.task, ())["down"])
        brush = switch("brush", "brush", BRUSHES, ["erase", *(f"{x:g}" for x in BRUSHES[1:])])
        preset = menu("preset", "start from", list(self.presets), free=True)
        weights = menu("layers", "layer weights", ["", *ways], ["as painted", *ways], free=True)
        settings: list[Control] = [
            field("text", "name", "name of the run"),
            field("number", "steps", "steps", min=1, max=5000),
        ]
        settings += [field("number", "seed", "seed", min=0, max=2**31), menu("heads", "heads", ("shared", "per-layer"))]
        price = switch("price", "quality against", ("bytes", "encoding"), ["bytes of a vector", "encoding a query"])
        asks = [button("Show test", ask="test"), button("Confirm by full training", ask="confirm")]
        asks = [one | {"queues": True} for one in asks]
        asks += [button("Delete this run", ask="delete"), button("Read runs again", ask="reload")]
        return [
            [preset, weights, brush, {**field("text", "own", "your own term"), "kernel": True}],
            [*({**one, "kernel": True} for one in settings), button("Train", ask="train") | {"queues": True}],
            [menu("run", "run", names), menu("against", "against", names), *asks, price],
            [field("hidden", name) for name in ("recipe", "past", "term", "layer", "dim")],
        ]

    def _tables(self) -> dict[str, Any]:
        about = {"dims": self.encoder.dims, "task": self.task.name, "kind": self.task.kind, "split": self.split}
        fixed = tables.fixed_tables(self.encoder, self.task, list(self.own))
        fixed["owned"] = sorted(self.owned)
        return {**fixed, **tables.run_tables(self.runs, self._pairs, about), "start": START}

    def _read(self) -> list[LabRun]:
        return lab.renamed([self.start, *(run for run in self.store.load() if run.dev.shape == self.start.dev.shape)])

    def _show(self, runs: list[LabRun], name: str) -> None:
        self.runs = lab.renamed(runs)
        names = [run.name for run in self.runs]
        shown = {"run": name if name in names else names[-1], "against": START}
        if self.state["against"] in names and self.state["against"] != shown["run"]:
            shown["against"] = self.state["against"]
        self.publish(controls=self._controls(), **self._tables())
        self.set(**shown)

    def _run(self, name: str) -> LabRun:
        found = next((run for run in self.runs if run.name == name), None)
        if found is None:
            raise InputError(f"there is no run {name!r}: choose from {', '.join(run.name for run in self.runs)}")
        return found

    def _painted(self, state: dict[str, Any]) -> RecipeFile:
        """What is painted, with its settings. Raises InputError where it cannot be trained."""
        self._own_terms(RecipeFile("", state["recipe"]["terms"]))
        recipe = tables.of_state(state, self.encoder, self.own)
        return lab.with_settings(recipe, **{name: state[name] for name in ("steps", "seed", "heads")})

    def _own_terms(self, recipe: RecipeFile) -> list[Term]:
        return [self._own(one["term"]) for one in recipe.terms if one["term"] not in TERMS]

    def _own(self, name: str) -> Term:
        """The newest definition of a term of the reader's own, tried out. Raises InputError where it is wrong."""
        function = tables.defined(name, self.own)
        found = lab.check_term(function, self.encoder)
        self.own[found], self.owned = function, self.owned | {name, found}
        return function
