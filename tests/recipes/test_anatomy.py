"""The anatomy against whole-loss backward passes, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import TERMS, Batch
from mrl_tutorial.recipes.anatomy import PARTS, dissect, recipe_parts
from mrl_tutorial.recipes.recipe import Recipe
from mrl_tutorial.recipes.registry import get_recipe
from tests.helpers.anatomy import gradient_of, loss_of

L, B, D, DIMS = 3, 5, 16, (4, 8, 16)


@pytest.fixture(scope="module")
def batch() -> Batch:
    rng = torch.Generator().manual_seed(1)
    return Batch(torch.randn(L, B, D, generator=rng), torch.randn(L, B + 2, D, generator=rng))


@pytest.fixture(scope="module")
def anatomy(batch):
    return dissect(batch, dims=DIMS)


def total(batch: Batch, weights) -> tuple[torch.Tensor, torch.Tensor]:
    """The weighted loss in float64, all cells at once, and its gradient (L, 2B + 2, D)."""
    sides = [batch.queries.double().requires_grad_(), batch.documents.double().requires_grad_()]
    copy = Batch(*sides)
    loss = sum(
        (torch.as_tensor(w) * TERMS[PARTS[name][0]](copy, range(1, L + 1), DIMS, **PARTS[name][1])).sum()
        for name, w in weights.items()
    )
    loss.backward()
    return loss.detach(), torch.cat([x.grad for x in sides], 1)


def blocks(gradient: torch.Tensor) -> np.ndarray:
    return np.array([[gradient[i, :, a:b].norm() for a, b in ((0, 4), (4, 8), (8, 16))] for i in range(L)])


@pytest.mark.parametrize("names", [(n,) for n in PARTS] + [tuple(PARTS)], ids=lambda n: "+".join(n))
def test_loss_and_gradient_are_those_of_the_whole(batch, anatomy, names):
    rng = np.random.default_rng(0)
    weights = {name: rng.uniform(0, 2, (L, 3)) for name in names}
    loss, gradient = total(batch, weights)
    assert loss_of(anatomy, weights).sum() == pytest.approx(float(loss), rel=1e-5)
    np.testing.assert_allclose(gradient_of(anatomy, weights), blocks(gradient), rtol=2e-3, atol=1e-5)


def test_a_cell_by_itself(batch, anatomy):
    cell = np.zeros((L, 3))
    cell[1, 1] = 1
    _, gradient = total(batch, {"kl-features, attached": cell})
    assert anatomy.cell_gradients("kl-features, attached")[1, 1] == pytest.approx(float(gradient.norm()), rel=1e-4)


def test_a_detached_teacher_gets_no_push_and_an_attached_one_does(anatomy):
    below = np.ones((L, 3))
    below[-1] = 0
    assert (gradient_of(anatomy, {"kl-features": below})[-1] == 0).all()
    assert (gradient_of(anatomy, {"kl-features, attached": below})[-1] > 0).all()


def test_a_short_cell_pushes_on_no_later_coordinate(anatomy):
    cell = np.zeros((L, 3))
    cell[0, 0] = 1
    for name in PARTS:
        pushed = gradient_of(anatomy, {name: cell})
        assert pushed[0, 0] > 0 and (pushed[0, 1:] == 0).all()


def test_a_recipe_by_its_terms(anatomy):
    parts = recipe_parts(Recipe("r", {"main": np.eye(3)}, dims=DIMS).validate(L, D), anatomy)
    assert list(parts) == ["contrastive"] and np.array_equal(parts["contrastive"], np.eye(3))
    narrow = recipe_parts(get_recipe("mrl", L, D, dims=(8,)), anatomy)["contrastive"]
    assert np.argwhere(narrow).tolist() == [[2, 1]]


@pytest.mark.parametrize(
    "recipe, words",
    [
        (Recipe("r", {"cosent": np.eye(3)}, dims=DIMS), "cosent"),
        (Recipe("r", {"main": np.eye(3)}, dims=(2, 4, 8)), "not here"),
    ],
)
def test_a_recipe_that_does_not_fit(anatomy, recipe, words):
    with pytest.raises(InputError, match=words):
        recipe_parts(recipe.validate(L, D), anatomy)


def test_options_decide_which_term_it_is(anatomy):
    ones = {"main": np.ones((L, 3)), "kl-features": np.tri(L, 3, -1)}
    for options, label in (
        ({}, "kl-features"),
        ({"detach": True}, "kl-features"),
        ({"detach": False}, "kl-features, attached"),
    ):
        recipe = Recipe("r", ones, dims=DIMS, options={"kl-features": options}).validate(L, D)
        assert set(recipe_parts(recipe, anatomy)) == {"contrastive", label}
    recipe = Recipe("r", ones, dims=DIMS, options={"main": {"fixed_document": True}}).validate(L, D)
    with pytest.raises(InputError, match=r"fixed_document.*was not taken apart"):
        recipe_parts(recipe, anatomy)


def test_queries_alone_are_refused():
    with pytest.raises(InputError, match="no documents"):
        dissect(Batch(torch.randn(2, 4, 8)))
