"""Which recipes are the same run, and that a function of your own is never taken for the one before."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from mrl_tutorial.losses import TERMS
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.checkpoints import recipe_key
from mrl_tutorial.training.loop import train
from tests.training.test_training import OPTIONS, pairs_task

NAMES = ("2dmse-v1", "2dmse-v1-st", "mrl")


def with_term(scale: float) -> Recipe:
    def term(batch, layers, dims):
        return scale * TERMS["contrastive"](batch, layers, dims)

    return Recipe("mine", {term: np.ones((3, 3))}).validate(3, 32)


def steps_of(recipe: Recipe, encoder: Encoder, **options) -> tuple[list[int], list[float]]:
    """The steps that training really did, and the history that it returned."""
    steps: list[int] = []
    result = train(
        encoder, pairs_task(), recipe, on_step=lambda step, n, loss: steps.append(step), **OPTIONS, **options
    )
    return steps, result.history


def test_an_edited_term_is_never_taken_for_the_run_before(encoder, tmp_path):
    whole = list(range(1, OPTIONS["steps"] + 1))
    first, second = (steps_of(with_term(scale), encoder) for scale in (1.0, 2.0))
    assert first[0] == second[0] == whole and second[1][0] == pytest.approx(2 * first[1][0])
    assert not list((tmp_path / "cache").rglob("run.safetensors"))  # a run with a function of one's own is not kept
    named = steps_of(with_term(1.0), encoder, key="once")
    assert named[0] == whole and named[1] == first[1]
    assert steps_of(with_term(1.0), encoder, key="once") == ([], first[1])  # unless it has a name
    assert steps_of(with_term(2.0), encoder, key="twice") == (whole, second[1])


def test_what_has_a_key():
    mine, shipped = with_term(1.0), get_recipe("2dmse-v1", 3, 32)
    assert recipe_key(mine) is None and recipe_key(mine, "a") != recipe_key(mine, "b")
    assert recipe_key(replace(shipped, sampler=lambda rng: shipped.weights)) is None
    assert recipe_key(replace(mine, weights={"main": np.ones((3, 3))})) is not None
    assert recipe_key(replace(shipped, options={"kl-features": {"teacher": lambda: None}})) is None
    table = np.arange(3000.0)  # an array prints shortened
    keys = [recipe_key(replace(shipped, options={"kl-features": {"x": x}})) for x in (table, table + (table == 1500))]
    assert keys[0] != keys[1]


def test_a_shipped_recipe_is_the_same_run_in_another_process():
    code = (
        "from mrl_tutorial.training.checkpoints import recipe_key\n"
        "from mrl_tutorial.recipes.registry import get_recipe\n"
        f"print([recipe_key(get_recipe(name, 3, 32)) for name in {NAMES}])"
    )
    here = [recipe_key(get_recipe(name, 3, 32)) for name in NAMES]
    assert None not in here and here == [recipe_key(get_recipe(name, 3, 32)) for name in NAMES]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)
    assert recipe_key(get_recipe("2dmse-v1", 3, 32)) != recipe_key(get_recipe("2dmse-v1", 3, 32, dims=(8, 32)))
