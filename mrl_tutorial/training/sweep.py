"""Recipes against each other at equal budget: every recipe and seed trained, every cell scored, one csv file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mrl_tutorial.errors import with_changes
from mrl_tutorial.evaluation.quality import evaluate_grid, in_words, what_is_scored
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.task import prepared
from mrl_tutorial.training.loop import NonFiniteLoss, train
from mrl_tutorial.training.sweep_config import PLAIN, Cells, SweepConfig, check_sweep, expand
from mrl_tutorial.training.sweep_file import COLUMNS, one_line, read_sweep, resume, write


class Outcome(NamedTuple):
    """A trained model and the seconds that it took. problem: why there is none (then it is the plain one). fixed:
    whether its queries are compared with documents of the last layer."""

    encoder: Encoder
    seconds: float = 0.0
    problem: str = ""
    fixed: bool = False


def sweep(
    encoder: Encoder,
    task: Any,
    recipes: Sequence[str],
    config: SweepConfig | None = None,
    *,
    out: str | Path,
    eval_tasks: Sequence[Any] | None = None,
    report: Callable[[str], object] | None = None,
    **changes: Any,
) -> pd.DataFrame:
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
    scored = [prepared(t, *(["train"] if t is task else []), config.split) for t in eval_tasks or [task]]
    cells = check_cells(config.layers, config.dims, encoder.n_layers, encoder.width)
    candidates = expand(recipes, cells)
    metrics = check_sweep(encoder, task, scored, candidates, config)
    settings = _settings(encoder, task, scored, metrics, recipes, config)
    header, frame = resume(Path(out), settings, config.command)
    done = set(zip(frame.recipe, frame.seed, strict=True))
    runs = [(name, seed) for seed in range(config.seeds) for name in candidates if name != PLAIN or seed == 0]
    for number, (name, seed) in enumerate(runs, 1):
        if (name, seed) in done:
            continue
        outcome = _train(encoder, task, name, seed, config)
        given = {"recipe": name, "seed": seed, "seconds": round(outcome.seconds, 2), **_budget(name, config)}
        rows = [
            {**given, "task": where.name, **row}
            for where, names in zip(scored, metrics, strict=True)
            for row in score(where, outcome, names, candidates[name], config)
        ]
        # a run's rows appear together, so that a run is in the file entirely or not at all
        new = pd.DataFrame(rows, columns=COLUMNS)
        frame = pd.concat([frame, new]) if len(frame) else new
        write(Path(out), header, frame)
        run = f"{name}, seed {seed}"
        if report is not None:
            came = "no value: " + outcome.problem if outcome.problem else _said(rows[-1])
            report(f"{number}/{len(runs)} {run}: {outcome.seconds:.0f} s, {came}")
        elif outcome.problem:
            warnings.warn(f"{run}: {outcome.problem}", stacklevel=2)
    return read_sweep(out)[0]


def score(task: Any, outcome: Outcome, metrics: Sequence[str], cells: Cells, config: SweepConfig) -> list[dict]:
    """Every cell of a trained model on one task: rows of metric, layer, dim and value (NaN where training failed)."""
    grids = {}
    if not outcome.problem:
        grids = evaluate_grid(
            task,
            outcome.encoder,
            metric=list(metrics),
            split=config.split,
            layers=cells[0],
            dims=cells[1],
            precision=config.precision,
            fixed_document=outcome.fixed and task.kind in ("retrieval", "pairs"),
        )
    return [
        {
            "metric": name,
            "layer": layer,
            "dim": dim,
            "value": round(grids[name].at(layer, dim), 6) if grids else math.nan,
        }
        for name, layer, dim in product(metrics, *cells)
    ]


def _train(encoder: Encoder, task: Any, name: str, seed: int, config: SweepConfig) -> Outcome:
    if name == PLAIN:
        return Outcome(encoder)
    recipe = get_recipe(name, encoder.n_layers, encoder.width)
    try:
        result = train(encoder, task, recipe, config.training(), seed=seed)
    except NonFiniteLoss as error:
        return Outcome(encoder, problem=str(error))
    # plain and heads share the frozen backbone's embeddings; a trained backbone's are of no further use
    trained = result.encoder if config.what == "heads" else result.encoder.uncached()
    # a recipe that trains against last-layer documents is made to be searched with them
    fixed = bool(recipe.options.get("main", {}).get("fixed_document"))
    return Outcome(trained, result.seconds, fixed=fixed)


def _said(row: dict[str, Any]) -> str:
    return f"{row['metric']} {row['value']:.4f} ({row['task']}, layer {row['layer']}, dimension {row['dim']})"


def _budget(name: str, config: SweepConfig) -> dict[str, Any]:
    """The columns that say how a run was trained and scored."""
    if name == PLAIN:
        return {"what": "none", "heads": "none", "steps": 0, "batch_size": 0, "lr": math.nan, "split": config.split}
    heads = config.heads if config.what == "heads" else "none"
    budget = {"steps": config.steps, "batch_size": config.batch_size, "lr": config.training().with_defaults("").lr}
    return {"what": config.what, "heads": heads, **budget, "split": config.split}


def _settings(
    encoder: Encoder,
    task: Any,
    scored: Sequence[Any],
    metrics: Sequence[Sequence[str]],
    recipes: Sequence[str],
    config: SweepConfig,
) -> dict[str, str]:
    """The header's lines that have to agree where a sweep goes on."""
    training = config.training().with_defaults("", encoder.device)
    layers, dims = check_cells(config.layers, config.dims, encoder.n_layers, encoder.width)
    split = config.split
    as_measured = [t.as_retrieval(split) if t.kind == "pairs" else t for t in scored]
    found = {
        "model": f"{encoder.name} {encoder.fingerprint()}",
        "task": f"{task.name} {task.fingerprint()}",
        "eval tasks": ", ".join(f"{t.name} {t.fingerprint()}" for t in scored),
        "split": config.split,
        "metric": "; ".join(", ".join(names) for names in metrics),
        "recipes": ", ".join(dict.fromkeys([PLAIN, *recipes])),
        "what": config.what,
        "heads": config.heads if config.what == "heads" else "none",
        "seeds": config.seeds,
        "steps": config.steps,
        "batch size": config.batch_size,
        "lr": training.lr,
        "layers": ", ".join(map(str, layers)),
        "dims": ", ".join(map(str, dims)),
        "precision": training.precision,
    }
    found["scored"] = ". ".join(f"{t.name}: {in_words(what_is_scored(t, split), split)}" for t in as_measured)
    return {name: one_line(value) for name, value in found.items()}
