"""Recipes against each other at equal budget: every recipe and seed trained, every cell scored, one csv file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mrl_tutorial.errors import with_changes
from mrl_tutorial.evaluation.quality import check_metrics, evaluate_grid, in_words, what_is_scored
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.task import prepared
from mrl_tutorial.training.controls import PLAIN, Control, build, control
from mrl_tutorial.training.loop import Curve, NonFiniteLoss, train
from mrl_tutorial.training.sweep_config import Cells, SweepConfig, check_sweep, expand
from mrl_tutorial.training.sweep_file import COLUMNS, one_line, read_sweep, resume, write, write_items

Rows = list[dict[str, Any]]
MOST = 2000  # about as many documents are searched where a learning rate is chosen


class Outcome(NamedTuple):
    """A trained model and the seconds that it took. problem: why there is none (then it is the plain one). fixed:
    whether its queries are compared with documents of the last layer. history: the loss of each step. curve: the mean
    on dev of the cells that are trained, (step, mean)."""

    encoder: Encoder
    seconds: float = 0.0
    problem: str = ""
    fixed: bool = False
    history: Sequence[float] = ()
    curve: Sequence[tuple[int, float]] = ()


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
    order. "plain", the model as it is, is always scored, once, and so is each control among the recipes: whitened,
    whitened:200 (fitted on that many texts), closed-form, each also with +mapped or +fixed-doc. separate:l,d is scored
    in its cell alone; separate:* stands for one such run for every scored cell; a recipe trained with fixed documents
    is scored with them on retrieval. After every run the values of each item are written (`sweep_file.read_items`),
    then the whole file; called again with the same arguments, what is in it is not run again. A run whose loss is not
    finite gets rows without a value. report(line) is called after each run. Raises InputError, before any training,
    for a recipe, task, metric, split or cell that does not fit, and for a file that is no sweep or another one.
    """
    config, out = with_changes(config or SweepConfig(), changes), Path(out)
    cells = check_cells(config.layers, config.dims, encoder.n_layers, encoder.width)
    candidates = expand(recipes, cells)
    needed = ["train"] if any(control(name) is None for name in candidates) else []
    needed += ["dev"] if needed and len(config.rates) > 1 else []
    given, task = task, prepared(task, *needed)
    scored = [
        prepared(task if t is given else t, *(needed if t is given else []), config.split)
        for t in eval_tasks or [given]
    ]
    metrics = check_sweep(encoder, task, scored, candidates, config)
    settings = _settings(encoder, task, scored, metrics, recipes, config)
    sheet = Sheet(out, settings, config)
    runs = [(name, seed) for seed in range(config.seeds) for name in candidates if seed == 0 or control(name) is None]
    for number, (name, seed) in enumerate(runs, 1):
        if len(sheet.rows(name, config.split, seed)):
            continue
        rate, held = sheet.choose(encoder, task, name) if control(name) is None else (math.nan, None)
        outcome = held if held is not None and seed == 0 else _train(encoder, task, name, seed, rate, config)
        rows, items = [], _course(outcome)
        for where, names in zip(scored, metrics, strict=True):
            new, values = score(where, outcome, names, candidates[name], config)
            rows += new
            items |= values
        # the values first: a run's rows appear together, when everything of it is there
        write_items(out, name, seed, items)
        sheet.add(rows, name, config.split, seed, rate, outcome.seconds)
        run = f"{name}, seed {seed}"
        if report is not None:
            came = "no value: " + outcome.problem if outcome.problem else _said(rows[-1])
            report(f"{number}/{len(runs)} {run}: {outcome.seconds:.0f} s, {came}")
        elif outcome.problem:
            warnings.warn(f"{run}: {outcome.problem}", stacklevel=2)
    return read_sweep(out)[0]


class Sheet:
    """The file of a sweep while it is filled. Raises InputError where it is that of another."""

    def __init__(self, path: Path, settings: dict[str, str], config: SweepConfig) -> None:
        self.path, self.config = path, config
        self.header, self.frame = resume(path, settings, config.command)

    def rows(self, name: str, split: str, seed: int = 0) -> pd.DataFrame:
        """What is there of a run."""
        frame = self.frame
        return frame[(frame.recipe == name) & (frame.split == split) & (frame.seed == seed)]

    def add(self, rows: Iterable[dict], name: str, split: str, seed: int, rate: float, seconds: float) -> None:
        """Add a run's rows and write the file whole."""
        config, untrained = self.config, control(name)
        given = {"recipe": name, "split": split, "seed": seed, "lr": rate, "seconds": round(seconds, 2)}
        given |= {"what": config.what, "heads": config.heads if config.what == "heads" else "none"}
        given |= {"steps": config.steps, "batch_size": config.batch_size}
        if untrained:
            kind = "none" if untrained.kind == PLAIN else "per-layer"
            given |= {"what": "none", "heads": kind, "steps": 0, "batch_size": 0}
        new = pd.DataFrame([{**given, **row} for row in rows], columns=COLUMNS)
        self.frame = pd.concat([self.frame, new]) if len(self.frame) else new
        write(self.path, self.header, self.frame)

    def choose(self, encoder: Encoder, task: Any, name: str) -> tuple[float, Outcome | None]:
        """The learning rate that is best on dev, with seed 0, in the cells that the recipe trains; and what it trained
        where that is at hand."""
        rates = self.config.rates
        held: dict[float, Outcome] = {}
        if len(rates) == 1:
            return rates[0], None
        recipe = get_recipe(name, encoder.n_layers, encoder.width)
        small, metric = _for_choosing(task)
        for rate in rates:
            if (self.rows(name, "dev").lr == rate).any():
                continue
            outcome = _train(encoder, task, name, 0, rate, self.config)
            rows, _ = score(small, outcome, metric, _trained_cells(recipe), self.config, "dev")
            write_items(self.path, f"{name} {rate}", 0, _course(outcome))
            self.add(rows, name, "dev", 0, rate, outcome.seconds)
            held = {rate: outcome} if rate == self._best(name) else held
        return self._best(name), held.get(self._best(name))

    def _best(self, name: str) -> float:
        means = self.rows(name, "dev").groupby("lr").value.mean().fillna(-math.inf)
        return float(means.idxmax())


def score(
    task: Any, outcome: Outcome, metrics: Sequence[str], cells: Cells, config: SweepConfig, split: str | None = None
) -> tuple[Rows, dict[str, np.ndarray]]:
    """Every cell of a trained model on one task: rows of task, metric, layer, dim and value (NaN where training
    failed), and "task metric" -> the values of the items, (layers, dims, items) float16, where there are such."""
    grids = {}
    if not outcome.problem:
        grids = evaluate_grid(
            task,
            outcome.encoder,
            metric=list(metrics),
            split=split or config.split,
            layers=cells[0],
            dims=cells[1],
            precision=config.precision,
            fixed_document=outcome.fixed and task.kind in ("retrieval", "pairs"),
        )
    rows = []
    for name, layer, dim in product(metrics, *cells):
        value = round(grids[name].at(layer, dim), 6) if grids else math.nan
        rows.append({"task": task.name, "metric": name, "layer": layer, "dim": dim, "value": value})
    items = {name: grid.per_item for name, grid in grids.items()}
    return rows, {f"{task.name} {name}": x.astype(np.float16) for name, x in items.items() if x is not None}


def _train(encoder: Encoder, task: Any, name: str, seed: int, rate: float, config: SweepConfig) -> Outcome:
    untrained = control(name)
    if untrained:
        return Outcome(build(encoder, task, untrained, config.split, config.precision), fixed=untrained.fixed)
    recipe = get_recipe(name, encoder.n_layers, encoder.width)
    begun = build(encoder, task, Control(config.start), config.split, config.precision)
    curve = _curve(task, recipe, config) if config.curve else None
    try:
        result = train(begun, task, recipe, config.training(rate), seed=seed, curve=curve)
    except NonFiniteLoss as error:
        return Outcome(encoder, problem=str(error))
    # plain and heads share the frozen backbone's embeddings; a trained backbone's are of no further use
    trained = result.encoder if config.what == "heads" else result.encoder.uncached()
    # a recipe that trains against last-layer documents is made to be searched with them
    fixed = bool(recipe.options.get("main", {}).get("fixed_document"))
    points = curve.points if curve is not None else ()
    return Outcome(trained, result.seconds, fixed=fixed, history=result.history, curve=points)


def _curve(task: Any, recipe: Recipe, config: SweepConfig) -> Curve:
    """The mean on dev of the cells that a recipe trains, as a learning rate is chosen by it, on the way."""
    small, metric = _for_choosing(task)

    def mean(encoder: Encoder) -> float:
        encoder = encoder if config.what == "heads" else encoder.uncached()
        rows, _ = score(small, Outcome(encoder), metric, _trained_cells(recipe), config, "dev")
        return float(np.mean([row["value"] for row in rows]))

    return Curve(max(1, config.steps // config.curve), mean)


def _course(outcome: Outcome) -> dict[str, np.ndarray]:
    """The loss of each step, and the learning curve where there is one, (points, 2): step, mean on dev."""
    found = {"loss": np.array(outcome.history, np.float32)}
    return found | ({"curve": np.array(outcome.curve)} if outcome.curve else {})


def _trained_cells(recipe: Recipe) -> Cells:
    """The layers and dimensions that have a main loss."""
    rows, columns = np.nonzero(np.asarray(recipe.weights["main"]))
    layers, dims = ({int(x) for x in np.take(*of)} for of in ((recipe.layers, rows), (recipe.dims, columns)))
    return tuple(sorted(layers - {0})), tuple(sorted(dims))


def _for_choosing(task: Any) -> tuple[Any, list[str]]:
    """What a learning rate is chosen by: the task's own metric, and the task under another name, of a large corpus only
    what its dev queries ask for and some of the rest."""
    metric = check_metrics("retrieval" if task.kind == "pairs" else task.kind, None)
    if task.kind != "retrieval" or len(task.corpus) <= MOST:
        return replace(task, name=f"{task.name} (dev)"), metric
    asked = {document for query in task.judged("dev") for document in task.qrels[query]}
    step = math.ceil(len(task.corpus) / MOST)
    corpus = {key: text for i, (key, text) in enumerate(task.corpus.items()) if key in asked or i % step == 0}
    return replace(task, name=f"{task.name} (dev, {len(corpus):,} documents)", corpus=corpus, labels={}), metric


def _said(row: dict[str, Any]) -> str:
    return f"{row['metric']} {row['value']:.4f} ({row['task']}, layer {row['layer']}, dimension {row['dim']})"


def _settings(
    encoder: Encoder,
    task: Any,
    scored: Sequence[Any],
    metrics: Sequence[Sequence[str]],
    recipes: Sequence[str],
    config: SweepConfig,
) -> dict[str, str]:
    """The header's lines that have to agree where a sweep goes on."""
    training = config.training(config.rates[0]).with_defaults("", encoder.device)
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
        "lr": ", ".join(map(str, config.rates)),
        "layers": ", ".join(map(str, layers)),
        "dims": ", ".join(map(str, dims)),
        "precision": training.precision,
    }
    found |= {} if config.start == PLAIN else {"start": config.start}
    found["scored"] = ". ".join(f"{t.name}: {in_words(what_is_scored(t, split), split)}" for t in as_measured)
    return {name: one_line(value) for name, value in found.items()}
