"""The state of a training run on disk: written whole or not at all, as safetensors, and which runs are the same."""

from __future__ import annotations

import json
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from mrl_tutorial import files
from mrl_tutorial.errors import InputError
from mrl_tutorial.recipes.recipe import Recipe, term_name
from mrl_tutorial.training import processes

EVERY = 30.0  # seconds
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW remembers of a parameter


class Run:
    """How far a training has come. history: the loss of each step. points: of its learning curve, where it has one.
    seconds: of training, encoding excluded.

    It is kept in `folder` (None: nowhere) and read from there: `parameters` and the optimizer's memory are filled in
    place, so that it goes on exactly where it stopped; it begins anew where there is nothing usable. Raises InputError
    for a run that was begun in another number of processes, whose sums are rounded otherwise.
    """

    def __init__(
        self, folder: Path | None, parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer, steps: int
    ) -> None:
        self.path = None if folder is None else folder / "run.safetensors"
        self.parameters, self.optimizer, self.steps = parameters, optimizer, steps
        self.history: list[float] = []
        self.points: list[tuple[int, float]] = []
        self.seconds = 0.0
        if self.path is not None and self.path.exists():
            self._load(self.path)
        self._saved, self._step = time.monotonic(), self.step

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.history)

    def save(self, every: float = 0.0) -> None:
        """Write the run, if it has come further, and not within `every` seconds of the last time.

        When all `steps` are done, what the optimizer remembers is left out. Where it cannot be written, that is a
        warning: the training is not lost.
        """
        rank, count = processes.place()
        if self.path is None or rank > 0 or self.step == self._step or time.monotonic() - self._saved < every:
            return
        tensors = {f"parameter.{name}": p.detach().contiguous() for name, p in self.parameters.items()}
        if self.step < self.steps:
            for name, p in self.parameters.items():
                tensors |= {f"{m}.{name}": x.contiguous() for m, x in self.optimizer.state[p].items()}
        notes = {"step": self.step, "seconds": self.seconds, "history": self.history, "points": self.points}
        notes["processes"] = count
        self._saved = time.monotonic()
        # one file for all, with the notes in its header: no crash can pair one step's weights with another's notes
        try:
            with files.whole_file(self.path) as temporary:
                save_file(tensors, temporary, metadata={"notes": json.dumps(notes)})
            self._step = self.step
        except files.NotWritten as error:
            warnings.warn(f"step {self.step} was not kept: {error} as MRL_CACHE", stacklevel=3)

    def _load(self, path: Path) -> None:
        try:
            with safe_open(path, "pt") as file:
                notes = json.loads(file.metadata()["notes"])
                tensors = {name: file.get_tensor(name) for name in list(file.keys())}
            values = [tensors[f"parameter.{name}"] for name in self.parameters]
        except Exception:  # a damaged file, however it fails, is no checkpoint: start again
            return
        here, there = processes.place()[1], notes.get("processes", 1)
        if here != there and notes["step"] < self.steps:
            remedy = f"go on with {there}, or begin anew: give another seed, or delete {path}"
            raise InputError(f"this run was begun in {there} process{'es' * (there > 1)}, not {here}: {remedy}")
        for value, (name, p) in zip(values, self.parameters.items(), strict=True):
            p.detach().copy_(value)
            if f"exp_avg.{name}" in tensors:
                moments = {m: tensors[f"{m}.{name}"] for m in MOMENTS}  # AdamW keeps its step on the CPU
                self.optimizer.state[p] = {m: x if m == "step" else x.to(p.device) for m, x in moments.items()}
        self.history, self.seconds, self.points = notes["history"], notes["seconds"], notes.get("points", [])


@contextmanager
def defer_interrupt() -> Iterator[None]:
    """Hold a Ctrl-C (or kernel stop) back until the block has ended: half an update is no state to go on from."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield  # interrupts reach the main thread alone
        return
    held: list[tuple] = []
    signal.signal(signal.SIGINT, lambda *arguments: held.append(arguments))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if held:
        before(*held[0])


def recipe_key(recipe: Recipe, key: str | None = None) -> list | None:
    """What makes two recipes the same run: name, grids, options; functions of this package count by their names.

    A function of your own (a term, a sampler) cannot be read for what it computes, so a run with one has no key (None)
    and is neither cached nor resumed, unless you give `key`. That name then stands for all functions of your own, and
    has to change when they do.
    """
    options = {term_name(term): given for term, given in recipe.options.items()}
    values = [*recipe.weights, recipe.sampler, *(value for given in options.values() for value in given.values())]
    homes = [getattr(value, "__module__", None) or "" for value in values if callable(value)]
    if key is None and not all(home.startswith("mrl_tutorial.") for home in homes):
        return None
    terms = [[_named(term), np.asarray(grid).tolist()] for term, grid in recipe.weights.items()]
    named = {term: {name: _named(value) for name, value in given.items()} for term, given in options.items()}
    cells = [list(recipe.layers), list(recipe.dims)]
    rate = recipe.learned.rate if recipe.learned else None
    return [recipe.name, cells, terms, named, _named(recipe.sampler), rate, key]


def _named(value: Any) -> str:
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if torch.is_tensor(value):
        value = value.detach().cpu().numpy()
    return files.key(value) if isinstance(value, np.ndarray) else repr(value)
