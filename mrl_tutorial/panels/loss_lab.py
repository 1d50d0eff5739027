"""The loss lab: paint loss weights, train in seconds, see what they buy, and whether to believe it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import NotWritten
from mrl_tutorial.losses import Term
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels import loss_lab_tables as tables
from mrl_tutorial.panels.job import Report, Work, WorkingPanel, in_words
from mrl_tutorial.panels.loss_lab_tables import START, TERMS
from mrl_tutorial.panels.packing import pack
from mrl_tutorial.panels.panel import Control
from mrl_tutorial.recipes.recipe_file import RecipeFile
from mrl_tutorial.training import lab
from mrl_tutorial.training.lab import LabRun, LabStore

POINTS = 100  # of a loss curve
CANCELED = {"label": "canceled: no run was added; full training goes on where it stopped"}


class LossLab(WorkingPanel):
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
        self,
        task: Any,
        encoder: Encoder,
        *,
        split: str = "dev",
        terms: Sequence[Term] = (),
        store: LabStore | None = None,
        **state: Any,
    ) -> None:
        self.task, self.encoder, self.split = task, encoder.with_heads(None), split
        self.store = store or LabStore.of(self.encoder, task)
        self.presets = tables.presets(self.encoder)
        self.own = {lab.check_term(function, self.encoder): function for function in terms}
        self.owned = set(self.own)  # these, and what else the reader has called them
        begun = lab.whitened_start(self.encoder, task)
        self.runs = [LabRun(START, RecipeFile(START, []), lab.measure(begun, task, split), made=0.0)]
        self._unsaved: list[LabRun] = []  # what a full disk did not take
        self.runs = self._stored()
        self._pairs: dict[tuple[str, str], np.ndarray] = {}
        self._queue: list[tuple[str, Work]] = []
        self._live: dict[str, Any] = {}  # of what trains: name, losses at every `stride` steps, quality (NaN: not yet)
        name = next(iter(self.presets))
        first: dict[str, Any] = {"recipe": self.presets[name], "preset": name, "layers": "", "term": "main", "past": []}
        first |= {"brush": 1.0, "own": "", "name": "mine", "steps": lab.PREVIEW["steps"], "seed": 0, "heads": "shared"}
        first |= {"layer": encoder.n_layers, "dim": encoder.width, "run": self.runs[-1].name, "against": START}
        first |= {"price": "bytes"} | tables.brought(state, first, self.presets) | {"past": []}
        super().__init__(self._controls(), first, **self._tables())

    def set(self, **changes: Any) -> None:
        """As `Panel.set`; a preset, layer weights or a recipe bring their painting, which Undo takes back."""
        super().set(**tables.brought(changes, self.state, self.presets))

    def recipe(self, run: str) -> RecipeFile:
        """The recipe file of a run, with the settings that it was trained with; `write` keeps it."""
        return self._run(run).recipe

    def train(self, name: str | None = None, **settings: Any) -> LabRun:
        """What the Train button does, in the foreground: returns the new run when it is saved and shown.

        Raises InputError as the button does, and while it is at work."""
        self.check_free()
        self.set(**({"name": name} if name else {}), **settings)
        recipe, self.status = self._painted(self.state), {}
        self._ended(self._trained(recipe, self._own_terms(recipe), lambda share, label: True))
        return self.runs[-1]

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
        if run.full or run is self.runs[0]:
            raise InputError(f"{run.name!r} is not a preview: choose a run that trained heads, or a few full steps")
        self._queue_training(lab.with_settings(replace(run.recipe, name=f"{run.name}, full"), **lab.CONFIRM))

    def on_test(self, state: dict[str, Any]) -> None:
        """Measure the run on show on test, once."""
        run = self._run(state["run"])
        if run.test is None:
            own = self._own_terms(run.recipe)
            self._enqueue(f"test of {run.name}", lambda report: self._tested(run, own, report))

    def on_delete(self, state: dict[str, Any]) -> None:
        """Forget the run on show, here and on disk."""
        run = self._run(state["run"])
        if run is self.runs[0]:
            raise InputError(f"{START!r} is what every run begins with: it stays")
        self.store.delete(run)
        self._unsaved = [one for one in self._unsaved if one.key != run.key]
        self._show([x for x in self.runs if x is not run], START)

    def on_reload(self, state: dict[str, Any]) -> None:
        """Read what other labs have saved meanwhile."""
        self._show(self._stored(), state["run"])

    def on_cancel(self) -> None:
        """Stop what trains, and what waits."""
        self._queue.clear()
        super().on_cancel()

    # -- the work, in a thread ------------------------------------------------------------------------------------
    def _trained(self, recipe: RecipeFile, own: Sequence[Term], report: Report) -> LabRun | None:
        """Train and measure; None where it was canceled. Raises InputError and NonFiniteLoss as `train` does."""
        losses: dict[str, list[float | None]] = {}
        grid = np.full((self.encoder.n_layers, len(self.encoder.dims)), np.nan, np.float32)

        def watch(found: dict[str, np.ndarray]) -> None:
            for term, table in found.items():
                line = losses.setdefault(term, [])
                seen = not np.isnan(table).all()  # a step may sample none of a term's cells: its line goes on
                line.append(round(float(np.nanmean(table)), 5) if seen else (line or [None])[-1])

        def on_step(step: int, steps: int, loss: float) -> bool:
            stride = -(-steps // POINTS)
            lines = {term: line[::stride] for term, line in losses.items()}
            self._live = {"name": recipe.name, "losses": lines, "stride": stride, "quality": grid}
            return report(0.8 * step / steps, f"{recipe.name}: step {step} of {steps}, loss {loss:.2f}")

        def on_layer(layer: int, values: np.ndarray) -> None:
            grid[layer - 1] = values
            self._live = {**self._live, "quality": grid.copy()}
            report(0.8 + 0.2 * layer / len(grid), f"{recipe.name}: measuring layer {layer}")

        told: dict[str, Any] = {"watch": watch, "on_step": on_step, "progress": lambda *_: None}
        result = lab.train_recipe(self.encoder, self.task, recipe, terms=own, **told)
        if not result.finished:
            return None
        trained = result.encoder.uncached() if recipe.training["what"] == "full" else result.encoder
        dev = lab.measure(trained, self.task, self.split, on_layer, fixed_document=recipe.fixed_document)
        return LabRun(recipe.name, recipe, dev, result.seconds)

    def _tested(self, run: LabRun, own: Sequence[Term], report: Report) -> LabRun | None:
        """Train a run again, which gives the same model, and measure it on test; None where it was canceled."""
        label = f"{run.name}: training it again, then measuring test, once"
        if run.recipe.terms:
            told: dict[str, Any] = {"on_step": lambda step, steps, loss: report(0.8 * step / steps, label)}
            result = lab.train_recipe(self.encoder, self.task, run.recipe, terms=own, progress=lambda *_: None, **told)
            if not result.finished:
                return None
            encoder = result.encoder
        else:
            encoder = lab.whitened_start(self.encoder, self.task)
        if not report(0.8, label):
            return None
        return replace(run, test=lab.measure(encoder, self.task, "test", fixed_document=run.recipe.fixed_document))

    # -- before and after the work --------------------------------------------------------------------------------
    def _queue_training(self, recipe: RecipeFile) -> None:
        own = self._own_terms(recipe)
        self._enqueue(recipe.name, lambda report: self._trained(recipe, own, report))

    def _enqueue(self, name: str, work: Work) -> None:
        self._queue.append((name, work))
        if not self.busy:
            self._next()

    def _next(self) -> None:
        if self._queue:
            name, work = self._queue.pop(0)
            self.status = {**self.status, "share": 0.0, "label": f"{name}: starting"}
            self.begin(work, self._ended)

    def progress(self, share: float, label: str) -> bool:
        """As for every panel; what trains is shown on the way."""
        self.more = {"live": pack({"live": self._live})} if self._live else {}
        return super().progress(share, label + (f"; {len(self._queue)} waiting" if self._queue else ""))

    def _ended(self, found: LabRun | Exception | None) -> None:
        """Save a new or changed run and show it; where it cannot be saved it is shown all the same."""
        self._live, self._job = {}, None
        self.status = {name: value for name, value in self.status.items() if name == "error"}  # of a run before it
        if isinstance(found, LabRun):
            self._unsaved = [run for run in self._unsaved if run.key != found.key]
            try:
                if found.recipe.terms:
                    self.store.save(found)
            except NotWritten as error:
                self._unsaved.append(found)
                self.status = {"error": f"{found.name} is shown, but was not saved: {error}"}
            runs = lab.renamed(list({run.key: run for run in [*self.runs, found]}.values()))
            self._show(runs, next(run.name for run in runs if run.key == found.key))
        else:
            self.more, self.status = {}, CANCELED if found is None else {"error": in_words(found)}
        self._next()

    def _stored(self) -> list[LabRun]:
        start, unsaved = self.runs[0], {run.key for run in self._unsaved}
        saved = [run for run in self.store.load() if run.dev.shape == start.dev.shape and run.key not in unsaved]
        return lab.renamed([start, *saved, *self._unsaved])

    def _show(self, runs: list[LabRun], name: str) -> None:
        self.runs = lab.renamed(runs)
        names = [run.name for run in self.runs]
        run, against = name if name in names else names[-1], self.state["against"]
        self.publish(controls=self._controls(), **self._tables())
        self.set(run=run, against=against if against in names and against != run else START)

    def _run(self, name: str) -> LabRun:
        runs = {run.name: run for run in self.runs}
        if name not in runs:
            raise InputError(f"there is no run {name!r}: choose from {', '.join(runs)}")
        return runs[name]

    def _painted(self, state: dict[str, Any]) -> RecipeFile:
        """What is painted, with its settings. Raises InputError where it cannot be trained."""
        self._own_terms(RecipeFile("", state["recipe"]["terms"]))
        recipe, own = tables.of_state(state, self.encoder, self.own), {x: state[x] for x in ("steps", "seed", "heads")}
        return lab.with_settings(recipe, **({"seed": own["seed"]} | lab.QUICK if own["heads"] == "none" else own))

    def _own_terms(self, recipe: RecipeFile) -> list[Term]:
        return [self._own(one["term"]) for one in recipe.terms if one["term"] not in TERMS]

    def _own(self, name: str) -> Term:
        """The newest definition of a term of the reader's own, tried out. Raises InputError where it is wrong."""
        function = tables.defined(name, self.own)
        found = lab.check_term(function, self.encoder)
        self.own[found], self.owned = function, self.owned | {name, found}
        return function

    # -- what the browser gets ------------------------------------------------------------------------------------
    def _controls(self) -> list[list[Control]]:
        return tables.controls([run.name for run in self.runs], list(self.presets), self.encoder)

    def _tables(self) -> dict[str, Any]:
        fixed = tables.fixed_tables(self.encoder, self.task, self.presets)
        offers = {**fixed["offers"], **{name: {} for name in self.own}}
        runs = tables.run_tables(self.runs, self._pairs, self.encoder, self.task, self.split)
        return {**fixed, **runs, "offers": offers, "owned": sorted(self.owned), "start": START}
