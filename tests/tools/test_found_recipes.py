"""The recipes that were found with the loss lab: they can be trained, and their table says what training gives."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe_file import RecipeFile, painted
from mrl_tutorial.tasks.types import PairsTask
from mrl_tutorial.training import lab
from tests.helpers.tiny import WORDS, save_tiny
from tools import found_recipes

FILES = sorted(found_recipes.FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_recipe_that_was_found_can_be_trained(path):
    assert RecipeFile.read(path).recipe(6, 384).name == path.stem


@pytest.fixture
def encoder(tmp_path):
    return Encoder.load(str(save_tiny(tmp_path / "bert")), device="cpu")


@pytest.fixture
def task():
    rng = np.random.default_rng(0)
    made = [" ".join(rng.choice(WORDS, 5)) for _ in range(80)]
    pairs = [(text, " ".join(text.split()[::-1][:4])) for text in made]
    return PairsTask("toy", "made up", {"train": pairs[:40], "dev": pairs[40:60], "test": pairs[60:]})


def test_the_table_has_what_training_gives(encoder, task, monkeypatch):
    monkeypatch.setitem(lab.PREVIEW, "steps", 4)
    recipes = [painted(name, 3, 32) for name in ("all-cells", "mrl")]
    same, other = found_recipes.found_recipes(encoder, task, recipes).to_dict("records")
    assert (same["recipe"], same["test minus all-cells"], same["test low"], same["test high"]) == ("all-cells", 0, 0, 0)
    trained = [lab.train_recipe(encoder, task, recipes[1], seed=seed).encoder for seed in found_recipes.SEEDS]
    assert other["test"] == pytest.approx(np.mean([lab.measure(x, task, "test") for x in trained]), abs=1e-4)
    assert other["dev minus all-cells"] == pytest.approx(other["dev"] - same["dev"], abs=2e-4) != 0


def test_full_training_is_compared_with_what_all_cells_came_to(encoder, task, tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(found_recipes, "FULL", {"what": "full", "start": "plain", "steps": 2, "batch_size": 4})
    recipe = painted("mrl", 3, 32)
    trained = [lab.train_recipe(encoder, task, recipe, seed=seed, **found_recipes.FULL).encoder for seed in (0, 1)]
    items = np.stack([lab.measure(x.uncached(), task, "test").mean((0, 1)) for x in trained])
    (row,) = found_recipes.confirmed(encoder, task, [recipe], items - 0.25).to_dict("records")
    assert (row["recipe"], row["seeds"], row["test minus all-cells"]) == ("mrl", 2, 0.25)
    assert row["test"] == pytest.approx(items.mean(), abs=1e-4)
