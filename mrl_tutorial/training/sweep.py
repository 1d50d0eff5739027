"""Recipes against each other at equal budget: every recipe and seed trained, every cell scored, one csv file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mrl_tutorial.errors import with_changes
from mrl_tutorial.evaluation.quality import check_metrics, evaluate_grid, in_words, what_is_scored
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.task import prepared
from mrl_tutorial.training.controls import PLAIN, build, is_control, reads_train
from mrl_tutorial.training.loop import Curve, NonFiniteLoss, train
from mrl_tutorial.training.sweep_config import Cells, SweepConfig, check_sweep, expand
from mrl_tutorial.training.sweep_file import COLUMNS, read_sweep, resume, write, write_items

Rows = list[dict[str, Any]]
MOST = 2000  # about as many documents are searched where a learning rate is chosen


class Outcome(NamedTuple):
    """A trained model, its learning rate and the seconds that it took. problem: why there is none (then it is the plain
    one). fixed: whether its queries are compared with documents of the last layer. course: "loss" of each step, and
    "curve", (points, 2): step, mean on dev of the cells that are trained."""

    encoder: Encoder
    lr: float = math.nan
    seconds: float = 0.0
    problem: str = ""
    fixed: bool = False
    course: Mapping[str, np.ndarray] = {"loss": np.zeros(0, np.float32)}


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
    for a recipe, task, metric, split or cell that does not fit, and for a file that is not a sweep or another one.
    """
    config = with_changes(config or SweepConfig(), changes)
    candidates = expand(recipes, check_cells(config.layers, config.dims, encoder.n_layers, encoder.width))
    needed = ["train"] if any(reads_train(name, task) for name in candidates) else []
    trains = not all(map(is_control, candidates))
    needed += ["dev"] if trains and (len(config.rates) > 1 or config.curve) else []
    own, task = task.fingerprint(), prepared(task, *needed)
    scored = [prepared(t, *(needed if t.fingerprint() == own else []), config.split) for t in eval_tasks or [task]]
    metrics = check_sweep(encoder, task, scored, candidates, config)
    sheet = Sheet(encoder, task, config, Path(out))
    sheet.open(recipes, scored, metrics)
    runs = [(name, seed) for seed in range(config.seeds) for name in candidates if seed == 0 or not is_control(name)]
    for number, (name, seed) in enumerate(runs, 1):
        if len(sheet.rows(name, config.split, seed)):
            continue
        outcome = sheet.run(name, seed)
        rows, items = [], dict(outcome.course)
        for where, names in zip(scored, metrics, strict=True):
            new, values = score(where, outcome, names, candidates[name], config)
            rows += new
            items |= values
        # the values first: a run's rows appear together, when everything of it is there
        write_items(sheet.path, name, seed, items)
        sheet.add(rows, name, config.split, seed, outcome)
        if report is not None:
            last = "{metric} {value:.4f} ({task}, layer {layer}, dimension {dim})".format(**rows[-1])
            came = f"no value: {outcome.problem}" if outcome.problem else last
            report(f"{number}/{len(runs)} {name}, seed {seed}: {outcome.seconds:.0f} s, {came}")
        elif outcome.problem:
            warnings.warn(f"{name}, seed {seed}: {outcome.problem}", stacklevel=2)
    return read_sweep(out)[0]


class Sheet:
    """What is trained, and the file that is filled."""

    def __init__(self, encoder: Encoder, task: Any, config: SweepConfig, path: Path) -> None:
        self.encoder, self.task, self.config, self.path = encoder, task, config, path

    def open(self, recipes: Sequence[str], scored: Sequence[Any], metrics: Sequence[Sequence[str]]) -> None:
        """Go on with the file where there is one. Raises InputError where its header is that of another sweep."""
        encoder, task, config = self.encoder, self.task, self.config
        layers, dims = check_cells(config.layers, config.dims, encoder.n_layers, encoder.width)
        header = {
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
            "precision": config.training(config.rates[0]).with_defaults("", encoder.device).precision,
        }
        header |= {} if config.start == PLAIN else {"start": config.start}
        measured = [t.as_retrieval(config.split) if t.kind == "pairs" else t for t in scored]
        said = [f"{t.name}: {in_words(what_is_scored(t, config.split), config.split)}" for t in measured]
        self.header, self.frame = resume(self.path, header | {"scored": ". ".join(said)}, config.command)

    def rows(self, name: str, split: str, seed: int = 0) -> pd.DataFrame:
        """What is there of a run."""
        frame = self.frame
        return frame[(frame.recipe == name) & (frame.split == split) & (frame.seed == seed)]

    def add(self, rows: Iterable[dict], name: str, split: str, seed: int, outcome: Outcome) -> None:
        """Add a run's rows and write the file whole."""
        config = self.config
        given = {"recipe": name, "split": split, "seed": seed, "lr": outcome.lr, "seconds": round(outcome.seconds, 2)}
        if is_control(name):
            heads = "none" if name.startswith(PLAIN) else "per-layer"
            given |= {"what": "none", "heads": heads, "steps": 0, "batch_size": 0}
        else:
            heads = config.heads if config.what == "heads" else "none"
            given |= {"what": config.what, "heads": heads, "steps": config.steps, "batch_size": config.batch_size}
        new = pd.DataFrame([{**given, **row} for row in rows], columns=COLUMNS)
        self.frame = pd.concat([self.frame, new]) if len(self.frame) else new
        write(self.path, self.header, self.frame)

    def run(self, name: str, seed: int) -> Outcome:
        """A control, or a recipe trained with the learning rate that is best on dev, with seed 0."""
        config, best = self.config, None
        if is_control(name):
            built = build(self.encoder, self.task, name, config.split, config.precision)
            return Outcome(built, fixed=name.endswith("+fixed-doc"))
        if len(config.rates) == 1:
            return self.train(name, seed, config.rates[0])
        for rate in config.rates:
            if not (self.rows(name, "dev").lr == rate).any():
                outcome = self.train(name, 0, rate)
                write_items(self.path, f"{name} {rate}", 0, outcome.course)
                self.add(self.on_dev(name, outcome), name, "dev", 0, outcome)
                best = outcome if rate == self._best_rate(name) else best
        return best if best is not None and seed == 0 else self.train(name, seed, self._best_rate(name))

    def _best_rate(self, name: str) -> float:
        means = self.rows(name, "dev").groupby("lr").value.mean().fillna(-math.inf)
        return float(means.idxmax())

    def train(self, name: str, seed: int, rate: float) -> Outcome:
        """A recipe trained once."""
        config = self.config
        recipe = get_recipe(name, self.encoder.n_layers, self.encoder.width)
        begun = build(self.encoder, self.task, config.start, config.split, config.precision)

        # a recipe that trains against last-layer documents is made to be searched with them
        fixed = bool(recipe.options.get("main", {}).get("fixed_document"))

        def mean_on_dev(trained: Encoder) -> float:
            rows = self.on_dev(name, Outcome(self._lasting(trained), fixed=fixed))
            return float(np.mean([row["value"] for row in rows]))

        key = f"{self._dev[0].fingerprint()} {self._dev[1]} {fixed}" if config.curve else ""
        curve = Curve(max(1, config.steps // config.curve), mean_on_dev, key) if config.curve else None
        try:
            result = train(begun, self.task, recipe, config.training(rate), seed=seed, curve=curve)
        except NonFiniteLoss as error:
            return Outcome(self.encoder, rate, problem=str(error))
        course = {"loss": np.array(result.history, np.float32)}
        course |= {"curve": np.array(curve.points)} if curve is not None and curve.points else {}
        return Outcome(self._lasting(result.encoder), rate, result.seconds, fixed=fixed, course=course)

    def _lasting(self, trained: Encoder) -> Encoder:
        """Heads share the plain model's embeddings on disk; those of a trained backbone are of no further use."""
        return trained if self.config.what == "heads" else trained.uncached()

    def on_dev(self, name: str, outcome: Outcome) -> Rows:
        """The cells that a recipe has a main loss in, on dev."""
        recipe = get_recipe(name, self.encoder.n_layers, self.encoder.width)
        weighted = np.asarray(recipe.weights["main"]) != 0
        layers = tuple(layer for layer, on in zip(recipe.layers, weighted.any(1), strict=True) if on and layer > 0)
        dims = tuple(dim for dim, on in zip(recipe.dims, weighted.any(0), strict=True) if on)
        task, metric = self._dev
        trained = {(recipe.layers[i], recipe.dims[j]) for i, j in np.argwhere(weighted)}
        rows = score(task, outcome, metric, (layers, dims), self.config, "dev")[0]
        return [row for row in rows if (row["layer"], row["dim"]) in trained]

    @cached_property
    def _dev(self) -> tuple[Any, list[str]]:
        """What a learning rate is chosen by: the task under another name, of a large corpus only what its dev queries
        ask for and some of the rest, and its own metric."""
        task = self.task
        metric = check_metrics("retrieval" if task.kind == "pairs" else task.kind, None)
        if task.kind != "retrieval" or len(task.corpus) <= MOST:
            return replace(task, name=f"{task.name} (dev)"), metric
        asked = {document for query in task.judged("dev") for document in task.qrels[query]}
        step = math.ceil(len(task.corpus) / MOST)
        corpus = {key: text for i, (key, text) in enumerate(task.corpus.items()) if key in asked or i % step == 0}
        return replace(task, name=f"{task.name} (dev, {len(corpus):,} documents)", corpus=corpus, labels={}), metric


def score(
    task: Any, outcome: Outcome, metrics: Sequence[str], cells: Cells, config: SweepConfig, split: str | None = None
) -> tuple[Rows, dict[str, np.ndarray]]:
    """Every cell of a trained model on one task: rows of task, metric, layer, dim and value (NaN where training
    failed), and "task metric" -> the values of the items, (layers, dims, items) float16, where it did not fail."""
    grids = {}
    if not outcome.problem:
        given: dict[str, Any] = {"split": split or config.split, "layers": cells[0], "dims": cells[1]}
        given |= {"fixed_document": outcome.fixed and task.kind in ("retrieval", "pairs")}
        grids = evaluate_grid(task, outcome.encoder, metric=list(metrics), precision=config.precision, **given)
    rows = []
    for name, layer, dim in product(metrics, *cells):
        value = round(grids[name].at(layer, dim), 6) if grids else math.nan
        rows.append({"task": task.name, "metric": name, "layer": layer, "dim": dim, "value": value})
    return rows, {f"{task.name} {name}": np.asarray(grid.per_item, np.float16) for name, grid in grids.items()}
