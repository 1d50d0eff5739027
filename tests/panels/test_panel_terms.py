"""The panel of loss terms: the sums that the browser makes against the anatomy's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses import Batch
from mrl_tutorial.panels.term_explorer import OWN, RECIPES, STRENGTHS, TermExplorer, term_weights
from mrl_tutorial.recipes.anatomy import dissect, recipe_parts
from mrl_tutorial.recipes.registry import get_recipe
from tests.helpers.anatomy import gradient_of, loss_of
from tests.helpers.web import random_states, shown

L, D = 6, 384


@pytest.fixture(scope="module")
def anatomy():
    draw = torch.Generator().manual_seed(0)
    return dissect(Batch(torch.randn(L, 6, D, generator=draw), torch.randn(L, 6, D, generator=draw)))


@pytest.fixture
def panel(anatomy):
    return TermExplorer(anatomy)


def short(value: float) -> str:
    """A number in at most five characters, as the panel writes it."""
    if abs(value) < 0.001:
        return "<.001" if value else "0"
    digits = next((n for n, end in ((3, 0.1), (2, 1), (1, 100)) if abs(value) < end), 0)
    return f"{value:.{digits}f}"


def test_the_browsers_sums_are_the_anatomys(panel, anatomy):
    states = [*random_states(panel, 80), {**panel.state, **{f"s{i}": 0 for i in range(5)}}]
    largest = 0.0
    for state, found in zip(states, shown(panel, states), strict=True):
        panel.set(**state)
        weights = panel.weights
        here = anatomy.layers.index(panel.state["layer"]), anatomy.dims.index(panel.state["dim"])
        wanted = {
            "loss": loss_of(anatomy, weights),
            "gradient": gradient_of(anatomy, weights),
            "weight": sum(weights.values()),
        }
        for name, want in wanted.items():
            np.testing.assert_allclose(np.reshape(found["shown"][name], want.shape), want, rtol=1e-5, err_msg=name)
        for row, term, losses in zip(found["shown"]["rows"], anatomy.terms, anatomy.values, strict=True):
            alone = anatomy.cell_gradients(term)[here]
            want = [weights[term][here], losses[here], alone, weights[term][here] * alone]
            np.testing.assert_allclose([row[key] for key in ("weight", "loss", "alone", "pushes")], want, rtol=1e-5)
        total, length = wanted["loss"].sum(), np.sqrt((wanted["gradient"] ** 2).sum())
        largest = max(largest, length)
        assert f"Weight × loss: sum {short(total)}" in found["text"]
        assert f"Gradient: length {short(length)}" in found["text"]
        assert f"layer {panel.state['layer']}, {panel.state['dim']} dimensions" in found["text"]
        if total:
            per_layer = np.sqrt((wanted["gradient"] ** 2).sum(1))
            assert f"layer {per_layer.argmax() + 1} hardest" in found["shown"]["headline"]
            assert f"gradient {short(per_layer.max())}, in all {short(length)}" in found["shown"]["headline"]
        else:
            assert "no term is on" in found["shown"]["headline"]
    assert largest > 100  # the strengths reach far


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_opens_with_its_own_weights(anatomy, name):
    panel = TermExplorer(anatomy, name)
    parts = recipe_parts(get_recipe(name, L, D), anatomy)
    for term, grid in panel.weights.items():
        np.testing.assert_allclose(grid, parts.get(term, np.zeros((L, 7))))
    (found,) = shown(panel, [{}])
    np.testing.assert_allclose(np.reshape(found["shown"]["weight"], (L, 7)), sum(parts.values()), rtol=1e-6)
    assert found["shown"]["headline"].startswith(f"{name}: a loss of ")
    without = [str(layer) for layer in range(1, L + 1) if not found["shown"]["pushed"][layer - 1]]
    assert (f"{', '.join(without)} not at all" in found["shown"]["headline"]) == bool(without)


def test_a_recipe_resets_strengths_and_layer_weights(panel):
    panel.set(s2=100, layers="linear")
    panel.set(recipe="starbucks", s0=3)
    on = {term: panel.state[f"s{i}"] for i, term in enumerate(panel.anatomy.terms) if panel.state[f"s{i}"]}
    assert on == {"contrastive": 3, "kl-scores": 1} and panel.state["layers"] == OWN
    (found,) = shown(panel, [{}])
    assert found["shown"]["headline"].startswith("starbucks, changed: ")


def test_a_term_that_the_recipe_lacks_lies_on_its_cells(anatomy):
    pattern = recipe_parts(get_recipe("mrl", L, D), anatomy)
    grid = term_weights(anatomy, pattern, {"kl-scores": 3}, OWN)["kl-scores"]
    assert grid[-1, -1] == 0 and (grid[-1, :-1] == 3).all() and (grid[:-1] == 0).all()


def test_layer_weights_replace_the_recipes(panel):
    panel.set(recipe="all-cells", layers="linear")
    np.testing.assert_allclose(sum(panel.weights.values()), np.outer(np.arange(1, 7) / 6, np.ones(7)))
    (found,) = shown(panel, [{}])
    np.testing.assert_allclose(found["shown"]["weight"], np.repeat(np.arange(1, 7) / 6, 7), rtol=1e-6)


def test_wrong_states_are_named(panel, anatomy):
    narrow = dissect(Batch(torch.randn(2, 3, 8), torch.randn(2, 3, 8)), dims=(4, 8))
    with pytest.raises(InputError, match="'2dmse-v1' does not fit"):
        TermExplorer(narrow)
    with pytest.raises(InputError, match="recipe cannot be 'nothing'"):
        panel.set(recipe="nothing")
    with pytest.raises(InputError, match="s0 cannot be 7"):
        TermExplorer(anatomy, s0=7)


def test_it_is_small(panel):
    assert len(panel.tables) < 300_000 and panel.controls["s0"]["values"] == list(STRENGTHS)
