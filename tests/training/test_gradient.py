"""Cached gradients: a loss made in parts, on embeddings cut off from the model, has the gradient of the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.losses.classification import NestedClassifier
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training import gradient, trainables
from mrl_tutorial.training.config import TrainConfig
from mrl_tutorial.training.examples import Examples, examples
from mrl_tutorial.training.gradient import SCORES, backward, parts
from mrl_tutorial.training.loop import seeded
from mrl_tutorial.training.trainables import FrozenLayers, FullBackbone, make_batch
from tests.helpers.tiny import WORDS
from tests.training.test_training import pairs_task

PAIRS = 24
RECIPES = {
    "all-cells": {}, "all-cells+kl-features": {}, "all-cells+kl-scores+attached": {}, "mrl": {}, "full-size": {},
    "separate:2,16": {}, "2dmse-v1": {}, "2dmse-v1-st": {}, "ese": {"dims": (8,)}, "ese-code": {"dims": (8,)},
    "retrieval-2dmse+dims+score+full-dim+align": {}, "retrieval-2dmse+dims+fixed-doc+score-last": {},
    "starbucks:1,8+2,16+3,32": {},
}  # fmt: skip


def model_of(encoder, recipe, what, data):
    config = TrainConfig(what=what, precision="fp32").with_defaults("pairs")
    return (
        FullBackbone(encoder, recipe, config)
        if what == "full"
        else FrozenLayers(encoder, data, config, known=None, progress=None)
    )


def collected(module):
    """The gradient of all parameters, which is then forgotten."""
    found = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
    module.zero_grad()
    return found


def apart(one, other):
    """How far a gradient is from another one, which must not vanish, as a share of its length."""
    assert other.abs().max() > 1e-4
    return float(torch.linalg.norm(one - other) / torch.linalg.norm(other))


@pytest.mark.parametrize("what", ["heads", "full"])
@pytest.mark.parametrize("name", RECIPES)
def test_parts_have_the_loss_and_the_gradient_of_the_whole(encoder, monkeypatch, name, what):
    recipe = get_recipe(name, encoder.n_layers, encoder.width, **RECIPES[name])
    if recipe.embeddings and what == "heads":
        pytest.skip("heads have no layer 0")
    data, chosen = examples(pairs_task(negatives=1)), np.arange(PAIRS)
    weights = recipe.step_weights(np.random.default_rng(0))
    model = model_of(encoder, recipe, what, data)
    with seeded(0):
        loss, tables = recipe.loss(make_batch(model, data, chosen), weights)
    loss.backward()  # the whole at once, by torch alone
    want = collected(model.module)
    for scores, fits in ((SCORES, None), (3 * PAIRS * 2 * PAIRS, 60), (1, 0)):  # at once, by rows, by cells
        monkeypatch.setattr(gradient, "SCORES", scores)
        monkeypatch.setattr(trainables, "tokens_that_fit", lambda *_, fits=fits: fits)
        model = model_of(encoder, recipe, what, data)
        with seeded(0):
            have, found = backward(recipe, make_batch(model, data, chosen), weights)
        assert float(have) == pytest.approx(float(loss.detach()), rel=1e-5)
        assert found.keys() == tables.keys()
        for term, table in tables.items():
            np.testing.assert_allclose(found[term], table, rtol=1e-5, atol=1e-6)
        assert apart(collected(model.module), want) <= 1e-5


@pytest.mark.parametrize("kind", ["classes", "graded"])
def test_labels_and_a_classifier_too(encoder, monkeypatch, kind):
    texts = [f"{WORDS[2 + i % 4]} {WORDS[(i * 5) % 20]}" for i in range(PAIRS)]
    data = Examples(texts, labels=np.arange(PAIRS) % 3, classes=3)
    if kind == "graded":
        data = Examples(texts, texts[::-1], labels=np.linspace(0, 1, PAIRS, dtype=np.float32))
    recipe = get_recipe("all-cells", encoder.n_layers, encoder.width)
    model, classifier = model_of(encoder, recipe, "heads", data), NestedClassifier(32, recipe.dims, 3, 3)
    options = {"classifier": classifier if kind == "classes" else None}
    both = torch.nn.ModuleList([model.module, classifier])
    recipe.loss(make_batch(model, data, np.arange(PAIRS), **options))[0].backward()
    want = collected(both)
    monkeypatch.setattr(gradient, "SCORES", 1)
    backward(recipe, make_batch(model, data, np.arange(PAIRS), **options), dict(recipe.weights))
    assert apart(collected(both), want) <= 1e-5


def test_learned_layer_weights_are_trained_by_parts_too(encoder, monkeypatch):
    recipe = get_recipe("all-cells", encoder.n_layers, encoder.width, layer_weights="learned")
    data, learned = examples(pairs_task()), recipe.layer_weights()
    model, weights = model_of(encoder, recipe, "heads", data), recipe.step_weights(np.random.default_rng(0))
    recipe.loss(make_batch(model, data, np.arange(PAIRS)), learned.scale(weights))[0].backward()
    want, want_theta = collected(model.module), collected(learned)
    monkeypatch.setattr(gradient, "SCORES", 1)
    backward(recipe, make_batch(model, data, np.arange(PAIRS)), weights, learned)
    assert apart(collected(model.module), want) <= 1e-5
    assert apart(collected(learned), want_theta) <= 1e-5


def test_no_part_has_more_scores_than_are_allowed(monkeypatch):
    rng = np.random.default_rng(0)
    grids = {"main": rng.random((6, 7)) * (rng.random((6, 7)) < 0.6), "kl-scores": torch.eye(6, 7)}
    for scores in (10, 10**6, SCORES // 7, SCORES // 3, SCORES, 2 * SCORES):
        found = list(parts(grids, scores))
        for key, grid in grids.items():
            whole = sum(np.asarray(part[key]) for part in found if key in part)
            np.testing.assert_array_equal(whole, np.asarray(grid))
        for part in found:
            cells = sum(np.count_nonzero(np.asarray(grid)) for grid in part.values())
            assert cells >= 1 and (cells * scores <= SCORES or cells == 1)
    assert len(list(parts(grids, 10))) == 1
