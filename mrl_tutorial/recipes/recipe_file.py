"""A recipe as plain data: what the loss lab paints, a json file holds, and the command line trains."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import whole_file
from mrl_tutorial.grid import default_dims
from mrl_tutorial.losses import TERMS, Term, options_of, term_name
from mrl_tutorial.losses.distillation import TEACHERS
from mrl_tutorial.recipes.layer_weights import suggestion
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.recipes.two_dimensional import STARBUCKS

SAMPLERS = {
    "all": "every painted cell, every step",
    "random": "one layer and one dimension a step, as in 2dmse-v1",
    "staircase": "only the painted cells on the diagonal, as in starbucks",
}
#: (term, option) -> the words that it takes
WORDS: dict[tuple[str, str], Sequence[str]] = {
    ("kl-features", "teacher"): ("last-layer",),
    ("kl-scores", "teacher"): TEACHERS,
    ("score-align", "teacher"): TEACHERS,
    ("align", "target"): ("pca", "code-pca"),
}
#: what a file may say about its training: name -> what is possible
TRAINING: dict[str, tuple[Any, ...]] = {
    "what": ("heads", "full"),
    "heads": ("shared", "per-layer"),
    "start": ("whitened", "plain"),
    "steps": (int, 1),
    "batch_size": (int, 2),
    "lr": (float, 0),
    "seed": (int, 0),
    "temperature": (float, 0),
}
FIELDS = ("name", "dims", "terms", "sampler", "training")
EXAMPLE = '{"name": "mine", "terms": [{"term": "main", "weights": [[…]]}]}'


@dataclass(frozen=True)
class RecipeFile:
    """A recipe that can be written down: grids, options and a sampler by name, with no functions.

    terms: for each term {"term": name, "weights": (layers, dims) lists, "options": {…}}. sampler: one of `SAMPLERS`.
    training: settings it was trained with, those of `TRAINING`. dims: of the columns, default `grid.default_dims`.

    >>> mine = RecipeFile("mine", [{"term": "main", "weights": [[0, 0], [1, 1]]}], dims=(4, 8))
    >>> mine.recipe(n_layers=2, width=8).deepest_layer
    2
    >>> RecipeFile.of({"name": "mine", "termz": []})
    Traceback (most recent call last):
    mrl_tutorial.errors.InputError: recipe file: there is no field 'termz': choose from name, dims, terms, ...
    """

    name: str
    terms: Sequence[Mapping[str, Any]]
    sampler: str = "all"
    dims: Sequence[int] = ()
    training: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any, where: str = "recipe file") -> RecipeFile:
        """From plain data. Raises InputError naming the first field that is wrong, and what is allowed."""
        _fields(given, FIELDS, where, ("name", "terms"))
        if not isinstance(given["name"], str) or not given["name"].strip():
            raise InputError(f"{where}: name {given['name']!r} is no name: give a few letters")
        if not isinstance(given["terms"], list) or not given["terms"]:
            raise InputError(f"{where}: terms must be a list of one or more, as in {EXAMPLE}")
        for i, one in enumerate(given["terms"]):
            _fields(one, ("term", "weights", "options"), f"{where}, terms[{i}]", ("term", "weights"))
            _check_options(one["term"], one.get("options", {}), f"{where}, terms[{i}]")
        if given.get("sampler", "all") not in SAMPLERS:
            raise InputError(f"{where}: sampler {given['sampler']!r} is unknown: choose from {', '.join(SAMPLERS)}")
        training = given.get("training", {})
        _fields(training, tuple(TRAINING), f"{where}, training", ())
        for name, value in training.items():
            if value is not None:
                _check_value(value, TRAINING[name], f"{where}, training: {name}")
        if not isinstance(given.get("dims", []), list | tuple):
            raise InputError(f"{where}: dims {given['dims']!r} must be a list of widths, as in [8, 16, 384]")
        return cls(given["name"], given["terms"], given.get("sampler", "all"), tuple(given.get("dims", ())), training)

    @classmethod
    def read(cls, path: str | Path) -> RecipeFile:
        """From a json file. Raises InputError as `of` does, and for a file that is none."""
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"recipe file {path} cannot be read ({error}): give one that the loss lab wrote") from None
        except json.JSONDecodeError as error:
            raise InputError(f"recipe file {path} is no json ({error}): write e.g. {EXAMPLE}") from None
        return cls.of(given, f"recipe file {path}")

    @property
    def fixed_document(self) -> bool:
        """Whether its main loss compares queries with documents of the last layer, as its model is then searched."""
        return any(one["term"] == "main" and one.get("options", {}).get("fixed_document") for one in self.terms)

    def write(self, path: str | Path) -> None:
        """As a json file, whole or not at all."""
        with whole_file(path) as temporary:
            temporary.write_text(self.text(), encoding="utf-8")

    def text(self) -> str:
        """As json, a line for each row of the grids."""
        plain = self.as_json()
        parts = []
        for one in plain.pop("terms"):
            rows = ",\n  ".join(map(json.dumps, one["weights"]))
            rest = {name: value for name, value in one.items() if name != "weights"}
            parts.append(f' {json.dumps(rest)[:-1]}, "weights": [\n  {rows}\n ]}}')
        terms = ",\n".join(parts)
        return f'{json.dumps(plain)[:-1]}, "terms": [\n{terms}\n]}}\n'

    def as_json(self) -> dict[str, Any]:
        """As plain data, which `of` reads."""
        return {name: value for name, value in asdict(self).items() if value or name in ("name", "terms")}

    def recipe(self, n_layers: int, width: int, terms: Iterable[Term] = ()) -> Recipe:
        """The recipe for a model, validated. terms: functions of your own, which the file names.

        Raises InputError where it does not fit the model, and for a term that is neither ours nor among `terms`."""
        own = {term_name(function): function for function in terms}
        dims = tuple(self.dims) or default_dims(width)
        weights: dict[Any, Any] = {}
        options: dict[Any, dict[str, Any]] = {}
        for one in self.terms:
            name = one["term"]
            if name not in ("main", *TERMS, *own):
                known = ["main", *TERMS, *own]
                hint = suggestion(name, known) + " (a term of your own is given as a function: terms=[…])"
                raise InputError(f"recipe {self.name!r}: unknown term {name!r}{hint}")
            key = own.get(name, name)
            weights[key] = one["weights"]
            options |= {key: {**one["options"]}} if one.get("options") else {}
        fixed = Recipe(self.name, weights, dims=dims, options=options).validate(n_layers, width)
        grids = {key: np.asarray(grid) for key, grid in fixed.weights.items()}
        if self.sampler == "staircase":
            stairs = staircase(n_layers, width, dims)
            grids = {key: grid * stairs for key, grid in grids.items()}
        share, sampler = None, None
        if self.sampler == "random":
            share, sampler = one_layer_one_dim(grids, n_layers, len(dims))
        return Recipe(self.name, share or grids, dims=dims, options=options, sampler=sampler).validate(n_layers, width)


def staircase(n_layers: int, width: int, dims: Sequence[int]) -> np.ndarray:
    """1 in the cells of a fixed diagonal up to (L, D), else 0, (L, M): Starbucks' own where it names cells for a model
    of this size, else as many steps as the smaller side of the grid has.

    >>> staircase(2, 8, (2, 4, 8)).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    found, steps = np.zeros((n_layers, len(dims))), min(n_layers, len(dims))
    for i in range(steps):
        found[math.ceil((i + 1) * n_layers / steps) - 1, len(dims) - steps + i] = 1
    pairs = STARBUCKS.get((n_layers, width), ())
    if pairs and all(d in dims for _, d in pairs):
        found[:] = 0
        for layer, d in pairs:
            found[layer - 1, list(dims).index(d)] = 1
    return found


def one_layer_one_dim(grids: Mapping[Any, np.ndarray], n_layers: int, columns: int) -> tuple[dict, Any]:
    """Of painted grids what one step of 2dmse-v1 sees: the last row and column, and one other row and column. Returns
    the mean over steps, and sampler(rng). Raises InputError for a grid of one row or column."""
    below, cut = n_layers - 1, columns - 1
    if not below or not cut:
        raise InputError("sampler random draws a layer below the last and a dimension below the width: choose all")

    def sampler(rng: np.random.Generator) -> dict[Any, np.ndarray]:
        layer, dim = rng.integers(below), rng.integers(cut)
        seen = np.outer([*np.eye(below)[layer], 1], [*np.eye(cut)[dim], 1])
        return {key: grid * seen for key, grid in grids.items()}

    mean = np.outer([*np.full(below, 1 / below), 1], [*np.full(cut, 1 / cut), 1])
    return {key: grid * mean for key, grid in grids.items()}, sampler


def painted(name: str, n_layers: int, width: int) -> RecipeFile:
    """A recipe of the registry as it would be painted: the same loss in every step.

    Raises InputError as `get_recipe` does, and for a recipe that cannot be painted on the usual grid."""
    recipe = get_recipe(name, n_layers, width)
    if recipe.embeddings or recipe.learned or tuple(recipe.dims) != default_dims(width):
        raise InputError(f"recipe {name!r} has rows or columns beyond the usual grid: it cannot be painted")
    grids, sampler = {str(key): np.asarray(grid) for key, grid in recipe.weights.items()}, "all"
    if recipe.sampler is not None:  # 2dmse-v1
        grids, sampler = {key: (grid > 0).astype(float) for key, grid in grids.items()}, "random"
    given = {str(key): dict(options) for key, options in recipe.options.items()}
    terms = [{"term": t, "weights": grid.tolist(), "options": given.get(t, {})} for t, grid in grids.items()]
    return RecipeFile(name, terms, sampler)


def options_on_offer(term: str) -> dict[str, list[Any]]:
    """The options of a term and the values that a menu offers, its default first; "main" has the contrastive ones."""
    function = TERMS.get("contrastive" if term == "main" else term)
    found: dict[str, list[Any]] = {}
    for name, default in (options_of(function) if function else {}).items():
        words = WORDS.get((term, name))
        values = list(words) if words else [False, True] if isinstance(default, bool) else [0.02, 0.05, 0.1, 0.3, 1.0]
        found[name] = [default, *(value for value in values if value != default)]
    return found


def _fields(given: Any, known: Sequence[str], where: str, needed: Sequence[str]) -> None:
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: {given!r} must have fields: {', '.join(known)}")
    for name in given:
        if name not in known:
            raise InputError(f"{where}: there is no field {name!r}: choose from {', '.join(known)}")
    for name in needed:
        if name not in given:
            raise InputError(f"{where}: the field {name!r} is missing: it needs {', '.join(needed)}")


def _check_options(term: Any, options: Any, where: str) -> None:
    if term not in TERMS and term != "main":
        return  # unknown, or the reader's own: `recipe` knows
    known = options_of(TERMS["contrastive" if term == "main" else term])
    _fields(options, tuple(known), f"{where}, options of {term}", ())
    for name, value in options.items():
        if value is None and known[name] is None:
            continue
        number = (float, 0) if not isinstance(known[name], bool | str) else (False, True)
        _check_value(value, WORDS.get((term, name)) or number, f"{where}, options of {term}: {name}")


def _check_value(value: Any, allowed: Sequence[Any], where: str) -> None:
    if allowed[0] in (int, float):
        kind, low = allowed
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < low or (kind is int and value != int(value)) or (kind is float and value <= low):
            what = f"a whole number from {low} up" if kind is int else f"a number above {low}"
            raise InputError(f"{where} {value!r} is impossible: give {what}")
    elif value not in allowed or type(value) is not type(allowed[0]):
        words = ", ".join(json.dumps(x) if isinstance(x, bool) else str(x) for x in allowed)
        raise InputError(f"{where} {value!r} is unknown: choose from {words}")
