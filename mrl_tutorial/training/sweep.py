"""Recipes against each other at equal budget: every recipe and seed trained, every cell scored, one csv file."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.embeddings import task_inputs
from mrl_tutorial.evaluation.quality import check_metrics, evaluate_grid
from mrl_tutorial.grid import check_cells
from mrl_tutorial.models import layers as bb
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.loop import RATES, NonFiniteLoss, train
from mrl_tutorial.training.sweep_file import COLUMNS, one_line, read_sweep, resume, summary, write

__all__ = ["expand", "read_sweep", "summary", "sweep"]

PLAIN = "plain"


class Arm(NamedTuple):
    """One recipe as it is trained; cell: the only one it is scored in, None for all."""

    name: str
    cell: tuple[int, int] | None = None


def sweep(
    encoder: Encoder, task: Any, recipes: Sequence[str], *, out: str | Path, what: str, heads: str = "shared",
    eval_tasks: Sequence[Any] | None = None, seeds: int = 3, steps: int = 150, batch_size: int = 64,
    lr: float | None = None, metric: Sequence[str] | None = None, split: str = "test",
    layers: Sequence[int] | str | None = None, dims: Sequence[int] | str | None = None, precision: str = "auto",
    cache: bool = True, command: str = "", report: Callable[[str], object] | None = None,
) -> pd.DataFrame:  # fmt: skip
    """Train each recipe with seeds 0..seeds-1 on `task`, score `layers` x `dims` on `eval_tasks` (default: `task`), and
    write a row a cell to `out`. Returns what `read_sweep(out)` finds there.

    All runs of a seed see the same batches in the same order. "plain", the model as it is, is always scored, once.
    separate:l,d is scored in its cell alone; separate:* stands for one such run for every scored cell; a recipe trained
    with fixed documents is scored with them on retrieval. metric: the names that suit a task, else its default. The
    file is written whole after every run; called again with the same arguments, what is in it is not run again. A run
    whose loss is not finite gets rows without a value. report(line) after each run. cache=False keeps no trained models
    in the cache. Raises InputError, before any training, for a recipe, task, metric, split or cell that does not fit,
    and for a file that is no sweep or one with other arguments.
    """
    scored = list(eval_tasks or [task])
    cells = check_cells(layers, dims, encoder.n_layers, encoder.width)
    arms = expand(recipes, cells)
    metrics = _check(encoder, task, scored, arms, metric, split, what, heads, seeds, steps, batch_size)
    if lr is None:
        lr = RATES[heads if what == "heads" else what]
    settings = {
        "model": f"{encoder.name} {encoder.fingerprint()}", "task": f"{task.name} {task.fingerprint()}",
        "eval tasks": ", ".join(f"{t.name} {t.fingerprint()}" for t in scored), "split": split,
        "metric": "; ".join(", ".join(names) for names in metrics),
        "recipes": ", ".join(dict.fromkeys([PLAIN, *recipes])), "what": what,
        "heads": heads if what == "heads" else "none", "seeds": seeds, "steps": steps,
        "batch size": batch_size, "lr": lr, "layers": ", ".join(map(str, cells[0])),
        "dims": ", ".join(map(str, cells[1])), "precision": bb.resolve_precision(precision),
    }  # fmt: skip
    header, frame = resume(Path(out), {name: one_line(value) for name, value in settings.items()}, command)
    done = set(zip(frame.recipe, frame.seed, strict=True))
    runs = [(arm, seed) for seed in range(seeds) for arm in arms if arm.name != PLAIN or seed == 0]
    for number, (arm, seed) in enumerate(runs, 1):
        if (arm.name, seed) in done:
            continue
        trained, seconds, problem, fixed = encoder, 0.0, "", False
        if arm.name != PLAIN:
            recipe = get_recipe(arm.name, encoder.n_layers, encoder.width)
            # a recipe that trains against last-layer documents is made to be searched with them
            fixed = bool(recipe.options.get("main", {}).get("fixed_document"))
            try:
                result = train(
                    encoder, task, recipe, what=what, heads=heads, steps=steps, batch_size=batch_size, lr=lr, seed=seed,
                    precision=precision, cache=cache,
                )  # fmt: skip
                trained, seconds = result.encoder, result.seconds
            except NonFiniteLoss as error:
                problem = str(error)
                if report is None:
                    warnings.warn(f"{arm.name}, seed {seed}: {error}", stacklevel=2)
        given = {
            "recipe": arm.name, "what": settings["what"], "heads": settings["heads"], "seed": seed, "split": split,
            "steps": steps, "batch_size": batch_size, "lr": lr, "seconds": round(seconds, 2),
        }  # fmt: skip
        if arm.name == PLAIN:
            given |= {"what": "none", "heads": "none", "steps": 0, "batch_size": 0, "lr": math.nan}
        rows = []
        # plain and heads share the frozen backbone's embeddings; a trained backbone's are of no further use
        keep = trained is encoder or what == "heads"
        for where, names in zip(scored, metrics, strict=True):
            chosen = cells if arm.cell is None else ((arm.cell[0],), (arm.cell[1],))
            values = None if problem else _score(where, trained, keep, names, split, *chosen, precision, fixed)
            rows += [
                {**given, "task": where.name, "metric": name, "layer": layer, "dim": dim,
                 "value": math.nan if values is None else round(values[name].at(layer, dim), 6)}
                for name in names for layer in chosen[0] for dim in chosen[1]
            ]  # fmt: skip
        # a run's rows appear together, so that a run is in the file entirely or not at all
        new = pd.DataFrame(rows, columns=COLUMNS)
        frame = pd.concat([frame, new]) if len(frame) else new
        write(Path(out), header, frame)
        if report is not None:
            last = rows[-1]
            cell = f"{last['task']}, layer {last['layer']}, dimension {last['dim']}"
            outcome = f"no value: {problem}" if problem else f"{last['metric']} {last['value']:.4f} ({cell})"
            report(f"{number}/{len(runs)} {arm.name}, seed {seed}: {seconds:.0f} s, {outcome}")
    return read_sweep(out)[0]


def expand(recipes: Sequence[str], cells: tuple[Sequence[int], Sequence[int]]) -> list[Arm]:
    """Recipe names to arms, without repeats, "plain" first; separate:* becomes one arm for each of layers x dims."""
    arms = [Arm(PLAIN)]
    for name in recipes:
        if name == "separate:*":
            arms += [Arm(f"separate:{layer},{dim}", (layer, dim)) for layer in cells[0] for dim in cells[1]]
        elif name.startswith("separate:") and len(numbers := name[9:].split(",")) == 2 and all(
            x.strip().isdecimal() for x in numbers
        ):  # fmt: skip
            layer, dim = map(int, numbers)
            arms.append(Arm(f"separate:{layer},{dim}", (layer, dim)))
        else:
            arms.append(Arm(name))
    return list(dict.fromkeys(arms))


def _check(encoder, task, scored, arms, metric, split, what, heads, seeds, steps, batch_size) -> list[list[str]]:
    """The metrics of each scored task. Everything that would stop a later run stops the sweep here."""
    if what not in ("heads", "full") or heads not in ("shared", "per-layer"):
        raise InputError(f"what={what!r}, heads={heads!r}: choose heads or full, and shared or per-layer")
    if encoder.heads is not None:
        raise InputError(f"{encoder.name} has heads: a sweep starts from a model without (encoder.with_heads(None))")
    for label, value, least in (("seeds", seeds, 1), ("steps", steps, 1), ("batch size", batch_size, 2)):
        if value != int(value) or value < least:
            raise InputError(f"{label} {value} is impossible: give a whole number from {least} up")
    data = examples(task)
    for arm in arms:
        if arm.name == PLAIN:
            continue
        recipe = get_recipe(arm.name, encoder.n_layers, encoder.width)
        if recipe.embeddings and what == "heads":
            raise InputError(f"recipe {arm.name!r} trains the embedding table, which has no head: use what='full'")
        if recipe.needs_documents and data.positives is None:
            raise InputError(f"recipe {arm.name!r} compares queries with documents; {task.name} has none: leave it out")
    if len({t.name for t in scored}) < len(scored):
        raise InputError(f"two tasks to score are called alike ({', '.join(t.name for t in scored)}): rename one")
    kinds = ["retrieval" if t.kind == "pairs" else t.kind for t in scored]
    found: list[list[str]] = [[] for _ in scored]
    for name in metric or []:
        errors = []
        for names, kind in zip(found, kinds, strict=True):
            try:
                names += [x for x in check_metrics(kind, name) if x not in names]
            except InputError as error:
                errors.append(error)
        if len(errors) == len(scored):
            raise errors[0]
    for where in scored:
        inputs = task_inputs(where.as_retrieval(split) if where.kind == "pairs" else where, split)
        if any(isinstance(x, np.ndarray) for x in inputs.values()):
            raise InputError(f"{where.name} holds vectors, which no encoder makes: score tasks with texts")
    return [names or check_metrics(kind, None) for names, kind in zip(found, kinds, strict=True)]


class _Uncached:
    """An encoder whose embeddings are used once, so that none is left in the cache."""

    def __init__(self, encoder: Encoder):
        self._encoder = encoder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def encode_layers(self, texts: Sequence[str], **options: Any) -> np.ndarray:
        return self._encoder.encode_layers(texts, **options, cache=False)


def _score(task, encoder: Encoder, keep: bool, names, split, layers, dims, precision, fixed=False):
    chosen = encoder if keep else _Uncached(encoder)
    return evaluate_grid(
        task, chosen, metric=names, split=split, layers=layers, dims=dims, precision=precision,
        fixed_document=fixed and task.kind in ("retrieval", "pairs"),
    )  # fmt: skip
