"""Learned layer weights: their formula and gradient, their own learning rate, resumption, and what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch
from mrl_tutorial.models.encoder import Encoder
from mrl_tutorial.recipes.layer_weights import LayerWeights, Learned, layer_weights
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from mrl_tutorial.training.lab import Watched
from mrl_tutorial.training.loop import NonFiniteLoss, train
from tests.helpers.tiny import save_tiny
from tests.training.test_training import OPTIONS, pairs_task, parameters

L, WIDTH, DIMS = 3, 32, (8, 16, 32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MRL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return Encoder.load(save_tiny(tmp_path_factory.mktemp("model") / "bert"))


def learned(rate=0.01, name="all-cells", **options):
    return get_recipe(name, L, WIDTH, layer_weights=Learned(rate), **options)


def by_hand(theta, n):
    """n softmax(theta), one number at a time."""
    total = sum(np.exp(t) for t in theta)
    return [n * np.exp(t) / total for t in theta]


def test_weights_are_a_softmax_over_the_used_layers_below_the_last():
    module = LayerWeights([True, False, True, True, True])
    assert module().tolist() == [1, 1, 1, 1, 1]  # the start is uniform
    with torch.no_grad():
        module.theta.copy_(torch.tensor([0.3, -1.0, 2.0]))
    one, three, four = by_hand([0.3, -1.0, 2.0], 3)
    np.testing.assert_allclose(module().detach(), [one, 1, three, four, 1], rtol=1e-6)
    np.testing.assert_allclose(one + three + four, 3)
    scaled = module.scale({"main": np.array([[1, 0], [0, 0], [2, 2], [0, 1], [1, 1]])})["main"].detach()
    np.testing.assert_allclose(scaled, [[one, 0], [0, 0], [2 * three, 2 * three], [0, four], [1, 1]], rtol=1e-6)


@pytest.mark.parametrize("name", ["all-cells", "ese", "retrieval-2dmse+score+full-dim"])
def test_value_and_gradient_are_those_of_the_formula(name):
    recipe = learned(name=name, **({} if name == "all-cells" else {"dims": (8, 16)}))
    generator = torch.Generator().manual_seed(0)
    batch = Batch(*(torch.randn(L, n, WIDTH, generator=generator, dtype=torch.float64) for n in (4, 6)))
    module = recipe.layer_weights()
    with torch.no_grad():
        module.theta.copy_(torch.tensor([0.7, -0.4]))
    total, _ = recipe.loss(batch, module.scale(recipe.step_weights(np.random.default_rng(0))))
    # the loss of a layer is the recipe with that layer's row alone, weight 1
    rows = []
    for row in range(L):
        only = {key: grid * (np.arange(L) == row)[:, None] for key, grid in recipe.weights.items()}
        rows.append(float(recipe.loss(batch, only)[0]))
    w = by_hand([0.7, -0.4], 2)
    assert float(total.detach()) == pytest.approx(w[0] * rows[0] + w[1] * rows[1] + rows[2], rel=1e-6)
    (gradient,) = torch.autograd.grad(total, module.theta)
    slope = w[0] * w[1] / 2 * (rows[0] - rows[1])  # dw_1/dtheta_1 = w_1 (1 - w_1/2) = w_1 w_2 / 2 = -dw_2/dtheta_1
    np.testing.assert_allclose(gradient, [slope, -slope], rtol=1e-5)


def test_by_name_and_by_rate():
    assert get_recipe("all-cells", L, WIDTH, layer_weights="learned").learned == Learned()
    assert learned(0.3).learned.rate == 0.3 and get_recipe("all-cells", L, WIDTH).learned is None
    np.testing.assert_array_equal(layer_weights("learned", 4), [1, 1, 1, 1])
    assert get_recipe("all-cells", L, WIDTH).layer_weights() is None
    for rate in (0, -1.0, float("nan")):
        with pytest.raises(InputError, match=r"learning rate .* of the layer weights"):
            Learned(rate)
    for recipe in (get_recipe("mrl", L, WIDTH), get_recipe("full-size", L, WIDTH)):
        with pytest.raises(InputError, match=r"needs? a weighted layer below the last"):
            replace(recipe, learned=Learned()).validate(L, WIDTH)
    with pytest.raises(InputError, match="no option layer_weights"):
        get_recipe("mrl", L, WIDTH, layer_weights="learned")


@pytest.mark.parametrize("what", ["heads", "full"])
def test_the_first_step_is_uniform_and_moves_by_its_own_rate(encoder, what):
    options = {"what": what, "batch_size": 6, "precision": "fp32", "cache": False, "steps": 1}
    tables = []
    watched = Watched(**vars(get_recipe("all-cells", L, WIDTH)), watch=tables.append)
    uniform = train(encoder, pairs_task(), watched, **options)
    assert uniform.layer_weights is None
    moved = {}
    for rate, lr in [(0.01, 1e-3), (0.01, 1e-4), (0.2, 1e-3)]:
        result = train(encoder, pairs_task(), learned(rate), lr=lr, **options)
        assert result.history == uniform.history
        moved[rate, lr] = result.layer_weights
    rows = tables[0]["main"].sum(1)
    for (rate, lr), weights in moved.items():
        # Adam's first step is the rate, against the gradient's sign; warm-up gives the only step its full rate
        sign = np.sign(rows[0] - rows[1])
        np.testing.assert_allclose(weights, [*by_hand([-sign * rate, sign * rate], 2), 1], rtol=1e-4, err_msg=str(lr))


@pytest.mark.parametrize("what", ["heads", "full"])
def test_they_move_toward_the_layers_that_do_well_and_keep_their_sum(encoder, what):
    tables = []
    watched = Watched(**vars(learned(0.05)), watch=tables.append)
    result = train(encoder, pairs_task(), watched, what=what, steps=30, batch_size=8, cache=False)
    weights, losses = result.layer_weights, np.mean([table["main"].sum(1) for table in tables[-10:]], axis=0)
    assert weights.shape == (L,) and weights[-1] == 1 and (weights > 0).all()
    assert weights[:-1].sum() == pytest.approx(2, rel=1e-5) and abs(weights[0] - 1) > 0.2
    assert np.argmax(weights[:-1]) == np.argmin(losses[:-1])
    plain = train(encoder, pairs_task(), "all-cells", what=what, steps=30, batch_size=8, cache=False)
    assert not torch.equal(parameters(result, what), parameters(plain, what))


@pytest.mark.parametrize("stop", ["interrupt", "cancel"])
@pytest.mark.parametrize("what", ["heads", "full"])
def test_resume_is_exact(encoder, what, stop, tmp_path):
    task, recipe = pairs_task(), learned(0.05)
    whole = train(encoder, task, recipe, what=what, cache=False, **OPTIONS)

    def at_three(step, steps, loss):
        if step == 3 and stop == "interrupt":
            raise KeyboardInterrupt
        return step != 3

    if stop == "interrupt":
        with pytest.raises(KeyboardInterrupt):
            train(encoder, task, recipe, what=what, on_step=at_three, **OPTIONS)
    else:
        partial = train(encoder, task, recipe, what=what, on_step=at_three, **OPTIONS)
        assert not np.array_equal(partial.layer_weights, whole.layer_weights)
    steps = []
    resumed = train(encoder, task, recipe, what=what, on_step=lambda s, n, loss: steps.append(s), **OPTIONS)
    assert steps == [4, 5, 6, 7, 8]
    np.testing.assert_array_equal(resumed.layer_weights, whole.layer_weights)
    assert resumed.history == whole.history
    assert torch.equal(parameters(resumed, what), parameters(whole, what))
    again = train(encoder, task, recipe, what=what, out=tmp_path / "model", **OPTIONS)  # from the cache
    np.testing.assert_array_equal(again.layer_weights, whole.layer_weights)
    notes = json.loads((tmp_path / "model" / "train.json").read_text())
    np.testing.assert_allclose(notes["layer_weights"], whole.layer_weights)
    other = train(encoder, task, learned(0.1), what=what, **OPTIONS)  # another rate is another run
    assert not np.array_equal(other.layer_weights, whole.layer_weights)


def test_a_sampled_recipe_with_layer_0_can_learn_them_too(encoder):
    recipe = replace(get_recipe("2dmse-v1-st", L, WIDTH), learned=Learned(0.05)).validate(L, WIDTH)
    result = train(encoder, pairs_task(), recipe, what="full", cache=False, **OPTIONS)
    assert result.layer_weights.shape == (L + 1,) and result.layer_weights[:-1].sum() == pytest.approx(3, rel=1e-5)
    assert len(set(result.layer_weights[:-1])) > 1


def test_a_non_finite_cell_is_still_named(encoder):
    def breaks(batch, layers, dims):
        table = batch.query_rows(layers).mean() + torch.zeros(len(layers), len(dims))
        table[layers.index(1), dims.index(16)] = float("inf")
        return table

    recipe = Recipe("mine", {"main": np.ones((3, 3)), breaks: np.ones((3, 3))}, learned=Learned())
    with pytest.raises(NonFiniteLoss, match=r"step 1: term 'breaks' is inf in cell \(layer 1, dimension 16\)"):
        train(encoder, pairs_task(), recipe, **OPTIONS)
