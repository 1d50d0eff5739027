"""What a sweep compares: its settings and candidates, checked before any work."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import task_inputs
from mrl_tutorial.evaluation.quality import check_metrics
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe, parse
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.controls import PLAIN, is_control
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.loop import check_recipe

Cells = tuple[tuple[int, ...], tuple[int, ...]]  # layers, dims


@dataclass(frozen=True)
class SweepConfig:
    """What `sweep` compares. Raises InputError for a value that is impossible.

    what, heads, steps, batch_size, lr, precision, cache: as in `TrainConfig`; cache=False keeps no trained models. lr:
    or several; then each recipe is trained with each and goes on with the one that is best on dev (seed 0; the mean of
    the cells that it trains). start: what training starts from, "plain", "whitened" or "closed-form" (see `controls`).
    seeds: every recipe is trained with seeds 0 .. seeds-1. metric: names; each task uses those that suit it; default:
    the task's own. layers, dims: the cells to score, as in `evaluate_grid`. curve: points of each run's learning
    curve, the mean on dev of the cells that it trains; kept beside the values of the items. command: for the file's
    header.
    """

    what: str = "heads"
    heads: str = "shared"
    seeds: int = 3
    steps: int = 150
    batch_size: int = 64
    lr: float | Sequence[float] | None = None
    start: str = PLAIN
    metric: Sequence[str] | None = None
    split: str = "test"
    layers: Sequence[int] | str | None = None
    dims: Sequence[int] | str | None = None
    precision: str = "auto"
    cache: bool = True
    curve: int = 0
    command: str = ""

    def __post_init__(self) -> None:
        if self.seeds != int(self.seeds) or self.seeds < 1:
            raise InputError(f"seeds {self.seeds} is impossible: give a whole number from 1 up")
        if self.start not in (PLAIN, "whitened", "closed-form"):
            raise InputError(f"start {self.start!r} is unknown: choose plain, whitened or closed-form")
        if self.start != PLAIN and self.what == "heads" and self.heads == "shared":
            raise InputError(f"shared heads cannot start {self.start}: choose heads per-layer")
        if not self.rates:
            raise InputError("no learning rate to choose from: give one or more")
        if len(self.rates) > 1 and self.split == "dev":
            raise InputError("dev chooses among several learning rates: score another split, or give one rate")
        for rate in self.rates:
            self.training(rate)  # checks the rest

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates to choose from."""
        given = self.lr if isinstance(self.lr, Sequence) else [self.lr]
        found = [TrainConfig(what=self.what, heads=self.heads, lr=x).with_defaults("").lr or 0.0 for x in given]
        return tuple(dict.fromkeys(found))

    def training(self, lr: float) -> TrainConfig:
        """How each recipe is trained."""
        names = ("what", "heads", "steps", "batch_size", "precision", "cache")
        return TrainConfig(**{name: getattr(self, name) for name in names}, lr=lr)


def expand(recipes: Iterable[str], cells: Cells) -> dict[str, Cells]:
    """Each recipe's name and the cells that it is scored in, without repeats, "plain" first; separate:* becomes one
    recipe for each of layers x dims, scored in that cell alone.

    >>> list(expand(["mrl", "separate:*"], ((1, 2), (8,))))
    ['plain', 'mrl', 'separate:1,8', 'separate:2,8']
    """
    found: dict[str, Cells] = {PLAIN: cells}
    for name in recipes:
        if name.startswith("separate:"):
            alone = product(*cells) if name == "separate:*" else parse(name)[1]["cells"]
            found |= {f"separate:{layer},{dim}": ((layer,), (dim,)) for layer, dim in alone}
        else:
            found[name] = cells
    return found


def check_sweep(
    encoder: Encoder, task: Any, scored: Sequence[Any], candidates: Iterable[str], config: SweepConfig
) -> list[list[str]]:
    """The metrics of each scored task: those of `config` that suit it, else its own. Raises InputError for everything
    that would stop a later run."""
    if encoder.heads is not None:
        raise InputError(f"{encoder.name} has heads: a sweep starts from a model without (encoder.with_heads(None))")
    for name in candidates:
        if not is_control(name):
            check_recipe(get_recipe(name, encoder.n_layers, encoder.width), config.what, examples(task), task.name)
    if len({t.name for t in scored}) < len(scored):
        raise InputError(f"two tasks to score are called alike ({', '.join(t.name for t in scored)}): rename one")
    scored = [t.as_retrieval(config.split) if t.kind == "pairs" else t for t in scored]
    for where in scored:
        if any(isinstance(x, np.ndarray) for x in task_inputs(where, config.split).values()):
            raise InputError(f"{where.name} holds vectors, which no encoder makes: score tasks with texts")
    found: list[list[str]] = [[] for _ in scored]
    for name in config.metric or ():
        errors = []
        for where, names in zip(scored, found, strict=True):
            try:
                names += [x for x in check_metrics(where.kind, name) if x not in names]
            except InputError as error:
                errors.append(error)
        if len(errors) == len(scored):
            raise errors[0]
    return [names or check_metrics(where.kind, None) for where, names in zip(scored, found, strict=True)]
