"""The importance weights on a page without a kernel: keys, buttons and drags change what is shown; nothing is small."""

from __future__ import annotations

import numpy as np
import pytest

from mrl_tutorial.classification.labeled_vectors import scaled
from mrl_tutorial.classification.small_networks import NetworkConfig
from mrl_tutorial.panels.importance_weights import ImportanceWeights
from tests.helpers.browser import check_look, headline, opened


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    chance = np.random.default_rng(0)
    labels = np.arange(200) % 4
    x = (chance.normal(size=(4, 6))[labels] + 0.9 * chance.normal(size=(200, 6))).astype(np.float32)
    half, rest = np.arange(100), np.arange(100, 200)
    data = scaled("made-up points", x, labels, [(rest, half), (half, rest)])
    panel = ImportanceWeights(data, NetworkConfig(dims=(2, 4, 8), width=8, hidden=12, epochs=5, batch=16))
    panel.train(c2=4.0)
    panel.set(c2=1.0)
    with opened(panel, tmp_path_factory.mktemp("importance")) as page:
        yield page


def wait_for_headline(page, start: str) -> None:
    page.wait_for_function("(s) => document.querySelector('.headline').textContent.startsWith(s)", arg=start)


def test_keys_move_a_weight_and_what_was_trained_is_shown(page):
    wait_for_headline(page, "All weights 1: accuracy")
    page.get_by_label("weight c2").focus()
    page.keyboard.press("ArrowRight")
    wait_for_headline(page, "Weights 2, 1, 1: not trained yet")
    assert page.locator("svg g[opacity='0.3']").count() == 1
    page.keyboard.press("ArrowRight")
    wait_for_headline(page, "Size ")
    assert page.locator("svg g[opacity='0.3']").count() == 0 and "against equal weights" in headline(page)


def test_buttons_set_all_weights(page):
    page.get_by_role("button", name="All 1").click()
    wait_for_headline(page, "All weights 1: accuracy")
    page.get_by_role("button", name="Boost size 2").click()
    wait_for_headline(page, "Size ")
    assert page.locator("label.slider output").all_text_contents() == ["4", "1", "1"]


def test_a_weight_is_dragged_in_the_chart_down_to_zero(page):
    page.get_by_role("button", name="All 1").click()
    wait_for_headline(page, "All weights 1: accuracy")  # a shorter headline moves the chart up
    box = page.locator("svg .surface").first.bounding_box()
    x = box["x"] + box["width"] * 0.5  # the second of three
    page.mouse.move(x, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(x, box["y"] + 4, steps=5)
    page.wait_for_function("() => document.querySelectorAll('label.slider output')[1].textContent === '16'")
    page.mouse.move(x, box["y"] + box["height"] + 30, steps=5)
    page.mouse.up()
    wait_for_headline(page, "Weights 1, 0, 1: not trained yet")
    assert page.locator("label.slider output").all_text_contents() == ["1", "0", "1"]


def test_the_page_is_legible(page):
    check_look(page)
