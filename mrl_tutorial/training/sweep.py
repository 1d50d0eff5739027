"""Recipes against each other at equal budget: every recipe and seed trained, every cell scored, one csv file."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from mrl_tutorial.errors import InputError, with_changes
from mrl_tutorial.evaluation.embeddings import task_inputs
from mrl_tutorial.evaluation.quality import check_metrics, evaluate_grid
from mrl_tutorial.grid import Grid, check_cells
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.loop import NonFiniteLoss, check_recipe, train
from mrl_tutorial.training.sweep_file import COLUMNS, one_line, read_sweep, resume, write

PLAIN = "plain"
Cells = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True)
class SweepConfig:
    """What `sweep` compares. Raises InputError for a value that is impossible.

    what, heads, steps, batch_size, lr, precision, cache: as in `TrainConfig`; cache=False keeps no trained models.
    seeds: every recipe is trained with seeds 0 .. seeds-1. metric: names, of which each task gets those that suit it;
    default: the task's own. layers, dims: the cells to score, as in `evaluate_grid`. command: for the file's header.
    """

    what: str = "heads"
    heads: str = "shared"
    seeds: int = 3
    steps: int = 150
    batch_size: int = 64
    lr: float | None = None
    metric: Sequence[str] | None = None
    split: str = "test"
    layers: Sequence[int] | str | None = None
    dims: Sequence[int] | str | None = None
    precision: str = "auto"
    cache: bool = True
    command: str = ""

    def __post_init__(self) -> None:
        if self.seeds != int(self.seeds) or self.seeds < 1:
            raise InputError(f"seeds {self.seeds} is impossible: give a whole number from 1 up")
        self.training()  # checks the rest

    def training(self) -> TrainConfig:
        """How each recipe is trained."""
        names = ("what", "heads", "steps", "batch_size", "lr", "precision", "cache")
        return TrainConfig(**{name: getattr(self, name) for name in names})


class Candidate(NamedTuple):
    """One recipe of a sweep; cell: the only one that it is scored in, None for all."""

    name: str
    cell: tuple[int, int] | None = None


class Outcome(NamedTuple):
    """A trained model and the seconds that it took. problem: why there is none (then it is the plain one). fixed:
    whether its queries are compared with documents of the last layer."""

    encoder: Encoder
    seconds: float = 0.0
    problem: str = ""
    fixed: bool = False


def sweep(
    encoder: Encoder, task: Any, recipes: Sequence[str], config: SweepConfig | None = None, *, out: str | Path,
    eval_tasks: Sequence[Any] | None = None, report: Callable[[str], object] | None = None, **changes: Any,
) -> pd.DataFrame:  # fmt: skip
    """Train each recipe with several seeds on `task`, score every cell on `eval_tasks` (default: `task`), and write a
    row for each cell to `out`. Returns what `read_sweep(out)` finds there.

    config, changes: a `SweepConfig`, and its settings by name. All runs of a seed see the same batches in the same
    order. "plain", the model as it is, is always scored, once. separate:l,d is scored in its cell alone; separate:*
    stands for one such run for every scored cell; a recipe trained with fixed documents is scored with them on
    retrieval. The file is written whole after every run; called again with the same arguments, what is in it is not run
    again. A run whose loss is not finite gets rows without a value. report(line) is called after each run. Raises
    InputError, before any training, for a recipe, task, metric, split or cell that does not fit, and for a file that is
    no sweep or one with other arguments.
    """
    config = with_changes(config or SweepConfig(), changes)
    scored = list(eval_tasks or [task])
    cells = check_cells(config.layers, config.dims, encoder.n_layers, encoder.width)
    candidates = expand(recipes, cells)
    metrics = _check(encoder, task, scored, candidates, config)
    settings = _settings(encoder, task, scored, metrics, recipes, config)
    header, frame = resume(Path(out), settings, config.command)
    done = set(zip(frame.recipe, frame.seed, strict=True))
    runs = [(entry, seed) for seed in range(config.seeds) for entry in candidates if entry.name != PLAIN or seed == 0]
    for number, (entry, seed) in enumerate(runs, 1):
        if (entry.name, seed) in done:
            continue
        trained, seconds, problem, fixed = _train(encoder, task, entry, seed, config)
        rows = []
        for where, names in zip(scored, metrics, strict=True):
            chosen = cells if entry.cell is None else ((entry.cell[0],), (entry.cell[1],))
            grids = None if problem else score(where, trained, names, chosen, fixed, config)
            rows += _rows(grids, names, chosen, {"task": where.name, "split": config.split})
        # a run's rows appear together, so that a run is in the file entirely or not at all
        new = pd.DataFrame(rows).assign(**_given(entry, seed, config), seconds=round(seconds, 2))[COLUMNS]
        frame = pd.concat([frame, new]) if len(frame) else new
        write(Path(out), header, frame)
        if report is not None:
            last = rows[-1]
            cell = f"{last['task']}, layer {last['layer']}, dimension {last['dim']}"
            outcome = f"no value: {problem}" if problem else f"{last['metric']} {last['value']:.4f} ({cell})"
            report(f"{number}/{len(runs)} {entry.name}, seed {seed}: {seconds:.0f} s, {outcome}")
        elif problem:
            warnings.warn(f"{entry.name}, seed {seed}: {problem}", stacklevel=2)
    return read_sweep(out)[0]


def expand(recipes: Sequence[str], cells: Cells) -> list[Candidate]:
    """Recipe names to candidates, without repeats, "plain" first; separate:* becomes one for each of layers x dims.

    >>> [entry.name for entry in expand(["mrl", "separate:*"], ((1, 2), (8,)))]
    ['plain', 'mrl', 'separate:1,8', 'separate:2,8']
    """
    found = [Candidate(PLAIN)]
    for name in recipes:
        separate = re.fullmatch(r"separate:\s*(\d+)\s*,\s*(\d+)\s*", name)
        chosen = [(layer, dim) for layer in cells[0] for dim in cells[1]] if name == "separate:*" else []
        if separate:
            chosen = [(int(separate[1]), int(separate[2]))]
        found += [Candidate(f"separate:{layer},{dim}", (layer, dim)) for layer, dim in chosen] or [Candidate(name)]
    return list(dict.fromkeys(found))


def score(
    task: Any, encoder: Encoder, metrics: Sequence[str], cells: Cells, fixed: bool, config: SweepConfig
) -> dict[str, Grid]:
    """Every cell of a model, for each metric; fixed: with documents from the last layer, where the task has some."""
    found = evaluate_grid(
        task, encoder, metric=list(metrics), split=config.split, layers=cells[0], dims=cells[1],
        precision=config.precision, fixed_document=fixed and task.kind in ("retrieval", "pairs"),
    )  # fmt: skip
    return cast("dict[str, Grid]", found)  # as for every list of metrics


def _train(encoder: Encoder, task: Any, entry: Candidate, seed: int, config: SweepConfig) -> Outcome:
    if entry.name == PLAIN:
        return Outcome(encoder)
    recipe = get_recipe(entry.name, encoder.n_layers, encoder.width)
    try:
        result = train(encoder, task, recipe, config.training(), seed=seed)
    except NonFiniteLoss as error:
        return Outcome(encoder, problem=str(error))
    # plain and heads share the frozen backbone's embeddings; a trained backbone's are of no further use
    trained = result.encoder if config.what == "heads" else result.encoder.uncached()
    # a recipe that trains against last-layer documents is made to be searched with them
    fixed = bool(recipe.options.get("main", {}).get("fixed_document"))
    return Outcome(trained, result.seconds, fixed=fixed)


def _given(entry: Candidate, seed: int, config: SweepConfig) -> dict[str, Any]:
    """The columns that say how a run was trained."""
    if entry.name == PLAIN:
        zero = {"steps": 0, "batch_size": 0, "lr": math.nan}
        return {"recipe": PLAIN, "what": "none", "heads": "none", "seed": seed, **zero}
    training = config.training().with_defaults("")
    heads = training.heads if training.what == "heads" else "none"
    budget = {"steps": training.steps, "batch_size": training.batch_size, "lr": training.lr}
    return {"recipe": entry.name, "what": training.what, "heads": heads, "seed": seed, **budget}


def _rows(grids: dict[str, Grid] | None, metrics: Sequence[str], cells: Cells, given: dict) -> list[dict]:
    return [
        {**given, "metric": name, "layer": layer, "dim": dim,
         "value": math.nan if grids is None else round(grids[name].at(layer, dim), 6)}
        for name in metrics for layer in cells[0] for dim in cells[1]
    ]  # fmt: skip


def _settings(
    encoder: Encoder, task: Any, scored: Sequence[Any], metrics: Sequence[Sequence[str]], recipes: Sequence[str],
    config: SweepConfig,
) -> dict[str, str]:  # fmt: skip
    """The header's lines that have to agree where a sweep goes on."""
    training = config.training().with_defaults("")
    layers, dims = check_cells(config.layers, config.dims, encoder.n_layers, encoder.width)
    found = {
        "model": f"{encoder.name} {encoder.fingerprint()}", "task": f"{task.name} {task.fingerprint()}",
        "eval tasks": ", ".join(f"{t.name} {t.fingerprint()}" for t in scored), "split": config.split,
        "metric": "; ".join(", ".join(names) for names in metrics),
        "recipes": ", ".join(dict.fromkeys([PLAIN, *recipes])), "what": config.what,
        "heads": config.heads if config.what == "heads" else "none", "seeds": config.seeds, "steps": config.steps,
        "batch size": config.batch_size, "lr": training.lr, "layers": ", ".join(map(str, layers)),
        "dims": ", ".join(map(str, dims)), "precision": training.precision,
    }  # fmt: skip
    return {name: one_line(value) for name, value in found.items()}


def _check(
    encoder: Encoder, task: Any, scored: Sequence[Any], candidates: Sequence[Candidate], config: SweepConfig
) -> list[list[str]]:
    """The metrics of each scored task. Everything that would stop a later run stops the sweep here."""
    if encoder.heads is not None:
        raise InputError(f"{encoder.name} has heads: a sweep starts from a model without (encoder.with_heads(None))")
    data = examples(task)
    for entry in candidates:
        if entry.name != PLAIN:
            recipe = get_recipe(entry.name, encoder.n_layers, encoder.width)
            check_recipe(recipe, config.what, data, task.name)
    if len({t.name for t in scored}) < len(scored):
        raise InputError(f"two tasks to score are called alike ({', '.join(t.name for t in scored)}): rename one")
    for where in scored:
        inputs = task_inputs(where.as_retrieval(config.split) if where.kind == "pairs" else where, config.split)
        if any(isinstance(x, np.ndarray) for x in inputs.values()):
            raise InputError(f"{where.name} holds vectors, which no encoder makes: score tasks with texts")
    return _metrics(["retrieval" if t.kind == "pairs" else t.kind for t in scored], config.metric or [])


def _metrics(kinds: Sequence[str], wanted: Sequence[str]) -> list[list[str]]:
    """For each kind of task the metrics that suit it, or its own. Raises InputError for one that suits none."""
    found: list[list[str]] = [[] for _ in kinds]
    for name in wanted:
        errors = []
        for names, kind in zip(found, kinds, strict=True):
            try:
                names += [x for x in check_metrics(kind, name) if x not in names]
            except InputError as error:
                errors.append(error)
        if len(errors) == len(kinds):
            raise errors[0]
    return [names or check_metrics(kind, None) for names, kind in zip(found, kinds, strict=True)]
