"""What is wrong with a recipe is said in one line, before any work."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from tests.recipes.test_recipes import WIDTH, L, inputs

ONES = np.ones((6, 7))


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        (Recipe("r", {}), "all weights are zero"),
        (Recipe("r", {"main": ONES * 0}), "all weights are zero"),
        (Recipe("r", {"mian": ONES}), "unknown term 'mian': did you mean 'main'"),
        (Recipe("r", {"kl-score": ONES}), "did you mean 'kl-scores'"),
        (Recipe("r", {3: ONES}), "unknown term 3: give one of .*, or a function"),
        (Recipe("r", {"main": ONES[:5]}), r"'main' have shape \(5, 7\): expected \(6, 7\)"),
        (Recipe("r", {"main": ONES[0]}), r"shape \(7,\): expected \(6, 7\)"),
        (Recipe("r", {"main": np.ones((7, 7))}), r"shape \(7, 7\): expected \(6, 7\), layers \[1, 2, 3, 4, 5, 6\]"),
        (
            Recipe("r", {"main": ONES}, layers=(1, 2, 3, 4, 5, 9)),
            "layer 9 does not exist: this model has layers 1 to 6",
        ),
        (Recipe("r", {"main": ONES}, layers=range(6)), "layer 0 does not exist"),
        (Recipe("r", {"main": ONES}, layers=(1, 2, 3, 4, 6, 5)), "must increase"),
        (Recipe("r", {"main": ONES}, layers=(1, 0, 2, 3, 4, 5), embeddings=True), "must increase"),
        (Recipe("r", {"main": ONES}, dims=(8, 8, 32, 64, 128, 256, 384)), "must increase"),
        (Recipe("r", {"main": ONES}, dims=(8, 16, 32, 64, 128, 256, 512)), "dimension 512 does not exist.*384"),
        (Recipe("r", {"main": np.where(np.eye(6, 7) > 0, np.nan, 1)}), r"value nan at index \(0, 0\)"),
        (Recipe("r", {"main": -ONES}), "must be finite and >= 0"),
        (Recipe("r", {"main": ONES}, options={"align": {}}), "options for 'align', which has no weights"),
        (Recipe("r", {"align": ONES}, options={"align": {"targt": "pca"}}), "no option 'targt': did you mean 'target'"),
        (Recipe("r", {"main": ONES}, options={"main": {"fixed_documents": True}}), "did you mean 'fixed_document'"),
        (Recipe("r", {(lambda b, x, y: 0): ONES, (lambda b, x, y: 1): ONES}), "two terms are called '<lambda>'"),
    ],
)
def test_validation_says_which(recipe, message):
    with pytest.raises(InputError, match=message) as caught:
        recipe.validate(6, 384)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("grid", [[["a"]], [[1, 2], [3]]])
def test_weights_that_are_no_numbers_are_said_at_once(grid):
    with pytest.raises(InputError, match="recipe 'r': weights of 'main' are not numbers"):
        Recipe("r", {"main": grid})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("2dmse", 6, 384), "unknown recipe '2dmse': did you mean '2dmse-v1'"),
        (("xyz", 6, 384), "give one of 2dmse-v1, 2dmse-v1-st, all-cells"),
        (("separate", 6, 384), "as in separate:3,128"),
        (("separate:9,8", 6, 384), "layer 9 does not exist"),
        (("separate:1,999", 6, 384), "dimension 999 does not exist"),
        (("ese", 6, 64), "dimension 128 does not exist: this model has dimensions 1 to 64"),
        (("2dmse-v1", 1, 64), "a layer below the last and a dimension below the width are sampled"),
        (("mrl", 6, 384, (8, 999)), "dimension 999"),
        (("mrl", 6, 384, None, "log"), "no option layer_weights"),
        (("all-cells", 6, 384, None, "lgo"), "unknown layer weights 'lgo': did you mean 'log'"),
        (("all-cells", 6, 384, None, [1, 2]), r"shape \(2,\): this model needs 6 numbers"),
        (("all-cells", 6, 384, None, [1, 2, 3, 4, 5, np.inf]), "value inf at index 5"),
        (("all-cells", 6, 384, None, ["a"] * 6), "not numbers"),
    ],
)
def test_get_recipe_says_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        get_recipe(*arguments)


def test_a_term_of_the_wrong_shape_is_named():
    q, d = inputs()
    with pytest.raises(InputError, match="term '<lambda>' returned shape"):
        Recipe("r", {lambda batch, layers, dims: torch.zeros(3): np.ones((L, 3))}).loss(Batch(q, d))
    with pytest.raises(InputError, match=r"shape \(2, 2\): expected"):
        get_recipe("mrl", L, WIDTH).loss(Batch(q, d), {"main": np.ones((2, 2))})
    with pytest.raises(InputError, match="unknown term 'other'"):
        get_recipe("mrl", L, WIDTH).loss(Batch(q, d), {"other": np.ones((L, 3))})
