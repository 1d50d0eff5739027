"""Recipe files: what is written is what is read, a wrong field is named, and presets are the recipes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch, term
from mrl_tutorial.recipes import recipe_file
from mrl_tutorial.recipes.methods import STARBUCKS
from mrl_tutorial.recipes.recipe_file import RecipeFile, options_on_offer, painted, staircase
from mrl_tutorial.recipes.registry import get_recipe

L, D, M = 6, 384, 7
ONES = [[1.0] * M for _ in range(L)]


def file(**changes):
    return {"name": "mine", "terms": [{"term": "main", "weights": ONES}], **changes}


def term_of(**changes):
    return file(terms=[{"term": "kl-scores", "weights": ONES, **changes}])


@pytest.mark.parametrize(
    "name",
    ["full-size", "mrl", "ese", "starbucks", "retrieval-2dmse+score+fixed-doc", "all-cells", "all-cells+kl-full",
     "all-cells+kl-features+attached"],
)  # fmt: skip
def test_a_preset_is_the_recipe_itself(name, tmp_path):
    painted(name, L, D).write(tmp_path / "a.json")
    found, wanted = RecipeFile.read(tmp_path / "a.json").recipe(L, D), get_recipe(name, L, D)
    assert found.dims == wanted.dims and list(found.weights) == list(wanted.weights)
    for key in wanted.weights:
        np.testing.assert_array_equal(found.weights[key], wanted.weights[key])
    assert {k: v for k, v in found.options.items() if v} == {k: v for k, v in wanted.options.items() if v}


def test_a_file_has_a_line_for_each_row_and_keeps_every_letter():
    recipe = RecipeFile.of(file(name='a [ "b" ]  é', sampler="random", dims=[8, 16, 32, 64, 128, 256, 384]))
    assert json.loads(recipe.text()) == json.loads(json.dumps(recipe.as_json()))
    assert RecipeFile.of(json.loads(recipe.text())).as_json() == recipe.as_json()
    assert recipe.text().count("\n") == L + 4


def test_random_on_a_full_grid_is_2dmse_v1_step_by_step():
    found, wanted = painted("2dmse-v1", L, D).recipe(L, D), get_recipe("2dmse-v1", L, D)
    for key in wanted.weights:
        np.testing.assert_allclose(found.weights[key], wanted.weights[key], rtol=1e-12)
    for seed in range(50):
        here, there = (r.step_weights(np.random.default_rng([3, seed])) for r in (found, wanted))
        for key in there:
            np.testing.assert_array_equal(here[key], there[key])


def test_random_on_any_grid_has_the_mean_that_it_says():
    weights = np.random.default_rng(0).uniform(0, 3, (L, M)).round(1)
    recipe = RecipeFile("mine", [{"term": "main", "weights": weights.tolist()}], "random").recipe(L, D)
    steps = [recipe.step_weights(np.random.default_rng([0, i]))["main"] for i in range(4000)]
    np.testing.assert_allclose(np.mean(steps, 0), recipe.weights["main"], atol=0.12)
    for step in steps[:20]:
        assert set(np.flatnonzero((step != 0).any(1))) >= {L - 1} and ((step == 0) | (step == weights)).all()


def test_the_staircase_is_starbucks_and_ends_in_the_full_cell():
    recipe = RecipeFile("mine", [{"term": "main", "weights": ONES}], "staircase").recipe(L, D)
    np.testing.assert_array_equal(recipe.weights["main"], get_recipe("starbucks", L, D).weights["main"])
    dims = (8, 16, 32, 64, 128, 256, 512, 768)
    stairs = staircase(12, 768, dims)
    assert {(int(i) + 1, dims[j]) for i, j in np.argwhere(stairs)} == set(STARBUCKS[12, 768])
    for layers, widths in ((4, (8, 16, 24)), (2, (8, 16, 24, 32)), (1, (8, 16))):
        cells = np.argwhere(staircase(layers, widths[-1], widths))
        assert len(cells) == min(layers, len(widths)) and tuple(cells[-1]) == (layers - 1, len(widths) - 1)
        assert (np.diff(cells, axis=0) > 0).all()


@pytest.mark.parametrize(
    "given, says",
    [
        ([], "must have fields: name, dims, terms, sampler, training"),
        (file(wieghts=1), "no field 'wieghts': choose from name, dims, terms, sampler, training"),
        ({"name": "x"}, "the field 'terms' is missing"),
        (file(name=""), "name '' is not a name"),
        (file(name=3), "name 3 is not a name"),
        (file(terms=[]), "terms must be a list"),
        (file(terms=[{"term": "main"}]), r"terms\[0\]: the field 'weights' is missing"),
        (file(sampler="al"), "sampler 'al' is unknown: choose from all, random, staircase"),
        (file(dims=8), "dims 8 must be a list"),
        (term_of(option={}), r"terms\[0\]: there is no field 'option': choose from term, weights, options"),
        (term_of(options={"temprature": 1}), "no field 'temprature': choose from teacher, temperature, detach, fixed"),
        (term_of(options={"teacher": "last"}), "teacher 'last' is unknown: choose from last-layer, full-width, full"),
        (term_of(options={"detach": 1}), "detach 1 is unknown: choose from false, true"),
        (term_of(options={"detach": None}), "detach None is unknown: choose from false, true"),
        (file(sampler=None), "sampler None is unknown: choose from all, random, staircase"),
        (term_of(options={"temperature": 0}), "temperature 0 is impossible: give a number above 0"),
        (file(training={"epochs": 3}), "training: there is no field 'epochs': choose from what, heads, start, steps"),
        (file(training={"heads": "share"}), "heads 'share' is unknown: choose from shared, per-layer"),
        (file(training={"steps": 1.5}), "steps 1.5 is impossible: give a whole number from 1 up"),
        (file(training={"lr": "fast"}), "lr 'fast' is impossible: give a number above 0"),
        (file(training={"lr": 10**400}), "lr 1000.* is impossible: give a number above 0"),
        (file(training={"seed": True}), "seed True is impossible"),
        (file(terms=[{"term": 5, "weights": ONES}]), r"terms\[0\]: term 5 is not a name"),
        (file(terms=[{"term": "main", "weights": ONES}] * 2), r"terms\[1\]: term 'main' is listed twice"),
    ],
)  # fmt: skip
def test_a_wrong_field_is_named_with_what_is_allowed(tmp_path, given, says):
    (tmp_path / "my.json").write_text(json.dumps(given))
    with pytest.raises(InputError, match=says) as error:
        RecipeFile.read(tmp_path / "my.json")
    assert "my.json" in str(error.value) and "\n" not in str(error.value)


def test_null_is_the_default_and_whole_floats_are_whole():
    given = RecipeFile.of(term_of(options={"temperature": None}) | {"training": {"steps": 1e2, "temperature": None}})
    assert given.training == {"steps": 100} and type(given.training["steps"]) is int
    assert given == RecipeFile.of(term_of(options={}) | {"training": {"steps": 100}})


@pytest.mark.parametrize(
    "given, says",
    [
        (file(terms=[{"term": "mian", "weights": ONES}]), "unknown term 'mian': did you mean 'main'"),
        (file(terms=[{"term": "main", "weights": ONES[:5]}]), r"shape \(5, 7\): expected \(6, 7\)"),
        (file(terms=[{"term": "main", "weights": [[0.0] * M] * L}]), "all weights are zero"),
        (file(terms=[{"term": "main", "weights": [[-1.0] * M] * L}]), "finite and >= 0"),
        (file(terms=[{"term": "main", "weights": "many"}]), "not numbers"),
        (file(dims=[8, 999]), "dimension 999 does not exist"),
        (file(sampler="staircase", terms=[{"term": "main", "weights": [[1.0] + [0.0] * 6] * L}]), "weights are zero"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_model_is_named(given, says):
    with pytest.raises(InputError, match=says):
        RecipeFile.of(given).recipe(L, D)


def test_no_file_and_no_json(tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        RecipeFile.read(tmp_path / "none.json")
    (tmp_path / "half.json").write_text('{"name": ')
    with pytest.raises(InputError, match=r"cannot be read .*write json"):
        RecipeFile.read(tmp_path / "half.json")


def test_a_term_of_your_own_is_found_by_its_name():
    @term("length")
    def length(batch, layers, dims):
        return torch.stack([batch.query_rows(layers)[..., :d].pow(2).mean((1, 2)) for d in dims], 1)

    mine = RecipeFile("mine", [{"term": "length", "weights": ONES}])
    batch = Batch(torch.randn(L, 4, D), torch.randn(L, 4, D))
    total, tables = mine.recipe(L, D, [length]).loss(batch)
    np.testing.assert_allclose(tables["length"], length(batch, range(1, 7), recipe_file.default_dims(D)), rtol=1e-6)
    assert float(total) == pytest.approx(float(tables["length"].sum()), rel=1e-5)
    with pytest.raises(InputError, match=r"unknown term 'length'.*terms=\["):
        mine.recipe(L, D)


def test_what_cannot_be_painted_says_so():
    for name in ("ese-code", "2dmse-v1-st"):
        with pytest.raises(InputError, match="cannot be painted"):
            painted(name, L, D)


def test_every_value_on_offer_is_allowed():
    for name in ("main", "kl-features", "kl-scores", "score-align", "align"):
        for option, values in options_on_offer(name).items():
            for value in values:
                RecipeFile.of(file(terms=[{"term": name, "weights": ONES, "options": {option: value}}]))
    assert options_on_offer("kl-scores")["teacher"] == ["full", "last-layer", "full-width"]
    assert options_on_offer("main") == {
        "temperature": [None, 0.02, 0.05, 0.1, 0.3, 1.0],
        "fixed_document": [False, True],
    }
