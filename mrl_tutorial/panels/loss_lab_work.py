"""What the loss lab does in its thread: train and measure, and tell on the way how far it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from mrl_tutorial.files import NotWritten
from mrl_tutorial.losses import Term
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.job import Report
from mrl_tutorial.panels.loss_lab_tables import START
from mrl_tutorial.recipes.recipe_file import RecipeFile
from mrl_tutorial.training import lab
from mrl_tutorial.training.lab import LabRun, LabStore

POINTS = 100  # of a loss curve
Done = tuple[LabRun, bool]  # a run, and whether it is new


class Work:
    """Trainings of one lab. live: what the browser shows of the one under way: name, losses (of each term at every
    `stride` steps) and quality (L, M), NaN where it is not measured yet. unsaved: why a run was not saved."""

    def __init__(self, task: Any, encoder: Encoder, split: str, store: LabStore) -> None:
        self.task, self.encoder, self.split, self.store = task, encoder, split, store
        self.live: dict[str, Any] = {}
        self.unsaved = ""

    def start(self) -> LabRun:
        """What every run begins with: heads that whiten, without training."""
        begun = lab.whitened_start(self.encoder, self.task)
        return LabRun(START, RecipeFile(START, []), lab.measure(begun, self.task, self.split), made=0.0)

    def train(self, recipe: RecipeFile, own: Sequence[Term], report: Report) -> Done | None:
        """Train, measure and save; None where it was canceled. Raises InputError and NonFiniteLoss as `train` does."""
        losses: dict[str, list[float]] = {}
        grid = np.full((self.encoder.n_layers, len(self.encoder.dims)), np.nan, np.float32)

        def watch(found: dict[str, np.ndarray]) -> None:
            for term, table in found.items():
                losses.setdefault(term, []).append(round(float(np.nanmean(table)), 5))

        def on_step(step: int, steps: int, loss: float) -> bool:
            stride = -(-steps // POINTS)
            lines = {term: line[::stride] for term, line in losses.items()}
            self.live = {"name": recipe.name, "losses": lines, "stride": stride, "quality": grid}
            return report(0.8 * step / steps, f"{recipe.name}: step {step} of {steps}, loss {loss:.2f}")

        def on_layer(layer: int, values: np.ndarray) -> None:
            grid[layer - 1] = values
            self.live = {**self.live, "quality": grid.copy()}
            report(0.8 + 0.2 * layer / len(grid), f"{recipe.name}: measuring layer {layer}")

        quiet = lambda *_: None  # noqa: E731  (the panel shows its own progress)
        result = lab.train_recipe(
            self.encoder, self.task, recipe, terms=own, watch=watch, on_step=on_step, progress=quiet
        )
        if not result.finished:
            return None
        trained = result.encoder.uncached() if recipe.training["what"] == "full" else result.encoder
        dev = lab.measure(trained, self.task, self.split, on_layer, fixed_document=recipe.fixed_document)
        return self.saved(LabRun(recipe.name, recipe, dev, result.seconds, result.losses)), True

    def test(self, run: LabRun, own: Sequence[Term], report: Report) -> Done | None:
        """Train a run again, which gives the same model, measure it on test, and save that."""
        report(0.1, f"{run.name}: training it again, then measuring test, once")
        encoder = lab.whitened_start(self.encoder, self.task)
        if run.recipe.terms:
            quiet = lambda *_: None  # noqa: E731  (as above)
            encoder = lab.train_recipe(self.encoder, self.task, run.recipe, terms=own, progress=quiet).encoder
        fixed = run.recipe.fixed_document
        tested = replace(run, test=lab.measure(encoder, self.task, "test", fixed_document=fixed))
        return (self.saved(tested) if run.recipe.terms else tested), False

    def saved(self, run: LabRun) -> LabRun:
        """The run, saved; where that fails it is shown all the same, and every earlier run is where it was."""
        try:
            self.store.save(run)
        except NotWritten as error:
            self.unsaved = f"{run.name} is shown, but was not saved: {error}"
        return run
