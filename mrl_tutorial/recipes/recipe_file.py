"""A recipe as plain data: what the loss lab paints, a json file holds, and the command line trains."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mrl_tutorial.errors import InputError
from mrl_tutorial.files import whole_file
from mrl_tutorial.grid import default_dims
from mrl_tutorial.losses import TERMS, Term
from mrl_tutorial.losses.distillation import TEACHERS
from mrl_tutorial.losses.term import options_of, term_name
from mrl_tutorial.recipes.layer_weights import suggestion
from mrl_tutorial.recipes.methods import STARBUCKS, one_layer_one_dim
from mrl_tutorial.recipes.recipe import Recipe, weight_grid
from mrl_tutorial.recipes.registry import get_recipe

SAMPLERS = {
    "all": "every painted cell, every step",
    "random": "one layer and one dimension a step, as in 2dmse-v1",
    "staircase": "only the painted cells on the diagonal, as in starbucks",
}
#: what a setting may be: one of these values, or a number of a type from a limit on (a float: above it)
Allowed = Sequence[Any]
#: (term, option) -> the words that it takes
WORDS: dict[tuple[str, str], Allowed] = {
    ("kl-features", "teacher"): ("last-layer",),
    ("kl-scores", "teacher"): TEACHERS,
    ("score-align", "teacher"): TEACHERS,
    ("align", "target"): ("pca", "code-pca"),
}
#: what a file may say about its training
TRAINING: dict[str, Allowed] = {
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
        _check_fields(given, FIELDS, where, ("name", "terms"))
        if not isinstance(given["name"], str) or not given["name"].strip():
            raise InputError(f"{where}: name {given['name']!r} is not a name: give a few letters")
        if not isinstance(given["terms"], list) or not given["terms"]:
            raise InputError(f"{where}: terms must be a list of one or more, as in {EXAMPLE}")
        for i, one in enumerate(given["terms"]):
            _check_fields(one, ("term", "weights", "options"), f"{where}, terms[{i}]", ("term", "weights"))
            if not isinstance(one["term"], str):
                raise InputError(f"{where}, terms[{i}]: term {one['term']!r} is not a name: give a few letters")
            if one["term"] in [before["term"] for before in given["terms"][:i]]:
                raise InputError(f"{where}, terms[{i}]: term {one['term']!r} is listed twice: give it one grid")
            if one["term"] in ("main", *TERMS):  # else the reader's own, or unknown: `recipe` knows
                place = f"{where}, terms[{i}], options of {one['term']}"
                allowed = {name: may for name, (_, may) in _options(one["term"]).items()}
                _check_settings(one.get("options", {}), allowed, place)
        _check_settings({"sampler": given.get("sampler", "all")}, {"sampler": list(SAMPLERS)}, where)
        _check_settings(given.get("training", {}), TRAINING, f"{where}, training")
        if not isinstance(given.get("dims", []), list | tuple):
            raise InputError(f"{where}: dims {given['dims']!r} must be a list of widths, as in [8, 16, 384]")
        terms = [{**one, "options": _said(one["options"])} if "options" in one else one for one in given["terms"]]
        training = {
            name: int(x) if TRAINING[name][0] is int else x for name, x in _said(given.get("training", {})).items()
        }
        return cls(**{**given, "terms": terms, "training": training, "dims": tuple(given.get("dims", ()))})

    @classmethod
    def read(cls, path: str | Path) -> RecipeFile:
        """From a json file. Raises InputError as `of` does, and for a file that is none."""
        try:
            given = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"recipe file {path} cannot be read ({error}): write json, e.g. {EXAMPLE}") from None
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
            rows = ",\n  ".join(map(json.dumps, one.pop("weights")))
            parts.append(f' {json.dumps(one)[:-1]}, "weights": [\n  {rows}\n ]}}')
        terms = ",\n".join(parts)
        return f'{json.dumps(plain)[:-1]}, "terms": [\n{terms}\n]}}\n'

    def as_json(self) -> dict[str, Any]:
        """As plain data, which `of` reads."""
        return {name: value for name, value in asdict(self).items() if value or name in ("name", "terms")}

    def recipe(self, n_layers: int, width: int, terms: Iterable[Term] = ()) -> Recipe:
        """The recipe for a model, validated. terms: functions of your own, which the file names.

        Raises InputError where it does not fit the model, and for a term that is neither ours nor among `terms`."""
        known: dict[str, Any] = {name: name for name in ("main", *TERMS)}
        known |= {term_name(function): function for function in terms}
        for one in self.terms:
            if one["term"] not in known:
                hint = f"{suggestion(one['term'], known)} (a term of your own is given as a function: terms=[…])"
                raise InputError(f"recipe {self.name!r}: unknown term {one['term']!r}{hint}")
        weights = {known[one["term"]]: one["weights"] for one in self.terms}
        options = {known[one["term"]]: dict(one["options"]) for one in self.terms if one.get("options")}
        found = Recipe(self.name, weights, dims=self.dims, options=options).validate(n_layers, width)
        if self.sampler == "staircase":
            stairs = staircase(n_layers, width, found.dims)
            found = replace(found, weights={key: grid * stairs for key, grid in found.weights.items()})
        elif self.sampler == "random":
            mean, sampler = one_layer_one_dim(found.weights)
            found = replace(found, weights=mean, sampler=sampler)
        return found.validate(n_layers, width)


def staircase(n_layers: int, width: int, dims: Sequence[int]) -> np.ndarray:
    """1 in the cells of a fixed diagonal up to (L, D), else 0, (L, M): Starbucks' own where it names cells for a model
    of this size, else as many steps as the smaller side of the grid has."""
    steps, cells = min(n_layers, len(dims)), STARBUCKS.get((n_layers, width), ())
    if not cells or not {dim for _, dim in cells} <= set(dims):
        cells = [(math.ceil((i + 1) * n_layers / steps), dims[len(dims) - steps + i]) for i in range(steps)]
    return weight_grid(n_layers, dims, cells)


def painted(name: str, n_layers: int, width: int) -> RecipeFile:
    """A recipe of the registry as it would be painted: the same loss in every step.

    Raises InputError as `get_recipe` does, and for a recipe that cannot be painted on the usual grid."""
    recipe = get_recipe(name, n_layers, width)
    if recipe.embeddings or recipe.learned or tuple(recipe.dims) != default_dims(width):
        raise InputError(f"recipe {name!r} has rows or columns beyond the usual grid: it cannot be painted")
    random = recipe.sampler is not None  # 2dmse-v1: its cells, not their share of the steps
    terms = [
        {
            "term": key,
            "weights": ((grid > 0) if random else grid).astype(float).tolist(),
            "options": dict(recipe.options.get(key, {})),
        }
        for key, grid in recipe.weights.items()
    ]
    return RecipeFile(name, terms, "random" if random else "all")


def options_on_offer(term: str) -> dict[str, list[Any]]:
    """The options of a term and the values that a menu offers, its default first."""
    numbers = [0.02, 0.05, 0.1, 0.3, 1.0]
    found = {name: (default, numbers if may[0] is float else may) for name, (default, may) in _options(term).items()}
    return {name: [default, *(x for x in values if x != default)] for name, (default, values) in found.items()}


def _options(term: str) -> dict[str, tuple[Any, Allowed]]:
    """The options of a term: the default, and what each may be; "main" has the contrastive ones."""
    found: dict[str, tuple[Any, Allowed]] = {}
    for name, default in options_of(TERMS["contrastive" if term == "main" else term]).items():
        kind = (False, True) if isinstance(default, bool) else (float, 0)
        found[name] = default, WORDS.get((term, name), kind)
    return found


def _said(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without those that are null, which stands for the default."""
    return {name: value for name, value in settings.items() if value is not None}


def _check_fields(given: Any, known: Iterable[str], where: str, needed: Sequence[str] = ()) -> None:
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: {given!r} must have fields: {', '.join(known)}")
    for name in given:
        if name not in known:
            raise InputError(f"{where}: there is no field {name!r}: choose from {', '.join(known)}")
    for name in needed:
        if name not in given:
            raise InputError(f"{where}: the field {name!r} is missing: it needs {', '.join(needed)}")


def _check_settings(given: Any, table: Mapping[str, Allowed], where: str) -> None:
    """Raises InputError naming the first setting that its table does not allow. No number (None) is the default one."""
    _check_fields(given, table, where)
    for name, value in given.items():
        kind, low = table[name][0], table[name][-1]
        if kind in (int, float):
            number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
            fits = number and (value > low if kind is float else value >= low and value == int(value))
            if not fits and value is not None:
                what = f"a whole number from {low} up" if kind is int else f"a number above {low}"
                raise InputError(f"{where}: {name} {value!r} is impossible: give {what}")
        elif value not in table[name] or type(value) is not type(kind):
            words = ", ".join(json.dumps(x) if isinstance(x, bool) else x for x in table[name])
            raise InputError(f"{where}: {name} {value!r} is unknown: choose from {words}")
