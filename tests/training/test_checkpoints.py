"""Which recipes are the same run."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.checkpoints import recipe_key

TERM = """
import numpy as np
from mrl_tutorial.losses import contrastive
SCALE = 2.0
TABLE = np.arange(3000.0)
def twice(x):
    return 2 * x
def make(shift):
    def term(batch, layers, dims, power=1):
        return SCALE * twice(contrastive(batch, layers, dims)) ** power + shift + sum(x for x in TABLE)
    return term
term = make(np.zeros(2000))
"""


def key(source: str) -> list:
    space: dict = {"__name__": "__main__"}
    exec(source, space)
    return recipe_key(Recipe("mine", {space["term"]: np.ones((3, 3))}).validate(3, 32))


@pytest.mark.parametrize(
    "old, new",
    [
        ("SCALE = 2.0", "SCALE = 3.0"),
        ("TABLE = np.arange(3000.0)", "TABLE = np.arange(3000.0); TABLE[1500] = 0"),  # an array prints shortened
        ("return 2 * x", "return 3 * x"),
        ("power=1", "power=2"),
        ("make(np.zeros(2000))", "make(np.eye(1, 2000, 1000)[0])"),
        ("+ shift", "- shift"),
    ],
)
def test_a_term_that_computes_something_else_is_another_run(old, new):
    assert key(TERM) == key("\n\n" + TERM)
    assert key(TERM) != key(TERM.replace(old, new))


def test_a_shipped_recipe_is_the_same_run_in_another_process():
    code = (
        "from mrl_tutorial.training.checkpoints import recipe_key; from mrl_tutorial.recipes.registry import get_recipe; "
        "print([recipe_key(get_recipe(name, 3, 32)) for name in ('2dmse-v1', '2dmse-v1-st', 'mrl')])"
    )
    here = [recipe_key(get_recipe(name, 3, 32)) for name in ("2dmse-v1", "2dmse-v1-st", "mrl")]
    assert here == [recipe_key(get_recipe(name, 3, 32)) for name in ("2dmse-v1", "2dmse-v1-st", "mrl")]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(here)
    assert recipe_key(get_recipe("2dmse-v1", 3, 32)) != recipe_key(get_recipe("2dmse-v1", 3, 32, dims=(8, 32)))
