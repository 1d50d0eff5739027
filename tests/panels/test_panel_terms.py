"""The panel of loss terms against the anatomy it looks up."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mrl_tutorial.errors import InputError
from mrl_tutorial.losses.batch import Batch
from mrl_tutorial.panels.term_explorer import OWN, STRENGTHS, TermExplorer, short, term_weights
from mrl_tutorial.recipes.anatomy import dissect, recipe_parts
from mrl_tutorial.recipes.registry import get_recipe

L, D = 6, 384


@pytest.fixture(scope="module")
def anatomy():
    draw = torch.Generator().manual_seed(0)
    return dissect(Batch(torch.randn(L, 6, D, generator=draw), torch.randn(L, 6, D, generator=draw)))


@pytest.fixture
def panel(anatomy):
    return TermExplorer(anatomy)


def tables(panel) -> list[np.ndarray]:
    return [np.asarray(panel.figure.data[i].z) for i in (0, 2, 4)]


def test_it_opens_on_its_recipe(panel, anatomy):
    parts = recipe_parts(get_recipe("2dmse-v1", L, D), anatomy)
    weight, loss, gradient = tables(panel)
    np.testing.assert_allclose(weight, sum(parts.values()))
    np.testing.assert_allclose(loss, anatomy.loss(parts))
    np.testing.assert_allclose(gradient, anatomy.gradient(parts))
    on = {term for term, slider in panel.strengths.items() if slider.value}
    assert on == {"contrastive", "kl-features"} and "table" in panel.note.value


@pytest.mark.parametrize("name", ["full-size", "mrl", "ese", "starbucks", "retrieval-2dmse", "all-cells"])
def test_every_recipe_shows_its_own_weights(panel, anatomy, name):
    panel.recipe.value = name
    parts = recipe_parts(get_recipe(name, L, D), anatomy)
    np.testing.assert_allclose(tables(panel)[0], sum(parts.values()))
    np.testing.assert_allclose(tables(panel)[2], anatomy.gradient(parts))


def test_a_slider_scales_its_term_alone(panel, anatomy):
    before = tables(panel)[1]
    panel.strengths["kl-features"].value = 100
    parts = recipe_parts(get_recipe("2dmse-v1", L, D), anatomy)
    want = anatomy.loss({"contrastive": parts["contrastive"], "kl-features": 100 * parts["kl-features"]})
    np.testing.assert_allclose(tables(panel)[1], want)
    assert not np.allclose(before, want)


def test_a_term_that_the_recipe_lacks_lies_on_its_cells(anatomy):
    pattern = recipe_parts(get_recipe("mrl", L, D), anatomy)
    grid = term_weights(anatomy, pattern, {"kl-scores": 3}, OWN)["kl-scores"]
    assert grid[-1, -1] == 0 and (grid[-1, :-1] == 3).all() and (grid[:-1] == 0).all()


def test_layer_weights_replace_the_recipes(panel):
    panel.recipe.value, panel.layers.value = "all-cells", "linear"
    np.testing.assert_allclose(tables(panel)[0], np.outer(np.arange(1, 7) / 6, np.ones(7)))
    panel.recipe.value = "mrl"
    assert panel.layers.value == OWN


def test_all_terms_off_is_an_empty_picture(panel):
    for slider in panel.strengths.values():
        slider.value = 0
    assert not any(t.any() for t in tables(panel)) and panel.message.value == ""


def test_the_frame_and_the_table_follow_the_cell(panel, anatomy):
    panel.layer.value, panel.dim.value = 5, 32
    frame = panel.figure.layout.shapes[2]
    assert (frame.x0, frame.x1, frame.y0, frame.y1) == (1.5, 2.5, 4.5, 5.5) and frame.xref == "x3"
    assert "layer 5, 32 dimensions" in panel.note.value
    assert short(anatomy.values[0, 4, 2]) in panel.note.value


def test_static_twin(panel):
    panel.recipe.value = "starbucks"
    twin = panel.static()
    assert type(twin).__name__ == "Figure" and np.array_equal(twin.data[4].z, tables(panel)[2])


def test_a_recipe_that_does_not_fit():
    narrow = dissect(Batch(torch.randn(2, 3, 8), torch.randn(2, 3, 8)), dims=(4, 8))
    with pytest.raises(InputError, match="'2dmse-v1' does not fit"):
        TermExplorer(narrow)


@pytest.mark.parametrize(
    "value, text", [(0, "0"), (0.0004, "<.001"), (0.012, "0.012"), (0.25, "0.25"), (15.82, "15.8"), (1234.4, "1234")]
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_strengths_reach_from_off_to_a_thousand(panel):
    for term in panel.strengths:
        for value in STRENGTHS:
            panel.strengths[term].value = value
    assert tables(panel)[0].max() > 100
