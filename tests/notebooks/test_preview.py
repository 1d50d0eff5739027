"""The loss lab's previews: what adapters leave as it was, what a teacher asks for, and how orders are compared."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch
from evidence import preview
from evidence.preview_adapters import Recalled, Teacher, adapted, taught

from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.recipe_file import painted
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.tasks.types import STSTask
from mrl_tutorial.training.examples import examples
from mrl_tutorial.training.lab import train_recipe
from tests.helpers.tiny import SENTENCES, save_tiny

GRADED = (SENTENCES[:5], SENTENCES[5:], np.array([1.0, 0.2, 0.4, 0.9, 0.1]))
TASK = STSTask("graded", "made up", {"train": GRADED, "dev": GRADED})
BUDGET = {"steps": 4, "batch_size": 4}
SETTINGS = {"what": "full", "start": "plain", "precision": "fp32", "cache": False, **BUDGET}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(save_tiny(tmp_path_factory.mktemp("model") / "bert"))


def vectors(encoder):
    return encoder.encode_layers(SENTENCES, cache=False, precision="fp32")


@pytest.mark.parametrize("frozen", [0, 2])
def test_adapters_start_as_the_plain_model_and_only_they_move(encoder, frozen):
    plain, weights = vectors(encoder), {name: x.clone() for name, x in encoder.model.state_dict().items()}
    start = adapted(encoder, Recalled(encoder, frozen) if frozen else None, seed=1)
    np.testing.assert_allclose(vectors(start), plain, atol=1e-6)
    names = {name for name, _ in start.model.named_parameters()}
    assert len(names) == 2 * 6 * (3 - frozen) and {name.rsplit(".", 1)[1] for name in names} == {"down", "up"}

    recipe = painted("all-cells", encoder.n_layers, encoder.width)
    trained = train_recipe(start, TASK, recipe, lr=1e-2, **SETTINGS).encoder
    after = vectors(trained)
    np.testing.assert_allclose(after[:frozen], plain[:frozen], atol=1e-6)
    assert all(np.abs(after[row] - plain[row]).max() > 1e-3 for row in range(frozen, 3))
    np.testing.assert_allclose(vectors(start), plain, atol=1e-6)
    before, moved = start.model.state_dict(), trained.model.state_dict()
    assert {name for name in before if not torch.equal(before[name], moved[name])} == names
    assert all(torch.equal(x, encoder.model.state_dict()[name]) for name, x in weights.items())


def test_lower_layers_run_once_for_each_text(encoder, monkeypatch):
    lower, seen = Recalled(encoder, 2), []
    lower.run = lambda ids, mask=None, run=lower.run: seen.append(len(ids)) or run(ids, mask)
    lower.read(SENTENCES[:6])
    start = adapted(encoder, lower)
    first, again = vectors(start), vectors(start)
    assert sum(seen) == len(SENTENCES)
    np.testing.assert_array_equal(first, again)


def test_the_teacher_follows_the_batches(encoder):
    told = []
    recipe = taught(painted("mrl", encoder.n_layers, encoder.width))
    teacher = Teacher(encoder, examples(TASK), **BUDGET, seed=3)
    found = train_recipe(
        encoder, TASK, recipe, terms=[teacher.scores], on_step=teacher.next, seed=3, lr=1e-9,
        watch=lambda tables: told.append(tables["plain-scores"]), **SETTINGS,
    )  # fmt: skip
    assert found.steps == len(told) == 4
    for table in told:  # a model that hardly moves is its own teacher in the largest cell, and in no other
        assert table[-1, -1] == pytest.approx(0, abs=1e-5) and (table[-1, :-1] > 1e-3).all()
        assert np.isnan(table[:-1]).all()  # cells that the recipe does not train


def test_a_preview_is_measured_with_its_price(encoder, monkeypatch, tmp_path):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path))
    monkeypatch.setattr(preview, "DEV", 1)
    known = {}
    for more in ({}, {"taught": True}, {"frozen": 0, "lr": 1e-2}, {"frozen": 2, "lr": 1e-2}):
        grid, seconds, scoring = preview.one_run(encoder, TASK, "all-cells", 0, {**SETTINGS, **more}, known)
        assert grid.values.shape == (3, 3) and seconds > 0 and scoring > 0
    assert list(known) == [2] and len(known[2].texts) == len(SENTENCES)


@pytest.mark.parametrize("name", ["all-cells+learned", "retrieval-2dmse+dims+learned", "all-cells+log+kl-scores"])
def test_a_recipe_is_asked_by_the_name_that_full_training_has(encoder, name):
    wanted = get_recipe(name, encoder.n_layers, encoder.width)
    for recipe in (preview.by_name(name, encoder), replace(preview.by_name(name, encoder))):
        found = recipe.recipe(encoder.n_layers, encoder.width)
        assert (found.name, found.learned, found.dims) == (name, wanted.learned, wanted.dims)
        assert found.weights.keys() == wanted.weights.keys()
        assert all((found.weights[term] == grid).all() for term, grid in wanted.weights.items())


def test_only_recipes_that_every_preview_has_trained_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(preview, "FILE", tmp_path / "rows.csv")
    monkeypatch.setattr(preview, "RECIPES", ("mrl", "ese", "starbucks"))
    runs = list(product(preview.PREVIEWS, ("mrl", "ese"), range(preview.SEEDS)))
    rows = [(kind, name, seed, "t", layer, 8, 0.5, 3.0) for kind, name, seed in runs[:-1] for layer in (1, 2)]
    preview.write(pd.DataFrame(rows, columns=preview.COLUMNS))
    assert preview.measured() == ["mrl"]


def test_orders_are_compared_and_drawn(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    full = {f"r{i}": i + 0.01 * rng.random((3, 2, 2)) for i in range(4)}
    cells = np.ones((2, 2), bool)
    assert preview.agreement(full, full, cells) == pytest.approx((1, 1, 1))
    assert preview.agreement({name: -x for name, x in full.items()}, full, cells) == pytest.approx((-1, -1, -1))
    rows = [
        ("4 full steps", name, seed, "t", layer + 1, 8 * (dim + 1), x[seed, layer, dim], 3.0)
        for name, x in full.items() for seed, layer, dim in np.ndindex(x.shape)
    ]  # fmt: skip
    monkeypatch.setattr(preview, "FILE", tmp_path / "rows.csv")
    monkeypatch.setattr(preview, "PRICES", tmp_path / "prices.csv")
    given = pd.DataFrame(rows, columns=preview.COLUMNS)
    preview.write(given)
    order = ["recipe", "seed", "layer", "dim"]
    kept, given = (x.sort_values(order, ignore_index=True) for x in (preview.stored(), given))
    pd.testing.assert_frame_equal(kept, given)
    preview.PRICES.write_text("preview,turn,training,scoring\n4 full steps,0,3,1\n4 full steps,1,5,2\n")
    taus, order, words = preview.compared(full, {"all": cells})
    assert taus.loc["4 full steps", "all"] == pytest.approx((1, 1, 1)) and list(order.index) == ["r3", "r2", "r1", "r0"]
    assert words == ["4 full steps: 4.0 seconds of one core for training, 1.5 for scoring"]
    assert list(preview.picture(taus["all"], "orders").data[0].x) == [1]
