"""What the loss lab's picture looks up: presets to paint from, every run's numbers, and what each pair differs by."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.measures import check_metrics
from mrl_tutorial.evaluation.statistics import leaderboard, paired_cells
from mrl_tutorial.losses import TERMS as KNOWN
from mrl_tutorial.losses import Term
from mrl_tutorial.losses.term import term_name
from mrl_tutorial.models.download import DEFAULT_MODEL
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.panels.panel import Control, button, choice, field, menu, switch
from mrl_tutorial.panels.term_explorer import FIXED_WEIGHTS
from mrl_tutorial.recipes.layer_weights import layer_weights
from mrl_tutorial.recipes.recipe_file import SAMPLERS, RecipeFile, options_on_offer, painted
from mrl_tutorial.retrieval.costs import bytes_per_vector, cell_price
from mrl_tutorial.tasks.load import NAMED
from mrl_tutorial.training.lab import QUICK, LabRun

PRESETS = ("all-cells", "mrl", "full-size", "starbucks", "2dmse-v1", "ese", "retrieval-2dmse", "all-cells+kl-full")
TERMS = ("main", "kl-scores", "kl-features", "score-align", "align")
START = "whitened start"
PAST = 30  # paintings that Undo can bring back
BRUSHES = (0.0, 0.1, 0.3, 1.0, 3.0, 10.0)
CODE = """task, recipe = mrl.load_task({task}), mrl.RecipeFile.read({file})
model = mrl.train_recipe(mrl.Encoder.load({model}), task, recipe{terms}).encoder{note}
print(mrl.evaluate_grid(task, model, split="{split}"{documents}).as_text())"""


def presets(encoder: Encoder) -> dict[str, dict[str, Any]]:
    """name -> the painted recipe, of those that fit the usual grid of this model."""
    found = {}
    for name in PRESETS:
        with suppress(InputError):
            recipe = painted(name, encoder.n_layers, encoder.width)
            found[name] = {"terms": recipe.terms, "sampler": recipe.sampler}
    return found


def brought(changes: Mapping[str, Any], state: Mapping[str, Any], presets: Mapping[str, Any]) -> dict[str, Any]:
    """Changes of the state with the painting that a preset or layer weights bring, as `adjust` in web/lab.js.

    Raises InputError for a preset or layer weights that there are not."""
    preset, weights = changes.get("preset", "painted"), changes.get("layers", "painted")
    for what, word, known in (("preset", preset, presets), ("layers", weights, ["", *FIXED_WEIGHTS])):
        if word not in ("painted", *known):
            raise InputError(f"{what} cannot be {word!r}: choose from {', '.join(known)}")
    recipe = changes.get("recipe") or presets.get(preset)
    if weights in FIXED_WEIGHTS:
        recipe, preset = dict(recipe or state["recipe"]), "painted"
        recipe["terms"] = [{**one, "weights": _down(one["weights"], weights)} for one in recipe["terms"]]
    if recipe is None:
        return dict(changes)
    past = [*state["past"], state["recipe"]][-PAST:]
    return {**changes, "recipe": recipe, "preset": preset, "layers": weights.replace("painted", ""), "past": past}


def _down(grid: Sequence[Sequence[float]], name: str) -> list[list[float]]:
    """Layer weights in place of every weight that is painted."""
    each = layer_weights(name, len(grid)).round(4).tolist()
    return [[w and new for w in row] for row, new in zip(grid, each, strict=True)]


def of_state(state: Mapping[str, Any], encoder: Encoder, own: Mapping[str, Term]) -> RecipeFile:
    """What is painted, as a recipe file. Raises InputError where it cannot be trained."""
    name = str(state["name"]).strip()
    if name == START:
        raise InputError(f"{START!r} is the name of what every run begins with: choose another")
    painting = state["recipe"]
    terms = [one for one in painting["terms"] if np.asarray(one["weights"]).any()]
    if not terms:
        raise InputError("nothing is painted: give at least one cell a weight")
    recipe = RecipeFile.of({"name": name, "terms": terms, "sampler": painting["sampler"], "dims": list(encoder.dims)})
    recipe.recipe(encoder.n_layers, encoder.width, own.values())
    return recipe


def defined(name: str, given: Mapping[str, Term]) -> Term:
    """A term by its name: one that the panel was given, or one that the notebook defines (the newest definition).

    Raises InputError where there is none, with the names of those that look like terms."""
    notebook = vars(sys.modules["__main__"])
    here = {term_name(x): x for x in notebook.values() if hasattr(x, "term_name") and callable(x)}
    found = next((known[name] for known in (here, notebook, given) if name in known), None)
    if found is None:
        known = sorted({*here, *given} - set(KNOWN))
        hint = f"there are {', '.join(known)}" if known else 'run a cell with @mrl.term("' + name + '") first'
        raise InputError(f"no term {name!r} is defined here: {hint}")
    return found


def controls(runs: Sequence[str], presets: Sequence[str], encoder: Encoder) -> list[list[Control]]:
    """The lab's controls: painting, training, comparing; and the parts of its state that the picture sets."""
    preset = menu("preset", "start from", presets, free=True)
    weights = menu("layers", "layer weights", ["", *FIXED_WEIGHTS], ["as painted", *FIXED_WEIGHTS], free=True)
    brush = switch("brush", "brush", BRUSHES, ["erase", *(f"{x:g}" for x in BRUSHES[1:])])
    settings = [field("text", "name", "name of the run"), field("number", "steps", "steps", min=1, max=5000)]
    kinds = ("shared", "per-layer", "none"), ("shared", "per-layer", f"none: {QUICK['steps']} full steps")
    settings += [field("number", "seed", "seed", min=0, max=2**31), menu("heads", "heads", *kinds)]
    asks = [button("Show test", ask="test"), button("Confirm by full training", ask="confirm")]
    asks = [one | {"queues": True} for one in asks]
    asks += [button("Delete this run", ask="delete"), button("Read runs again", ask="reload")]
    cell = [choice("hidden", "layer", "", range(1, encoder.n_layers + 1)), choice("hidden", "dim", "", encoder.dims)]
    price = switch("price", "quality against", ("bytes", "encoding"), ["bytes of a vector", "encoding a query"])
    return [
        [preset, weights, brush, field("text", "own", "your own term", kernel=True)],
        [*(one | {"kernel": True} for one in settings), button("Train", ask="train") | {"queues": True}],
        [menu("run", "run", runs), menu("against", "against", runs), *asks, price],
        [field("hidden", name) for name in ("recipe", "past", "term")] + cell,
    ]


def fixed_tables(encoder: Encoder, task: Any, painted_ones: Mapping[str, Any]) -> dict[str, Any]:
    """What does not change with the runs. Terms that compare documents are left out where the task has none."""
    documents = task.kind in ("retrieval", "pairs", "sts")
    terms = [t for t in TERMS if t == "main" or documents or not vars(KNOWN[t])["needs_documents"]]
    return {
        "layers": encoder.n_layers,
        "dims": encoder.dims,
        "bytes": [bytes_per_vector(d) for d in encoder.dims],
        "encoding": [100 * cell_price(encoder, n + 1, 1)["encode_share"] for n in range(encoder.n_layers)],
        "presets": painted_ones,
        "down": {name: layer_weights(name, encoder.n_layers).round(4).tolist() for name in FIXED_WEIGHTS},
        "offers": {term: options_on_offer(term) for term in terms},
        "samplers": SAMPLERS,
        "metric": check_metrics("retrieval" if task.kind == "pairs" else task.kind, None)[0],
    }


def run_tables(
    runs: Sequence[LabRun], pairs: dict[tuple[str, str], np.ndarray], encoder: Encoder, task: Any, split: str
) -> dict[str, Any]:
    """Every run's numbers and the leaderboard. pairs: differences that are known already, which grows."""
    grids, found = {run.name: run.dev.mean(-1) for run in runs}, {}
    for run in runs:
        grid, file = grids[run.name], re.sub(r"[^ (),.+=@~\w-]", "_", run.name) + ".json"
        found[run.name] = {
            "quality": grid.astype("f4"),
            "lines": {"bytes": grid.max(0).astype("f4"), "encoding": grid.max(1).astype("f4")},
            "seconds": round(run.seconds, 1),
            "test": None if run.test is None else round(float(run.test.mean()), 4),
            "file": file,
            "json": run.recipe.text() if run.recipe.terms else "",
            "code": _code(run.recipe, file, encoder, task, split),
            "against": {other.name: _difference(run, other, pairs) for other in runs if other is not run},
        }
    board = [one._asdict() for one in leaderboard(grids, encoder.dims)]
    every = np.stack(list(grids.values()))
    return {
        "runs": found,
        "board": [{**one, "mean": round(one["mean"], 6), "area": round(one["area"], 6)} for one in board],
        "limits": [min(0.0, every.min()), every.max()],
        "items": f"{runs[0].dev.shape[-1]:,} {split} {'items' if task.kind == 'sts' else 'queries'}",
    }


def _code(recipe: RecipeFile, file: str, encoder: Encoder, task: Any, split: str) -> str:
    """A run in Python: the same model, data, terms and documents."""
    quoted = partial(json.dumps, ensure_ascii=False)
    model = "" if encoder.name == DEFAULT_MODEL else quoted(str(encoder.folder or encoder.name))
    own = ", ".join(one["term"] for one in recipe.terms if one["term"] not in TERMS)
    given = {"terms": ", terms=[…]" if own else "", "note": f"  # …: the functions of {own}" if own else ""}
    given["documents"] = ""
    if recipe.fixed_document and task.kind in ("retrieval", "pairs"):
        given["documents"] = ", fixed_document=True"
    own_file = task.name not in NAMED and task.origin and Path(task.origin).exists()
    where = task.origin if own_file else task.name
    return CODE.format(task=quoted(where), file=quoted(file), model=model, split=split, **given)


def _difference(run: LabRun, other: LabRun, pairs: dict[tuple[str, str], np.ndarray]) -> dict[str, Any]:
    """run - other: cells (L, M) with intervals, mark (L, M) 1 better, -1 worse, 0 neither, whole: the mean over all
    cells with its interval."""
    if (run.key, other.key) not in pairs:
        cells = paired_cells(run.dev, other.dev)
        whole = paired_cells(run.dev.mean((0, 1))[None, None], other.dev.mean((0, 1))[None, None])
        both = np.concatenate([cells.reshape(-1, 3), whole.reshape(-1, 3)])
        pairs[run.key, other.key], pairs[other.key, run.key] = both, -both[:, [0, 2, 1]]
    both = pairs[run.key, other.key]
    mean, low, high = np.moveaxis(both[:-1].reshape(*run.dev.shape[:2], 3), -1, 0)
    mark = (low > 0).astype(int) - (high < 0)
    found = {"mean": mean.astype("f4"), "low": low.astype("f4"), "high": high.astype("f4"), "mark": mark}
    counts = {"better": int((mark > 0).sum()), "worse": int((mark < 0).sum())}
    return {**found, **counts, "whole": [round(float(x), 5) for x in both[-1]]}
