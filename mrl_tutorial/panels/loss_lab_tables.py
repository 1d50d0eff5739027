"""What the loss lab's picture looks up: presets to paint from, every run's numbers, and what each pair differs by."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.evaluation.leaderboard import envelope, leaderboard
from mrl_tutorial.evaluation.measures import check_metrics
from mrl_tutorial.evaluation.statistics import paired_cells
from mrl_tutorial.losses import TERMS as KNOWN
from mrl_tutorial.losses import Term, needs_documents, term_name
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.layer_weights import LAYER_WEIGHTS, Learned, layer_weights
from mrl_tutorial.recipes.recipe_file import SAMPLERS, RecipeFile, options_on_offer, painted
from mrl_tutorial.retrieval.costs import bytes_per_vector, cell_price
from mrl_tutorial.training.lab import LabRun

PRESETS = ("all-cells", "mrl", "full-size", "starbucks", "2dmse-v1", "ese", "retrieval-2dmse", "all-cells+kl-full")
TERMS = ("main", "kl-scores", "kl-features", "score-align", "align")
START = "whitened start"
CODE = """recipe = mrl.RecipeFile.read("{file}")
model = mrl.train_recipe(mrl.Encoder.load(), mrl.load_task("{task}"), recipe).encoder
print(mrl.evaluate_grid(mrl.load_task("{task}"), model, split="{split}").as_text())"""


def presets(encoder: Encoder) -> dict[str, dict[str, Any]]:
    """name -> the painted recipe, of those that fit the usual grid of this model."""
    found = {}
    for name in PRESETS:
        try:
            recipe = painted(name, encoder.n_layers, encoder.width)
        except InputError:
            continue
        found[name] = {"terms": recipe.terms, "sampler": recipe.sampler}
    return found


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
    here = {
        term_name(x): x for key, x in vars(sys.modules["__main__"]).items() if hasattr(x, "term_name") and callable(x)
    }
    found = here.get(name) or vars(sys.modules["__main__"]).get(name) or given.get(name)
    if found is None:
        known = sorted({*here, *given} - set(KNOWN))
        hint = f"there are {', '.join(known)}" if known else 'run a cell with @mrl.term("' + name + '") first'
        raise InputError(f"no term {name!r} is defined here: {hint}")
    return found


def fixed_tables(encoder: Encoder, task: Any, own: Sequence[str]) -> dict[str, Any]:
    """What does not change with the runs. Terms that compare documents are left out where the task has none."""
    documents = task.kind in ("retrieval", "pairs", "sts")
    terms = [t for t in TERMS if t == "main" or documents or not needs_documents(KNOWN[t], None)]
    ways = {name: how for name, how in LAYER_WEIGHTS.items() if not isinstance(how, Learned)}
    return {
        "layers": encoder.n_layers,
        "dims": encoder.dims,
        "bytes": [bytes_per_vector(d) for d in encoder.dims],
        "encoding": [100 * cell_price(encoder, n + 1, 1)["encode_share"] for n in range(encoder.n_layers)],
        "presets": presets(encoder),
        "down": {name: layer_weights(name, encoder.n_layers).round(4).tolist() for name in ways},
        "offers": {**{t: options_on_offer(t) for t in terms}, **{name: {} for name in own}},
        "samplers": SAMPLERS,
        "metric": check_metrics("retrieval" if task.kind == "pairs" else task.kind, None)[0],
    }


def run_tables(runs: Sequence[LabRun], pairs: dict[tuple[str, str], np.ndarray], about: Mapping[str, Any]) -> Any:
    """Every run's numbers and the leaderboard. pairs: differences that are known already, which grows."""
    dims, found = about["dims"], {}
    for run in runs:
        grid, file = run.dev.mean(-1), f"{run.name}.json"
        found[run.name] = {
            "quality": grid.astype("f4"),
            "lines": {"bytes": envelope(grid).astype("f4"), "encoding": envelope(grid.T).astype("f4")},
            "seconds": round(run.seconds, 1),
            "full": run.full,
            "test": None if run.test is None else round(float(run.test.mean()), 4),
            "file": file,
            "json": run.recipe.text() if run.recipe.terms else "",
            "code": CODE.format(file=file, **{key: about[key] for key in ("task", "split")}),
            "against": {other.name: _difference(run, other, pairs) for other in runs if other is not run},
        }
    board = leaderboard({run.name: run.dev.mean(-1) for run in runs}, dims)
    lines = [{**one._asdict(), "mean": round(one.mean, 6), "area": round(one.area, 6)} for one in board]
    limits = [
        float(min(0, *(run.dev.mean(-1).min() for run in runs))),
        max(float(run.dev.mean(-1).max()) for run in runs),
    ]
    return {
        "runs": found,
        "board": lines,
        "limits": limits,
        "items": f"{runs[0].dev.shape[-1]:,} {about['split']} {'items' if about['kind'] == 'sts' else 'queries'}",
    }


def _difference(run: LabRun, other: LabRun, pairs: dict[tuple[str, str], np.ndarray]) -> dict[str, Any]:
    """run - other: cells (L, M, 3) with intervals, mark (L, M) 1 better, -1 worse, 0 neither, whole: the mean over all
    cells with its interval."""
    if (run.key, other.key) not in pairs:
        cells = paired_cells(run.dev, other.dev)
        whole = paired_cells(run.dev.mean((0, 1))[None, None], other.dev.mean((0, 1))[None, None])
        both = np.concatenate([cells.reshape(-1, 3), whole.reshape(-1, 3)])
        pairs[run.key, other.key], pairs[other.key, run.key] = both, -both[:, [0, 2, 1]]
    both = pairs[run.key, other.key]
    cells = both[:-1].reshape(*run.dev.shape[:2], 3)
    mark = (cells[..., 1] > 0).astype("i2") - (cells[..., 2] < 0).astype("i2")
    return {
        "mean": cells[..., 0].astype("f4"), "low": cells[..., 1].astype("f4"), "high": cells[..., 2].astype("f4"),
        "mark": mark, "better": int((mark > 0).sum()), "worse": int((mark < 0).sum()),
        "whole": [round(float(x), 5) for x in both[-1]],
    }  # fmt: skip
